"""A walking body: proportions, gait and forward kinematics of the 20 joints of Microsoft's first Kinect.

Lengths of the segments are fractions of the stature: R. Drillis and R. Contini, "Body Segment Parameters", New York
University 1966, as printed in D. A. Winter, "Biomechanics and Motor Control of Human Movement", figure on segment
lengths. Joint angles over a stride are drawn after the typical shape of the curves in Winter's book (two flexions of
the knee, the larger in swing; push-off of the foot at 60 % of the stride); they are no measurements.

Directions: x is the camera's left, y is up, z points away from the camera; angles are in radians.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sge_la.data.skeletons import SKELETONS

SKELETON = SKELETONS['kinect_v1']

# Fractions of the stature. The sensor sees joints inside the body: shoulders and hips are nearer to the middle than the
# breadths of the bones say, the head's joint is at the height of the eyes, the hand's in the middle of the hand.
SEGMENTS = {
    'trunk': 0.818 - 0.530 - 0.025,
    'neck': 0.936 - 0.818,
    'shoulder': 0.259 / 2 * 0.80,
    'shoulder_drop': 0.050,
    'upper_arm': 0.186,
    'forearm': 0.146,
    'hand': 0.108 / 2,
    'hip': 0.191 / 2 * 0.60,
    'hip_drop': 0.045,
    'thigh': 0.530 - 0.285,
    'shank': 0.285 - 0.039,
    'foot': 0.152 * 0.50,
}
_ANKLE_HEIGHT = 0.039
_SPINE_ON_TRUNK = 0.20
# Degrees at parts of a stride that starts when the heel touches the ground: knee flexion, and pitch of the foot (toes
# up is positive).
_KNEE = ((0, 8, 15, 25, 40, 50, 60, 70, 75, 85, 95), (5, 14, 18, 14, 5, 10, 35, 60, 58, 28, 6))
_FOOT = ((0, 10, 40, 55, 62, 72, 85, 95), (18, 0, -3, -35, -60, -35, 5, 18))
_HARMONICS = 5


@dataclass(frozen=True)
class Walker:
    """One person's body and habits.

    Attributes:
        stature: metres.
        segments: lengths in metres, by the names of `SEGMENTS`.
        cadence: steps a second.
        stride: length of a stride (two steps) as a fraction of the stature.
        arm_swing: amplitude of the upper arm.
        arm_offset: mean angle of the upper arm, forwards.
        arm_lag: phase by which the arms are behind the opposite leg.
        arm_spread: angle of the arms away from the body.
        elbow: mean flexion of the elbow.
        lean: forward inclination of the trunk.
        side_lean: inclination to the left.
        head_lean: forward inclination of the neck, added to the trunk's.
        pelvis_turn: amplitude of the pelvis about the vertical axis; the shoulders turn the other way.
        pelvis_tilt: amplitude of the pelvis' rise and fall at the sides.
        sway: metres that the body moves to either side.
        leg_spread: angle of the legs away from the middle.
        toe_out: angle of the feet outwards.
        knee: scale of the knee's flexion.
        limp: relative difference between left and right step, positive: the left is longer.
    """

    stature: float
    segments: dict[str, float]
    cadence: float
    stride: float
    arm_swing: float
    arm_offset: float
    arm_lag: float
    arm_spread: float
    elbow: float
    lean: float
    side_lean: float
    head_lean: float
    pelvis_turn: float
    pelvis_tilt: float
    sway: float
    leg_spread: float
    toe_out: float
    knee: float
    limp: float

    @property
    def speed(self) -> float:
        """Metres a second."""
        return self.cadence * self.stride * self.stature / 2


# Mean and standard deviation over people; degrees for angles. Held within two and a half deviations.
_ANGLES = {
    'arm_swing': (20.0, 6.0),
    'arm_offset': (-4.0, 5.0),
    'arm_lag': (0.0, 12.0),
    'arm_spread': (7.0, 3.0),
    'elbow': (24.0, 8.0),
    'lean': (3.0, 2.5),
    'side_lean': (0.0, 1.0),
    'head_lean': (12.0, 5.0),
    'pelvis_turn': (4.0, 1.5),
    'pelvis_tilt': (3.0, 1.0),
    'leg_spread': (1.5, 1.0),
    'toe_out': (6.0, 4.0),
}
_OTHERS = {
    'cadence': (1.85, 0.13),
    'stride': (0.80, 0.06),
    'sway': (0.020, 0.006),
    'knee': (1.0, 0.07),
    'limp': (0.0, 0.03),
}


# Relative standard deviation of each segment's length: of people of equal stature, and of a person from one recording
# to the next, since a sensor that fits a body model anew does not find the same lengths (clothes, distance, direction).
_SEGMENTS_SPREAD, _SEGMENTS_CHANGE = 0.06, 0.015
# How far a person's habits move from one recording to the next, in standard deviations between people.
_HABITS_CHANGE = 0.2
# How much of a frame's noise is still there in the next.
_NOISE_MEMORY = 0.7


def draw_walker(rng: np.random.Generator) -> Walker:
    """Draws a person; `rng`: the source of all choices."""
    stature = _normal(rng, 1.70, 0.09)
    segments = {name: fraction * stature * _normal(rng, 1.0, _SEGMENTS_SPREAD) for name, fraction in SEGMENTS.items()}
    habits = {name: np.deg2rad(_normal(rng, *spread)) for name, spread in _ANGLES.items()}
    habits |= {name: _normal(rng, *spread) for name, spread in _OTHERS.items()}
    return Walker(stature, segments, **habits)


def on_another_day(walker: Walker, rng: np.random.Generator) -> Walker:
    """The same person in another recording; `rng`: the source of all choices."""
    changes = {
        name: getattr(walker, name) + np.deg2rad(_normal(rng, 0.0, spread * _HABITS_CHANGE))
        for name, (_, spread) in _ANGLES.items()
    }
    changes |= {
        name: getattr(walker, name) + _normal(rng, 0.0, spread * _HABITS_CHANGE)
        for name, (_, spread) in _OTHERS.items()
    }
    segments = {name: length * _normal(rng, 1.0, _SEGMENTS_CHANGE) for name, length in walker.segments.items()}
    return replace(walker, segments=segments, **changes)


def _normal(rng: np.random.Generator, mean: float, deviation: float) -> float:
    return mean + deviation * float(np.clip(rng.standard_normal(), -2.5, 2.5))


def lasting_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of deviation 1 that goes on from a frame, the first axis, to the next: float64."""
    noise = rng.standard_normal(shape)
    for frame in range(1, len(noise)):
        noise[frame] = _NOISE_MEMORY * noise[frame - 1] + np.sqrt(1 - _NOISE_MEMORY**2) * noise[frame]
    return noise


