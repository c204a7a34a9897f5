"""Condition-based matching against loops over pairs: what is left out, chance, and the original's way and its flaws."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la.data import Dataset, Split
from sge_la.evaluation import sides
from sge_la.evaluation.gallery import match_sides
from sge_la.evaluation.sides import Side
from sge_la.features.sources import FeatureSource
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import axis_major, encode, initial_params
from sge_la.paper.casia_b_matching import Encoded, chance, coordinates_side, original_rank1, run_pair
from sge_la.paper.published import KEYS
from sge_la.settings.command_line import parse_train

SPREAD = 0.5  # of people's means; sequences of one person deviate by 1


def side(name: str, ids: dict[int, list[int]], seed: int, walks: int = 2) -> Side:
    """Sequences of people around their means, those of a person from so many walks, in the order of `ids`."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.asarray(rows) for rows in ids.values()])
    labels = np.concatenate([np.full(len(rows), label) for label, rows in ids.items()])
    means = SPREAD * np.random.default_rng(9).normal(size=(20, 4))
    features = (means[labels] + rng.normal(size=(len(rows), 4))).astype(np.float32)
    return Side(name, features, labels, 10 * labels + rows % walks + 1000 * (name == 'cl'), rows)


IDS = {3: [0, 1, 2, 8, 11], 5: [3, 4, 12], 7: [5, 6, 7, 9, 10]}


def twin_matching(probe: Side, gallery: Side, ranks: int) -> tuple[list[float], float, float]:
    """Rank-1 to Rank-n, mAP and chance, one probe and one entry at a time."""
    hits, precisions, guesses = [], [], []
    for p in range(len(probe.labels)):
        entries = []
        for g in range(len(gallery.labels)):
            same_walk = gallery.recordings[g] == probe.recordings[p]
            is_probe = gallery.name == probe.name and gallery.numbers[g] == probe.numbers[p]
            if not (same_walk or is_probe):
                distance = np.sqrt(((probe.features[p].astype(float) - gallery.features[g]) ** 2).sum())
                entries.append((distance, gallery.labels[g] == probe.labels[p]))
        right = [is_right for _, is_right in sorted(entries)]
        if any(right):
            places = [place for place, is_right in enumerate(right, 1) if is_right]
            hits.append(places[0])
            precisions.append(np.mean([k / place for k, place in enumerate(places, 1)]))
            guesses.append(len(places) / len(entries))
    shares = [np.mean([hit <= n for hit in hits]) for n in range(1, ranks + 1)]
    return shares, float(np.mean(precisions)), float(np.mean(guesses))


@pytest.mark.parametrize('same', [True, False], ids=['nm.nm', 'cl.nm'])
def test_matching_and_chance_equal_the_twin(same):
    nm = side('nm', IDS, seed=1)
    probe = nm if same else side('cl', {3: [4, 0, 5, 6], 7: [1, 2, 3, 7]}, seed=2)
    shares, mean_ap, guess = twin_matching(probe, nm, ranks=8)
    found = match_sides(probe, nm).result
    np.testing.assert_allclose(found.rank_n[:8], shares)
    assert found.mean_ap == pytest.approx(mean_ap)
    assert chance(probe, nm) == pytest.approx(guess)
    assert 0 < shares[0] < 1  # neither everything nor nothing, or the test would see little


def test_chance_by_hand():
    """Person 0 has sequences 0 and 1 of walk 0 and 2 of walk 1, person 1 one of walk 2. Sequences 0 and 1 have one
    right entry (2) of two, sequence 2 two of three; person 1 has none and counts nowhere: (1/2 + 1/2 + 2/3) / 3."""
    one = Side('nm', np.zeros((4, 1)), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2]), np.arange(4))
    assert chance(one, one) == pytest.approx(5 / 9)
    # Nobody knows the walks: only the probe itself is left out. (2/3 + 2/3 + 2/3) / 3
    unknown = Side('nm', one.features, one.labels, None, one.numbers)
    assert chance(unknown, unknown) == pytest.approx(2 / 3)


