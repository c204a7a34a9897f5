"""The gait encoder: reverse reconstruction with locality-aware attention, for x, y and z together.

The original trains one encoder for each coordinate axis. They share nothing, so here every array has a leading axis A
and one step trains all three, with the result of three runs. Arrays: A axes, T frames, B sequences, J joints, U units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from sge_la.model.attention import attend, locality_mask
from sge_la.model.losses import consecutive_contrastive_loss, locality_loss, reconstruction_loss
from sge_la.model.lstm import before, lstm_cell, lstm_layer, project, recur

_ENCODER = 'rnn/multi_rnn_cell/cell_{}/lstm_cell/{}'
_DECODER = 'decode/decoder/Attention_Wrapper/'
_DECODER_CELL = _DECODER + 'multi_rnn_cell/cell_{}/lstm_cell/{}'
# Every parameter belongs to a linear map (kernel, bias) under the original's variable names.
LINEAR_MAPS = {
    'encoder_0': (_ENCODER.format(0, 'kernel'), _ENCODER.format(0, 'bias')),
    'encoder_1': (_ENCODER.format(1, 'kernel'), _ENCODER.format(1, 'bias')),
    'memory': ('memory_layer/kernel', None),
    'decoder_0': (_DECODER_CELL.format(0, 'kernel'), _DECODER_CELL.format(0, 'bias')),
    'decoder_1': (_DECODER_CELL.format(1, 'kernel'), _DECODER_CELL.format(1, 'bias')),
    'attention': (_DECODER + 'attention_layer/kernel', None),
    'output': ('decode/decoder/dense/kernel', 'decode/decoder/dense/bias'),
    'head_0': ('W1', 'b1'),
    'head_1': ('W', 'Variable'),
}


@dataclass(frozen=True)
class EncoderConfig:
    """What defines a gait encoder and its losses.

    Attributes:
        length: T.
        joints: J.
        units: U.
        attention: 'LA' (locality-aware), 'BA' (basic), 'MBA' (mask on the weights) or 'none' (a plain decoder).
        reverse: the targets are the inputs reversed in time; puts the mask on the anti-diagonal.
        contrastive: CAGE (True) or AGE (False: no contrast head).
        temperature: t of the contrastive loss.
        l2: weight of the L2 term.
        detach_contrast: the head learns from CAGEs that it does not change (`--frozen 1`).
    """

    length: int
    joints: int
    units: int = 256
    attention: str = 'LA'
    reverse: bool = True
    contrastive: bool = True
    temperature: float = 0.1
    l2: float = 0.02
    detach_contrast: bool = False

    @property
    def attends(self) -> bool:
        return self.attention != 'none'

    def map_shapes(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of the kernel of each linear map that this encoder has."""
        joints, units = self.joints, self.units
        shapes = {
            'encoder_0': (joints + units, 4 * units),
            'encoder_1': (2 * units, 4 * units),
            'decoder_0': (joints + (2 if self.attends else 1) * units, 4 * units),
            'decoder_1': (2 * units, 4 * units),
            'output': (units, joints),
        }
        if self.attends:
            shapes |= {'memory': (units, units), 'attention': (2 * units, units)}
        if self.contrastive:
            shapes |= {'head_0': (self.length * units, units), 'head_1': (units, units)}
        return shapes

    def tap_shape(self, name: str, batch: int) -> tuple[int, ...]:
        """The shape, without the axis, of the outputs of a linear map over a batch: `[T, B, M]`, the head's `[B, M]`."""
        columns = self.map_shapes()[name][1]
        return (batch, columns) if name.startswith('head') else (self.length, batch, columns)


def initial_params(config: EncoderConfig, seed: int, axes: int = 3) -> dict[str, np.ndarray]:
    """Draws the starting values as the original does.

    LSTM kernels: uniform ±0.1, and kernels of equal shape start equal, in all axes, because the original gives every
    one the same op seed. Memory and attention kernels: Glorot uniform; output kernel: truncated normal, sd 0.1; the
    contrast head: normal, sd 1; biases 0.

    Returns:
        float32 arrays `[A, ...]` by the original's variable names.
    """
    params = {}
    for position, (name, shape) in enumerate(config.map_shapes().items()):
        kernel, bias = LINEAR_MAPS[name]
        rng = np.random.default_rng([seed, position])
        if name.startswith(('encoder', 'decoder')):
            shared = np.random.default_rng([seed, *shape]).uniform(-0.1, 0.1, shape)
            values = np.repeat(shared[None], axes, axis=0)
        elif name in ('memory', 'attention'):
            limit = np.sqrt(6 / sum(shape))
            values = rng.uniform(-limit, limit, (axes, *shape))
        elif name == 'output':
            values = 0.1 * _truncated_normal(rng, (axes, *shape))
        else:
            values = rng.standard_normal((axes, *shape))
        params[kernel] = values.astype(np.float32)
        if bias:
            params[bias] = np.zeros((axes, shape[1]), np.float32)
    return params


def _truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values


