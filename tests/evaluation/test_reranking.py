from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sge_la.evaluation import reranking
from sge_la.evaluation.matching import distance_blocks, match
from sge_la.evaluation.reranking import reranked_blocks


def joined(blocks):
    return np.concatenate([block for _, block in blocks])


def plain_reranked(probe, gallery, count, metric):
    """Set by set, as Zhong et al. write them: R(i, k), R*(i, k), V and the Jaccard distance."""
    features = np.concatenate([probe, gallery])
    distances = joined(distance_blocks(features, features, metric=metric))
    np.fill_diagonal(distances, -1)
    order = np.argsort(distances, axis=1, kind='stable')
    relative = np.maximum(distances, 0) / distances.max(axis=1, keepdims=True)
    total, count = len(features), min(count, len(features) - 1)

    def near(i, k):
        return set(order[i, : k + 1])

    def reciprocal(i, k):
        return {j for j in near(i, k) if i in near(j, k)}

    weights = np.zeros((total, total))
    for i in range(total):
        members = reciprocal(i, count)
        for j in reciprocal(i, count):
            others = reciprocal(j, round(count / 2))
            if len(reciprocal(i, count) & others) > 2 / 3 * len(others):
                members = members | others
        farthest = relative[i, order[i, count]]
        for j in members:
            weights[i, j] = np.exp(-min(relative[i, j], farthest))
    weights /= weights.sum(axis=1, keepdims=True)
    averaged = max(1, round(0.3 * count))
    sets = np.array([weights[order[i, :averaged]].mean(axis=0) for i in range(total)])
    own = joined(distance_blocks(probe, gallery, metric=metric))
    found = np.empty_like(own)
    for p in range(len(probe)):
        for g in range(len(gallery)):
            shared = np.minimum(sets[p], sets[len(probe) + g]).sum()
            union = np.maximum(sets[p], sets[len(probe) + g]).sum()
            found[p, g] = 0.7 * (1 - shared / union) + 0.3 * own[p, g] / own[p].max()
    return found


@pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
@given(seed=st.integers(0, 10**6), sizes=st.tuples(st.integers(2, 9), st.integers(2, 14)), count=st.integers(1, 30))
@settings(deadline=None, max_examples=40)
def test_slow_twin(metric, seed, sizes, count):
    random = np.random.default_rng(seed)
    probe, gallery = (random.normal(size=(size, 3)).astype(np.float32) for size in sizes)
    expected = plain_reranked(probe, gallery, count, metric)
    for block_bytes, rows in ((1, 4), (10**6, 4096)):
        with patch.object(reranking, '_ROWS', rows):
            blocks = reranked_blocks(probe, gallery, neighbours=count, metric=metric, block_bytes=block_bytes)
            np.testing.assert_allclose(joined(blocks), expected, rtol=0, atol=1e-9)


def test_neighbours_of_a_chain_are_found():
    """A walker whose other entries lie between probe and gallery: a stranger is nearer to the probe, but none of its
    neighbours are the probe's."""
    chain = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [4, 0]])
    stranger = np.array([[0, 3.5]]) + np.array([[0.0, 0], [0, 0.1], [0.1, 0], [0, 0.2], [0.1, 0.1]])
    probe, gallery = chain[:1], np.concatenate([chain[2:], stranger])
    probes = np.concatenate([probe, chain[1:2]])
    labels, entries = np.array([0, 0]), np.array([0] * 3 + [1] * 5)

    def precision(**how):
        return match(probes, gallery, labels, entries, **how).average_precision[0]

    def anew(probe, gallery, **settings):
        return reranked_blocks(probe, gallery, neighbours=4, **settings)

    assert precision() < precision(blocks=anew) == 1


def test_copies_and_equal_features_give_finite_distances():
    found = joined(reranked_blocks(np.ones((3, 2)), np.ones((4, 2)), neighbours=2))
    assert np.isfinite(found).all()
    assert found.min() >= 0
