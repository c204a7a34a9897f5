"""Simulated walkers: bodies that are bodies, sensors that err as they should, and repeatable bits."""

import numpy as np
import pytest

from sge_la.data.prepare.sequences import Cutting, cut
from sge_la.data.prepare.splits import hold_out
from sge_la.data.raw import casia_b
from sge_la.data.simulated import kinect
from sge_la.data.simulated.casia_b import walks, write_walks
from sge_la.data.simulated.walkers import SEGMENTS, SKELETON, Walker, draw_walker, joints, on_another_day


def walk(walker: Walker, num_frames: int = 120, heading: float = 0.0, bag: bool = False) -> np.ndarray:
    """A straight walk at 30 frames a second that starts below the camera."""
    seconds = np.arange(num_frames) / 30
    direction = np.array([np.sin(heading), np.cos(heading)])
    position = (walker.speed * seconds)[:, None] * direction
    return joints(walker, seconds * walker.cadence / 2, np.full(num_frames, heading), position, bag)


def at(frames: np.ndarray, joint: str) -> np.ndarray:
    return frames[:, SKELETON.index(joint)]


@pytest.fixture
def walker() -> Walker:
    return draw_walker(np.random.default_rng(5))


def test_limbs_keep_their_lengths(walker):
    """Kinematics moves joints, not lengths: every limb is as long as the walker's segment in every frame."""
    frames = walk(walker)
    limbs = {
        'upper_arm': [('Shoulder', 'Elbow')],
        'forearm': [('Elbow', 'Wrist')],
        'hand': [('Wrist', 'Hand')],
        'thigh': [('Hip', 'Knee')],
        'shank': [('Knee', 'Ankle')],
        'foot': [('Ankle', 'Foot')],
    }
    for segment, ((inner, outer),) in limbs.items():
        for side in ('Left', 'Right'):
            length = np.linalg.norm(at(frames, inner + side) - at(frames, outer + side), axis=-1)
            np.testing.assert_allclose(length, walker.segments[segment], rtol=1e-9)


def test_proportions_are_the_published_ones():
    """Drillis and Contini: knee to ankle 0.246, hip to knee 0.245, elbow to wrist 0.146, shoulder to elbow 0.186."""
    assert SEGMENTS['shank'] == pytest.approx(0.246) and SEGMENTS['thigh'] == pytest.approx(0.245)
    assert SEGMENTS['forearm'] == 0.146 and SEGMENTS['upper_arm'] == 0.186
    statures = [draw_walker(np.random.default_rng(seed)).stature for seed in range(200)]
    assert 1.65 < np.mean(statures) < 1.75 and min(statures) > 1.45 and max(statures) < 1.95


def test_a_foot_is_on_the_ground_and_none_is_below(walker):
    frames = walk(walker)
    lowest = np.minimum(at(frames, 'FootLeft')[:, 1], at(frames, 'FootRight')[:, 1])
    assert frames[:, :, 1].min() >= -1e-9
    assert lowest.max() < 0.08
    assert (at(frames, 'Head')[:, 1] > 0.85 * walker.stature).all()


def test_a_walker_gets_on_and_the_legs_take_turns(walker):
    """Over whole strides the body moves by the stride's length, and the left foot is in front at a heel strike."""
    frames = walk(walker, num_frames=400)
    hip = at(frames, 'HipCenter')
    assert hip[-1, 2] - hip[0, 2] == pytest.approx(walker.speed * 399 / 30, abs=0.05)
    ahead = at(frames, 'AnkleLeft')[:, 2] - at(frames, 'AnkleRight')[:, 2]
    phase = np.arange(400) / 30 * walker.cadence / 2
    assert (ahead[np.abs(phase % 1 - 0.0) < 0.05] > 0).all()
    assert (ahead[np.abs(phase % 1 - 0.5) < 0.05] < 0).all()
    # An arm goes with the other leg.
    arms = at(frames, 'HandLeft')[:, 2] - at(frames, 'HandRight')[:, 2]
    assert np.corrcoef(ahead, arms)[0, 1] < -0.5


