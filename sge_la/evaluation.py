"""Scores of trained recognition networks: what the original prints, and what it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sge_la import metrics
from sge_la.training import logits


@dataclass(frozen=True)
class Scored:
    """One test set's metrics and the per-sequence scores that they come from."""

    evaluation: metrics.Evaluation
    sequences: metrics.SequenceScores


def score(
    params: dict,
    features: np.ndarray,
    labels: np.ndarray,
    length: int,
    manner: str,
    *,
    batch_size: int = 128,
    drop_incomplete: bool = True,
    faithful: bool = False,
    fill_batch: bool = False,
    compiled: Callable | None = None,
) -> Scored:
    """Answers and metrics of a recognition network on feature rows.

    Args:
        params: the network's.
        features: `[R, D]`, may be a memory map.
        labels: class indices `[R]`.
        length: T, rows in a sequence with 'ap'.
        manner: 'ap' or 'sc'.
        batch_size: rows beyond the last whole batch are dropped, as in the original.
        drop_incomplete: False scores all whole windows instead.
        faithful: divide Rank-n by the batch size for fewer 'sc' rows than a batch, as the original does.
        fill_batch: as in `metrics.sequence_scores`.
    """
    answers = logits(params, features, compiled)
    settings = {'batch_size': batch_size, 'drop_incomplete': drop_incomplete, 'fill_batch': fill_batch}
    found = metrics.sequence_scores(answers, labels, length, manner=manner, **settings)
    divisor = found.original_rank_divisor if faithful else None
    return Scored(metrics.evaluate_scores(found.scores, found.labels, rank_divisor=divisor), found)


def summary(evaluation: metrics.Evaluation) -> dict[str, Any]:
    """The metrics as JSON has them."""
    return {
        'rank1': evaluation.rank1,
        'nauc': evaluation.nauc if np.isfinite(evaluation.nauc) else None,
        'rank_n': evaluation.rank_n.tolist(),
        'sequences': evaluation.num_sequences,
        'classes': evaluation.num_classes,
        'chance': 1 / evaluation.num_classes,
    }


def one_line(title: str, found: dict[str, Any], note: str = '') -> str:
    """`title: Rank-1 Accuracy: ..., nAUC: ..., n sequences` with a note in brackets."""
    nauc = 'undefined' if found['nauc'] is None else f'{found["nauc"]:.6f}'
    text = f'{title}: Rank-1 Accuracy: {found["rank1"]:.6f}, nAUC: {nauc}, {found["sequences"]} sequences'
    return f'{text} ({note})' if note else text


def collapse_warning(evaluation: metrics.Evaluation) -> str | None:
    """A sentence if the scores do not depend on the sequence, else None."""
    if not evaluation.is_collapsed:
        return None
    return (
        'warning: the scores are the same for every sequence, so the network tells nobody apart and Rank-1 means '
        'nothing; train longer or look at the data with `python -m sge_la.data.check`'
    )
