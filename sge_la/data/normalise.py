"""The two ways in which the original brings CASIA-B's coordinates into one place, before anything is learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sge_la.data.dataset import Dataset, Split

# CME's file of all conditions together, which the original takes the range of cells from.
EVERYBODY = 'all'


def head_at_origin(skeletons: np.ndarray) -> np.ndarray:
    """Subtracts joint 0, the head, from all joints of its frame (`--norm 1`); the head is then 0 everywhere.

    `skeletons`: float32 `[N, T, J, 3]`, metres. Returns the same shape and type, metres.
    """
    return skeletons - skeletons[:, :, :1]


@dataclass(frozen=True)
class CellScale:
    """The range of each cell (frame of the sequence, joint, axis) over a set of sequences (`--norm 0`).

    `low`, `high`: float32 `[T, J, 3]`, metres.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, skeletons: np.ndarray) -> CellScale:
        """The range over `[N, T, J, 3]`, N > 0."""
        return cls(skeletons.min(axis=0), skeletons.max(axis=0))

    def __call__(self, skeletons: np.ndarray) -> np.ndarray:
        """(x − low) / (high − low + 1), `[N, T, J, 3]`; the original adds 1 so that nothing is divided by 0.

        A sequence reversed in time and scaled by the range of reversed sequences, as the original scales targets, is
        the scaled sequence reversed: a frame's range goes with the frame.
        """
        return (skeletons - self.low) / (self.high - self.low + 1)


def normalised(dataset: Dataset, options) -> Dataset:
    """Puts the head at the origin (`--norm 1`) or scales cell by cell (`--norm 0`), in all sets alike.

    With `--norm 0` all sets are scaled by the training set's range. On CME the original scales the training set so,
    and probes and gallery by the range of the whole test file; `--faithful` does that.
    """
    if options.norm:
        return _changed(dataset, head_at_origin, head_at_origin)
    scale = CellScale.of(dataset.train.skeletons)
    whole = dataset.tests.get(EVERYBODY)
    return _changed(dataset, scale, scale if whole is None else CellScale.of(whole.skeletons))


def _changed(dataset: Dataset, train: Callable, test: Callable) -> Dataset:
    def change(split: Split, function: Callable) -> Split:
        return replace(split, skeletons=function(split.skeletons))

    tests = {name: change(split, test) for name, split in dataset.tests.items() if name != EVERYBODY}
    return replace(dataset, train=change(dataset.train, train), tests=tests)
