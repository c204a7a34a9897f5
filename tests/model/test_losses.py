"""Losses and the locality mask: worked by hand, and against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from sge_la.model.attention import attend, locality_mask
from sge_la.model.losses import consecutive_contrastive_loss, cross_entropy, l2_loss, locality_loss, reconstruction_loss
from tests.model import twin


def test_locality_mask_of_six_frames():
    """sigma = 3: at distance d the mask is exp(-d² / 18), 1 on the anti-diagonal."""
    mask = locality_mask(6)
    assert np.round(mask[5].astype(float), 3).tolist() == [1.0, 0.946, 0.801, 0.607, 0.411, 0.249]
    assert (np.fliplr(mask).diagonal() == 1).all()
    assert (locality_mask(6, reverse=False).diagonal() == 1).all()
    assert (mask[:, ::-1] == locality_mask(6, reverse=False)).all()


def test_attention_is_a_softmax_of_products():
    """Keys 0 and ln 3 along the query give weights 1/4 and 3/4; the context mixes the values alike."""
    keys = np.zeros((1, 2, 1, 2), np.float32)
    keys[0, 1, 0, 0] = np.log(3)
    values = np.array([[[[4.0, 0.0]], [[0.0, 8.0]]]], np.float32)
    query = ops.convert_to_tensor(np.array([[[1.0, 5.0]]], np.float32))
    context, alignment = attend(query, keys, values, np.ones((1, 2), np.float32))
    assert np.allclose(alignment[0, :, 0], [0.25, 0.75])
    assert np.allclose(context[0, 0], [1.0, 6.0])


def test_reconstruction_is_half_the_sum_of_squares():
    outputs = np.zeros((3, 2, 2, 2), np.float32)
    targets = np.zeros_like(outputs)
    targets[1] = 2.0  # 8 values of 2: half of 32
    assert ops.convert_to_numpy(reconstruction_loss(outputs, targets)).tolist() == [0.0, 16.0, 0.0]


def test_locality_loss_of_uniform_attention():
    """T = 2, weights 1/2: off the anti-diagonal M = exp(-1/2), so two terms of ½ (½ (1 - M))² a sequence."""
    alignments = np.full((1, 2, 2, 3), 0.5, np.float32)
    mask = ops.convert_to_tensor(locality_mask(2))
    expected = 3 * 2 * 0.5 * (0.5 * (1 - np.exp(-0.5))) ** 2
    assert float(locality_loss(alignments, mask)[0]) == pytest.approx(expected, rel=1e-6)


def test_contrast_of_three_orthogonal_vectors():
    """t = 1, v_0, v_1, v_2 orthogonal units: rows [v1, v2, v0, v1]. A row of v1 sees its copy (cosine 1) and two others
    (0): ln(e + 2); the others see only zeros: ln 3. Every positive is 0."""
    vectors = np.eye(3, dtype=np.float32)[None]
    expected = (2 * np.log(np.e + 2) + 2 * np.log(3)) / 4
    assert float(consecutive_contrastive_loss(vectors, 1.0)[0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('temperature', [0.05, 0.1, 0.5, 1.0])
def test_contrast_equals_the_loop(temperature):
    vectors = np.random.default_rng(0).normal(size=(3, 17, 9)).astype(np.float32)
    found = ops.convert_to_numpy(consecutive_contrastive_loss(vectors, temperature))
    expected = [twin.contrast(axis.astype(np.float64), temperature) for axis in vectors]
    assert np.allclose(found, expected, rtol=1e-5)


def test_contrast_depends_on_the_order_of_sequences():
    vectors = np.random.default_rng(0).normal(size=(1, 8, 4)).astype(np.float32)
    shuffled = vectors[:, [3, 1, 4, 0, 5, 7, 2, 6]]
    assert float(consecutive_contrastive_loss(vectors, 0.1)[0]) != pytest.approx(
        float(consecutive_contrastive_loss(shuffled, 0.1)[0]), rel=1e-3
    )


def test_l2_counts_every_variable_of_an_axis():
    params = {'kernel': np.full((3, 2, 2), 2.0, np.float32), 'bias': np.zeros((3, 2), np.float32)}
    params['bias'][1] = 3.0
    assert np.allclose(l2_loss(params, 0.02), [0.02 * 8, 0.02 * (8 + 9), 0.02 * 8])


def test_cross_entropy_of_even_odds():
    assert float(cross_entropy(np.zeros((5, 4), np.float32), np.arange(5) % 4)) == pytest.approx(np.log(4), rel=1e-6)