def axis_major(skeletons):
    """`[B, T, J, A]`, as data sets hold them, to `[A, T, B, J]`, as the model works."""
    return ops.transpose(skeletons, (3, 1, 0, 2))


def encode(config: EncoderConfig, params: dict, inputs, taps: dict | None = None):
    """Encoder states and the attention over them, without any loss (paper: h, a_t and c_t).

    Args:
        inputs: `[A, T, B, J]`, metres.
        taps: see `gradients`; None outside training.

    Returns:
        A dict with `states` `[A, T, B, U]`, `last` (c and h of both layers), `decoder` states `[A, T, B, U]`,
        `attention` vectors `[A, T, B, U]`, and with attention `alignments` `[A, T decoded, B, T input]` and
        `contexts` `[A, T, B, U]`: the AGEs or CAGEs. `operands` maps each linear map to what it was multiplied with.
    """
    taps = taps or {}
    kernel, bias, tap = _readers(params, taps)
    operands = {}
    layer_0, last_0, operands['encoder_0'] = lstm_layer(
        inputs, kernel('encoder_0'), bias('encoder_0'), tap('encoder_0')
    )
    states, last_1, operands['encoder_1'] = lstm_layer(
        layer_0, kernel('encoder_1'), bias('encoder_1'), tap('encoder_1')
    )
    found = {'states': states, 'last': (last_0, last_1), 'operands': operands}
    if not config.attends:
        return found | _decode_plainly(config, kernel, bias, tap, states, (last_0, last_1), operands)
    operands['memory'] = states
    keys = project(states, kernel('memory')) + tap('memory')
    return found | _decode(config, kernel, bias, tap, (keys, states), (last_0, last_1), operands)


def _readers(params, taps):
    def kernel(name):
        return params[LINEAR_MAPS[name][0]]

    def bias(name):
        return params[LINEAR_MAPS[name][1]]

    def tap(name):
        return taps.get(name, 0.0)

    return kernel, bias, tap


def _decoder_frames(config, tap, states, names):
    """The taps as frames of the recurrence; outside training zeros that only carry the number of steps."""
    axes, length, batch, _ = states.shape
    return tuple(
        tap(name) if not isinstance(tap(name), float) else ops.zeros((axes, length, 1, 1), states.dtype)
        for name in names
    )


def _decode(config, kernel, bias, tap, memory, last, operands):
    """The attention decoder. Its frame inputs are zero, so the kernel's first J rows are never multiplied."""
    keys, states = memory
    (cell_0, state_0), (cell_1, state_1) = last
    kernel_0, kernel_1 = kernel('decoder_0')[:, config.joints :], kernel('decoder_1')
    bias_0, bias_1 = bias('decoder_0')[:, None], bias('decoder_1')[:, None]
    mask = (
        ops.convert_to_tensor(locality_mask(config.length, reverse=config.reverse))
        if config.attention == 'MBA'
        else None
    )
    no_attention = ops.zeros_like(state_1)

    def step(carry, frame):
        cell_0, state_0, cell_1, state_1, attention = carry
        tap_0, tap_1, tap_attention, *mask_row = frame
        z = ops.matmul(ops.concatenate([attention, state_0], axis=-1), kernel_0) + bias_0 + tap_0
        cell_0, state_0 = lstm_cell(z, cell_0)
        z = ops.matmul(ops.concatenate([state_0, state_1], axis=-1), kernel_1) + bias_1 + tap_1
        cell_1, state_1 = lstm_cell(z, cell_1)
        context, alignment = attend(state_1, keys, states, mask_row[0][0] if mask_row else None)
        attention = ops.matmul(ops.concatenate([state_1, context], axis=-1), kernel('attention')) + tap_attention
        return (cell_0, state_0, cell_1, state_1, attention), (state_0, state_1, attention, context, alignment)

    frames = _decoder_frames(config, tap, states, ('decoder_0', 'decoder_1', 'attention'))
    if mask is not None:
        frames += (ops.expand_dims(mask, 0),)
    carry = (cell_0, state_0, cell_1, state_1, no_attention)
    _, (states_0, states_1, attentions, contexts, alignments) = recur(step, carry, frames)
    operands['decoder_0'] = ops.concatenate([before(no_attention, attentions), before(state_0, states_0)], axis=-1)
    operands['decoder_1'] = ops.concatenate([states_0, before(state_1, states_1)], axis=-1)
    operands['attention'] = ops.concatenate([states_1, contexts], axis=-1)
    return {'decoder': states_1, 'attention': attentions, 'contexts': contexts, 'alignments': alignments}


