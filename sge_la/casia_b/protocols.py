"""What the two protocols of CASIA-B mean for flags, defaults, folder names and console lines.

Nothing here knows more of the options than the names of their fields, so that `sge_la.options` can use it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

from sge_la.errors import UserError
from sge_la.layout import CONDITION_MATCHING

DATASET = 'CASIA_B'
CVE, CME = 'CVE', 'CME'
ALL = 'all'
NUM_VIEWS = 11
DEGREES = 18  # from one view to the next
# `probe.gallery`, in the order of the paper's table. nm: normal, bg: with a bag, cl: in a coat.
PROBE_TYPES = ('nm.nm', 'bg.bg', 'cl.cl', 'cl.nm', 'bg.nm')
# Which of the three encoders of rev_rec_plus (rev_rec, prediction, sorting) are joined.
DOUBLE_PRETEXT = {'': (0, 1, 2), 'rev_rec+pred': (0, 1), 'rev_rec+sort': (0, 2), 'pred+sort': (1, 2)}
LENGTHS = {CVE: 20, CME: 50}
# The original trains the recognition network half as long on sequences shorter than this.
SHORT = 20
_PLUS = 'rev_rec_plus'
_Options = TypeVar('_Options')


def protocol_of(options) -> str | None:
    """'CVE' or 'CME' for resolved options of CASIA-B, None for any other data set."""
    return options.protocol if options.dataset == DATASET else None


def data_name(options) -> str:
    """The data set's name under `Datasets/`: CME has a folder of its own."""
    return CONDITION_MATCHING if protocol_of(options) == CME else options.dataset


def resolve(options: _Options, typed: Collection[str] = ()) -> _Options:
    """Fills in what the protocol decides and refuses what it does not know; other data sets pass through.

    Args:
        options: of train.py or evaluate.py, as parsed.
        typed: names of the flags that the user typed.

    Raises:
        UserError: a combination that means nothing.
    """
    if options.dataset != DATASET:
        _refuse(
            (options.protocol in (CVE, CME), f'--protocol {options.protocol} is for --dataset {DATASET} alone'),
            (options.probe_type, f'--probe_type is for --dataset {DATASET} alone: leave it out'),
            (options.double_pretext, f'--double_pretext is for --dataset {DATASET} alone: leave it out'),
            (options.norm != 1, f'--norm is for --dataset {DATASET} alone: leave it out'),
            (options.view == ALL, f'--view all is for --dataset {DATASET} alone: use one view'),
        )
        return options
    _refuse((options.protocol == 'gallery', f'--protocol gallery on {DATASET} is --protocol CME: use that'))
    named = options.protocol in (CVE, CME)
    protocol = options.protocol if named else CME if options.probe_type else CVE
    _refuse_common(options)
    single = protocol == CVE and options.view != ALL
    _refuse((getattr(options, 'runs', 1) > 1 and not single, '--runs is for one view of --protocol CVE: leave it out'))
    changes = {'protocol': protocol}
    if 'length' not in typed and options.length == 6:
        changes['length'] = LENGTHS[protocol]
    if protocol == CVE:
        _refuse(
            (options.probe_type, '--probe_type is for --protocol CME: leave one of the two out'),
            (
                options.view not in (None, ALL, *range(NUM_VIEWS)),
                f'--view: {DATASET} has the views 0 to {NUM_VIEWS - 1}, found {options.view}: use one of them or all',
            ),
        )
        changes['view'] = 0 if options.view is None else options.view
    else:
        _refuse(
            (options.view is not None, '--view is for --protocol CVE, CME mixes all views: leave one of the two out'),
            (
                'manner' in typed and options.manner == 'ap',
                '--protocol CME compares whole sequences (sc): leave out --manner',
            ),
            (
                options.select != 'test',
                '--select chooses an epoch of the recognition network, and --protocol CME has none: leave it out',
            ),
            (getattr(options, 'RN_dir', None), '--RN_dir names a recognition network, and CME has none: leave it out'),
        )
        changes |= {'manner': 'sc', 'probe_type': options.probe_type or PROBE_TYPES[0]}
    return replace(options, **changes)


