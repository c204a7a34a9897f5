"""Luong attention over the encoder's states, and the locality mask of the paper."""

from __future__ import annotations

import numpy as np

from sge_la.backends import fused, ops
from sge_la.model.lstm import LONGEST_UNROLLED


def locality_mask(length: int, *, reverse: bool = True) -> np.ndarray:
    """How much each input frame should matter to each decoded frame (paper: l_t(j), sigma = D / 2 with D = T).

    `M[t, j] = exp(-(j - p_t)^2 / (2 (T / 2)^2))`, counted from 0, with the peak p_t = T - 1 - t: the input frame that
    the reversed target repeats at step t.

    `length`: T; `reverse`: False puts the peak on the main diagonal, for targets in the input's own order. Returns
    float32 `[T decoded, T input]`, 1 at the peak.
    """
    frame = np.arange(length)
    peak = frame[::-1] if reverse else frame
    distance = frame[None, :] - peak[:, None]
    return np.exp(-(distance**2) / (2 * (length / 2) ** 2)).astype(np.float32)


@fused
def attend(query, keys, values, mask):
    """Attention weights and context vector of one decoder step (paper: a_t and c_t).

    `query`: the decoder's state h `[A, B, U]`; `keys`: encoder states times the memory kernel `[A, T, B, U]`; `values`:
    raw encoder states `[A, T, B, U]`; `mask`: `[1 or A, T]`: the softmax's numerators are multiplied by it (MBAS, our
    reading of its name); ones for plain attention. Returns (context vector `[A, B, U]`, alignment `[A, T, B]`, summing
    to 1 over T).
    """
    scores = ops.sum(keys * ops.expand_dims(query, 1), axis=-1)
    weights = ops.exp(scores - ops.max(scores, axis=1, keepdims=True)) * ops.expand_dims(mask, -1)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    return ops.sum(ops.expand_dims(weights, -1) * values, axis=1), weights


@fused
def attend_gradient(alignment, keys, values, d_context, d_alignment):
    """The gradient of `attend` with respect to scores and query; see `summed_over_steps` for keys and values.

    Masked weights have the softmax's own gradient, since the mask only adds a constant to each score.

    `alignment`: `[A, T, B]`; `keys`, `values`: `[A, T, B, U]`; `d_context`: `[A, B, U]`; `d_alignment`: `[A, T, B]`,
    what the weights' own losses ask for. Returns (d_scores `[A, T, B]`, d_query `[A, B, U]`).
    """
    d_weights = d_alignment + ops.sum(ops.expand_dims(d_context, 1) * values, axis=-1)
    d_scores = alignment * (d_weights - ops.sum(alignment * d_weights, axis=1, keepdims=True))
    return d_scores, ops.sum(ops.expand_dims(d_scores, -1) * keys, axis=1)


@fused
def summed_over_steps(weights, vectors):
    """`Σ_t weights[t, j] vectors[t]` for each input frame j: `[A, T, T, B]` and `[A, T, B, U]` to `[A, T, B, U]`."""
    if weights.shape[1] > LONGEST_UNROLLED:
        return ops.einsum('atjb,atbu->ajbu', weights, vectors)
    # Of few steps one pass over memory, where products of such small matrices need transposed copies.
    return ops.sum(ops.expand_dims(weights, -1) * ops.expand_dims(vectors, 2), axis=1)
