"""A two-layer LSTM trained with labels: the first row (GE) of the IJCAI paper's ablation.

It is the gait encoder without decoder and pretext task. x, y and z have an LSTM each, as everywhere here, and one
softmax reads the means of their states over time side by side; the paper says nothing of either: this is our reading.
Arrays: A axes, T frames, B sequences, J joints, U units, C identities.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from sge_la.model.gait_encoder import LINEAR_MAPS, linear_map
from sge_la.model.losses import cross_entropy
from sge_la.model.lstm import (
    LayerTape,
    bias_gradient,
    kernel_gradient,
    lstm_layer,
    lstm_layer_gradient,
    project,
    transposed,
)

KERNEL, BIAS = 'softmax/kernel', 'softmax/bias'


def shapes(joints: int, units: int, classes: int) -> dict[str, tuple[int, ...]]:
    """The variables of one axis; the axes' biases of the softmax are added up."""
    (kernel_0, bias_0), (kernel_1, bias_1) = LINEAR_MAPS['encoder_0'], LINEAR_MAPS['encoder_1']
    return {
        kernel_0: (joints + units, 4 * units),
        bias_0: (4 * units,),
        kernel_1: (2 * units, 4 * units),
        bias_1: (4 * units,),
        KERNEL: (units, classes),
        BIAS: (classes,),
    }


def initial_params(joints: int, units: int, classes: int, seed: int, axes: int = 3) -> dict[str, np.ndarray]:
    """Starting values: LSTM kernels uniform ±0.1, alike in all axes, as the gait encoder's; the softmax Glorot uniform.

    Returns:
        float32 arrays `[A, ...]`.
    """
    params = {}
    for position, (name, shape) in enumerate(shapes(joints, units, classes).items()):
        values = np.zeros((axes, *shape))
        if name == KERNEL:
            limit = np.sqrt(6 / (axes * units + classes))
            values = np.random.default_rng([seed, position]).uniform(-limit, limit, (axes, *shape))
        elif len(shape) == 2:
            values += np.random.default_rng([seed, *shape]).uniform(-0.1, 0.1, shape)
        params[name] = values.astype(np.float32)
    return params


def encoder_layers(params: dict, inputs) -> tuple[LayerTape, LayerTape]:
    """The encoder alone.

    Args:
        inputs: `[A, T, B, J]`, metres.

    Returns:
        The tapes of its two layers; the second's `states` are the encoder's states h `[A, T, B, U]`.
    """
    first, _ = lstm_layer(inputs, *linear_map(params, 'encoder_0'))
    second, _ = lstm_layer(first.states, *linear_map(params, 'encoder_1'))
    return first, second


def loss_and_gradients(params: dict, inputs, labels) -> tuple[tuple, dict]:
    """Mean softmax cross-entropy of a batch, and its gradient, written out.

    Args:
        inputs: `[A, T, B, J]`.
        labels: class indices `[B]`.

    Returns:
        ((loss, logits `[B, C]`), gradients `[A, ...]` by variable name).
    """
    first, second = encoder_layers(params, inputs)
    means = ops.mean(second.states, axis=1)  # [A, B, U]
    logits = ops.sum(ops.matmul(means, params[KERNEL]) + params[BIAS][:, None], axis=0)
    batch, classes = logits.shape
    d_logits = (ops.softmax(logits, axis=-1) - ops.one_hot(labels, classes, dtype=logits.dtype)) / batch
    d_logits = ops.broadcast_to(d_logits, (means.shape[0], batch, classes))
    grads = {KERNEL: kernel_gradient(means, d_logits), BIAS: bias_gradient(d_logits)}
    d_means = ops.matmul(d_logits, transposed(params[KERNEL])) / second.states.shape[1]
    d_states = ops.broadcast_to(d_means[:, None], second.states.shape)
    return (cross_entropy(logits, labels), logits), {**grads, **_encoder_gradients(params, first, second, d_states)}


def _encoder_gradients(params: dict, first: LayerTape, second: LayerTape, d_states) -> dict:
    nothing = (ops.zeros_like(d_states[:, 0]),) * 2
    kernel_0, kernel_1 = linear_map(params, 'encoder_0')[0], linear_map(params, 'encoder_1')[0]
    dz_1 = lstm_layer_gradient(second, kernel_1, d_states, nothing)
    d_first = project(dz_1, transposed(kernel_1[:, : first.states.shape[-1]]))
    dz_0 = lstm_layer_gradient(first, kernel_0, d_first, nothing)
    grads = {}
    for name, tape, dz in (('encoder_0', first, dz_0), ('encoder_1', second, dz_1)):
        kernel, bias = LINEAR_MAPS[name]
        grads |= {kernel: kernel_gradient(tape.operands, dz), bias: bias_gradient(dz)}
    return grads
