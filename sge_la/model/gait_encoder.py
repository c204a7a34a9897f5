"""The gait encoder: reverse reconstruction with locality-aware attention, for x, y and z together.

The original trains one encoder for each coordinate axis. They share nothing, so here every array has a leading axis A
and one step trains all three, with the result of three runs. Arrays: A axes, T frames, B sequences, J joints, U units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sge_la.backends import ops, spread
from sge_la.model.attention import attend, locality_mask
from sge_la.model.config import LINEAR_MAPS, EncoderConfig
from sge_la.model.lstm import LayerTape, before, by_time, lstm_cell, lstm_layer, project, recur, stacked
from sge_la.model.products import as_configured, matmul


def initial_params(config: EncoderConfig, seed: int, axes: int = 3) -> dict[str, np.ndarray]:
    """Draws the starting values as the original does.

    LSTM kernels: uniform ±0.1, and kernels of equal shape start equal, in all axes, because the original gives every
    one the same op seed. Memory and attention kernels: Glorot uniform; output kernel: truncated normal, sd 0.1; the
    contrast head: normal, sd 1; biases 0.

    Returns float32 arrays `[A, ...]` by the original's variable names.
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


class Encoded(NamedTuple):
    """What the encoder makes of a batch, and what its gradient needs.

    `layers`: tapes of the encoder's two layers; the second's `states` are the encoder's states h `[A, T, B, U]`;
    `decoder`: tapes of the decoder's two layers; `last`: the encoder's last (c, h) of both layers, which the decoder
    starts from; `keys`: `[A, T, B, U]`, or None without attention; `contexts`: context vectors c_t `[A, T, B, U]`: the
    AGEs or CAGEs; None without attention; `alignments`: attention weights `[A, T decoded, T input, B]`; None without
    attention; `attention`: attention vectors `[A, T, B, U]`; without attention the decoder's states.
    """

    layers: tuple[LayerTape, LayerTape]
    decoder: tuple[LayerTape, LayerTape]
    last: tuple
    keys: object
    contexts: object
    alignments: object
    attention: object

    @property
    def states(self):
        return self.layers[1].states


def linear_map(params: dict, name: str):
    """(kernel, bias) of a linear map; the bias is None where it has none."""
    kernel, bias = LINEAR_MAPS[name]
    return params[kernel], None if bias is None else params[bias]


@as_configured
def encode(config: EncoderConfig, params: dict, inputs) -> Encoded:
    """Encoder, decoder and the attention between them, without any loss (paper: h, a_t and c_t).

    `inputs`: `[A, T, B, J]`, metres.
    """
    first, last_0 = lstm_layer(inputs, *linear_map(params, 'encoder_0'))
    second, last_1 = lstm_layer(first.states, *linear_map(params, 'encoder_1'))
    last = (last_0, last_1)
    if not config.attends:
        return Encoded((first, second), *_decode_plainly(config, params, second.states, last))
    keys = project(second.states, linear_map(params, 'memory')[0])
    return Encoded((first, second), *_decode(config, params, keys, second.states, last))


def step_masks(config: EncoderConfig):
    """What each decoder step multiplies the attention weights with, `[1, T, T]`: ones but for MBA."""
    mask = locality_mask(config.length, reverse=config.reverse)
    return ops.convert_to_tensor((mask if config.attention == 'MBA' else np.ones_like(mask))[None])


