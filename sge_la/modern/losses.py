"""Losses of the modern recipe, each with its gradient."""

from __future__ import annotations

from keras import ops

from sge_la.backends import fused

_FLOOR = 1e-12


def paired_contrastive_loss(vectors, temperature: float):
    """Ties the two sequences of each pair together, against all other sequences of the batch (NT-Xent).

    Other than the original's `consecutive_contrastive_loss`, no row stands there twice, and the two rows of a pair are
    neighbours in one recording, so that nobody is tied to somebody else.

    Args:
        vectors: `[A, B, U]`; rows 2k and 2k + 1 are a pair.
        temperature: t > 0.

    Returns:
        The mean over the rows `[A]`, and its gradient with respect to the vectors.
    """
    count = vectors.shape[1]
    lengths = ops.sqrt(ops.maximum(ops.sum(ops.square(vectors), axis=-1, keepdims=True), _FLOOR))
    rows = vectors / lengths
    itself = ops.eye(count, dtype=rows.dtype)
    pairs = ops.reshape(itself, (count // 2, 2, count))
    partner = ops.reshape(ops.flip(pairs, axis=1), (count, count))
    similarity = ops.matmul(rows, ops.swapaxes(rows, 1, 2)) / temperature
    others = similarity - 1e9 * itself
    normaliser = ops.logsumexp(others, axis=-1, keepdims=True)
    loss = ops.mean(normaliser[..., 0] - ops.sum(similarity * partner, axis=-1), axis=1)
    d_similarity = (ops.exp(others - normaliser) - partner) / (count * temperature)
    d_rows = ops.matmul(d_similarity + ops.swapaxes(d_similarity, 1, 2), rows)
    along = ops.sum(d_rows * rows, axis=-1, keepdims=True)
    return loss, (d_rows - along * rows) / lengths


@fused
def smoothed_cross_entropy(logits, labels, smoothing: float):
    """Mean cross-entropy against labels of which a share is spread evenly over all classes.

    Args:
        logits: `[B, C]`.
        labels: class indices `[B]`.
        smoothing: the share.

    Returns:
        The loss, and its gradient `[B, C]` with respect to the logits.
    """
    batch, classes = logits.shape
    wanted = ops.one_hot(ops.cast(labels, 'int32'), classes, dtype=logits.dtype)
    wanted = wanted * (1 - smoothing) + smoothing / classes
    likely = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
    return -ops.sum(wanted * likely) / batch, (ops.exp(likely) - wanted) / batch
