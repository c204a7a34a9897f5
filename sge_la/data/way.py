"""What was done to raw recordings before they were cut, so that new ones can be treated alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sge_la.data.axes import METRES_Y_UP, Axes
from sge_la.errors import UserError

LOST = ('drop', 'interpolate', 'keep')


@dataclass(frozen=True)
class Way:
    """How recordings become usable.

    `axes`: what they come in; `lost`: what is done about frames with lost joints, 'drop', 'interpolate' or 'keep';
    `max_gap`: frames in a row that are filled at most by 'interpolate'; `unit_size`: whether the root is put at the
    origin and all bones are brought to one length, see `usable.unit_size`.
    """

    axes: Axes = METRES_Y_UP
    lost: str = 'drop'
    max_gap: int = 5
    unit_size: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form in which files keep it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> Way:
        """Of what `to_json` gave; None, as of older files, is a `Way()`.

        Raises UserError: it is no such thing; `where` names the file.
        """
        if value is None:
            return cls()
        lost, most = (value.get('lost'), value.get('max_gap')) if isinstance(value, dict) else (None, None)
        if lost not in LOST or type(most) is not int or not 1 <= most < 2**31:
            raise UserError(f'{where} should say how recordings were made usable, and does not; make it again')
        return cls(Axes.from_json(value.get('axes'), where), lost, most, value.get('unit_size') is True)
