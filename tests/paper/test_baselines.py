import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sge_la.data.skeletons import SKELETONS, Skeleton, reorder
from sge_la.errors import UserError
from sge_la.evaluation.metrics import evaluate_scores
from sge_la.paper.baselines import (
    D13_MEASURES,
    D16_MEASURES,
    DESCRIPTORS,
    adaboost_scores,
    bone_lengths,
    centred_coordinates,
    d13,
    d16,
    descriptor,
    nearest_neighbour_scores,
    raw_coordinates,
    standardise,
)

# A figure of easy numbers, seen from the front: x to its left, y up, z = 2 m away.
FIGURE = {
    'HipCenter': (0, 1.0),
    'Spine': (0, 1.2),
    'ShoulderCenter': (0, 1.6),
    'Head': (0, 1.8),
    'ShoulderLeft': (0.2, 1.6),
    'ElbowLeft': (0.2, 1.3),
    'WristLeft': (0.2, 1.1),
    'HandLeft': (0.2, 1.0),
    'ShoulderRight': (-0.3, 1.6),
    'ElbowRight': (-0.3, 1.2),
    'WristRight': (-0.3, 1.0),
    'HandRight': (-0.3, 0.9),
    'HipLeft': (0.1, 1.0),
    'KneeLeft': (0.1, 0.5),
    'AnkleLeft': (0.1, 0.1),
    'FootLeft': (0.1, 0.0),
    'HipRight': (-0.1, 1.0),
    'KneeRight': (-0.1, 0.6),
    'AnkleRight': (-0.1, 0.1),
    'FootRight': (-0.1, 0.0),
}
KINECT = SKELETONS['kinect_v1']


def figure(num_sequences=1, length=1):
    joints = np.array([(*FIGURE[joint], 2.0) for joint in KINECT.joints], np.float32)
    return np.tile(joints, (num_sequences, length, 1, 1))


def walkers(seed=0, num_sequences=5, length=4):
    """Figures whose joints are moved at random, differently in each frame."""
    moves = np.random.default_rng(seed).normal(scale=0.05, size=(num_sequences, length, 20, 3))
    return figure(num_sequences, length) + moves.astype(np.float32)


