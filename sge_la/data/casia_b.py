"""The data of a run on CASIA-B: which files it needs, who must be in them, and normalised coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sge_la.data.dataset import Dataset
from sge_la.data.layout import dataset_files
from sge_la.data.loading import find, present_tests, print_warning
from sge_la.data.loading import load as load_dataset
from sge_la.data.normalise import EVERYBODY, normalised
from sge_la.data.unknown import unknown_people, without_people
from sge_la.errors import UserError, listed, say
from sge_la.settings.papers import (
    ALL,
    CVE,
    DATASET,
    DEGREES,
    NUM_VIEWS,
    cases,
    conditions,
    data_name,
    protocol_of,
)


def load_for(options, warn: Callable[[str], None] = print_warning, *, every: bool = False) -> Dataset:
    """The data set of a run, CASIA-B's or any other.

    `every`: with all of its test sets, those that are not scored too (not CASIA-B's). Raises UserError: files are
    missing or damaged.
    """
    if protocol_of(options):
        return load(options, warn)
    tests: Sequence[str] | None = (options.probe,) if options.probe else None
    layout, place = None, (options.dataset, options.length, options.data_dir)
    if every:
        files, _ = find(*place, view=options.view)
        tests, layout = present_tests(files), files.layout
    return known_to(options, load_dataset(*place, view=options.view, tests=tests, layout=layout, warn=warn))


def known_to(options, dataset: Dataset) -> Dataset:
    """The data set without the people whom a run is trained without.

    Raises UserError: too few would be left.
    """
    if options.unknown is None:
        return dataset
    return without_people(dataset, unknown_people(dataset.identities, options.unknown, options.seed))


def load(options, warn: Callable[[str], None] = print_warning) -> Dataset:
    """The data set as encoders see it: `load_raw`, then `normalised`."""
    return normalised(load_raw(options, warn), options)


def load_raw(options, warn: Callable[[str], None] = print_warning) -> Dataset:
    """Reads what a single run needs, in metres as it lies in the files.

    `options`: resolved, of one view, or of one or all pairs of conditions; `warn`: is given a sentence for what is odd
    but no error. Returns CVE: training set and 'test'. CME: training set, and a test set for each condition of probe
    and gallery. Raises UserError: files are missing or damaged, a view is not there, or somebody is among the probes
    alone.
    """
    place = data_name(options), options.length, options.data_dir
    if options.protocol == CVE:
        _check_view(options)
        dataset = load_dataset(*place, view=options.view, warn=warn)
        _warn_of_untested(dataset, warn)
        return dataset
    dataset = load_dataset(*place, tests=_needed_tests(options), warn=warn)
    for case in cases(options):
        _check_people(dataset, *conditions(case.probe_type))
    return dataset


def _check_people(dataset: Dataset, probe: str, gallery: str) -> None:
    strangers = sorted(set(dataset.tests[probe].ids) - set(dataset.tests[gallery].ids))
    if strangers:
        raise UserError(
            f'{dataset.root}: everybody among the probes ({probe}) should be in the gallery ({gallery}), but '
            f'{len(strangers)} of {len(dataset.tests[probe].ids)} people are not ({listed(strangers)}): add '
            'their sequences, or take them out of the probes'
        )


def check_files(options) -> None:
    """Looks for the files of a single run without opening them.

    Raises UserError: some are missing.
    """
    if options.protocol == CVE:
        _check_view(options)
        find(data_name(options), options.length, options.data_dir, view=options.view)
    else:
        find(data_name(options), options.length, options.data_dir, tests=_needed_tests(options))


def _needed_tests(options) -> tuple[str, ...]:
    """The test sets of probes and galleries, and the one that the original takes a range from."""
    wanted = [name for case in cases(options) for name in conditions(case.probe_type)]
    return tuple(dict.fromkeys([*wanted, EVERYBODY] if options.faithful and not options.norm else wanted))


def cases_at_hand(options) -> list:
    """The single runs that `--view all` or `--probe_type all` stands for, without those of views that are not there.

    Says which are left out; where none is there, the first is left to fail with its reason.
    """
    single = cases(options)
    if options.view != ALL:
        return single
    views = present_views(options.data_dir, options.length)
    found = [case for case in single if case.view in views]
    if found and (missing := [str(case.view) for case in single if case.view not in views]):
        say(f'note: views that are not there, and have no column in the table: {", ".join(missing)}')
    return found or single[:1]


def present_views(data_dir: Path | str, length: int) -> list[int]:
    """The views of which there is a folder."""
    return [view for view in range(NUM_VIEWS) if dataset_files(data_dir, DATASET, length, 2, view).root.is_dir()]


def _check_view(options) -> None:
    views = present_views(options.data_dir, options.length)
    if views and options.view not in views:
        raise UserError(
            f'view {options.view} ({DEGREES * options.view} degrees) of {DATASET} is not there: in '
            f'{Path(options.data_dir) / DATASET / str(options.length)} are the views {", ".join(map(str, views))}; use '
            'one of them, or add its files'
        )


def _warn_of_untested(dataset: Dataset, warn: Callable[[str], None]) -> None:
    """The original's network fails when training and test people are not the same; here it answers for all."""
    tested = dataset.tests['test'].ids
    if len(tested) < len(dataset.identities):
        missing = len(dataset.identities) - len(tested)
        warn(f'{dataset.root}: {missing} of {len(dataset.identities)} people are trained on and not tested on')
