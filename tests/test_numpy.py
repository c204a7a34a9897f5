"""Inference on NumPy beside Keras' backend, which tests/model compares with the twin and with the original."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sge_la import backends
from sge_la.errors import UserError
from sge_la.evaluation.scores import compiled_recogniser, labelled_scores, logits
from sge_la.features.cages import encoder_function
from sge_la.model import labelled_lstm, recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import initial_params

CONFIG = EncoderConfig(length=6, joints=20)
# 13 frames are a scan, 6 are unrolled.
KINDS = [
    pytest.param(CONFIG, 'context', id='LA'),
    pytest.param(CONFIG, 'contrast', id='vectors'),
    pytest.param(replace(CONFIG, attention='MBA'), 'context', id='MBA'),
    pytest.param(replace(CONFIG, length=13, joints=14, attention='BA'), 'context', id='scan'),
    pytest.param(replace(CONFIG, attention='none', contrastive=False), 'states', id='states'),
]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def on_each(run) -> list[np.ndarray]:
    """What Keras' backend and what NumPy makes of it."""
    found = []
    for name in (None, backends.NUMPY):
        with backends.using(name):
            found.append(np.asarray(run()))
    return found


def assert_alike(found, expected):
    assert found.dtype == expected.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize(('config', 'kind'), KINDS)
def test_features_are_those_of_keras(config, kind, rng):
    inputs = rng.normal(size=(16, config.length, config.joints, 3)).astype(np.float32)
    expected, found = on_each(lambda: encoder_function(config, 'ap', kind)(initial_params(config, 1), inputs))
    assert_alike(found, expected)


def test_answers_are_those_of_keras(rng):
    """More rows than a block; the network of a run, and an LSTM with a softmax of its own."""
    params = recognition.initial_params(30, 7, 0)
    features = rng.normal(size=(5000, 30)).astype(np.float32)
    expected, found = on_each(lambda: logits(params, features, compiled_recogniser()))
    assert_alike(found, expected)
    params = labelled_lstm.initial_params(5, 16, 4, 0)
    skeletons = rng.normal(size=(9, 6, 5, 3)).astype(np.float32)
    expected, found = on_each(lambda: labelled_scores(params, skeletons))
    assert_alike(found, expected)


def test_keras_keeps_its_backend():
    other = backends.JAX if backends.name() == backends.TENSORFLOW else backends.TENSORFLOW
    with pytest.raises(UserError, match='another process'), backends.using(other):
        pass
