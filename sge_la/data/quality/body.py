"""The body that a recording shows, in numbers: size, pose, bones, what lies in front, jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sge_la.data.dataset import spread
from sge_la.data.quality.lost import moving_axes
from sge_la.data.skeletons import Skeleton

# A joint that is still to the last bit in a recording of so many frames, while others move, was not tracked.
_FROZEN = 10
# Frames of a recording that are measured, evenly spaced.
_SAMPLE = 300
# How much of a body's pose its order from head to feet explains, and how nearly that lies along one axis. KGBD: at
# least 0.97 of the direction.
_EXPLAINED, _ALONG = 0.5, 0.85
# The body's middle moves by this share of its diagonal from one frame to the next.
_JUMP = 0.5
# Heights of joints by words in their names, as shares of the body's height.
_LEVELS = {'head': 1, 'nose': 0.95, 'neck': 0.87, 'shoulder': 0.82, 'chest': 0.72, 'spine': 0.65, 'pelvis': 0.53}
_LEVELS |= {'hip': 0.52, 'knee': 0.28, 'ankle': 0.06, 'heel': 0.02, 'foot': 0.02, 'toe': 0.01}


@dataclass(frozen=True)
class Body:
    """What a recording shows of the body in it; lengths in the recording's unit.

    `size`: the median over frames of the diagonal of the box around all joints; `spans`: that box, `[3]`; `pose`: mean
    place of each joint seen from their middle, in sizes, `[J, 3]`; `forward`: how far each joint lies in front of the
    middle, in sizes, if x, y or z is up, `[3, J]`, the same for left and right; None without enough pairs; `bones`,
    `spread`: median and relative spread of the bones' lengths, `[B]`; `jumps`: numbers of the frames that the middle
    jumps to; `flat`: axes on which nothing ever moves; `still`: joints that never move while others do.
    """

    size: float
    spans: np.ndarray
    pose: np.ndarray
    forward: np.ndarray | None
    bones: np.ndarray
    spread: np.ndarray
    jumps: tuple[int, ...]
    flat: tuple[int, ...]
    still: tuple[int, ...]


def measure(
    frames: np.ndarray,
    skeleton: Skeleton | None,
    lost: np.ndarray,
    numbers: np.ndarray | None = None,
    origin: Sequence[int] = (),
) -> Body | None:
    """Measures a recording `[F, J, 3]`.

    `skeleton`: bones and pairs, None where they are not known; `lost`: bool `[F, J]` as `lost_joints` has it;
    `numbers`: int64 `[F]`, numbers of the frames, None for 0 to F − 1. Frames with a lost joint are left out. `origin`:
    joints that are the origin of the coordinates, and never move. Returns None if no frame is left.
    """
    kept = np.flatnonzero(~lost.any(axis=1))
    if not len(kept):
        return None
    whole = frames[kept]
    numbers = np.arange(len(frames)) if numbers is None else numbers
    chosen = whole[spread(len(whole), _SAMPLE)].astype(np.float64)
    spans = chosen.max(axis=1) - chosen.min(axis=1)
    size = float(np.median(np.linalg.norm(spans, axis=1)))
    offsets = (chosen - chosen.mean(axis=1, keepdims=True)) / max(size, 1e-12)
    lengths = _bone_lengths(chosen, skeleton)
    low, middle, high = np.quantile(lengths, (0.16, 0.5, 0.84), axis=0)
    still = (whole == whole[:1]).all(axis=(0, 2))
    still[list(origin)] = False
    return Body(
        size=size,
        spans=np.median(spans, axis=0),
        pose=offsets.mean(axis=0),
        forward=_forward(offsets, skeleton),
        bones=middle,
        spread=(high - low) / 2 / np.maximum(middle, 1e-12),
        jumps=_jumps(whole, numbers[kept], _JUMP * size),
        flat=tuple(axis for axis in range(3) if axis not in moving_axes(whole)),
        still=() if len(whole) < _FROZEN or still.all() else tuple(np.flatnonzero(still).tolist()),
    )


def _bone_lengths(frames: np.ndarray, skeleton: Skeleton | None) -> np.ndarray:
    if skeleton is None:
        return np.zeros((len(frames), 0))
    outer, inner = skeleton.bones
    return np.linalg.norm(frames[:, outer] - frames[:, inner], axis=2)


def _jumps(frames: np.ndarray, numbers: np.ndarray, most: float) -> tuple[int, ...]:
    """The numbers of the frames to which the middle of the body moves farther than `most`, from the frame before."""
    steps = np.linalg.norm(np.diff(frames.mean(axis=1, dtype=np.float64), axis=0), axis=1)
    return tuple(numbers[1:][(steps > most) & (np.diff(numbers) == 1)].tolist())


def _forward(offsets: np.ndarray, skeleton: Skeleton | None) -> np.ndarray | None:
    """`Body.forward`. A walker's left is known by the names alone, and forward is between left and up."""
    if skeleton is None or not skeleton.pairs or len(skeleton.joints) - len(skeleton.pairs) < 5:
        return None
    left, right = np.array(skeleton.pairs).T
    sideways = (offsets[:, left] - offsets[:, right]).mean(axis=1)
    found = np.empty((3, len(skeleton.joints)))
    for axis, up in enumerate(np.eye(3)):
        ahead = np.cross(sideways, up)
        ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-12)
        found[axis] = np.einsum('fja,fa->j', offsets, ahead) / len(offsets)
    found[:, left] = found[:, right] = (found[:, left] + found[:, right]) / 2
    return found


def levels(skeleton: Skeleton | None) -> np.ndarray | None:
    """The order of the joints from the feet up, `[J]`, by the words in their names; None where they say too little."""
    if skeleton is None:
        return None
    levels = np.array(
        [next((level for word, level in _LEVELS.items() if word in joint.lower()), np.nan) for joint in skeleton.joints]
    )
    known = np.isfinite(levels)
    if known.sum() < 2 or np.ptp(levels[known]) < 0.2:
        return None
    return np.where(known, levels - levels[known].mean(), 0.0)


def upright(pose: np.ndarray, profile: np.ndarray) -> tuple[int, int] | None:
    """The axis and the sign that the joints' order lies along; None where it is none of the axes."""
    along = profile @ pose
    explained = np.abs(along).max() / max(float(np.linalg.norm(profile) * np.linalg.norm(pose)), 1e-12)
    axis = int(np.abs(along).argmax())
    if explained < _EXPLAINED or np.abs(along[axis]) < _ALONG * np.linalg.norm(along):
        return None
    return axis, 1 if along[axis] > 0 else -1