def _refuse_common(options) -> None:
    _refuse(
        (options.encoding == 'AGE', f'--encoding AGE knows nothing of {DATASET}: leave it out'),
        (options.frozen or options.c_reid, f'--frozen and --c_reid are not for {DATASET}: leave them out'),
        (options.transfer, f'--transfer is not for {DATASET}: leave it out'),
        (options.ablation, f'--ablation is not for {DATASET}: leave it out'),
        (options.probe, f'--probe is not for {DATASET}: use --protocol CME --probe_type PROBE.GALLERY'),
        (
            options.double_pretext and options.model != _PLUS,
            f'--double_pretext joins two of the three encoders of {_PLUS}: use it with that model or leave it out',
        ),
    )


def _refuse(*rules: tuple[object, str]) -> None:
    for wrong, sentence in rules:
        if wrong:
            raise UserError(sentence)


def cases(options: _Options) -> list[_Options]:
    """The single runs that `--view all` or `--probe_type all` stands for; otherwise the one run that was asked for."""
    if options.view == ALL:
        return [replace(options, view=view) for view in range(NUM_VIEWS)]
    if options.probe_type == ALL:
        return [replace(options, probe_type=probe_type) for probe_type in PROBE_TYPES]
    return [options]


def is_table(options) -> bool:
    """Whether a whole table was asked for."""
    return ALL in (options.view, options.probe_type)


def conditions(probe_type: str) -> tuple[str, str]:
    """The conditions of probe and gallery, e.g. ('cl', 'nm')."""
    probe, gallery = probe_type.split('.')
    return probe, gallery


def trains_on_reverse_alone(options) -> bool:
    """Whether all encoders train on reversed targets, whatever their task: what the original does on CASIA-B."""
    return options.faithful and options.dataset == DATASET


def encoder_suffix(options) -> str:
    """The end of the encoder folders' names; those of rev_rec_plus have none of the original's.

    `_norm-0` is ours: the original keeps both kinds of coordinates in the same folders.
    """
    if options.dataset != DATASET:
        return ''
    ending = {CVE: '_test_adj_2', CME: '_mid_match'}[options.protocol] if options.model != _PLUS else ''
    return ending + ('' if options.norm else '_norm-0')


def recognition_suffix(options) -> str:
    """The end of the recognition folder's name, `_double_` even where nothing follows, as in the original.

    CME has no recognition network; its results lie in a folder that is named as if there were one.
    """
    if options.dataset != DATASET:
        return ''
    if options.model != _PLUS:
        return encoder_suffix(options)
    return f'_double_{options.double_pretext}' + ('' if options.norm else '_norm-0')


def of_suffix(suffix: str) -> dict[str, object]:
    """What the end of a folder's name says of the options, the reverse of the two above."""
    double = next((name for name in DOUBLE_PRETEXT if name and f'_double_{name}' in suffix), '')
    protocol = CME if '_mid_match' in suffix else CVE
    return {'protocol': protocol, 'double_pretext': double, 'norm': 0 if '_norm-0' in suffix else 1}


def fills_batch(options) -> bool:
    """Whether a test set of fewer rows than a batch is filled up with its first row, as the original's CVE does."""
    return options.faithful and protocol_of(options) == CVE


def data_lines(options, dataset) -> list[str]:
    """What the original says of a protocol's arrays and people when it encodes them (for each axis anew; here once).

    Args:
        options: resolved.
        dataset: `sge_la.data.Dataset`.
    """
    if options.dataset != DATASET:
        return []
    test = next(iter(dataset.tests.values()))
    shapes = [split.skeletons.shape[:3] for split in (dataset.train, test)]
    people = list(dataset.identities), list(test.ids)
    keys = [f'dict_keys({labels})' for labels in people]
    return ['### Normalized Data', f'{shapes[0]} {shapes[1]}', *keys, str(people[0])]


def banner_lines(options) -> dict[str, object]:
    """What the original's banner says of a protocol, between pretext task and GPU, in its spelling."""
    if options.dataset != DATASET:
        return {}
    if options.protocol == CVE:
        if options.view == ALL:
            return {'CVE Testing View': 'all'}
        return {'CVE Testing View': f'View {options.view}, Dgree {DEGREES * options.view}'}
    if options.probe_type == ALL:
        return {'Probe and gallery sets': ', '.join(PROBE_TYPES)}
    probe, gallery = conditions(options.probe_type)
    return {'Probe set': probe, 'Gallery set': gallery}
