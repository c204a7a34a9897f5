"""Cuts recordings into sequences of T frames.

No sequence crosses from one recording into another, nor a jump in the frame numbers where a recording has such numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cutting:
    """How recordings are cut.

    `length`: T, frames in a sequence, at least 1; `step`: frames from the start of a sequence to the start of the next;
    `length` for no overlap; `offsets`: each recording is cut once for each of these numbers of frames, which are left
    out at its start.
    """

    length: int
    step: int
    offsets: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.length < 1 or self.step < 1 or not self.offsets or min(self.offsets) < 0:
            raise ValueError(f'length and step from 1 and offsets from 0 are needed, found {self}')

    @classmethod
    def whole(cls, length: int) -> Cutting:
        """One sequence behind the other; frames that are left at the end are lost. Every test set is cut like this."""
        return cls(length, length)

    @classmethod
    def dense(cls, length: int) -> Cutting:
        """The published training sets of BIWI, IAS and KS20: step T // 2, once for each offset 0 to T − 1.

        Every start from T // 2 on is used twice (for even T), an earlier one once.
        """
        return cls(length, max(1, length // 2), tuple(range(length)))


@dataclass(frozen=True)
class Sequences:
    """What cutting gives; `N` sequences in the order offset, recording, time.

    `skeletons`: float32 `[N, T, J, 3]`; `recordings`: int64 `[N]`, index of the recording that each is from; `starts`:
    int64 `[N]`, index of its first frame in that recording.
    """

    skeletons: np.ndarray
    recordings: np.ndarray
    starts: np.ndarray

    def inside(self, frames: Sequence[np.ndarray]) -> Sequences:
        """Those that are tested on; `frames`: for each recording the frames of these, int64 `[n, T]`."""
        return self._only(frames, lambda own, held: np.isin(own[:, 0], held[:, 0]))

    def outside(self, frames: Sequence[np.ndarray]) -> Sequences:
        """Those that share no frame with one that is tested on; `frames`: as for `inside`."""
        return self._only(frames, lambda own, held: ~np.isin(own, held).any(axis=1))

    def _only(self, frames: Sequence[np.ndarray], keep: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Sequences:
        """`keep`: which of the frames `[n, T]` of a recording's sequences stay, given those in `frames`: bool `[n]`."""
        chosen, window = np.empty(len(self.starts), bool), np.arange(self.skeletons.shape[1])
        for index, held in enumerate(frames):
            rows = self.recordings == index
            chosen[rows] = keep(self.starts[rows, None] + window, held)
        return Sequences(self.skeletons[chosen], self.recordings[chosen], self.starts[chosen])


def runs(num_frames: int, numbers: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Splits a recording where its frame numbers jump.

    `num_frames`: F; `numbers`: int64 `[F]`, increasing, or None for a recording without jumps. Returns (first, behind
    the last) index of each piece, in order; none for an empty recording.
    """
    if num_frames == 0:
        return []
    jumps = [] if numbers is None else (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    edges = [0, *jumps, num_frames]
    return list(itertools.pairwise(edges))


def starts(pieces: Iterable[tuple[int, int]], cutting: Cutting, offset: int) -> np.ndarray:
    """The first frames of the sequences of one recording for one offset.

    `pieces`: as `runs` gives them; each is cut for itself; `cutting`: length and step; `offset`: frames left out at the
    start of each piece. Returns int64 indices, in order.
    """
    cuts = [np.arange(first + offset, behind - cutting.length + 1, cutting.step) for first, behind in pieces]
    return np.concatenate([np.empty(0, np.int64), *cuts]).astype(np.int64)


def cut(
    frames: Sequence[np.ndarray], cutting: Cutting, numbers: Sequence[np.ndarray | None] | None = None
) -> Sequences:
    """Cuts recordings.

    `frames`: float32 `[F, J, 3]` for each recording, in the order that the sequences shall have; at least one;
    `cutting`: length, step and offsets; `numbers`: for each recording its frame numbers or None; None for none at all.
    Returns the sequences; a recording shorter than `length` gives none.
    """
    numbers = [None] * len(frames) if numbers is None else numbers
    pieces = [runs(len(recording), own) for recording, own in zip(frames, numbers, strict=True)]
    plan = [
        (index, starts(pieces[index], cutting, offset)) for offset in cutting.offsets for index in range(len(frames))
    ]
    total = sum(len(first) for _, first in plan)
    skeletons = np.empty((total, cutting.length, *frames[0].shape[1:]), np.float32)
    window, row = np.arange(cutting.length), 0
    for index, first in plan:
        skeletons[row : row + len(first)] = frames[index][first[:, None] + window]
        row += len(first)
    return Sequences(
        skeletons,
        np.concatenate([np.full(len(first), index, np.int64) for index, first in plan]),
        np.concatenate([first for _, first in plan]),
    )
