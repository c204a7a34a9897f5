"""The losses of the gait encoder, one value an axis (A)."""

from __future__ import annotations

from keras import ops


def reconstruction_loss(outputs, targets):
    """Half the squared error, summed over frames, sequences and joints (paper: L_R; a sum, as the original has it).

    Args:
        outputs, targets: `[A, T, B, J]`, metres.

    Returns:
        `[A]`.
    """
    return 0.5 * ops.sum(ops.square(outputs - targets), axis=(1, 2, 3))


def locality_loss(alignments, mask):
    """Pulls attention towards neighbouring frames (paper: L_A, between a and the masked a).

    Args:
        alignments: `[A, T decoded, B, T input]`.
        mask: locality mask `[T decoded, T input]`.

    Returns:
        `[A]`: half the sum of (a - a·mask)^2.
    """
    return 0.5 * ops.sum(ops.square(alignments * (1.0 - mask[None, :, None, :])), axis=(1, 2, 3))


def consecutive_contrastive_loss(vectors, temperature: float):
    """Ties each sequence to the next one in the batch (paper: L_C, NT-Xent).

    The 2 (B - 1) rows are `[v_1 .. v_(B-1); v_0 .. v_(B-2)]`; a row's positive is its partner in the other half, its
    negatives are all other rows. As in the original, `v_1 .. v_(B-2)` stand there twice, so that each has an exact copy
    among its negatives, and neighbours across people count as positives too.

    Args:
        vectors: `[A, B, U]` in file order.
        temperature: t > 0.

    Returns:
        `[A]`, mean over the rows.
    """
    pairs = vectors.shape[1] - 1
    rows = ops.concatenate([vectors[:, 1:], vectors[:, :-1]], axis=1)
    # TensorFlow 1's l2_normalize, which the original calls, floors the squared length at 1e-12.
    rows = rows / ops.sqrt(ops.maximum(ops.sum(ops.square(rows), axis=-1, keepdims=True), 1e-12))
    similarity = ops.matmul(rows, ops.swapaxes(rows, 1, 2)) / temperature
    positive = ops.sum(rows[:, :pairs] * rows[:, pairs:], axis=-1) / temperature
    itself = ops.eye(2 * pairs, dtype=similarity.dtype) * 1e9
    negatives = ops.logsumexp(similarity - itself, axis=-1)
    return ops.mean(negatives - ops.concatenate([positive, positive], axis=1), axis=1)


def l2_loss(params: dict, weight: float):
    """`weight · Σ ½ θ²` over every variable, biases included, as in the original.

    Args:
        params: arrays `[A, ...]`.

    Returns:
        `[A]`. The original adds the same for two dead copies (see `original` in the reference tests).
    """
    total = 0.0
    for value in params.values():
        total = total + ops.sum(ops.square(value), axis=tuple(range(1, len(value.shape))))
    return 0.5 * weight * total


def cross_entropy(logits, labels):
    """Mean softmax cross-entropy.

    Args:
        logits: `[B, C]`.
        labels: class index `[B]`.

    Returns:
        A scalar.
    """
    correct = ops.take_along_axis(logits, ops.expand_dims(ops.cast(labels, 'int32'), -1), axis=-1)[:, 0]
    return ops.mean(ops.logsumexp(logits, axis=-1) - correct)
