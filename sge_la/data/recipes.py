"""What each data set wants of `prepare`: which raw format, which frames, how cut, who is tested on.

The defaults are those of the published preprocessing where there is one. Test sets are always cut into whole sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sge_la.data.raw.recording import RawData, RawRecording
from sge_la.data.sequences import Cutting
from sge_la.data.splits import hold_out
from sge_la.errors import UserError


@dataclass(frozen=True)
class Settings:
    """What the user has chosen; None is the data set's default.

    Attributes:
        name: the data set.
        raw: the folder of the raw recordings, None for simulated ones.
        layout: 1, 2 or 3.
        holdout: 'last', 'random', or the names of the recordings that are held out.
        seed: of everything random.
        step: of the training sequences.
        offsets: of the training sequences; () for 0 to length − 1.
        clip: frames left out at the start and at the end of each recording.
        center: name of the joint that becomes the origin of each frame.
        people: how many walkers are simulated; BIWI: 28 or 50.
        recordings: how many walks of each walker are simulated.
    """

    name: str
    raw: Path | None = None
    layout: int = 2
    holdout: str | tuple[str, ...] = 'last'
    seed: int = 0
    step: int | None = None
    offsets: tuple[int, ...] | None = None
    clip: tuple[int, int] | None = None
    center: str | None = None
    people: int | None = None
    recordings: int | None = None


@dataclass(frozen=True)
class Tree:
    """One folder of arrays that is to be written.

    Attributes:
        train: indices of the recordings to train on.
        tests: for each test set its recordings.
        view: the number of its `view_` folder, or None.
    """

    train: list[int]
    tests: dict[str, list[int]]
    view: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How a data set is prepared.

    Attributes:
        find: lists the recordings.
        split: chooses those to train and test on, for each folder that is to be written.
        lengths: T if the user names none.
        clip: frames left out at the start and at the end, for each part of the raw data ('' for all others).
        dense: whether training sequences overlap (`Cutting.dense`).
    """

    find: Callable[[Settings], RawData]
    split: Callable[[Sequence[RawRecording], Settings], list[Tree]]
    lengths: tuple[int, ...] = (6,)
    clip: dict[str, tuple[int, int]] = field(default_factory=lambda: {'': (0, 0)})
    dense: bool = False

    def clip_of(self, raw: RawRecording, settings: Settings) -> tuple[int, int]:
        """Frames left out at the start and at the end of a recording."""
        return settings.clip or self.clip.get(raw.part, self.clip[''])

    def training_cut(self, length: int, settings: Settings) -> Cutting:
        """How training recordings are cut, with the user's choices in place of the defaults."""
        default = Cutting.dense(length) if self.dense else Cutting.whole(length)
        offsets = default.offsets if settings.offsets is None else settings.offsets or tuple(range(length))
        return Cutting(length, settings.step or default.step, offsets)


def raw_folder(settings: Settings) -> Path:
    """The folder of the raw recordings.

    Raises:
        UserError: none was named, or it is no folder.
    """
    if settings.raw is None:
        raise UserError(f'--raw is missing: give the folder of the raw recordings of {settings.name}')
    if not settings.raw.is_dir():
        raise UserError(f'--raw {settings.raw} should be the folder of the raw recordings, and there is no such folder')
    return settings.raw


def one_per_person(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Holds out one recording a person; in layout 3 that is the probe, and up to two more are the gallery."""
    if settings.layout < 3:
        (held,) = hold_out(recordings, settings.holdout, settings.seed)
        name = 'probe' if settings.name == 'KGBD' else 'test'
        return [Tree(_others(recordings, held), {name: sorted(held)})]
    if not isinstance(settings.holdout, str):
        raise UserError(
            'layout 3 has a probe and a gallery, which a list cannot tell apart; use --holdout last or random'
        )
    probe, *gallery = hold_out(recordings, settings.holdout, settings.seed, count=3)
    gallery = set().union(*gallery)
    return [Tree(_others(recordings, probe | gallery), {'probe': sorted(probe), 'gallery': sorted(gallery)})]


def _others(recordings: Sequence[RawRecording], held: Iterable[int]) -> list[int]:
    held = set(held)
    return [index for index in range(len(recordings)) if index not in held]


def _find_kgbd(settings: Settings) -> RawData:
    from sge_la.data.raw import kgbd

    return kgbd.find(raw_folder(settings))


def _find_demo(settings: Settings) -> RawData:
    from sge_la.data import simulate

    return simulate.walkers(settings.people or 12, settings.recordings or 5, settings.seed)


RECIPES = {
    # First and last frames: the walkers stand there.
    'KGBD': Recipe(_find_kgbd, one_per_person, clip={'': (10, 10)}),
    'DEMO': Recipe(_find_demo, one_per_person),
}
