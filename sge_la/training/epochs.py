"""What the trainings of this folder share: the rate, batches, and the refusal of numbers that are not finite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from sge_la.errors import UserError
from sge_la.runs.states import NotFinite

LEARNING_RATE = 5e-4


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


def refuse_not_finite(epoch: int, terms: np.ndarray, names: Sequence[str], axes: Sequence[str], step: int = 1) -> None:
    """Looks at losses `[steps, terms, axes]`; `step` is the number of the first."""
    bad = np.argwhere(~np.isfinite(terms))
    if len(bad):
        row, term, axis = bad[0]
        raise NotFinite(epoch, int(row) + step, axes[axis], f'{names[term]} loss')


def refuse_weights(epoch: int, step: int, params: dict, axes: Sequence[str] = ()) -> None:
    """Losses are those before the last update, which may have spoilt what is to be kept and gone on from."""
    for value in params.values():
        bad = np.argwhere(~np.isfinite(ops.convert_to_numpy(value)))
        if len(bad):
            raise NotFinite(epoch, step, axes[bad[0][0]] if axes else '', 'weights')
