"""How sure a number is: bootstrap intervals over recordings, repeated runs.

Sequences of one recording are alike and no independent observations: whole recordings (or people, where recordings are
unknown) are drawn with replacement, never single sequences. Percentile intervals; they tell how far the make-up of the
test set moves a number of the given model. What another seed of the training would give is `summarise_runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sge_la.evaluation.matching import MatchResult
from sge_la.evaluation.metrics import label_ranks, nauc

# Columns of the win table that `bootstrap_nauc` holds at once.
_GROUPS_IN_BLOCK = 64


@dataclass(frozen=True)
class Interval:
    """A metric on the test set itself, and the ends between which a share `level` of the resamples lies.

    The ends are nan with fewer than two groups (recordings or people), where nothing can be resampled.
    """

    value: float
    low: float
    high: float
    level: float
    num_groups: int

    def __str__(self) -> str:
        return f'{self.value:.4f}' if np.isnan(self.low) else f'{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]'


@dataclass(frozen=True)
class RunSummary:
    """A metric over runs: mean, sample standard deviation (n − 1), ends of the t interval of the mean.

    All but the mean are nan for a single run.
    """

    mean: float
    sd: float
    low: float
    high: float
    num_runs: int

    def __str__(self) -> str:
        return f'{self.mean:.4f}' if self.num_runs == 1 else f'{self.mean:.4f} ± {self.sd:.4f}'


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, *, repeats: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Interval of a mean over sequences, e.g. of Rank-n hits or of average precisions.

    `values` are numbers or booleans [S], `groups` integers [S], the recording (or person) of each. Equal seeds draw
    equal resamples, for every metric of the same groups.
    """
    values = np.asarray(values, np.float64)
    codes, counts = _group_codes(groups, len(values))
    draws = _draws(len(counts), repeats, seed)
    sums = np.bincount(codes, weights=values, minlength=len(counts))
    return _interval(float(values.mean()), draws @ sums / (draws @ counts), level, len(counts))


