"""Gallery and probe: which sets match, one vector a sequence, and what is left out of a probe's gallery."""

from __future__ import annotations

import json

import numpy as np
import pytest

import evaluate
from sge_la.data import Split
from sge_la.errors import UserError
from sge_la.evaluation import sides
from sge_la.evaluation.gallery import keep, match_sides, set_pairs, summary
from sge_la.evaluation.sides import Side, make_side, sequence_features
from sge_la.features.sources import FeatureSource
from sge_la.model import recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import axis_major, encode, initial_params
from sge_la.runs import records
from sge_la.settings.command_line import parse_evaluate
from tests.conftest import small_flags

CONFIG = EncoderConfig(length=4, joints=3, units=5)


@pytest.fixture
def sources() -> list[FeatureSource]:
    return [FeatureSource(CONFIG, initial_params(CONFIG, seed=1))]


def skeletons(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4, 3, 3)).astype(np.float32)


def side(name: str, values: list[float], labels: list[int], recordings: list[int] | None = None) -> Side:
    known = None if recordings is None else np.array(recordings)
    return Side(name, np.array(values, np.float32)[:, None], np.array(labels), known, np.arange(len(labels)))


@pytest.mark.parametrize(
    ('names', 'asked', 'expected'),
    [
        (('Walking', 'Still'), {}, [('Walking', 'Still'), ('Still', 'Walking')]),
        (('A', 'B'), {}, [('A', 'B'), ('B', 'A')]),
        (('probe', 'gallery'), {}, [('probe', 'gallery')]),
        (('test',), {}, [('test', 'train')]),
        (('Walking', 'Still'), {'probe': 'Still'}, [('Still', 'Walking')]),
        (('Walking', 'Still'), {'gallery': 'Still'}, [('Walking', 'Still')]),
        (('A', 'B'), {'probe': 'A', 'gallery': 'train'}, [('A', 'train')]),
        (('A', 'B'), {'gallery': 'train'}, [('A', 'train'), ('B', 'train')]),
        (('A', 'B'), {'probe': 'A', 'gallery': 'A'}, [('A', 'A')]),
        (('probe', 'gallery'), {'probe': 'gallery'}, [('gallery', 'train')]),
        (('test',), {'gallery': 'test'}, [('train', 'test')]),
    ],
)
def test_set_pairs(names, asked, expected):
    assert set_pairs(names, **asked) == expected


def test_set_pairs_names_the_sets_that_are_there():
    with pytest.raises(UserError, match=r"no set 'Still' .* has Walking, train"):
        set_pairs(['Walking'], 'Still')


@pytest.mark.parametrize('manner', ['ap', 'sc'])
def test_sequence_features_are_mean_or_all_context_vectors(sources, manner, monkeypatch):
    """Seven sequences in blocks of three: the last block overlaps the one before it. Twin: one sequence at a time."""
    monkeypatch.setattr(sides, 'SEQUENCES_AT_ONCE', 3)
    data, rows = skeletons(9), np.array([8, 1, 0, 5, 7, 2, 3])
    found = sequence_features(sources, data, rows, manner)
    for vector, row in zip(found, rows, strict=True):
        contexts = np.asarray(encode(CONFIG, sources[0].params, axis_major(data[[row]])).contexts)[:, :, 0]  # [A, T, U]
        expected = contexts.mean(axis=1) if manner == 'ap' else contexts
        np.testing.assert_allclose(vector, expected.reshape(-1), rtol=1e-5, atol=1e-6)


def test_recording_level_is_the_mean_of_its_sequences(sources):
    split = Split(skeletons(5), {2: np.array([0, 1]), 7: np.array([2, 3, 4])}, np.array([4, 4, 5, 6, 6]))
    whole, pooled = make_side('t', split, sources, 'ap'), make_side('t', split, sources, 'ap', level='recording')
    assert pooled.labels.tolist() == [2, 7, 7]
    assert pooled.recordings.tolist() == [4, 5, 6]
    expected = [whole.features[:2].mean(0), whole.features[2], whole.features[3:].mean(0)]
    np.testing.assert_allclose(pooled.features, expected, rtol=1e-5)
    assert (str(whole), str(pooled)) == ('t, 5 sequences of 2 people, 3 recordings', 't, 3 recordings of 2 people')


def test_recording_level_needs_recordings(sources):
    with pytest.raises(UserError, match='set t nobody does'):
        make_side('t', Split(skeletons(2), {0: np.arange(2)}), sources, 'ap', level='recording')


