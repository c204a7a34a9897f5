"""Files in which several bodies can stand: which one is read, and in which frames it was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sge_la.data.axes import METRES_Y_UP, UNITS, Axes
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.raw.text import MAX_COORDINATE, shown
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError

# Of bodies in a message.
_SHOWN = 6


def order_of(skeleton: Skeleton, source: Skeleton, where: str) -> list[int]:
    """Which joints of a file's own skeleton are wanted, in the order of the skeleton that is wanted.

    `skeleton`: what is wanted; `source`: what the file has; `where`: the file, for the error. Raises UserError: a
    joint is not in the file.
    """
    found = [source.find(joint) for joint in skeleton.joints]
    if None in found:
        missing = skeleton.joints[found.index(None)]
        raise UserError(
            f"{where} has the joints of the skeleton '{source.name}' and not {shown(missing)}; give --skeleton "
            f'{source.name}, or leave the joint out by --leave_out'
        )
    return found


def choose(raw: RawRecording, counts: Mapping[str, int]) -> tuple[str, list[str]]:
    """Which body of a file is read: the one that the table names, or the one in most frames.

    `raw`: the file, and the body that is wanted of it; `counts`: how many frames each body is in, at least one. Returns
    its name, and notes where a choice was made. Raises UserError: there is no such body.
    """
    listed = ', '.join(f'{name[:40]} in {count} frames' for name, count in list(counts.items())[:_SHOWN])
    listed += f' and {len(counts) - _SHOWN} more' if len(counts) > _SHOWN else ''
    name = raw.body or max(counts, key=counts.__getitem__)
    if name not in counts:
        raise UserError(f'{raw.path}: body {shown(name)} was expected, and there are {listed}; correct the table')
    if raw.body or len(counts) == 1:
        return name, []
    what = f'{raw.name} has {len(counts)} bodies ({listed}): {name[:40]} is read'
    return name, [f"{what}; the column 'body' of recordings.csv, or --body, can name another"]


class Bodies:
    """The bodies of a file, frame by frame.

    `raw`: the file, and the body that is wanted of it; `order`: which of the file's joints are wanted, in the order of
    the result; `axes`: units and upright axis of the file.
    """

    def __init__(self, raw: RawRecording, order: Sequence[int], axes: Axes = METRES_Y_UP) -> None:
        self._raw, self._order, self._axes = raw, list(order), axes
        self._frames: dict[str, list[np.ndarray]] = {}
        self._seen: dict[str, list[int]] = {}
        self._twice = ''

    def add(self, name: str, frame: int, joints: np.ndarray, lost: Sequence[bool] | np.ndarray, where: str) -> None:
        """Adds a body in a frame.

        `name`: what the file calls it; `frame`: the frame's place in the file, from 0; `joints`: `[J, 3]` as in the
        file; `lost`: `[J]`, the joints that the file says were not tracked; `where`: the place, for the error. Raises
        UserError: a coordinate is none.
        """
        if frame in self._seen.get(name, ())[-1:]:
            self._twice = self._twice or f'body {name} is in one frame twice, first in frame {frame}: its first is read'
            return
        joints = np.where(np.asarray(lost, bool)[:, None], np.nan, joints)[self._order]
        if (np.abs(joints) > MAX_COORDINATE * UNITS[self._axes.units]).any():
            raise UserError(f'{where}: coordinates of a body were expected, found others; correct or remove the file')
        self._frames.setdefault(name, []).append(self._axes(joints).astype(np.float32))
        self._seen.setdefault(name, []).append(frame)

    def recording(
        self, numbers: np.ndarray | None = None, rate: float | None = None, notes: Sequence[str] = ()
    ) -> Recording:
        """The recording of the body that is wanted, or of the one in most frames.

        `numbers`: of all frames of the file, None for 0, 1, ...; `rate`: frames a second; `notes`: for the summary.
        Raises UserError: there is no body, or not this one.
        """
        counts = {name: len(frames) for name, frames in self._frames.items()}
        if not counts:
            raise UserError(f'{self._raw.path} has no body in any frame; take it out of the table')
        name, chosen = choose(self._raw, counts)
        notes = [*notes, *chosen, *[self._twice] * bool(self._twice)]
        seen = np.array(self._seen[name], np.int64)
        return Recording(
            self._raw, np.stack(self._frames[name]), seen if numbers is None else numbers[seen], tuple(notes), rate
        )
