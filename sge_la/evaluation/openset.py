"""Open-set identification: how often enrolled people are recognised, and how often a stranger is taken for one.

A probe is answered by the nearest person of the gallery if that distance is at most a threshold, and else by 'unknown'.
It is known if its person is enrolled. The measures are those of P. J. Phillips, P. Grother and R. Micheals, "Evaluation
Methods in Face Recognition" (Handbook of Face Recognition, Springer), for open-set identification at rank 1:

- DIR, detection and identification rate: the share of known probes whose own person is nearest, within the threshold;
- FAR, false accept rate: the share of unknown probes that have somebody within the threshold.

NIST calls FAR the false positive identification rate (FPIR), and 1 − DIR the false negative one (FNIR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sge_la.evaluation.intervals import Interval, bootstrap_measures

FARS = (0.001, 0.01, 0.1)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Det:
    """The detection error trade-off: a point for each distance that occurs, after one that accepts nobody.

    `thresholds` float64 [D], rising, the first −inf; `far` and `fnir` = 1 − DIR at each; `detected`: the share of known
    probes that have anybody within the threshold, right or wrong.
    """

    thresholds: np.ndarray
    far: np.ndarray
    fnir: np.ndarray
    detected: np.ndarray


@dataclass(frozen=True, eq=False)
class OpenSet:
    """Answered probes.

    `distances` float64 [P], to the nearest person; `right` bool [P], whether that is the probe's own, and nobody else
    is as near; `known` bool [P], whether the own person is enrolled.
    """

    distances: np.ndarray
    right: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, distances: np.ndarray, own: np.ndarray) -> OpenSet:
        """From distances to people, [P, people], and the place of each probe's own person there, −1 for a stranger."""
        known, rows = own >= 0, np.arange(len(own))
        others = distances.copy()
        others[rows[known], own[known]] = np.inf
        right = known & (distances[rows, own] < others.min(axis=1))
        return cls(distances.min(axis=1), right, known)

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Probes by distance, and the places among them where the distances rise."""
        order = np.argsort(self.distances, kind='stable')
        return order, np.flatnonzero(np.diff(self.distances[order], append=np.inf) > 0)

    def det(self, weights: np.ndarray | None = None) -> Det:
        """The whole trade-off; `weights` [P]: how often each probe counts.

        Raises ValueError: no known or no unknown probe counts.
        """
        order, ends = self._order
        weights = np.ones(len(self.known)) if weights is None else weights

        def shares(chosen: np.ndarray, among: np.ndarray) -> np.ndarray:
            total = (weights * among).sum()
            if total == 0:
                raise ValueError('both known and unknown probes are needed')
            return np.concatenate([[0.0], np.cumsum((weights * chosen)[order])[ends] / total])

        return Det(
            np.concatenate([[-np.inf], self.distances[order][ends]]),
            far=shares(~self.known, ~self.known),
            fnir=1 - shares(self.right, self.known),
            detected=shares(self.known, self.known),
        )

    def measures(self, weights: np.ndarray | None = None) -> dict[str, float]:
        """'dir_at_0.01' and so on, 'eer' and 'auroc'.

        DIR at a FAR is the largest at any threshold whose FAR is no larger. The equal error rate is the mean of FAR and
        1 − DIR at the point where they differ least. AUROC is the probability that a known probe is nearer to its
        nearest person than an unknown one to its, equal distances counting half.
        """
        det = self.det(weights)
        found = {f'dir_at_{far:g}': float(1 - det.fnir[_last(det.far, far)]) for far in FARS}
        nearest = int(np.abs(det.far - det.fnir).argmin())
        steps, heights = np.diff(det.far), (det.detected[1:] + det.detected[:-1]) / 2
        return {
            **found,
            'eer': float(det.far[nearest] + det.fnir[nearest]) / 2,
            'auroc': float((steps * heights).sum()),
        }

    def intervals(self, groups: np.ndarray, *, repeats: int = 1000, seed: int = 0) -> Mapping[str, Interval]:
        """The measures with intervals; known and unknown groups (integers [P], recordings) are drawn apart.

        Every resample has thresholds of its own, so that the FAR is kept in each.
        """
        return bootstrap_measures(self.measures, groups, strata=self.known, repeats=repeats, seed=seed)

    def at(self, threshold: float) -> tuple[float, float]:
        """(DIR, FAR) at a threshold that was chosen elsewhere."""
        accepted = self.distances <= threshold
        return float((accepted & self.right)[self.known].mean()), float(accepted[~self.known].mean())


def threshold_at(strangers: np.ndarray, far: float) -> float:
    """The threshold that accepts no more than a share `far` of strangers, from their distances to the nearest person.

    It lies just below the distance of the first stranger who must not be accepted.
    """
    ordered = np.sort(np.asarray(strangers, np.float64))
    allowed = int(far * len(ordered) + _ROUNDING)
    if allowed >= len(ordered):
        return float(ordered[-1])
    return float(np.nextafter(ordered[allowed], -np.inf))


def _last(far: np.ndarray, most: float) -> int:
    return int(np.searchsorted(far, most + _ROUNDING, 'right')) - 1
