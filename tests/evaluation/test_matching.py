import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, coverage_error
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from sge_la.errors import UserError
from sge_la.evaluation.matching import distance_blocks, match, nearest, pool_recordings


def slow_match(distances, probe_labels, gallery_labels, is_excluded, num_ranks):
    """Sorts every probe's gallery one by one; among equal distances wrong entries come first."""
    first_ranks, precisions, penalties, kept = [], [], [], []
    for i, row in enumerate(distances):
        ranking = sorted(
            (distance, gallery_labels[j] == probe_labels[i], j)
            for j, distance in enumerate(row)
            if not is_excluded(i, j)
        )
        hits = [is_right for _, is_right, _ in ranking]
        if not any(hits):
            continue
        places = [place for place, is_right in enumerate(hits, 1) if is_right]
        kept.append(i)
        first_ranks.append(places[0])
        precisions.append(sum(k / place for k, place in enumerate(places, 1)) / len(places))
        penalties.append(len(places) / places[-1])
    rank_n = [sum(first <= n for first in first_ranks) / max(1, len(kept)) for n in range(1, num_ranks + 1)]
    return kept, rank_n, first_ranks, precisions, penalties


def plain_distances(probe, gallery, metric):
    probe, gallery = probe.astype(float), gallery.astype(float)
    return euclidean_distances(probe, gallery) if metric == 'euclidean' else cosine_distances(probe, gallery)


def joined_blocks(probe, gallery, **options):
    blocks = list(distance_blocks(probe, gallery, **options))
    np.testing.assert_array_equal([start for start, _ in blocks], np.cumsum([0] + [len(b) for _, b in blocks])[:-1])
    return np.concatenate([block for _, block in blocks])


@st.composite
def matching_case(draw):
    """Few values and few identities: ties, identities on one side only, shared recordings."""
    num_probe, num_gallery = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    num_people = draw(st.integers(1, 4))
    return {
        'probe': random.integers(-1, 2, (num_probe, 3)).astype(np.float32),
        'gallery': random.integers(-1, 2, (num_gallery, 3)).astype(np.float32),
        'probe_labels': random.integers(0, num_people + 1, num_probe),
        'gallery_labels': random.integers(0, num_people, num_gallery),
        'probe_groups': random.integers(0, 3, num_probe),
        'gallery_groups': random.integers(0, 3, num_gallery),
        'probe_items': random.integers(0, 9, num_probe),
        'gallery_items': random.integers(0, 9, num_gallery),
    }


