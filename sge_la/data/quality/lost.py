"""Lost tracking: where a sensor lost joints, and what is done about those frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from sge_la.data.quality.findings import Finding
from sge_la.data.skeletons import Skeleton

# Where trackers put a joint that they have lost; exactly there in all coordinates. NaN means the same.
_MARKS = (0.0, -1.0)


def lost_joints(frames: np.ndarray, origin: Iterable[int] = ()) -> np.ndarray:
    """Where tracking was lost: bool `[F, J]` for `[F, J, 3]`.

    A joint counts as lost where it is not finite, or exactly at the origin or at (−1, −1, −1); an axis that is constant
    (2D data) does not count. `origin`: joints that are the origin of the coordinates, as `origin_joints` finds them.
    """
    lost = ~np.isfinite(frames).all(axis=2)
    moving = moving_axes(frames)
    for mark in _MARKS:
        lost |= np.logical_and.reduce([frames[..., axis] == mark for axis in moving])
    centred = list(origin)
    lost[:, centred] = ~np.isfinite(frames[:, centred]).all(axis=2)
    if centred:
        # Where all others are lost, so is the origin.
        lost[:, centred] |= np.delete(lost, centred, axis=1).all(axis=1)[:, None]
    return lost


def origin_joints(recordings: Iterable[np.ndarray]) -> tuple[int, ...]:
    """Joints that are the origin of every frame of all recordings `[F, J, 3]`: coordinates were centred there."""
    found: np.ndarray | None = None
    for frames in recordings:
        at_origin = (frames == 0).all(axis=(0, 2))
        found = at_origin if found is None else found & at_origin
    return () if found is None or found.all() else tuple(np.flatnonzero(found).tolist())


def moving_axes(frames: np.ndarray) -> list[int]:
    """The axes on which not all coordinates are equal; all three if there is none."""
    moving = [axis for axis in range(frames.shape[2]) if (frames[..., axis] != frames[:1, :1, axis]).any()]
    return moving or list(range(frames.shape[2]))


def lost_finding(
    name: str,
    frames: np.ndarray,
    lost: np.ndarray,
    skeleton: Skeleton | None,
    numbers: np.ndarray | None = None,
    place: Callable[[int], str] = 'frame {}'.format,
) -> Finding | None:
    """Which joints of a recording were lost in how many frames; None if none was.

    `frames`: `[F, J, 3]`; `lost`: bool `[F, J]`; `numbers`: int64 `[F]`, what the
    frames are called; `place`: how a number is said.
    """
    counts = lost.sum(axis=0)
    if not counts.any():
        return None
    empty = np.all(lost, axis=1)
    partly = lost & ~empty[:, None]
    order = [int(joint) for joint in np.argsort(-partly.sum(axis=0), kind='stable') if partly[:, joint].any()]
    names = skeleton.joints if skeleton is not None else [f'joint {joint}' for joint in range(len(counts))]
    told = [f'{names[joint]} in {partly[:, joint].sum()}' for joint in order]
    told += [f'all joints in {empty.sum()}'] if empty.any() else []
    first = int(lost.any(axis=1).argmax())
    value = frames[first, int(lost[first].argmax())]
    where = 'NaN' if not np.isfinite(value).all() else ', '.join(f'{number:g}' for number in value)
    first = first if numbers is None else int(numbers[first])
    text = f'{name}: of {len(frames)} frames, {int(lost.any(axis=1).sum())} have lost joints: {some(told)}'
    text += f' (first in {place(first)}, at {where})'
    return Finding(Path(name), text, 'lost')


def some(values: Sequence[object], most: int = 4) -> str:
    more = len(values) - most
    return ', '.join(map(str, values[:most])) + (f' and {more} more' if more > 0 else '')


def filled(frames: np.ndarray, lost: np.ndarray, numbers: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Puts joints that were lost for a moment between where they were before and after.

    `frames`: float32 `[F, J, 3]`; `lost`: bool `[F, J]`; `numbers`: int64 `[F]`; `most`: frames in a row that are
    filled at most; nothing is put where the numbers jump. Returns frames and what is still lost, both new.
    """
    frames, left = frames.copy(), lost.copy()
    for joint in np.flatnonzero(lost.any(axis=0)):
        seen = np.flatnonzero(~lost[:, joint])
        for before, after in zip(seen[:-1].tolist(), seen[1:].tolist(), strict=True):
            if 1 < after - before <= most + 1 and numbers[after] - numbers[before] == after - before:
                share = np.arange(1, after - before)[:, None] / (after - before)
                start, end = frames[before, joint], frames[after, joint]
                frames[before + 1 : after, joint] = start + share * (end - start)
                left[before + 1 : after, joint] = False
    return frames, left
