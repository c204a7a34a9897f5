"""The feature files of a run: made from the gait encoders once, checked, and read back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sge_la.data import Dataset
from sge_la.data.training_set import TrainingData, fingerprint
from sge_la.errors import UserError, say
from sge_la.features import cages
from sge_la.features.sources import (
    ROWS_AT_ONCE,
    FeatureSource,
    Folders,
    Stored,
    by_source,
    load_job,
    load_source,
    row_labels,
    write_feature_file,
    write_one_hot,
)
from sge_la.files.arrays import read_npy, release_pages
from sge_la.files.atomic import os_errors
from sge_la.files.text import read_json, write_json
from sge_la.runs import banner, records
from sge_la.runs.plan import Plan

# The original's file names of the test features, in the order of the test sets (IAS has two).
TEST_STEMS = ('val', 'val_2')
SELECTION_STEM = 'selection'
FEATURE_RECORD = 'features.json'


def feature_sources(plan: Plan, stored: Stored | None = None) -> list[FeatureSource]:
    """The trained encoders as sources of feature columns.

    `stored`: where they are kept; None: in the plan's folders. Raises UserError: as `load_job`.
    """
    stored = stored or Folders()
    if plan.recipe:
        return [load_source(job, stored) for job in plan.encoders]
    loaded = {job.folders['x']: job for job in plan.encoders}
    params = {folder: load_job(job, stored) for folder, job in loaded.items()}
    return [
        FeatureSource(
            job.config,
            params[job.folders['x']],
            task='sorting' if job.permute_train_only else job.task,
            kind=plan.features,
            permute_test=not job.permute_train_only,
            shared_order=plan.shared_order,
        )
        for job in plan.encoders
    ]


@dataclass(frozen=True)
class Features:
    """Rows of one set of sequences: `X` float32 `[R, D]` (a memory map), `labels` int64 `[R]`, and C."""

    X: np.ndarray
    labels: np.ndarray
    num_classes: int


def write_features(
    plan: Plan, dataset: Dataset, data: TrainingData, sources: list[FeatureSource], folder: Path
) -> None:
    """Encodes training, selection and test sequences into the files that the original writes, and one of ours.

    `train_X.npy`, `val_X.npy` (IAS also `val_2_X.npy`) and `selection_X.npy` (`--select val`): float32 `[R, D]`; the
    same with `_y`: uint8 one-hot `[R, C]`. Training rows stand in one random order, as in the original.
    """
    manner = plan.manner
    skeletons, labels = data.split.skeletons, dataset.classes(data.split)
    rows = cages.original_rows(data.ids, pad=True)
    row_classes = row_labels(labels[rows], sources, manner)
    order = np.random.default_rng([plan.seed, len(row_classes)]).permutation(len(row_classes))
    write_feature_file(
        folder / 'train_X.npy', sources, skeletons, rows, manner, seed=plan.seed, test=False, order=order
    )
    write_one_hot(folder / 'train_y.npy', row_classes[order], len(dataset.identities))
    if data.held:
        held = cages.all_rows(data.held)
        write_test_features(folder, SELECTION_STEM, plan, dataset, sources, data.split, held)
    for stem, split in zip(TEST_STEMS, dataset.tests.values(), strict=False):
        rows = cages.original_rows(split.ids, pad=plan.pads_tests)
        write_test_features(folder, stem, plan, dataset, sources, split, rows)


def write_test_features(folder, stem, plan: Plan, dataset, sources, split, rows) -> None:
    """Writes the features of test sequences, or of others that are scored, and their labels."""
    place, classes = folder / f'{stem}_X.npy', row_labels(dataset.classes(split)[rows], sources, plan.manner)
    write_feature_file(place, sources, split.skeletons, rows, plan.manner, seed=plan.seed, test=True)
    write_one_hot(folder / f'{stem}_y.npy', classes, len(dataset.identities))


def feature_record(plan: Plan, data: TrainingData, sources: list[FeatureSource], dataset: Dataset) -> dict:
    """Everything that the feature files depend on."""
    checksum = 0
    for source in sources:
        for name in sorted(source.params):
            checksum = zlib.crc32(np.ascontiguousarray(source.params[name]).data, checksum)
    return {
        **plan.feature_record,
        'data': data.fingerprint,
        'tests': {name: fingerprint(split.skeletons, split.ids) for name, split in dataset.tests.items()},
        'encoders': f'{checksum:08x}',
    }


def recorded_tests(folder: Path) -> dict[str, str]:
    """Fingerprints of the test sets that a run was trained beside, by name; {} where its folder does not say.

    The recipe that trains all at once keeps them in its config.json, the others beside their features.
    """
    path = folder / FEATURE_RECORD
    found = read_json(path) if path.exists() else (records.read_config(folder) or {}).get('record')
    tests = found.get('tests') if isinstance(found, dict) else None
    return tests if isinstance(tests, dict) else {}


def prepare_features(plan: Plan, dataset: Dataset, data: TrainingData, sources: list[FeatureSource]) -> None:
    """Writes the feature files, unless the network's folder has just these."""
    folder = plan.network
    record, path = feature_record(plan, data, sources, dataset), folder / FEATURE_RECORD
    stems = ['train', *([SELECTION_STEM] if data.held else []), *TEST_STEMS[: len(dataset.tests)]]
    if path.exists() and read_json(path) == record and _are_sound(folder, stems):
        say('Features are there already')
        return
    with os_errors(path, 'remove'):
        path.unlink(missing_ok=True)
    say(f'Generate {plan.encoding}s')
    for text in banner.data_lines(dataset) if plan.protocol and plan.debugs else ():
        say(text)
    write_features(plan, dataset, data, sources, folder)
    write_json(path, record)


