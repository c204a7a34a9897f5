"""The gait encoder against its NumPy twin, by finite differences, and its invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sge_la import backends
from sge_la.backends import ops
from sge_la.model import gait_encoder
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import losses, losses_and_gradients
from tests.model import twin

# At 14 joints and 20 frames the recurrence is a scan, at 6 frames it is unrolled.
SHORT = EncoderConfig(length=6, joints=20, units=8)
LONG = EncoderConfig(length=20, joints=14, units=6, temperature=0.15)


def batch(config: EncoderConfig, size: int, seed: int = 0):
    """Inputs and reversed targets `[3, T, B, J]`, and weights moved off their equal start."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(3, config.length, size, config.joints)).astype(np.float32)
    params = gait_encoder.initial_params(config, seed)
    params = {
        name: value + rng.normal(scale=0.1, size=value.shape).astype(np.float32) for name, value in params.items()
    }
    return inputs, inputs[:, ::-1].copy(), params


def axis_of(params, axis):
    return {name: value[axis].astype(np.float64) for name, value in params.items()}


def run_gradients(config, params, inputs, targets):
    def all_of(params, inputs, targets):
        return losses_and_gradients(config, params, inputs, targets)

    terms, grads = backends.current().compiled(all_of)(params, inputs, targets)
    return (
        {name: ops.convert_to_numpy(value) for name, value in terms.items()},
        {name: ops.convert_to_numpy(value) for name, value in grads.items()},
    )


@pytest.fixture
def without_own_gradients(monkeypatch):
    """A function: from then on the recurrences are differentiated automatically, operation by operation."""

    def apply():
        monkeypatch.setattr(backends.current(), 'with_gradient', lambda forward, _: lambda *given: forward(*given)[0])

    return apply


@pytest.mark.usefixtures('each_backend')
@pytest.mark.parametrize('config', [SHORT, LONG], ids=['unrolled', 'scan'])
def test_forward_equals_the_twin(config):
    inputs, _, params = batch(config, 3)
    found = gait_encoder.encode(config, params, ops.convert_to_tensor(inputs))
    outputs = ops.convert_to_numpy(gait_encoder.decode_frames(params, found))
    for axis in range(3):
        for b in range(3):
            states, alignments, contexts, frames = twin.encode_sequence(axis_of(params, axis), inputs[axis, :, b])
            assert np.allclose(found.states[axis, :, b], states, atol=1e-5)
            assert np.allclose(found.alignments[axis, :, :, b], alignments, atol=1e-5)
            assert np.allclose(found.contexts[axis, :, b], contexts, atol=1e-5)
            assert np.allclose(outputs[axis, :, b], frames, atol=1e-5)


@pytest.mark.usefixtures('each_backend')
@pytest.mark.parametrize('reverse', [True, False])
def test_masked_attention_equals_the_twin(reverse):
    config = replace(SHORT, attention='MBA', reverse=reverse)
    inputs, _, params = batch(config, 1)
    found = gait_encoder.encode(config, params, ops.convert_to_tensor(inputs))
    for axis in range(3):
        _, alignments, contexts, _ = twin.encode_sequence(
            axis_of(params, axis), inputs[axis, :, 0], twin.locality(6, reverse)
        )
        assert np.allclose(found.alignments[axis, :, :, 0], alignments, atol=1e-5)
        assert np.allclose(found.contexts[axis, :, 0], contexts, atol=1e-5)


@pytest.mark.parametrize(('attention', 'reverse'), [('LA', True), ('LA', False), ('BA', True)])
@pytest.mark.parametrize('config', [SHORT, LONG], ids=['unrolled', 'scan'])
def test_losses_equal_the_twin(config, attention, reverse):
    config = replace(config, attention=attention, reverse=reverse)
    inputs, targets, params = batch(config, 4)
    terms = losses(config, params, ops.convert_to_tensor(inputs), ops.convert_to_tensor(targets))
    for axis in range(3):
        expected = twin.losses(
            axis_of(params, axis),
            inputs[axis].swapaxes(0, 1),
            targets[axis].swapaxes(0, 1),
            attention=attention,
            reverse=reverse,
            temperature=config.temperature,
        )
        for name, value in expected.items():
            assert float(terms[name][axis]) == pytest.approx(value, rel=2e-5)


