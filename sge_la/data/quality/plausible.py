"""Whether skeletons can be meant as they are: lost tracking, units, directions, sides, bones, jumps.

Arrays in, findings out; `prepare`, `check`, `identify` and the Python API ask the same questions. A recording is
measured once (`measure`), a set of them has something typical (`typical`), and each is compared with that (`doubts`).

The thresholds were measured on KGBD's 822 recordings, after clipping. None of them differs in size, height, upright
direction or sides. 2 have lost joints (9 in all). 41 of 32 people have jumps: in most of these files a second, farther
body takes turns with the walker, up to 37 times. 62 have a bone of unsteady length: nearly always the hip, where the
tracker finds the joint badly, or a hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sge_la.data.dataset import spread
from sge_la.data.layout import AXES
from sge_la.data.quality.body import Body, levels, measure, upright
from sge_la.data.quality.findings import Finding
from sge_la.data.quality.lost import lost_joints, origin_joints, some
from sge_la.data.skeletons import Skeleton

# People's sizes differ less: KGBD's recordings have 0.71 to 1.17 times the typical bones.
_OTHER_SIZE = 1.6
# Nor is any person so large or small beside another: another unit.
_OTHER_UNIT = 5.0
# A body's diagonal up to here is in metres, up to the second in centimetres, beyond in millimetres: 0.27 to 2.7 m tell
# all three apart. Nothing smaller than the first number is a body in metres.
_SMALLEST, _METRES, _CENTIMETRES = 0.05, 8.0, 270.0
# Least correlation of what lies in front of the body; 812 of KGBD's recordings have more, all have more than 0.1.
_ALIKE = 0.5
# Share of recordings that must agree before one of them is judged by the others.
_AGREEING = 0.9
# Half the spread of 68 % of a bone's lengths, relative to its median.
_UNSTEADY = 0.5
# Recordings that are asked what they have in common with all others.
_SAMPLE = 50
# Findings of one kind that are told one by one.
_FEW = {'lost': 12, 'units': 12, 'up': 12}


@dataclass(frozen=True)
class Typical:
    """What the bodies of a set have in common.

    `size`, `bones`: medians; `up`: (axis, 1 or −1) that the body is upright along, None where the recordings do not
    agree; `profile`: `[J]`, the order of the joints along it; `height`: median extent along it; `forward`: `[J]`, which
    joints lie in front, None where the recordings do not agree; `origin`: joints that are the origin of all frames.
    """

    size: float
    bones: np.ndarray
    up: tuple[int, int] | None = None
    profile: np.ndarray | None = None
    height: float = 0.0
    forward: np.ndarray | None = None
    origin: tuple[int, ...] = ()


def typical(bodies: Sequence[Body], skeleton: Skeleton | None) -> Typical | None:
    """What the bodies have in common; None without any. Medians are values that occur, never means of two."""
    if not bodies:
        return None
    size = float(np.quantile([body.size for body in bodies], 0.5, method='lower'))
    bones = np.quantile([body.bones for body in bodies], 0.5, axis=0, method='lower')
    poses = np.stack([body.pose for body in bodies])
    few = poses[spread(len(poses), _SAMPLE)]
    named = levels(skeleton)
    # Without names: from head to feet a body is longest.
    profiles = [named] if named is not None else [pose[:, (pose**2).sum(axis=0).argmax()] for pose in few]
    up, profile = max((_common_up(poses, one) for one in profiles), key=lambda found: found[0])[1:]
    if up is None:
        return Typical(size, bones)
    height = float(np.quantile([body.spans[up[0]] for body in bodies], 0.5, method='lower'))
    return Typical(size, bones, up, profile, height, _common_forward(bodies, up[0]))


def _common_up(poses: np.ndarray, profile: np.ndarray) -> tuple[float, tuple[int, int] | None, np.ndarray | None]:
    """How many agree on which direction, if nearly all recordings have one."""
    found = [upright(pose, profile) for pose in poses]
    clear = [up for up in found if up is not None]
    if len(clear) < _AGREEING * len(found):
        return 0, None, None
    up = max(dict.fromkeys(clear), key=clear.count)
    return clear.count(up), up, profile


def _common_forward(bodies: Sequence[Body], axis: int) -> np.ndarray | None:
    if any(body.forward is None for body in bodies):
        return None
    fronts = np.stack([body.forward[axis] for body in bodies])
    fronts /= np.maximum(np.linalg.norm(fronts, axis=1, keepdims=True), 1e-12)
    few = fronts[spread(len(fronts), _SAMPLE)]
    alike = few @ fronts.T
    best = int((alike >= _ALIKE).sum(axis=1).argmax())
    return few[best] if (np.abs(alike[best]) >= _ALIKE).mean() >= _AGREEING else None


def doubts(
    name: str,
    body: Body,
    usual: Typical,
    skeleton: Skeleton | None,
    among: str,
    place: Callable[[int], str] = 'frame {}'.format,
) -> list[Finding]:
    """What cannot well be meant about a recording, beside what is usual.

    `among`: where that is usual, such as 'in the other recordings'; `place`: how the number of a frame is said. Graver
    findings come first.
    """
    path = Path(name)
    found = _other_size(path, body, usual, among)
    up = None if usual.profile is None else upright(body.pose, usual.profile)
    if up is not None and up != usual.up:
        found.append(
            Finding(
                path,
                f'{name}: the body is upright along {direction(up)} in all frames, and along {direction(usual.up)} '
                f'{among}; turn its coordinates',
                'up',
                grave=True,
            )
        )
    elif up is not None:
        found += _other_shape(path, body, usual, among)
    outer = skeleton.bones[0] if skeleton is not None else ()
    unsteady = [
        f'{skeleton.joints[outer[bone]]} ({body.spread[bone]:.0%})' for bone in np.flatnonzero(body.spread > _UNSTEADY)
    ]
    if unsteady:
        text = f'{name}: bones should have a steady length, and those that end at {some(unsteady)} vary so much'
        found.append(Finding(path, f'{text} from frame to frame; look whether tracking was good there', 'bones'))
    if body.jumps:
        text = f'{name}: the whole body jumps by more than half its size to {some(list(map(place, body.jumps)))}'
        found.append(
            Finding(path, f'{text}; if that is another person, or frames are missing, cut the recording there', 'jump')
        )
    if body.still:
        joints = [skeleton.joints[joint] if skeleton else f'joint {joint}' for joint in body.still]
        text = f'{name}: {some(joints)} never moved, while others do'
        found.append(Finding(path, f'{text}; leave out that joint, or the recording', 'still'))
    return found


def _other_size(path: Path, body: Body, usual: Typical, among: str) -> list[Finding]:
    known = (body.bones > 0) & (usual.bones > 0)
    factor = body.size / usual.size if usual.size else 1.0
    if known.any():
        factor = float(np.median(body.bones[known] / usual.bones[known]))
    if 1 / _OTHER_SIZE <= factor <= _OTHER_SIZE:
        return []
    grave = not 1 / _OTHER_UNIT <= factor <= _OTHER_UNIT
    what = 'the body is' if not known.any() else 'bones are'
    text = (
        f'{path}: {what} {factor:.3g} times as long as {among} (the whole body {body.size:.4g}, and {usual.size:.4g})'
    )
    here, there = unit_of(body.size), unit_of(usual.size)
    if grave:
        hint = f': {here} among {there}' if here != there else ''
        return [Finding(path, f'{text}{hint}; bring all recordings to one unit', 'units', grave=True)]
    return [Finding(path, f'{text}; check who or what was recorded', 'size')]


def _other_shape(path: Path, body: Body, usual: Typical, among: str) -> list[Finding]:
    """Height and sides, of a body that is upright along the usual axis."""
    axis, found = usual.up[0], []
    factor = body.spans[axis] / body.size / (usual.height / usual.size) if usual.height and body.size else 1.0
    if not 1 / _OTHER_SIZE <= factor <= _OTHER_SIZE:
        text = f'{path}: the body is {factor:.3g} times as high for its size as {among}'
        found.append(Finding(path, f'{text}; check the posture, and that no joint is missing', 'height'))
    if body.forward is not None and usual.forward is not None:
        front = body.forward[axis]
        if front @ usual.forward < -_ALIKE * np.linalg.norm(front):
            text = f'{path}: what is in front of the body {among} lies behind it in all frames'
            found.append(Finding(path, f'{text}: left and right are swapped or mirrored; swap them back', 'sides'))
    return found


def unit_of(size: float) -> str:
    """The unit that a body of this diagonal is measured in."""
    return 'metres' if size < _METRES else 'centimetres' if size < _CENTIMETRES else 'millimetres'


def direction(up: tuple[int, int]) -> str:
    """Such as '-y'."""
    return ('' if up[1] > 0 else '-') + AXES[up[0]]


def look_through(
    recordings: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    skeleton: Skeleton | None,
    place: Callable[[int], str] = 'frame {}'.format,
) -> list[Finding]:
    """Compares the recordings of a set with each other; lost tracking is told by `lost_finding`, not here.

    `recordings`: name → frames `[F, J, 3]`, metres, and their numbers or None. What holds for all comes first.
    """
    bodies, usual = bodies_of(recordings, skeleton)
    if usual is None:
        return []
    found = _of_the_set(bodies, usual, skeleton)
    for name, body in bodies.items():
        found += doubts(name, body, usual, skeleton, 'in the other recordings', place)
    return found


def bodies_of(
    recordings: Mapping[str, tuple[np.ndarray, np.ndarray | None]], skeleton: Skeleton | None
) -> tuple[dict[str, Body], Typical | None]:
    """Measures recordings, as `look_through` gets them; and what they have in common, None without any body."""
    origin = origin_joints(frames for frames, _ in recordings.values() if len(frames))
    measured = {
        name: measure(frames, skeleton, lost_joints(frames, origin), numbers, origin)
        for name, (frames, numbers) in recordings.items()
        if len(frames)
    }
    bodies = {name: body for name, body in measured.items() if body is not None}
    usual = typical(list(bodies.values()), skeleton)
    return bodies, usual and replace(usual, origin=origin)


def _of_the_set(bodies: Mapping[str, Body], usual: Typical, skeleton: Skeleton | None) -> list[Finding]:
    """What holds for all recordings, and is told once, by the first of them."""
    path, found = Path(next(iter(bodies))), []
    flat = {axis: [name for name, body in bodies.items() if axis in body.flat] for axis in range(len(AXES))}
    for axis, names in flat.items():
        if names:
            text = (
                f'{AXES[axis]} is one and the same number in {len(names)} of {len(bodies)} recordings ({some(names)})'
            )
            found.append(Finding(path, f'{text}: 2D data, which tell nothing of that direction', 'flat'))
    unit = unit_of(usual.size)
    if not any(flat.values()) and (unit != 'metres' or usual.size < _SMALLEST):
        unit = unit if unit != 'metres' else 'no unit that bodies are measured in'
        text = (
            f'metres were expected, and bodies are {usual.size:.4g} from end to end ({path} and others), as in {unit}'
        )
        short = {'millimetres': 'mm', 'centimetres': 'cm'}.get(unit, 'm')
        found.append(Finding(path, f'{text}; say "units": "{short}" in skeleton.json, or convert them', 'units'))
    if usual.up not in (None, (1, 1)) and levels(skeleton) is not None:
        text = f'bodies are upright along {direction(usual.up)} in all recordings, and y is up in most data sets'
        found.append(Finding(path, f'{text}; say "up": "{direction(usual.up)}" in skeleton.json to turn them', 'axes'))
    if usual.origin:
        joints = some([skeleton.joints[joint] if skeleton else f'joint {joint}' for joint in usual.origin])
        found.append(
            Finding(path, f'{joints} is at 0, 0, 0 in all frames: taken for the origin, not for lost', 'origin')
        )
    return found


def few_of_each(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by kind, the first few of each, and one that names where the rest is."""
    kinds, shown = defaultdict(list), []
    for finding in findings:
        kinds[finding.kind].append(finding)
    for kind, alike in kinds.items():
        few, rest = alike[: _FEW.get(kind, 3)], alike[_FEW.get(kind, 3) :]
        shown += few
        if rest:
            names = some([one.path for one in rest], 8)
            shown.append(replace(rest[0], text=f'the same kind of thing in {len(rest)} more recordings: {names}'))
    return shown