def _decode(config, params, keys, states, last):
    """The attention decoder. Its frame inputs are zero, so the kernel's first J rows are never multiplied."""
    (kernel_0, bias_0), (kernel_1, bias_1) = linear_map(params, 'decoder_0'), linear_map(params, 'decoder_1')
    first_kernel = spread(kernel_0[:, config.joints + config.units :])
    kernel_0, kernel_1 = spread(kernel_0[:, config.joints :]), spread(kernel_1)
    bias_0, bias_1 = bias_0[:, None], bias_1[:, None]
    attention_kernel = linear_map(params, 'attention')[0]

    def step(carry, frame):
        if carry is None:  # no attention vector yet
            (cell_0, state_0), (cell_1, state_1) = last
            z = matmul(state_0, first_kernel)
        else:
            (cell_0, state_0, *_), (cell_1, state_1, *_), attention = carry[:6], carry[6:12], carry[12]
            z = matmul(ops.concatenate([attention, state_0], axis=-1), kernel_0)
        first = lstm_cell(cell_0, z, bias_0)
        z = matmul(ops.concatenate([first[1], state_1], axis=-1), kernel_1)
        second = lstm_cell(cell_1, z, bias_1)
        context, alignment = attend(second[1], keys, states, frame[0])
        attention = matmul(ops.concatenate([second[1], context], axis=-1), attention_kernel)
        return *first, *second, attention, context, alignment

    (_, state_0), (_, state_1) = last
    _, kept = recur(step, (by_time(step_masks(config)),), keep=tuple(range(15)))
    (cells_0, states_0, *gates_0), (cells_1, states_1, *gates_1) = kept[:6], kept[6:12]
    states_0, states_1, attention, contexts, alignments = map(stacked, (states_0, states_1, *kept[12:]))
    operands_0 = ops.concatenate([before(ops.zeros_like(state_1), attention), before(state_0, states_0)], axis=-1)
    operands_1 = ops.concatenate([states_0, before(state_1, states_1)], axis=-1)
    first = LayerTape(operands_0, tuple(gates_0), cells_0, states_0)
    second = LayerTape(operands_1, tuple(gates_1), cells_1, states_1)
    return (first, second), last, keys, contexts, alignments, attention


def _decode_plainly(config, params, states, last):
    """A decoder without attention, for the ablation: two layers, started from the encoder's state, fed zeros."""
    (kernel_0, bias_0), (kernel_1, bias_1) = linear_map(params, 'decoder_0'), linear_map(params, 'decoder_1')
    kernel_0, kernel_1 = spread(kernel_0[:, config.joints :]), spread(kernel_1)
    bias_0, bias_1 = bias_0[:, None], bias_1[:, None]

    def step(carry, _):
        if carry is None:
            (cell_0, state_0), (cell_1, state_1) = last
        else:
            (cell_0, state_0, *_), (cell_1, state_1, *_) = carry[:6], carry[6:]
        first = lstm_cell(cell_0, matmul(state_0, kernel_0), bias_0)
        z = matmul(ops.concatenate([first[1], state_1], axis=-1), kernel_1)
        return *first, *lstm_cell(cell_1, z, bias_1)

    (_, state_0), (_, state_1) = last
    _, kept = recur(step, (by_time(step_masks(config)),), keep=tuple(range(12)))
    (cells_0, states_0, *gates_0), (cells_1, states_1, *gates_1) = kept[:6], kept[6:]
    states_0, states_1 = stacked(states_0), stacked(states_1)
    operands = ops.concatenate([states_0, before(state_1, states_1)], axis=-1)
    first = LayerTape(before(state_0, states_0), tuple(gates_0), cells_0, states_0)
    return (first, LayerTape(operands, tuple(gates_1), cells_1, states_1)), last, None, None, None, states_1


def decode_frames(params: dict, encoded: Encoded):
    """Skeleton coordinates from attention vectors (paper: f_F): `[A, T, B, J]`."""
    kernel, bias = linear_map(params, 'output')
    return project(encoded.attention, kernel) + bias[:, None, None]


class Head(NamedTuple):
    """The contrast head's flattened CAGEs `[A, B, T·U]`, hidden layer and vectors `[A, B, U]`."""

    flattened: object
    hidden: object
    vectors: object


def contrast_head(params: dict, encoded: Encoded) -> Head:
    """The contrast head: `v = relu(flatten(CAGE) W1 + b1) W + b`."""
    (kernel_0, bias_0), (kernel_1, bias_1) = linear_map(params, 'head_0'), linear_map(params, 'head_1')
    axes, length, _, units = encoded.contexts.shape
    flattened = ops.reshape(ops.swapaxes(encoded.contexts, 1, 2), (axes, -1, length * units))
    hidden = ops.relu(matmul(flattened, kernel_0) + bias_0[:, None])
    return Head(flattened, hidden, matmul(hidden, kernel_1) + bias_1[:, None])
