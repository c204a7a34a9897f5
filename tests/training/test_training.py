"""The two stages of training: batches, order, resuming, the chosen epoch, and losses that stop being numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from sge_la import backends
from sge_la.errors import UserError
from sge_la.evaluation.epoch_choice import EpochChoice
from sge_la.evaluation.scores import logits
from sge_la.model import labelled_lstm, recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import axis_major, initial_params, losses, losses_and_gradients
from sge_la.model.pretext import pretext
from sge_la.runs.states import NotFinite, TrainingState, fresh_state
from sge_la.training.encoders import fit_encoder
from sge_la.training.epochs import whole_batches
from sge_la.training.labelled import fit_labelled
from sge_la.training.recognition import fit_recognition
from tests.command_line_cases import uncompiled

CONFIG = EncoderConfig(length=3, joints=2, units=4)


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture(scope='module')
def skeletons() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, 3, 2, 3)).astype(np.float32)


def last(states) -> TrainingState:
    return list(states)[-1]


def assert_equal(one: TrainingState, other: TrainingState) -> None:
    assert (one.step, one.epoch) == (other.step, other.epoch)
    for part, arrays in one.arrays().items():
        for name, value in arrays.items():
            np.testing.assert_array_equal(value, other.arrays()[part][name], err_msg=f'{part} {name}')


def encoders(skeletons, rows, epochs, state=None, **settings):
    state = state or fresh_state(initial_params(CONFIG, 0))
    settings = {'batch_size': 4, **settings}
    return fit_encoder(CONFIG, pretext('rev_rec', skeletons), rows, state, epochs=epochs, **settings)


def test_batches_keep_the_order_and_drop_the_remainder():
    assert whole_batches(np.array([5, 3, 1, 0, 9, 7, 8]), 3).tolist() == [[5, 3, 1], [0, 9, 7]]
    with pytest.raises(UserError, match='at least one batch of 8 sequences, found 7 sequences: use --batch_size 7'):
        whole_batches(np.arange(7), 8)


def test_dropped_sequences_change_nothing(skeletons):
    """11 sequences in batches of 4: the last 3 are never seen, nor is anything behind `rows`."""
    other = skeletons.copy()
    other[8:] = 5
    validation = np.arange(4)
    one = last(encoders(skeletons, np.arange(11), 2, validation=validation))
    assert_equal(one, last(encoders(other, np.arange(11), 2, validation=validation)))
    assert one.step == 4 and [line['epoch'] for line in one.history] == [1, 2]


def test_the_order_of_sequences_matters(skeletons):
    """The contrastive loss ties neighbours of a batch."""
    one = last(encoders(skeletons, np.arange(4), 1)).arrays()['params']['W1']
    other = last(encoders(skeletons, np.array([0, 2, 1, 3]), 1)).arrays()['params']['W1']
    assert (one != other).any()


def test_going_on_is_the_same_as_not_stopping(skeletons):
    whole = last(encoders(skeletons, np.arange(12), 4))
    half = last(encoders(skeletons, np.arange(12), 2))
    kept = TrainingState(**half.arrays(), step=half.step, epoch=half.epoch, history=half.history)
    again = last(encoders(skeletons, np.arange(12), 4, kept))
    assert_equal(whole, again)
    seconds = [[{k: v for k, v in line.items() if k != 'seconds'} for line in run.history] for run in (whole, again)]
    assert seconds[0] == seconds[1]


@pytest.mark.parametrize('count', [20, 140])
def test_validation_losses_are_those_of_the_first_128(skeletons, count):
    """The history's validation equals the losses of the first rows, all 20 or 128, under the epoch's weights."""
    skeletons = np.concatenate([skeletons * np.float32(size) for size in range(1, 8)])[:count]
    rows = np.arange(count)[::-1]
    state = last(encoders(skeletons, rows, 1, batch_size=20))
    inputs = axis_major(skeletons[rows[:128]])
    found = losses(CONFIG, state.params, inputs, inputs[:, ::-1])
    for term in ('reconstruction', 'locality', 'contrastive'):
        for axis, letter in enumerate('xyz'):
            assert state.history[0][f'validation_{term}_{letter}'] == pytest.approx(float(found[term][axis]), rel=1e-5)


def test_encoders_learn_by_adam_on_l2_and_clipped_gradients(skeletons):
    """Twin: two updates in NumPy, float64, from the gradients of the other terms: + l2 · θ, then ± 5, then Adam.

    Sequences of ten metres have gradients above 5. The term l2 is ½ l2 Σ θ² of the weights before the update.
    """
    config, inputs = replace(CONFIG, l2=0.5), 10 * skeletons[:4]
    theta = initial_params(config, 0)
    epochs = fit_encoder(config, pretext('rev_rec', inputs), np.arange(4), fresh_state(theta), epochs=2, batch_size=4)
    axes = axis_major(inputs)
    theta = {name: value.astype(float) for name, value in theta.items()}
    first, second = ({name: np.zeros_like(value) for name, value in theta.items()} for _ in range(2))
    for step, state in enumerate(epochs, 1):
        weights = {name: value.astype(np.float32) for name, value in theta.items()}
        _, grads = losses_and_gradients(config, weights, axes, axes[:, ::-1])
        for axis, letter in enumerate('xyz'):
            expected = 0.25 * sum((value[axis] ** 2).sum() for value in theta.values())
            assert state.history[-1][f'l2_{letter}'] == pytest.approx(expected, rel=1e-4)
        assert max(np.abs(ops.convert_to_numpy(grad)).max() for grad in grads.values()) > 50
        rate = 5e-4 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for name, value in theta.items():
            grad = np.clip(ops.convert_to_numpy(grads[name]) + 0.5 * value, -5, 5)
            first[name] = 0.9 * first[name] + 0.1 * grad
            second[name] = 0.999 * second[name] + 0.001 * grad**2
            theta[name] = value - rate * first[name] / (np.sqrt(second[name]) + 1e-8)
        for name, value in state.arrays()['params'].items():
            np.testing.assert_allclose(value, theta[name], atol=5e-6, err_msg=name)
            np.testing.assert_allclose(state.arrays()['first'][name], first[name], atol=1e-3, err_msg=name)


@pytest.mark.parametrize(('axis', 'letter'), [(0, 'x'), (2, 'z')])
def test_absurd_coordinates_stop_with_epoch_step_and_axis(skeletons, axis, letter):
    """1e30 squared is beyond float32; the third batch of four has it."""
    absurd = skeletons.copy()
    absurd[9, 1, 0, axis] = 1e30
    with pytest.raises(NotFinite) as caught:
        last(encoders(absurd, np.arange(16), 2))
    assert (caught.value.epoch, caught.value.step, caught.value.axis) == (1, 3, letter)
    assert f'of axis {letter} became NaN or infinite in epoch 1, step 3' in str(caught.value)


def test_recognition_learns_in_the_given_order_and_goes_on():
    """The twin is the written-out network with TensorFlow 1's Adam, step after step in NumPy, float64."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    X = (np.eye(3)[labels] @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(50, 6))).astype(np.float32)
    start = recognition.initial_params(6, 3, seed=1, hidden=5)
    whole = last(fit_recognition(X, labels, fresh_state(start), epochs=4, batch_size=8))
    half = last(fit_recognition(X, labels, fresh_state(start), epochs=2, batch_size=8))
    assert_equal(whole, last(fit_recognition(X, labels, half, epochs=4, batch_size=8)))
    assert whole.step == 24  # 50 rows are 6 batches
    twin = adam_twin(start, X.astype(float), labels, epochs=4, batch=8)
    for name, value in twin.items():
        np.testing.assert_allclose(whole.arrays()['params'][name], value, atol=2e-5, err_msg=name)


