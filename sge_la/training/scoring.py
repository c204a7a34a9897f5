"""What an epoch of the recognition network scores on a set: on the host, or on the device where the features lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sge_la import backends
from sge_la.backends import ops
from sge_la.evaluation import metrics
from sge_la.evaluation.scores import LOGIT_ROWS, compiled_recogniser, logits
from sge_la.features.files import Features
from sge_la.model import products, recognition


class EpochScore(NamedTuple):
    """Rank-1 over sequences, the mean cross-entropy of the rows, and all scores, which are fetched if asked for."""

    accuracy: float
    loss: float
    sequences: Callable[[], metrics.SequenceScores]


def scorer(features: Features, length: int, precision: str, **rules: Any) -> Callable[[dict], EpochScore]:
    """What scores a set after each epoch: `(parameters of the network) -> EpochScore`.

    `features`: of the set; their X may be what `backends.at_hand` made of it; `length`, `rules`: as of
    `metrics.counted_windows`; `precision`: of the products. Raises UserError: as `metrics.counted_windows`.
    """
    windows = metrics.counted_windows(features.labels, length, **rules)
    if ops.is_tensor(features.X):
        return _on_device(features, windows, precision)
    compiled = compiled_recogniser(precision)

    def score(params: dict) -> EpochScore:
        answers = logits(params, features.X, compiled)
        found = metrics.window_scores(answers, windows)
        return EpochScore(sequence_accuracy(found), cross_entropy(answers, features.labels), lambda: found)

    return score


def _on_device(features: Features, windows: metrics.Windows, precision: str) -> Callable[[dict], EpochScore]:
    """`scorer` of features on a device: two numbers come back, and the scores if somebody wants them."""
    compiled = _compiled_scores(precision)
    constants = [ops.convert_to_tensor(array.astype(np.int32)) for array in (features.labels, windows.rows)]
    constants.append(ops.convert_to_tensor(windows.labels.astype(np.int32)))

    def score(params: dict) -> EpochScore:
        params = {name: ops.convert_to_tensor(value) for name, value in params.items()}
        scores, right, loss = compiled(params, features.X, *constants)

        def sequences() -> metrics.SequenceScores:
            return metrics.SequenceScores(**vars(windows), scores=ops.convert_to_numpy(scores))

        return EpochScore(int(right) / len(windows.labels), float(loss), sequences)

    return score


@cache
def _compiled_scores(precision: str) -> Callable:
    def scored(params, features, labels, rows, window_labels):
        with products.precision(precision):
            answers = recognition.recognise(params, ops.cast(features, 'float32'))
        scores = ops.mean(ops.take(answers, rows, axis=0), axis=1)
        right = ops.sum(ops.cast(ops.equal(ops.argmax(scores, axis=-1), window_labels), 'int32'))
        losses = ops.logsumexp(answers, axis=-1) - ops.take_along_axis(answers, labels[:, None], axis=-1)[:, 0]
        return scores, right, ops.mean(losses)

    return backends.compiled(scored)


def sequence_accuracy(found: metrics.SequenceScores) -> float:
    """Rank-1 over sequences."""
    return float(np.mean(found.scores.argmax(axis=1) == found.labels))


def cross_entropy(answers: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross-entropy of logits float32 [R, C]."""
    losses = np.empty(len(labels), np.float32)
    for start in range(0, len(labels), LOGIT_ROWS):  # what lies between stays in the caches
        block = slice(start, start + LOGIT_ROWS)
        rows, right = answers[block], labels[block]
        highest = rows.max(axis=1)
        total = np.log(np.exp(rows - highest[:, None]).sum(axis=1)) + highest
        losses[block] = total - rows[np.arange(len(right)), right]
    return float(np.mean(losses))
