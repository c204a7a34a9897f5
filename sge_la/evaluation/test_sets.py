"""The test features of a run: those beside its network, or else the data set through the encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sge_la import checkpoints
from sge_la.data import Dataset, Split
from sge_la.data.training_set import fingerprint
from sge_la.errors import UserError, say
from sge_la.features import cages
from sge_la.features.files import Features, feature_sources, read_features, recorded_tests
from sge_la.features.sources import FeatureSource, feature_shape, fill_features, row_labels
from sge_la.model.config import BFLOAT16, FLOAT32
from sge_la.runs.plan import EncoderJob, Plan

SEQUENCES_AT_ONCE = 2048
# By precision: a sum that comes out a little otherwise in another batch may be rounded to another bfloat16 after it.
TOLERANCES = {FLOAT32: 1e-3, BFLOAT16: 1e-2}
Sources = Callable[[], list[FeatureSource]] | None


@dataclass(frozen=True)
class AtHand:
    """What a run can encode test sequences with.

    `dataset`: or None; `sources`: gives the encoders; None where they are not trained; `absence`: why there is no data
    set, else ''.
    """

    dataset: Dataset | None
    sources: Sources = None
    absence: str = ''

    @classmethod
    def of(cls, plan: Plan, dataset: Dataset | None, absence: str = '') -> AtHand:
        """The data set of a run, if it is the one that it was trained on, and its encoders where they are trained."""
        if dataset is not None and (changed := changed_test(plan, dataset)):
            dataset = None
            absence = f'the test set {changed} is not the one of the training: it was prepared again since'
            say(f'warning: {absence}; what needs the data set is left out')
        trained = dataset is not None and are_trained(plan.encoders)
        return cls(dataset, (lambda: feature_sources(plan)) if trained else None, absence)


@dataclass(frozen=True)
class ProbeSet:
    """One test set as a run folder and the data set have it.

    `name`: e.g. 'Walking', or 'A' of IAS; `features`: rows as the original scores them; `split`: the sequences, if the
    data set is at hand; `classes`: the class of each of the data set's sequences `[N]`, if it is at hand.
    """

    name: str
    features: Features
    split: Split | None = None
    classes: np.ndarray | None = None

    @classmethod
    def of(cls, name: str, features: Features, dataset: Dataset | None) -> ProbeSet:
        """Features with the test set of a data set, if it is at hand and has as many identities as the network."""
        if dataset is None or name not in dataset.tests or features.num_classes != len(dataset.identities):
            return cls(name, features)
        return cls(name, features, dataset.tests[name], dataset.classes(dataset.tests[name]))


def changed_test(plan: Plan, dataset: Dataset) -> str:
    """The first test set that is another one than when the run was trained; '' where none is, or nothing is known."""
    for name, folder in plan.networks.items():
        known = recorded_tests(folder)
        if name in known and name in dataset.tests:
            split = dataset.tests[name]
            if known[name] != fingerprint(split.skeletons, split.ids):
                return name
    return ''


def are_trained(jobs: Sequence[EncoderJob]) -> bool:
    """Whether all the encoders have a checkpoint."""
    return bool(jobs) and all(checkpoints.has_checkpoint(folder) for job in jobs for folder in job.folders.values())


def probe_features(folder: Path, stem: str, name: str, plan: Plan, at_hand: AtHand) -> Features:
    """The features of a test set.

    `folder`: of the recognition network; `stem`: of the feature files, such as 'val'; `name`: of the test set;
    `at_hand`: what serves where the files are missing or Git LFS pointers. Raises UserError: a file is damaged; or
    there is none, and data set or encoders are missing too.
    """
    path, why = folder / f'{stem}_X.npy', 'is not there'
    kept = recorded_tests(folder)
    named = at_hand.dataset is not None or plan.options.get('probe')  # or else the name is a guess
    if path.exists() and kept and named and name not in kept:
        why = f'is of test set {", ".join(kept)}, not {name}'
    elif path.exists():
        if not _is_pointer(path) and not _is_pointer(folder / f'{stem}_y.npy'):
            return read_features(folder, stem)
        why = 'is a Git LFS pointer, not the file itself (`git lfs pull` fetches it)'
    if at_hand.dataset is None:
        raise UserError(f'test features are needed: {path} {why}, and the data set cannot serve: {at_hand.absence}')
    if at_hand.sources is None:
        raise UserError(
            f'test features are needed: {path} {why}, and the gait encoders that would make them are not in '
            f'{plan.encoders[0].folders["x"].parent}; train them with train.py'
        )
    say(f'{path} {why}: encoding the test sequences of the data set instead')
    return _encoded(plan, at_hand.dataset, name, at_hand.sources())


def _encoded(plan: Plan, dataset: Dataset, name: str, sources: list[FeatureSource]) -> Features:
    split = dataset.tests[name]
    rows = cages.original_rows(split.ids, pad=plan.pads_tests)
    X = encode_rows(plan, split.skeletons, rows, sources)
    return Features(X, row_labels(dataset.classes(split)[rows], sources, plan.manner), len(dataset.identities))


def encode_rows(plan: Plan, skeletons: np.ndarray, rows: np.ndarray, sources: list[FeatureSource]) -> np.ndarray:
    """Features of test sequences, float32 `[len(rows) · rows a sequence, values]`."""
    each, width = feature_shape(sources, plan.manner)
    X = np.empty((len(rows) * each, width), np.float32)
    fill_features(X, sources, skeletons, rows, plan.manner, seed=plan.seed, test=True)
    return X


def recheck(plan: Plan, test: ProbeSet, at_hand: AtHand) -> None:
    """Encodes a test set again, and says whether the features that the run keeps are what comes out.

    Raises UserError: they are not, or data set or encoders are not at hand.
    """
    if test.split is None or at_hand.sources is None:
        raise UserError(
            '--recheck needs the data set and the gait encoders of the run: give their folders, or leave it out'
        )
    rows, sources = cages.original_rows(test.split.ids, pad=plan.pads_tests), at_hand.sources()
    each, _ = feature_shape(sources, plan.manner)
    for start in range(0, len(rows), SEQUENCES_AT_ONCE):
        X = encode_rows(plan, test.split.skeletons, rows[start : start + SEQUENCES_AT_ONCE], sources)
        if not are_alike(X, test.features.X[start * each : start * each + len(X)], plan.precision):
            raise UserError(
                f'the features of test set {test.name} in {plan.network} should be what the encoders at hand make of '
                'the data set at hand, and are not: train the recognition network again (--train_flag 0 --overwrite)'
            )
    say(f'Features of {test.name}: encoded again, and alike')


def are_alike(found: np.ndarray, expected: np.ndarray, precision: str) -> bool:
    """Whether these are the same features, but for rounding."""
    if found.shape != expected.shape:
        return False
    return bool(np.abs(found - expected).max() <= TOLERANCES[precision] * np.abs(expected).max())


def _is_pointer(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return file.read(20).startswith(b'version https://git')
