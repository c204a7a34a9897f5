"""Long tables, with a line for each joint of each frame, made into tables with a line a frame."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sge_la.data.raw.text import shown
from sge_la.errors import UserError

_JOINT_COLUMNS = {'joint', 'jointname', 'jointid', 'jointtype', 'landmark', 'landmarkname', 'landmarkid'}
_JOINT_COLUMNS |= {'keypoint', 'keypointname', 'keypointid', 'marker', 'markername', 'bodypart'}
_MOST_JOINTS = 1000
# Cells that a line may become: where joints are missing, cells stay empty.
_MOST_CELLS = 3
# Cells are separated by tabs, and quotes would be taken for quotes again.
_NO_TABS = str.maketrans('\t"', '  ')


@dataclass(frozen=True)
class Long:
    """Where things stand in a long table: the joint's name or number; x, y and perhaps z; frame, time and body."""

    joint: int
    axes: Sequence[int]
    beside: Sequence[int]


@dataclass
class _Frame:
    """A frame that is being put together: where it starts, its frame, time and body, and the cells of its joints."""

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
) -> tuple[list[str], list[tuple[int, str]]]:
    """A line a frame: names of the columns, and number and text of each line, tabs between the cells.

    `rows`: number and fields of each line; `names`: of its columns; `long`: where things stand in it; `where`: the
    file, for the errors. A frame ends where frame, time or body change, or, without those, where a joint comes again.
    Raises UserError: a joint is twice in a frame, or the lines of a frame do not follow each other.
    """
    joints: dict[str, None] = {}
    order: tuple[str, ...] = ()
    frames = []
    count = 0
    for frame in _frames(rows, long, where):
        # Nearly always the same joints: kept once. Text takes less than lists.
        order = order if order == (found := tuple(frame.joints)) else found
        joints |= dict.fromkeys(order)
        count += len(order)
        if len(joints) > _MOST_JOINTS:
            raise UserError(f'{where}: at most {_MOST_JOINTS} joints were expected, found more; check the columns')
        cells = '\t'.join(itertools.chain.from_iterable(frame.joints.values()))
        frames.append((frame.line, '\t'.join(frame.key), order, cells))
    if len(frames) * len(joints) > _MOST_CELLS * count:
        raise UserError(
            f'{where}: lines of a frame were expected one after another, with all of its {len(joints)} joints, found '
            f'{count} lines for {len(frames)} frames; sort the lines by frame'
        )
    axes = 'xyz'[: len(long.axes)]
    header = [*(names[at] for at in long.beside), *(f'{joint}_{axis}' for joint in joints for axis in axes)]
    lines, every = [], tuple(joints)
    for line, key, found, cells in frames:
        if found != every:
            place = dict(zip(found, _in_groups(cells.split('\t'), len(axes)), strict=True))
            cells = '\t'.join(cell for joint in every for cell in place.get(joint, [''] * len(axes)))
        lines.append((line, f'{key}\t{cells}' if long.beside else cells))
    return header, lines


def _frames(rows: Iterable[tuple[int, list[str]]], long: Long, where: str) -> Iterator[_Frame]:
    frame: _Frame | None = None
    for line, fields in rows:
        key, joint = [fields[at].translate(_NO_TABS).strip() for at in long.beside], fields[long.joint].strip()
        again = frame is not None and joint in frame.joints
        if frame is None or frame.key != key or (again and not long.beside):
            if frame is not None:
                yield frame
            frame = _Frame(line, key)
        elif again:
            raise UserError(
                f'{where}, line {line}: {shown(joint)} is in this frame already; if the file holds two bodies, add a '
                'column that tells them apart, or keep one of them'
            )
        if len(frame.joints) == _MOST_JOINTS:
            raise UserError(f'{where}, line {line}: at most {_MOST_JOINTS} joints were expected; check the columns')
        frame.joints[joint] = [fields[at].translate(_NO_TABS) for at in long.axes]
    if frame is not None:
        yield frame


def _in_groups(cells: list[str], size: int) -> list[list[str]]:
    return [cells[at : at + size] for at in range(0, len(cells), size)]