def test_knees_bend_backwards(walker):
    """Walking away along z, the knee is in front of the straight line from hip to ankle, or on it."""
    frames = walk(walker)
    for side in ('Left', 'Right'):
        middle = (at(frames, f'Hip{side}') + at(frames, f'Ankle{side}')) / 2
        assert (at(frames, f'Knee{side}')[:, 2] - middle[:, 2]).min() > -0.02


def test_left_is_left(walker):
    """Who walks away from the camera has the left hand to the camera's left (x grows); who comes, to the right."""
    away, coming = walk(walker), walk(walker, heading=np.pi)
    assert (at(away, 'HipLeft')[:, 0] > at(away, 'HipRight')[:, 0]).all()
    assert (at(coming, 'HipLeft')[:, 0] < at(coming, 'HipRight')[:, 0]).all()


def test_turning_the_heading_turns_the_body(walker):
    """The same walk in another direction is the same walk, rotated about the vertical axis."""
    away, turned = walk(walker), walk(walker, heading=0.7)
    sine, cosine = np.sin(0.7), np.cos(0.7)
    rotated = away.copy()
    rotated[:, :, 0] = cosine * away[:, :, 0] + sine * away[:, :, 2]
    rotated[:, :, 2] = -sine * away[:, :, 0] + cosine * away[:, :, 2]
    np.testing.assert_allclose(turned, rotated, atol=1e-9)


def test_a_bag_stills_the_right_arm_alone(walker):
    free, carrying = walk(walker), walk(walker, bag=True)

    def swing(frames: np.ndarray, side: str) -> float:
        return np.ptp(at(frames, f'Elbow{side}')[:, 2] - at(frames, f'Shoulder{side}')[:, 2])

    assert swing(carrying, 'Right') < 0.3 * swing(free, 'Right')
    assert swing(carrying, 'Left') == pytest.approx(swing(free, 'Left'))


def test_another_day_changes_a_person_less_than_another_person():
    people = [draw_walker(np.random.default_rng(seed)) for seed in range(30)]
    days = [on_another_day(person, np.random.default_rng(99)) for person in people]
    between = np.std([person.segments['thigh'] / person.stature for person in people])
    within = np.std(
        [day.segments['thigh'] / person.segments['thigh'] for day, person in zip(days, people, strict=True)]
    )
    assert within < between
    assert all(day.stature == person.stature for day, person in zip(days, people, strict=True))


def test_noise_grows_with_the_distance_and_towards_the_hands():
    still = np.zeros((4000, 20, 3))
    still[:, :, 1] = 0.9
    deviations = []
    for distance in (1.0, 4.0):
        still[:, :, 2] = distance
        frames, tracked = kinect.observe(still, np.zeros(4000), np.random.default_rng(0))
        assert frames.dtype == np.float32
        deviations.append((frames - np.array([0, 0, distance])).std(axis=(0, 2)))
        assert 0.9 < tracked.all(axis=1).mean() < 0.999
    near, far = deviations
    assert (far > 2 * near).all()
    assert near[SKELETON.index('HandLeft')] > 1.5 * near[SKELETON.index('HipCenter')]


def test_the_side_away_from_the_camera_is_seen_worse():
    """Walking to the camera's left shows the left side."""
    still = np.zeros((4000, 20, 3))
    still[:, :, 2] = 2.5
    frames, _ = kinect.observe(still, np.full(4000, np.pi / 2), np.random.default_rng(0))
    deviation = frames.std(axis=0).mean(axis=-1)
    assert deviation[SKELETON.index('KneeRight')] > 1.7 * deviation[SKELETON.index('KneeLeft')]


def test_the_same_seed_gives_the_same_bits_whoever_else_walks():
    few, many = kinect.walkers(2, 2, seed=3), kinect.walkers(3, 2, seed=3)
    for one, other in zip(few.recordings, many.recordings, strict=False):
        np.testing.assert_array_equal(few.read(one).frames, many.read(other).frames)
    other_seed = kinect.walkers(2, 2, seed=4)
    assert not np.array_equal(
        few.read(few.recordings[0]).frames[:100], other_seed.read(other_seed.recordings[0]).frames[:100]
    )


