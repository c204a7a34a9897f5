"""Recordings for a trained run: read, treated as those of its training were, compared with them, and cut."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sge_la.api import Recogniser
from sge_la.backends.runtime import start
from sge_la.data.axes import METRES_Y_UP, Axes
from sge_la.data.lost import lost_joints
from sge_la.data.plausible import doubts, measure
from sge_la.data.prepare.sequences import Cutting, cut
from sge_la.data.raw import kgbd, own
from sge_la.data.raw.recording import RawRecording
from sge_la.data.skeletons import Skeleton, reorder
from sge_la.data.usable import make_usable
from sge_la.data.way import Way
from sge_la.errors import Notice, UserError
from sge_la.files.arrays import read_npy


def load_run(name: str, given: Namespace) -> Recogniser:
    """The run that `--RN_dir` or a gallery names, and the device that the command's flags name.

    Raises UserError: it is missing or damaged.
    """
    run = Recogniser.load(name, models_dir=given.models_dir, data_dir=given.data_dir)
    start(given.gpu, run.encoder.plan.seed)
    return run


def refuse_missing(paths: Sequence[Path]) -> None:
    """Refuses recordings that are not there, before anything takes time.

    Raises UserError: one is no file.
    """
    for path in paths:
        if not path.is_file():
            raise UserError(f'{path} should be a recording, and there is no such file: check the path')


def sequences_of(path: Path, run: Recogniser, accept: bool = False) -> np.ndarray:
    """Reads a recording and cuts it: float32 [N, T, J, 3], N at least 1.

    `accept`: take it even if unit or upright direction are not the training's. Raises UserError: it is missing,
    damaged, too short, or does not fit the run.
    """
    axes = None if path.suffix == '.txt' or run.trained_on is None else run.trained_on.way.axes
    return sequences_in(*read_recording(path, run.skeleton), run, str(path), accept, axes)


def sequences_in(
    frames: np.ndarray, numbers: np.ndarray | None, run: Recogniser, where: str, accept: bool, axes: Axes | None = None
) -> np.ndarray:
    """The recording's sequences `[N, T, J, 3]`; `axes`: what it comes in, None for metres and the training's axes."""
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


def read_recording(path: Path, skeleton: Skeleton | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a .csv, .npy or (KGBD) .txt file: float32 [F, J, 3] in the order of `skeleton`, and frame numbers or None.

    Raises UserError: it is missing, damaged, or does not fit; without a skeleton only .npy can be read.
    """
    raw = RawRecording(path.name, path, '', 0)
    if path.suffix == '.npy' and skeleton is None:
        return read_npy(path), None
    if skeleton is None:
        raise UserError(
            f'{path}: the joints that the model was trained on are not known, so that only .npy can be read: give '
            '--data_dir with its data set'
        )
    if path.suffix == '.txt':
        return reorder(kgbd.read(raw).frames, kgbd.SKELETON, skeleton), None
    if path.suffix not in ('.csv', '.npy'):
        raise UserError(f'{path}: a recording should end in .csv, .npy or .txt (KGBD): convert it')
    recording = own.read(raw, skeleton)
    return recording.frames, recording.numbers
