"""Recordings for a trained run: read, treated as those of its training were, compared with them, and cut."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sge_la import backends
from sge_la.api import Recogniser, load_options
from sge_la.backends.runtime import for_inference, start
from sge_la.backends.starting import NAMES
from sge_la.data.axes import METRES_Y_UP, Axes
from sge_la.data.prepare.sequences import Cutting, cut
from sge_la.data.quality.lost import lost_joints
from sge_la.data.quality.plausible import doubts, measure
from sge_la.data.quality.usable import make_usable
from sge_la.data.raw import kgbd, own
from sge_la.data.raw.recording import Recording
from sge_la.data.skeletons import Skeleton, reorder
from sge_la.data.way import Way
from sge_la.errors import Notice, UserError
from sge_la.files.arrays import as_float32, read_npy
from sge_la.settings.options import gpu_number
from sge_la.settings.parser import Parser


def load_run(name: str, given: Namespace) -> Recogniser:
    """The run that `--RN_dir` or a gallery names, on the backend and device that the command's flags name.

    Raises UserError: it is missing or damaged.
    """
    places = {'models_dir': given.models_dir, 'data_dir': given.data_dir}
    backend = for_inference(given.backend, given.gpu, load_options(name, **places).precision)
    with backends.using(backend):
        run = Recogniser.load(name, **places, backend=backends.name())
        start(given.gpu, run.encoder.plan.seed)
    return run


def refuse_missing(paths: Sequence[Path]) -> None:
    """Refuses recordings that are not there, before anything takes time.

    Raises UserError: one is not.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f'{path} should be a recording, and there is no such file: check the path')


def sequences_of(path: Path, run: Recogniser, body: str = '', accept: bool = False) -> np.ndarray:
    """Reads a recording and cuts it: float32 [N, T, J, 3], N at least 1. What is odd about it is a `Notice`.

    `body`: which of several in the file, '' for the one in most frames; `accept`: take it even if unit or upright
    direction are not the training's. Raises UserError: it is missing, damaged, too short, or does not fit the run.
    """
    known = path.suffix != '.txt' and run.trained_on
    axes = own.axes_of(path, known.way.axes) if known else None
    recording = read_recording(path, run.skeleton, body)
    for note in recording.notes:
        warnings.warn(Notice(f'{path}: {note}'), stacklevel=2)
    return sequences_in(recording.frames, recording.numbers, run, str(path), accept, axes)


def add_flags(parser: Parser, accept: str) -> None:
    """The flags that `load_run` and `sequences_of` know; `accept`: what that flag does."""
    parser.add_argument('--body', default='', metavar='ID', help='of several in a file (default: that in most frames)')
    parser.add_argument('--gpu', type=gpu_number, default='0', help='number of the GPU, -1 for the CPU')
    parser.add_argument('--backend', choices=NAMES, help='what computes (default: KERAS_BACKEND, else NumPy on a CPU)')
    parser.add_argument('--data_dir', default='Datasets', help='folder of the data sets')
    parser.add_argument('--models_dir', help='folder of the trained models (default: where the run lies, else Models)')
    parser.add_argument(
        '--accept', action='store_true', help=f"{accept} even if unit or upright direction are not the training's"
    )


def sequences_in(
    frames: np.ndarray,
    numbers: np.ndarray | None,
    run: Recogniser,
    where: str,
    accept: bool,
    axes: Axes | None = None,
    length: int | None = None,
) -> np.ndarray:
    """The recording's sequences `[N, T, J, 3]`.

    `axes`: what it comes in, None for metres and the training's axes; `length`: T, None for the run's.
    """
    frames, length, joints = as_float32(frames, 'frames'), length or run.encoder.length, run.encoder.joints
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