def _decode_plainly(config, kernel, bias, tap, states, last, operands):
    """A decoder without attention, for the ablation: two layers, started from the encoder's state, fed zeros."""
    (cell_0, state_0), (cell_1, state_1) = last
    kernel_0, kernel_1 = kernel('decoder_0')[:, config.joints :], kernel('decoder_1')
    bias_0, bias_1 = bias('decoder_0')[:, None], bias('decoder_1')[:, None]

    def step(carry, frame):
        cell_0, state_0, cell_1, state_1 = carry
        cell_0, state_0 = lstm_cell(ops.matmul(state_0, kernel_0) + bias_0 + frame[0], cell_0)
        z = ops.matmul(ops.concatenate([state_0, state_1], axis=-1), kernel_1) + bias_1 + frame[1]
        cell_1, state_1 = lstm_cell(z, cell_1)
        return (cell_0, state_0, cell_1, state_1), (state_0, state_1)

    frames = _decoder_frames(config, tap, states, ('decoder_0', 'decoder_1'))
    _, (states_0, states_1) = recur(step, (cell_0, state_0, cell_1, state_1), frames)
    operands['decoder_0'] = before(state_0, states_0)
    operands['decoder_1'] = ops.concatenate([states_0, before(state_1, states_1)], axis=-1)
    return {'decoder': states_1, 'attention': states_1}


def decode_frames(params: dict, encoded: dict, taps: dict | None = None):
    """Skeleton coordinates from attention vectors (paper: f_F): `[A, T, B, J]`."""
    kernel, bias, tap = _readers(params, taps or {})
    encoded['operands']['output'] = encoded['attention']
    return project(encoded['attention'], kernel('output')) + bias('output')[:, None, None] + tap('output')


def contrast_vectors(config: EncoderConfig, params: dict, encoded: dict, taps: dict | None = None):
    """The contrast head: `v = relu(flatten(CAGE) W1 + b1) W + b`, `[A, B, U]`."""
    kernel, bias, tap = _readers(params, taps or {})
    operands = encoded['operands']
    contexts = encoded['contexts']
    if config.detach_contrast:
        contexts = ops.stop_gradient(contexts)
    axes, length, batch, units = contexts.shape
    operands['head_0'] = ops.reshape(ops.swapaxes(contexts, 1, 2), (axes, batch, length * units))
    hidden = ops.relu(ops.matmul(operands['head_0'], kernel('head_0')) + bias('head_0')[:, None] + tap('head_0'))
    operands['head_1'] = hidden
    return ops.matmul(hidden, kernel('head_1')) + bias('head_1')[:, None] + tap('head_1')


def losses(config: EncoderConfig, params: dict, inputs, targets, taps: dict | None = None):
    """All terms of the cost on one batch.

    Args:
        inputs, targets: `[A, T, B, J]`; rows in file order, since neighbours are contrasted.

    Returns:
        (dict of `reconstruction`, `locality`, `contrastive`, each `[A]`, 0 where the model lacks the term;
        operands by linear map). The L2 term is `l2_loss(params, config.l2)`.
    """
    encoded = encode(config, params, inputs, taps)
    terms = {'reconstruction': reconstruction_loss(decode_frames(params, encoded, taps), targets)}
    zero = ops.zeros_like(terms['reconstruction'])
    mask = ops.convert_to_tensor(locality_mask(config.length, reverse=config.reverse))
    terms['locality'] = locality_loss(encoded['alignments'], mask) if config.attention == 'LA' else zero
    terms['contrastive'] = zero
    if config.contrastive:
        vectors = contrast_vectors(config, params, encoded, taps)
        terms['contrastive'] = consecutive_contrastive_loss(vectors, config.temperature)
    return terms, encoded['operands']


def gradients(config: EncoderConfig, params: dict, inputs, targets, value_and_grad):
    """Losses, and the gradient of reconstruction + locality + contrastive with respect to every parameter.

    Every parameter sits in a linear map `z = operand @ kernel + bias`. Zeros ("taps") are added to all z and only they
    are differentiated; then each kernel's gradient is one product, operandᵀ @ dz, over all time steps. Plain automatic
    differentiation gives the same numbers by one small product and one addition a time step, which is slower.

    Args:
        inputs, targets: `[A, T, B, J]`.
        value_and_grad: the backend's; see `sge_la.backends`.

    Returns:
        (terms as from `losses`, gradients by variable name).
    """
    axes, _, batch, _ = inputs.shape
    taps = {name: ops.zeros((axes, *config.tap_shape(name, batch)), inputs.dtype) for name in config.map_shapes()}

    def cost(taps):
        terms, operands = losses(config, params, inputs, targets, taps)
        total = sum(ops.sum(term) for term in terms.values())
        return total, (terms, operands)

    (_, (terms, operands)), tap_grads = value_and_grad(cost, taps)
    return terms, _map_gradients(config, operands, tap_grads)


def _map_gradients(config, operands, tap_grads):
    grads = {}
    for name, (rows, columns) in config.map_shapes().items():
        kernel, bias = LINEAR_MAPS[name]
        dz = ops.reshape(tap_grads[name], (tap_grads[name].shape[0], -1, columns))
        operand = ops.reshape(operands[name], (dz.shape[0], dz.shape[1], -1))
        grads[kernel] = ops.matmul(ops.swapaxes(operand, 1, 2), dz)
        if operand.shape[2] < rows:  # the decoder's zero inputs were never multiplied: their gradient is zero
            grads[kernel] = ops.pad(grads[kernel], ((0, 0), (rows - operand.shape[2], 0), (0, 0)))
        if bias:
            grads[bias] = ops.sum(dz, axis=1)
    return grads
