"""Makes recordings usable: sees to lost joints, and turns units and axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sge_la.data.quality.findings import Finding
from sge_la.data.quality.lost import filled, lost_finding, lost_joints
from sge_la.data.skeletons import Skeleton
from sge_la.data.way import Way
from sge_la.errors import UserError


@dataclass(frozen=True)
class Usable:
    """A recording whose frames can be cut: float32 `[F, J, 3]`, metres, y up, and their numbers, int64 `[F]`.

    `lost`: frames in which a joint was lost before; `finding`: which, and what was done about it, None for none.
    """

    frames: np.ndarray
    numbers: np.ndarray
    lost: int
    finding: Finding | None


# The length of every bone of a skeleton of unit size, in metres: about what those of a Kinect measure on average.
UNIT_BONE = 0.2


def unit_size(frames: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Takes height, bone lengths and place away: directions of bones are left.

    `frames`: `[F, J, 3]`, metres. Returns the same with the root at the origin and each bone `UNIT_BONE` long; one that
    had no length, which has no direction either, has none.
    """
    result = np.zeros_like(frames)
    done = {skeleton.centre}
    while len(done) < len(skeleton.joints):
        outwards = [(at, inner) for at, inner in enumerate(skeleton.parents) if inner in done and at not in done]
        for outer, inner in outwards:
            bone = frames[:, outer] - frames[:, inner]
            length = np.linalg.norm(bone, axis=1, keepdims=True)
            result[:, outer] = result[:, inner] + UNIT_BONE * bone / np.where(length > 0, length, 1)
        done.update(outer for outer, _ in outwards)
    return result


def make_usable(
    name: str,
    frames: np.ndarray,
    numbers: np.ndarray,
    skeleton: Skeleton | None,
    origin: Sequence[int],
    way: Way,
) -> Usable:
    """Sees to lost joints, then turns the axes, then brings skeletons to unit size if the way says so.

    `frames`, `numbers`: `[F, J, 3]` as read, and `[F]`, what the frames are called; `origin`: joints that are the
    origin, as `origin_joints` gives them. Joints that stay lost keep their mark. Raises UserError: NaN is to be kept.
    """
    usable = _in_metres(name, frames, numbers, skeleton, origin, way)
    return replace(usable, frames=unit_size(usable.frames, skeleton)) if way.unit_size and skeleton else usable


def _in_metres(
    name: str, frames: np.ndarray, numbers: np.ndarray, skeleton: Skeleton | None, origin: Sequence[int], way: Way
) -> Usable:
    lost = left = lost_joints(frames, origin)
    finding = lost_finding(name, frames, lost, skeleton, numbers)
    if finding is None:
        return Usable(way.axes(frames), numbers, 0, None)
    if way.lost == 'keep' and not np.isfinite(frames).all():
        raise UserError(
            f'{name} has coordinates that are no numbers, and --lost keep cannot keep those; leave those frames out, '
            'or prepare with --lost drop or interpolate'
        )
    if way.lost == 'interpolate':
        frames, left = filled(frames, lost, numbers, way.max_gap)
    kept = np.ones(len(frames), bool) if way.lost == 'keep' else ~np.any(left, axis=1)
    finding = replace(finding, text=f'{finding.text}; {_done(lost, kept, way)}')
    frames = np.where(left[..., None], frames, way.axes(frames))
    return Usable(frames[kept], numbers[kept], int(lost.any(axis=1).sum()), finding)


def _done(lost: np.ndarray, kept: np.ndarray, way: Way) -> str:
    if way.lost == 'keep':
        return 'kept as they are'
    healed, gone = int((lost.any(axis=1) & kept).sum()), int((~kept).sum())
    done = [f'filled in: {healed}'] if healed else []
    done += [f'left out: {gone}, and no sequence crosses the gap'] if gone else []
    return '; '.join(done)