def test_same_recordings_are_left_out_and_said():
    """Probe 0 at 0.0; gallery 0 at 0.1 (same recording), 0 at 3, 1 at 1, 1 at 4: the right one comes second.

    Probe 1 at 4 has right entries at places 1 (4.0) and, after 3.0, 3 (1.0), with precisions 1 and 2/3. All in all
    Rank-1 is 1/2, mAP (1/2 + 5/6) / 2 = 2/3, mINP (1/2 + 2/3) / 2 = 7/12.
    """
    probe = side('p', [0, 4], [0, 1], [10, 11])
    entries = side('g', [0.1, 3, 1, 4], [0, 0, 1, 1], [10, 12, 13, 14])
    matched = match_sides(probe, entries)
    found = summary(matched)
    assert (found['rank1'], found['rank5']) == (0.5, 1)
    assert found['mAP'] == pytest.approx(2 / 3)
    assert found['mINP'] == pytest.approx(7 / 12)
    assert 'recordings on both sides: 1' in matched.excluded
    assert matched.resampled == 'recordings'


@pytest.mark.parametrize(('recordings', 'units'), [([5, 5, 6, 6, 7], 3), (None, 2)])
def test_intervals_resample_recordings_or_people(recordings, units):
    """Five probes of two people, in three recordings."""
    probe = side('p', [0, 1, 2, 3, 4], [0, 0, 0, 0, 1], recordings)
    matched = match_sides(probe, side('g', [0.1, 4], [0, 1]))
    assert {found.num_groups for found in matched.intervals.values()} == {units}


def test_unknown_recordings_are_said():
    matched = match_sides(side('p', [0, 4], [0, 1]), side('g', [0.1, 4], [0, 1]))
    assert 'cannot be left out, because recordings are unknown' in matched.excluded
    assert matched.resampled == 'people'
    assert matched.result.mean_ap == 1


def test_a_set_matched_with_itself_leaves_the_probe_out():
    """Person 0 at 0 and 5, person 1 at 1 and 6: without itself everybody's nearest is the other person."""
    own = side('p', [0, 5, 1, 6], [0, 0, 1, 1])
    assert match_sides(own, own).result.rank_n[0] == 0


def test_command_prints_and_keeps_both_directions(small_run, capsys):
    evaluate.main([*small_flags(small_run), '--protocol', 'gallery', '--metric', 'cosine', '--level', 'recording'])
    printed = capsys.readouterr().out
    assert 'CAGEs matched without a recognition network, mean of 6 frames, cosine distance' in printed
    assert '### Probe Walking, gallery Still\nProbe: Walking, 8 recordings of 4 people\n' in printed
    assert '### Probe Still, gallery Walking' in printed
    kept = json.loads(next(small_run.glob('Models/CAGEs_RN_models/*/results.json')).read_text())
    found = kept['gallery']['cosine, recording']
    assert set(found) == {'Walking → Still', 'Still → Walking'}
    assert f'mAP {found["Walking → Still"]["mAP"]:.4f} [' in printed
    assert kept['test_sets']['Walking']['selected']['sequences'] == 16  # the classifier's scores stay


def test_one_direction_keeps_the_other(tmp_path):
    scores = dict.fromkeys(('mAP', 'rank1', 'rank5', 'rank10', 'mINP', 'probes', 'skipped'), 1) | {'excluded': ''}
    before, after = scores, {**scores, 'rank1': 0}
    records.write_results(tmp_path, {'gallery': {'cosine, recording': {}}})
    keep(tmp_path, 'gallery', 'euclidean, sequence', {'A → B': before, 'B → A': before})
    keep(tmp_path, 'gallery', 'euclidean, sequence', {'A → B': after})
    kept = records.read_results(tmp_path)['gallery']
    assert kept == {'cosine, recording': {}, 'euclidean, sequence': {'A → B': after, 'B → A': before}}


@pytest.mark.parametrize('there', [[], {'20 unknown': []}])
def test_results_that_hold_something_else_are_told(tmp_path, there):
    records.write_results(tmp_path, {'openset': there})
    with pytest.raises(UserError, match='openset should hold scores by pair of sets'):
        keep(tmp_path, 'openset', '20 unknown', {'A → B': []})


def test_answers_are_roots_of_probabilities(sources):
    """Two frames' logits are averaged before the probabilities are formed; the twin goes one sequence at a time."""
    network = recognition.initial_params(15, 2, seed=3, hidden=7)
    data = skeletons(5)
    found = sides.answers_of(sequence_features(sources, data, np.arange(5), 'ap', network=network))
    for vector, row in zip(found, data, strict=True):
        contexts = np.asarray(encode(CONFIG, sources[0].params, axis_major(row[None])).contexts)[:, :, 0]  # [A, T, U]
        hidden = np.maximum(contexts.transpose(1, 0, 2).reshape(4, 15) @ network['W1'] + network['b1'], 0)
        mean = (hidden @ network['W'] + network['Variable']).mean(axis=0)
        first = 1 / (1 + np.exp(mean[1] - mean[0]))
        np.testing.assert_allclose(vector, np.sqrt([first, 1 - first]), rtol=1e-4, atol=1e-6)


