"""The recognition network of the modern recipe: the original's two layers, trained on whole sequences.

`ap` averages the logits of a sequence's frames, as scoring does, and `sc` joins its frames; either way one answer a
sequence is compared with its name.
"""

from __future__ import annotations

import numpy as np

from sge_la.backends import fused, ops
from sge_la.model.products import matmul
from sge_la.model.recognition import HIDDEN

# Its parameters stand beside the encoders', whose contrast head has the same names in the original.
PREFIX = 'recognition/'
NAMES = ('W1', 'b1', 'W', 'Variable')


def initial_head(width: int, classes: int, seed: int) -> dict[str, np.ndarray]:
    """He's starting values for the hidden layer, Glorot's for the logits; biases 0."""
    rng = np.random.default_rng([seed, width, classes])
    limit = np.sqrt(6 / (HIDDEN + classes))
    values = {
        'W1': rng.normal(0, np.sqrt(2 / width), (width, HIDDEN)),
        'b1': np.zeros(HIDDEN),
        'W': rng.uniform(-limit, limit, (HIDDEN, classes)),
        'Variable': np.zeros(classes),
    }
    return {PREFIX + name: value.astype(np.float32) for name, value in values.items()}


def head_params(params: dict) -> dict:
    """The recognition network's own parameters under the original's names."""
    return {name: params[PREFIX + name] for name in NAMES}


def rows_of(contexts, manner: str):
    """Context vectors `[A, T, B, U]` to rows `[B, T, A·U]` ('ap') or `[B, 1, A·T·U]` ('sc')."""
    axes, length, batch, units = contexts.shape
    if manner == 'ap':
        return ops.reshape(ops.transpose(contexts, (2, 1, 0, 3)), (batch, length, axes * units))
    return ops.reshape(ops.transpose(contexts, (2, 0, 1, 3)), (batch, 1, axes * length * units))


@fused
def kept(shape: tuple[int, ...], step, salt: int, rate: float):
    """A dropout mask: 0 with probability `rate`, else 1 / (1 - rate); the same on every backend.

    Each value's number, update and salt go through an integer hash, since the backends' own generators differ.
    """
    numbers = ops.reshape(ops.cast(ops.arange(int(np.prod(shape)), dtype='int32'), 'uint32'), shape)
    value = numbers * _word(2) + ops.cast(step, 'uint32') * _word(0x9E3779B1) + _word(salt * 0x85EBCA77 % 2**32)
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97), (15, 1)):
        value = ops.bitwise_xor(value, ops.right_shift(value, _word(shift))) * _word(factor)
    uniform = ops.cast(ops.right_shift(value, _word(8)), 'float32') / 2**24
    return ops.cast(uniform >= rate, 'float32') / (1 - rate)


def _word(value: int):
    return ops.convert_to_tensor(np.uint32(value))


def sequence_logits(params: dict, rows, masks=None) -> tuple:
    """Logits of sequences `[B, C]`, the mean of their rows' logits, and the mean of the hidden layer `[B, H]`.

    `params`: of `head_params`; `rows`: `[B, R, D]`; `masks`: dropout masks of rows and hidden layer, or None.
    """
    batch, each, width = rows.shape
    if masks is not None:
        rows = rows * masks[0]
    # One product for all rows, in both directions.
    hidden = ops.relu(matmul(ops.reshape(rows, (batch * each, width)), params['W1']) + params['b1'])
    hidden = ops.reshape(hidden, (batch, each, -1))
    if masks is not None:
        hidden = hidden * masks[1]
    # The last layer is linear, so the mean over rows may be taken before it.
    mean = ops.mean(hidden, axis=1)
    return matmul(mean, params['W']) + params['Variable'], mean
