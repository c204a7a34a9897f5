"""The decoder with attention: two LSTM layers whose next input is the attention vector of the step before.

Shapes as in `sge_la.model.lstm`; J joints.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from sge_la.backends import ops, with_gradient
from sge_la.model.attention import attend, attend_gradient, summed_over_steps
from sge_la.model.lstm import (
    backward_kernel,
    bias_gradient,
    by_time,
    delayed,
    forward_kernel,
    kernel_gradient,
    lstm_cell,
    lstm_cell_gradient,
    recur,
    stacked,
    taped_cells,
    transposed,
)
from sge_la.model.products import matmul, rounded


def attention_decoder(keys, states, last: tuple, first_layer: tuple, second_layer: tuple, attention_kernel, mask):
    """Decodes as many frames as were encoded.

    Its frame inputs are zero, as in the original, so the first J rows of the first kernel are never multiplied.

    `keys`, `states`: encoder states with and without the memory kernel `[A, T, B, U]`; `last`: the encoder's last (c,
    h) of both layers, which the decoder starts from; `first_layer`, `second_layer`: kernels `[A, J + 2U, 4U]`, `[A, 2U,
    4U]` and biases `[A, 4U]`; `attention_kernel`: `[A, 2U, U]`; `mask`: float32 `[T decoded, T input]`, see `attend`.
    Returns attention vectors and context vectors `[A, T, B, U]` and attention weights `[A, T decoded, T input, B]`.
    """
    decoder = with_gradient(partial(_decode, mask), _decode_gradient)
    return decoder(keys, states, *last[0], *last[1], *first_layer, *second_layer, attention_kernel)


def _decode(mask: np.ndarray, keys, states, *weights):
    """The decoder's results, and what the gradient needs."""
    *start, kernel_0, bias_0, kernel_1, bias_1, attention_kernel = weights
    units = states.shape[-1]
    first_kernel, kernel_0 = forward_kernel(kernel_0[:, -units:]), forward_kernel(kernel_0[:, -2 * units :])
    kernel_1, bias_0, bias_1 = forward_kernel(kernel_1), bias_0[:, None], bias_1[:, None]

    def step(carry, frame):
        if carry is None:  # no attention vector yet
            cell_0, state_0, cell_1, state_1 = start
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

    masks = by_time(ops.convert_to_tensor(mask[None]))
    _, kept = recur(step, (masks,), keep=tuple(range(15)))
    results = tuple(map(stacked, kept[12:]))
    return results, (keys, states, weights, kept)


def _decode_gradient(tape, d_attention, d_contexts, d_alignments):
    """The gradients of `_decode`'s arrays from those of its results."""
    keys, states, weights, (*kept, attention, contexts, alignments) = tape
    start_0, state_0, start_1, state_1, *weights = weights
    units, nothing, kernels = states.shape[-1], ops.zeros_like(start_0), weights[::2]
    kernel_0, kernel_1 = backward_kernel(kernels[0][:, -2 * units :]), backward_kernel(kernels[1])
    attention_kernel = transposed(rounded(kernels[2]))

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
        dz_1, d_cell_1 = lstm_cell_gradient(taped_1, d_cell_1, d_joined, d_query, later=later_1, start=units)
        d_joined = matmul(dz_1, kernel_1)
        dz_0, d_cell_0 = lstm_cell_gradient(taped_0, d_cell_0, d_joined, later=later_0, start=units)
        return dz_0, d_cell_0, dz_1, d_cell_1, d_joined, d_attention, d_context, d_scores

    frames = (
        *taped_cells(kept[:6], start_0),
        *taped_cells(kept[6:], start_1),
        alignments,
        *map(by_time, (d_attention, d_contexts, d_alignments)),
    )
    (dz_0, d_cell_0, _, d_cell_1, d_joined, *_), found = recur(step, frames, keep=(0, 2, 5, 6, 7), reverse=True)
    d_start = d_cell_0, matmul(dz_0, kernel_0)[..., units : 2 * units], d_cell_1, d_joined[..., units : 2 * units]
    dz_0, dz_1, d_attention, d_contexts, d_scores = map(stacked, found)
    states_0, queries = kept[1], kept[7]
    before_0, before_1 = stacked(delayed(state_0, states_0)), stacked(delayed(state_1, queries))
    queries = stacked(queries)
    return (
        summed_over_steps(d_scores, queries),
        summed_over_steps(stacked(alignments), d_contexts),
        *d_start,
        kernel_gradient(kernels[0], dz_0, stacked(delayed(nothing, attention)), before_0),
        bias_gradient(dz_0),
        kernel_gradient(kernels[1], dz_1, stacked(states_0), before_1),
        bias_gradient(dz_1),
        kernel_gradient(kernels[2], d_attention, queries, stacked(contexts)),
    )