def _are_sound(folder: Path, stems: list[str]) -> bool:
    try:
        for stem in stems:
            read_features(folder, stem)
    except UserError as error:
        say(f'warning: {error}; they are made again')
        return False
    return True


def read_features(folder: Path, stem: str, columns: tuple[int, int] | None = None) -> Features:
    """Reads a pair of feature files; features stay a memory map.

    `folder`: of the recognition network; `stem`: 'train', 'val', ...; `columns`: of one encoder alone, see
    `Plan.columns_of`; None for all. Raises UserError: a file is missing or damaged, or the two do not fit.
    """
    X = read_npy(folder / f'{stem}_X.npy', mmap=True)
    labels = read_npy(folder / f'{stem}_y.npy', mmap=True)
    features = checked_features(X, labels, folder / f'{stem}_X.npy')
    return of_task(features, columns) if columns else features


@dataclass(frozen=True)
class OwnColumns:
    """The columns of one encoder among joined features; rows are copied when they are asked for, and not before.

    `blocks`: `[R, 3, values]`, a view of the joined ones.
    """

    blocks: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.blocks), self.blocks.shape[1] * self.blocks.shape[2]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        return self.blocks[rows].reshape(-1, self.shape[1])


def of_task(features: Features, columns: tuple[int, int]) -> Features:
    """The columns of rev_rec_plus that one encoder gave: which one, and of how many."""
    place, count = columns
    return replace(features, X=OwnColumns(by_source(features.X, count)[:, :, place]))


def checked_features(X: np.ndarray, one_hot: np.ndarray, where: Path) -> Features:
    """Checks shapes, and turns one-hot labels into class indices."""
    if X.ndim != 2 or one_hot.ndim != 2 or len(X) != len(one_hot) or not len(X):
        raise UserError(
            f'{where}: expected features [rows, values] with one-hot labels [rows, classes] beside them, found shapes '
            f'{X.shape} and {one_hot.shape}; delete both files to make them again'
        )
    labels = np.empty(len(one_hot), np.int64)
    for start in range(0, len(labels), ROWS_AT_ONCE):
        labels[start : start + ROWS_AT_ONCE] = one_hot[start : start + ROWS_AT_ONCE].argmax(axis=1)
        release_pages(one_hot)
    return Features(X, labels, one_hot.shape[1])
