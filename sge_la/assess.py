"""A whole run of evaluate.py: finds the network, its test features, data set and encoders, and scores it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la import cages, checkpoints, layout, runs, runtime
from sge_la.data import Dataset, load
from sge_la.encoder_stage import EncoderJob, encoder_jobs
from sge_la.errors import UserError
from sge_la.experiment import banner, selection_line
from sge_la.features import FeatureSource, feature_shape, fill_features, row_labels
from sge_la.options import PLUS, EvaluateOptions
from sge_la.recognition_stage import (
    TEST_STEMS,
    Features,
    feature_manner,
    feature_sources,
    read_features,
    recognition_folder,
)
from sge_la.scoring import TestSet, score_test

say = tqdm.write


def run_evaluation(options: EvaluateOptions) -> dict:
    """Scores a trained recognition network and prints the lines.

    Test features are looked for in this order: `val_X.npy` beside the network, else the data set through the encoders.

    Returns:
        What was printed, by test set.
    """
    places = find_networks(options)
    environment = runtime.environment(runtime.start(options.gpu, options.seed))
    say(banner(options, environment))
    dataset, absence = _dataset(options)
    found = {}
    for name, stem, folder in places:
        results = runs.read_results(folder) or {}
        known = results.get('test_sets', {}).get(name, {})
        jobs = encoder_jobs(options, dataset.joints) if dataset else []
        sources = (lambda jobs=jobs: feature_sources(options, jobs)) if _trained(jobs) else None
        features = _features(folder, stem, name, options, dataset, absence, sources)
        split = dataset.tests.get(name) if dataset else None
        test = TestSet(name, features, split, dataset.classes(split) if split else None)
        if epoch := known.get('selected', {}).get('select'):
            say(selection_line(epoch))
        found[name] = score_test(folder, options, test, sources, known)
        if results:
            _keep(folder, {**results, 'test_sets': {**results.get('test_sets', {}), name: found[name]}})
    return found


def _keep(folder: Path, results: dict) -> None:
    try:
        runs.write_results(folder, results)
    except UserError as error:
        say(f'warning: the scores were not kept: {error}')


def find_networks(options: EvaluateOptions) -> list[tuple[str, str, Path]]:
    """The networks to score: (test set, stem of its feature files, folder).

    IAS is scored on both test sets, from the authors' `IAS-A_...` and `IAS-B_...` folders where they exist.

    Raises:
        UserError: none is there.
    """
    folder = _named_folder(options) if options.RN_dir else recognition_folder(options)
    if options.dataset != 'IAS':
        return [(_test_name(options), TEST_STEMS[0], _with_checkpoint(folder, ''))]
    alone = checkpoints.parse_run_name(folder.name).test_set if options.RN_dir else None
    places = []
    for name, stem in zip(layout.TEST_FOLDERS['IAS'], TEST_STEMS, strict=True):
        published = folder.with_name(folder.name.replace('IAS_', f'IAS-{name}_', 1))
        chosen = published if published.is_dir() else folder
        if alone in (None, name):
            places.append((name, stem, _with_checkpoint(chosen, f'{name}_')))
    return places


def _test_name(options) -> str:
    return options.probe or layout.DEFAULT_TEST.get(options.dataset, 'test')


def _with_checkpoint(folder: Path, prefix: str) -> Path:
    stems = [prefix + layout.CHECKPOINT_STEM, layout.CHECKPOINT_STEM]
    if any(checkpoints.has_checkpoint(folder, stem) for stem in stems):
        return folder
    raise UserError(
        f'{folder} should hold a trained recognition network ({" or ".join(dict.fromkeys(stems))}), and there is none; '
        'train it with train.py and the same flags, or name another with --RN_dir'
    )


def _named_folder(options: EvaluateOptions) -> Path:
    """The folder that --RN_dir names: a path, or a name in one of the two folders of networks."""
    given = Path(options.RN_dir)
    places = [given] + [Path(options.models_dir) / root / given.name for root in layout.RECOGNITION_ROOTS.values()]
    for place in places:
        if place.is_dir():
            return place
    raise UserError(f'--RN_dir {options.RN_dir} names no folder; looked for {", ".join(map(str, places))}')


def options_of_folder(options: EvaluateOptions) -> EvaluateOptions:
    """The options with what the folder of --RN_dir says of its run: its config.json, else its name.

    Raises:
        UserError: there is no such folder, or its name cannot be read.
    """
    folder = _named_folder(options)
    config = (runs.read_config(folder) or {}).get('options')
    if config:
        known = {name: config[name] for name in config if hasattr(options, name)}
        known |= {name: getattr(options, name) for name in ('gpu', 'data_dir', 'models_dir', 'config')}
        known.pop('model', None)
        return replace(options, **known, best_model=config['model'])
    name = checkpoints.parse_run_name(folder.name)
    if name.kind != 'recognition':
        raise UserError(f'--RN_dir {options.RN_dir} names a gait encoder: expected the folder of a recognition network')
    return replace(
        options,
        dataset=name.dataset,
        attention=name.attention or 'LA',
        manner=name.manner,
        length=name.length or 6,
        t=name.temperature or 0.1,
        frozen=name.frozen or 0,
        view=name.view,
        best_model=name.task or 'rev_rec',
        encoding=name.encoding,
    )


def _dataset(options) -> tuple[Dataset | None, str]:
    """The data set, or None and why it is not at hand."""
    try:
        return load(
            options.dataset,
            options.length,
            options.data_dir,
            view=options.view,
            tests=(options.probe,) if options.probe else None,
        ), ''
    except UserError as error:
        return None, str(error)


def _trained(jobs: list[EncoderJob]) -> bool:
    return bool(jobs) and all(checkpoints.has_checkpoint(folder) for job in jobs for folder in job.folders.values())


def _features(
    folder: Path,
    stem: str,
    name: str,
    options,
    dataset: Dataset | None,
    absence: str,
    sources: Callable[[], list[FeatureSource]] | None,
) -> Features:
    path = folder / f'{stem}_X.npy'
    why = 'is not there'
    if path.exists():
        if not _is_pointer(path) and not _is_pointer(folder / f'{stem}_y.npy'):
            return read_features(folder, stem)
        why = 'is a Git LFS pointer, not the file itself (`git lfs pull` fetches it)'
    say(f'{path} {why}: encoding the test sequences of the data set instead')
    if dataset is None:
        raise UserError(f'test features are needed: {path} {why}, and the data set cannot serve: {absence}')
    if sources is None:
        raise UserError(
            f'test features are needed: {path} {why}, and the gait encoders that would make them are not in '
            f'{layout.ENCODER_ROOT}; train them with train.py'
        )
    return _encoded(options, dataset, name, sources())


def _encoded(options, dataset: Dataset, name: str, sources: list[FeatureSource]) -> Features:
    split, manner = dataset.tests[name], feature_manner(options)
    rows = cages.original_rows(split.ids, pad=options.faithful and options.model == PLUS)
    each, width = feature_shape(sources, manner)
    X = np.empty((len(rows) * each, width), np.float32)
    fill_features(X, sources, split.skeletons, rows, manner, seed=options.seed, test=True)
    return Features(X, row_labels(dataset.classes(split)[rows], sources, manner), None)


def _is_pointer(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return file.read(20).startswith(b'version https://git')
