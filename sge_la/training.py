"""The two stages of training: gait encoders on pretext tasks, then the recognition network on their features.

Arrays in, arrays out: nothing here knows flags or files.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from keras import ops
from tqdm import tqdm

from sge_la import backends
from sge_la.cages import release_pages
from sge_la.errors import UserError
from sge_la.layout import AXES
from sge_la.model import gait_encoder, products, recognition
from sge_la.model.adam import adam_step
from sge_la.model.gait_encoder import EncoderConfig
from sge_la.model.gradients import losses, losses_and_gradients
from sge_la.model.losses import l2_loss
from sge_la.pretext import Pretext

LEARNING_RATE = 5e-4
CLIP = 5.0
TERMS = ('reconstruction', 'locality', 'contrastive', 'l2')
# Steps of the recognition network in one call: a step takes a fraction of a millisecond, a call almost as much.
RECOGNITION_DISPATCH = 16
# Calls after which the features that were read are given back: some hundred megabytes.
_CALLS_IN_MEMORY = 32


@dataclass
class TrainingState:
    """Everything that training goes on from.

    Attributes:
        params, first, second: parameters and Adam's moments, by variable name.
        step: updates so far.
        epoch: finished epochs.
        history: one dict an epoch.
    """

    params: dict
    first: dict
    second: dict
    step: int = 0
    epoch: int = 0
    history: list[dict] = field(default_factory=list)

    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """The parameters and moments as NumPy arrays."""
        parts = {'params': self.params, 'first': self.first, 'second': self.second}
        return {
            part: {name: ops.convert_to_numpy(value) for name, value in values.items()}
            for part, values in parts.items()
        }


def fresh_state(params: dict[str, np.ndarray]) -> TrainingState:
    """The state before the first step."""
    return TrainingState(
        dict(params),
        {name: np.zeros_like(value) for name, value in params.items()},
        {name: np.zeros_like(value) for name, value in params.items()},
    )


class NotFinite(UserError):
    """A loss or a weight became NaN or infinite.

    Attributes:
        epoch, step: where, counted from 1.
        axis: 'x', 'y' or 'z', or '' for the recognition network.
    """

    def __init__(self, epoch: int, step: int, axis: str, what: str):
        self.epoch, self.step, self.axis = epoch, step, axis
        where = f' of axis {axis}' if axis else ''
        super().__init__(
            f'the {what}{where} became NaN or infinite in epoch {epoch}, step {step}: expected a finite number; '
            "look for absurd coordinates with `python -m sge_la.data.check`, or lower the temperature's extremes (--t)"
        )


def encoder_batches(
    rows: np.ndarray, batch_size: int, what: str = 'sequences', flag: str = '--batch_size'
) -> np.ndarray:
    """Whole batches in the given order, the same every epoch; the remainder is dropped, as in the original.

    Args:
        rows: sequences to train on, in order.

    Returns:
        int64 `[steps, batch_size]`.
    """
    steps = len(rows) // batch_size
    if steps == 0:
        raise UserError(
            f'training needs at least one batch of {batch_size} {what}, found {len(rows)} {what}: '
            f'use {flag} {max(2, len(rows))} or less'
        )
    return np.asarray(rows, np.int64)[: steps * batch_size].reshape(steps, batch_size)


@cache
def encoder_step(config: EncoderConfig) -> Callable:
    """One update of the encoders of x, y and z: Adam on all terms of the cost.

    Returns:
        `(state, inputs [B, T, J, 3], targets) -> (state, terms [4, 3])`; the state is (parameters, Adam's two moments,
        number of updates), the terms are `TERMS` by axis, before the update.
    """

    def step(state, inputs, targets):
        params, first, second, number = state
        number = number + 1
        inputs, targets = gait_encoder.axis_major(inputs), gait_encoder.axis_major(targets)
        terms, grads = losses_and_gradients(config, params, inputs, targets)
        terms['l2'] = l2_loss(params, config.l2)
        updated = adam_step(params, first, second, grads, number, LEARNING_RATE, l2=config.l2, clip=CLIP)
        return (*updated, number), ops.stack([terms[name] for name in TERMS])

    return step


@cache
def _encoder_validation(config: EncoderConfig) -> Callable:
    def terms(params, inputs, targets):
        found = losses(config, params, gait_encoder.axis_major(inputs), gait_encoder.axis_major(targets))
        return ops.stack([found[name] for name in TERMS[:3]])

    return backends.current().compiled(terms)


def fit_encoder(
    config: EncoderConfig,
    pretext: Pretext,
    rows: np.ndarray,
    state: TrainingState,
    *,
    epochs: int,
    batch_size: int = 128,
    validation: np.ndarray | None = None,
    progress: str | None = None,
) -> Iterator[TrainingState]:
    """Stage 1: trains the encoders of x, y and z; yields the state after every epoch.

    Batches are consecutive sequences in the order of `rows`, which the contrastive loss relies on. Adam, rate 0.0005,
    elementwise clip ±5, no decay (the original's schedule has no effect).

    Args:
        config: the encoder's.
        pretext: inputs and targets.
        rows: sequences to train on, in order.
        state: where to go on from; `fresh_state(initial_params(...))` at the beginning.
        epochs: in all; those that `state` already has are not repeated.
        batch_size: B.
        validation: sequences of the "validation" losses; the first 128 of `rows` as in the original.
        progress: what the bar says; None shows none.

    Yields:
        The state, whose history has gained one dict: for every axis the last batch's losses (`reconstruction_x`, ...)
        and the validation losses (`validation_reconstruction_x`, ...), and `seconds`.

    Raises:
        NotFinite: a loss or a weight is NaN or infinite.
    """
    batches = encoder_batches(rows, batch_size)
    validation = rows[:128] if validation is None else validation
    validate = _encoder_validation(config)
    run = backends.current().epoch_runner(encoder_step(config), lambda r: (pretext.inputs(r), pretext.targets(r)))
    held = (state.params, state.first, state.second, np.float32(state.step))
    for epoch in range(state.epoch + 1, epochs + 1):
        began = time.perf_counter()
        with tqdm(
            total=len(batches),
            desc=f'{progress} {epoch}/{epochs}',
            unit='step',
            leave=False,
            disable=None if progress else True,
        ) as bar:
            held, terms = run(held, batches, bar.update)
        _refuse_not_finite(epoch, terms, TERMS, AXES)
        _refuse_weights(epoch, len(batches), held[0], AXES)
        checked = ops.convert_to_numpy(validate(held[0], pretext.inputs(validation), pretext.targets(validation)))
        _refuse_not_finite(epoch, checked[None], [f'validation {name}' for name in TERMS[:3]], AXES, len(batches))
        line = {f'{name}_{axis}': float(terms[-1, i, a]) for i, name in enumerate(TERMS) for a, axis in enumerate(AXES)}
        line |= {
            f'validation_{name}_{axis}': float(checked[i, a])
            for i, name in enumerate(TERMS[:3])
            for a, axis in enumerate(AXES)
        }
        line = {'epoch': epoch, **line, 'seconds': round(time.perf_counter() - began, 3)}
        state = TrainingState(*held[:3], state.step + len(batches), epoch, [*state.history, line])
        yield state


def _refuse_not_finite(epoch: int, terms: np.ndarray, names: Sequence[str], axes: Sequence[str], step: int = 1) -> None:
    """Looks at losses `[steps, terms, axes]`; `step` is the number of the first."""
    bad = np.argwhere(~np.isfinite(terms))
    if len(bad):
        row, term, axis = bad[0]
        raise NotFinite(epoch, int(row) + step, axes[axis], f'{names[term]} loss')


def _refuse_weights(epoch: int, step: int, params: dict, axes: Sequence[str] = ()) -> None:
    """Losses are those before the last update, which may have spoilt what is to be kept and gone on from."""
    for value in params.values():
        bad = np.argwhere(~np.isfinite(ops.convert_to_numpy(value)))
        if len(bad):
            raise NotFinite(epoch, step, axes[bad[0][0]] if axes else '', 'weights')


def recognition_step(state, features, labels, rate: float = LEARNING_RATE):
    """One update of the recognition network: Adam; the original's clipping has no effect there."""
    params, first, second, number = state
    number = number + 1
    (loss, logits), grads = recognition.loss_and_gradients(params, features, labels)
    correct = ops.mean(ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, 'int32')), 'float32'))
    updated = adam_step(params, first, second, grads, number, rate)
    return (*updated, number), ops.stack([loss, correct])