def test_walkers_pass_in_front_of_the_camera_and_lose_some_frames():
    plan = kinect.walkers(4, 3, seed=0)
    lengths = []
    for raw in plan.recordings:
        frames = plan.read(raw).frames
        lengths.append(len(frames))
        assert np.isfinite(frames).all()
        # In a Kinect's view: 1.5 to 4.5 m away, within 30 degrees of the middle.
        hip = at(frames, 'HipCenter')
        assert hip[:, 2].min() > 1.5 and hip[:, 2].max() < 4.5
        assert (np.abs(hip[:, 0]) < np.tan(np.deg2rad(31)) * hip[:, 2]).all()
    assert min(lengths) < 260 and max(lengths) <= 300


def test_walkers_are_recognisable_but_not_by_bone_lengths_alone():
    """Nearest neighbour on mean bone lengths of 12 people: well above chance (1/12), below certainty."""
    plan = kinect.walkers(12, 5, seed=0)
    recordings = [plan.read(raw) for raw in plan.recordings]
    (held,) = hold_out(plan.recordings, 'last')
    outer, inner = SKELETON.bones

    def lengths(indices: list[int]) -> tuple[np.ndarray, np.ndarray]:
        sequences = cut([recordings[index].frames for index in indices], Cutting.whole(6))
        bones = np.linalg.norm(sequences.skeletons[:, :, outer] - sequences.skeletons[:, :, inner], axis=-1)
        labels = np.array([plan.recordings[index].identity for index in indices])
        return bones.mean(axis=1), labels[sequences.recordings]

    train, labels = lengths([index for index in range(len(recordings)) if index not in held])
    test, truth = lengths(sorted(held))
    distances = np.linalg.norm(test[:, None] - train, axis=-1)
    rank_1 = (labels[distances.argmin(axis=1)] == truth).mean()
    assert 0.5 < rank_1 < 0.98


# Views and conditions


def test_walks_with_views_are_written_as_casia_b_has_them(tmp_path):
    """1 person: 10 walks in 11 views. What is written is what a reader finds."""
    write_walks(tmp_path, 1, seed=1)
    found, plan = casia_b.find(tmp_path), walks(1, seed=1)
    assert len(found.recordings) == len(plan.recordings) == 110
    for raw, planned in list(zip(found.recordings, plan.recordings, strict=True))[::17]:
        assert (raw.name, raw.identity, raw.part, raw.view, raw.walk) == (
            planned.name,
            planned.identity,
            planned.part,
            planned.view,
            planned.walk,
        )
        np.testing.assert_array_equal(found.read(raw).frames, plan.read(planned).frames)


def test_walks_of_more_than_999_people_stay_apart():
    plan = walks(1001, seed=0).recordings
    assert len({raw.person for raw in plan}) == 1001 and len({raw.walk for raw in plan}) == 10_010


def test_views_turn_the_walker():
    """In view 0 the walker comes (z falls), at 90 degrees crosses, at 180 leaves; all see the same number of frames."""
    plan = walks(1, seed=0)
    neck = casia_b.SKELETON.index('Neck')
    ways = {}
    for raw in plan.recordings[:11]:
        frames = plan.read(raw).frames
        ways[raw.view] = (len(frames), frames[-1, neck] - frames[0, neck])
    assert len({count for count, _ in ways.values()}) == 1 and ways[0][0] >= 70
    assert ways[0][1][2] < -2 and ways[10][1][2] > 2
    assert abs(ways[5][1][2]) < 0.5 and abs(ways[5][1][0]) > 2


def test_coats_and_bags_change_the_posture():
    plan = walks(1, seed=0)
    by_part = {}
    for raw in plan.recordings:
        if raw.view == 0:
            by_part.setdefault(raw.part, []).append(plan.read(raw).frames)
    skeleton = casia_b.SKELETON

    def width(part: str) -> float:
        return np.mean(
            [
                np.abs(f[:, skeleton.index('ElbowLeft'), 0] - f[:, skeleton.index('ElbowRight'), 0])
                for f in by_part[part][:1]
            ]
        )

    def right_hand(part: str) -> float:
        return np.mean([f[:, skeleton.index('WristRight'), 1] - f[:, 1, 1] for f in by_part[part][:1]])

    assert width('cl') > width('nm') + 0.03
    assert right_hand('bg') > right_hand('nm') + 0.02
