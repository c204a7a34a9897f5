"""What the user of `prepare` has chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What the user has chosen; None is the data set's default.

    Attributes:
        name: the data set.
        raw: the folder of the raw recordings, None for simulated ones.
        layout: 1, 2 or 3.
        holdout: 'first', 'middle', 'last', 'random', 'tail:SHARE', 'windows:SHARE', or the names of the recordings that
            are held out.
        seed: of everything random.
        step: of the training sequences.
        offsets: of the training sequences; () for 0 to length − 1.
        clip: frames left out at the start and at the end of each recording.
        center: name of the joint that becomes the origin of each frame.
        people: how many walkers are simulated; BIWI: 28 or 50.
        recordings: how many walks of each walker are simulated.
        views: the views that get a folder of their own (KS20, CASIA-B).
        protocols: CASIA-B: 'CVE', 'CME' or both.
        simulate: CASIA-B: whether walks are simulated.
        skeleton: name of a ready skeleton that recordings of the user's own have; None: their skeleton.json.
        leave_out: joints of that skeleton which are not used.
        keep_copies: whether recordings that repeat another of the same person are kept.
        accept: take what is refused as a mistake all the same: one walk under two names (the second is left out), two
            units or two upright directions in one set.
        units: 'm', 'cm' or 'mm', instead of what skeleton.json says of recordings of the user's own.
        up: 'y', '-y', 'x', '-x', 'z' or '-z', the same.
        unit_size: whether heights, bone lengths and places are taken away.
        lost: what is done about frames in which a joint was lost: 'drop', 'interpolate' or 'keep'.
        max_gap: frames in a row that 'interpolate' fills at most; longer gaps are dropped.
    """

    name: str
    raw: Path | None = None
    layout: int = 2
    holdout: str | tuple[str, ...] | None = None
    seed: int = 0
    step: int | None = None
    offsets: tuple[int, ...] | None = None
    clip: tuple[int, int] | None = None
    center: str | None = None
    people: int | None = None
    recordings: int | None = None
    views: tuple[int, ...] | None = None
    protocols: tuple[str, ...] | None = None
    simulate: bool = False
    skeleton: str | None = None
    leave_out: tuple[str, ...] | None = None
    keep_copies: bool = False
    accept: bool = False
    units: str | None = None
    up: str | None = None
    unit_size: bool = False
    lost: str | None = None
    max_gap: int | None = None
