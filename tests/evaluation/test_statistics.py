import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sge_la.evaluation.intervals import (
    RunSummary,
    bootstrap_evaluation,
    bootstrap_interval,
    bootstrap_match,
    bootstrap_nauc,
    summarise_runs,
)
from sge_la.evaluation.matching import match, pool_recordings
from sge_la.evaluation.metrics import nauc, rank_n


def resampled_rows(groups, repeats, seed):
    """The rows of each resample, groups copied whole as often as they were drawn."""
    names = np.unique(groups)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=repeats)
    for draw in draws:
        members = [
            np.flatnonzero(groups == name) for name, times in zip(names, draw, strict=True) for _ in range(times)
        ]
        yield np.concatenate(members)


def scored(seed, num_sequences=60, num_classes=5, num_groups=9):
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_sequences)
    scores = random.normal(size=(num_sequences, num_classes)).round(1).astype(np.float32)
    scores[np.arange(num_sequences), labels] += 0.5
    return scores, labels, random.integers(0, num_groups, num_sequences) * 3


class TestBootstrap:
    @given(seed=st.integers(0, 10**6), num_groups=st.sampled_from([2, 9, 60, 200]))
    @settings(deadline=None, max_examples=20)
    def test_nauc_is_that_of_each_resample(self, seed, num_groups):
        """More than 64 groups go through several blocks."""
        scores, labels, groups = scored(seed, 150, 4, num_groups)
        if len(np.unique(groups)) < 2:
            return
        values = [nauc(scores[rows], labels[rows]) for rows in resampled_rows(groups, 30, seed)]
        interval = bootstrap_nauc(scores, labels, groups, repeats=30, seed=seed, level=0.8)
        np.testing.assert_allclose([interval.low, interval.high], np.quantile(values, [0.1, 0.9]), rtol=1e-12)
        assert interval.value == nauc(scores, labels)
        assert interval.num_groups == len(np.unique(groups))

    def test_evaluation_is_that_of_each_resample(self):
        scores, labels, groups = scored(1)
        rows = list(resampled_rows(groups, 40, 7))
        intervals = bootstrap_evaluation(scores, labels, groups, ranks=(1, 2), repeats=40, seed=7)
        assert list(intervals) == ['rank1', 'rank2', 'nauc']
        for n in (1, 2):
            values = [rank_n(scores[r], labels[r])[n - 1] for r in rows]
            interval = intervals[f'rank{n}']
            np.testing.assert_allclose([interval.low, interval.high], np.quantile(values, [0.025, 0.975]), rtol=1e-12)
            assert interval.value == pytest.approx(rank_n(scores, labels)[n - 1])

    def test_matching_is_that_of_each_resample_with_skipped_probes(self):
        random = np.random.default_rng(2)
        probe, gallery = random.normal(size=(40, 3)), random.normal(size=(70, 3))
        probe_labels, gallery_labels = random.integers(0, 6, 40), random.integers(0, 5, 70)
        groups = random.integers(0, 10, 40)
        result = match(probe, gallery, probe_labels, gallery_labels)
        assert result.num_skipped > 0
        intervals = bootstrap_match(result, groups, repeats=25, seed=3)
        values = {'mAP': [], 'rank5': []}
        for rows in resampled_rows(groups[result.probes], 25, 3):
            again = match(probe[result.probes][rows], gallery, probe_labels[result.probes][rows], gallery_labels)
            values['mAP'].append(again.mean_ap)
            values['rank5'].append(again.rank_n[4])
        for name, expected in values.items():
            ends = [intervals[name].low, intervals[name].high]
            np.testing.assert_allclose(ends, np.quantile(expected, [0.025, 0.975]), rtol=1e-12)
        assert list(intervals) == ['rank1', 'rank5', 'rank10', 'mAP', 'mINP']
        assert intervals['mAP'].value == pytest.approx(result.mean_ap)

    def test_width_follows_recordings_not_sequences(self):
        """100 sequences in 10 recordings that are right or wrong as a whole: the standard error is that of 10 coin
        throws, sqrt(.25 / 10) = .158, not that of 100, .05. A 95 % interval is about 2 · 1.96 · .158 = .62 wide."""
        hits = np.repeat([0, 1] * 5, 10)
        by_recording = bootstrap_interval(hits, np.repeat(np.arange(10), 10), repeats=4000)
        by_sequence = bootstrap_interval(hits, np.arange(100), repeats=4000)
        assert 0.5 < by_recording.high - by_recording.low < 0.7
        assert 0.15 < by_sequence.high - by_sequence.low < 0.25

    def test_same_seed_same_interval(self):
        scores, labels, groups = scored(4)
        first, second = (bootstrap_evaluation(scores, labels, groups, repeats=50, seed=5) for _ in range(2))
        assert first == second
        assert first != bootstrap_evaluation(scores, labels, groups, repeats=50, seed=6)

    def test_one_group_has_no_interval(self):
        scores, labels, _ = scored(5)
        for interval in bootstrap_evaluation(scores, labels, np.zeros(60, int)).values():
            assert np.isnan([interval.low, interval.high]).all()
            assert np.isfinite(interval.value)
            assert '[' not in str(interval)

    def test_undefined_nauc_stays_undefined(self):
        interval = bootstrap_nauc(np.ones((3, 1)), np.zeros(3, int), np.arange(3))
        assert np.isnan([interval.value, interval.low, interval.high]).all()

    def test_shown(self):
        interval = bootstrap_interval(np.ones(4), np.arange(4))
        assert str(interval) == '1.0000 [1.0000, 1.0000]'

    def test_groups_of_another_length(self):
        with pytest.raises(ValueError):
            bootstrap_interval(np.ones(4), np.arange(3))


def test_recording_votes_by_hand():
    """Recording 0: sequences vote 1, 1 and (strongly) 0: the mean (5 + 0 + 0) / 3 beats (0 + 1 + 1) / 3."""
    scores = np.array([[5, 0], [0, 1], [0, 1], [2, 3]], np.float32)
    votes, labels, recordings = pool_recordings(scores, np.array([0, 0, 0, 1]), np.array([0, 0, 0, 4]))
    np.testing.assert_allclose(votes, [[5 / 3, 2 / 3], [2, 3]], rtol=1e-6)
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(recordings, [0, 4])


class TestRuns:
    def test_by_hand(self):
        """Mean of 0.6, 0.7, 0.8 is 0.7, sd 0.1; t(0.975, 2 degrees) = 4.3027, so ± 4.3027 · 0.1 / sqrt(3) = 0.2484."""
        summary = summarise_runs([{'rank1': 0.6, 'extra': 1.0}, {'rank1': 0.7}, {'rank1': 0.8}])
        assert list(summary) == ['rank1']
        assert summary['rank1'].mean == pytest.approx(0.7)
        assert summary['rank1'].sd == pytest.approx(0.1)
        assert summary['rank1'].low == pytest.approx(0.7 - 0.24841, abs=1e-5)
        assert summary['rank1'].high == pytest.approx(0.7 + 0.24841, abs=1e-5)
        assert str(summary['rank1']) == '0.7000 ± 0.1000'

    def test_single_run_has_no_deviation(self):
        summary = summarise_runs([{'rank1': 0.5}])['rank1']
        assert isinstance(summary, RunSummary)
        assert np.isnan([summary.sd, summary.low, summary.high]).all()
        assert str(summary) == '0.5000'

    def test_no_run(self):
        with pytest.raises(ValueError):
            summarise_runs([])
