"""The one loop over epochs that every training runs: batches, refusal of numbers that are not finite, history, bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sge_la.backends import ops
from sge_la.errors import UserError, bar
from sge_la.runs.states import NotFinite, TrainingState

LEARNING_RATE = 5e-4


def run_epochs(
    run: Callable,
    state: TrainingState,
    epochs: int,
    batches_of: Callable[[int], np.ndarray],
    line_of: Callable[[int, dict, np.ndarray], dict],
    *,
    losses: Sequence[str],
    axes: Sequence[str] = ('',),
    further: Callable[[int], tuple] = lambda epoch: (),
    progress: str | None = None,
    bar_of_epochs: bool = False,
    after_call: Callable[[int], None] | None = None,
) -> Iterator[TrainingState]:
    """Trains epoch by epoch; yields the state after each.

    Args:
        run: a backend's `epoch_runner`: `(values, batches, tick) -> (values, terms [steps, terms, ...])`; values
            are parameters, both moments, updates so far, and `further`.
        state: where to go on from; epochs that it has are not repeated.
        epochs: in all.
        batches_of: epoch → int64 `[steps, B]`.
        line_of: `(epoch, parameters, terms)` → the epoch's columns of the history.
        losses: what the first terms are called; they must be finite.
        axes: of the terms' last axis.
        further: epoch → what else the step needs.
        progress: what the bar says; None shows none.
        bar_of_epochs: one bar for all epochs instead of one each, where an epoch is short.
        after_call: is told the steps of each call of the compiled step.

    Raises:
        NotFinite: a loss or a weight is NaN or infinite.
    """
    held, shown = (state.params, state.first, state.second), progress is not None
    settings = {'total': epochs, 'initial': state.epoch, 'desc': progress, 'unit': 'epoch'}
    with bar(**settings, shown=shown and bar_of_epochs) as whole:
        for epoch in range(state.epoch + 1, epochs + 1):
            began, batches = time.perf_counter(), batches_of(epoch)
            settings = {'total': len(batches), 'desc': f'{progress} {epoch}/{epochs}', 'unit': 'step'}
            with bar(**settings, shown=shown and not bar_of_epochs) as steps:
                values = (*held, np.float32(state.step), *further(epoch))
                (whole if bar_of_epochs else steps).set_postfix_str('' if state.history else 'compiling')

                def tick(done: int, steps: Any = steps) -> None:
                    steps.set_postfix_str('', refresh=False)
                    steps.update(done)

                values, terms = run(values, batches, after_call or tick)
            held = values[:3]
            found = terms[:, : len(losses)].reshape(len(terms), len(losses), -1)  # one axis where terms have none
            refuse_not_finite(epoch, found, losses, axes)
            refuse_weights(epoch, len(batches), held[0], axes)
            line = {'epoch': epoch, **line_of(epoch, held[0], terms)}
            line['seconds'] = round(time.perf_counter() - began, 3)
            state = TrainingState(*held, state.step + len(batches), epoch, [*state.history, line])
            whole.update()
            yield state


def whole_batches(rows: np.ndarray, batch_size: int, what: str = 'sequences', flag: str = '--batch_size') -> np.ndarray:
    """Whole batches in the given order, int64 `[steps, batch_size]`; the remainder is dropped, as in the original.

    Raises UserError: there is not one.
    """
    steps = len(rows) // batch_size
    if steps == 0:
        raise UserError(
            f'training needs at least one batch of {batch_size} {what}, found {len(rows)} {what}: '
            f'use {flag} {max(2, len(rows))} or less'
        )
    return np.asarray(rows, np.int64)[: steps * batch_size].reshape(steps, batch_size)


def refuse_not_finite(epoch: int, terms: np.ndarray, names: Sequence[str], axes: Sequence[str], step: int = 1) -> None:
    """Looks at losses `[steps, terms, axes]`; `step` is the number of the first."""
    bad = np.argwhere(~np.isfinite(terms))
    if len(bad):
        row, term, axis = bad[0]
        raise NotFinite(epoch, int(row) + step, axes[axis], f'{names[term]} loss')


def refuse_weights(epoch: int, step: int, params: dict, axes: Sequence[str] = ('',)) -> None:
    """Losses are those before the last update, which may have spoilt what is to be kept and gone on from."""
    for value in params.values():
        if not bool(ops.all(ops.isfinite(value))):  # where it lies
            bad = np.argwhere(~np.isfinite(ops.convert_to_numpy(value)))
            raise NotFinite(epoch, step, axes[bad[0][0]] if len(axes) > 1 else '', 'weights')
