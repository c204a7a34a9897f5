"""Measures of open-set identification: a case computed by hand, and a twin that counts answer by answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sge_la.evaluation import enrolled, search
from sge_la.evaluation.enrolled import Enrolled, leave_one_out, unit_length
from sge_la.evaluation.openset import FARS, OpenSet, threshold_at
from sge_la.evaluation.threshold import probability


def by_hand() -> OpenSet:
    """Two people, A and B. Known: A at 1 (right), B at 2 (right), A at 3 (B is nearer), A at 6 (right).

    Strangers: nearest people at 2.5, 4, 5, 7, 8 and so on to 13, ten in all.
    """
    known = [[1.0, 9], [9, 2], [4, 3], [6, 9]]
    strangers = [[9, 2.5], [4, 9], [5, 9], *([value, 20.0] for value in range(7, 14))]
    return OpenSet.of(np.array(known + strangers), np.array([0, 1, 0, 0] + [-1] * 10))


def test_case_by_hand():
    """FAR 0.001 and 0.01 allow no stranger: below 2.5, DIR is 2/4. FAR 0.1 allows one: below 4, still 2/4.

    At 6, three of ten strangers are accepted and 3/4 of the known are right: FAR 0.3 and FNIR 0.25 differ least; the
    EER is 0.275. Pairs that stand right: 1 and 2 before all ten, 3 before nine, 6 before seven: AUROC 36/40.
    """
    found = by_hand().measures()
    assert found == pytest.approx(
        {'dir_at_0.001': 0.5, 'dir_at_0.01': 0.5, 'dir_at_0.1': 0.5, 'eer': 0.275, 'auroc': 0.9}
    )
    assert by_hand().at(6.0) == (0.75, 0.3)


def test_nobody_as_near_as_the_own_person():
    """Equal distances count against the probe."""
    assert OpenSet.of(np.array([[2.0, 2.0], [2.0, 2.1]]), np.array([0, 0])).right.tolist() == [False, True]


def answered(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    own = random.integers(-1, 4, count)
    own[:2] = 0, -1
    return random.integers(0, 30, (count, 4)) / 10, own


def twin(distances: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """Every threshold that occurs is tried on every probe; all pairs are compared."""

    def rates(threshold: float) -> tuple[float, float]:
        right = accepted = 0
        for row, person in zip(distances.tolist(), own.tolist(), strict=True):
            if min(row) <= threshold:
                accepted += person < 0
                right += person >= 0 and row.index(min(row)) == person and row.count(min(row)) == 1
        return accepted / sum(own < 0), 1 - right / sum(own >= 0)

    points = [rates(threshold) for threshold in [-1.0, *sorted(set(distances.min(axis=1).tolist()))]]
    found = {f'dir_at_{far:g}': max(1 - fnir for rate, fnir in points if rate <= far + 1e-12) for far in FARS}
    nearest = min(points, key=lambda point: abs(point[0] - point[1]))
    known, strangers = distances[own >= 0].min(axis=1), distances[own < 0].min(axis=1)
    pairs = [(one < other) + (one == other) / 2 for one in known for other in strangers]
    return {**found, 'eer': sum(nearest) / 2, 'auroc': float(np.mean(pairs))}


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_twin(seed):
    distances, own = answered(seed)
    assert OpenSet.of(distances, own).measures() == pytest.approx(twin(distances, own))


def test_intervals_are_of_resampled_recordings():
    """Twin: recordings copied whole, known and unknown ones apart, each as often as it is drawn."""
    distances, own = answered(3)
    groups = np.where(own < 0, 100, 0) + np.arange(60) % 4
    found = OpenSet.of(distances, own).intervals(groups, repeats=30, seed=5)
    draws = [np.random.default_rng([5, side]).multinomial(4, [1 / 4] * 4, size=30) for side in (0, 1)]
    values = []
    for repeat in range(30):
        times = np.where(own < 0, draws[1][repeat][np.arange(60) % 4], draws[0][repeat][np.arange(60) % 4])
        rows = np.repeat(np.arange(60), times)
        values.append(twin(distances[rows], own[rows]))
    for name, interval in found.items():
        expected = np.quantile([one[name] for one in values], [0.025, 0.975])
        np.testing.assert_allclose([interval.low, interval.high], expected)
        assert interval.num_groups == 8


@pytest.mark.parametrize(('far', 'accepted'), [(0.1, 0), (0.2, 1), (0.5, 1), (0.6, 3), (0.7, 3), (0.8, 4), (1, 5)])
def test_threshold_accepts_no_more_than_was_allowed(far, accepted):
    """Two of five strangers are equally near: a threshold cannot part them, and 0.5 allows but one more."""
    assert (
        int((np.array([3.0, 1.0, 2.0, 2.0, 4.0]) <= threshold_at(np.array([3.0, 1, 2, 2, 4]), far)).sum()) == accepted
    )


def people(seed: int = 0, recordings: int = 9, each: int = 4) -> tuple[Enrolled, np.ndarray]:
    """Three people in recordings of so many sequences each, the last of one sequence; and all sequences' people."""
    random = np.random.default_rng(seed)
    lengths = [*[each] * (recordings - 1), 1]
    owners = np.arange(recordings) % 3
    whose, numbers = np.repeat(owners, lengths), np.repeat(np.arange(recordings), lengths)
    vectors = unit_length(np.eye(3)[whose] + random.normal(0, 0.5, (len(whose), 3)))
    shuffled = random.permutation(len(whose))
    return Enrolled.of(vectors[shuffled], whose[shuffled], numbers[shuffled] * 10)[0], whose