def twin_original(probe: Side, gallery: Side, probe_ids: dict, gallery_ids: dict) -> float:
    """The original's Rank-1, built as it builds its lists: people in order, padded to 128 or cut to whole 128s."""

    def rows_of(side, ids, pad):
        at = {number: place for place, number in enumerate(side.numbers.tolist())}
        features, classes = [], []
        for c, label in enumerate(sorted(ids)):
            rows = list(ids[label])
            missing = max(0, 128 - len(rows))
            rows = (rows + [rows[0]] * missing)[: max(128, len(rows) // 128 * 128)]
            rows = rows if pad or not missing else rows[:-missing]
            features += [side.features[at[row]] for row in rows]
            classes += [c] * len(rows)
        return np.array(features, float), np.array(classes)

    known, classes = rows_of(gallery, gallery_ids, True)
    asked, wanted = rows_of(probe, probe_ids, False)
    place = 1 if probe.name == gallery.name else 0
    answers = [classes[np.argsort(np.linalg.norm(known - one, axis=1), kind='stable')[place]] for one in asked]
    return float(np.mean(np.array(answers) == wanted))


@pytest.mark.parametrize('same', [True, False], ids=['nm.nm', 'cl.nm'])
def test_the_originals_way_equals_its_twin(same):
    """One person has 130 sequences, of which the original keeps 128; the others are padded."""
    ids = {3: list(range(130)), 5: [130, 131, 134], 7: [132, 133]}
    nm = side('nm', ids, seed=1)
    probe_ids = ids if same else {3: [0, 1, 6], 5: [3, 2, 7], 7: [5, 4, 8]}
    probe = nm if same else side('cl', probe_ids, seed=2)
    expected = twin_original(probe, nm, probe_ids, ids)
    assert original_rank1(probe, nm, probe_ids, ids) == pytest.approx(expected)
    assert 0 < expected < 1


def test_the_original_finds_padding_copies_of_the_first_sequence():
    """People far apart in pairs: every second nearest entry is the other person's, except where copies stand."""
    features = np.array([[0.0], [10.0], [0.1], [10.1]], np.float32)
    one = Side('nm', features, np.array([3, 3, 5, 5]), None, np.arange(4))
    ids = {3: [0, 1], 5: [2, 3]}
    assert original_rank1(one, one, ids, ids) == 0.5  # the first sequence of each is 'found', the second is not
    assert match_sides(one, one).result.rank_n[0] == 0


def test_the_original_mixes_people_up_when_the_sets_differ():
    """Person 5 is the second of the gallery and the first among the probes, and the original compares places."""
    gallery_side = Side('nm', np.array([[0.0], [1.0]], np.float32), np.array([3, 5]), None, np.arange(2))
    probe = Side('cl', np.array([[1.0]], np.float32), np.array([5]), None, np.arange(1))
    assert original_rank1(probe, gallery_side, {5: [0]}, {3: [0], 5: [1]}) == 0
    assert match_sides(probe, gallery_side).result.rank_n[0] == 1


CONFIG = EncoderConfig(length=3, joints=14, units=4)


def dataset(recordings: bool = True) -> Dataset:
    """Two people with gaps in the file: sequence 2 belongs to nobody."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(10, 1, 14, 3))

    def split(rows: list[int], seed: int) -> Split:
        noise = np.random.default_rng(seed).normal(0, 0.3, (9, 3, 14, 3))
        ids = {3: np.array(rows[:4]), 7: np.array(rows[4:])}
        labels = np.zeros(9, int)
        for label, own in ids.items():
            labels[own] = label
        numbers = 100 * seed + 10 * labels + np.arange(9) % 3 if recordings else None
        return Split((means[labels] + noise).astype(np.float32), ids, numbers)

    tests = {'nm': split([8, 0, 1, 3, 5, 4, 6, 7], 1), 'cl': split([0, 1, 3, 4, 8, 7, 6, 5], 2)}
    return Dataset('CASIA_B_match', 3, 2, None, tests['nm'], tests, (1, 2))


def test_conditions_are_encoded_once_and_whole(monkeypatch):
    """Each sequence of each person becomes x, y and z of all frames joined: `[T·U | T·U | T·U]`. Twin: one by one."""
    data, sources = dataset(), [FeatureSource(CONFIG, initial_params(CONFIG, seed=1))]
    calls = []
    monkeypatch.setattr(sides, 'sequence_features', _counting(sides.sequence_features, calls))
    encoded = Encoded(data, sources)
    found = encoded.side('nm')
    assert encoded.side('nm') is found and len(calls) == 1
    np.testing.assert_array_equal(found.numbers, [8, 0, 1, 3, 5, 4, 6, 7])
    np.testing.assert_array_equal(found.labels, [3] * 4 + [7] * 4)
    assert found.features.shape == (8, 3 * 3 * 4)
    for vector, row in zip(found.features, found.numbers, strict=True):
        contexts = encode(CONFIG, sources[0].params, axis_major(data.tests['nm'].skeletons[[row]])).contexts
        np.testing.assert_allclose(vector, np.asarray(contexts)[:, :, 0].ravel(), atol=1e-6)


def _counting(function, calls: list):
    def counted(*arguments, **settings):
        calls.append(arguments)
        return function(*arguments, **settings)

    return counted


def test_coordinates_are_described_as_they_are():
    split = dataset().tests['cl']
    found = coordinates_side('cl', split)
    np.testing.assert_array_equal(found.features, split.skeletons[found.numbers].reshape(8, -1))
    np.testing.assert_array_equal(found.recordings, split.recordings[found.numbers])


@pytest.mark.parametrize('faithful', [False, True])
def test_a_pair_prints_the_originals_lines_and_ours(faithful, capsys):
    data, sources = dataset(), [FeatureSource(CONFIG, initial_params(CONFIG, seed=1))]
    flags = ['--dataset', 'CASIA_B', '--probe_type', 'cl.nm', *(['--faithful'] if faithful else [])]
    options = parse_train(flags)
    encoded = Encoded(data, sources)
    found = run_pair(options, data, data, encoded)
    lines = capsys.readouterr().out.split('\n')
    assert lines[2:5] == ['Length: 50', '[Probe]: cl', '[Gallery]: nm']
    ours = match_sides(encoded.side('cl'), encoded.side('nm')).result
    original = original_rank1(*map(encoded.side, ('cl', 'nm')), data.tests['cl'].ids, data.tests['nm'].ids)
    assert lines[5] == f'Rank-1 Accuracy: {original if faithful else ours.rank_n[0]}'
    assert found['rank1']['CAGEs, Euclidean'] == ours.rank_n[0]
    assert ("CAGEs, the original's way" in found['rank1']) == faithful
    assert found['euclidean']['mAP'] == ours.mean_ap
    assert not any('note:' in line for line in lines)
    assert options.probe_type in KEYS['CME']


def test_unknown_walks_are_told(capsys):
    data = dataset(recordings=False)
    sources = [FeatureSource(CONFIG, initial_params(CONFIG, seed=1))]
    run_pair(parse_train(['--dataset', 'CASIA_B', '--protocol', 'CME']), data, data, Encoded(data, sources))
    assert 'note: the recordings are not known' in capsys.readouterr().out
