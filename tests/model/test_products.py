"""Products in float32 and bfloat16: cases by hand, near each other, and never each other's compiled functions."""

from __future__ import annotations

import contextvars
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from sge_la import backends
from sge_la.evaluation.scores import compiled_recogniser, logits
from sge_la.features.cages import encoder_function
from sge_la.model import labelled_lstm, recognition
from sge_la.model.config import Recipe
from sge_la.model.gait_encoder import contrast_head, encode, losses_and_gradients
from sge_la.model.joint import cost_and_gradients
from sge_la.model.products import as_configured, matmul, precision, rounded
from sge_la.model.sequence_recognition import initial_head
from sge_la.runs.states import fresh_state
from sge_la.training.encoders import encoder_step
from sge_la.training.labelled import fit_labelled
from sge_la.training.recognition import fit_recognition
from tests.model.test_gait_encoder import LONG, SHORT, batch, run_gradients

# Three frames compile in half the time of six.
FEW = replace(SHORT, length=3)


def product(name: str, left, right) -> np.ndarray:
    def of(left, right):
        with precision(name):
            return matmul(left, right)

    found = backends.current().compiled(of)(np.float32(left), np.float32(right))
    assert keras.backend.standardize_dtype(found.dtype) == 'float32'
    return ops.convert_to_numpy(found)


def far(found, expected) -> float:
    """The length of the difference, as a part of the expected length."""
    found, expected = ops.convert_to_numpy(found), ops.convert_to_numpy(expected)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_bfloat16_by_hand():
    """8 bits: 1 + 2^-9 becomes 1, 1 + 2^-7 stays, 1 + 3 · 2^-8 becomes 1 + 2^-6; on the left as on the right."""
    values = [1 + 2**-9, 1 + 2**-7, 1 + 3 * 2**-8]
    rounded = [1, 1 + 2**-7, 1 + 2**-6]
    assert product('bfloat16', np.diag(values), np.eye(3)).diagonal().tolist() == rounded
    assert product('bfloat16', np.eye(3), np.diag(values)).diagonal().tolist() == rounded
    assert product('float32', np.diag(values), np.eye(3)).diagonal().tolist() == values
    assert product('bfloat16', [[1 + 2**-9, 2]], [[3], [0.5]]).tolist() == [[4]]  # 3 + 1


def test_sums_are_not_of_bfloat16():
    """Ones added up in bfloat16 would stay at 256, which 1 is too small for."""
    assert product('bfloat16', np.ones((1, 1024)), np.ones((1024, 1))).tolist() == [[1024]]


def test_float32_is_the_product_of_keras():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(3, 5, 70)).astype(np.float32), rng.normal(size=(3, 70, 4)).astype(np.float32)
    expected = ops.convert_to_numpy(backends.current().compiled(ops.matmul)(left, right))
    assert np.array_equal(product('float32', left, right), expected)
    assert np.array_equal(ops.convert_to_numpy(matmul(left, right)), ops.convert_to_numpy(ops.matmul(left, right)))
    assert 1e-4 < far(product('bfloat16', left, right), expected) < 1e-2


@pytest.mark.parametrize('name', ['float32', 'bfloat16'])
def test_a_kernel_that_was_rounded_before_gives_the_same(name):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(3, 5, 70)).astype(np.float32), rng.normal(size=(3, 70, 4)).astype(np.float32)
    with precision(name):
        kernel = rounded(ops.convert_to_tensor(right))
        found = ops.convert_to_numpy(matmul(left, kernel))
        assert np.array_equal(found, ops.convert_to_numpy(matmul(left, right)))
    assert keras.backend.standardize_dtype(kernel.dtype) == name


def test_precision_ends_where_its_block_ends():
    with pytest.raises(RuntimeError), precision('bfloat16'):
        assert rounds()
        with precision('float32'):
            assert not rounds()
        assert rounds() and not contextvars.Context().run(rounds)  # other threads have their own
        raise RuntimeError
    assert not rounds()
    with pytest.raises(ValueError, match='float16'), precision('float16'):
        pass


def rounds() -> bool:
    return float(ops.convert_to_numpy(matmul(np.float32([[1 + 2**-9]]), np.float32([[1]])))[0, 0]) == 1


@pytest.mark.slow_on_jax
@pytest.mark.parametrize(
    'config',
    [FEW, LONG, replace(FEW, attention='none', contrastive=False), replace(FEW, units=64, contrastive=False)],
    ids=['unrolled', 'scan', 'plain', 'spread'],
)
def test_encoder_gradients_are_near(config):
    inputs, targets, params = batch(config, 4)
    terms, grads = run_gradients(config, params, inputs, targets)
    rounded_terms, rounded = run_gradients(replace(config, precision='bfloat16'), params, inputs, targets)
    for name, grad in grads.items():
        assert rounded[name].dtype == np.float32 and 0 < far(rounded[name], grad) < 0.1, name
    assert far(rounded_terms['reconstruction'], terms['reconstruction']) < 0.01


