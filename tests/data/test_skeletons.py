"""Tests of joint orders and bone trees."""

import re

import numpy as np
import pytest

from sge_la.data import skeletons
from sge_la.data.skeletons import SKELETONS, Skeleton, for_dataset, from_json, joint_key, reorder, to_json, without
from sge_la.errors import UserError

ALL = pytest.mark.parametrize('skeleton', SKELETONS.values(), ids=SKELETONS)


@ALL
def test_bones_form_a_tree_from_the_centre(skeleton):
    outer, inner = skeleton.bones
    assert len(outer) == len(skeleton.joints) - 1
    reached = {skeleton.centre}
    for _ in skeleton.joints:
        reached |= {int(joint) for joint, parent in zip(outer, inner, strict=True) if int(parent) in reached}
    assert reached == set(range(len(skeleton.joints)))


@ALL
def test_left_and_right_mirror_each_other(skeleton):
    """The tree is the same after left and right have been swapped."""
    swap = list(range(len(skeleton.joints)))
    for left, right in skeleton.pairs:
        name = skeleton.joints[left].replace('Left', 'Right').replace('LEFT', 'RIGHT').replace('left', 'right')
        assert name in (skeleton.joints[right], 'L' + skeleton.joints[right][1:])
        assert skeleton.sides[left] == 'left' and skeleton.sides[right] == 'right'
        swap[left], swap[right] = right, left
    for joint, parent in enumerate(skeleton.parents):
        assert skeleton.parents[swap[joint]] == (swap[parent] if parent >= 0 else -1)
    sided = {
        joint
        for joint in skeleton.joints
        if re.search('left|right|^[LR][A-Z][a-z]', joint, re.I if '_' in joint else 0)
    }
    assert {skeleton.joints[joint] for pair in skeleton.pairs for joint in pair} >= sided


def test_joint_counts_and_centres():
    found = {name: (len(s.joints), s.joints[s.centre], len(s.pairs)) for name, s in SKELETONS.items()}
    assert found == {
        'kinect_v1': (20, 'HipCenter', 8),
        'kgbd': (20, 'HipCenter', 8),
        'kinect_v2': (25, 'SpineBase', 10),
        'casia_b': (14, 'Neck', 6),
        'ntu': (25, 'SpineBase', 10),
        'azure_kinect': (32, 'PELVIS', 13),
        'coco_17': (17, 'nose', 8),
        'mediapipe_33': (33, 'nose', 16),
        'openpose_25': (25, 'MidHip', 11),
        'smpl_24': (24, 'pelvis', 9),
    }


def test_trees_are_those_that_are_published():
    """Parents by index: Azure Kinect's table of joints, SMPL's kinematic tree; OpenPose's pairs of BODY_25."""
    azure = [-1, 0, 1, 2, 2, 4, 5, 6, 7, 8, 7, 2, 11, 12, 13, 14, 15, 14, 0, 18, 19, 20, 0, 22, 23, 24, 3, *[26] * 5]
    assert list(SKELETONS['azure_kinect'].parents) == azure
    smpl = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    assert list(SKELETONS['smpl_24'].parents) == smpl
    pairs = '1,8,1,2,1,5,2,3,3,4,5,6,6,7,8,9,9,10,10,11,8,12,12,13,13,14,1,0,0,15,15,17,0,16,16,18,14,19,19,20,14,21'
    numbers = [*map(int, pairs.split(',')), 11, 22, 22, 23, 11, 24]
    outer, inner = SKELETONS['openpose_25'].bones
    found = {frozenset(bone) for bone in zip(outer.tolist(), inner.tolist(), strict=True)}
    assert found == {frozenset(pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)}


@pytest.mark.parametrize(
    'names',
    [
        ('ShoulderLeft', 'LEFT_SHOULDER', 'left shoulder', 'LShoulder', 'L.Shoulder', 'Shoulder_L', 'shoulder-left'),
        ('SpineBase', 'HipCenter', 'hip_center', 'Hip Center'),
        ('SPINE_NAVEL', 'SPINE_NAVAL', 'SpineNavel'),
    ],
)
def test_spellings_of_a_joint_agree(names):
    assert len(set(map(joint_key, names))) == 1


def test_other_joints_keep_apart():
    """Nothing but the side tells left from right, and no joint's own letters are taken for a side."""
    assert len({joint_key(name) for name in ('HandLeft', 'HandRight', 'Hand', 'HandTipLeft', 'LHand2')}) == 5
    assert joint_key('RIB') == 'rib ' and joint_key('lumbar') == 'lumbar ' and joint_key('C7') == 'c7 '
    skeleton = Skeleton('own', ('a', 'A', 'B'), (-1, 0, 0), ())
    assert [skeleton.find(name) for name in ('a', 'A', 'b', 'c')] == [0, 1, 2, None]


