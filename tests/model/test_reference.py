"""The numbers that the original computed: activations, losses, gradients, weights after 20 steps, logits."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la import backends, checkpoints
from sge_la.backends import ops
from sge_la.model import gait_encoder, recognition
from sge_la.model.adam import adam_step
from sge_la.model.config import LINEAR_MAPS, EncoderConfig
from sge_la.runs.states import fresh_state
from sge_la.training.encoders import encoder_step
from sge_la.training.recognition import recognition_step

pytestmark = pytest.mark.reference
FIRST_CELL = 'rnn/multi_rnn_cell/cell_0/lstm_cell/kernel'
TERMS = {'real_loss': 0, 'att_loss': 1, 'C_loss': 2, 'l2': 3}


@pytest.fixture(scope='module')
def encoder(reference):
    return reference / 'encoder'


def arrays(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope='module')
def start(encoder):
    """The original's weights before training. The files leave out a kernel that equals another one."""
    weights = arrays(encoder / 'init_weights.npz')
    weights[LINEAR_MAPS['decoder_1'][0]] = weights[LINEAR_MAPS['encoder_1'][0]]
    return weights


@pytest.fixture(scope='module')
def batches(encoder):
    found = arrays(encoder / 'batches.npz')
    return found['inputs'][..., None], found['targets'][..., None]  # [20, B, T, J, 1]


def one_axis(config, weights):
    return {name: weights[name][None] for name in gait_encoder.initial_params(config, 0, axes=1)}


def close(found, expected, tolerance=1e-5):
    found = ops.convert_to_numpy(found)
    return np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def sequence_major(array):
    return ops.transpose(array[0], (1, 0, 2))


@pytest.mark.usefixtures('each_backend')
@pytest.mark.parametrize(('attention', 'mark'), [('LA', 'init'), ('LA', 'step20'), ('BA', 'init')])
def test_activations(encoder, start, batches, attention, mark):
    config = EncoderConfig(6, 20, attention=attention)
    params = one_axis(config, start)
    if mark == 'step20':
        params = checkpoints.load_encoder([encoder / 'checkpoint_LA_step20'], 20, 6).params
    expected = arrays(encoder / f'{attention}_init_acts.npz') | arrays(encoder / f'{attention}_{mark}_acts.npz')
    inputs = gait_encoder.axis_major(batches[0][0])
    found = gait_encoder.encode(config, params, inputs)
    assert close(ops.transpose(found.alignments[0], (0, 2, 1)), expected['alignment_history'])
    assert close(gait_encoder.contrast_head(params, found.contexts)[0], expected['contrast_v'])
    for layer in (1, 2):
        for name, value in zip('ch', found.last[layer - 1], strict=True):
            assert close(value[0], expected[f'enc_{name}_layer{layer}'])
    if attention == 'LA':  # equal for BA, whose file leaves them out
        assert close(sequence_major(found.states), expected['encoder_output'])
        assert close(sequence_major(found.contexts), expected['cage'])
        assert close(sequence_major(gait_encoder.decode_frames(params, found)), expected['train_decoder_output'])


@pytest.mark.parametrize('attention', ['LA', 'BA'])
def test_gradients(encoder, start, batches, attention):
    config = EncoderConfig(6, 20, attention=attention)
    params = one_axis(config, start)

    def gradients(params, inputs, targets):
        sides = gait_encoder.axis_major(inputs), gait_encoder.axis_major(targets)
        return gait_encoder.losses_and_gradients(config, params, *sides)[1]

    found = backends.current().compiled(gradients)(params, batches[0][0], batches[1][0])
    expected = arrays(encoder / ('LA_init_grads.npz' if attention == 'LA' else 'BA_init_grads_subset.npz'))
    compared = 0
    for name, value in expected.items():
        variable, _, part = name.partition('#')
        if variable.startswith('lstm_weights') or part == 'stats':
            continue
        grad = ops.convert_to_numpy(found[variable])[0] + config.l2 * start[variable]
        rows = slice(0, 32) if part else slice(None)
        assert np.abs(grad[rows] - value).max() <= 1e-5 * np.abs(grad).max(), name
        compared += 1
    assert compared == (16 if attention == 'LA' else 14)  # the BA file leaves out W1 and W