@pytest.mark.slow_on_jax
def test_modern_gradients_are_near():
    inputs, _, params = batch(FEW, 16)
    params |= initial_head(3 * FEW.units, 5, 0)
    found = {}
    for name in ('float32', 'bfloat16'):
        config = replace(FEW, precision=name)

        def cost(params, inputs, labels, config=config):
            return cost_and_gradients(config, Recipe.of(None), 'ap', params, inputs, labels, np.float32(1))

        found[name] = backends.current().compiled(cost)(params, inputs, np.arange(16, dtype=np.int32) % 5)[1]
    distances = {name: far(found['bfloat16'][name], grad) for name, grad in found['float32'].items()}
    # Near zero, a ReLU lets other values through.
    assert all(0 < distance < 0.2 for distance in distances.values()), distances
    assert np.median(list(distances.values())) < 0.03, distances


@pytest.mark.slow_on_jax
def test_runs_of_two_precisions_share_no_compiled_function():
    """One after the other in a process; float32 comes out the same before and after, bit for bit."""
    config = replace(FEW, temperature=0.2)  # nobody else's functions
    inputs, _, params = batch(config, 4)
    rows = inputs.transpose(2, 1, 3, 0).copy()
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(64, 24)).astype(np.float32), np.arange(64) % 3
    network = recognition.initial_params(24, 3, 0)
    classified = labelled_lstm.initial_params(config.joints, 8, 3, 0)

    def results(name: str) -> dict:
        of = replace(config, precision=name)
        held = (*vars(fresh_state(params)).values(),)[:3]
        (weights, *_), _ = backends.current().compiled(encoder_step(of))((*held, np.float32(0)), rows, rows[:, ::-1])
        settings = {'epochs': 1, 'precision': name}
        *_, trained = fit_recognition(features, labels, fresh_state(network), batch_size=32, **settings)
        *_, told = fit_labelled(
            rows, np.int32([0, 1, 2, 0]), np.arange(4), fresh_state(classified), batch_size=4, **settings
        )
        found = {
            'step': weights['memory_layer/kernel'],
            'context': encoder_function(of, 'ap')(params, rows),
            'contrast': encoder_function(of, 'ap', 'contrast')(params, rows),
            'states': encoder_function(of, 'sc', 'states')(params, rows),
            'network': trained.params['W1'],
            'answers': logits(network, features, compiled_recogniser(name)),
            'labelled': told.params['softmax/kernel'],
        }
        return {key: ops.convert_to_numpy(value) for key, value in found.items()}

    before, between, after = results('float32'), results('bfloat16'), results('float32')
    for key, value in before.items():
        assert np.array_equal(value, after[key]), key
        assert not np.array_equal(value, between[key]) and far(between[key], value) < 0.05, key


@pytest.mark.skipif(keras.backend.backend() != 'tensorflow', reason="looks into TensorFlow's graphs")
@pytest.mark.parametrize('name', ['float32', 'bfloat16'])
def test_no_product_is_forgotten_and_float32_has_no_cast(name):
    import tensorflow as tf

    config = replace(FEW, precision=name)
    inputs, targets, params = batch(config, 4)

    @as_configured
    def everything(config, params, network, inputs, targets):
        vectors = contrast_head(params, encode(config, params, inputs).contexts)
        features, labels = ops.reshape(inputs, (-1, 20)), np.zeros(36, np.int32)
        network = recognition.loss_and_gradients(network, features, labels), recognition.recognise(network, features)
        return vectors, network, losses_and_gradients(config, params, inputs, targets)

    network = recognition.initial_params(20, 3, 0)
    inputs, targets = inputs[:, :, :4], targets[:, :, :4]
    compiled = tf.function(lambda *arrays: everything(config, *arrays), autograph=False)
    graph = compiled.get_concrete_function(
        *tf.nest.map_structure(tf.convert_to_tensor, (params, network, inputs, targets))
    ).graph
    operations = graph.get_operations()
    products = [operation.inputs[0].dtype for operation in operations if 'MatMul' in operation.type]
    # The contrastive loss' product and its two gradients stay; the attention's sums are no such operations here.
    assert products.count(tf.float32) == (len(products) if name == 'float32' else 3)
    casts = [operation for operation in operations if operation.type == 'Cast']
    assert any(tf.bfloat16 in (cast.inputs[0].dtype, cast.outputs[0].dtype) for cast in casts) == (name == 'bfloat16')
