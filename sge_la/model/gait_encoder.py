"""The gait encoder: reverse reconstruction with locality-aware attention, for x, y and z together.

The original trains one encoder for each coordinate axis. They share nothing, so here every array has a leading axis A
and one step trains all three, with the result of three runs. Arrays: A axes, T frames, B sequences, J joints, U units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sge_la.backends import gradients, ops
from sge_la.model.attention import locality_mask
from sge_la.model.config import LINEAR_MAPS, EncoderConfig
from sge_la.model.decoder import attention_decoder
from sge_la.model.losses import consecutive_contrastive_loss, locality_loss, reconstruction_loss
from sge_la.model.lstm import lstm_layer, project
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
    """What the encoder makes of a batch.

    `states`: the encoder's states h `[A, T, B, U]`; `last`: its last (c, h) of both layers, which the decoder starts
    from; `contexts`: context vectors c_t `[A, T, B, U]`: the AGEs or CAGEs; None without attention; `alignments`:
    attention weights `[A, T decoded, T input, B]`; None without attention; `attention`: attention vectors `[A, T, B,
    U]`; without attention the decoder's states.
    """

    states: object
    last: tuple
    contexts: object
    alignments: object
    attention: object


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
    states, last_1 = lstm_layer(first, *linear_map(params, 'encoder_1'))
    last, layers = (last_0, last_1), (linear_map(params, 'decoder_0'), linear_map(params, 'decoder_1'))
    if not config.attends:  # a decoder for the ablation, fed zeros
        decoded, _ = lstm_layer(ops.zeros_like(inputs), *layers[0], last_0)
        decoded, _ = lstm_layer(decoded, *layers[1], last_1)
        return Encoded(states, last, None, None, decoded)
    keys = project(states, params[LINEAR_MAPS['memory'][0]])
    mask = locality_mask(config.length, reverse=config.reverse)
    mask = mask if config.attention == 'MBA' else np.ones_like(mask)
    attention_kernel = params[LINEAR_MAPS['attention'][0]]
    attention, contexts, alignments = attention_decoder(keys, states, last, *layers, attention_kernel, mask)
    return Encoded(states, last, contexts, alignments, attention)


def decode_frames(params: dict, encoded: Encoded):
    """Skeleton coordinates from attention vectors (paper: f_F): `[A, T, B, J]`."""
    kernel, bias = linear_map(params, 'output')
    return project(encoded.attention, kernel) + bias[:, None, None]


def contrast_head(params: dict, contexts):
    """The contrast head: `v = relu(flatten(CAGE) W1 + b1) W + b`.

    `contexts`: context vectors `[A, T, B, U]`. Returns vectors `[A, B, U]`.
    """
    (kernel_0, bias_0), (kernel_1, bias_1) = linear_map(params, 'head_0'), linear_map(params, 'head_1')
    axes, length, _, units = contexts.shape
    flattened = ops.reshape(ops.swapaxes(contexts, 1, 2), (axes, -1, length * units))
    hidden = ops.relu(matmul(flattened, kernel_0) + bias_0[:, None])
    return matmul(hidden, kernel_1) + bias_1[:, None]


@as_configured
def losses(config: EncoderConfig, params: dict, inputs, targets) -> dict:
    """The terms of the cost on one batch, without L2.

    `inputs`, `targets`: `[A, T, B, J]`; rows in file order, since neighbours are contrasted. Returns `reconstruction`,
    `locality`, `contrastive`, each `[A]`, 0 where the model lacks the term.
    """
    encoded = encode(config, params, inputs)
    reconstruction = reconstruction_loss(decode_frames(params, encoded), targets)
    locality = contrastive = ops.zeros_like(reconstruction)
    if config.attention == 'LA':
        locality = locality_loss(encoded.alignments, locality_mask(config.length, reverse=config.reverse))
    if config.contrastive:
        contexts = ops.stop_gradient(encoded.contexts) if config.detach_contrast else encoded.contexts
        contrastive = consecutive_contrastive_loss(contrast_head(params, contexts), config.temperature)
    return {'reconstruction': reconstruction, 'locality': locality, 'contrastive': contrastive}


@as_configured
def losses_and_gradients(config: EncoderConfig, params: dict, inputs, targets) -> tuple[dict, dict]:
    """The terms of the cost, and the gradient of their sum (without L2) with respect to every parameter.

    `inputs`, `targets`: `[A, T, B, J]`. Returns (terms as from `losses`, gradients `[A, ...]` by variable name).
    """

    def cost(params):
        terms = losses(config, params, inputs, targets)
        return ops.sum(sum(terms.values())), terms

    grads, terms = gradients(cost, params)
    return terms, grads
