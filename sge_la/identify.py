"""Names the person of new recordings: `python -m sge_la.identify --RN_dir NAME RECORDING...`.

A recording is a file as Datasets/README.md describes for recordings of one's own, or a `.txt` file of KGBD. It is cut
into sequences, one behind the other, and the mean of their scores tells who walks. The network knows the people that it
was trained on and nobody else: it names one of them for a stranger too.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sge_la.backends.starting import NAMES
from sge_la.errors import Notice, UserError, run_command, say
from sge_la.settings.options import gpu_number
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    import numpy as np

    from sge_la.api import Answer, Recogniser
    from sge_la.data.axes import Axes
    from sge_la.data.raw.recording import Recording
    from sge_la.data.skeletons import Skeleton


def identify(
    frames: np.ndarray,
    run: str | Path | Recogniser,
    *,
    models_dir: str | Path = 'Models',
    data_dir: str | Path = 'Datasets',
    top: int = 5,
    accept: bool = False,
) -> list[Answer]:
    """Who walks in a recording: its likeliest people, likeliest first.

    `frames` are [F, J, 3], metres, in the axes and with the joints in the order of the training data, at least T of
    them; frames with lost joints are treated as those of the training data were. `run` is a loaded `Recogniser`, or
    name or path of the folder of a recognition network. What is odd about the recording is a warning (`Notice`);
    `accept`: so is what would be refused.

    Raises UserError: the run is missing, or the recording does not fit it, or is in another unit or upright direction.
    """
    from sge_la.api import Recogniser

    if not isinstance(run, Recogniser):
        run = Recogniser.load(run, models_dir=models_dir, data_dir=data_dir)
    return run.identify(_cut(frames, None, run, 'the recording', accept), top)


def _cut(
    frames: np.ndarray, numbers: np.ndarray | None, run: Recogniser, where: str, accept: bool, axes: Axes | None = None
) -> np.ndarray:
    """The recording's sequences `[N, T, J, 3]`; `axes`: what it comes in, None for metres and the training's axes."""
    import numpy as np

    from sge_la.data.prepare.sequences import Cutting, cut

    frames, length, joints = np.asarray(frames, np.float32), run.encoder.length, run.encoder.joints
    if frames.ndim != 3 or frames.shape[1:] != (joints, 3):
        raise UserError(
            f'{where} should have frames [F, {joints}, 3], as the model was trained on, found {list(frames.shape)}: '
            'check the joints, or choose another model'
        )
    total = len(frames)
    frames, numbers = _usable(frames, numbers, run, where, accept, axes)
    sequences = cut([frames], Cutting.whole(length), [numbers]).skeletons
    if not len(sequences):
        lost = f', of which {total - len(frames)} have lost joints' if len(frames) < total else ''
        raise UserError(
            f'{where} should have {length} frames in a row or more, found {total} in all{lost}: give a longer recording'
        )
    return sequences


def _usable(
    frames: np.ndarray, numbers: np.ndarray | None, run: Recogniser, where: str, accept: bool, axes: Axes | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Treats a recording as those of the training were treated, and compares it with them; frames, and numbers."""
    import numpy as np

    from sge_la.data.axes import METRES_Y_UP
    from sge_la.data.lost import lost_joints
    from sge_la.data.plausible import doubts, measure
    from sge_la.data.usable import make_usable
    from sge_la.data.way import Way

    known = run.trained_on
    usual = known and known.body
    way = replace(known.way if known else Way(), axes=axes or METRES_Y_UP)
    # Coordinates were centred on a joint: that joint is not lost where it is the origin.
    origin = [joint for joint in (usual.origin if usual else ()) if not frames[:, joint].any()]
    called = np.arange(len(frames)) if numbers is None else numbers
    usable = make_usable(where, frames, called, run.skeleton, origin, way)
    found = [] if usable.finding is None else [usable.finding]
    if len(usable.frames) < len(frames):
        numbers = usable.numbers
    frames = usable.frames
    if usual is not None:
        frames = frames - frames[:, usual.origin[:1]] if usual.origin else frames
        lost = lost_joints(frames, usual.origin)
        body = measure(frames, run.skeleton, lost, usable.numbers, usual.origin)
        found += [] if body is None else doubts(where, body, usual, run.skeleton, 'in what the model was trained on')
    for finding in found:
        if finding.grave and not accept:
            raise UserError(f'{finding.text}; or accept it (--accept), if it is meant')
        warnings.warn(Notice(finding.text), stacklevel=4)
    return frames, numbers


