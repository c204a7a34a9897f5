"""Tables of coordinates as spreadsheets, pandas and sensors' tools write them: a header, and a line a frame.

Commas, semicolons or tabs separate the columns; blanks, where there are none of those. A coordinate is a column
`<joint>_x` (or `.x`, `_X`, `X`), in any order, and joints that are called by numbers (`x0`, `3_y`) are taken in the
skeleton's order. A frame column or a column of times tells where frames are missing; a column of bodies, which lines
are one body's. An empty cell, or NaN, is a joint that was not seen. All other columns are left out, and named. A line
a joint is made into a line a frame (`long_table`); without a header, columns are those of the skeleton.
"""

from __future__ import annotations

import csv
import math
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sge_la.data.raw import clock
from sge_la.data.raw.bodies import choose
from sge_la.data.raw.long_table import long_columns, widened
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.raw.text import coordinate, coordinates, shown
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError

AXES = ('x', 'y', 'z')
_LARGEST_FRAME_NUMBER = 2**53
_LINES_AT_ONCE = 1024
_COORDINATE = re.compile(r'(?P<joint>.+?)(?:[ _.:-]+|(?<=[a-z0-9])(?=[XYZ]$))(?P<axis>[xyzXYZ])')
_POSITION = re.compile(r'(?<=.)[ _.:-]+(?i:position|pos)$')
_NUMBERED = re.compile(
    r'(?i:(?P<first>[xyz])_?(?P<number>\d{1,4})|[a-z]*[ _.-]?(?P<joint>\d{1,4})[ _.:-]?(?P<axis>[xyz]))'
)
_BODY_COLUMNS = {'body', 'bodyid', 'bodyindex', 'trackingid', 'trackid', 'skeletonid', 'personid', 'userid', 'playerid'}
_FRAME_COLUMNS = {f'frame{word}' for word in ('', 's', 'number', 'no', 'num', 'nr', 'id', 'index', 'idx')}
# What programs write where a joint was not seen.
_LOST = {'', 'nan', '-nan', 'nan(ind)', '-nan(ind)', 'na', 'n/a', 'null', 'none'}
_DECIMAL_COMMA = re.compile(r'-?\d+,\d+')


@dataclass(frozen=True)
class Columns:
    """Where things stand in a line.

    `wanted`: columns of the coordinates, joint by joint, each x, y, z; -1 for a z that the table lacks; `frame`,
    `time`, `body`: columns of those, or None; `names`: of all columns; `notes`: sentences on what is left out.
    """

    wanted: Sequence[int]
    frame: int | None
    time: int | None
    body: int | None
    names: Sequence[str]
    notes: tuple[str, ...] = ()


def parse(text: str, raw: RawRecording, skeleton: Skeleton) -> Recording:
    """Turns the text of a table into a recording.

    `text`: the lines, separated by newlines; `raw`: the file, which errors name; `skeleton`: the joints that are
    wanted, in the order of the result. Raises UserError: a joint is missing, a line does not fit, or something is no
    number.
    """
    where = str(raw.path)
    lines = [(number, line) for number, line in enumerate(text.split('\n'), 1) if line.strip()]
    if not lines:
        raise UserError(f'{where} is empty; it should have a header and a line for each frame')
    columns, separator, rest = opened(lines, skeleton, where)
    if not rest:
        raise UserError(f'{where} has a header and no frame; add frames or take it out of recordings.csv')
    return of_lines(rest, columns, separator, raw)


def opened(lines: list[tuple[int, str]], skeleton: Skeleton, where: str) -> tuple[Columns, str, list[tuple[int, str]]]:
    """Where things stand in a line, what separates the columns, and the lines of the frames.

    `lines`: number and text of each, the header first, at least one. Raises UserError: a joint is missing.
    """
    names, rest, separator, notes = _header(lines, skeleton, where)
    columns = find_columns(names, f'{where}, line {lines[0][0]}', skeleton)
    return replace(columns, notes=(*notes, *columns.notes)), separator, rest


