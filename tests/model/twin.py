"""The gait encoder once more in NumPy, for one axis, frame by frame and as the equations are written.

It shares no code with `sge_la.model`: weights go by the same names, everything else is stated anew, in float64.
"""

from __future__ import annotations

import numpy as np

ENCODER = 'rnn/multi_rnn_cell/cell_{}/lstm_cell/'
WRAPPER = 'decode/decoder/Attention_Wrapper/'


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cell(weights, prefix, x, c, h):
    z = np.concatenate([x, h]) @ weights[prefix + 'kernel'] + weights[prefix + 'bias']
    i, j, f, o = np.split(z, 4)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
    return c, sigmoid(o) * np.tanh(c)


def locality(length, reverse=True):
    """l_t(j) of T frames, entry by entry: 1 where the target repeats the input frame."""
    peaks = [length - 1 - t if reverse else t for t in range(length)]
    return np.array([[np.exp(-((j - peak) ** 2) / (2 * (length / 2) ** 2)) for j in range(length)] for peak in peaks])


def encode_sequence(weights, frames, mask=None):
    """Encoder states, attention weights, context vectors and output frames of one sequence `[T, J]`.

    A mask `[T, T]` is multiplied with the softmax's numerators (MBAS).
    """
    units = weights['memory_layer/kernel'].shape[0]
    states = [(np.zeros(units), np.zeros(units)) for _ in range(2)]
    encoded = []
    for x in frames:
        states[0] = cell(weights, ENCODER.format(0), x, *states[0])
        states[1] = cell(weights, ENCODER.format(1), states[0][1], *states[1])
        encoded.append(states[1][1])
    encoded = np.array(encoded)
    keys = encoded @ weights['memory_layer/kernel']
    attention, alignments, contexts, outputs = np.zeros(units), [], [], []
    for t in range(len(frames)):
        x = np.concatenate([np.zeros(frames.shape[1]), attention])
        states[0] = cell(weights, WRAPPER + 'multi_rnn_cell/cell_0/lstm_cell/', x, *states[0])
        states[1] = cell(weights, WRAPPER + 'multi_rnn_cell/cell_1/lstm_cell/', states[0][1], *states[1])
        scores = np.array([states[1][1] @ key for key in keys])
        alignment = np.exp(scores - scores.max()) * (1 if mask is None else mask[t])
        alignment /= alignment.sum()
        context = sum(a * state for a, state in zip(alignment, encoded, strict=True))
        attention = np.concatenate([states[1][1], context]) @ weights[WRAPPER + 'attention_layer/kernel']
        outputs.append(attention @ weights['decode/decoder/dense/kernel'] + weights['decode/decoder/dense/bias'])
        alignments.append(alignment)
        contexts.append(context)
    return encoded, np.array(alignments), np.array(contexts), np.array(outputs)


def contrast(vectors, temperature):
    """NT-Xent between neighbours, pair by pair."""
    rows = [*vectors[1:], *vectors[:-1]]
    pairs = len(vectors) - 1
    terms = []
    for a, row in enumerate(rows):
        cosine = [row @ other / np.linalg.norm(row) / np.linalg.norm(other) / temperature for other in rows]
        partner = (a + pairs) % (2 * pairs)
        terms.append(np.log(sum(np.exp(value) for b, value in enumerate(cosine) if b != a)) - cosine[partner])
    return np.mean(terms)


def losses(weights, inputs, targets, *, attention='LA', reverse=True, temperature=0.1, contrastive=True):
    """Reconstruction, locality and contrastive loss of a batch `[B, T, J]` of one axis."""
    mask = locality(inputs.shape[1], reverse)
    reconstruction = away = 0.0
    vectors = []
    for frames, target in zip(inputs, targets, strict=True):
        _, alignments, contexts, outputs = encode_sequence(weights, frames)
        reconstruction += 0.5 * ((outputs - target) ** 2).sum()
        away += 0.5 * ((alignments - alignments * mask) ** 2).sum()
        if contrastive:
            hidden = np.maximum(contexts.reshape(-1) @ weights['W1'] + weights['b1'], 0)
            vectors.append(hidden @ weights['W'] + weights['Variable'])
    return {
        'reconstruction': reconstruction,
        'locality': away if attention == 'LA' else 0.0,
        'contrastive': contrast(vectors, temperature) if contrastive else 0.0,
    }