def people(seed=0, num_people=6, num_each=30):
    """Sequences of people who differ in size by 4 %, with a little noise."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_people), num_each)
    sizes = (0.8 + 0.04 * labels)[:, None, None, None]
    noise = random.normal(scale=0.002, size=(len(labels), 3, 20, 3))
    return (figure(len(labels), 3) * sizes + noise).astype(np.float32), labels


def random_rotation(seed):
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return (rotation * np.sign(np.linalg.det(rotation))).astype(np.float32)


class TestMeasures:
    def test_by_hand(self):
        """Ankles' middle (0, 0.1). Torso 0.4 + 0.2. Spine to right shoulder: sqrt(0.3² + 0.4²) = 0.5. Arms: right
        0.4 + 0.2, left 0.3 + 0.2. Upper legs: right 0.4, left 0.5. Lower legs: right 0.5, left 0.4."""
        expected = {
            'head height': 1.7,
            'neck height': 1.5,
            'neck to left shoulder': 0.2,
            'neck to right shoulder': 0.3,
            'torso to right shoulder': 0.5,
            'right arm': 0.6,
            'left arm': 0.5,
            'right upper leg': 0.4,
            'left upper leg': 0.5,
            'torso': 0.6,
            'right hip to left hip': 0.2,
            'torso / right upper leg': 1.5,
            'torso / left upper leg': 1.2,
            'right lower leg': 0.5,
            'left lower leg': 0.4,
            'head to neck': 0.2,
        }
        assert list(expected) == list(D16_MEASURES)
        values = list(expected.values())
        np.testing.assert_allclose(d16(figure(2, 3), KINECT), [values, values], atol=1e-6)
        np.testing.assert_allclose(d13(figure(2, 3), KINECT), [values[:13]] * 2, atol=1e-6)
        assert d13(figure(), KINECT).dtype == np.float32

    def test_mean_over_frames(self):
        """Frames of sizes 1 and 2: lengths 1.5 times, ratios the same."""
        skeletons = np.concatenate([figure(), 2 * figure()], axis=1)
        expected = d13(figure(), KINECT) * np.where(['/' in name for name in D13_MEASURES], 1, 1.5)
        np.testing.assert_allclose(d13(skeletons, KINECT), expected, rtol=1e-6)

    @pytest.mark.parametrize('name', ['kgbd', 'kinect_v2'])
    def test_order_of_the_joints_does_not_matter(self, name):
        skeletons, other = walkers(), SKELETONS[name]
        if name == 'kgbd':
            renamed = reorder(skeletons, KINECT, other)
        else:
            renamed = np.full((*skeletons.shape[:2], 25, 3), 9, np.float32)
            for index, joint in enumerate(KINECT.joints):
                renamed[:, :, other.index(joint)] = skeletons[:, :, index]
        np.testing.assert_allclose(d16(renamed, other), d16(skeletons, KINECT), rtol=1e-6)

    def test_skeleton_without_pelvis_and_spine(self):
        """CASIA-B: neck and the hips' middle stand in; a spine joint halfway leaves the torso's length."""
        casia = SKELETONS['casia_b']
        skeletons = figure()
        joints = [KINECT.index('ShoulderCenter' if joint == 'Neck' else joint) for joint in casia.joints]
        expected = d16(skeletons, KINECT)
        expected[0, D16_MEASURES.index('torso to right shoulder')] = np.hypot(0.3, 0.3)
        np.testing.assert_allclose(d16(skeletons[:, :, joints], casia), expected, atol=1e-6)

    @pytest.mark.parametrize('name', ['kinect_v1', 'kinect_v2', 'casia_b'])
    @pytest.mark.parametrize('spell', [str.upper, str.lower])
    def test_spelling_of_the_joints_does_not_matter(self, name, spell):
        known = SKELETONS[name]
        skeletons = np.random.default_rng(0).normal(size=(2, 3, len(known.joints), 3)).astype(np.float32)
        respelled = Skeleton('own', tuple(map(spell, known.joints)), known.parents, known.pairs)
        np.testing.assert_array_equal(d16(skeletons, respelled), d16(skeletons, known))

    def test_lost_joint_gives_a_finite_ratio(self):
        assert np.isfinite(d16(np.zeros((1, 2, 20, 3), np.float32), KINECT)).all()


class TestDescriptors:
    def test_bones_by_hand(self):
        lengths = dict(zip(KINECT.joints[1:], bone_lengths(figure(), KINECT)[0], strict=True))
        assert lengths['KneeLeft'] == pytest.approx(0.5)
        assert lengths['ElbowRight'] == pytest.approx(0.4)
        assert lengths['Head'] == pytest.approx(0.2)

    def test_bones_slow_twin(self):
        skeletons = walkers()
        for n, lengths in enumerate(bone_lengths(skeletons, KINECT)):
            expected = [
                np.mean([np.linalg.norm(frame[joint] - frame[parent]) for frame in skeletons[n]])
                for joint, parent in enumerate(KINECT.parents)
                if parent >= 0
            ]
            np.testing.assert_allclose(lengths, expected, rtol=1e-5)

    def test_coordinates(self):
        skeletons = walkers()
        np.testing.assert_array_equal(raw_coordinates(skeletons, KINECT).reshape(skeletons.shape), skeletons)
        centred = centred_coordinates(skeletons, KINECT).reshape(skeletons.shape)
        assert not centred[:, :, 0].any()
        np.testing.assert_allclose(centred + skeletons[:, :, :1], skeletons, atol=1e-6)

    @pytest.mark.parametrize('name', ['bones', 'D13', 'D16'])
    def test_where_the_camera_stands_does_not_matter(self, name):
        skeletons = walkers()
        moved = skeletons @ random_rotation(1) + np.array([1, -2, 3], np.float32)
        np.testing.assert_allclose(descriptor(moved, KINECT, name), descriptor(skeletons, KINECT, name), rtol=1e-4)

    def test_centred_is_free_of_place_only(self):
        skeletons = walkers()
        centred = descriptor(skeletons, KINECT, 'centred')
        np.testing.assert_allclose(descriptor(skeletons + 1, KINECT, 'centred'), centred, atol=1e-6)
        assert np.abs(descriptor(skeletons @ random_rotation(1), KINECT, 'centred') - centred).max() > 0.1

    @pytest.mark.parametrize('name', DESCRIPTORS)
    def test_shapes(self, name):
        described = descriptor(walkers(), KINECT, name)
        assert described.shape == (5, {'raw': 240, 'centred': 240, 'bones': 19, 'D13': 13, 'D16': 16}[name])
        assert described.dtype == np.float32

    def test_unknown_name(self):
        with pytest.raises(UserError, match='choose one of raw, centred, bones, D13, D16'):
            descriptor(walkers(), KINECT, 'D14')

    def test_skeleton_that_lacks_a_joint(self):
        with pytest.raises(UserError, match='has no joint'):
            d13(np.zeros((1, 1, 2, 3), np.float32), Skeleton('stick', ('Head', 'Tail'), (-1, 0), ()))

    def test_skeletons_of_another_shape(self):
        with pytest.raises(ValueError):
            bone_lengths(np.zeros((1, 2, 14, 3)), KINECT)


class TestNearestNeighbour:
    @pytest.mark.parametrize('block_bytes', [1, 10**7])
    def test_slow_twin_and_sklearn(self, block_bytes):
        random = np.random.default_rng(0)
        train, test = random.normal(size=(60, 5)).astype('f4'), random.normal(size=(17, 5)).astype('f4')
        labels = random.permutation(np.arange(60) % 7)
        scores = nearest_neighbour_scores(train, labels, test, 7, block_bytes=block_bytes)
        for row, vector in zip(scores, test, strict=True):
            expected = [-min(np.linalg.norm(vector - other) for other in train[labels == c]) for c in range(7)]
            np.testing.assert_allclose(row, expected, rtol=1e-5)
        predicted = KNeighborsClassifier(n_neighbors=1).fit(train, labels).predict(test)
        np.testing.assert_array_equal(scores.argmax(axis=1), predicted)

    def test_class_without_training_vector(self):
        with pytest.raises(ValueError):
            nearest_neighbour_scores(np.zeros((2, 1)), np.array([0, 2]), np.zeros((1, 1)), 3)

    @pytest.mark.parametrize('name', ['bones', 'D13', 'D16', 'centred'])
    def test_tells_people_apart(self, name):
        (train, labels), (test, test_labels) = people(0), people(1)
        vectors = standardise(descriptor(train, KINECT, name), descriptor(test, KINECT, name))
        evaluation = evaluate_scores(nearest_neighbour_scores(vectors[0], labels, vectors[1], 6), test_labels)
        assert evaluation.rank1 > 0.9


def test_standardise_agrees_with_sklearn():
    random = np.random.default_rng(2)
    train, test = random.normal(3, 2, (40, 4)).astype('f4'), random.normal(3, 2, (9, 4)).astype('f4')
    train[:, 2] = test[:, 2] = 5
    scaler = StandardScaler().fit(train.astype(float))
    first, second = standardise(train, test)
    np.testing.assert_allclose(first, scaler.transform(train), atol=1e-5)
    np.testing.assert_allclose(second, scaler.transform(test), atol=1e-5)
    assert first.dtype == second.dtype == np.float32


class TestAdaBoost:
    @pytest.mark.parametrize('num_people', [2, 6])
    def test_tells_people_apart(self, num_people):
        (train, labels), (test, test_labels) = people(0, num_people), people(1, num_people)
        vectors = d16(train, KINECT), d16(test, KINECT)
        scores = adaboost_scores(vectors[0], labels, vectors[1], num_people, rounds=10)
        assert scores.shape == (len(test), num_people) and scores.dtype == np.float32
        assert evaluate_scores(scores, test_labels).rank1 > 0.9

    def test_same_seed_same_scores(self):
        train, labels = people()
        vectors = d16(train, KINECT)
        first, second = (adaboost_scores(vectors, labels, vectors[::7], 6, rounds=3, seed=4) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_class_without_training_vector(self):
        with pytest.raises(ValueError):
            adaboost_scores(np.zeros((2, 1)), np.array([0, 2]), np.zeros((1, 1)), 3)