class TestMatch:
    def test_by_hand(self):
        """Probe of A at 0; gallery A at 1, B at 2, A at 3, B at 4, A at 5. Right places 1, 3, 5: AP = (1/1 + 2/3 +
        3/5) / 3 = 34/45, INP = 3/5. Probe of B at 4: distances A 3, B 2, A 1, B 0, A 1: places 1 (B at 4) and 4
        (B at 2, behind both A at distance 1): AP = (1 + 2/4) / 2, INP = 2/4. Probe of C has no right entry."""
        probe = np.array([[0.0], [4.0], [1.0]])
        gallery = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
        result = match(probe, gallery, np.array([0, 1, 2]), np.array([0, 1, 0, 1, 0]), num_ranks=5)
        np.testing.assert_array_equal(result.probes, [0, 1])
        np.testing.assert_array_equal(result.first_rank, [1, 1])
        np.testing.assert_allclose(result.average_precision, [34 / 45, 0.75], rtol=1e-15)
        np.testing.assert_allclose(result.inverse_negative_penalty, [0.6, 0.5], rtol=1e-15)
        assert result.mean_ap == pytest.approx((34 / 45 + 0.75) / 2)
        assert result.mean_inp == pytest.approx(0.55)
        np.testing.assert_array_equal(result.rank_n, np.ones(5))
        assert result.num_skipped == 1

    def test_equal_distances_count_against_the_probe(self):
        """All features equal: 3 wrong entries are ahead of both right ones, at places 4 and 5."""
        result = match(np.ones((1, 2)), np.ones((5, 2)), np.array([7]), np.array([7, 1, 7, 2, 3]), num_ranks=5)
        assert result.first_rank[0] == 4
        assert result.average_precision[0] == pytest.approx((1 / 4 + 2 / 5) / 2)
        np.testing.assert_array_equal(result.rank_n, [0, 0, 0, 1, 1])

    @pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
    @pytest.mark.parametrize('exclusion', ['none', 'groups', 'items', 'both'])
    @given(case=matching_case(), block_bytes=st.sampled_from([1, 300, 10**6]))
    @settings(deadline=None, max_examples=60)
    def test_slow_twin(self, metric, exclusion, case, block_bytes):
        arrays = [case[name] for name in ('probe', 'gallery', 'probe_labels', 'gallery_labels')]
        uses = {'none': (), 'groups': ('groups',), 'items': ('items',), 'both': ('groups', 'items')}[exclusion]
        keys = {f'{side}_{name}': case[f'{side}_{name}'] for name in uses for side in ('probe', 'gallery')}

        def is_excluded(i, j):
            is_same_person = case['probe_labels'][i] == case['gallery_labels'][j]
            return is_same_person and any(case[f'probe_{name}'][i] == case[f'gallery_{name}'][j] for name in uses)

        # The distances themselves are tested elsewhere: rounding must not decide ties differently here.
        distances = joined_blocks(*arrays[:2], metric=metric)
        kept, rank_n, first_ranks, precisions, penalties = slow_match(distances, *arrays[2:], is_excluded, 4)
        options = {'metric': metric, 'num_ranks': 4, 'block_bytes': block_bytes, **keys}
        if not kept:
            with pytest.raises(UserError, match='none of the'):
                match(*arrays, **options)
            return
        result = match(*arrays, **options)
        np.testing.assert_array_equal(result.probes, kept)
        np.testing.assert_array_equal(result.first_rank, first_ranks)
        np.testing.assert_allclose(result.rank_n, rank_n, rtol=1e-14)
        np.testing.assert_allclose(result.average_precision, precisions, rtol=1e-14)
        np.testing.assert_allclose(result.inverse_negative_penalty, penalties, rtol=1e-14)
        assert result.num_skipped == len(arrays[0]) - len(kept)

    @pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
    def test_average_precision_agrees_with_sklearn(self, metric):
        random = np.random.default_rng(3)
        gallery_labels, probe_labels = random.integers(0, 15, 400), random.integers(0, 20, 60)  # 15 to 19: no entry
        gallery, probe = random.normal(size=(400, 8)) + gallery_labels[:, None] / 6, random.normal(size=(60, 8))
        probe += probe_labels[:, None] / 6
        result = match(probe, gallery, probe_labels, gallery_labels, metric=metric)
        distances = plain_distances(probe, gallery, metric)
        assert result.num_skipped == (probe_labels >= 15).sum() > 0
        for i, precision in zip(result.probes, result.average_precision, strict=True):
            expected = average_precision_score(gallery_labels == probe_labels[i], -distances[i])
            assert precision == pytest.approx(expected, abs=1e-12)

    def test_average_precision_agrees_with_sklearn_on_ties_put_in_order(self):
        """sklearn lets tied entries share a threshold; in the order `wrong first` the two definitions are one."""
        random = np.random.default_rng(4)
        gallery_labels, probe_labels = random.integers(0, 6, 200), random.integers(0, 6, 40)
        gallery, probe = random.integers(0, 3, (200, 3)), random.integers(0, 3, (40, 3))
        result = match(probe, gallery, probe_labels, gallery_labels)
        squared = ((probe[:, None] - gallery) ** 2).sum(-1)
        for i, precision in enumerate(result.average_precision):
            is_right = gallery_labels == probe_labels[i]
            order = np.lexsort((is_right, squared[i]))
            expected = average_precision_score(is_right[order], -np.arange(200.0))
            assert precision == pytest.approx(expected, abs=1e-12)

    def test_ranks_and_penalties_agree_with_sklearn_with_ties(self):
        """sklearn's coverage error is how deep one must go for all right entries, behind wrong ones that are tied."""
        random = np.random.default_rng(5)
        gallery_labels, probe_labels = random.integers(0, 9, 300), random.integers(0, 12, 60)  # 9 to 11: no entry
        gallery, probe = random.integers(0, 4, (300, 3)), random.integers(0, 4, (60, 3))
        result = match(probe, gallery, probe_labels, gallery_labels, num_ranks=20)
        assert 0 < result.num_skipped == (probe_labels >= 9).sum()
        scores = -((probe[:, None] - gallery) ** 2).sum(-1)
        first_ranks = []
        for i, penalty in zip(result.probes, result.inverse_negative_penalty, strict=True):
            is_right = gallery_labels == probe_labels[i]
            assert penalty == pytest.approx(is_right.sum() / coverage_error([is_right], [scores[i]]))
            nearest_alone = np.append(scores[i][~is_right], scores[i][is_right].max())
            first_ranks.append(
                coverage_error([np.arange(len(nearest_alone)) == len(nearest_alone) - 1], [nearest_alone])
            )
        np.testing.assert_array_equal(result.first_rank, first_ranks)
        expected = [np.mean([first <= n for first in first_ranks]) for n in range(1, 21)]
        np.testing.assert_allclose(result.rank_n, expected, rtol=1e-14)
        assert result.mean_inp == pytest.approx(result.inverse_negative_penalty.mean())

    def test_order_of_the_gallery_does_not_matter(self):
        random = np.random.default_rng(5)
        gallery, labels = random.integers(0, 3, (50, 2)).astype(float), random.integers(0, 5, 50)
        shuffled = random.permutation(50)
        first = match(gallery[:20], gallery, labels[:20], labels)
        second = match(gallery[:20], gallery[shuffled], labels[:20], labels[shuffled])
        np.testing.assert_array_equal(first.average_precision, second.average_precision)

    def test_the_query_is_left_out_by_number_not_by_place(self):
        """Probe 0 is gallery entry 1; entry 0 is its exact copy under another name. Taking off the nearest entry
        would take off the copy and find the probe itself."""
        gallery = np.array([[0.0], [0.0], [1.0], [5.0]])
        labels = np.array([1, 0, 1, 0])
        result = match(
            gallery[[1]], gallery, labels[[1]], labels, probe_items=np.array([1]), gallery_items=np.arange(4)
        )
        assert result.first_rank[0] == 3

    def test_same_recording_of_another_person_stays(self):
        """Numbers of recordings may start anew for every person: only the probe's own person is left out."""
        gallery, labels = np.array([[0.0], [1.0], [2.0]]), np.array([1, 0, 0])
        groups = np.array([5, 5, 6])
        result = match(np.zeros((1, 1)), gallery, np.array([0]), labels, probe_groups=[5], gallery_groups=groups)
        assert result.first_rank[0] == 2

    def test_no_right_entry(self):
        with pytest.raises(UserError, match='none of the 1 probes has a right entry among 2'):
            match(np.zeros((1, 1)), np.zeros((2, 1)), np.array([0]), np.array([1, 2]))

    def test_nothing_to_match(self):
        with pytest.raises(UserError, match='found 1 and 0'):
            match(np.zeros((1, 1)), np.zeros((0, 1)), np.zeros(1, int), np.zeros(0, int))

    @pytest.mark.parametrize('side', ['probe', 'gallery'])
    def test_features_that_are_not_finite(self, side):
        arrays = {'probe': np.zeros((3, 2), np.float32), 'gallery': np.zeros((4, 2), np.float32)}
        arrays[side][2, 1] = np.inf
        with pytest.raises(UserError, match=f'row 2 of the {side} set'):
            match(**arrays, probe_labels=np.zeros(3, int), gallery_labels=np.zeros(4, int))

    @pytest.mark.parametrize(
        'options',
        [{'metric': 'manhattan'}, {'probe_groups': np.zeros(2)}, {'probe_items': np.zeros(2), 'gallery_items': [1]}],
    )
    def test_defects_of_the_caller(self, options):
        with pytest.raises(ValueError):
            match(np.zeros((2, 1)), np.zeros((3, 1)), np.zeros(2, int), np.zeros(3, int), **options)