def of_lines(lines: list[tuple[int, str]], columns: Columns, separator: str, raw: RawRecording) -> Recording:
    """The recording in lines of frames, of one body where there are several; arguments and errors of `read_lines`."""
    lines, chosen = _one_body(lines, columns, separator, raw)
    recording = read_lines(lines, columns, separator, raw)
    return replace(recording, notes=(*recording.notes, *chosen))


def _header(
    lines: list[tuple[int, str]], skeleton: Skeleton, where: str
) -> tuple[list[str], list[tuple[int, str]], str, list[str]]:
    """Names of the columns, the lines of the frames, what separates the columns, and notes."""
    (number, header), *rest = lines
    separator = max(',;\t', key=header.count) if any(sign in header for sign in ',;\t') else ' '
    names = [name.strip() for name in _fields(header, separator, f'{where}, line {number}')]
    wanted = [f'{joint}_{axis}' for joint in skeleton.joints for axis in AXES]
    index = names[:1] if names[0] == '' else []  # pandas' own, without a name
    note = f"no column has a name: they are x, y and z of the joints in the skeleton '{skeleton.name}'"
    if names == [*index, *map(str, range(len(wanted)))]:
        return [*index, *wanted], rest, separator, [note]
    if all(map(_is_number, names)):
        if len(names) != len(wanted):
            raise UserError(
                f'{where}, line {number}: a header was expected, or {len(wanted)} numbers for {len(skeleton.joints)} '
                f'joints, found {len(names)} numbers; add a header, or name another skeleton'
            )
        return wanted, lines, separator, [note]
    long = long_columns(names, partial(_roles, names)) if rest else None
    if long is None:
        return names, rest, separator, []
    rows = ((at, _fields(line, separator, f'{where}, line {at}', len(names))) for at, line in rest)
    wide, frames = widened(rows, names, long, where)
    return wide, frames, '\t', _left_out(names, {long.joint, *long.axes, *long.beside})


def _left_out(names: Sequence[str], used: set[int]) -> list[str]:
    """A note on columns that are not used, if there are any."""
    left = [name or 'one without a name' for at, name in enumerate(names) if at not in used]
    more = f' and {len(left) - 8} more' if len(left) > 8 else ''
    return [f'columns that hold no joint of the skeleton are left out: {", ".join(left[:8])}{more}'] if left else []


def _one_body(
    lines: list[tuple[int, str]], columns: Columns, separator: str, raw: RawRecording
) -> tuple[list[tuple[int, str]], list[str]]:
    """The lines of the body that is read, where a column tells bodies apart; and notes."""
    if columns.body is None:
        if raw.body:
            raise UserError(f'{raw.path}: no column tells bodies apart, and body {shown(raw.body)} was expected of it')
        return lines, []
    places = (f'{raw.path}, line {number}' for number, _ in lines)
    width = len(columns.names)
    rows = (_fields(line, separator, where, width) for (_, line), where in zip(lines, places, strict=True))
    bodies = [row[columns.body].strip() for row in rows]
    name, notes = choose(raw, Counter(filter(None, bodies)) or {'': len(bodies)})
    return [line for line, body in zip(lines, bodies, strict=True) if body == name], notes


