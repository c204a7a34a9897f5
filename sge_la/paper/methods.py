"""The methods of the comparison that are computed here: scores of a test set from a training set.

A method is a function `(sets, seed) -> (scores [S, C], what is to be said of it)`. Nothing is chosen by the test set:
AdaBoost's settings come from cross-validation over training recordings, and what is trained keeps its last epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from sge_la.data import Dataset, Split
from sge_la.features.inputs import Inputs
from sge_la.paper import baselines

# By descriptor; the paper has only the first.
NEIGHBOURS = {
    'D13 + KNN': 'D13',
    'Raw coordinates + nearest neighbour': 'raw',
    'Hip-centred coordinates + nearest neighbour': 'centred',
    'Bone lengths + nearest neighbour': 'bones',
}
ADABOOST = 'D16 + AdaBoost'
LSTM_LAYERS = {'Single-layer LSTM': 1, 'Multi-layer LSTM': 2}
# Classifier, and whether it sees bone lengths beside the centred coordinates; the paper has none of them.
YARDSTICKS = {
    'MLP on coordinates': ('perceptron', False),
    'MLP on coordinates and bone lengths': ('perceptron', True),
    'GRU on coordinates and bone lengths': ('gru', True),
    'Transformer on coordinates and bone lengths': ('transformer', True),
}
_MOST_FOR_CHOICE = 4000
_BATCH_SIZE = 128


@dataclass(frozen=True)
class Sets:
    """Training and test sequences of a data set that belong to somebody, with their classes."""

    dataset: Dataset
    train: Split
    test: Split

    @property
    def num_classes(self) -> int:
        return len(self.dataset.identities)

    def side(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Skeletons `[N, T, J, 3]` and classes `[N]` of the sequences that belong to somebody."""
        return split.skeletons[self.dataset.classes(split) >= 0], self.classes(split)

    def classes(self, split: Split) -> np.ndarray:
        """The classes of `side` alone."""
        classes = self.dataset.classes(split)
        return classes[classes >= 0]

    def recordings(self, split: Split) -> np.ndarray | None:
        """The recordings `[N]` of the sequences of `side`, None where they are unknown."""
        return None if split.recordings is None else split.recordings[self.dataset.classes(split) >= 0]

    def labels(self) -> np.ndarray:
        """Classes of the test sequences."""
        return self.classes(self.test)

    def groups(self) -> np.ndarray:
        """What the intervals resample: the recordings of the test sequences, or their people where unknown."""
        recordings = self.recordings(self.test)
        return self.labels() if recordings is None else recordings

    def described(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Training vectors, their classes, and test vectors, standardised by the training vectors."""
        (skeletons, classes), (probes, _) = self.side(self.train), self.side(self.test)
        both = (baselines.descriptor(side, self.dataset.skeleton, name) for side in (skeletons, probes))
        vectors, probes = baselines.standardise(*both)
        return vectors, classes, probes


@dataclass(frozen=True)
class Method:
    """A method that is computed here: `measure(sets, seed)` gives scores [S, C] and a note.

    `settings` is what the scores depend on besides data and seed.
    """

    measure: Callable[[Sets, int], tuple[np.ndarray, str]]
    seeded: bool = False
    named_joints: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)


def methods(lstm_epochs: int, yardstick_epochs: int) -> dict[str, Method]:
    """All methods by name."""
    found = {name: Method(partial(nearest_neighbour, describe=NEIGHBOURS[name])) for name in NEIGHBOURS}
    found[ADABOOST] = Method(adaboost, seeded=True)
    for name, layers in LSTM_LAYERS.items():
        settings = {'layers': layers, 'epochs': lstm_epochs}
        found[name] = Method(partial(lstm, **settings), seeded=True, named_joints=False, settings=settings)
    for name, (kind, sizes) in YARDSTICKS.items():
        settings = {'kind': kind, 'sizes': sizes, 'epochs': yardstick_epochs}
        found[name] = Method(partial(yardstick, **settings), seeded=True, named_joints=sizes, settings=settings)
    return found


def yardstick(sets: Sets, seed: int, *, kind: str, sizes: bool, epochs: int) -> tuple[np.ndarray, str]:
    """Scores of a plain classifier on the inputs of the modern recipe, with bone lengths (`sizes`) or without."""
    from sge_la.backends.classifiers import trained_scores

    (skeletons, classes), (probes, _) = sets.side(sets.train), sets.side(sets.test)
    bones = sets.dataset.skeleton if sizes else None
    made = Inputs.fit(skeletons, np.arange(len(skeletons)), bones, centred=True, standardised=True)
    train, test = (_vectors(made, side) for side in (skeletons, probes))
    scores = trained_scores(kind, train, classes, test, sets.num_classes, epochs=epochs, seed=seed)
    return scores, f'the last of {epochs} epochs'


def _vectors(made: Inputs, skeletons: np.ndarray) -> np.ndarray:
    """One vector a frame, float32 [N, T, 3 J + bones]: each bone length stands there once."""
    found = made.of(skeletons)
    joints = found[:, :, : made.joints].reshape(*found.shape[:2], -1)
    return np.concatenate([joints, found[:, :, made.joints :, 0]], axis=2)


def nearest_neighbour(sets: Sets, seed: int, describe: str) -> tuple[np.ndarray, str]:
    """Scores of the nearest neighbour among all training sequences; nothing is random."""
    vectors, classes, probes = sets.described(describe)
    scores = baselines.nearest_neighbour_scores(vectors, classes, probes, sets.num_classes, show_progress=True)
    return scores, 'k = 1' if describe == 'D13' else ''


def adaboost(sets: Sets, seed: int) -> tuple[np.ndarray, str]:
    """Scores of AdaBoost on D16."""
    vectors, classes, probes = sets.described('D16')
    recordings = sets.recordings(sets.train)
    settings = chosen_settings(vectors, classes, recordings)
    scores = baselines.adaboost_scores(vectors, classes, probes, sets.num_classes, seed=seed, **settings)
    words = ', '.join(f'{name.replace("_", " ")} {value}' for name, value in settings.items())
    unit = 'sequences' if recordings is None else 'recordings'
    return scores, f'our own list of 16 measures; {words} by cross-validation on training {unit}'


def chosen_settings(vectors: np.ndarray, classes: np.ndarray, recordings: np.ndarray | None, seed: int = 0) -> dict:
    """The settings of AdaBoost with the best mean accuracy in two-fold cross-validation.

    Folds are whole recordings of each person; where recordings are unknown, the halves of each person's sequences in
    file order. At most 4000 sequences take part, drawn at random.
    """
    fold = _folds(classes, recordings)
    kept = np.sort(np.random.default_rng(seed).permutation(len(classes))[:_MOST_FOR_CHOICE])
    vectors, classes, fold = vectors[kept], classes[kept], fold[kept]
    both = np.intersect1d(classes[fold == 0], classes[fold == 1])
    inside = np.isin(classes, both)
    vectors, fold = vectors[inside], fold[inside]
    people, classes = np.unique(classes[inside], return_inverse=True)
    if len(people) < 2:
        return {'rounds': 50, 'depth': 1, 'learning_rate': 1.0}  # scikit-learn's own
    deep = int(np.ceil(np.log2(len(people))))
    best = (-1.0, {})
    for depth in (deep + 2, deep + 6):
        for rate in (0.3, 1.0):
            settings = {'rounds': 50, 'depth': depth, 'learning_rate': rate}
            right = []
            for test in (0, 1):
                train = fold != test
                args = vectors[train], classes[train], vectors[~train], len(people)
                scores = baselines.adaboost_scores(*args, seed=seed, **settings)
                right.append(np.mean(scores.argmax(axis=1) == classes[~train]))
            best = max(best, (float(np.mean(right)), settings), key=lambda item: item[0])
    return best[1]


def _folds(classes: np.ndarray, recordings: np.ndarray | None) -> np.ndarray:
    """0 or 1 for each sequence: every other recording of a person, or the second half of its sequences."""
    fold = np.zeros(len(classes), np.int64)
    for person in np.unique(classes):
        own = np.flatnonzero(classes == person)
        if recordings is not None and len(np.unique(recordings[own])) > 1:
            fold[own] = np.unique(recordings[own], return_inverse=True)[1] % 2
        else:
            fold[own[len(own) // 2 :]] = 1
    return fold


def lstm(sets: Sets, seed: int, *, layers: int, epochs: int) -> tuple[np.ndarray, str]:
    """Scores of an LSTM that learns from labels; sequences stand in one random order, the same in all epochs."""
    from sge_la.evaluation.scores import labelled_scores
    from sge_la.model.labelled_lstm import initial_params
    from sge_la.runs.states import fresh_state
    from sge_la.training.labelled import fit_labelled

    skeletons, classes = sets.side(sets.train)
    start = fresh_state(initial_params(skeletons.shape[2], 256, sets.num_classes, seed, layers=layers))
    order = np.random.default_rng([seed, len(classes)]).permutation(len(classes))
    settings = {'epochs': epochs, 'batch_size': min(_BATCH_SIZE, len(classes))}
    *_, state = fit_labelled(skeletons, classes, order, start, **settings)
    return labelled_scores(state.params, sets.side(sets.test)[0]), f'the last of {epochs} epochs'
