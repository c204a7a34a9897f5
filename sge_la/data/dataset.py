"""A data set in memory: its splits, and who is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from sge_la.data.skeletons import Skeleton
from sge_la.data.way import Way

# What is said of a data set that tests on the recordings that it trains on, wherever it is used.
LEAKS = 'LEAKS: sequences of one recording are trained on and tested on, and scores are too high'


@dataclass(frozen=True, eq=False)
class Split:
    """The sequences of the training set or of one test set.

    `skeletons`: float32 `[N, T, J, 3]`, metres, in file order, neither centred nor scaled (of a large set
    `data.mapped.MappedSkeletons`); `ids`: label → int64 indices of its sequences in the file's order; labels in rising
    order; `recordings`: int64 `[N]`, the recording that each sequence is from, or None where it is not known;
    `left_out`: as `ids`, of people whom a run is trained without.
    """

    skeletons: np.ndarray
    ids: dict[int, np.ndarray]
    recordings: np.ndarray | None = None
    left_out: dict[int, np.ndarray] = field(default_factory=dict)

    @cached_property
    def labels(self) -> np.ndarray:
        """The label of each sequence, int64 `[N]`; −1 for one that belongs to nobody."""
        return labels_of(self.ids, len(self.skeletons))


def labels_of(ids: dict[int, np.ndarray], count: int) -> np.ndarray:
    """The label of each of `count` sequences, int64 `[N]`; −1 for one that belongs to nobody."""
    labels = np.full(count, -1, np.int64)
    for label, indices in ids.items():
        labels[indices] = label
    return labels


def shared_recordings(train: np.ndarray | None, test: np.ndarray | None) -> np.ndarray:
    """Numbers of the recordings that both have sequences of, rising; none where recordings are not known."""
    return np.empty(0, np.int64) if train is None or test is None else np.intersect1d(train, test)


def groups(keys: np.ndarray) -> Iterator[tuple[int, slice | np.ndarray]]:
    """For each number among `keys` `[N]`, rising, but those below 0: the number, and where it stands.

    Mostly these places lie one behind the other; then they are a slice, which copies nothing.
    """
    order = np.argsort(keys, kind='stable')
    for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
        if len(rows) and keys[rows[0]] >= 0:
            together = slice(int(rows[0]), int(rows[-1]) + 1)
            yield int(keys[rows[0]]), together if len(rows) == rows[-1] - rows[0] + 1 else rows


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the places 0 to `count` − 1, evenly spaced, first and last among them; int64, rising."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set of one length: skeletons, and who they are.

    Attributes:
        name: e.g. 'BIWI'.
        length: T, frames in a sequence.
        layout: 1, 2 or 3: how its files lie.
        root: the folder that they lie in.
        train: the training set.
        tests: test sets by name, in the order in which they are scored.
        identities: the training set's labels, rising; class k of a recognition network is `identities[k]`.
        skeleton: names and bones of the joints, or None where nobody knows them.
        names: of people by label, those that `prepare` kept.
        way: what `prepare` did to the raw recordings.
        leaks: `LEAKS` where training and tests have a recording in common and no views tell its sequences apart, or ''.
    """

    name: str
    length: int
    layout: int
    root: Path
    train: Split
    tests: dict[str, Split]
    identities: tuple[int, ...]
    skeleton: Skeleton | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    way: Way = field(default_factory=Way)
    leaks: str = ''

    def __repr__(self) -> str:
        tests = ', '.join(f'{name} {len(split.skeletons)}' for name, split in self.tests.items())
        return (
            f'<Dataset {self.name}: {len(self.train.skeletons)} training sequences of {self.length} frames and '
            f'{self.joints} joints, {len(self.identities)} people; tests: {tests}>'
        )

    @property
    def joints(self) -> int:
        """J."""
        return self.train.skeletons.shape[2]

    @cached_property
    def class_index(self) -> dict[int, int]:
        """Label → class, 0 to C − 1."""
        return {label: index for index, label in enumerate(self.identities)}

    def class_of(self, label: int) -> int:
        """The class of a label, 0 to C − 1.

        Raises KeyError: the training set does not have the label.
        """
        return self.class_index[label]

    def classes(self, split: Split) -> np.ndarray:
        """The class of each sequence of a split, int64 `[N]`; −1 for one that belongs to nobody."""
        classes = np.full(len(split.skeletons), -1, np.int64)
        for label, indices in split.ids.items():
            classes[indices] = self.class_of(label)
        return classes
