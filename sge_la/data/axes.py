"""Units and the upright axis of raw coordinates, and the way from there to metres with y up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sge_la.errors import UserError

UNITS = {'m': 1, 'cm': 100, 'mm': 1000}
# For each upright direction, where the new x, y and z come from, and their signs. All are rotations: left stays left.
_TURNS = {
    'y': ((0, 1, 2), (1, 1, 1)),
    '-y': ((0, 1, 2), (1, -1, -1)),
    'x': ((1, 0, 2), (-1, 1, 1)),
    '-x': ((1, 0, 2), (1, -1, 1)),
    'z': ((0, 2, 1), (1, 1, -1)),
    '-z': ((0, 2, 1), (1, -1, 1)),
}
UPRIGHT = tuple(_TURNS)


@dataclass(frozen=True)
class Axes:
    """How raw coordinates are to be read: `units` 'm', 'cm' or 'mm', and `up`, the direction from feet to head."""

    units: str = 'm'
    up: str = 'y'

    @classmethod
    def from_json(cls, value: Any, where: str) -> Axes:
        """Of a dictionary's "units" and "up"; what is missing is 'm' and 'y'.

        Raises UserError: one of them is none of those that are known; `where` names the file.
        """
        given = value if isinstance(value, dict) else {}
        for key, known in (('units', tuple(UNITS)), ('up', UPRIGHT)):
            found = given.get(key, known[0])
            if not isinstance(found, str) or found not in known:
                found = str(found)[:80]
                raise UserError(
                    f'{where}: one of {", ".join(known)} was expected as "{key}", found {found}; correct it'
                )
        return cls(given.get('units', 'm'), given.get('up', 'y'))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Turns `[..., 3]` into metres with y up, float32; returns the same array where nothing changes."""
        if self == METRES_Y_UP:
            return points
        order, signs = _TURNS[self.up]
        return (points[..., list(order)] * np.array(signs, np.float64) / UNITS[self.units]).astype(np.float32)


METRES_Y_UP = Axes()
