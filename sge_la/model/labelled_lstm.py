"""An LSTM of one or two layers trained with labels: the first row (GE) of the IJCAI paper's ablation, and baselines.

With two layers it is the gait encoder without decoder and pretext task. x, y and z have an LSTM each, as everywhere
here, and one softmax reads the means of their states over time side by side; the paper says nothing of either: this is
our reading. Arrays: A axes, T frames, B sequences, J joints, U units, C identities.
"""

from __future__ import annotations

import numpy as np

from sge_la.backends import ops
from sge_la.model.config import LINEAR_MAPS
from sge_la.model.gait_encoder import linear_map
from sge_la.model.losses import cross_entropy_and_gradients
from sge_la.model.lstm import lstm_layer
from sge_la.model.products import matmul

KERNEL, BIAS = 'softmax/kernel', 'softmax/bias'
_LAYERS = ('encoder_0', 'encoder_1')


def shapes(joints: int, units: int, classes: int, layers: int = 2) -> dict[str, tuple[int, ...]]:
    """The variables of one axis; the axes' biases of the softmax are added up."""
    found = {}
    for name, width in zip(_LAYERS[:layers], (joints, units), strict=False):
        kernel, bias = LINEAR_MAPS[name]
        found |= {kernel: (width + units, 4 * units), bias: (4 * units,)}
    return {**found, KERNEL: (units, classes), BIAS: (classes,)}


def initial_params(
    joints: int, units: int, classes: int, seed: int, axes: int = 3, *, layers: int = 2
) -> dict[str, np.ndarray]:
    """Starting values: LSTM kernels uniform ±0.1, alike in all axes, as the gait encoder's; the softmax Glorot uniform.

    Returns float32 arrays `[A, ...]`.
    """
    params = {}
    for position, (name, shape) in enumerate(shapes(joints, units, classes, layers).items()):
        values = np.zeros((axes, *shape))
        if name == KERNEL:
            limit = np.sqrt(6 / (axes * units + classes))
            values = np.random.default_rng([seed, position]).uniform(-limit, limit, (axes, *shape))
        elif len(shape) == 2:
            values += np.random.default_rng([seed, *shape]).uniform(-0.1, 0.1, shape)
        params[name] = values.astype(np.float32)
    return params


def encoder_states(params: dict, inputs):
    """The encoder alone.

    `inputs`: `[A, T, B, J]`, metres. Returns the last layer's states h `[A, T, B, U]`.
    """
    states = inputs
    for name in _LAYERS:
        if LINEAR_MAPS[name][0] in params:
            states, _ = lstm_layer(states, *linear_map(params, name))
    return states


def logits(params: dict, inputs):
    """The answers of the softmax before it: `[B, C]`.

    `inputs`: `[A, T, B, J]`, metres.
    """
    means = ops.mean(encoder_states(params, inputs), axis=1)
    return ops.sum(matmul(means, params[KERNEL]) + params[BIAS][:, None], axis=0)


def loss_and_gradients(params: dict, inputs, labels) -> tuple[tuple, dict]:
    """Mean softmax cross-entropy of a batch, and its gradient.

    `inputs`: `[A, T, B, J]`; `labels`: class indices `[B]`. Returns ((loss, logits `[B, C]`), gradients `[A, ...]` by
    variable name).
    """
    return cross_entropy_and_gradients(logits, params, inputs, labels)
