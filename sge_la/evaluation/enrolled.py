"""Enrolled people: how far a probe is from each of them, and where among their own recordings a stranger begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sge_la.evaluation.matching import distance_blocks, pool_recordings
from sge_la.evaluation.openset import OpenSet

SEQUENCE, RECORDING = 'sequence', 'recording'
# Of vectors that `leave_one_out` compares, and sequences of a recording that are enough.
_MOST_PAIRS, _ENOUGH = 3 * 10**8, 4


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

    def distances(self, probes: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """The Euclidean distance of each probe [n, D], of unit length, to the nearest sequence of each person.

        `own` int64 [n]: the recording that is left out for each, its own, or −1; a person with no other one is at
        infinity.
        Returns float64 [n, P], from 0 to 2. Raises UserError: nothing to compare, or a value is not finite.
        """
        starts = np.searchsorted(self.recordings, np.arange(len(self.people)))
        order, firsts = self._by_person
        out = np.empty((len(probes), len(firsts)))
        for start, found in distance_blocks(probes, self.vectors):
            nearest, rows = np.minimum.reduceat(found, starts, axis=1), slice(start, start + len(found))
            if own is not None:
                nearest[own[rows, None] == np.arange(len(self.people))] = np.inf
            out[rows] = np.minimum.reduceat(nearest[:, order], firsts, axis=1)
        return out


def of_recordings(distances: np.ndarray, people: np.ndarray, recordings: np.ndarray) -> tuple[np.ndarray, ...]:
    """The mean distance of each recording's sequences to each person: [K, P], people [K] and recordings [K]."""
    return pool_recordings(distances, people, recordings)


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
    pooled = of_recordings(distances, people, recordings)
    return {SEQUENCE: _asked_twice(distances, people), RECORDING: _asked_twice(*pooled[:2])}


def _probes(enrolled: Enrolled) -> np.ndarray:
    """The sequences that `leave_one_out` asks for, evenly spaced in their recordings; all where there are few."""
    sizes = np.bincount(enrolled.recordings)
    most = max(_MOST_PAIRS // len(enrolled.vectors), _ENOUGH)
    each = max(most // len(sizes), _ENOUGH)
    drawn = np.sort(np.random.default_rng(0).permutation(len(sizes))[: most // each])
    firsts = np.cumsum(sizes) - sizes
    spaced = [firsts[k] + np.unique(np.linspace(0, sizes[k] - 1, each).round().astype(np.int64)) for k in drawn]
    return np.concatenate(spaced)


def _asked_twice(distances: np.ndarray, people: np.ndarray) -> OpenSet:
    rows = np.arange(len(people))
    again = np.isfinite(distances[rows, people])
    without = distances.copy()
    without[rows, people] = np.inf
    strangers = np.full(len(people), -1)
    return OpenSet.of(np.concatenate([distances[again], without]), np.concatenate([people[again], strangers]))
