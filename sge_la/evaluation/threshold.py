"""Where strangers begin: a threshold beyond which nobody is named, and how likely the nearest person is the right one.

Both come from answers that are known to be right, wrong, or a stranger's, and that no test has seen: of a gallery its
own recordings, of a recognition network training recordings of people whom it was trained without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sge_la.evaluation.openset import OpenSet, threshold_at

# The answer for strangers.
UNKNOWN = 'unknown'
# The false accept rate that thresholds are chosen for, where nobody asks for another.
FAR = 0.01


@dataclass(frozen=True)
class Threshold:
    """Where strangers begin.

    `distance`: at most so far is somebody named; `strangers`: distances that it was chosen on; `recognised`: the share
    of known people's recordings that were named rightly at it, None where there were none; `slope`, `offset`: of the
    probability 1 / (1 + exp(slope · distance + offset)) that the nearest person is the right one, None likewise.
    """

    distance: float
    strangers: int
    recognised: float | None = None
    slope: float | None = None
    offset: float | None = None

    @classmethod
    def of(cls, asked: OpenSet, far: float) -> Threshold:
        """From answers of whom it is known who they show, for a false accept rate; strangers must be among them."""
        strangers = asked.distances[~asked.known]
        distance = threshold_at(strangers, far)
        recognised = asked.at(distance)[0] if asked.known.any() else None
        slope, offset = probability(asked) or (None, None)
        return cls(distance, len(strangers), recognised, slope, offset)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], low: float, high: float) -> Threshold:
        """Of what `dataclasses.asdict` gave; `low`, `high`: of the distance.

        Raises TypeError or ValueError: it is no such thing.
        """
        found = cls(**values)
        checked_number(found.distance, low, high)
        if type(found.strangers) is not int or found.strangers < 1:
            raise ValueError('a threshold rests on no distance')
        if found.recognised is not None:
            checked_number(found.recognised, 0, 1)
        if (found.slope is None) != (found.offset is None):
            raise ValueError('a probability has half a curve')
        for value in (found.slope, found.offset):
            if value is not None:
                checked_number(value, -1e9, 1e9)
        return found

    def probability(self, distance: float) -> float | None:
        """How likely the nearest person at this distance is the right one; None where that is not known."""
        if self.slope is None or self.offset is None:
            return None
        return float(1 / (1 + np.exp(np.clip(self.slope * distance + self.offset, -500, 500))))


def checked_number(value: Any, low: float, high: float) -> float:
    """A number of JSON within bounds.

    Raises ValueError: it is none.
    """
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f'{ascii(value)[:40]} is no number from {low} to {high}')
    return float(value)


def probability(asked: OpenSet) -> tuple[float, float] | None:
    """The logistic curve from the distance to the nearest person to how likely that is the right one.

    Platt's scaling with his targets (Advances in Large Margin Classifiers, 1999). Returns (slope, offset) of
    1 / (1 + exp(slope · distance + offset)), for as many strangers as enrolled people among the probes; None where no
    person has two recordings, nobody was recognised, or those who were are no nearer than others.
    """
    from scipy.optimize import minimize  # comes with scikit-learn

    if not asked.right.any():
        return None
    sides = asked.right.sum(), (~asked.right).sum()
    targets = np.where(asked.right, (sides[0] + 1) / (sides[0] + 2), 1 / (sides[1] + 2))
    weights = np.where(asked.known, 1 / asked.known.sum(), 1 / (~asked.known).sum())
    middle, scale = asked.distances.mean(), asked.distances.std() or 1.0
    standard = (asked.distances - middle) / scale

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        exponent = line[0] * standard + line[1]
        slope = weights * (targets - 1 / (1 + np.exp(np.clip(exponent, -500, 500))))
        each = targets * np.logaddexp(0, exponent) + (1 - targets) * np.logaddexp(0, -exponent)
        return float(weights @ each), np.array([slope @ standard, slope.sum()])

    line = minimize(loss, np.zeros(2), jac=True, method='BFGS').x
    if line[0] <= 0:
        return None
    slope = float(line[0]) / scale
    return slope, float(line[1]) - slope * float(middle)
