"""Enrolled people: how far a probe is from each of them, and where among their own recordings a stranger begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sge_la.data.dataset import spread
from sge_la.evaluation import search
from sge_la.evaluation.matching import distance_blocks, pool_recordings
from sge_la.evaluation.openset import OpenSet

SEQUENCE, RECORDING = 'sequence', 'recording'
# Sequences on which it is told how often an index finds who is nearest.
RECALLED = 200
# Of vectors that `leave_one_out` compares, and sequences of a recording that are enough.
_MOST_PAIRS, _ENOUGH = 3 * 10**8, 4
# Sequences from which people who can be near are looked for first, and float32 values of a block of distances then.
_LARGE, _BLOCK_VALUES = 1000, 2**24
# The most by which a squared distance between vectors of some thousand values can be wrong in float32.
_ROUNDING = 1e-3
# Sequences that an index proposes at first.
_PROPOSED = 16


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their lengths, float32 [N, D]; a row of zeros stays."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Enrolled:
    """The gallery's sequences.

    `vectors` float32 [N, D], of unit length; `recordings` int64 [N], rising from 0 to K − 1 without a gap; `people`
    int64 [K], the person of each recording, all of 0 to P − 1.
    """

    vectors: np.ndarray
    recordings: np.ndarray
    people: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, people: np.ndarray, recordings: np.ndarray) -> tuple[Enrolled, np.ndarray]:
        """From sequences in any order with numbers of people and recordings, int64 [N]; also the recordings' numbers.

        People count from 0 without a gap. A recording of two people counts as two.
        """
        order = np.lexsort((people, recordings))
        keys = np.stack([recordings, people], axis=1)[order]
        found, codes = np.unique(keys, axis=0, return_inverse=True)
        return cls(vectors[order], codes.reshape(-1), found[:, 1]), found[:, 0]

    @cached_property
    def _by_person(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.people, kind='stable')
        return order, np.searchsorted(self.people[order], np.arange(self.people.max() + 1))

    @cached_property
    def _starts(self) -> np.ndarray:
        """The first sequence of each recording, and behind them N."""
        return np.searchsorted(self.recordings, np.arange(len(self.people) + 1))

    @cached_property
    def _squares(self) -> np.ndarray:
        return np.einsum('nd,nd->n', self.vectors, self.vectors)

    @cached_property
    def index(self) -> search.Index | None:
        """What proposes people of a gallery of a million sequences or more; None of a smaller one, or without Faiss."""
        return search.Index(self.vectors) if len(self.vectors) >= search.FROM_ROWS and search.is_there() else None

    def distances(self, probes: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """The Euclidean distance of each probe [n, D], of unit length, to the nearest sequence of each person.

        `own` int64 [n]: the recording that is left out for each, its own, or −1; a person with no other one is at
        infinity.
        Returns float64 [n, P], from 0 to 2. Raises UserError: nothing to compare, or a value is not finite.
        """
        out = np.empty((len(probes), len(self._by_person[1])))
        for start, found in distance_blocks(probes, self.vectors):
            rows = slice(start, start + len(found))
            out[rows] = self._of_people(found, None if own is None else own[rows])
        return out

    def _of_people(self, found: np.ndarray, own: np.ndarray | None) -> np.ndarray:
        """The least of what was found for each sequence [n, N], by person [n, P]."""
        nearest, (order, firsts) = np.minimum.reduceat(found, self._starts[:-1], axis=1), self._by_person
        if own is not None:
            nearest[own[:, None] == np.arange(len(self.people))] = np.inf
        return np.minimum.reduceat(nearest[:, order], firsts, axis=1)

    def near(
        self, probes: np.ndarray, top: int, own: np.ndarray | None = None, *, indexed: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The people who can be among the `top` nearest to the probes on average, and their distances.

        They are found by bounds on distances in float32, and nobody else can be as near; `indexed`: a single probe may
        be answered with those whom the index proposes, which takes long to make and then less. Other arguments and
        errors as of `distances`. Returns people int64 [m], rising, m at least `top` if there are as many, and exact
        distances float64 [n, m].
        """
        everybody = np.arange(len(self._by_person[1]))
        if len(everybody) <= top or len(self.vectors) < _LARGE or not np.isfinite(probes).all():
            return everybody, self.distances(probes, own)
        proposed = indexed and len(probes) == 1 and self.index is not None  # many would have almost everybody proposed
        people = (self._proposed if proposed else self._bounded)(probes, top, own)
        return people, self._distances_to(people, probes, own)

    def _distances_to(self, people: np.ndarray, probes: np.ndarray, own: np.ndarray | None) -> np.ndarray:
        """`distances` to some people, rising, alone."""
        recordings = np.flatnonzero(np.isin(self.people, people))
        rows = np.concatenate([np.arange(*self._starts[[k, k + 1]]) for k in recordings])
        sizes = np.diff(self._starts)[recordings]
        some = Enrolled(
            self.vectors[rows],
            np.repeat(np.arange(len(recordings)), sizes),
            np.searchsorted(people, self.people[recordings]),
        )
        if own is not None:
            own = np.where(np.isin(own, recordings), np.searchsorted(recordings, own), -1)
        return some.distances(probes, own)

    def _bounded(self, probes: np.ndarray, top: int, own: np.ndarray | None) -> np.ndarray:
        """People whose mean distance may be one of the `top` least, rounding of float32 products allowed for."""
        low, high = (np.zeros(len(self._by_person[1])) for _ in range(2))
        at_once = max(1, _BLOCK_VALUES // len(self.vectors))
        for start in range(0, len(probes), at_once):
            chosen = probes[start : start + at_once].astype(np.float32)
            squares = chosen @ self.vectors.T
            squares *= -2
            squares += self._squares
            squares += np.einsum('nd,nd->n', chosen, chosen)[:, None]
            least = self._of_people(squares, None if own is None else own[start : start + at_once]).astype(np.float64)
            low += np.sqrt(np.maximum(least - _ROUNDING, 0)).sum(axis=0)
            high += np.sqrt(np.maximum(least + _ROUNDING, 0)).sum(axis=0)
        return np.flatnonzero(low <= np.partition(high, top - 1)[top - 1])

    def _proposed(self, probes: np.ndarray, top: int, own: np.ndarray | None) -> np.ndarray:
        """People of the rows that the index finds, at least `top` of them."""
        k = _PROPOSED
        while True:
            rows = self.index.nearest(probes, k)
            recordings = np.where(rows < 0, -1, self.recordings[rows])
            counts = (rows >= 0) & (True if own is None else recordings != own[:, None])
            people = np.unique(self.people[recordings[counts]])
            if len(people) >= top:
                return people
            if k >= len(self.vectors) or (rows < 0).any(axis=1).all():  # the cells hold no more
                return self._bounded(probes, top, own)
            k = min(8 * k, len(self.vectors))

    def recall(self, probes: int = RECALLED) -> float:
        """How often the index proposes who is nearest to a sequence of the gallery, its own recording left out."""
        found = []
        for row in spread(len(self.vectors), probes):
            probe, own = self.vectors[[row]], self.recordings[[row]]
            people = self._bounded(probe, 1, own)
            nearest = people[self._distances_to(people, probe, own).argmin()]
            found.append(nearest in self._proposed(probe, 1, own))
        return float(np.mean(found))


def leave_one_out(enrolled: Enrolled) -> Mapping[str, OpenSet]:
    """Every recording as a probe of all others, by 'sequence' and by 'recording'; at least two people are needed.

    It is asked twice: as a known one, with its person's other recordings in the gallery, if there are any; and as a
    stranger's, with nothing of its person there. Nothing but the gallery is looked at. Of large galleries some
    sequences of each recording are the probe, and of very large ones some recordings, so that about a minute suffices.
    """
    probes = _probes(enrolled)
    recordings = enrolled.recordings[probes]
    people = enrolled.people[recordings]
    distances = enrolled.distances(enrolled.vectors[probes], recordings)
    means, shown, _ = pool_recordings(distances, people, recordings)
    return {SEQUENCE: _asked_twice(distances, people), RECORDING: _asked_twice(means, shown)}


def _probes(enrolled: Enrolled) -> np.ndarray:
    """The sequences that `leave_one_out` asks for, evenly spaced in their recordings; all where there are few."""
    sizes = np.bincount(enrolled.recordings)
    most = max(_MOST_PAIRS // len(enrolled.vectors), _ENOUGH)
    each = max(most // len(sizes), _ENOUGH)
    drawn = np.sort(np.random.default_rng(0).permutation(len(sizes))[: most // each])
    firsts = np.cumsum(sizes) - sizes
    spaced = [firsts[k] + spread(sizes[k], each) for k in drawn]
    return np.concatenate(spaced)


def _asked_twice(distances: np.ndarray, people: np.ndarray) -> OpenSet:
    rows = np.arange(len(people))
    again = np.isfinite(distances[rows, people])
    without = distances.copy()
    without[rows, people] = np.inf
    strangers = np.full(len(people), -1)
    return OpenSet.of(np.concatenate([distances[again], without]), np.concatenate([people[again], strangers]))
