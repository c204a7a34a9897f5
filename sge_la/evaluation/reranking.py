"""Re-ranking by k-reciprocal neighbours (Zhong et al., CVPR 2017): two entries are near if they share neighbours.

Neighbours are looked for among probes and gallery together, as the paper does: what is said of a probe depends on the
other probes, whose identities nobody looks at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse  # comes with scikit-learn

from sge_la.evaluation.matching import BLOCK_BYTES, distance_blocks

# The distance's own share; and neighbours whose sets are averaged, as a share of the k: 6 of 20 in the paper.
OWN_SHARE, AVERAGED = 0.3, 0.3
# An entry's neighbours join a set if so much of them is in it.
_OVERLAP = 2 / 3
# Rows whose overlaps are counted at once: there are more of these than neighbours.
_ROWS = 4096


def reranked_blocks(
    probe: np.ndarray,
    gallery: np.ndarray,
    *,
    neighbours: int,
    metric: str = 'euclidean',
    block_bytes: int = BLOCK_BYTES,
    show_progress: bool = False,
) -> Iterator[tuple[int, np.ndarray]]:
    """Distances like `matching.distance_blocks`: 0.7 of the Jaccard distance of neighbours' sets, 0.3 of the old one.

    `probe` float [P, D], `gallery` float [G, D]; `neighbours`: the paper's k1; a probe's old distances are divided by
    their largest. Memory grows with (P + G) · k1. Raises UserError: as `distance_blocks`.
    """
    settings: dict[str, Any] = {'metric': metric, 'block_bytes': block_bytes, 'show_progress': show_progress}
    nearest, distances = _neighbours(np.concatenate([probe, gallery]), neighbours, settings)
    sets = _weighted_sets(nearest, distances)
    others = sets[len(probe) :].T.tocsr()  # by neighbour: the gallery entries that have it
    for start, block in distance_blocks(probe, gallery, **settings):
        for row, own in enumerate(block, start):
            own /= max(own.max(), np.finfo(float).tiny)
            mine = sets[[row]]
            theirs = others[mine.indices]
            least = np.minimum(np.repeat(mine.data, np.diff(theirs.indptr)), theirs.data)
            shared = np.bincount(theirs.indices, least, minlength=len(gallery))
            own *= OWN_SHARE
            own += (1 - OWN_SHARE) * (1 - shared / (2 - shared))  # both sets sum to 1
        yield start, block


def _neighbours(features: np.ndarray, count: int, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest of each row, itself first, and their distances as shares of its largest: [N, count + 1]."""
    count = min(count + 1, len(features))
    nearest, found = np.empty((len(features), count), np.int64), np.empty((len(features), count))
    for start, distances in distance_blocks(features, features, **settings):
        rows = np.arange(len(distances))
        distances[rows, start + rows] = -1  # the row itself, before its copies
        chosen = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, chosen, axis=1), axis=1, kind='stable')
        block = slice(start, start + len(rows))
        nearest[block] = np.take_along_axis(chosen, order, axis=1)
        farthest = np.maximum(distances.max(axis=1, keepdims=True), np.finfo(float).tiny)
        found[block] = np.maximum(np.take_along_axis(distances, nearest[block], axis=1), 0) / farthest
    return nearest, found


def _weighted_sets(nearest: np.ndarray, distances: np.ndarray) -> sparse.csr_matrix:
    """The paper's vectors V: k-reciprocal neighbours, extended by theirs, weighted by exp(−distance), averaged.

    Each row sums to 1. A neighbour that only the extension found has the weight of the farthest that is known.
    """
    count = nearest.shape[1] - 1
    reciprocal = _reciprocal(nearest)
    closer = _reciprocal(nearest[:, : round(count / 2) + 1])
    blocks = range(0, len(nearest), _ROWS)
    joined = sparse.vstack([_joining(reciprocal[start : start + _ROWS], closer) @ closer for start in blocks])
    members = ((reciprocal + joined) > 0).astype(np.float64)
    weights = _rows_of(nearest, np.exp(-distances) - np.exp(-distances[:, -1:]))
    far = sparse.diags(np.exp(-distances[:, -1]))
    sets = far @ members + members.multiply(weights)
    sets = sparse.diags(1 / sets.sum(axis=1).A1) @ sets
    averaged = nearest[:, : max(1, round(AVERAGED * count))]
    return (_rows_of(averaged, np.full(averaged.shape, 1 / averaged.shape[1])) @ sets).tocsr()


def _joining(reciprocal: sparse.csr_matrix, closer: sparse.csr_matrix) -> sparse.csr_matrix:
    """Which of the reciprocal neighbours of some rows have their own closer ones join the rows' sets."""
    overlap = (reciprocal @ closer.T).multiply(reciprocal).tocoo()
    joins = overlap.data > _OVERLAP * closer.getnnz(axis=1)[overlap.col]
    return sparse.csr_matrix((overlap.data[joins], (overlap.row[joins], overlap.col[joins])), reciprocal.shape)


def _reciprocal(nearest: np.ndarray) -> sparse.csr_matrix:
    """1 where each of two entries is among the other's nearest."""
    among = _rows_of(nearest, np.ones(nearest.shape))
    return among.multiply(among.T).tocsr()


def _rows_of(columns: np.ndarray, values: np.ndarray) -> sparse.csr_matrix:
    """The values `[N, K]` at their columns of N rows."""
    rows, count = columns.shape
    return sparse.csr_matrix((values.ravel(), columns.ravel(), np.arange(rows + 1) * count), (rows, rows))
