"""The feature files of a run: made from the gait encoders once, checked, and read back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la.data import Dataset
from sge_la.data.training_set import TrainingData, fingerprint
from sge_la.errors import UserError
from sge_la.features import cages
from sge_la.features.sources import (
    FeatureSource,
    by_source,
    load_job,
    load_source,
    one_hot,
    row_labels,
    write_feature_file,
)
from sge_la.files.arrays import read_npy
from sge_la.files.atomic import os_errors
from sge_la.files.text import read_json, write_json
from sge_la.files.write_arrays import save_npy
from sge_la.runs import banner
from sge_la.runs.plan import EncoderJob
from sge_la.settings.names import changed_by_faithful, recorded_precision
from sge_la.settings.papers import PLUS, TASKS, ablation_row
from sge_la.settings.recipe import MODERN

say = tqdm.write
# The original's file names of the test features, in the order of the test sets (IAS has two).
TEST_STEMS = ('val', 'val_2')
SELECTION_STEM = 'selection'
FEATURE_RECORD = 'features.json'


def feature_manner(options) -> str:
    """How rows are scored: the contrast head gives one row a sequence, whatever `--manner` says."""
    return 'sc' if options.frozen or options.c_reid else options.manner


def feature_sources(options, jobs: list[EncoderJob]) -> list[FeatureSource]:
    """The trained encoders as sources of feature columns."""
    kind = 'contrast' if options.frozen or options.c_reid else 'context'
    if options.ablation:
        kind = ablation_row(options.ablation).features
    if options.recipe == MODERN:
        return [load_source(job) for job in jobs]
    loaded: dict[Path, dict] = {}
    sources = []
    for job in jobs:
        params = loaded.setdefault(job.folders['x'], None) or load_job(job)
        loaded[job.folders['x']] = params
        task = 'sorting' if job.permute_train_only else job.task
        sources.append(
            FeatureSource(
                job.config,
                params,
                task=task,
                kind=kind,
                permute_test=not job.permute_train_only,
                shared_order=not options.faithful,
            )
        )
    return sources


@dataclass(frozen=True)
class Features:
    """Rows of one set of sequences: `X` float32 `[R, D]` (a memory map), `labels` int64 `[R]`, and C."""

    X: np.ndarray
    labels: np.ndarray
    num_classes: int


def write_features(options, dataset: Dataset, data: TrainingData, sources: list[FeatureSource], folder: Path) -> None:
    """Encodes training, selection and test sequences into the files that the original writes, and one of ours.

    `train_X.npy`, `val_X.npy` (IAS also `val_2_X.npy`) and `selection_X.npy` (`--select val`): float32 `[R, D]`; the
    same with `_y`: uint8 one-hot `[R, C]`. Training rows stand in one random order, as in the original.
    """
    manner = feature_manner(options)
    skeletons, labels = data.split.skeletons, dataset.classes(data.split)
    rows = cages.original_rows(data.ids, pad=True)
    row_classes = row_labels(labels[rows], sources, manner)
    order = np.random.default_rng([options.seed, len(row_classes)]).permutation(len(row_classes))
    write_feature_file(
        folder / 'train_X.npy', sources, skeletons, rows, manner, seed=options.seed, test=False, order=order
    )
    save_npy(folder / 'train_y.npy', one_hot(row_classes[order], len(dataset.identities)))
    if data.held:
        held = cages.all_rows(data.held)
        write_test_features(folder, SELECTION_STEM, options, dataset, sources, data.split, held)
    for stem, split in zip(TEST_STEMS, dataset.tests.values(), strict=False):
        write_test_features(folder, stem, options, dataset, sources, split, original_test_rows(options, split.ids))


def original_test_rows(options, ids: dict[int, np.ndarray]) -> np.ndarray:
    """The test sequences that the original encodes; the published rev_rec_plus scores the padding as well.

    There its second pass meets lists of indices that the first has padded, and all of its passes are as long.
    """
    return cages.original_rows(ids, pad=options.faithful and options.model == PLUS)


def write_test_features(folder, stem, options, dataset, sources, split, rows) -> None:
    """Writes the features of test sequences, or of others that are scored, and their labels."""
    manner = feature_manner(options)
    classes = row_labels(dataset.classes(split)[rows], sources, manner)
    write_feature_file(folder / f'{stem}_X.npy', sources, split.skeletons, rows, manner, seed=options.seed, test=True)
    save_npy(folder / f'{stem}_y.npy', one_hot(classes, len(dataset.identities)))


def feature_record(options, data: TrainingData, sources: list[FeatureSource], dataset: Dataset) -> dict:
    """Everything that the feature files depend on."""
    names = ('dataset', 'manner', 'length', 'view', 'transfer', 'frozen', 'c_reid', 'encoding', 'model', 'ablation')
    checksum = 0
    for source in sources:
        for name in sorted(source.params):
            checksum = zlib.crc32(np.ascontiguousarray(source.params[name]).data, checksum)
    return {
        **{name: getattr(options, name) for name in (*names, 'seed')},
        'faithful': changed_by_faithful(options),
        'select_val': options.select == 'val',
        'data': data.fingerprint,
        'tests': {name: fingerprint(split.skeletons, split.ids) for name, split in dataset.tests.items()},
        'encoders': f'{checksum:08x}',
        **recorded_precision(options),
    }


def prepare_features(options, dataset: Dataset, data: TrainingData, sources: list[FeatureSource], folder: Path) -> dict:
    """Writes the feature files, unless the folder has just these.

    Returns:
        Their record.
    """
    record, path = feature_record(options, data, sources, dataset), folder / FEATURE_RECORD
    stems = ['train', *([SELECTION_STEM] if data.held else []), *TEST_STEMS[: len(dataset.tests)]]
    if path.exists() and read_json(path) == record and _are_sound(folder, stems):
        say('Features are there already')
        return record
    with os_errors(path, 'remove'):
        path.unlink(missing_ok=True)
    say('Generate CAGEs' if options.encoding == 'CAGE' else 'Generate AGEs')
    for text in banner.data_lines(options, dataset):
        say(text)
    write_features(options, dataset, data, sources, folder)
    write_json(path, record)
    return record


def _are_sound(folder: Path, stems: list[str]) -> bool:
    try:
        for stem in stems:
            read_features(folder, stem)
    except UserError as error:
        say(f'warning: {error}; they are made again')
        return False
    return True


def read_features(folder: Path, stem: str, task: str = '') -> Features:
    """Reads a pair of feature files; features stay a memory map.

    Args:
        folder: of the recognition network.
        stem: 'train', 'val', ...
        task: of rev_rec_plus, for its columns alone; '' for all.

    Raises:
        UserError: a file is missing or damaged, or the two do not fit.
    """
    X = read_npy(folder / f'{stem}_X.npy', mmap=True)
    labels = read_npy(folder / f'{stem}_y.npy', mmap=True)
    features = checked_features(X, labels, folder / f'{stem}_X.npy')
    return of_task(features, task) if task else features


def own_tasks(options) -> tuple[str, ...]:
    """The pretext tasks whose own scores stand beside the joined one; the published rev_rec_plus has but one."""
    return TASKS if options.model == PLUS and not options.faithful and not options.double_pretext else ()


@dataclass(frozen=True)
class OwnColumns:
    """The columns of one encoder among joined features; rows are copied when they are asked for, and not before.

    Attributes:
        blocks: `[R, 3, values]`, a view of the joined ones.
    """

    blocks: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.blocks), self.blocks.shape[1] * self.blocks.shape[2]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        return self.blocks[rows].reshape(-1, self.shape[1])


def of_task(features: Features, task: str) -> Features:
    """The columns of rev_rec_plus that one task's encoder gave."""
    return replace(features, X=OwnColumns(by_source(features.X, len(TASKS))[:, :, TASKS.index(task)]))


def checked_features(X: np.ndarray, one_hot: np.ndarray, where: Path) -> Features:
    """Checks shapes, and turns one-hot labels into class indices."""
    if X.ndim != 2 or one_hot.ndim != 2 or len(X) != len(one_hot) or not len(X):
        raise UserError(
            f'{where}: expected features [rows, values] with one-hot labels [rows, classes] beside them, found shapes '
            f'{X.shape} and {one_hot.shape}; delete both files to make them again'
        )
    return Features(X, np.asarray(one_hot).argmax(axis=1).astype(np.int64), one_hot.shape[1])