class TestDistances:
    @pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
    @pytest.mark.parametrize('block_bytes', [1, 4000, 10**7])
    def test_sklearn(self, metric, block_bytes):
        random = np.random.default_rng(0)
        probe, gallery = random.normal(3, 1, (17, 9)).astype('f4'), random.normal(3, 1, (31, 9)).astype('f4')
        gallery[4] = 0
        distances = joined_blocks(probe, gallery, metric=metric, block_bytes=block_bytes)
        np.testing.assert_allclose(distances, plain_distances(probe, gallery, metric), atol=1e-7)

    def test_memory_is_bounded(self):
        probe, gallery = np.zeros((100, 4), 'f4'), np.zeros((1000, 4), 'f4')
        sizes = {block.nbytes for _, block in distance_blocks(probe, gallery, block_bytes=100_000)}
        assert max(sizes) <= 50_000

    def test_order_in_memory_does_not_matter(self):
        gallery = np.random.default_rng(1).normal(size=(6, 5))
        expected = joined_blocks(gallery, gallery)
        np.testing.assert_array_equal(joined_blocks(np.asfortranarray(gallery), gallery), expected)


class TestNearest:
    @given(case=matching_case(), k=st.integers(1, 5))
    @settings(deadline=None)
    def test_slow_twin(self, case, k):
        distances = joined_blocks(case['probe'], case['gallery'])
        expected = np.argsort(distances, axis=1, kind='stable')[:, :k]
        entries, found = nearest(case['probe'], case['gallery'], k)
        np.testing.assert_array_equal(entries, expected)
        np.testing.assert_array_equal(found, np.take_along_axis(distances, expected, axis=1))


class TestPoolRecordings:
    def test_by_hand(self):
        """Recording 9 has two people: each has a row."""
        features = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
        means, labels, recordings = pool_recordings(features, np.array([0, 1, 0, 1]), np.array([9, 2, 9, 9]))
        np.testing.assert_array_equal(means, [[3, 4], [3, 4], [7, 8]])
        np.testing.assert_array_equal(labels, [1, 0, 1])
        np.testing.assert_array_equal(recordings, [2, 9, 9])
        assert means.dtype == np.float32

    def test_slow_twin(self):
        random = np.random.default_rng(2)
        features, labels, recordings = random.normal(size=(80, 3)), random.integers(0, 3, 80), random.integers(0, 9, 80)
        means, pooled_labels, pooled_recordings = pool_recordings(features, labels, recordings)
        pairs = sorted(set(zip(recordings.tolist(), labels.tolist(), strict=True)))
        assert pairs == list(zip(pooled_recordings.tolist(), pooled_labels.tolist(), strict=True))
        for mean, (recording, label) in zip(means, pairs, strict=True):
            np.testing.assert_allclose(mean, features[(recordings == recording) & (labels == label)].mean(axis=0))

    def test_lengths_that_differ(self):
        with pytest.raises(ValueError):
            pool_recordings(np.zeros((2, 1)), np.zeros(2, int), np.zeros(3, int))
