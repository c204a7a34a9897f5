"""What every reader of raw data gives: recordings that were found, and recordings that were read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sge_la.data.axes import METRES_Y_UP, Axes
from sge_la.data.skeletons import Skeleton


@dataclass(frozen=True)
class RawRecording:
    """A recording that was found and not read yet.

    Attributes:
        name: its path inside the raw folder, by which `prepare.json` and `--holdout` know it.
        path: the file, or the folder of its frames.
        person: the person's name in the raw data.
        identity: the person's label in the data set.
        part: the part of the raw data that it belongs to: '' where there are none, else 'train', 'test', or a
            data set's own word ('Walking', 'TestingA', 'gc1', 'nm').
        view: the camera's view, or None.
        walk: what several cameras saw at the same time has the same text here; '' for one camera. Such recordings
            share their number, since a sequence of one tells too much about the others.
        size: bytes of text to read, about; 0 where nothing is read.
        files: names of the frames' files in `path`, in order, where each frame has its own.
        body: which of several bodies in the file is meant; '' for the one in most frames.
    """

    name: str
    path: Path
    person: str
    identity: int
    part: str = ''
    view: int | None = None
    walk: str = ''
    size: int = 0
    files: tuple[str, ...] = ()
    body: str = ''


@dataclass(frozen=True)
class Recording:
    """A recording that was read.

    `raw`: what was found; `frames`: float32 `[F, J, 3]`, metres unless `RawData.axes` says otherwise, NaN where the
    file says that a joint was not seen; `numbers`: int64 `[F]`, increasing frame numbers that no sequence may jump, or
    None where the frames follow each other whatever was dropped between them; `notes`: sentences about what is odd but
    usable, for the summary; `rate`: frames a second, None where the file does not tell.
    """

    raw: RawRecording
    frames: np.ndarray
    numbers: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    rate: float | None = None


@dataclass(frozen=True)
class RawData:
    """The recordings of a raw data set, and how to read one.

    `skeleton`: the joints, in the files' order; `recordings`: sorted by person, then in the data set's own order; what
    is written follows it; `read`: reads one recording; picklable, because it runs in several processes; `notes`:
    sentences about files that were not used, for the summary; `axes`: the unit and the upright axis of what `read`
    gives; `quick`: whether reading takes hardly longer than handing the arrays on from another process.
    """

    skeleton: Skeleton
    recordings: Sequence[RawRecording]
    read: Callable[[RawRecording], Recording]
    notes: tuple[str, ...] = ()
    axes: Axes = METRES_Y_UP
    quick: bool = False


def notes_of(recordings: Sequence[Recording]) -> list[str]:
    """The notes on recordings, each once, however many recordings it is about; and their frames a second."""
    about: dict[str, list[str]] = {}
    for item in recordings:
        for note in item.notes:
            about.setdefault(note, []).append(item.raw.name)
    counts = {
        note: names[0] if len(names) == 1 else f'{len(names)} recordings, first {names[0]}'
        for note, names in about.items()
    }
    notes = [note if names[0] in note else f'{note} ({counts[note]})' for note, names in about.items()]
    return [*notes, *_rates(recordings)]


def _rates(recordings: Sequence[Recording]) -> list[str]:
    """How many frames a second the recordings have, if they tell; walks at different rates look different."""
    rates: dict[int, list[str]] = {}
    for item in recordings:
        if item.rate is not None:
            rates.setdefault(round(item.rate), []).append(item.raw.name)
    found = ', '.join(f'{rate} in {len(names)} (first {names[0]})' for rate, names in sorted(rates.items()))
    if not rates:
        return []
    differ = max(rates) > 1.2 * min(rates)
    warning = '; they should be alike, for a sequence of a person then lasts as long as another: bring them to one rate'
    return [f'frames a second: {found}' + warning * differ]
