"""The cost of the modern recipe, pretext task and recognition in one, and its gradient."""

from __future__ import annotations

from sge_la.backends import ops
from sge_la.model import sequence_recognition
from sge_la.model.attention import locality_mask
from sge_la.model.config import EncoderConfig, Recipe
from sge_la.model.gait_encoder import contrast_head, decode_frames, encode, linear_map
from sge_la.model.gradients import _decoder_gradient, _encoder_gradient, _head_gradient, _keep, _unflattened
from sge_la.model.losses import locality_loss, paired_contrastive_loss, reconstruction_loss, smoothed_cross_entropy
from sge_la.model.lstm import project, transposed
from sge_la.model.products import as_configured

TERMS = ('cross_entropy', 'accuracy', 'reconstruction', 'locality', 'contrastive')


@as_configured
def cost_and_gradients(config: EncoderConfig, recipe: Recipe, manner: str, params: dict, inputs, labels, step):
    """The terms of the cost on one batch, and the gradient of their weighted sum.

    The cost is the cross-entropy plus `recipe.pretext` times the mean over sequences of reconstruction and locality
    losses, and the mean of the contrastive ones.

    Args:
        config: the encoders'.
        recipe: pieces and weights.
        manner: 'ap' or 'sc'.
        params: of encoders `[A, ...]` and recognition network.
        inputs: `[A, T, B, J]`; rows 2k and 2k + 1 are neighbours in one recording.
        labels: class indices `[B]`.
        step: number of the update, for the dropout masks.

    Returns:
        (`TERMS` `[5]`, gradients by name).
    """
    encoded = encode(config, params, inputs)
    network = sequence_recognition.head_params(params)
    rows = sequence_recognition.rows_of(encoded.contexts, manner)
    masks = _masks(recipe, rows, network, step)
    logits, *taped = sequence_recognition.forward(network, rows, masks)
    smoothing = recipe.smoothing if recipe.has('smoothed') else 0.0
    entropy, d_logits = smoothed_cross_entropy(logits, labels, smoothing)
    grads, d_rows = sequence_recognition.backward(network, taped, masks, d_logits)
    d_contexts = sequence_recognition.contexts_of(d_rows, manner, *inputs.shape[:2])
    if not recipe.has('tuned'):
        d_contexts = ops.zeros_like(d_contexts)
    terms, d_attention, d_contexts, d_alignments = _pretext(config, recipe, params, inputs, encoded, d_contexts, grads)
    d_states, d_last = _decoder_gradient(config, params, encoded, d_attention, d_contexts, d_alignments, grads)
    _encoder_gradient(params, encoded, d_states, d_last, grads)
    correct = ops.mean(ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, 'int32')), 'float32'))
    for name, value in params.items():  # what no term of the cost reaches
        grads.setdefault(name, ops.zeros_like(value))
    return ops.stack([entropy, correct, *terms]), grads


def _masks(recipe: Recipe, rows, network: dict, step):
    if not recipe.has('dropout'):
        return None
    hidden = (*rows.shape[:2], network['W1'].shape[1])
    return sequence_recognition.kept(tuple(rows.shape), step, 1, recipe.dropout), sequence_recognition.kept(
        hidden, step, 2, recipe.dropout
    )


def _pretext(config, recipe: Recipe, params, inputs, encoded, d_contexts, grads: dict):
    """Adds the pretext task: (its three losses, gradients of attention vectors, contexts and alignments)."""
    zero = ops.zeros((), encoded.contexts.dtype)
    if not recipe.has('pretext'):
        nothing = ops.zeros_like(encoded.attention), d_contexts, ops.zeros_like(encoded.alignments)
        return ((zero, zero, zero), *nothing)
    share = recipe.pretext / inputs.shape[2]
    targets = inputs[:, ::-1]
    outputs = decode_frames(params, encoded)
    d_outputs = (outputs - targets) * share
    _keep(grads, params, 'output', encoded.attention, d_outputs)
    d_attention = project(d_outputs, transposed(linear_map(params, 'output')[0]))
    locality, d_alignments = zero, ops.zeros_like(encoded.alignments)
    if config.attention == 'LA':
        locality, d_alignments = locality_loss(encoded.alignments, ops.convert_to_tensor(locality_mask(config.length)))
        locality, d_alignments = ops.mean(locality) / inputs.shape[2], d_alignments * share
    contrastive = zero
    if config.contrastive and recipe.has('pairs'):
        contrast = contrast_head(params, encoded)
        contrastive, d_vectors = paired_contrastive_loss(contrast.vectors, config.temperature)
        d_flat = _head_gradient(params, contrast, d_vectors * recipe.pretext, grads)
        d_contexts = d_contexts + _unflattened(d_flat, encoded.contexts)
        contrastive = ops.mean(contrastive)
    reconstruction = ops.mean(reconstruction_loss(outputs, targets)) / inputs.shape[2]
    return (reconstruction, locality, contrastive), d_attention, d_contexts, d_alignments
