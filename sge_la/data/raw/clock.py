"""Frame numbers and frame rates from what stands beside the coordinates: frame columns and times of any unit."""

from __future__ import annotations

import datetime
import re

import numpy as np

from sge_la.errors import UserError

# Fewer frames do not show how they follow each other.
_ENOUGH = 4
# Cameras are not punctual: a frame is lost when nearly two steps have gone by.
_LATE = 0.25
# Steps between frames, and how many of the unit make a second: s, ms, µs, 100 ns (Microsoft's ticks), ns. No ranges
# overlap, since nobody films people at fewer than 5 or more than 500 frames a second.
_UNITS = (
    (0.002, 0.2, 1.0),
    (2.0, 200.0, 1e3),
    (2e3, 2e5, 1e6),
    (2e5, 2e6, 1e7),
    (2e6, 2e8, 1e9),
)
_LONGEST_JUMP = 2**31
# Frame numbers that grow by as much are milliseconds: of 30 frames a second, two would be left otherwise.
_MILLISECONDS = 15
_CLOCK = re.compile(
    r'(?:(?P<day>\d{1,6}) days? |(?P<date>\d{4}-\d\d-\d\d)[T ])?(?P<h>\d{1,3}):(?P<m>\d\d):(?P<s>\d\d(?:[.:]\d{0,9})?)'
    r'(?:Z|[+-]\d\d:?\d\d)?'
)


def times(fields: list[str]) -> np.ndarray | None:
    """Reads a column of times: numbers of any unit, hours:minutes:seconds, or dates with them.

    Returns float64 `[F]`, seconds for all but plain numbers; None: one of them is no time.
    """
    try:
        values = np.array(list(map(float, fields)))
    except ValueError:
        read = [_seconds(field.strip()) for field in fields]
        if None in read:
            return None
        values = np.array(read, np.float64)
    return values if (np.abs(values) < 1e19).all() else None


def _seconds(field: str) -> float | None:
    found = _CLOCK.fullmatch(field)
    if found is None:
        return None
    try:
        days = datetime.date.fromisoformat(found['date']).toordinal() if found['date'] else int(found['day'] or 0)
    except ValueError:
        return None
    return 86400.0 * days + 3600 * int(found['h']) + 60 * int(found['m']) + float(found['s'].replace(':', '.'))


def usual_step(values: np.ndarray) -> float | None:
    """How far frames are from each other by a column, usually; None where too few frames tell."""
    return float(np.median(np.diff(values))) if len(values) > _ENOUGH else None


def in_steps(values: np.ndarray, step: float) -> np.ndarray:
    """Frame numbers int64 `[F]` from 0: one more for each step, more where frames are missing."""
    passed = np.minimum(np.diff(values) / step + _LATE, _LONGEST_JUMP)
    return np.concatenate([[0], np.cumsum(np.maximum(passed.astype(np.int64), 1))]).astype(np.int64)


def rate(step: float) -> float | None:
    """Frames a second, from the step between the times of frames; the unit is told by its size, None: none fits."""
    return next((second / step for least, most, second in _UNITS if least <= step < most), None)


def frame_numbers(numbers: np.ndarray, where: str, places: list[str]) -> tuple[np.ndarray, float | None, list[str]]:
    """What frame numbers say, whatever steps they are counted in.

    `numbers`: int64 `[F]`; `where`: the file; `places`: what to call each frame in it. Returns numbers that grow by one
    from a frame to the next, frames a second where they are counted in milliseconds, and notes. Raises UserError: they
    do not grow.
    """
    refuse_falling(numbers, where, places, 'frame numbers')
    step = usual_step(numbers)
    if step is None or step <= 1:
        return numbers, None, []
    per_second = rate(step) if step >= _MILLISECONDS else None
    unit = ' (milliseconds)' if per_second else ''
    return in_steps(numbers, step), per_second, [f'frame numbers grow by {step:g}{unit}: that is taken as one frame']


def refuse_falling(values: np.ndarray, where: str, places: list[str], what: str, least: float = 1) -> None:
    """Raises UserError where a value is not at least `least` more than the one before."""
    falls = np.flatnonzero(np.diff(values) < least)
    if len(falls):
        at = int(falls[0]) + 1
        raise UserError(
            f'{where}, {places[at]}: {what} that grow were expected, but {values[at]} follows {values[at - 1]}; sort '
            'the frames, or split the file if it holds two recordings'
        )
