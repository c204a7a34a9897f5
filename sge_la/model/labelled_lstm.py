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
from sge_la.model.losses import cross_entropy
from sge_la.model.lstm import LayerTape, bias_gradient, kernel_gradient, lstm_layer, lstm_layer_gradient, transposed
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


def encoder_layers(params: dict, inputs) -> tuple[LayerTape, ...]:
    """The encoder alone.

    `inputs`: `[A, T, B, J]`, metres. Returns the tapes of its layers; the last one's `states` are the encoder's states
    h `[A, T, B, U]`.
    """
    tapes, frames = [], inputs
    for name in _layers(params):
        tape, _ = lstm_layer(frames, *linear_map(params, name))
        tapes.append(tape)
        frames = tape.states
    return tuple(tapes)


def _layers(params: dict) -> list[str]:
    return [name for name in _LAYERS if LINEAR_MAPS[name][0] in params]


def logits(params: dict, inputs):
    """The answers of the softmax before it: `[B, C]`.

    `inputs`: `[A, T, B, J]`, metres.
    """
    return _logits(params, _means(encoder_layers(params, inputs)))


def _means(tapes: tuple[LayerTape, ...]):
    """The mean of the last layer's states over time: `[A, B, U]`."""
    return ops.mean(tapes[-1].states, axis=1)


def _logits(params: dict, means):
    return ops.sum(matmul(means, params[KERNEL]) + params[BIAS][:, None], axis=0)


def loss_and_gradients(params: dict, inputs, labels) -> tuple[tuple, dict]:
    """Mean softmax cross-entropy of a batch, and its gradient, written out.

    `inputs`: `[A, T, B, J]`; `labels`: class indices `[B]`. Returns ((loss, logits `[B, C]`), gradients `[A, ...]` by
    variable name).
    """
    tapes = encoder_layers(params, inputs)
    means, states = _means(tapes), tapes[-1].states
    answers = _logits(params, means)
    batch, classes = answers.shape
    d_logits = (ops.softmax(answers, axis=-1) - ops.one_hot(labels, classes, dtype=answers.dtype)) / batch
    d_logits = ops.broadcast_to(d_logits, (means.shape[0], batch, classes))
    grads = {KERNEL: kernel_gradient(means, d_logits, params[KERNEL].shape), BIAS: bias_gradient(d_logits, classes)}
    d_means = matmul(d_logits, transposed(params[KERNEL])) / states.shape[1]
    d_states = ops.broadcast_to(d_means[:, None], states.shape)
    return (cross_entropy(answers, labels), answers), {**grads, **_encoder_gradients(params, tapes, d_states)}


def _encoder_gradients(params: dict, tapes: tuple[LayerTape, ...], d_states) -> dict:
    nothing = (ops.zeros_like(d_states[:, 0]),) * 2
    grads = {}
    for name, tape in zip(reversed(_layers(params)), reversed(tapes), strict=True):
        dz, d_states = lstm_layer_gradient(
            tape, linear_map(params, name)[0], d_states, nothing, lowest=name == _LAYERS[0]
        )
        shape = tuple(linear_map(params, name)[0].shape)
        found = kernel_gradient(tape.operands, dz, shape), bias_gradient(dz, shape[2])
        grads |= dict(zip(LINEAR_MAPS[name], found, strict=True))
    return grads