@pytest.mark.parametrize('config', [SHORT, LONG], ids=['unrolled', 'scan'])
def test_gradients_equal_finite_differences_of_the_twin(config):
    """The twin's cost is differentiated numerically along one random direction for each variable."""
    inputs, targets, params = batch(config, 3)
    _, grads = run_gradients(config, params, inputs, targets)
    weights = axis_of(params, 1)
    rng = np.random.default_rng(1)

    def cost(weights):
        terms = twin.losses(
            weights, inputs[1].swapaxes(0, 1), targets[1].swapaxes(0, 1), temperature=config.temperature
        )
        return sum(terms.values())

    for name, value in weights.items():
        direction = rng.normal(size=value.shape)
        step = 1e-5
        ahead, back = (cost({**weights, name: value + sign * step * direction}) for sign in (1, -1))
        expected = (ahead - back) / (2 * step)
        found = (grads[name][1] * direction).sum()
        assert found == pytest.approx(expected, rel=2e-3, abs=2e-3), name


VARIANTS = [
    pytest.param({}, marks=pytest.mark.slow_on_jax),
    pytest.param({'attention': 'BA'}, marks=pytest.mark.slow_on_jax),
    pytest.param({'attention': 'MBA'}, marks=pytest.mark.slow_on_jax),
    {'attention': 'none', 'contrastive': False},
    {'reverse': False, 'contrastive': False},
    # Gates of 256 columns: on TensorFlow's CPU kernels have columns of zeros behind them (`backends.spread`).
    pytest.param({'units': 64}, marks=pytest.mark.slow_on_jax),
    pytest.param({'units': 64, 'length': 13}, marks=pytest.mark.slow_on_jax),
    pytest.param({'units': 64, 'attention': 'none', 'contrastive': False}, marks=pytest.mark.slow_on_jax),
]


@pytest.mark.parametrize('variant', VARIANTS, ids=str)
def test_gradients_of_the_recurrences_equal_automatic_differentiation(variant, without_own_gradients):
    config = replace(SHORT, **variant)
    inputs, targets, params = batch(config, 4)
    _, grads = run_gradients(config, params, inputs, targets)
    without_own_gradients()
    sides = ops.convert_to_tensor(inputs), ops.convert_to_tensor(targets)
    _, automatic = losses_and_gradients(config, params, *sides)
    assert set(grads) == set(params)
    for name, value in automatic.items():
        value = ops.convert_to_numpy(value)
        assert np.abs(grads[name] - value).max() <= 2e-5 * np.abs(value).max(), name


def test_a_function_has_the_gradient_that_it_is_given():
    """3 x + y with gradients 5 and 7, which are wrong on purpose; z is not used, so its gradient is 0."""
    function = backends.with_gradient(lambda x, y: ((3 * x + y,), ()), lambda tape, d: (5 * d, 7 * d))

    def cost(params):
        (total,) = function(params['x'], params['y'])
        return 2 * ops.sum(total), total

    params = {name: np.float32([1, 2]) for name in 'xyz'}
    grads, total = backends.current().compiled(lambda params: backends.gradients(cost, params))(params)
    assert ops.convert_to_numpy(total).tolist() == [4, 8]
    found = {name: ops.convert_to_numpy(grad).tolist() for name, grad in grads.items()}
    assert found == {'x': [10, 10], 'y': [14, 14], 'z': [0, 0]}


