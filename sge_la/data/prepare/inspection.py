"""What `prepare` does about lost tracking, and whether the recordings can be meant as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sge_la.data.prepare.sequences import Cutting, runs, starts
from sge_la.data.prepare.settings import Settings
from sge_la.data.quality.findings import Finding
from sge_la.data.quality.lost import origin_joints, some
from sge_la.data.quality.plausible import few_of_each, look_through
from sge_la.data.quality.usable import make_usable, unit_size
from sge_la.data.raw.recording import RawData, Recording
from sge_la.data.way import Way
from sge_la.errors import UserError


@dataclass(frozen=True)
class Inspected:
    """Recordings after lost tracking was seen to, and what was found.

    `recordings`: as many as before, some with fewer frames; `findings`: lost tracking first; `counts`: for each
    recording the frames in which a joint was lost; `lost`: for each what that was and what became of it, or None.
    """

    recordings: list[Recording]
    findings: list[Finding]
    counts: list[int]
    lost: list[str | None]

    def summary(self) -> Iterator[str]:
        """Lines for the user, a few of each kind."""
        lost = [text for text in self.lost if text]
        if lost:
            yield f'note: {sum(self.counts)} frames of {len(lost)} recordings have lost joints'
        yield from (f'note: {finding.text}' for finding in few_of_each(self.findings))

    def refuse_what_cannot_be_meant(self, accept: bool) -> None:
        """Raises UserError: two units or two upright directions are in one set, and nobody has accepted that."""
        grave = [finding.text for finding in self.findings if finding.grave]
        if grave and not accept:
            more = f' ({len(grave) - 1} more recordings are like that)' if len(grave) > 1 else ''
            raise UserError(f'{grave[0]}{more}; or give --accept to take the recordings as they are')


def way_of(settings: Settings, raw: RawData) -> Way:
    """What is done to the recordings."""
    return Way(raw.axes, settings.lost, settings.max_gap or Way().max_gap, settings.unit_size)


def inspect(recordings: Sequence[Recording], firsts: Sequence[int], raw: RawData, settings: Settings) -> Inspected:
    """Sees to lost joints, turns all into metres with y up, and compares the recordings with each other.

    `recordings`: clipped; `firsts`: for each the frames that were clipped at its start; `raw`: joints and axes. Raises
    UserError: coordinates that are NaN are to be kept.
    """
    origin = origin_joints(item.frames for item in recordings if len(item.frames))
    # Of unit size all would look alike.
    way = replace(way_of(settings, raw), unit_size=False)
    treated, findings, counts, texts, named = [], [], [], [], {}
    for item, first in zip(recordings, firsts, strict=True):
        called = first + np.arange(len(item.frames)) if item.numbers is None else item.numbers
        usable = make_usable(item.raw.name, item.frames, called, raw.skeleton, origin, way)
        dropped = len(usable.frames) < len(item.frames)
        counts.append(usable.lost)
        texts.append(None)
        if usable.finding is not None:
            text = usable.finding.text + _hint(way.lost, dropped)
            findings.append(replace(usable.finding, text=text))
            texts[-1] = text.removeprefix(f'{item.raw.name}: ')
        named[item.raw.name] = (usable.frames, usable.numbers)
        treated.append(replace(item, frames=usable.frames, numbers=usable.numbers if dropped else item.numbers))
    findings += look_through(named, raw.skeleton)
    if settings.unit_size:
        treated = [replace(item, frames=unit_size(item.frames, raw.skeleton)) for item in treated]
    return Inspected(treated, findings, counts, texts)


def _hint(lost: str, dropped: bool) -> str:
    """What else could be done about lost joints."""
    if lost == 'keep':
        return '; --lost drop leaves them out, --lost interpolate fills them in'
    return '; --lost interpolate fills short gaps' if lost == 'drop' and dropped else ''


def first_frames(recording: Recording, length: int) -> np.ndarray:
    """The first frames of the sequences of a recording that is cut whole: int64."""
    return starts(runs(len(recording.frames), recording.numbers), Cutting.whole(length), 0)


def cost_of_gaps(recordings: list[Recording], length: int) -> list[str]:
    """Frames of which sequences could be cut if frame numbers did not jump and no frame had been left out."""
    costs = {}
    for item in recordings:
        whole = len(item.frames) // length
        lost = (whole - len(first_frames(item, length))) * length
        if lost:
            costs[item.raw.name] = lost
    if not costs:
        return []
    return [
        f'{sum(costs.values())} frames of {len(costs)} recordings are lost to gaps (numbers jump, or frames were left '
        f'out), because no sequence of {length} frames crosses one: '
        f'{some([f"{name} loses {frames}" for name, frames in costs.items()])}'
    ]


def refuse_two_names(recordings: list[Recording], copies: dict[int, int], settings: Settings) -> None:
    """One walk of two people is a mistake in the names, unless somebody says that it is none.

    `copies`: as `repeats` finds them.
    """
    for index, first in copies.items():
        one, other = recordings[first].raw, recordings[index].raw
        if one.identity != other.identity and not settings.accept:
            raise UserError(
                f'{other.name} of {other.person} is, frame by frame, {one.name} of {one.person}: one walk was expected '
                'under one name; correct the names, or give --accept to leave the second one out'
            )
