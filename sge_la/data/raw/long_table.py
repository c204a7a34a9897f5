"""Long tables, with a line for each joint of each frame, made into tables with a line a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sge_la.data.raw.text import shown
from sge_la.errors import UserError

_JOINT_COLUMNS = {'joint', 'jointname', 'jointid', 'jointtype', 'landmark', 'landmarkname', 'landmarkid'}
_JOINT_COLUMNS |= {'keypoint', 'keypointname', 'keypointid', 'marker', 'markername', 'bodypart'}
_MOST_JOINTS = 1000
# Cells that a line may become: where joints are missing, cells stay empty.
_MOST_CELLS = 3


@dataclass(frozen=True)
class Long:
    """Where things stand in a long table: the joint's name or number; x, y and perhaps z; frame, time and body."""

    joint: int
    axes: Sequence[int]
    beside: Sequence[int]


@dataclass
class _Frame:
    """A frame that is being put together: where it starts, its frame, time and body, and the joints that it has."""

    line: int
    key: list[str]
    joints: dict[str, list[str]] = field(default_factory=dict)


def long_columns(names: Sequence[str], roles: Callable[[set[int]], Iterable[int | None]]) -> Long | None:
    """The columns of a long table, None where the table is none.

    `names`: of the columns; `roles`: gives the columns of frame, time and body among those that are not used yet.
    """
    keys = [''.join(filter(str.isalnum, name.casefold())) for name in names]
    joint = next((at for at, key in enumerate(keys) if key in _JOINT_COLUMNS), None)
    axes = [
        next((at for at, key in enumerate(keys) if key in (axis, f'position{axis}', f'pos{axis}', f'{axis}pos')), None)
        for axis in 'xyz'
    ]
    if joint is None or None in axes[:2]:
        return None
    axes = [at for at in axes if at is not None]
    return Long(joint, axes, [at for at in roles({joint, *axes}) if at is not None])


def widened(
    rows: Iterable[tuple[int, list[str]]], names: Sequence[str], long: Long, where: str
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """A line a frame: names of the columns, and number and fields of each line.

    `rows`: number and fields of each line; `names`: of its columns; `long`: where things stand in it; `where`: the
    file, for the errors. A frame ends where frame, time or body change, or, without those, where a joint comes again.
    Raises UserError: a joint is twice in a frame, or the lines of a frame do not follow each other.
    """
    frames: list[_Frame] = []
    joints: dict[str, None] = {}
    count = 0
    for line, fields in rows:
        count += 1
        key, joint = [fields[at].strip() for at in long.beside], fields[long.joint].strip()
        if not frames or frames[-1].key != key or (joint in frames[-1].joints and not long.beside):
            frames.append(_Frame(line, key))
        if joint in frames[-1].joints:
            raise UserError(
                f'{where}, line {line}: {shown(joint)} is in this frame already; if the file holds two bodies, add a '
                'column that tells them apart, or keep one of them'
            )
        frames[-1].joints[joint] = [fields[at] for at in long.axes]
        joints[joint] = None
        if len(joints) > _MOST_JOINTS:
            raise UserError(f'{where}, line {line}: at most {_MOST_JOINTS} joints were expected; check the columns')
    if len(frames) * len(joints) > _MOST_CELLS * count:
        raise UserError(
            f'{where}: lines of a frame were expected one after another, with all of its {len(joints)} joints, found '
            f'{count} lines for {len(frames)} frames; sort the lines by frame'
        )
    axes = 'xyz'[: len(long.axes)]
    header = [*(names[at] for at in long.beside), *(f'{joint}_{axis}' for joint in joints for axis in axes)]
    lost = [''] * len(axes)
    return header, [
        (frame.line, [*frame.key, *(cell for joint in joints for cell in frame.joints.get(joint, lost))])
        for frame in frames
    ]
