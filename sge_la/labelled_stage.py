"""Training encoders with labels (the ablation's first row, and baselines), scoring them, and reading run folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from keras import ops
from tqdm import tqdm

from sge_la import backends, checkpoints
from sge_la.errors import UserError
from sge_la.layout import AXES
from sge_la.model import labelled_lstm, products
from sge_la.model.adam import adam_step
from sge_la.model.gait_encoder import axis_major
from sge_la.training import LEARNING_RATE, NotFinite, TrainingState, encoder_batches

_SCORED_AT_ONCE = 2048


@cache
def _step(precision: str) -> Callable:
    def step(state, inputs, labels):
        params, first, second, number = state
        number = number + 1
        with products.precision(precision):
            (loss, logits), grads = labelled_lstm.loss_and_gradients(params, axis_major(inputs), labels)
        correct = ops.mean(ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, 'int32')), 'float32'))
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
    precision: str = products.FLOAT32,
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
    batches, labels = encoder_batches(rows, batch_size), np.ascontiguousarray(labels, np.int32)
    run = backends.current().epoch_runner(_step(precision), lambda chosen: (skeletons[chosen], labels[chosen]))
    held = (state.params, state.first, state.second, np.float32(state.step))
    for epoch in range(state.epoch + 1, epochs + 1):
        began = time.perf_counter()
        with tqdm(total=len(batches), desc=f'encoder {epoch}/{epochs}', unit='step', leave=False, disable=None) as bar:
            held, terms = run(held, batches, bar.update)
        bad = np.flatnonzero(~np.isfinite(terms[:, 0]))
        if len(bad):
            raise NotFinite(epoch, int(bad[0]) + 1, '', 'cross-entropy loss')
        line = {'epoch': epoch, 'cross_entropy': float(terms[-1, 0]), 'accuracy': float(terms[-1, 1])}
        line['seconds'] = round(time.perf_counter() - began, 3)
        state = TrainingState(*held[:3], state.step + len(batches), epoch, [*state.history, line])
        yield state


def labelled_scores(params: Mapping[str, np.ndarray], skeletons: np.ndarray) -> np.ndarray:
    """The answers of the network with its own softmax, before it, in blocks of bounded memory.

    Args:
        skeletons: float32 `[N, T, J, 3]`.

    Returns:
        float32 `[N, C]`.
    """
    compiled, block = _compiled_logits(), min(_SCORED_AT_ONCE, len(skeletons))
    params = {name: ops.convert_to_tensor(value) for name, value in params.items()}
    out = np.empty((len(skeletons), params[labelled_lstm.BIAS].shape[1]), np.float32)
    for start in range(0, len(skeletons), max(block, 1)):
        start = min(start, len(skeletons) - block)  # the last block overlaps, so that one compiled shape serves all
        out[start : start + block] = ops.convert_to_numpy(compiled(params, skeletons[start : start + block]))
    return out


@cache
def _compiled_logits() -> Callable:
    return backends.current().compiled(lambda params, inputs: labelled_lstm.logits(params, axis_major(inputs)))


def load_labelled(folders: Mapping[str, Path], joints: int, units: int) -> dict[str, np.ndarray]:
    """The trained encoder without its softmax, arrays `[3, ...]`.

    Raises:
        UserError: a checkpoint is missing, damaged, or does not fit.
    """
    parts = []
    expected = labelled_lstm.shapes(joints, units, 1)
    del expected[labelled_lstm.KERNEL], expected[labelled_lstm.BIAS]
    for axis in AXES:
        tensors = checkpoints.read_checkpoint(folders[axis], slots=False)
        wrong = [name for name, shape in expected.items() if np.shape(tensors.get(name, 0)) != shape]
        if wrong:
            raise UserError(
                f'{folders[axis]} should hold an LSTM that was trained with labels, with {wrong[0]} '
                f'{list(expected[wrong[0]])}, and holds {list(np.shape(tensors.get(wrong[0], 0)))}; '
                'is it of another data set or kind?'
            )
        parts.append(tensors)
    return {name: np.stack([part[name] for part in parts]) for name in expected}
