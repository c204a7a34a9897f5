"""Luong attention over the encoder's states, and the locality mask of the paper."""

from __future__ import annotations

import numpy as np
from keras import ops


def locality_mask(length: int, *, reverse: bool = True) -> np.ndarray:
    """How much each input frame should matter to each decoded frame (paper: l_t(j), sigma = D / 2 with D = T).

    `M[t, j] = exp(-(j - p_t)^2 / (2 (T / 2)^2))`, counted from 0, with the peak p_t = T - 1 - t: the input frame that
    the reversed target repeats at step t.

    Args:
        length: T.
        reverse: False puts the peak on the main diagonal, for targets in the input's own order.

    Returns:
        float32 `[T decoded, T input]`, 1 at the peak.
    """
    frame = np.arange(length)
    peak = frame[::-1] if reverse else frame
    distance = frame[None, :] - peak[:, None]
    return np.exp(-(distance**2) / (2 * (length / 2) ** 2)).astype(np.float32)


def attend(query, keys, values, mask_row=None):
    """Attention weights and context vector of one decoder step (paper: a_t and c_t).

    Args:
        query: the decoder's state h `[A, B, U]`.
        keys: encoder states times the memory kernel `[A, T, B, U]`.
        values: raw encoder states `[A, T, B, U]`.
        mask_row: None, or `[T]`: weights are multiplied by it and renormalised (MBAS, our reading of its name).

    Returns:
        (context vector `[A, B, U]`, alignment `[A, B, T]`, summing to 1).
    """
    scores = ops.sum(keys * ops.expand_dims(query, 1), axis=-1)  # [A, T, B]
    weights = ops.softmax(scores, axis=1)
    if mask_row is not None:
        weights = weights * mask_row[None, :, None]
        weights = weights / ops.sum(weights, axis=1, keepdims=True)
    context = ops.sum(ops.expand_dims(weights, -1) * values, axis=1)
    return context, ops.swapaxes(weights, 1, 2)
