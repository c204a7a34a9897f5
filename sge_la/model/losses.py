"""The losses, each with its gradient; those of the gait encoder have one value an axis (A)."""

from __future__ import annotations

from sge_la.backends import fused, ops

_FLOOR = 1e-12


@fused
def reconstruction_loss(outputs, targets):
    """Half the squared error, summed over frames, sequences and joints (paper: L_R; a sum, as the original has it).

    Its gradient with respect to the outputs is `outputs - targets`.

    `outputs`, `targets`: `[A, T, B, J]`, metres. Returns `[A]`.
    """
    return 0.5 * ops.sum(ops.square(outputs - targets), axis=(1, 2, 3))


@fused
def locality_loss(alignments, mask):
    """Pulls attention towards neighbouring frames (paper: L_A, between a and the masked a).

    `alignments`: `[A, T decoded, T input, B]`; `mask`: locality mask `[T decoded, T input]`. Returns half the sum of (a
    - a·mask)^2 `[A]`, and its gradient with respect to the alignments.
    """
    away = ops.square(1.0 - mask)[None, :, :, None]
    return 0.5 * ops.sum(away * ops.square(alignments), axis=(1, 2, 3)), away * alignments


def consecutive_contrastive_loss(vectors, temperature: float):
    """Ties each sequence to the next one in the batch (paper: L_C, NT-Xent).

    The 2 (B - 1) rows are `[v_1 .. v_(B-1); v_0 .. v_(B-2)]`; a row's positive is its partner in the other half, its
    negatives are all other rows. As in the original, `v_1 .. v_(B-2)` stand there twice, so that each has an exact copy
    among its negatives, and neighbours across people count as positives too.

    `vectors`: `[A, B, U]` in file order; `temperature`: t > 0. Returns the mean over the rows `[A]`, and its gradient
    with respect to the vectors.
    """
    rows, directions, lengths = _contrasted_rows(vectors)
    loss, d_similarity = _nt_xent(ops.matmul(rows, ops.swapaxes(rows, 1, 2)), temperature)
    return loss, _contrast_gradient(ops.matmul(d_similarity, rows), directions, lengths)


@fused
def _contrasted_rows(vectors):
    """The rows of unit length, and each vector's direction and length."""
    # TensorFlow 1's l2_normalize, which the original calls, floors the squared length at 1e-12.
    lengths = ops.sqrt(ops.maximum(ops.sum(ops.square(vectors), axis=-1, keepdims=True), 1e-12))
    directions = vectors / lengths
    return ops.concatenate([directions[:, 1:], directions[:, :-1]], axis=1), directions, lengths


@fused
def _nt_xent(products, temperature):
    """The loss from the rows' inner products `[A, 2 (B - 1), 2 (B - 1)]`, and its gradient, symmetric halves added."""
    count = products.shape[-1]
    itself = ops.eye(count, dtype=products.dtype)
    partner = ops.roll(itself, count // 2, axis=0)
    similarity = products / temperature
    negatives = similarity - 1e9 * itself
    normaliser = ops.logsumexp(negatives, axis=-1, keepdims=True)
    loss = ops.mean(normaliser[..., 0] - ops.sum(similarity * partner, axis=-1), axis=1)
    d_similarity = (ops.exp(negatives - normaliser) - partner) / (count * temperature)
    return loss, d_similarity + ops.swapaxes(d_similarity, 1, 2)


@fused
def _contrast_gradient(d_rows, directions, lengths):
    """From the gradient of the rows to that of the vectors."""
    pairs = directions.shape[1] - 1
    nothing = ops.zeros_like(d_rows[:, :1])
    d_directions = ops.concatenate([nothing, d_rows[:, :pairs]], axis=1)
    d_directions = d_directions + ops.concatenate([d_rows[:, pairs:], nothing], axis=1)
    along = ops.sum(d_directions * directions, axis=-1, keepdims=True)
    return (d_directions - along * directions) / lengths


@fused
def l2_loss(params: dict, weight: float):
    """`weight · Σ ½ θ²` over every variable, biases included, as in the original; its gradient is `weight · θ`.

    `params`: arrays `[A, ...]`. Returns `[A]`. The original adds the same for two dead copies of variables.
    """
    total = 0.0
    for value in params.values():
        total = total + ops.sum(ops.square(value), axis=tuple(range(1, len(value.shape))))
    return 0.5 * weight * total


def cross_entropy(logits, labels):
    """Mean softmax cross-entropy.

    `logits`: `[B, C]`; `labels`: class index `[B]`. Returns a scalar.
    """
    correct = ops.take_along_axis(logits, ops.expand_dims(ops.cast(labels, 'int32'), -1), axis=-1)[:, 0]
    return ops.mean(ops.logsumexp(logits, axis=-1) - correct)


def paired_contrastive_loss(vectors, temperature: float):
    """Ties the two sequences of each pair together, against all other sequences of the batch (NT-Xent).

    Other than the original's `consecutive_contrastive_loss`, no row stands there twice, and the two rows of a pair are
    neighbours in one recording, so that nobody is tied to somebody else.

    `vectors`: `[A, B, U]`; rows 2k and 2k + 1 are a pair; `temperature`: t > 0. Returns the mean over the rows `[A]`,
    and its gradient with respect to the vectors.
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

    `logits`: `[B, C]`; `labels`: class indices `[B]`; `smoothing`: the share. Returns the loss, and its gradient `[B,
    C]` with respect to the logits.
    """
    batch, classes = logits.shape
    wanted = ops.one_hot(ops.cast(labels, 'int32'), classes, dtype=logits.dtype)
    wanted = wanted * (1 - smoothing) + smoothing / classes
    likely = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
    return -ops.sum(wanted * likely) / batch, (ops.exp(likely) - wanted) / batch
