"""Gallery and probe: who in the gallery is nearest to each probe, without a classifier.

P probes (queries) and G gallery entries have D values each. Distances are computed in float64 and in blocks, so that
neither the P·G distances nor a float64 copy of the gallery is held at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sge_la.errors import UserError, bar

METRICS = ('euclidean', 'cosine')
BLOCK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class MatchResult:
    """What matching found; Q is the number of probes that have a right gallery entry.

    `rank_n` float64 [num_ranks] is the CMC: the share of the Q probes with a right entry among the n nearest. `mean_ap`
    (mAP) and `mean_inp` (mINP) are means of the arrays below. `probes` int64 [Q] are the rows that were scored,
    `num_skipped` those without a right entry. `first_rank` int64 [Q] is the place of the nearest right entry, from 1.
    `average_precision` float64 [Q] is the mean of k / (place of the k-th right entry); `inverse_negative_penalty`
    float64 [Q] the number of right entries / place of the last one (Ye et al., TPAMI 2021).
    """

    rank_n: np.ndarray
    mean_ap: float
    mean_inp: float
    probes: np.ndarray
    first_rank: np.ndarray
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray
    num_skipped: int


def match(
    probe: np.ndarray,
    gallery: np.ndarray,
    probe_labels: np.ndarray,
    gallery_labels: np.ndarray,
    *,
    metric: str = 'euclidean',
    probe_groups: np.ndarray | None = None,
    gallery_groups: np.ndarray | None = None,
    probe_items: np.ndarray | None = None,
    gallery_items: np.ndarray | None = None,
    num_ranks: int = 50,
    block_bytes: int = BLOCK_BYTES,
    show_progress: bool = False,
    blocks: Callable[..., Iterator[tuple[int, np.ndarray]]] | None = None,
) -> MatchResult:
    """Ranks the gallery for every probe and scores the ranking.

    Left out of a probe's gallery are entries of the same identity from the same recording (`*_groups`, integers) or of
    the same sequence (`*_items`): they match by what the sensor saw, not by who walks. Each pair is given for both
    sides or for neither. Equal distances count against the probe, so that the result depends neither on the gallery's
    order nor on luck, and features that are all equal score lowest.

    `probe` is float [P, D], `gallery` float [G, D]; `metric` 'euclidean' or 'cosine' (1 − cosine; a vector of zeros is
    at distance 1 from all); `block_bytes` bounds the memory for distances, about; `blocks` gives distances in the place
    of `distance_blocks`.

    Raises UserError: nothing to match, no probe has a right gallery entry, or a feature is not finite.
    """
    probe_labels, gallery_labels = _checked_labels(probe, gallery, probe_labels, gallery_labels)
    exclusions = [
        _checked_keys(probe, gallery, probe_groups, gallery_groups, 'groups'),
        _checked_keys(probe, gallery, probe_items, gallery_items, 'items'),
    ]
    entries_of = _rows_by_value(gallery_labels)
    probes, scores = [], []
    settings = {'metric': metric, 'block_bytes': block_bytes, 'show_progress': show_progress}
    for start, distances in (blocks or distance_blocks)(probe, gallery, **settings):
        for row, nearness in enumerate(distances, start):
            same_identity = entries_of.get(probe_labels[row])
            if same_identity is None:
                continue
            is_excluded = np.zeros(len(same_identity), bool)
            for probe_keys, gallery_keys in filter(None, exclusions):
                is_excluded |= gallery_keys[same_identity] == probe_keys[row]
            if is_excluded.all():
                continue
            probes.append(row)
            scores.append(_score_ranking(nearness, same_identity, same_identity[~is_excluded]))
    if not probes:
        raise UserError(
            f'matching needs a probe whose identity is in the gallery, but none of the {len(probe)} probes has a right '
            f'entry among {len(gallery)} (same recordings left out): check the probe and gallery sets'
        )
    first_rank, average_precision, inverse_negative_penalty = (np.array(values) for values in zip(*scores, strict=True))
    places = np.bincount(np.minimum(first_rank, num_ranks + 1), minlength=num_ranks + 2)
    return MatchResult(
        rank_n=np.cumsum(places[1 : num_ranks + 1]) / len(probes),
        mean_ap=float(average_precision.mean()),
        mean_inp=float(inverse_negative_penalty.mean()),
        probes=np.array(probes),
        first_rank=first_rank,
        average_precision=average_precision,
        inverse_negative_penalty=inverse_negative_penalty,
        num_skipped=len(probe) - len(probes),
    )


def nearest(probe: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest gallery entries of each probe, nearest first; equal distances in the order of the gallery.

    `probe` is float [P, D], `gallery` float [G, D]. Returns (entries, Euclidean distances), int64 and float64
    [P, min(k, G)]. Raises UserError: as `distance_blocks`.
    """
    k = min(k, len(gallery))
    entries, nearest_distances = np.empty((len(probe), k), np.int64), np.empty((len(probe), k))
    for start, distances in distance_blocks(probe, gallery):
        for row, nearness in enumerate(distances, start):
            # All entries up to the k-th distance, so that equal ones can be put in the gallery's order.
            candidates = np.flatnonzero(nearness <= np.partition(nearness, k - 1)[k - 1])
            entries[row] = candidates[np.argsort(nearness[candidates], kind='stable')[:k]]
            nearest_distances[row] = nearness[entries[row]]
    return entries, nearest_distances