def test_joints_are_left_out_by_name():
    """Their bones go to the next joint inwards; without the root, the first joint on it becomes the root."""
    source = SKELETONS['kinect_v2']
    smaller = without(source, ['Thumb_Left', 'RIGHT_THUMB', 'Neck'])
    assert smaller.joints == tuple(joint for joint in source.joints if 'Thumb' not in joint and joint != 'Neck')
    assert smaller.joints[smaller.parents[smaller.index('Head')]] == 'SpineShoulder' and len(smaller.pairs) == 9
    rootless = without(source, ['SpineMid', 'SpineBase'])
    hung = {joint for joint, parent in zip(rootless.joints, rootless.parents, strict=True) if parent == rootless.centre}
    assert rootless.joints[rootless.centre] == 'HipLeft' and hung == {'KneeLeft', 'HipRight', 'SpineShoulder'}
    for skeleton in (smaller, rootless):
        assert from_json(to_json(skeleton), 'x') == skeleton
    with pytest.raises(UserError, match="no joint 'Nose'"):
        without(source, ['Nose'])
    with pytest.raises(UserError, match='fewer than two'):
        without(source, source.joints)


def test_data_sets_have_their_sensors():
    assert for_dataset('BIWI') is for_dataset('IAS') is for_dataset('DEMO') is SKELETONS['kinect_v1']
    assert for_dataset('KGBD') is SKELETONS['kgbd']
    assert for_dataset('KS20') is SKELETONS['kinect_v2']
    assert for_dataset('CASIA_B') is SKELETONS['casia_b']
    assert for_dataset('mine') is None


def test_kgbd_to_the_sdk_is_the_name_true_list():
    source, target = SKELETONS['kgbd'], SKELETONS['kinect_v1']
    assert tuple(source.index(joint) for joint in target.joints) == skeletons.KGBD_TO_SDK


def test_the_later_repositories_list_swaps_left_and_right():
    source, target = SKELETONS['kgbd'], SKELETONS['kinect_v1']
    for slot, joint in enumerate(skeletons.KGBD_TO_SDK_MIRRORED):
        wanted = target.joints[slot]
        if target.sides[slot] != 'middle':
            wanted = wanted.replace('Left', '?').replace('Right', 'Left').replace('?', 'Right')
        assert source.joints[joint] == wanted


def test_reordering_follows_names_and_undoes_itself():
    kgbd, sdk = SKELETONS['kgbd'], SKELETONS['kinect_v1']
    array = np.arange(2 * 20 * 3).reshape(2, 20, 3)
    there = reorder(array, kgbd, sdk)
    np.testing.assert_array_equal(there[:, sdk.joints.index('HandLeft')], array[:, kgbd.joints.index('HandLeft')])
    np.testing.assert_array_equal(reorder(there, sdk, kgbd), array)


def test_the_second_sdk_has_the_firsts_joints_under_other_names():
    v2, v1 = SKELETONS['kinect_v2'], SKELETONS['kinect_v1']
    array = np.arange(25 * 3).reshape(25, 3)
    there = reorder(array, v2, v1)
    # HipCenter, Spine, ShoulderCenter, Head are SpineBase 0, SpineMid 1, SpineShoulder 20, Head 3.
    np.testing.assert_array_equal(there[:4, 0] // 3, [0, 1, 20, 3])
    with pytest.raises(UserError, match="no joint 'Neck'"):
        reorder(there, v1, v2)
    with pytest.raises(UserError, match='25'):
        reorder(there, v2, v1)


@ALL
def test_json_round_trip(skeleton):
    assert from_json(to_json(skeleton), 'x') == skeleton


def test_json_without_pairs_and_name():
    skeleton = from_json({'joints': ['a', 'b'], 'parents': [1, -1]}, 'x')
    assert (skeleton.name, skeleton.pairs, skeleton.centre) == ('own', (), 1)


@pytest.mark.parametrize(
    'change, message',
    [
        ({'joints': None}, 'names'),
        ({'joints': []}, 'names'),
        ({'joints': ['a', 'b', 3]}, 'a name for each'),
        ({'joints': ['a', 'b', 'x\ny']}, 'a name for each'),
        ({'joints': ['a', 'b', 'a']}, 'a different name'),
        ({'joints': ['a'] * 1001}, '1000 names'),
        ({'parents': [-1, 0]}, '3 indices'),
        ({'parents': [-1, 0, 3]}, 'a parent from -1 to 2'),
        ({'parents': [-1, 0, True]}, 'a parent from -1 to 2'),
        ({'parents': [-1, 0, 1.0]}, 'a parent from -1 to 2'),
        ({'parents': [-1, -1, 0]}, 'one root'),
        ({'parents': [0, 1, 2]}, 'one root'),
        ({'parents': [-1, 2, 1]}, 'one root'),
        ({'pairs': [[0, 3]]}, 'left, right'),
        ({'pairs': [[1, 1]]}, 'left, right'),
        ({'pairs': [[1]]}, 'left, right'),
        ({'pairs': [[0, 1], [1, 2]]}, 'at most one pair'),
        ({'name': 3}, 'text'),
    ],
)
def test_bad_json_is_a_user_error(change, message):
    value = {'joints': ['a', 'b', 'c'], 'parents': [-1, 0, 1], 'pairs': [[1, 2]]} | change
    with pytest.raises(UserError, match=message) as caught:
        from_json(value, 'some/skeleton.json')
    assert str(caught.value).startswith('some/skeleton.json: ')


@pytest.mark.parametrize('value', [None, [], 'x', 3])
def test_json_that_is_no_dictionary_is_a_user_error(value):
    with pytest.raises(UserError, match='a dictionary'):
        from_json(value, 'x')
