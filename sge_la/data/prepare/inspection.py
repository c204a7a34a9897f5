"""What `prepare` does about lost tracking, and whether the recordings can be meant as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sge_la.data.findings import Finding
from sge_la.data.lost import filled, lost_finding, lost_joints, origin_joints
from sge_la.data.plausible import few_of_each, look_through
from sge_la.data.prepare.settings import Settings
from sge_la.data.raw.recording import Recording
from sge_la.data.skeletons import Skeleton
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

    @property
    def notes(self) -> list[str]:
        return [finding.text for finding in self.findings]

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


def inspect(
    recordings: Sequence[Recording], firsts: Sequence[int], skeleton: Skeleton, settings: Settings
) -> Inspected:
    """Treats lost tracking as `settings` say, then compares the recordings with each other.

    `recordings`: clipped; `firsts`: for each the frames that were clipped at its start. Raises UserError: coordinates
    that are NaN are to be kept.
    """
    origin = origin_joints(item.frames for item in recordings if len(item.frames))
    treated, findings, counts, texts, named = [], [], [], [], {}
    for item, first in zip(recordings, firsts, strict=True):
        lost = lost_joints(item.frames, origin)
        counts.append(int(lost.any(axis=1).sum()))
        numbers = first + np.arange(len(item.frames)) if item.numbers is None else item.numbers
        finding = lost_finding(item.raw.name, item.frames, lost, skeleton, numbers)
        texts.append(None)
        if finding is not None:
            item, done = _treated(item, lost, numbers, settings)
            findings.append(replace(finding, text=f'{finding.text}; {done}'))
            texts[-1] = findings[-1].text.removeprefix(f'{item.raw.name}: ')
        treated.append(item)
        named[item.raw.name] = (item.frames, numbers if item.numbers is None else item.numbers)
    return Inspected(treated, findings + look_through(named, skeleton), counts, texts)


def _treated(item: Recording, lost: np.ndarray, numbers: np.ndarray, settings: Settings) -> tuple[Recording, str]:
    """A recording that has lost frames, after something was done about them, and what."""
    if settings.lost == 'keep':
        if not np.isfinite(item.frames).all():
            raise UserError(
                f'{item.raw.name} has coordinates that are no numbers, and --lost keep cannot keep those; leave those '
                'frames out, or give --lost drop or interpolate'
            )
        return item, 'kept as they are; --lost drop leaves them out, --lost interpolate fills them in'
    frames, left = item.frames, lost
    if settings.lost == 'interpolate':
        frames, left = filled(frames, lost, numbers, settings.max_gap)
    kept = ~left.any(axis=1)
    healed, gone = int((lost.any(axis=1) & kept).sum()), int((~kept).sum())
    done = [f'filled in: {healed}'] if healed else []
    done += [f'left out: {gone}, and no sequence crosses the gap'] if gone else []
    if gone and settings.lost == 'drop':
        done.append('--lost interpolate fills short gaps')
    if gone:
        frames, item = frames[kept], replace(item, numbers=numbers[kept])
    return replace(item, frames=frames), '; '.join(done)