def test_command_matches_answers(small_run, capsys):
    """By both distances, kept apart from the scores of the encodings."""
    evaluate.main([*small_flags(small_run), '--protocol', 'gallery', '--match', 'answers'])
    printed = capsys.readouterr().out
    assert "the recognition network's answers matched (roots of its probabilities), euclidean distance" in printed
    kept = json.loads(next(small_run.glob('Models/CAGEs_RN_models/*/results.json')).read_text())
    found = kept['gallery']['euclidean, sequence, answers']['Walking → Still']
    evaluate.main([*small_flags(small_run), '--protocol', 'gallery', '--match', 'answers', '--metric', 'cosine'])
    kept = json.loads(next(small_run.glob('Models/CAGEs_RN_models/*/results.json')).read_text())
    cosine = kept['gallery']['cosine, sequence, answers']['Walking → Still']
    assert found['rank1'] == cosine['rank1']  # vectors of length 1 are in the same order by either distance
    assert found['mAP'] == pytest.approx(cosine['mAP'], abs=1e-4)


def test_encodings_beside_answers(sources):
    """Answers of length 1 come first, then encodings of length √0.3."""
    network = recognition.initial_params(15, 2, seed=3, hidden=7)
    split = Split(skeletons(6), {0: np.arange(3), 1: np.arange(3, 6)})
    plain, answers, both = (
        make_side('t', split, sources, 'ap', network=one, beside=beside).features
        for one, beside in ((None, 0), (network, 0), (network, 0.3))
    )
    np.testing.assert_allclose(both[:, :2], answers, rtol=1e-6)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(both[:, 2:], np.sqrt(0.3) * plain / lengths, rtol=1e-5)


def test_command_matches_both_and_ranks_anew(small_run, capsys):
    flags = [*small_flags(small_run), '--protocol', 'gallery', '--match', 'both', '--beside', '2', '--rerank', '3']
    evaluate.main([*flags, '--probe', 'Still'])
    printed = capsys.readouterr().out
    assert (
        'answers matched (roots of its probabilities), and CAGEs beside them, weighing 2, euclidean distance, ranked'
        in printed
    )
    kept = json.loads(next(small_run.glob('Models/CAGEs_RN_models/*/results.json')).read_text())
    assert set(kept['gallery']['euclidean, sequence, both 2, reranked by 3']) == {'Still → Walking'}
    with pytest.raises(UserError, match='--rerank needs two different sets'):
        evaluate.main([*flags, '--probe', 'Still', '--gallery', 'Still'])


def test_smoothing_moves_the_gallery_alone():
    """Gallery: person 0 at 0 and 4 in one recording, person 1 at 3; half-way to the mean of 2 they are at 1 and 3.

    A probe of person 0 at 2.4 has 3 for its nearest (0.6, person 1), then 4 (1.6); smoothed, person 0's 3 is as near
    as person 1's, which counts against it, and so it stays second; at 1.9 person 0's 1 (0.9) comes first instead of
    person 1's 3 (1.1).
    """
    entries = side('g', [0, 4, 3], [0, 0, 1], [7, 7, 8])
    assert sides.smoothed_side(entries, 0.5).features.ravel().tolist() == [1, 3, 3]
    assert entries.features.ravel().tolist() == [0, 4, 3]
    probe = side('p', [2.4, 1.9], [0, 0], [5, 5])
    assert match_sides(probe, entries).result.first_rank.tolist() == [2, 2]
    assert match_sides(probe, entries, smooth=0.5).result.first_rank.tolist() == [2, 1]


def test_smoothing_keeps_two_people_of_a_recording_apart():
    entries = side('g', [0, 2, 10, 20], [0, 0, 1, 1], [7, 7, 7, 7])
    assert sides.smoothed_side(entries, 1.0).features.ravel().tolist() == [1, 1, 15, 15]


def test_smoothing_needs_recordings():
    with pytest.raises(UserError, match='of the set g nobody does'):
        match_sides(side('p', [0], [0]), side('g', [0.1], [0]), smooth=0.5)


def test_command_smooths(small_run, capsys):
    flags = [*small_flags(small_run), '--protocol', 'gallery', '--smooth', '0.5']
    evaluate.main([*flags, '--probe', 'Still'])
    assert 'distance, gallery entries moved by 0.5 towards the mean of their recording' in capsys.readouterr().out
    kept = json.loads(next(small_run.glob('Models/CAGEs_RN_models/*/results.json')).read_text())
    assert set(kept['gallery']['euclidean, sequence, smoothed by 0.5']) == {'Still → Walking'}
    with pytest.raises(UserError, match='leave out one of the two'):
        evaluate.main([*flags, '--level', 'recording'])


def test_matching_flags_need_the_protocol():
    given = '--gallery train', '--level recording', '--match answers', '--rerank 20', '--smooth 0.5', '--beside 1'
    for flags in map(str.split, given):
        with pytest.raises(UserError, match='--protocol gallery'):
            parse_evaluate(flags)
    assert parse_evaluate(['--dataset', 'IAS', '--protocol', 'gallery', '--probe', 'A']).probe == 'A'
