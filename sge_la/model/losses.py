"""The losses; those of the gait encoder have one value an axis (A)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sge_la.backends import fused, gradients, ops, whole_batch


@fused
def reconstruction_loss(outputs, targets):
    """Half the squared error, summed over frames, sequences and joints (paper: L_R; a sum, as the original has it).

    `outputs`, `targets`: `[A, T, B, J]`, metres. Returns `[A]`.
    """
    return 0.5 * ops.sum(ops.square(outputs - targets), axis=(1, 2, 3))


@fused
def locality_loss(alignments, mask):
    """Pulls attention towards neighbouring frames (paper: L_A): half the sum of (a - a·mask)^2.

    `alignments`: `[A, T decoded, T input, B]`; `mask`: locality mask `[T decoded, T input]`. Returns `[A]`.
    """
    return 0.5 * ops.sum(ops.square(alignments - alignments * mask[None, :, :, None]), axis=(1, 2, 3))


def consecutive_contrastive_loss(vectors, temperature: float):
    """Ties each sequence to the next one in the batch (paper: L_C, NT-Xent).

    The 2 (B - 1) rows are `[v_1 .. v_(B-1); v_0 .. v_(B-2)]`; a row's positive is its partner in the other half, its
    negatives are all other rows. As in the original, `v_1 .. v_(B-2)` stand there twice, so that each has an exact copy
    among its negatives, and neighbours across people count as positives too.

    `vectors`: `[A, B, U]` in file order; `temperature`: t > 0. Returns the mean over the rows `[A]`.
    """
    rows = _later_and_earlier(whole_batch(vectors))
    return _nt_xent(rows, np.roll(np.arange(rows.shape[1]), vectors.shape[1] - 1), temperature)


def paired_contrastive_loss(vectors, temperature: float):
    """Ties the two sequences of each pair together, against all other sequences of the batch (NT-Xent).

    Other than the original's `consecutive_contrastive_loss`, no row stands there twice, and the two rows of a pair are
    neighbours in one recording, so that nobody is tied to somebody else.

    `vectors`: `[A, B, U]`; rows 2k and 2k + 1 are a pair; `temperature`: t > 0. Returns the mean over the rows `[A]`.
    """
    return _nt_xent(_directions(whole_batch(vectors)), np.arange(vectors.shape[1]) ^ 1, temperature)


def supervised_contrastive_loss(vectors, labels, temperature: float):
    """Pulls sequences of one person together and pushes others apart (Khosla et al., 2020, L_out).

    A row's loss is the mean, over the other rows of its person, of `log Σ exp(similarity to all others) - similarity`;
    the similarity is the cosine, divided by t.

    `vectors`: `[B, U]`; `labels`: class indices `[B]`; `temperature`: t > 0. Returns the mean over the rows whose
    person has others; 0 where nobody has.
    """
    rows = _directions(whole_batch(vectors))
    return _contrast_of_people(ops.matmul(rows, ops.transpose(rows)), whole_batch(labels), temperature)


@fused
def _contrast_of_people(products, labels, temperature: float):
    same = ops.cast(ops.equal(labels[:, None], labels[None]), products.dtype)
    partners = same - ops.eye(products.shape[-1], dtype=products.dtype)
    counts = ops.sum(partners, axis=-1, keepdims=True)
    has_partners = ops.cast(counts[:, 0] > 0, products.dtype)
    losses = has_partners * _row_losses(products, partners / ops.maximum(counts, 1), temperature)
    return ops.sum(losses) / ops.maximum(ops.sum(has_partners), 1)


@fused
def _directions(vectors):
    """The vectors at unit length; TensorFlow 1's l2_normalize, which the original calls, has the same floor."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors / ops.sqrt(ops.maximum(squares, 1e-12))


@fused
def _later_and_earlier(vectors):
    directions = _directions(vectors)
    return ops.concatenate([directions[:, 1:], directions[:, :-1]], axis=1)


def _nt_xent(rows, partners: np.ndarray, temperature: float):
    """Mean over the rows `[A, R, U]` of `log Σ exp(similarity to all others) - similarity to the row's partner`."""
    products = ops.matmul(rows, ops.swapaxes(rows, 1, 2))
    return _entropy_of_partners(products, np.eye(len(partners), dtype=np.float32)[partners], temperature)


@fused
def _entropy_of_partners(products, partner, temperature: float):
    return ops.mean(_row_losses(products, partner, temperature), axis=1)


def _row_losses(products, wanted, temperature: float):
    """`log Σ exp(similarity to all others)` less the mean similarity to those wanted, whose weights add up to 1."""
    similarity = products / temperature
    others = similarity - 1e9 * ops.eye(products.shape[-1], dtype=products.dtype)
    return ops.logsumexp(others, axis=-1) - ops.sum(similarity * wanted, axis=-1)


def l2_loss(params: dict, weight: float):
    """`weight · Σ ½ θ²` over every variable, biases included, as in the original.

    `params`: arrays `[A, ...]`. Returns `[A]`. The original adds the same for two dead copies of variables.
    """
    total = 0.0
    for value in params.values():
        total = total + ops.sum(ops.square(value), axis=tuple(range(1, len(value.shape))))
    return 0.5 * weight * total


@fused
def cross_entropy(logits, labels, smoothing: float = 0.0):
    """Mean softmax cross-entropy.

    `logits`: `[B, C]`; `labels`: class indices `[B]`; `smoothing`: the share of each label that is spread evenly over
    all classes. Returns a scalar.
    """
    classes = logits.shape[-1]
    wanted = ops.one_hot(ops.cast(labels, 'int32'), classes, dtype=logits.dtype)
    wanted = wanted * (1 - smoothing) + smoothing / classes
    likely = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
    return -ops.mean(ops.sum(wanted * likely, axis=-1))


def accuracy(logits, labels):
    """The share of rows whose highest logit is that of their label; `logits`: `[B, C]`; `labels`: indices `[B]`."""
    right = ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, 'int32'))
    return ops.mean(ops.cast(right, 'float32'))


def cross_entropy_and_gradients(answer: Callable, params: dict, inputs, labels) -> tuple[tuple, dict]:
    """The mean cross-entropy of the logits `[B, C]` that `answer(params, inputs)` gives, and its gradient.

    Returns ((loss, logits), gradients by variable name).
    """

    def cost(params):
        logits = answer(params, inputs)
        loss = cross_entropy(logits, labels)
        return loss, (loss, logits)

    grads, found = gradients(cost, params)
    return found, grads
