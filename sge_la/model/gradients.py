"""The cost of a gait encoder and its gradient, written out.

Automatic differentiation would give the same numbers (a test compares them). Written out, every weight's gradient is
one product over all time steps instead of a small product and an addition a step, long sequences are a plain scan in
either direction, and the same code runs on every backend.
"""

from __future__ import annotations

from sge_la.backends import fused, ops
from sge_la.model.attention import attend_gradient, locality_mask
from sge_la.model.config import LINEAR_MAPS, EncoderConfig
from sge_la.model.gait_encoder import Encoded, Head, contrast_head, decode_frames, encode, linear_map
from sge_la.model.losses import consecutive_contrastive_loss, locality_loss, reconstruction_loss
from sge_la.model.lstm import (
    LONGEST_UNROLLED,
    backward_kernel,
    bias_gradient,
    by_time,
    kernel_gradient,
    lstm_cell_gradient,
    lstm_layer_gradient,
    project,
    recur,
    stacked,
    taped_cells,
    transposed,
)
from sge_la.model.products import as_configured, matmul


@as_configured
def losses(config: EncoderConfig, params: dict, inputs, targets) -> dict:
    """The terms of the cost on one batch, without L2.

    `inputs`, `targets`: `[A, T, B, J]`; rows in file order, since neighbours are contrasted. Returns `reconstruction`,
    `locality`, `contrastive`, each `[A]`, 0 where the model lacks the term.
    """
    return _forward(config, params, inputs, targets)[0]


def _forward(config: EncoderConfig, params: dict, inputs, targets):
    """(terms, encoded, contrast head or None, d_outputs, d_alignments, d_vectors)."""
    encoded = encode(config, params, inputs)
    outputs = decode_frames(params, encoded)
    zero = ops.zeros((inputs.shape[0],), outputs.dtype)
    terms = {'reconstruction': reconstruction_loss(outputs, targets), 'locality': zero, 'contrastive': zero}
    head = d_alignments = d_vectors = None
    if config.attends:
        d_alignments = ops.zeros_like(encoded.alignments)
    if config.attention == 'LA':
        mask = ops.convert_to_tensor(locality_mask(config.length, reverse=config.reverse))
        terms['locality'], d_alignments = locality_loss(encoded.alignments, mask)
    if config.contrastive:
        head = contrast_head(params, encoded)
        terms['contrastive'], d_vectors = consecutive_contrastive_loss(head.vectors, config.temperature)
    return terms, encoded, head, outputs - targets, d_alignments, d_vectors


@as_configured
def losses_and_gradients(config: EncoderConfig, params: dict, inputs, targets) -> tuple[dict, dict]:
    """The terms of the cost, and the gradient of their sum (without L2) with respect to every parameter.

    `inputs`, `targets`: `[A, T, B, J]`. Returns (terms as from `losses`, gradients `[A, ...]` by variable name).
    """
    terms, encoded, head, d_outputs, d_alignments, d_vectors = _forward(config, params, inputs, targets)
    grads: dict = {}
    _keep(grads, params, 'output', encoded.attention, d_outputs)
    d_attention = project(d_outputs, transposed(linear_map(params, 'output')[0]))
    if config.attends:
        d_contexts = ops.zeros_like(encoded.contexts)
        if head is not None:
            d_head = _head_gradient(params, head, d_vectors, grads)
            if not config.detach_contrast:
                d_contexts = _unflattened(d_head, d_contexts)
        d_states, d_last = _decoder_gradient(config, params, encoded, d_attention, d_contexts, d_alignments, grads)
    else:
        d_states, d_last = _plain_decoder_gradient(config, params, encoded, d_attention, grads)
    _encoder_gradient(params, encoded, d_states, d_last, grads)
    return terms, grads


def _keep(grads: dict, params: dict, name: str, operands, dz) -> None:
    """Files the gradients of a linear map's kernel and bias."""
    kernel, bias = LINEAR_MAPS[name]
    shape = tuple(params[kernel].shape)
    grads[kernel] = kernel_gradient(operands, dz, shape)
    if bias is not None:
        grads[bias] = bias_gradient(dz, shape[2])


def _head_gradient(params: dict, head: Head, d_vectors, grads: dict):
    """Files the contrast head's gradients; returns that of the flattened CAGEs `[A, B, T·U]`."""
    _keep(grads, params, 'head_1', head.hidden, d_vectors)
    d_hidden = matmul(d_vectors, transposed(linear_map(params, 'head_1')[0]))
    d_hidden = ops.where(head.hidden > 0, d_hidden, 0.0)
    _keep(grads, params, 'head_0', head.flattened, d_hidden)
    return matmul(d_hidden, transposed(linear_map(params, 'head_0')[0]))


def _unflattened(d_flattened, like):
    axes, length, batch, units = like.shape
    return ops.swapaxes(ops.reshape(d_flattened, (axes, batch, length, units)), 1, 2)