def bootstrap_nauc(
    scores: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of nAUC, exactly what `metrics.nauc` gives for every resample of scores [S, C].

    nAUC counts pairs of a right and a wrong score. Their wins are counted once for each pair of groups (i, j), right
    score from i, wrong score from j; a resample in which group g occurs w_g times has Σ w_i W_ij w_j wins. No score is
    sorted again.
    """
    value = nauc(scores, labels)
    codes, counts = _group_codes(groups, len(labels))
    if np.isnan(value):
        return Interval(value, np.nan, np.nan, level, len(counts))
    draws = _draws(len(counts), repeats, seed)
    doubled_wins = np.zeros(repeats)
    for first, wins in _doubled_wins(np.asarray(scores), np.asarray(labels, np.int64), codes, len(counts)):
        doubled_wins += np.sum(draws @ wins * draws[:, first : first + wins.shape[1]], axis=1)
    num_right = draws @ counts
    num_wrong = num_right * (np.shape(scores)[1] - 1)
    return _interval(value, doubled_wins / (2 * num_right * num_wrong), level, len(counts))


def bootstrap_evaluation(
    scores: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    ranks: Sequence[int] = (1, 5),
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of 'rank1', 'rank5' (those of `ranks`) and 'nauc' of scores [S, C]; see `bootstrap_interval`."""
    options: dict[str, Any] = {'repeats': repeats, 'seed': seed, 'level': level}
    places = label_ranks(scores, labels)
    intervals = {f'rank{n}': bootstrap_interval(places < n, groups, **options) for n in ranks}
    intervals['nauc'] = bootstrap_nauc(scores, labels, groups, **options)
    return intervals


def bootstrap_match(
    result: MatchResult,
    probe_groups: np.ndarray,
    *,
    ranks: Sequence[int] = (1, 5, 10),
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of 'rank1', ..., 'mAP' and 'mINP' of a matching; probes are resampled, the gallery stays.

    `probe_groups` are integers [P], the recording (or person) of each probe, those without a right entry included.
    """
    groups = np.asarray(probe_groups)[result.probes]
    values = {f'rank{n}': result.first_rank <= n for n in ranks}
    values |= {'mAP': result.average_precision, 'mINP': result.inverse_negative_penalty}
    options: dict[str, Any] = {'repeats': repeats, 'seed': seed, 'level': level}
    return {name: bootstrap_interval(numbers, groups, **options) for name, numbers in values.items()}


def bootstrap_measures(
    measures: Callable[[np.ndarray | None], Mapping[str, float]],
    groups: np.ndarray,
    *,
    strata: np.ndarray,
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of measures that are no means, such as a rate at a threshold that is itself chosen on the sample.

    `measures`: from how often each of S probes counts, float64 [S] (None: once), to numbers by name; `groups`: integers
    [S]; `strata`: booleans [S]; groups are drawn apart on either side, so that each keeps its number of groups.
    """
    groups, parts = np.asarray(groups), [np.flatnonzero(strata == side) for side in (True, False)]
    coded = [_group_codes(groups[part], len(part)) for part in parts]
    draws = [_draws(len(counts), repeats, [seed, side]) for side, (_, counts) in enumerate(coded)]
    weights, found = np.empty(len(groups)), []
    for repeat in range(repeats):
        for part, (codes, _), drawn in zip(parts, coded, draws, strict=True):
            weights[part] = drawn[repeat, codes]
        found.append(measures(weights))
    fewest = min(len(counts) for _, counts in coded)
    values = {name: np.array([one[name] for one in found]) for name in found[0]}
    total = sum(len(counts) for _, counts in coded) if fewest > 1 else fewest
    return {name: _interval(value, values[name], level, total) for name, value in measures(None).items()}


def summarise_runs(runs: Sequence[Mapping[str, float]], *, level: float = 0.95) -> dict[str, RunSummary]:
    """Mean, standard deviation and t interval of each metric over runs; a metric that some run lacks is left out."""
    if not runs:
        raise ValueError('at least one run is needed')
    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: _summarise(np.array([run[name] for run in runs], np.float64), level) for name in names}


def _summarise(values: np.ndarray, level: float) -> RunSummary:
    num_runs, mean = len(values), float(values.mean())
    if num_runs == 1:
        return RunSummary(mean, np.nan, np.nan, np.nan, 1)
    from scipy.stats import t  # comes with scikit-learn

    sd = float(values.std(ddof=1))
    margin = float(t.ppf((1 + level) / 2, num_runs - 1)) * sd / num_runs**0.5
    return RunSummary(mean, sd, mean - margin, mean + margin, num_runs)


def _doubled_wins(
    scores: np.ndarray, labels: np.ndarray, codes: np.ndarray, num_groups: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first, float64 [groups, b]): twice the wins of each group's right scores over b groups' wrong ones.

    A wrong score x loses to the right scores above it, and half to equal ones. With the right scores sorted, one half
    is lost to all from the first ≥ x on, and one half to all from the first > x on. Counting these two places for each
    x and summing up from below gives what each right score wins.
    """
    by_group = np.argsort(codes, kind='stable')
    scores, labels, codes = scores[by_group], labels[by_group], codes[by_group]
    num_sequences = len(labels)
    own = scores[np.arange(num_sequences), labels]
    by_score = np.argsort(own, kind='stable')
    right, right_codes = own[by_score], codes[by_score]
    starts = np.searchsorted(codes, np.arange(num_groups + 1))
    for first in range(0, num_groups, _GROUPS_IN_BLOCK):
        width = min(_GROUPS_IN_BLOCK, num_groups - first)
        rows = slice(starts[first], starts[first + width])
        column = codes[rows, None] - first
        losses = np.zeros(num_sequences * width, np.int64)
        for side in ('left', 'right'):
            places = np.searchsorted(right, scores[rows], side)
            np.put_along_axis(places, labels[rows, None], num_sequences, axis=1)  # a right score is no wrong one
            cells = (places * width + column).ravel()
            losses += np.bincount(cells, minlength=(num_sequences + 1) * width)[: num_sequences * width]
        wins = np.cumsum(losses.reshape(num_sequences, width), axis=0)
        table = np.zeros((num_groups, width))
        np.add.at(table, right_codes, wins)
        yield first, table


def _group_codes(groups: np.ndarray, num_sequences: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups numbered from 0, and how many sequences each has."""
    groups = np.asarray(groups)
    if groups.shape != (num_sequences,) or num_sequences == 0:
        raise ValueError(f'groups must be [{num_sequences}] with at least one sequence, received {groups.shape}')
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return codes.reshape(-1), counts


def _draws(num_groups: int, repeats: int, seed: int | Sequence[int]) -> np.ndarray:
    """float64 [repeats, groups]: how often each group occurs when as many as there are get drawn with replacement."""
    random = np.random.default_rng(seed)
    return random.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=repeats).astype(np.float64)


def _interval(value: float, resampled: np.ndarray, level: float, num_groups: int) -> Interval:
    if num_groups < 2:
        return Interval(value, np.nan, np.nan, level, num_groups)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, num_groups)
