"""Training encoders with labels: the ablation's first row, and baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from sge_la.backends import ops
from sge_la.model import labelled_lstm, products
from sge_la.model.adam import adam_step
from sge_la.model.config import FLOAT32
from sge_la.model.gait_encoder import axis_major
from sge_la.model.losses import accuracy
from sge_la.runs.states import TrainingState
from sge_la.training.epochs import LEARNING_RATE, run_epochs, whole_batches
from sge_la.training.together import epoch_runner


@cache
def _step(precision: str) -> Callable:
    def step(state, inputs, labels):
        params, first, second, number = state
        number = number + 1
        with products.precision(precision):
            (loss, logits), grads = labelled_lstm.loss_and_gradients(params, axis_major(inputs), labels)
        correct = accuracy(logits, labels)
        updated = adam_step(params, first, second, grads, number, LEARNING_RATE)
        return (*updated, number), ops.stack([loss, correct])

    return step


def fit_labelled(
    skeletons: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    state: TrainingState,
    *,
    epochs: int,
    batch_size: int,
    precision: str = FLOAT32,
) -> Iterator[TrainingState]:
    """Trains an LSTM with labels; yields the state after every epoch.

    Args:
        skeletons: float32 `[N, T, J, 3]`.
        labels: class indices `[N]`.
        rows: sequences to train on, in order; the last incomplete batch is dropped.
        state: where to go on from.
        epochs: in all.
        batch_size: B.
        precision: of the products, see `sge_la.model.products`.

    Yields:
        The state, whose history has gained `cross_entropy` and `accuracy` of the epoch's last batch, and `seconds`.

    Raises:
        NotFinite: a loss is NaN or infinite.
    """
    batches, labels = whole_batches(rows, batch_size), np.ascontiguousarray(labels, np.int32)

    def line_of(epoch: int, params: dict, terms: np.ndarray) -> dict[str, float]:
        return {'cross_entropy': float(terms[-1, 0]), 'accuracy': float(terms[-1, 1])}

    run = epoch_runner(_step(precision), lambda chosen: (skeletons[chosen], labels[chosen]))
    return run_epochs(run, state, epochs, lambda epoch: batches, line_of, losses=['cross-entropy'], progress='encoder')
