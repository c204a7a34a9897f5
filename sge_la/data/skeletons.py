"""The joints of each sensor: names, order in the files, bone tree, left and right.

Joints carry Microsoft's SDK names. `left` and `right` are the walker's own. The order is the file's own everywhere in
this package; nothing is reordered on reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sge_la.errors import UserError

# The second SDK renamed three joints of the first.
_SAME_JOINT = {'SpineBase': 'HipCenter', 'SpineMid': 'Spine', 'SpineShoulder': 'ShoulderCenter'}
_MAX_JOINTS = 1000

# KGBD's joints in the order of the first SDK, by their names: row k of the SDK's order is KGBD's joint KGBD_TO_SDK[k].
KGBD_TO_SDK = (11, 10, 1, 0, 3, 5, 7, 9, 2, 4, 6, 8, 13, 15, 17, 19, 12, 14, 16, 18)
# TranSG, MoCos, Prompter and Hi-MPC use this list instead: it puts the right limbs into the slots of the left ones, so
# their KGBD skeletons are mirrored in name (not in space). Only for comparing with them.
KGBD_TO_SDK_MIRRORED = (11, 10, 1, 0, 2, 4, 6, 8, 3, 5, 7, 9, 12, 14, 16, 18, 13, 15, 17, 19)


@dataclass(frozen=True)
class Skeleton:
    """A set of joints.

    `name`: e.g. 'kinect_v1'; `joints`: J names, in the order of the files; `parents`: for each joint the index of the
    joint that it hangs on, -1 for the root; `pairs`: (left, right) indices of the joints that come in twos.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def centre(self) -> int:
        """The root's index: hip centre (Kinect), SpineBase (Kinect 2), neck (CASIA-B, which has no pelvis joint)."""
        return self.parents.index(-1)

    @property
    def bones(self) -> tuple[np.ndarray, np.ndarray]:
        """The J − 1 bones as two int64 arrays: outer joints, and the joints that they hang on."""
        outer = np.array([joint for joint, parent in enumerate(self.parents) if parent >= 0], np.int64)
        return outer, np.asarray(self.parents, np.int64)[outer]

    @property
    def sides(self) -> tuple[str, ...]:
        """For each joint 'left', 'right' or 'middle'."""
        sides = ['middle'] * len(self.joints)
        for left, right in self.pairs:
            sides[left], sides[right] = 'left', 'right'
        return tuple(sides)

    def index(self, joint: str) -> int:
        """The index of a joint by name; the names of both SDKs are understood.

        Raises UserError: there is no such joint.
        """
        names = [_SAME_JOINT.get(name, name) for name in self.joints]
        name = _SAME_JOINT.get(joint, joint)
        if name not in names:
            raise UserError(f"the skeleton '{self.name}' has no joint '{joint}'; it has {', '.join(self.joints)}")
        return names.index(name)


def _skeleton(name: str, *rows: tuple[str, int]) -> Skeleton:
    """Builds a skeleton from (joint, parent) rows; left and right are told by the names' ends."""
    joints = tuple(joint for joint, _ in rows)
    pairs = tuple(
        (index, joints.index(joint[: -len('Left')] + 'Right'))
        for index, joint in enumerate(joints)
        if joint.endswith('Left')
    )
    return Skeleton(name, joints, tuple(parent for _, parent in rows), pairs)


_KINECT_V1 = _skeleton(
    'kinect_v1',
    ('HipCenter', -1),
    ('Spine', 0),
    ('ShoulderCenter', 1),
    ('Head', 2),
    ('ShoulderLeft', 2),
    ('ElbowLeft', 4),
    ('WristLeft', 5),
    ('HandLeft', 6),
    ('ShoulderRight', 2),
    ('ElbowRight', 8),
    ('WristRight', 9),
    ('HandRight', 10),
    ('HipLeft', 0),
    ('KneeLeft', 12),
    ('AnkleLeft', 13),
    ('FootLeft', 14),
    ('HipRight', 0),
    ('KneeRight', 16),
    ('AnkleRight', 17),
    ('FootRight', 18),
)
_KGBD = _skeleton(
    'kgbd',
    ('Head', 1),
    ('ShoulderCenter', 10),
    ('ShoulderRight', 1),
    ('ShoulderLeft', 1),
    ('ElbowRight', 2),
    ('ElbowLeft', 3),
    ('WristRight', 4),
    ('WristLeft', 5),
    ('HandRight', 6),
    ('HandLeft', 7),
    ('Spine', 11),
    ('HipCenter', -1),
    ('HipRight', 11),
    ('HipLeft', 11),
    ('KneeRight', 12),
    ('KneeLeft', 13),
    ('AnkleRight', 14),
    ('AnkleLeft', 15),
    ('FootRight', 16),
    ('FootLeft', 17),
)
_KINECT_V2 = _skeleton(
    'kinect_v2',
    ('SpineBase', -1),
    ('SpineMid', 0),
    ('Neck', 20),
    ('Head', 2),
    ('ShoulderLeft', 20),
    ('ElbowLeft', 4),
    ('WristLeft', 5),
    ('HandLeft', 6),
    ('ShoulderRight', 20),
    ('ElbowRight', 8),
    ('WristRight', 9),
    ('HandRight', 10),
    ('HipLeft', 0),
    ('KneeLeft', 12),
    ('AnkleLeft', 13),
    ('FootLeft', 14),
    ('HipRight', 0),
    ('KneeRight', 16),
    ('AnkleRight', 17),
    ('FootRight', 18),
    ('SpineShoulder', 1),
    ('HandTipLeft', 7),
    ('ThumbLeft', 6),
    ('HandTipRight', 11),
    ('ThumbRight', 10),
)
_CASIA_B = _skeleton(
    'casia_b',
    ('Head', 1),
    ('Neck', -1),
    ('ShoulderRight', 1),
    ('ElbowRight', 2),
    ('WristRight', 3),
    ('ShoulderLeft', 1),
    ('ElbowLeft', 5),
    ('WristLeft', 6),
    ('HipRight', 1),
    ('KneeRight', 8),
    ('AnkleRight', 9),
    ('HipLeft', 1),
    ('KneeLeft', 11),
    ('AnkleLeft', 12),
)
SKELETONS = {skeleton.name: skeleton for skeleton in (_KINECT_V1, _KGBD, _KINECT_V2, _CASIA_B)}
_BY_DATASET = {
    'BIWI': _KINECT_V1,
    'IAS': _KINECT_V1,
    'KinectReID': _KINECT_V1,
    'DEMO': _KINECT_V1,
    'KGBD': _KGBD,
    'KS20': _KINECT_V2,
    'CASIA_B': _CASIA_B,
    'CASIA_B_match': _CASIA_B,
}