def read_lines(
    lines: Sequence[tuple[int, str]], columns: Columns, separator: str, raw: RawRecording, scale: float = 1.0
) -> Recording:
    """Reads the frames of a table.

    `lines`: number and text of each; `columns`: where things stand in a line; `separator`: of the columns; `raw`: the
    file, for the errors; `scale`: metres in a unit of the table. Raises UserError: a line does not fit, something is no
    number, or frames are out of order.
    """
    where, width = str(raw.path), len(columns.names)
    frames = np.empty((len(lines), len(columns.wanted) // 3, 3), np.float32)
    beside: dict[int, list[str]] = {at: [] for at in (columns.frame, columns.time) if at is not None}
    for start in range(0, len(frames), _LINES_AT_ONCE):
        block = lines[start : start + _LINES_AT_ONCE]
        rows = [_fields(line, separator, f'{where}, line {number}', width) for number, line in block]
        values = coordinates([row[column] for row in rows for column in columns.wanted], scale)
        if values is None:
            values = [
                _coordinate(row[column], f'{where}, line {number}, column {columns.names[column]}', scale)
                for (number, _), row in zip(block, rows, strict=True)
                for column in columns.wanted
            ]
        frames[start : start + len(block)] = np.reshape(values, (-1, *frames.shape[1:]))
        for at, found in beside.items():
            found += [row[at].strip() for row in rows]
    places = [f'line {number}' for number, _ in lines]
    numbers, rate, notes = _timed(columns, beside, where, places)
    return Recording(raw, frames, numbers, (*columns.notes, *notes), rate)


def _timed(
    columns: Columns, beside: dict[int, list[str]], where: str, places: list[str]
) -> tuple[np.ndarray | None, float | None, list[str]]:
    """Numbers of the frames and frames a second, by the frame column or by the times; and notes."""
    numbers, rate, notes = None, None, []
    if columns.frame is not None:
        found = zip(beside[columns.frame], places, strict=True)
        numbers = np.array([_frame_number(field, f'{where}, {place}') for field, place in found], np.int64)
        numbers, rate, notes = clock.frame_numbers(numbers, where, places)
    if columns.time is not None:
        name = columns.names[columns.time]
        times = clock.times(beside[columns.time])
        step = 0.0 if times is None else clock.usual_step(times)
        if step:
            clock.refuse_falling(times, where, places, f"times '{name}'", 0)
            numbers = clock.in_steps(times, step) if numbers is None else numbers
            rate = clock.rate(step)
            if (np.diff(times) == 0).any():
                notes.append(f"times '{name}' stand still in places: if two bodies are in the file, keep one of them")
        elif step is not None:
            notes.append(f"the column '{name}' holds no times that tell frames apart, and is left out")
    return numbers, rate, notes


def _fields(line: str, separator: str, where: str, width: int | None = None) -> list[str]:
    """The fields of a line; one more, '0', stands behind them for a z that the table lacks."""
    try:
        quoted = '"' in line and separator != ' '
        fields = next(csv.reader([line], delimiter=separator)) if quoted else line.split(separator.strip(' ') or None)
    except csv.Error as error:
        raise UserError(f'{where}: {error}; correct the line') from error
    if width is None:
        return fields
    if len(fields) != width:
        raise UserError(
            f'{where}: {width} columns were expected, found {len(fields)} in {shown(line)}; correct the line'
        )
    return [*fields, '0']


def _coordinate(field: str, where: str, scale: float) -> float:
    if field.strip().casefold() in _LOST:
        return math.nan
    if _DECIMAL_COMMA.fullmatch(field.strip()):
        raise UserError(f'{where}: a decimal point was expected, found {shown(field)}; save the file with points')
    try:
        return coordinate(field, where, scale)
    except UserError as error:
        # A line is a frame, and one that was lost is no reason to lose the file.
        text = str(error).removesuffix('correct or remove the file')
        raise UserError(f'{text}correct it or leave the frame out') from None


def _frame_number(field: str, where: str) -> int:
    whole = field.rstrip('0').removesuffix('.') if re.fullmatch(r'\d+\.0*', field) else field
    usable = whole.isascii() and whole.isdigit() and len(whole) <= len(str(_LARGEST_FRAME_NUMBER))
    if not usable or int(whole) > _LARGEST_FRAME_NUMBER:
        raise UserError(f'{where}: a frame number was expected, found {shown(field)}; correct the line')
    return int(whole)


def find_columns(names: list[str], where: str, skeleton: Skeleton) -> Columns:
    """Finds the joints, and what else is used, among the names of the columns.

    `names`: of the columns; `where`: the place of the header, for the error; `skeleton`: the joints that are wanted.
    Raises UserError: a column of a joint is missing, or there are two for it.
    """
    exact = {
        f'{joint}_{axis}': 3 * at + axes for at, joint in enumerate(skeleton.joints) for axes, axis in enumerate(AXES)
    }
    places: dict[int, int] = {}
    for spelt in (exact.get, lambda name: _spelt(name, skeleton)):
        before, used = set(places), set(places.values())
        for column, name in enumerate(names):
            place = spelt(name)
            if place is None or place in before or column in used:
                continue
            if place in places:
                raise UserError(f'{where}: {shown(name)} and {shown(names[places[place]])} are one column; keep one')
            places[place] = column
    notes = []
    if not places:
        places = _by_number(names, len(skeleton.joints))
        if places:
            notes.append(f"joints are called by numbers, and taken in the order of the skeleton '{skeleton.name}'")
    flat = bool(places) and not any(place % 3 == 2 for place in places)
    if flat:
        places |= dict.fromkeys(range(2, 3 * len(skeleton.joints), 3), -1)
        notes.append('there is no z: positions are two-dimensional, and z is 0')
    _refuse_missing(places, names, where, skeleton)
    used = set(places.values())
    found = _roles(names, used)
    notes += _left_out(names, used | {at for at in found if at is not None})
    return Columns([places[place] for place in range(3 * len(skeleton.joints))], *found, names, tuple(notes))


def _roles(names: Sequence[str], used: set[int]) -> list[int | None]:
    """The columns of frame, time and body, of those that are not used."""
    keys = [''.join(filter(str.isalnum, name.casefold())) for name in names]
    roles = (_FRAME_COLUMNS.__contains__, lambda key: 'time' in key, _BODY_COLUMNS.__contains__)
    return [next((at for at, key in enumerate(keys) if at not in used and fits(key)), None) for fits in roles]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _spelt(name: str, skeleton: Skeleton) -> int | None:
    """Three times the joint's number and its axis, for a column that names a joint in any of the usual ways."""
    found = _COORDINATE.fullmatch(name)
    joint = found and skeleton.find(_POSITION.sub('', found['joint']))
    return None if joint is None else 3 * joint + 'xyz'.index(found['axis'].lower())


def _by_number(names: list[str], joints: int) -> dict[int, int]:
    """The columns of joints that are called 0, 1, 2, ... or 1, 2, 3, ..., if there are as many as are wanted."""
    found: dict[tuple[int, int], int] = {}
    for column, name in enumerate(names):
        match = _NUMBERED.fullmatch(name)
        if match:
            number = int(match['number'] or match['joint'])
            found.setdefault((number, 'xyz'.index((match['first'] or match['axis']).lower())), column)
    numbers = sorted({number for number, _ in found})
    if len(numbers) != joints or numbers[-1] - numbers[0] != joints - 1 or numbers[0] > 1:
        return {}
    return {3 * (number - numbers[0]) + axis: column for (number, axis), column in found.items()}


def _refuse_missing(places: dict[int, int], names: list[str], where: str, skeleton: Skeleton) -> None:
    missing = [place for place in range(3 * len(skeleton.joints)) if place not in places]
    if not missing:
        return
    joints = list(dict.fromkeys(skeleton.joints[place // 3] for place in missing))
    first = f'{joints[0]}_{AXES[missing[0] % 3]}'
    others = f' (and columns of {len(joints) - 1} more joints)' if len(joints) > 1 else ''
    used = set(places.values())
    left = [name for column, name in enumerate(names) if column not in used and _COORDINATE.fullmatch(name)]
    there = f', and {shown(left[0])} is no column of the skeleton' if left else ''
    ways = 'correct the header or the skeleton'
    if 3 * len(joints) == len(missing) and len(joints) < len(skeleton.joints) - 1:
        some = [*map(shlex.quote, joints[:8]), *['...'] * (len(joints) > 8)]
        ways += f', or leave them out: --leave_out {" ".join(some)}'
    raise UserError(
        f'{where}: columns x, y and z of {len(skeleton.joints)} joints were expected, but {first} is missing'
        f'{others}{there}; {ways}'
    )