def test_leave_one_out_is_asked_recording_by_recording():
    """Twin: every recording against the sequences of the others, one pair after the other."""
    enrolled, _ = people()
    known, strangers = [], []
    for recording, owner in enumerate(enrolled.people):
        sequences = enrolled.vectors[enrolled.recordings == recording].astype(np.float64)
        to_people = np.zeros((len(sequences), 3))
        for row, sequence in enumerate(sequences):
            for person in range(3):
                others = [k for k, whose in enumerate(enrolled.people) if whose == person and k != recording]
                entries = enrolled.vectors[np.isin(enrolled.recordings, others)]
                to_people[row, person] = min(np.linalg.norm(sequence - entry) for entry in entries)
        means = to_people.mean(axis=0)
        known.append((means.min(), means.argmin() == owner))
        strangers.append(np.delete(means, owner).min())
    found = leave_one_out(enrolled)['recording']
    np.testing.assert_allclose(found.distances, [distance for distance, _ in known] + strangers, rtol=1e-5)
    assert found.right[:9].tolist() == [right for _, right in known] and not found.known[9:].any()


def test_large_galleries_are_asked_in_part(monkeypatch):
    """33 sequences, 330 comparisons: ten probes, four of each of two recordings, answered as those of the whole."""
    enrolled, _ = people()
    whole = leave_one_out(enrolled)['sequence'].distances
    monkeypatch.setattr('sge_la.evaluation.enrolled._MOST_PAIRS', 330)
    asked = leave_one_out(enrolled)
    assert (len(asked['sequence'].known), len(asked['recording'].known)) == (16, 4)
    assert np.isin(asked['sequence'].distances.round(6), whole.round(6)).all()


def test_probability_is_calibrated():
    """Drawn from a logistic curve: the fitted one is near it, and falls."""
    random = np.random.default_rng(0)
    distances = random.uniform(0, 2, 4000)
    right = random.uniform(size=4000) < 1 / (1 + np.exp(6 * distances - 5))
    slope, offset = probability(OpenSet(distances, right, np.arange(4000) % 2 == 0))
    np.testing.assert_allclose([slope, offset], [6, -5], rtol=0.1)


def test_no_probability_where_the_right_ones_are_no_nearer():
    distances = np.array([0.9, 0.8, 0.1, 0.2])
    right = np.array([True, True, False, False])
    assert probability(OpenSet(distances, right, np.array([True, True, False, False]))) is None


def test_probability_needs_two_recordings_of_somebody():
    enrolled, _ = people(recordings=3)
    asked = leave_one_out(enrolled)
    assert asked['recording'].known.sum() == 0 and probability(asked['recording']) is None


class TestNear:
    """People who can be near, found without computing every distance exactly."""

    @pytest.fixture
    def gallery(self, monkeypatch) -> Enrolled:
        """Of 40 people, 3 recordings each, of 1 to 8 sequences; two people are alike. It is taken for a large one."""
        random = np.random.default_rng(4)
        sizes = random.integers(1, 9, 120)
        people = random.permutation(np.repeat(np.arange(40), 3))
        means = random.normal(size=(40, 32))
        means[7] = means[3]
        vectors = means[np.repeat(people, sizes)] + random.normal(size=(sizes.sum(), 32))
        recordings = np.repeat(np.arange(120), sizes)
        vectors[people[recordings] == 7] = vectors[people[recordings] == 3][0]
        vectors[people[recordings] == 3] = vectors[people[recordings] == 3][0]
        monkeypatch.setattr(enrolled, '_LARGE', 1)
        return Enrolled(unit_length(vectors), recordings, people)

    @pytest.mark.parametrize('left_out', [False, True])
    @pytest.mark.parametrize('count', [1, 5])
    def test_the_nearest_are_those_of_all_distances(self, gallery, count, left_out):
        """For every place; who is equally near comes in the order of the people."""
        for row in range(0, len(gallery.vectors) - count, 11):
            probes = gallery.vectors[row : row + count]
            own = gallery.recordings[row : row + count] if left_out else None
            every = gallery.distances(probes, own)
            people, distances = gallery.near(probes, 4, own)
            assert len(people) < 40
            np.testing.assert_allclose(distances, every[:, people], atol=1e-7)
            nearest = people[np.argsort(distances.mean(axis=0), kind='stable')[:4]]
            np.testing.assert_array_equal(nearest, np.argsort(every.mean(axis=0), kind='stable')[:4])

    def test_an_index_proposes_most_of_them(self, gallery, monkeypatch):
        pytest.importorskip('faiss')
        monkeypatch.setattr(search, 'FROM_ROWS', 1)
        assert gallery.index is not None and gallery.recall() > 0.8
        row = len(gallery.vectors) // 2
        people, distances = gallery.near(gallery.vectors[[row]], 2, gallery.recordings[[row]], indexed=True)
        every = gallery.distances(gallery.vectors[[row]], gallery.recordings[[row]])
        np.testing.assert_allclose(distances, every[:, people], atol=1e-7)
        assert len(people) >= 2