def _decoder_gradient(config, params, encoded: Encoded, d_attention, d_contexts, d_alignments, grads: dict):
    """Goes back through the attention decoder.

    `d_attention`: gradient of the attention vectors from the outputs `[A, T, B, U]`; `d_contexts`: of the context
    vectors from the contrast head; `d_alignments`: of the attention weights from the locality loss `[A, T, T, B]`.
    Returns gradients of the encoder's states `[A, T, B, U]` and of its last ((c, h), (c, h)).
    """
    units, keys, states = config.units, encoded.keys, encoded.states
    attention_kernel = transposed(linear_map(params, 'attention')[0])
    kernel_0 = backward_kernel(linear_map(params, 'decoder_0')[0][:, config.joints :])
    kernel_1 = backward_kernel(linear_map(params, 'decoder_1')[0])
    (start_0, _), (start_1, _) = encoded.last
    nothing = ops.zeros_like(start_0)
    settings = {'width': kernel_1.shape[1], 'start': units}

    def step(carry, frame):
        taped_0, taped_1, (alignment, d_attention, d_context, d_alignment) = frame[:6], frame[6:12], frame[12:]
        d_cell_0, d_cell_1, later_0, later_1 = nothing, nothing, None, None
        if carry is not None:
            dz_0, d_cell_0, _, d_cell_1, later_1, *_ = carry
            later_0 = matmul(dz_0, kernel_0)
            d_attention = d_attention + later_0[..., :units]
        d_joined = matmul(d_attention, attention_kernel)
        d_context = d_context + d_joined[..., units:]
        d_scores, d_query = attend_gradient(alignment, keys, states, d_context, d_alignment)
        dz_1, d_cell_1 = lstm_cell_gradient(taped_1, d_cell_1, d_joined, d_query, later=later_1, **settings)
        d_joined = matmul(dz_1, kernel_1)
        dz_0, d_cell_0 = lstm_cell_gradient(taped_0, d_cell_0, d_joined, later=later_0, **settings)
        return dz_0, d_cell_0, dz_1, d_cell_1, d_joined, d_attention, d_context, d_scores

    tape_0, tape_1 = encoded.decoder
    frames = (
        *taped_cells(tape_0, start_0),
        *taped_cells(tape_1, start_1),
        *map(by_time, (encoded.alignments, d_attention, d_contexts, d_alignments)),
    )
    (dz_0, d_cell_0, _, d_cell_1, d_joined, *_), kept = recur(step, frames, keep=(0, 2, 5, 6, 7), reverse=True)
    d_state_0 = matmul(dz_0, kernel_0)[..., units : 2 * units]
    dz_0, dz_1, d_attention, d_contexts, d_scores = map(stacked, kept)
    _keep(grads, params, 'attention', ops.concatenate([tape_1.states, encoded.contexts], axis=-1), d_attention)
    _keep(grads, params, 'decoder_0', tape_0.operands, dz_0)
    _keep(grads, params, 'decoder_1', tape_1.operands, dz_1)
    d_keys = _summed_over_steps(d_scores, tape_1.states)
    _keep(grads, params, 'memory', states, d_keys)
    d_states = _summed_over_steps(encoded.alignments, d_contexts)
    d_states = d_states + project(d_keys, transposed(linear_map(params, 'memory')[0]))
    return d_states, ((d_cell_0, d_state_0), (d_cell_1, d_joined[..., units : 2 * units]))


@fused
def _summed_over_steps(weights, vectors):
    """`Σ_t weights[t, j] vectors[t]` for each input frame j: `[A, T, T, B]` and `[A, T, B, U]` to `[A, T, B, U]`."""
    if weights.shape[1] > LONGEST_UNROLLED:
        return ops.einsum('atjb,atbu->ajbu', weights, vectors)
    # Of few steps one pass over memory, where products of such small matrices need transposed copies.
    return ops.sum(ops.expand_dims(weights, -1) * ops.expand_dims(vectors, 2), axis=1)


def _plain_decoder_gradient(config, params, encoded: Encoded, d_attention, grads: dict):
    """Goes back through the decoder without attention; arguments and result as in `_decoder_gradient`."""
    units = config.units
    kernel_0 = backward_kernel(linear_map(params, 'decoder_0')[0][:, config.joints :])
    kernel_1 = backward_kernel(linear_map(params, 'decoder_1')[0])
    (start_0, _), (start_1, _) = encoded.last
    nothing = ops.zeros_like(start_0)
    settings = {'width': kernel_1.shape[1], 'start': units}

    def step(carry, frame):
        taped_0, taped_1, d_output = frame[:6], frame[6:12], frame[12]
        d_cell_0, d_state_0, d_cell_1, later, _, _ = carry or (nothing, nothing, nothing, None, None, None)
        dz_1, d_cell_1 = lstm_cell_gradient(taped_1, d_cell_1, d_output, later=later, **settings)
        d_joined = matmul(dz_1, kernel_1)
        dz_0, d_cell_0 = lstm_cell_gradient(taped_0, d_cell_0, d_joined, d_state_0, width=kernel_0.shape[1])
        return d_cell_0, matmul(dz_0, kernel_0), d_cell_1, d_joined, dz_0, dz_1

    tape_0, tape_1 = encoded.decoder
    frames = (
        *taped_cells(tape_0, start_0),
        *taped_cells(tape_1, start_1),
        by_time(d_attention),
    )
    last, kept = recur(step, frames, keep=(4, 5), reverse=True)
    dz_0, dz_1 = map(stacked, kept)
    _keep(grads, params, 'decoder_0', tape_0.operands, dz_0)
    _keep(grads, params, 'decoder_1', tape_1.operands, dz_1)
    return ops.zeros_like(encoded.states), ((last[0], last[1][..., :units]), (last[2], last[3][..., units : 2 * units]))


def _encoder_gradient(params, encoded: Encoded, d_states, d_last, grads: dict) -> None:
    """Goes back through the encoder's two layers."""
    tape_0, tape_1 = encoded.layers
    dz_1, d_first = lstm_layer_gradient(tape_1, linear_map(params, 'encoder_1')[0], d_states, d_last[1])
    _keep(grads, params, 'encoder_1', tape_1.operands, dz_1)
    dz_0, _ = lstm_layer_gradient(tape_0, linear_map(params, 'encoder_0')[0], d_first, d_last[0], lowest=True)
    _keep(grads, params, 'encoder_0', tape_0.operands, dz_0)