def distance_blocks(
    probe: np.ndarray,
    gallery: np.ndarray,
    *,
    metric: str = 'euclidean',
    block_bytes: int = BLOCK_BYTES,
    show_progress: bool = False,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(first probe, float64 [b, G] distances)` for consecutive blocks of b probes; the caller may overwrite.

    Raises UserError: no probe, no gallery entry, or a feature is not finite.
    """
    if metric not in METRICS:
        raise ValueError(f'metric must be one of {METRICS}, received {metric!r}')
    if probe.ndim != 2 or gallery.ndim != 2 or probe.shape[1] != gallery.shape[1]:
        raise ValueError(f'probe and gallery must be [P, D] and [G, D], received {probe.shape} and {gallery.shape}')
    if len(probe) == 0 or len(gallery) == 0:
        raise UserError(f'matching needs probes and a gallery, found {len(probe)} and {len(gallery)}: check both sets')
    probe_squares, gallery_squares = _squared_lengths(probe, 'probe'), _squared_lengths(gallery, 'gallery')
    num_rows = max(1, block_bytes // 2 // (8 * (len(gallery) + probe.shape[1])))
    num_entries = max(1, block_bytes // 2 // (8 * gallery.shape[1]))
    with bar(total=len(probe), desc='Matching', unit='probe', shown=show_progress) as done:
        for start in range(0, len(probe), num_rows):
            rows = probe[start : start + num_rows].astype(np.float64)
            distances = np.empty((len(rows), len(gallery)))
            for first in range(0, len(gallery), num_entries):
                entries = gallery[first : first + num_entries].astype(np.float64)
                np.matmul(rows, entries.T, out=distances[:, first : first + num_entries])
            _to_distances(distances, probe_squares[start : start + num_rows], gallery_squares, metric)
            yield start, distances
            done.update(len(rows))


def pool_recordings(
    features: np.ndarray, labels: np.ndarray, recordings: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of all sequences of a recording: one row for each (recording, identity).

    Returns (means, labels, recordings), [K, D] in the features' type (summed in float64), int64 [K] and int64 [K],
    sorted by recording, then label.
    """
    if not len(features) == len(labels) == len(recordings):
        raise ValueError(f'lengths must agree, received {len(features)}, {len(labels)} and {len(recordings)}')
    walks = _walks(labels, recordings)
    means = [features[rows].mean(axis=0, dtype=np.float64) for rows in walks]
    firsts = [rows[0] for rows in walks]
    labels, recordings = (np.asarray(values)[firsts].astype(np.int64) for values in (labels, recordings))
    return np.array(means).astype(features.dtype), labels, recordings


def smoothed(features: np.ndarray, labels: np.ndarray, recordings: np.ndarray, share: float) -> np.ndarray:
    """Features [N, D], each moved by `share` (0 to 1) towards the mean of its (recording, identity), in a new array.

    Database-side augmentation (Arandjelović and Zisserman, CVPR 2012), with the recording for neighbours.
    """
    moved = np.empty_like(features)
    for rows in _walks(labels, recordings):
        own = features[rows]
        moved[rows] = own + share * (own.mean(axis=0, dtype=np.float64) - own)
    return moved


def _walks(labels: np.ndarray, recordings: np.ndarray) -> list[np.ndarray]:
    """The rows of each (recording, identity), sorted by recording, then label."""
    order = np.lexsort((labels, recordings))
    keys = np.stack([np.asarray(recordings)[order], np.asarray(labels)[order]])
    return np.split(order, np.flatnonzero(np.any(np.diff(keys) != 0, axis=0)) + 1)


def _score_ranking(nearness: np.ndarray, same_identity: np.ndarray, right: np.ndarray) -> tuple[int, float, float]:
    """First place, average precision and inverse negative penalty of one probe.

    `nearness` float64 [G] are distances, `same_identity` the rows of the probe's identity, `right` those of them that
    count.
    """
    # Wrong entries up to a right one's distance = all entries up to it less those of the identity.
    right_distances = np.sort(nearness[right])
    num_ahead = np.searchsorted(np.sort(nearness), right_distances, 'right')
    num_ahead -= np.searchsorted(np.sort(nearness[same_identity]), right_distances, 'right')
    found = np.arange(1, len(right) + 1)
    places = found + num_ahead
    return int(places[0]), float(np.mean(found / places)), len(right) / int(places[-1])


def _to_distances(
    products: np.ndarray, probe_squares: np.ndarray, gallery_squares: np.ndarray, metric: str
) -> np.ndarray:
    """Turns inner products [b, G] into distances, in place."""
    if metric == 'cosine':
        for squares, axis in ((probe_squares, 1), (gallery_squares, 0)):
            lengths = np.sqrt(squares)
            products /= np.expand_dims(np.where(lengths > 0, lengths, 1), axis)
        return np.subtract(1, products, out=products)
    products *= -2
    products += probe_squares[:, None]
    products += gallery_squares
    return np.sqrt(np.maximum(products, 0, out=products), out=products)


def _squared_lengths(features: np.ndarray, side: str) -> np.ndarray:
    """float64 [N] squared lengths; also where features that are not finite are noticed."""
    squares = np.empty(len(features))
    for start in range(0, len(features), 4096):
        rows = features[start : start + 4096].astype(np.float64)
        squares[start : start + 4096] = np.einsum('nd,nd->n', rows, rows)
    if not np.isfinite(squares).all():
        row = int(np.flatnonzero(~np.isfinite(squares))[0])
        raise UserError(
            f'features must be finite numbers, but row {row} of the {side} set has NaN or infinity: the weights are '
            'damaged or training diverged; use an earlier checkpoint or train again'
        )
    return squares


def _checked_labels(probe, gallery, probe_labels, gallery_labels) -> tuple[np.ndarray, np.ndarray]:
    probe_labels, gallery_labels = np.asarray(probe_labels), np.asarray(gallery_labels)
    if probe_labels.shape != (len(probe),) or gallery_labels.shape != (len(gallery),):
        raise ValueError(
            f'labels must be [{len(probe)}] and [{len(gallery)}], received {probe_labels.shape} and '
            f'{gallery_labels.shape}'
        )
    return probe_labels, gallery_labels


def _checked_keys(probe, gallery, probe_keys, gallery_keys, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    if probe_keys is None and gallery_keys is None:
        return None
    if probe_keys is None or gallery_keys is None:
        raise ValueError(f'{name} must be given for probe and gallery, or for neither')
    if len(probe_keys) != len(probe) or len(gallery_keys) != len(gallery):
        raise ValueError(f'{name} must have {len(probe)} and {len(gallery)} entries')
    return np.asarray(probe_keys), np.asarray(gallery_keys)


def _rows_by_value(values: np.ndarray) -> dict[int, np.ndarray]:
    """The rows of each value, ascending."""
    return {int(value): np.flatnonzero(values == value) for value in np.unique(values)}