def joints(
    walker: Walker, phase: np.ndarray, heading: np.ndarray, position: np.ndarray, bag: bool = False
) -> np.ndarray:
    """Where the joints are.

    `walker`: the person; `phase`: `[F]`, strides since the left heel touched the ground; whole numbers are heel
    strikes; `heading`: `[F]`, direction of walking: 0 away from the camera, π towards it, π/2 to the camera's left;
    `position`: `[F, 2]`, x and z of the body's middle on the ground; `bag`: whether a bag hangs on the right shoulder
    and the hand holds it. Returns float64 `[F, 20, 3]`, metres, the ground at y = 0, in the order of `kinect_v1`.
    """
    turn = 2 * np.pi * phase
    length = walker.segments
    pelvis = _frame(heading - walker.pelvis_turn * np.cos(turn))
    chest = _frame(heading + 0.8 * walker.pelvis_turn * np.cos(turn))
    feet_frame = {'Left': _frame(heading + walker.toe_out), 'Right': _frame(heading - walker.toe_out)}
    place = {'HipCenter': np.zeros((len(phase), 3))}
    side_lean = walker.side_lean - (np.deg2rad(4) if bag else 0.0)
    trunk = _towards(chest, np.sin(side_lean), np.cos(walker.lean), np.sin(walker.lean))
    place['Spine'] = _SPINE_ON_TRUNK * length['trunk'] * trunk
    place['ShoulderCenter'] = length['trunk'] * trunk
    bend = walker.lean + walker.head_lean
    place['Head'] = place['ShoulderCenter'] + length['neck'] * _towards(
        chest, np.sin(side_lean), np.cos(bend), np.sin(bend)
    )
    for name, side in (('Left', 1.0), ('Right', -1.0)):
        carrying = bag and name == 'Right'
        own = phase if name == 'Left' else phase + 0.5
        _add_leg(place, walker, name, side, own, pelvis, feet_frame[name])
        _add_arm(place, walker, name, side, own, chest, carrying)
    body = np.stack([place[name] for name in SKELETON.joints], axis=1)
    # The lower of the two feet stands on the ground.
    soles = np.minimum(
        np.minimum(place['AnkleLeft'][:, 1], place['AnkleRight'][:, 1]) - _ANKLE_HEIGHT * walker.stature,
        np.minimum(place['FootLeft'][:, 1], place['FootRight'][:, 1]),
    )
    body[:, :, 1] -= soles[:, None]
    across = _frame(heading)[:, 0] * (walker.sway * np.sin(turn))[:, None]
    body += across[:, None]
    body[:, :, [0, 2]] += position[:, None]
    return body


