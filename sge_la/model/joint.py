"""The cost of the modern recipe, pretext task and recognition in one, and its gradient."""

from __future__ import annotations

from sge_la.backends import gradients, ops
from sge_la.model import sequence_recognition
from sge_la.model.attention import locality_mask
from sge_la.model.config import EncoderConfig, Recipe
from sge_la.model.gait_encoder import contrast_head, decode_frames, encode
from sge_la.model.losses import (
    accuracy,
    cross_entropy,
    locality_loss,
    paired_contrastive_loss,
    reconstruction_loss,
    supervised_contrastive_loss,
)
from sge_la.model.products import as_configured

TERMS = ('cross_entropy', 'accuracy', 'reconstruction', 'locality', 'contrastive', 'supervised_contrastive')


@as_configured
def cost_and_gradients(config: EncoderConfig, recipe: Recipe, manner: str, params: dict, inputs, labels, step):
    """The terms of the cost on one batch, and the gradient of their weighted sum.

    The cost is the cross-entropy, plus `recipe.pretext` times the pretext task's losses, summed over the axes (those of
    reconstruction and locality are means over sequences), plus `recipe.supervised` times the contrast between people.
    The terms are means over the axes.

    Args:
        config: the encoders'.
        recipe: pieces and weights.
        manner: 'ap' or 'sc'.
        params: of encoders `[A, ...]` and recognition network.
        inputs: `[A, T, B, J]`; rows 2k and 2k + 1 are neighbours in one recording.
        labels: class indices `[B]`.
        step: number of the update, for the dropout masks.

    Returns:
        (`TERMS` `[6]`, gradients by name).
    """

    def cost(params):
        encoded = encode(config, params, inputs)
        network = sequence_recognition.head_params(params)
        contexts = encoded.contexts if recipe.has('tuned') else ops.stop_gradient(encoded.contexts)
        rows = sequence_recognition.rows_of(contexts, manner)
        logits, hidden = sequence_recognition.sequence_logits(network, rows, _masks(recipe, rows, network, step))
        entropy = cross_entropy(logits, labels, recipe.smoothing if recipe.has('smoothed') else 0.0)
        correct = accuracy(logits, labels)
        pretext = _pretext(config, recipe, params, inputs, encoded)
        supervised = ops.zeros((), entropy.dtype)
        if recipe.supervised:
            supervised = supervised_contrastive_loss(hidden, labels, recipe.supervised_temperature)
        terms = [entropy, correct, *map(ops.mean, pretext), supervised]
        return entropy + recipe.pretext * ops.sum(sum(pretext)) + recipe.supervised * supervised, ops.stack(terms)

    grads, terms = gradients(cost, params)
    return terms, grads


def _masks(recipe: Recipe, rows, network: dict, step):
    if not recipe.has('dropout'):
        return None
    shapes = tuple(rows.shape), (*rows.shape[:2], network['W1'].shape[1])
    return [sequence_recognition.kept(shape, step, salt, recipe.dropout) for salt, shape in enumerate(shapes, 1)]


def _pretext(config, recipe: Recipe, params, inputs, encoded):
    """The losses of the pretext task by axis `[A]`: reconstruction, locality, contrastive."""
    axes, _, batch, _ = inputs.shape
    reconstruction = locality = contrastive = ops.zeros((axes,), encoded.contexts.dtype)
    if recipe.has('pretext'):
        reconstruction = reconstruction_loss(decode_frames(params, encoded), inputs[:, ::-1]) / batch
        if config.attention == 'LA':
            locality = locality_loss(encoded.alignments, locality_mask(config.length)) / batch
        if config.contrastive and recipe.has('pairs'):
            contrastive = paired_contrastive_loss(contrast_head(params, encoded.contexts), config.temperature)
    return reconstruction, locality, contrastive
