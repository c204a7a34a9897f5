"""Simulated walks with views and conditions, in the form of poses estimated from CASIA-B's videos.

Eleven cameras see each walk at the same time, from 0 (the walker comes towards the camera) to 180 degrees. People walk
normally (nm), with a bag (bg) or in a coat (cl). As with the real data, joints are estimated from pictures: their
depth is guessed and worse than the other two coordinates.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from sge_la.data.raw.casia_b import CONDITIONS, SKELETON, VIEWS, parse
from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.simulated.walkers import Walker, draw_walker, joints, lasting_noise, on_another_day
from sge_la.data.skeletons import SKELETONS

# CASIA-B has 6 normal walks, 2 with a bag and 2 in a coat.
WALKS = {'nm': 6, 'bg': 2, 'cl': 2}
_FRAME_RATE = 25
_DISTANCE = 5.0
_NOISE, _DEPTH_NOISE = 0.012, 0.030
_COAT_NOISE = 1.5
_BYTES_PER_WALK = 30_000
_KINECT_NAMES = {'Neck': 'ShoulderCenter'}


def walks(people: int, seed: int) -> RawData:
    """Plans the walks; each is simulated, written as text and read as text when its turn comes.

    `people`: how many walkers; labels 1 to people, as in CASIA-B. `seed`: of everything. The same seed gives the same
    bits; a walker is the same whoever else walks. Returns what a reader of raw recordings gives: 110 walks a person.
    """
    plan = []
    for person in range(1, people + 1):
        for condition in CONDITIONS:
            for number in range(1, WALKS[condition] + 1):
                who, walk = f'{person:03d}', f'{person:03d}-{condition}-{number:02d}'
                for view, degrees in enumerate(VIEWS):
                    name = f'{walk}-{degrees:03d}.txt'
                    plan.append(RawRecording(name, Path(name), who, person, condition, view, walk, _BYTES_PER_WALK))
    return RawData(SKELETON, plan, partial(_read, seed=seed))


def _read(raw: RawRecording, seed: int) -> Recording:
    return Recording(raw, parse(walk_text(raw, seed), raw.name))


def walk_text(raw: RawRecording, seed: int) -> str:
    """The file of one walk: a line a frame, 42 numbers in metres."""
    frames = _walk(raw, seed).reshape(-1, 3 * len(SKELETON.joints))
    return ''.join(' '.join(f'{value:.4f}' for value in frame) + '\n' for frame in frames.tolist())


def write_walks(folder: Path, people: int, seed: int) -> None:
    """Writes all walks as text files, as a reader of CASIA-B's poses wants them."""
    for raw in walks(people, seed).recordings:
        (folder / raw.name).write_text(walk_text(raw, seed), encoding='ascii')


def _walk(raw: RawRecording, seed: int) -> np.ndarray:
    """float64 `[F, 14, 3]`, as one camera sees the walk."""
    number = int(raw.name.split('-')[2])
    # All cameras see the same walk, each with noise of its own.
    day = [seed, raw.identity, CONDITIONS.index(raw.part), number]
    rng = np.random.default_rng(day)
    walker = on_another_day(draw_walker(np.random.default_rng([seed, raw.identity])), rng)
    if raw.part == 'cl':
        walker = _in_coat(walker)
    num_frames = int(rng.integers(85, 101))
    seconds = np.arange(num_frames) / _FRAME_RATE
    phase = rng.uniform(0, 1) + seconds * walker.cadence / 2
    heading = np.pi - np.deg2rad(VIEWS[raw.view])
    direction = np.array([np.sin(heading), np.cos(heading)])
    way = walker.speed * (seconds - seconds[-1] / 2)
    position = np.array([0.0, _DISTANCE]) + way[:, None] * direction
    body = joints(walker, phase, np.full(num_frames, heading), position, bag=raw.part == 'bg')
    kinect = SKELETONS['kinect_v1']
    seen = body[:, [kinect.index(_KINECT_NAMES.get(name, name)) for name in SKELETON.joints]]
    noise = lasting_noise(np.random.default_rng([*day, raw.view]), seen.shape)
    deviation = np.array([_NOISE, _NOISE, _DEPTH_NOISE]) * (_COAT_NOISE if raw.part == 'cl' else 1.0)
    return seen + noise * deviation


def _in_coat(walker: Walker) -> Walker:
    """A coat holds the arms off the body, shortens steps and swings, and makes shoulders and hips look broader."""
    segments = dict(walker.segments)
    segments['shoulder'] *= 1.10
    segments['hip'] *= 1.20
    return replace(
        walker,
        segments=segments,
        arm_spread=walker.arm_spread + np.deg2rad(8),
        arm_swing=0.75 * walker.arm_swing,
        stride=0.95 * walker.stride,
    )