def _add_leg(
    place: dict[str, np.ndarray],
    walker: Walker,
    name: str,
    side: float,
    phase: np.ndarray,
    pelvis: np.ndarray,
    foot_frame: np.ndarray,
) -> None:
    length = walker.segments
    tilt = walker.pelvis_tilt * np.sin(2 * np.pi * phase)
    leg = length['thigh'] + length['shank']
    # A step is twice the way that the foot makes in front of the hip.
    reach = walker.stride * (1 + side * walker.limp) * walker.stature / 4 / leg
    flexion = np.deg2rad(8) + np.arcsin(np.clip(reach, 0.0, 0.8)) * np.cos(2 * np.pi * (phase + 0.05))
    knee = walker.knee * _KNEE_CURVE(phase)
    hip = place['HipCenter'] + _towards(pelvis, side * length['hip'], -length['hip_drop'] + length['hip'] * tilt, 0.0)
    knee_at = hip + length['thigh'] * _limb(pelvis, flexion, side * walker.leg_spread)
    ankle = knee_at + length['shank'] * _limb(pelvis, flexion - knee, side * walker.leg_spread)
    pitch = _FOOT_CURVE(phase) - np.deg2rad(20)
    foot = ankle + length['foot'] * _towards(foot_frame, 0.0, np.sin(pitch), np.cos(pitch))
    place |= {f'Hip{name}': hip, f'Knee{name}': knee_at, f'Ankle{name}': ankle, f'Foot{name}': foot}


def _add_arm(
    place: dict[str, np.ndarray],
    walker: Walker,
    name: str,
    side: float,
    phase: np.ndarray,
    chest: np.ndarray,
    carrying: bool,
) -> None:
    length = walker.segments
    # An arm goes with the leg of the other side; one that holds a bag hardly moves and is bent.
    swing = walker.arm_swing * (0.15 if carrying else 1.0)
    wave = -np.cos(2 * np.pi * phase - walker.arm_lag)
    upper = walker.arm_offset + swing * wave
    elbow = walker.elbow + 0.5 * swing * (1 + wave) + (np.deg2rad(45) if carrying else 0.0)
    spread = side * (walker.arm_spread + (np.deg2rad(8) if carrying else 0.0))
    drop = length['shoulder_drop'] - (0.02 if carrying else 0.0)
    shoulder = place['ShoulderCenter'] + _towards(chest, side * length['shoulder'], -drop, 0.0)
    elbow_at = shoulder + length['upper_arm'] * _limb(chest, upper, spread)
    wrist = elbow_at + length['forearm'] * _limb(chest, upper + elbow, spread)
    hand = wrist + length['hand'] * _limb(chest, upper + elbow, spread)
    place |= {f'Shoulder{name}': shoulder, f'Elbow{name}': elbow_at, f'Wrist{name}': wrist, f'Hand{name}': hand}


def _frame(heading: np.ndarray) -> np.ndarray:
    """Left, up and forward of somebody who looks that way: `[F, 3, 3]`, one direction a row."""
    sine, cosine, zero, one = np.sin(heading), np.cos(heading), np.zeros_like(heading), np.ones_like(heading)
    return np.stack([np.stack(row, -1) for row in ((cosine, zero, -sine), (zero, one, zero), (sine, zero, cosine))], 1)


def _towards(frame: np.ndarray, left: float, up: np.ndarray | float, forward: np.ndarray | float) -> np.ndarray:
    """A vector given by its parts to the left, up and forward: `[F, 3]`."""
    parts = np.stack(np.broadcast_arrays(left, up, forward, frame[:, 0, 0])[:3], -1)
    return np.einsum('fk,fka->fa', parts, frame)


def _limb(frame: np.ndarray, forward: np.ndarray, left: float) -> np.ndarray:
    """The direction of a limb that hangs down, swung forward by one angle and to the left by the other: `[F, 3]`."""
    return _towards(frame, np.sin(left), -np.cos(left) * np.cos(forward), np.cos(left) * np.sin(forward))


class _Curve:
    """A smooth periodic curve near given points."""

    def __init__(self, percent: tuple[float, ...], degrees: tuple[float, ...]) -> None:
        samples = np.interp(np.arange(100), percent, np.deg2rad(degrees), period=100)
        spectrum = np.fft.rfft(samples)[: _HARMONICS + 1] / 100
        self.parts = spectrum * np.where(np.arange(_HARMONICS + 1) == 0, 1.0, 2.0)

    def __call__(self, phase: np.ndarray) -> np.ndarray:
        orders = np.arange(_HARMONICS + 1)
        return np.real(np.exp(2j * np.pi * phase[:, None] * orders) @ self.parts)


_KNEE_CURVE, _FOOT_CURVE = _Curve(*_KNEE), _Curve(*_FOOT)
