"""Simulated recordings of walkers, as a depth camera or a pose estimator would see them.

They stand in for real data where none is at hand: in the demonstration and in tests. Nothing here is measured; numbers
that are reached on such data say that the programs work, not how well the method does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.simulated.walkers import SKELETON, Walker, draw_walker, joints, lasting_noise, on_another_day

_FRAME_RATE = 30
_CAMERA_HEIGHT = 0.9
# Noise of a depth sensor grows with the square of the distance: about 1.5 mm at 1 m and 4 cm at 5 m for one pixel of
# the Kinect (K. Khoshelham and S. O. Elberink, Sensors 12, 2012). A joint is fitted to many pixels, hence a third of it
# here; the fit adds errors of its own, which last for several frames and are larger at the ends of the limbs.
_DEPTH_NOISE = 0.0005
_POSE_NOISE = 0.003
_NOISE_SCALE = {'Elbow': 1.2, 'Wrist': 1.6, 'Hand': 2.0, 'Knee': 1.2, 'Ankle': 1.6, 'Foot': 2.0}
_HIDDEN_SCALE = 2.0
# Joints get lost in bursts: how often one starts, and how likely it is to go on.
_LOSS, _LOSS_GOES_ON = 0.004, 0.85


def walkers(people: int, recordings: int, seed: int) -> RawData:
    """Plans recordings of walkers who pass a camera that stands still; each is simulated when it is read.

    `people`: how many walkers; labels 0 to people − 1. `recordings`: walks of each. `seed`: of everything. The same
    seed gives the same bits; a walker is the same whoever else walks. Returns what a reader of raw recordings gives,
    with the 20 joints of `kinect_v1`.
    """
    plan = [
        RawRecording(f'walker{person:02d}/{number}', Path(), f'walker{person:02d}', person)
        for person in range(people)
        for number in range(1, recordings + 1)
    ]
    return RawData(SKELETON, plan, partial(_walk, seed=seed))


def _walk(raw: RawRecording, seed: int) -> Recording:
    number = int(raw.name.rpartition('/')[2])
    walker = draw_walker(np.random.default_rng([seed, raw.identity]))
    rng = np.random.default_rng([seed, raw.identity, number])
    walker = on_another_day(walker, rng)
    num_frames = int(rng.integers(260, 301))
    phase, heading, position = _oval(walker, rng, num_frames)
    body = joints(walker, phase, heading, position)
    frames, tracked = observe(body, heading, rng)
    # As in the recordings of BIWI and IAS: a frame with a joint that was not tracked is not used.
    return Recording(raw, frames[tracked.all(axis=1)])


def _oval(walker: Walker, rng: np.random.Generator, num_frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A way along a stadium-shaped round: two straight passes in front of the camera and two turns.

    Returns phase of the stride `[F]`, heading `[F]`, position on the ground `[F, 2]`.
    """
    # The round is marked on the floor; who follows it keeps to it within a hand's breadth.
    straight, radius = 2.0 + rng.uniform(-0.1, 0.1), 0.50 + rng.uniform(-0.04, 0.04)
    centre = np.array([rng.uniform(-0.05, 0.05), 2.9 + rng.uniform(-0.05, 0.05)])
    tilt = np.deg2rad(rng.uniform(-3, 3))
    seconds = np.arange(num_frames) / _FRAME_RATE
    turn = np.pi * radius
    way = (rng.uniform(0, 1) * 2 * (straight + turn) + walker.speed * seconds) % (2 * (straight + turn))
    back = way >= straight + turn
    way = np.where(back, way - straight - turn, way)
    turned = np.clip((way - straight) / radius, 0, np.pi)
    along = np.where(way < straight, way - straight / 2, straight / 2 + radius * np.sin(turned))
    across = radius * np.cos(turned)
    sign = np.where(back, -1.0, 1.0)
    local = np.stack([sign * along, sign * across], -1)
    rotation = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    heading = np.pi / 2 + turned + np.pi * back - tilt
    phase = rng.uniform(0, 1) + seconds * walker.cadence / 2
    return phase, heading, local @ rotation + centre


def observe(body: np.ndarray, heading: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What the sensor makes of a body.

    `body`: float64 `[F, 20, 3]`, the ground at y = 0; `heading`: `[F]`, direction of walking; `rng`: the source of all
    choices. Returns float32 `[F, 20, 3]`, the camera at the origin, and bool `[F, 20]`: whether the joint was tracked.
    """
    seen = body - np.array([0.0, _CAMERA_HEIGHT, 0.0])
    scale = np.array(
        [next((s for part, s in _NOISE_SCALE.items() if name.startswith(part)), 1.0) for name in SKELETON.joints]
    )
    distance = np.linalg.norm(seen, axis=-1)
    deviation = (_POSE_NOISE + _DEPTH_NOISE * distance**2) * scale
    deviation = deviation * np.where(_hidden(heading), _HIDDEN_SCALE, 1.0)
    noise = lasting_noise(rng, seen.shape)
    return (seen + noise * deviation[:, :, None]).astype(np.float32), ~_lost(rng, *seen.shape[:2])


def _hidden(heading: np.ndarray) -> np.ndarray:
    """Whether a joint of the arm or leg is behind the body, bool `[F, 20]`: those of the side away from the camera."""
    away = np.sin(heading)
    sides = np.array([{'left': 1, 'right': -1, 'middle': 0}[side] for side in SKELETON.sides])
    # Who walks to the camera's left (heading π/2) turns the own left side to the camera.
    return (away[:, None] * sides) < -0.5


def _lost(rng: np.random.Generator, num_frames: int, num_joints: int) -> np.ndarray:
    lost = np.zeros((num_frames, num_joints), bool)
    joint = None
    for frame, (chance, choice) in enumerate(
        zip(rng.random(num_frames), rng.integers(num_joints, size=num_frames), strict=True)
    ):
        if joint is None and chance < _LOSS:
            joint = int(choice)
        elif joint is not None and chance > _LOSS_GOES_ON:
            joint = None
        if joint is not None:
            lost[frame, joint] = True
    return lost