@pytest.mark.slow_on_jax
def test_three_axes_together_equal_three_runs_apart():
    inputs, targets, params = batch(SHORT, 4)
    terms, grads = run_gradients(SHORT, params, inputs, targets)
    for axis in range(3):
        alone = {name: value[axis : axis + 1] for name, value in params.items()}
        alone_terms, alone_grads = run_gradients(SHORT, alone, inputs[axis : axis + 1], targets[axis : axis + 1])
        for name, value in alone_terms.items():
            assert value[0] == pytest.approx(terms[name][axis], rel=1e-6)
        for name, value in alone_grads.items():
            scale = np.abs(value).max()
            assert np.abs(value[0] - grads[name][axis]).max() <= 1e-5 * scale, name


def test_initial_values_are_the_originals_distributions():
    config = EncoderConfig(length=6, joints=20)
    params = gait_encoder.initial_params(config, seed=3)
    cells = {name: value for name, value in params.items() if name.endswith('lstm_cell/kernel')}
    assert len(cells) == 4
    for value in cells.values():
        assert value.min() >= -0.1 and value.max() <= 0.1 and value.std() == pytest.approx(0.2 / np.sqrt(12), rel=0.01)
        assert (value[0] == value[1]).all() and (value[0] == value[2]).all()
    second = [value for name, value in cells.items() if 'cell_1' in name]
    assert (second[0] == second[1]).all()  # equal shapes start equal, as with the original's one op seed
    assert np.abs(params['memory_layer/kernel']).max() <= np.sqrt(6 / 512)
    assert (params['memory_layer/kernel'][0] != params['memory_layer/kernel'][1]).any()
    dense = params['decode/decoder/dense/kernel']
    assert np.abs(dense).max() <= 0.2 and dense.std() == pytest.approx(0.088, rel=0.03)  # truncated at two sd
    assert params['W1'].std() == pytest.approx(1, rel=0.01)
    assert all((value == 0).all() for name, value in params.items() if name.endswith(('bias', 'b1', 'Variable')))


def test_parameters_are_as_many_as_the_paper_counts():
    """8.47 M with the two dead copies (283,648 an axis) that the original also counts."""
    params = gait_encoder.initial_params(EncoderConfig(length=6, joints=20), 0)
    live = sum(value.size for value in params.values())
    assert live == 3 * (808_960 + 1_272_852 + 459_264)
    assert live + 3 * 283_648 == 8_474_172


@pytest.mark.usefixtures('each_backend')
def test_axis_major_only_moves_axes():
    skeletons = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)
    moved = ops.convert_to_numpy(gait_encoder.axis_major(skeletons))
    assert moved.shape == (3, 3, 2, 4)
    assert moved[2, 1, 0, 3] == skeletons[0, 1, 3, 2]


@pytest.mark.parametrize('attention', ['MBA', 'none'])
def test_ablation_variants_have_the_right_parts(attention):
    config = EncoderConfig(length=6, joints=5, units=8, attention=attention, contrastive=False, reverse=False)
    inputs, targets, params = batch(config, 4)
    terms, grads = run_gradients(config, params, inputs, targets)
    assert set(grads) == set(params)
    assert (terms['locality'] == 0).all() and (terms['contrastive'] == 0).all()
    if attention == 'MBA':
        found = gait_encoder.encode(config, params, ops.convert_to_tensor(inputs))
        assert np.allclose(ops.sum(found.alignments, axis=2), 1, atol=1e-6)


def test_detached_head_does_not_change_the_encoder():
    """With `detach_contrast` the encoder's gradients are those of a model without the contrastive loss."""
    inputs, targets, params = batch(SHORT, 4)
    detached = replace(SHORT, detach_contrast=True)
    plain = replace(SHORT, contrastive=False)
    _, grads = run_gradients(detached, params, inputs, targets)
    _, without = run_gradients(
        plain, {name: params[name] for name in gait_encoder.initial_params(plain, 0)}, inputs, targets
    )
    for name, value in without.items():
        assert np.abs(grads[name] - value).max() <= 1e-6 * np.abs(value).max(), name
    assert np.abs(grads['W1']).max() > 0