def for_dataset(name: str) -> Skeleton | None:
    """The skeleton that a data set's files hold, or None for a name of the user's own."""
    return _BY_DATASET.get(name)


def mirrored(skeleton: Skeleton) -> Skeleton:
    """The skeleton with the right joints in the places of the left ones, and the other way round; names stay true."""
    order = list(range(len(skeleton.joints)))
    for left, right in skeleton.pairs:
        order[left], order[right] = right, left
    return Skeleton(
        f'{skeleton.name}_mirrored',
        tuple(skeleton.joints[joint] for joint in order),
        skeleton.parents,
        tuple((right, left) for left, right in skeleton.pairs),
    )


def reorder(skeletons: np.ndarray, source: Skeleton, target: Skeleton) -> np.ndarray:
    """Brings joints into another skeleton's order, by their names; joints that the target lacks are left out.

    `skeletons`: `[..., J, A]` in the source's order; `source`: the skeleton that they are; `target`: the skeleton that
    is wanted. Returns a copy `[..., J of the target, A]`. Raises UserError: the target has a joint that the source
    lacks, or the array has not the source's joints.
    """
    if skeletons.ndim < 2 or skeletons.shape[-2] != len(source.joints):
        raise UserError(
            f"an array [..., {len(source.joints)}, 3] was expected for the skeleton '{source.name}', "
            f'found {skeletons.shape}; name the skeleton that it is'
        )
    return np.take(skeletons, [source.index(joint) for joint in target.joints], axis=-2)


def to_json(skeleton: Skeleton) -> dict[str, Any]:
    """The skeleton in the form of a `skeleton.json`."""
    return {
        'name': skeleton.name,
        'joints': list(skeleton.joints),
        'parents': list(skeleton.parents),
        'pairs': [list(pair) for pair in skeleton.pairs],
    }


def from_json(value: Any, where: str) -> Skeleton:
    """Checks what a `skeleton.json` says.

    `value`: `{"joints": [names], "parents": [index, -1 for the root], "pairs": [[left, right], ...]}`; `pairs` and
    `name` may be missing; `where`: the file, for the errors. Raises UserError: something is missing, of the wrong kind,
    or no tree.
    """

    def refuse(expected: str, found: Any) -> UserError:
        return UserError(f'{where}: {expected} was expected, found {str(found)[:80]}; correct the file')

    if not isinstance(value, dict):
        raise refuse('a dictionary with "joints", "parents" and "pairs"', type(value).__name__)
    joints, parents, pairs = value.get('joints'), value.get('parents'), value.get('pairs', [])
    if not isinstance(joints, list) or not 1 <= len(joints) <= _MAX_JOINTS:
        raise refuse(f'"joints" with a list of 1 to {_MAX_JOINTS} names', joints)
    for joint in joints:
        if not isinstance(joint, str) or not joint or not joint.isprintable():
            raise refuse('a name for each joint', repr(joint))
    if len(set(joints)) < len(joints):
        raise refuse('a different name for each joint', ', '.join(joints))
    if not isinstance(parents, list) or len(parents) != len(joints):
        raise refuse(f'"parents" with a list of {len(joints)} indices', parents)
    for parent in parents:
        if type(parent) is not int or not -1 <= parent < len(joints):
            raise refuse(f'a parent from -1 to {len(joints) - 1}', repr(parent))
    if not _is_tree(parents):
        raise refuse('parents that form a tree with one root (-1)', parents)
    if not isinstance(pairs, list) or not all(_is_pair(pair, len(joints)) for pair in pairs):
        raise refuse('"pairs" with a list of [left, right] indices', pairs)
    members = [joint for pair in pairs for joint in pair]
    if len(set(members)) < len(members):
        raise refuse('each joint in at most one pair', pairs)
    name = value.get('name', 'own')
    if not isinstance(name, str):
        raise refuse('text as "name"', repr(name))
    return Skeleton(name, tuple(joints), tuple(parents), tuple((left, right) for left, right in pairs))


def _is_tree(parents: list[int]) -> bool:
    """Whether every joint leads to the one root."""
    if parents.count(-1) != 1:
        return False
    for joint in range(len(parents)):
        steps = 0
        while joint >= 0 and steps <= len(parents):
            joint, steps = parents[joint], steps + 1
        if joint >= 0:
            return False
    return True


def _is_pair(pair: Any, num_joints: int) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(joint) is int and 0 <= joint < num_joints for joint in pair)
        and pair[0] != pair[1]
    )
