"""`.skeleton` files: Kinect v2 as NTU RGB+D stores it, with up to six bodies.

The number of frames; for each frame the number of bodies; for each body a line with its ID and nine more fields, the
number of joints (25), and a line a joint: x, y, z in metres, y upwards; two pixel coordinates, a quaternion, and the
tracking state (0 not tracked, 1 inferred, 2 tracked).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sge_la.data.raw.bodies import Bodies, order_of
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.raw.text import coordinate, coordinates, shown
from sge_la.data.skeletons import SKELETONS, Skeleton
from sge_la.errors import UserError

SOURCE = SKELETONS['kinect_v2']
_JOINTS = len(SOURCE.joints)
_FIELDS, _STATE = 12, 11


def parse(text: str, raw: RawRecording, skeleton: Skeleton) -> Recording:
    """Reads the body that is wanted, or the one in most frames; joints that were not tracked are NaN.

    `text`: the lines, separated by newlines; `raw`: the file, which errors name, and the body; `skeleton`: the joints
    that are wanted. Raises UserError: a line is missing, too much or of another form, or there is no such body.
    """
    where = str(raw.path)
    bodies = Bodies(raw, order_of(skeleton, SOURCE, where))
    lines = ((number, line) for number, line in enumerate(text.split('\n'), 1) if line.strip())
    for frame in range(_count(lines, where, 'the number of frames')):
        for _ in range(_count(lines, where, 'the number of bodies')):
            number, line = _next(lines, where, 'a body')
            name = line.split()[0]
            if not (name.isascii() and name.isdigit() and len(name) <= 20):
                raise UserError(f'{where}, line {number}: the ID of a body was expected, found {shown(line)}')
            if _count(lines, where, 'the number of joints') != _JOINTS:
                raise UserError(f'{where}, line {number + 1}: a body of {_JOINTS} joints was expected; remove the file')
            rows = [_joint(*_next(lines, where, 'a joint'), where) for _ in range(_JOINTS)]
            bodies.add(name, frame, _coordinates(rows, where), [row[1][_STATE] == '0' for row in rows], where)
    for number, line in lines:
        raise UserError(
            f'{where}, line {number}: the end of the file was expected, found {shown(line)}; fetch it again'
        )
    return bodies.recording()


def _next(lines: Iterator[tuple[int, str]], where: str, what: str) -> tuple[int, str]:
    found = next(lines, None)
    if found is None:
        raise UserError(f'{where}: {what} was expected, found the end of the file; fetch it again or remove it')
    return found


def _count(lines: Iterator[tuple[int, str]], where: str, what: str) -> int:
    number, line = _next(lines, where, what)
    field = line.strip()
    if not (field.isascii() and field.isdigit() and len(field) < 10):
        raise UserError(f'{where}, line {number}: {what} was expected, found {shown(line)}; fetch the file again')
    return int(field)


def _joint(number: int, line: str, where: str) -> tuple[int, list[str]]:
    fields = line.split()
    if len(fields) != _FIELDS:
        raise UserError(
            f'{where}, line {number}: {_FIELDS} fields of a joint were expected, found {len(fields)} in {shown(line)}; '
            'fetch the file again'
        )
    return number, fields


def _coordinates(rows: list[tuple[int, list[str]]], where: str) -> np.ndarray:
    values = coordinates([field for _, fields in rows for field in fields[:3]])
    if values is None:
        values = [coordinate(field, f'{where}, line {number}') for number, fields in rows for field in fields[:3]]
    return np.reshape(values, (-1, 3))
