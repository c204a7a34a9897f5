"""Skeletons: names of joints, their order in the files, bone tree, left and right.

Joints carry the names that their sensor's makers gave them. `left` and `right` are the walker's own. The order is the
file's own everywhere in this package; nothing is reordered on reading.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sge_la.data.joints import TABLE
from sge_la.errors import UserError

# Kinect's second SDK renamed three joints of the first; Azure's documentation spells one in two ways.
_SAME_JOINT = {
    'spinebase': 'hipcenter',
    'spinemid': 'spine',
    'spineshoulder': 'shouldercenter',
    'spinenaval': 'spinenavel',
}
# ShoulderLeft, LEFT_SHOULDER, left shoulder, LShoulder, L.Shoulder, Shoulder_L.
_SIDE = re.compile(r'(?i:left|right)|^[LRlr](?=[ _.-])|^[LR](?=[A-Z][a-z])|(?<=[ _.-])[LRlr]$')
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

    @cached_property
    def _places(self) -> dict[str, int]:
        """The index of each joint, by its name and by what all spellings of it have in common."""
        keys = [joint_key(joint) for joint in self.joints]
        counts = Counter(keys)
        own = {joint: index for index, joint in enumerate(self.joints)}
        return {key: index for index, key in enumerate(keys) if counts[key] == 1} | own

    def find(self, joint: str) -> int | None:
        """The index of a joint by name, whatever its spelling (`joint_key`); None: there is no such joint."""
        return self._places.get(joint, self._places.get(joint_key(joint)))

    def index(self, joint: str) -> int:
        """The index of a joint by name, whatever its spelling.

        Raises UserError: there is no such joint.
        """
        index = self.find(joint)
        if index is None:
            raise UserError(f"the skeleton '{self.name}' has no joint '{joint}'; it has {', '.join(self.joints)}")
        return index


def joint_key(name: str) -> str:
    """What ShoulderLeft, LEFT_SHOULDER, left shoulder and LShoulder have in common; both Kinect SDKs' names agree."""
    side = _SIDE.search(name)
    rest = name if side is None else name[: side.start()] + name[side.end() :]
    rest = ''.join(filter(str.isalnum, rest.casefold()))
    return f'{_SAME_JOINT.get(rest, rest)} {side[0][0].lower() if side else ""}'


def _skeleton(name: str, order: str, *chains: str) -> Skeleton:
    """Builds a skeleton from a row of the table of joints."""
    joints = tuple(order.split())
    keys = [joint_key(joint) for joint in joints]
    mirror = [keys.index(key[:-1] + {'l': 'r', 'r': 'l', ' ': ' '}[key[-1]]) for key in keys]
    parents = [-1] * len(joints)
    for chain in chains:
        for inner, outer in itertools.pairwise(map(joints.index, chain.split())):
            parents[outer], parents[mirror[outer]] = inner, mirror[inner]
    pairs = tuple((left, right) for left, right in enumerate(mirror) if keys[left].endswith(' l'))
    return Skeleton(name, joints, tuple(parents), pairs)


SKELETONS = {name: _skeleton(name, *row) for name, row in TABLE.items()}
_BY_DATASET = {
    'BIWI': SKELETONS['kinect_v1'],
    'IAS': SKELETONS['kinect_v1'],
    'KinectReID': SKELETONS['kinect_v1'],
    'DEMO': SKELETONS['kinect_v1'],
    'KGBD': SKELETONS['kgbd'],
    'KS20': SKELETONS['kinect_v2'],
    'CASIA_B': SKELETONS['casia_b'],
    'CASIA_B_match': SKELETONS['casia_b'],
}


def for_dataset(name: str) -> Skeleton | None:
    """The skeleton that a data set's files hold, or None for a name of the user's own."""
    return _BY_DATASET.get(name)


def ready(name: str) -> Skeleton:
    """A skeleton of the table by its name.

    Raises UserError: there is none of this name.
    """
    if name not in SKELETONS:
        raise UserError(f"there is no ready skeleton '{name}'; choose {', '.join(SKELETONS)}, or write skeleton.json")
    return SKELETONS[name]


def without(skeleton: Skeleton, joints: Sequence[str]) -> Skeleton:
    """The skeleton without some joints; what hung on one of them hangs on the joint that this hung on.

    Without its root, the first joint that hung on the root becomes the root. Raises UserError: the skeleton has no such
    joint, or fewer than two would be left.
    """
    gone = {skeleton.index(joint) for joint in joints}
    if not gone:
        return skeleton
    if len(skeleton.joints) - len(gone) < 2:
        raise UserError(f"the skeleton '{skeleton.name}' would have fewer than two joints; leave out fewer")
    parents: list[int | None] = list(skeleton.parents)
    for joint in sorted(gone):
        heirs = [child for child, parent in enumerate(parents) if parent == joint]
        above = parents[joint]
        for heir in heirs:
            parents[heir] = heirs[0] if above == -1 and heir != heirs[0] else above
        parents[joint] = None
    left = [joint for joint in range(len(parents)) if joint not in gone]
    place = {joint: index for index, joint in enumerate(left)} | {-1: -1}
    return Skeleton(
        skeleton.name,
        tuple(skeleton.joints[joint] for joint in left),
        tuple(place[parents[joint]] for joint in left),
        tuple((place[one], place[other]) for one, other in skeleton.pairs if one not in gone and other not in gone),
    )


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
    above = list(range(len(parents)))
    for _ in parents:
        above = [-1 if joint < 0 else parents[joint] for joint in above]
    return parents.count(-1) == 1 and set(above) == {-1}


def _is_pair(pair: Any, num_joints: int) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(joint) is int and 0 <= joint < num_joints for joint in pair)
        and pair[0] != pair[1]
    )
