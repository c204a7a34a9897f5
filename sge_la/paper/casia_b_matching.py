"""CME, condition-based matching: each probe sequence is taken for whoever is nearest in the gallery.

Features are sequence-level CAGEs (x, y, z joined, T·768 values), all views together, Euclidean distance. Left out of a
probe's gallery are the probe itself and, where recordings are known, all sequences of the same walk in any view.

The original (`--faithful`) leaves nothing out but takes the second nearest entry when both conditions are the same. It
keeps the padding copies of people with fewer than 128 gallery sequences, so that their first sequence always finds a
copy of itself, and drops what is beyond whole batches of 128 of the others, on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sge_la.data import Dataset, Split
from sge_la.errors import say
from sge_la.evaluation.gallery import Matched, lines, match_sides, summary
from sge_la.evaluation.matching import METRICS, nearest
from sge_la.evaluation.sides import Side, make_side
from sge_la.features import cages
from sge_la.features.sources import FeatureSource
from sge_la.settings.papers import conditions

RANKS = 20
MANNER = 'sc'
# Rows of the table.
CHANCE, RAW, INPUTS = 'chance', 'nearest, raw coordinates', 'nearest, normalised coordinates'
CAGES = {'euclidean': 'CAGEs, Euclidean', 'cosine': 'CAGEs, cosine'}
FAITHFUL = "CAGEs, the original's way"


class Encoded:
    """The sides of a run, each condition encoded once; the data set as the encoders see it."""

    def __init__(self, dataset: Dataset, sources: list[FeatureSource], seed: int = 0):
        self._dataset, self._sources, self._seed = dataset, sources, seed
        self._sides: dict[str, Side] = {}

    def side(self, condition: str) -> Side:
        """All sequences of a condition that belong to somebody: no padding, nothing dropped."""
        if condition not in self._sides:
            split = self._dataset.tests[condition]
            self._sides[condition] = make_side(condition, split, self._sources, MANNER, seed=self._seed)
        return self._sides[condition]


def coordinates_side(condition: str, split: Split) -> Side:
    """A condition's sequences described by their coordinates alone, `[N, T·J·3]`."""
    rows = cages.all_rows(split.ids)
    recordings = None if split.recordings is None else split.recordings[rows]
    return Side(condition, split.skeletons[rows].reshape(len(rows), -1), split.labels[rows], recordings, rows)


def chance(probe: Side, gallery: Side) -> float:
    """Rank-1 of guessing: the share of right entries in each probe's gallery, without what is left out; their mean.

    Probes without a right entry count nowhere, as in matching.
    """
    shares = []
    known = probe.recordings is not None and gallery.recordings is not None
    for row, label in enumerate(probe.labels):
        own = gallery.labels == label
        right = own.copy()
        if known:
            right &= gallery.recordings != probe.recordings[row]
        if probe.name == gallery.name:
            right &= gallery.numbers != probe.numbers[row]
        if right.any():
            shares.append(right.sum() / (right.sum() + (~own).sum()))
    return float(np.mean(shares)) if shares else 0.0


def original_rank1(probe: Side, gallery: Side, probe_ids: Mapping, gallery_ids: Mapping) -> float:
    """Rank-1 as the original computes it, with all its flaws, from all sequences of the two conditions.

    A class is the place among the set's own identities, so that sets of different people do not match (the original
    compares one-hot columns). `*_ids`: identity → sequence numbers, in the file's order.
    """
    probe_rows = cages.original_rows(probe_ids, pad=False)
    gallery_rows = cages.original_rows(gallery_ids, pad=True)
    probe_classes, gallery_classes = (
        np.searchsorted(sorted(ids), side.labels[_places(side, rows)])
        for side, ids, rows in ((probe, probe_ids, probe_rows), (gallery, gallery_ids, gallery_rows))
    )
    place = int(probe.name == gallery.name)
    entries, _ = nearest(
        probe.features[_places(probe, probe_rows)], gallery.features[_places(gallery, gallery_rows)], place + 1
    )
    return float(np.mean(gallery_classes[entries[:, place]] == probe_classes))


def _places(side: Side, rows: np.ndarray) -> np.ndarray:
    """Where the sequences of these numbers stand on a side."""
    order = np.argsort(side.numbers)
    return order[np.searchsorted(side.numbers, rows, sorter=order)]


def run_pair(options, raw: Dataset, dataset: Dataset, encoded: Encoded) -> dict:
    """Matches one pair of conditions and prints what is found.

    `raw` is in metres as it lies in the files, `dataset` as encoders see it. Returns `rank1` by row of the table, and
    `euclidean` and `cosine`, the scores as results.json keeps them.
    """
    names = conditions(options.probe_type)
    probe, gallery = map(encoded.side, names)
    for side in (gallery, probe):
        say(f'{side.features.shape} {(len(side.labels), len(np.unique(side.labels)))}')
    matched = {metric: match_sides(probe, gallery, metric=metric) for metric in METRICS}
    rank1 = {CHANCE: chance(probe, gallery)}
    for title, data in ((RAW, raw), (INPUTS, dataset)):
        sides = [coordinates_side(name, data.tests[name]) for name in names]
        rank1[title] = float(match_sides(*sides).result.rank_n[0])
    rank1 |= {CAGES[metric]: float(found.result.rank_n[0]) for metric, found in matched.items()}
    if options.faithful:
        ids = [dataset.tests[name].ids for name in names]
        rank1[FAITHFUL] = original_rank1(probe, gallery, *ids)
    _say_result(options, probe, gallery, matched, rank1)
    return {'rank1': rank1, **{metric: summary(found) for metric, found in matched.items()}}


def _say_result(options, probe: Side, gallery: Side, matched: Mapping[str, Matched], rank1: Mapping) -> None:
    say(f'Length: {options.length}')
    say(f'[Probe]: {probe.name}')
    say(f'[Gallery]: {gallery.name}')
    say(f'Rank-1 Accuracy: {rank1[FAITHFUL if options.faithful else CAGES["euclidean"]]}')
    if options.faithful:
        say("(the original's way; without its flaws:)")
    for metric, found in matched.items():
        say(f'\n## {metric.title()} distance')
        say('\n'.join(lines(probe, gallery, found)).rstrip())
        ranks = {n: float(value) for n, value in enumerate(found.result.rank_n[:RANKS], 1)}
        say(f'Rank-n Accuracy: {ranks}')
    if probe.recordings is None or gallery.recordings is None:
        say(
            'note: the recordings are not known (released arrays lack them), so that sequences of the same walk stay '
            'in the gallery and make matching easier; data that sge_la.data.prepare makes have them'
        )
    say('')