@cache
def _recognition_step(rate: float, precision: str) -> Callable:
    def step(state, features, labels):
        with products.precision(precision):
            return recognition_step(state, features, labels, rate)

    return step


def fit_recognition(
    features: np.ndarray,
    labels: np.ndarray,
    state: TrainingState,
    *,
    epochs: int,
    batch_size: int = 128,
    rate: float = LEARNING_RATE,
    precision: str = products.FLOAT32,
    progress: str | None = None,
) -> Iterator[TrainingState]:
    """Stage 2: trains the recognition network; yields the state after every epoch.

    Args:
        features: float32 `[R, D]` in the order of training, which is the same every epoch; may be a memory map. The
            last incomplete batch is dropped.
        labels: class indices `[R]`.
        state: where to go on from.
        epochs: in all.
        batch_size: rows a step.
        rate: Adam's.
        precision: of the products, see `sge_la.model.products`.
        progress: what the bar says; None shows none.

    Yields:
        The state, whose history has gained `train_loss` and `train_accuracy` of the epoch's last batch, and `seconds`.

    Raises:
        NotFinite: as `fit_encoder`.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    batches = encoder_batches(np.arange(len(features)), batch_size, 'rows', '--rn_batch_size')
    run = backends.current().epoch_runner(
        _recognition_step(rate, precision), lambda r: (features[r], labels[r]), RECOGNITION_DISPATCH
    )
    held = (state.params, state.first, state.second, np.float32(state.step))
    calls = itertools.count(1)

    def tick(steps: int) -> None:
        if next(calls) % _CALLS_IN_MEMORY == 0:
            release_pages(features)

    with tqdm(
        total=epochs, initial=state.epoch, desc=progress, unit='epoch', leave=False, disable=None if progress else True
    ) as bar:
        for epoch in range(state.epoch + 1, epochs + 1):
            began = time.perf_counter()
            held, terms = run(held, batches, tick)
            _refuse_not_finite(epoch, terms[:, :1, None], ['cross-entropy'], [''])
            _refuse_weights(epoch, len(batches), held[0])
            loss, accuracy = map(float, terms[-1])
            line = {'epoch': epoch, 'train_loss': loss, 'train_accuracy': accuracy}
            line['seconds'] = round(time.perf_counter() - began, 3)
            state = TrainingState(*held[:3], state.step + len(batches), epoch, [*state.history, line])
            bar.update()
            yield state


LOGIT_ROWS = 4096


def logits(params: dict, features: np.ndarray, compiled: Callable | None = None) -> np.ndarray:
    """The recognition network's answers: of arrays in blocks of bounded memory, of what lies on a device at once.

    Args:
        features: `[R, D]`, any float dtype, may be a memory map; or what `backends.at_hand` made of it.
        compiled: from `compiled_recogniser`; None computes in float32.

    Returns:
        float32 `[R, C]`.
    """
    compiled = compiled or compiled_recogniser()
    params = {name: ops.convert_to_tensor(value) for name, value in params.items()}
    if ops.is_tensor(features):
        return ops.convert_to_numpy(compiled(params, ops.cast(features, 'float32')))
    block = min(LOGIT_ROWS, len(features))
    out = np.empty((len(features), params['Variable'].shape[0]), np.float32)
    for start in range(0, len(features), max(block, 1)):
        chosen = np.asarray(features[start : start + block], np.float32)
        filled = np.pad(chosen, ((0, block - len(chosen)), (0, 0)))
        out[start : start + block] = ops.convert_to_numpy(compiled(params, filled))[: len(chosen)]
    return out


def compiled_recogniser(precision: str = products.FLOAT32) -> Callable:
    """`recognise`, compiled once for each precision of the products."""
    return _compiled_recogniser(precision)


@cache
def _compiled_recogniser(precision: str) -> Callable:
    def recognise(params, features):
        with products.precision(precision):
            return recognition.recognise(params, features)

    return backends.current().compiled(recognise)
