"""What `prepare` does about lost tracking, and whether the recordings can be meant as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sge_la.data.axes import METRES_Y_UP, Axes
from sge_la.data.findings import Finding
from sge_la.data.lost import filled, lost_finding, lost_joints, origin_joints
from sge_la.data.plausible import few_of_each, look_through
from sge_la.data.prepare.settings import Settings
from sge_la.data.raw.recording import RawData, Recording
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


def inspect(recordings: Sequence[Recording], firsts: Sequence[int], raw: RawData, settings: Settings) -> Inspected:
    """Sees to lost joints, turns all into metres with y up, and compares the recordings with each other.

    `recordings`: clipped; `firsts`: for each the frames that were clipped at its start; `raw`: joints and axes. Raises
    UserError: coordinates that are NaN are to be kept.
    """
    origin = origin_joints(item.frames for item in recordings if len(item.frames))
    way = Way(settings.lost, settings.max_gap, raw.axes)
    treated, findings, counts, texts, named = [], [], [], [], {}
    for item, first in zip(recordings, firsts, strict=True):
        called = first + np.arange(len(item.frames)) if item.numbers is None else item.numbers
        usable = way(item.raw.name, item.frames, called, raw.skeleton, origin)
        counts.append(usable.lost)
        texts.append(None)
        if usable.finding is not None:
            findings.append(usable.finding)
            texts[-1] = usable.finding.text.removeprefix(f'{item.raw.name}: ')
        named[item.raw.name] = (usable.frames, usable.numbers)
        dropped = len(usable.frames) < len(item.frames)
        treated.append(replace(item, frames=usable.frames, numbers=usable.numbers if dropped else item.numbers))
    return Inspected(treated, findings + look_through(named, raw.skeleton), counts, texts)


@dataclass(frozen=True)
class Usable:
    """A recording whose frames can be cut: float32 `[F, J, 3]`, metres, y up, and their numbers, int64 `[F]`.

    `lost`: frames in which a joint was lost before; `finding`: which, and what was done about it, None for none.
    """

    frames: np.ndarray
    numbers: np.ndarray
    lost: int
    finding: Finding | None


@dataclass(frozen=True)
class Way:
    """How recordings become usable: `lost` and `max_gap` as in `Settings`, and the axes that they come in."""

    lost: str = 'drop'
    max_gap: int | None = None
    axes: Axes = METRES_Y_UP

    def __call__(
        self, name: str, frames: np.ndarray, numbers: np.ndarray, skeleton: Skeleton | None, origin: Sequence[int] = ()
    ) -> Usable:
        """Sees to lost joints, then turns the axes.

        `frames`, `numbers`: `[F, J, 3]` as read, and `[F]`, what the frames are called; `origin`: as `origin_joints`
        gives it. Joints that stay lost keep their mark. Raises UserError: NaN is to be kept.
        """
        lost = left = lost_joints(frames, origin)
        finding = lost_finding(name, frames, lost, skeleton, numbers)
        if finding is None:
            return Usable(self.axes(frames), numbers, 0, None)
        if self.lost == 'keep' and not np.isfinite(frames).all():
            raise UserError(
                f'{name} has coordinates that are no numbers, and --lost keep cannot keep those; leave those frames '
                'out, or give --lost drop or interpolate'
            )
        if self.lost == 'interpolate':
            frames, left = filled(frames, lost, numbers, self.max_gap)
        kept = np.ones(len(frames), bool) if self.lost == 'keep' else ~left.any(axis=1)
        finding = replace(finding, text=f'{finding.text}; {self._done(lost, kept)}')
        frames = np.where(left[..., None], frames, self.axes(frames))
        return Usable(frames[kept], numbers[kept], int(lost.any(axis=1).sum()), finding)

    def _done(self, lost: np.ndarray, kept: np.ndarray) -> str:
        if self.lost == 'keep':
            return 'kept as they are; --lost drop leaves them out, --lost interpolate fills them in'
        healed, gone = int((lost.any(axis=1) & kept).sum()), int((~kept).sum())
        done = [f'filled in: {healed}'] if healed else []
        done += [f'left out: {gone}, and no sequence crosses the gap'] if gone else []
        if gone and self.lost == 'drop':
            done.append('--lost interpolate fills short gaps')
        return '; '.join(done)