def adam_twin(start: dict, X: np.ndarray, labels: np.ndarray, epochs: int, batch: int) -> dict:
    params = {name: value.astype(float) for name, value in start.items()}
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    step = 0
    for _ in range(epochs):
        for begin in range(0, len(X) // batch * batch, batch):
            rows, y = X[begin : begin + batch], labels[begin : begin + batch]
            z = rows @ params['W1'] + params['b1']
            scores = np.maximum(z, 0) @ params['W'] + params['Variable']
            odds = np.exp(scores - scores.max(axis=1, keepdims=True))
            d = (odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[y]) / batch
            dz = (d @ params['W'].T) * (z > 0)
            grads = {'W': np.maximum(z, 0).T @ d, 'Variable': d.sum(axis=0), 'W1': rows.T @ dz, 'b1': dz.sum(axis=0)}
            step += 1
            rate = 5e-4 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for name, grad in grads.items():
                first[name] = 0.9 * first[name] + 0.1 * grad
                second[name] = 0.999 * second[name] + 0.001 * grad**2
                params[name] = params[name] - rate * first[name] / (np.sqrt(second[name]) + 1e-8)
    return params


def test_recognition_stops_at_infinite_features():
    X = np.ones((16, 4), np.float32)
    X[9] = 1e38
    with pytest.raises(NotFinite, match='in epoch 1, step 2'):
        last(
            fit_recognition(
                X, np.zeros(16, int), fresh_state(recognition.initial_params(4, 3, 0)), epochs=1, batch_size=8
            )
        )


@pytest.mark.parametrize('rows', [1, 7, 4096, 4097])
def test_logits_in_blocks(rows):
    params = recognition.initial_params(3, 2, seed=0, hidden=4)
    X = np.random.default_rng(0).normal(size=(rows, 3))
    expected = np.maximum(X @ params['W1'] + params['b1'], 0) @ params['W'] + params['Variable']
    np.testing.assert_allclose(logits(params, X), expected, atol=1e-5)


# ---- which epoch is kept ---------------------------------------------------------------------------------------------


def offered(select: str, names: list[str], epochs: list[tuple], held: list[float] | None = None) -> dict[str, int]:
    """The epoch of each checkpoint after these epochs' accuracies."""
    choice = EpochChoice(select, names)
    for number, accuracies in enumerate(epochs, 1):
        state = TrainingState({'w': np.array(number)}, {}, {}, epoch=number)
        choice.offer(dict(zip(names, accuracies, strict=True)), held[number - 1] if held else None, state)
    assert all(int(best.params['w']) == best.epoch for best in choice.all() if best.epoch)
    return {best.stem.split('trained')[0]: best.epoch for best in choice.all()}


def test_the_best_epoch_on_the_test_set_and_the_later_of_equals():
    assert offered('test', ['Walking'], [(0.2,), (0.6,), (0.5,), (0.6,), (0.1,)]) == {'': 4}
    assert offered('test', ['Walking'], [(0.0,), (0.0,)]) == {'': 2}


def test_ias_keeps_three_epochs():
    """A gains strictly at 1, 2 and 4, B at 1 and 3; the joint one needs a gain of either and a greater sum.

    Sums: 0.5, 0.6, 0.5, 0.65, 0.65. Epoch 3: B gains, but 0.5 is no more than 0.6. Epoch 5: nobody gains.
    """
    epochs = [(0.3, 0.2), (0.5, 0.1), (0.1, 0.4), (0.55, 0.1), (0.55, 0.1)]
    assert offered('test', ['A', 'B'], epochs) == {'A_': 4, 'B_': 3, '': 4}


def test_last_and_held_out_choices_ask_no_test_set():
    epochs = [(0.9,), (0.1,), (0.2,)]
    assert offered('last', ['Walking'], epochs) == {'': 3}
    assert offered('val', ['Walking'], epochs, [0.4, 0.7, 0.5]) == {'': 2}
    assert offered('val', ['A', 'B'], [(0.9, 0.9), (0.1, 0.1)], [0.4, 0.7]) == {'A_': 2, 'B_': 2, '': 2}


# ---- the ablation's encoder that is trained with labels --------------------------------------------------------------


@pytest.mark.parametrize('layers', [1, 2])
def test_labelled_gradients_equal_automatic_differentiation(layers, monkeypatch):
    """The layers' own gradients beside those of each operation."""
    rng = np.random.default_rng(0)
    params = {
        name: value + 0.1 * rng.standard_normal(value.shape).astype(np.float32)
        for name, value in labelled_lstm.initial_params(2, 4, 3, seed=0, layers=layers).items()
    }
    inputs = ops.convert_to_tensor(rng.normal(size=(3, 3, 5, 2)).astype(np.float32))  # [A, T, B, J]
    labels = np.array([0, 2, 1, 1, 0])
    _, found = labelled_lstm.loss_and_gradients(params, inputs, labels)
    monkeypatch.setattr(backends.current(), 'with_gradient', lambda forward, _: lambda *given: forward(*given)[0])
    _, expected = labelled_lstm.loss_and_gradients(params, inputs, labels)
    assert set(found) == set(params)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6 * max(1, np.abs(value).max()), err_msg=name)


def test_labelled_lstm_learns_who_it_is(skeletons):
    """Two people whose joints lie a metre apart: the loss starts near ln 2 and falls from epoch to epoch."""
    labels = np.arange(20) % 2
    moved = skeletons * np.float32(0.1) + labels[:, None, None, None].astype(np.float32)
    start = fresh_state(labelled_lstm.initial_params(2, 4, 2, seed=0))
    states = list(fit_labelled(moved, labels, np.arange(20), start, epochs=6, batch_size=10))
    assert states[0].history[0]['cross_entropy'] == pytest.approx(np.log(2), abs=0.1)
    found = [line['cross_entropy'] for line in states[-1].history]
    assert found == sorted(found, reverse=True) and states[-1].step == 12
