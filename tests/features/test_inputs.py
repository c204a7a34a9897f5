"""What the modern recipe gives to the encoders."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from keras import ops

from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError
from sge_la.features.inputs import FILE, Inputs, InputView

CHAIN = Skeleton('chain', ('a', 'b', 'c'), (-1, 0, 1), ())


def walks(count: int = 6, length: int = 4, joints: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 0.5, (count, length, joints, 3)).astype(np.float32)


def fitted(skeletons: np.ndarray, skeleton=CHAIN, *, centred: bool = True, standardised: bool = False) -> Inputs:
    return Inputs.fit(skeletons, np.arange(len(skeletons)), skeleton, centred=centred, standardised=standardised)


def test_centring_takes_the_place_and_keeps_the_height():
    """Joints at x = 1 and 3 in both frames: the mean is 2; y stays 5 and 7; z is 4 everywhere."""
    frame = np.array([[1, 5, 4], [3, 7, 4]], np.float32)
    found = fitted(np.stack([frame, frame])[None], None).of(np.stack([frame, frame])[None])
    assert found[0].tolist() == [[[-1, 5, 0], [1, 7, 0]]] * 2


def test_walking_elsewhere_is_the_same_walk():
    skeletons = walks()
    made = fitted(skeletons, standardised=True)
    assert np.allclose(made.of(skeletons + np.float32([3, 0, -2])), made.of(skeletons), atol=1e-5)


def test_bone_lengths_by_hand():
    """Bones b-a and c-b: from (0,0,0) to (3,4,0) it is 5, from there to (3,4,12) it is 12; the same for x, y and z."""
    frame = np.array([[0, 0, 0], [3, 4, 0], [3, 4, 12]], np.float32)
    found = fitted(frame[None, None], centred=False).of(frame[None, None])
    assert found.shape == (1, 1, 5, 3)
    assert found[0, 0, 3:].tolist() == [[5] * 3, [12] * 3]


@pytest.mark.parametrize('settings', [{}, {'standardised': True}, {'centred': False}, {'skeleton': None}], ids=str)
def test_inputs_are_the_same_in_keras_operations(settings):
    skeletons = walks()
    made = fitted(skeletons, **settings)
    assert np.allclose(ops.convert_to_numpy(made.of_tensor(skeletons)), made.of(skeletons), atol=1e-5)


def test_a_rotation_and_a_mirror_keep_bone_lengths():
    skeletons, made = walks(), fitted(walks())
    c, s = math.cos(0.7), math.sin(0.7)
    turned = skeletons @ np.float32([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    assert np.allclose(made.lengths(turned), made.lengths(skeletons), atol=1e-5)
    assert np.allclose(made.lengths(skeletons * np.float32([-1, 1, 1])), made.lengths(skeletons), atol=1e-6)
    assert not np.allclose(made.of(turned)[:, :, :3], made.of(skeletons)[:, :, :3], atol=1e-2)


def test_standardisation_by_hand():
    """One joint, y = 1, 3 in two sequences of one frame: mean 2, deviation 1; x hardly varies: 1 mm at least."""
    skeletons = np.array([[[[0, 1, 0]]], [[[0, 3, 0]]]], np.float32)
    made = fitted(skeletons, None, standardised=True)
    assert made.mean.tolist() == [[0, 2, 0]] and np.allclose(made.deviation, [[1e-3, 1, 1e-3]])
    assert made.of(skeletons)[:, 0, 0, 1].tolist() == [-1, 1]


def test_training_inputs_have_mean_0_and_deviation_1_over_the_rows_that_train():
    skeletons, rows = walks(40), np.arange(0, 40, 2)
    made = Inputs.fit(skeletons, rows, CHAIN, centred=True, standardised=True)
    found = made.of(skeletons[rows])
    assert np.allclose(found.mean(axis=(0, 1)), 0, atol=1e-5) and np.allclose(found.std(axis=(0, 1)), 1, atol=1e-4)
    skeletons[1::2] += 100  # held-out sequences have no say
    assert np.array_equal(Inputs.fit(skeletons, rows, CHAIN, centred=True, standardised=True).mean, made.mean)


def test_the_view_gives_inputs_and_their_reverse():
    skeletons = walks()
    view = InputView(fitted(skeletons), skeletons)
    rows = np.array([4, 1])
    assert np.array_equal(view.targets(rows), view.inputs(rows)[:, ::-1])
    assert np.array_equal(view.inputs(slice(None))[rows], view.inputs(rows))


def test_inputs_are_kept_bit_for_bit(tmp_path):
    made = fitted(walks(), standardised=True)
    made.save(tmp_path)
    again = Inputs.load(tmp_path)
    assert np.array_equal(again.mean, made.mean) and np.array_equal(again.deviation, made.deviation)
    assert (again.joints, again.centred, again.bones) == (3, True, ((1, 0), (2, 1)))
    assert np.array_equal(again.of(walks(seed=1)), made.of(walks(seed=1)))


@pytest.mark.parametrize(
    'change',
    [
        {'joints': 'three'},
        {'bones': [[1, 7]]},
        {'bones': [[1]]},
        {'bones': 5},
        {'mean': [[0, 0, 0]]},
        {'mean': 'x'},
        {'deviation': [[0, 1, 1]] * 5},
        {'deviation': [[float('nan'), 1, 1]] * 5},
        {'centred': 1},
    ],
    ids=lambda change: f'{next(iter(change))}',
)
def test_damaged_inputs_are_refused(tmp_path, change):
    fitted(walks(), standardised=True).save(tmp_path)
    content = json.loads((tmp_path / FILE).read_text()) | change
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r'inputs\.json'):
        Inputs.load(tmp_path)


def test_other_joints_are_refused():
    with pytest.raises(UserError, match='3 joints were expected'):
        fitted(walks()).of(walks(joints=4))


def test_inputs_turn_back_into_skeletons():
    skeletons = walks()
    made = fitted(skeletons, standardised=True)
    back = made.skeletons(made.of(skeletons))
    assert np.allclose(back, fitted(skeletons, None).of(skeletons), atol=1e-5)