def read_recording(path: Path, skeleton: Skeleton | None, body: str = '') -> Recording:
    """Reads a file as recordings of one's own are read, or a .txt of KGBD; joints in the order of `skeleton`.

    `body`: which of several bodies in the file is meant, '' for the one in most frames. Raises UserError: it is
    missing, damaged, or does not fit; without a skeleton only .npy can be read.
    """
    from sge_la.data.raw import kgbd, own
    from sge_la.data.raw.recording import Recording
    from sge_la.data.skeletons import reorder
    from sge_la.files.arrays import read_npy

    raw = own.one(path, body)
    if path.suffix == '.npy' and skeleton is None:
        return Recording(raw, read_npy(path))
    if skeleton is None:
        raise UserError(
            f'{path}: the joints that the model was trained on are not known, so that only .npy can be read: give '
            '--data_dir with its data set'
        )
    if path.suffix == '.txt':
        return Recording(raw, reorder(kgbd.read(raw).frames, kgbd.SKELETON, skeleton))
    return own.read(raw, skeleton)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser('identify', 'Name the person of new recordings.')
    parser.add_argument(
        'recordings', nargs='+', type=Path, metavar='RECORDING', help='.csv, .npy, .txt of KGBD, .skeleton, .json, .trc'
    )
    parser.add_argument('--body', default='', metavar='ID', help='of several in a file (default: that in most frames)')
    parser.add_argument('--RN_dir', required=True, help='name (or path) of the folder of a trained recognition network')
    parser.add_argument('--top', type=int, default=5, help='answers for each recording (default 5)')
    parser.add_argument('--gpu', type=gpu_number, default='0', help='number of the GPU, -1 for the CPU')
    parser.add_argument(
        '--backend',
        choices=NAMES,
        help='what computes (default: KERAS_BACKEND, else NumPy on a CPU)',
    )
    parser.add_argument('--data_dir', default='Datasets', help='folder of the data sets')
    parser.add_argument('--models_dir', default='Models', help='folder of the trained models')
    parser.add_argument(
        '--accept', action='store_true', help="name somebody even if unit or upright direction are not the training's"
    )
    given = parser.parse_args(argv)
    if given.top < 1:
        raise UserError(f'--top: a number of at least 1 was expected, found {given.top}')
    for path in given.recordings:
        if not path.exists():
            raise UserError(f'{path} should be a recording, and there is no such file: check the path')
    from sge_la import backends
    from sge_la.api import Recogniser, load_options
    from sge_la.backends.runtime import for_inference, start
    from sge_la.data.raw.own import axes_of

    places = {'models_dir': given.models_dir, 'data_dir': given.data_dir}
    backend = for_inference(given.backend, given.gpu, load_options(given.RN_dir, **places).precision)
    with backends.using(backend):
        run = Recogniser.load(given.RN_dir, **places, backend=backends.name())
        start(given.gpu, run.encoder.plan.seed)
    for path in given.recordings:
        known = path.suffix != '.txt' and run.trained_on
        axes = axes_of(path, known.way.axes) if known else None
        recording = read_recording(path, run.skeleton, given.body)
        for note in recording.notes:
            warnings.warn(Notice(f'{path}: {note}'), stacklevel=2)
        sequences = _cut(recording.frames, recording.numbers, run, str(path), given.accept, axes)
        say(f'{path}: {len(sequences)} sequences of {run.encoder.length} frames')
        for place, answer in enumerate(run.identify(sequences, given.top), 1):
            say(f'  {place}. {answer.person}  score {answer.score:.3f}  votes {answer.votes:.1%}')


class _CallableModule(ModuleType):
    """Lets `sge_la.identify(...)` be the function whether or not this module has been imported under that name."""

    def __call__(self, *args, **further) -> list[Answer]:
        return identify(*args, **further)


sys.modules[__name__].__class__ = _CallableModule

if __name__ == '__main__':
    sys.exit(run_command(main))