@pytest.mark.parametrize('attention', ['LA', pytest.param('BA', marks=pytest.mark.slow_on_jax)])
def test_twenty_steps(encoder, start, batches, attention):
    """Losses along the way, and the weights at the end.

    The original's L2 also counts two copies that nothing else touches: of the first kernel and of a zero bias.
    """
    config = EncoderConfig(6, 20, attention=attention)
    expected = arrays(encoder / f'{attention}_trajectory.npz')
    step = backends.current().compiled(encoder_step(config))
    state = fresh_state(one_axis(config, start))
    held = (state.params, state.first, state.second, np.float32(0))
    dead = fresh_state({'copy': start[FIRST_CELL]})
    copy = (dead.params, dead.first, dead.second)
    for k, values in enumerate(expected['values']):
        held, terms = step(held, batches[0][k], batches[1][k])
        line = dict(zip(expected['keys'], values, strict=True))
        found = {name: float(terms[index, 0]) for name, index in TERMS.items()}
        found['l2'] += 0.5 * config.l2 * float((np.asarray(copy[0]['copy'], np.float64) ** 2).sum())
        found['cost'] = sum(found.values())
        for name, value in line.items():
            assert found[name] == pytest.approx(value, rel=1e-5 if k == 0 else 1e-4), (name, k)
        copy = adam_step(
            *copy, {'copy': np.zeros_like(start[FIRST_CELL])}, np.float32(k + 1), 5e-4, l2=config.l2, clip=5
        )
    if attention == 'LA':
        assert_weights(checkpoints.read_bundle(encoder / 'checkpoint_LA_step20' / 'trained_model.ckpt'), held[0])


def assert_weights(expected, params, axis=True):
    for name, value in params.items():
        value = ops.convert_to_numpy(value)[0] if axis else ops.convert_to_numpy(value)
        error = np.abs(value - expected[name]) / np.abs(expected[name]).max()
        assert error.max() <= 5e-4, name
        if value.ndim == 2:
            assert (error <= 1e-5).mean() >= 0.999, name


def test_recognition_network(reference):
    golden = arrays(reference / 'recognition' / 'golden.npz')
    features = arrays(reference / 'recognition' / 'batches.npz')['X'].reshape(20, 128, 768)
    labels = golden['labels'].astype(np.int32).reshape(20, 128)
    params = {name: golden[f'init/{name}'] for name in ('W1', 'b1', 'W', 'Variable')}
    assert close(recognition.recognise(params, features[0]), golden['logits0_init'])
    _, grads = recognition.loss_and_gradients(params, features[0], labels[0])
    for name, grad in grads.items():
        assert close(grad, golden[f'grad0/{name}']), name
    state = fresh_state(params)
    held = (state.params, state.first, state.second, np.float32(0))
    step = backends.current().compiled(recognition_step)
    for k in range(20):
        held, terms = step(held, features[k], labels[k])
        assert float(terms[0]) == pytest.approx(golden['step_costs'][k], rel=1e-5 if k == 0 else 1e-4)
        assert float(terms[1]) == pytest.approx(golden['step_accs'][k], abs=1e-6)
    assert_weights({name: golden[f'step20/{name}'] for name in params}, held[0], axis=False)
    assert close(recognition.recognise(held[0], features[0]), golden['logits0_step20'], 1e-4)
    saved = checkpoints.load_recognition(reference / 'recognition' / 'checkpoint_step20').params
    assert close(recognition.recognise(saved, features[0]), golden['logits0_step20'])


@pytest.mark.usefixtures('each_backend')
def test_the_authors_biwi_network(reference):
    """The genuine TF 1.10 checkpoint answers fixed random features as it does in the original."""
    golden = arrays(reference / 'authors' / 'biwi_recognition.npz')
    params = checkpoints.load_recognition(reference.parent / 'models' / 'AGEs_RN_models' / 'BIWI_LA_RN_ap').params
    features = np.random.RandomState(0).randn(64, 768).astype(np.float32)
    assert close(recognition.recognise(params, features), golden['BIWI_LA_RN_ap/logits'])
