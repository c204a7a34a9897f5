"""Pieces of the modern recipe: inputs, rates and updates, losses, the recognition network, and their gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from sge_la import backends
from sge_la.errors import UserError
from sge_la.model import recognition, sequence_recognition
from sge_la.model.adam import adamw_step, clipped, learning_rate
from sge_la.model.config import EncoderConfig, Recipe
from sge_la.model.joint import TERMS, cost_and_gradients
from sge_la.model.losses import cross_entropy, paired_contrastive_loss, supervised_contrastive_loss
from sge_la.model.sequence_recognition import PREFIX
from sge_la.runs.states import fresh_state
from sge_la.settings.recipe import PIECES
from sge_la.training import joint
from tests.features.test_inputs import walks


def test_the_rate_by_hand():
    """100 updates, 10 of them warm-up: a tenth at first, all of it at the tenth, then half a cosine over 91 parts."""
    assert learning_rate(1, 100, 0.5, 50) == pytest.approx(0.05)
    assert learning_rate(10, 100, 0.5, 50) == 0.5
    assert learning_rate(55, 100, 0.5, 50) == pytest.approx(0.25 * (1 + math.cos(math.pi * 45 / 91)))
    assert 0 < learning_rate(100, 100, 0.5, 50) < 0.001
    assert learning_rate(1, 1000, 0.5, 50) == pytest.approx(0.01)
    assert learning_rate(3, 100, 0.5, 50, schedule=False) == 0.5
    assert learning_rate(1, 1, 0.5, 50) == 0.5


def test_adamw_by_hand():
    """First step: both moments are corrected to g and g², so that Adam's step is the sign: 2 - 0.1 (1 + 0.5 · 2)."""
    params = {'kernel': ops.convert_to_tensor([2.0]), 'bias': ops.convert_to_tensor([2.0])}
    zero = {name: ops.zeros((1,)) for name in params}
    grads = {name: ops.convert_to_tensor([4.0]) for name in params}
    found, first, second = adamw_step(params, zero, zero, grads, 1.0, 0.1, 0.5, frozenset({'kernel'}))
    assert np.allclose(found['kernel'], 2 - 0.1 * (1 + 0.5 * 2)) and np.allclose(found['bias'], 1.9)
    assert np.allclose(first['bias'], 0.4) and np.allclose(second['bias'], 0.016)
    # Second step with gradient 0: moments 0.36 and 0.015984, corrected by 0.19 and 0.001999.
    found, *_ = adamw_step(found, first, second, zero, 2.0, 0.1, 0.0, frozenset())
    assert np.allclose(found['bias'], 1.9 - 0.1 * (0.36 / 0.19) / math.sqrt(0.015984 / 0.001999), atol=1e-6)


def test_long_gradients_are_shortened_together():
    """Lengths 3 and 4 make 5: bounded by 1 they become 0.6 and 0.8; bounded by 10 they stay."""
    grads = {'a': ops.convert_to_tensor([3.0]), 'b': ops.convert_to_tensor([[4.0]])}
    short, same = clipped(grads, 1.0), clipped(grads, 10.0)
    assert np.allclose(short['a'], 0.6) and np.allclose(short['b'], 0.8)
    assert np.allclose(same['a'], 3) and np.allclose(same['b'], 4)


def slope(loss: Callable, values) -> tuple:
    """A loss of some values, and the gradient of its sum."""

    def cost(params):
        found = loss(params['values'])
        return ops.sum(found), found

    grads, found = backends.gradients(cost, {'values': np.float32(values)})
    return found, grads['values']


def test_smoothed_labels_by_hand():
    """Two classes, logits 0: the loss is log 2 whatever the labels; gradient ½ − 0.95 and ½ − 0.05, over 2 rows."""
    loss, grads = slope(lambda logits: cross_entropy(logits, np.array([0, 1]), 0.1), np.zeros((2, 2)))
    assert float(loss) == pytest.approx(math.log(2))
    assert np.allclose(grads, [[-0.225, 0.225], [0.225, -0.225]])
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    labels = np.array([3, 0, 1])
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    plain = -log_shares[np.arange(3), labels].mean()
    assert float(cross_entropy(ops.convert_to_tensor(logits), labels, 0.2)) == pytest.approx(
        0.8 * plain - 0.2 * log_shares.mean(), rel=1e-5
    )


def loop_contrast(vectors: np.ndarray, temperature: float) -> float:
    """Twin of one axis: row by row."""
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    total = 0.0
    for i in range(len(rows)):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = [math.exp(rows[i] @ rows[k] / temperature) for k in range(len(rows)) if k != i]
        total -= math.log(math.exp(rows[i] @ rows[partner] / temperature) / sum(others))
    return total / len(rows)


def test_paired_contrast_equals_a_loop_and_its_gradient_finite_differences():
    vectors = np.random.default_rng(0).normal(size=(2, 6, 5))
    loss, grads = slope(lambda vectors: paired_contrastive_loss(vectors, 0.3), vectors)
    assert np.allclose(loss, [loop_contrast(axis, 0.3) for axis in vectors], rtol=1e-5)
    for place in [(0, 0, 0), (0, 5, 4), (1, 2, 3)]:
        change = np.zeros_like(vectors)
        change[place] = 1e-5
        ahead, back = (loop_contrast((vectors + sign * change)[place[0]], 0.3) for sign in (1, -1))
        assert float(ops.convert_to_numpy(grads)[place]) == pytest.approx((ahead - back) / 2e-5, abs=1e-5)


def test_a_lone_pair_has_no_contrast():
    loss, grads = slope(lambda vectors: paired_contrastive_loss(vectors, 0.1), [[[1, 0], [0, 1]]])
    assert np.allclose(loss, 0, atol=1e-6) and np.allclose(grads, 0, atol=1e-6)


def test_people_apart_by_hand():
    """t = 1: rows at 0 and 180 degrees are of one person, 90 of another, who has none beside.

    Each of the two sees its partner (-1) and the other one (0): log(e^-1 + 1) + 1.
    """
    vectors, labels = [[2, 0], [-3, 0], [0, 1]], np.array([7, 7, 4])
    loss, _ = slope(lambda vectors: supervised_contrastive_loss(vectors, labels, 1.0), vectors)
    assert float(loss) == pytest.approx(math.log(math.exp(-1) + 1) + 1)


def loop_of_people(vectors: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Twin: row by row."""
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    losses = []
    for i, row in enumerate(rows):
        others = [k for k in range(len(rows)) if k != i]
        total = math.log(sum(math.exp(row @ rows[k] / temperature) for k in others))
        if own := [total - row @ rows[k] / temperature for k in others if labels[k] == labels[i]]:
            losses.append(np.mean(own))
    return float(np.mean(losses))


def test_contrast_between_people_equals_a_loop_and_its_gradient_finite_differences():
    vectors, labels = np.random.default_rng(0).normal(size=(7, 5)), np.array([2, 0, 2, 2, 0, 1, 3])
    loss, grads = slope(lambda vectors: supervised_contrastive_loss(vectors, labels, 0.3), vectors)
    assert float(loss) == pytest.approx(loop_of_people(vectors, labels, 0.3), rel=1e-5)
    for place in [(0, 0), (4, 2), (5, 4)]:
        change = np.zeros_like(vectors)
        change[place] = 1e-5
        ahead, back = (loop_of_people(vectors + sign * change, labels, 0.3) for sign in (1, -1))
        assert float(ops.convert_to_numpy(grads)[place]) == pytest.approx((ahead - back) / 2e-5, abs=1e-5)


def test_a_hidden_layer_of_zeros_has_a_finite_contrast():
    loss, grads = slope(lambda vectors: supervised_contrastive_loss(vectors, np.zeros(4, int), 0.1), np.zeros((4, 3)))
    assert float(loss) == pytest.approx(math.log(3)) and np.isfinite(grads).all()


def test_where_nobody_stands_twice_there_is_nothing_to_draw_together():
    loss, grads = slope(lambda vectors: supervised_contrastive_loss(vectors, np.arange(3), 0.1), np.eye(3))
    assert float(loss) == 0 and np.allclose(grads, 0)


@pytest.mark.parametrize('manner, each', [('ap', 4), ('sc', 1)])
def test_rows_of_context_vectors(manner, each):
    """A row a frame: x, y and z side by side; a row a sequence: all frames of x, then of y, then of z."""
    contexts = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    rows = sequence_recognition.rows_of(ops.convert_to_tensor(contexts), manner)
    assert tuple(rows.shape) == (5, each, 3 * 4 * 2 // each)
    found = ops.convert_to_numpy(rows)
    for axis, frame, sequence in [(0, 0, 0), (1, 3, 2), (2, 1, 4)]:
        place = (frame, 2 * axis) if manner == 'ap' else (0, 8 * axis + 2 * frame)
        assert np.array_equal(found[sequence, place[0], place[1] : place[1] + 2], contexts[axis, frame, sequence])


def test_the_head_answers_as_the_scored_network_does():
    """The mean of a sequence's logits, as `--manner ap` scores them."""
    params = sequence_recognition.head_params(sequence_recognition.initial_head(8, 3, 0))
    rows = np.random.default_rng(0).normal(size=(5, 4, 8)).astype(np.float32)
    logits = ops.convert_to_numpy(recognition.recognise(params, rows.reshape(20, 8))).reshape(5, 4, 3).mean(axis=1)
    found, hidden = sequence_recognition.sequence_logits(params, ops.convert_to_tensor(rows))
    assert np.allclose(found, logits, atol=1e-5)
    mean = np.maximum(rows @ params['W1'] + params['b1'], 0).mean(axis=1)
    assert np.allclose(hidden, mean, atol=1e-5)


def test_dropout_masks():
    """A quarter is dropped; the same mask for the same update, another one for another update or layer."""
    mask = ops.convert_to_numpy(sequence_recognition.kept((40, 5, 100), np.float32(7), 1, 0.25))
    assert set(np.unique(mask).tolist()) == {0.0, np.float32(4 / 3)}
    assert abs((mask == 0).mean() - 0.25) < 0.01  # 20,000 draws have a standard deviation of 0.003
    assert abs((mask == 0).mean(axis=(0, 1)) - 0.25).max() < 0.15
    assert np.array_equal(mask, sequence_recognition.kept((40, 5, 100), np.float32(7), 1, 0.25))
    for other in (
        sequence_recognition.kept((40, 5, 100), np.float32(8), 1, 0.25),
        sequence_recognition.kept((40, 5, 100), np.float32(7), 2, 0.25),
    ):
        both = ((mask == 0) & (ops.convert_to_numpy(other) == 0)).mean()
        assert abs(both - 0.0625) < 0.01  # independent


CONFIG = EncoderConfig(4, 3, units=5, temperature=0.4)


def automatic(config, recipe, manner, params, inputs, labels):
    """Gradients of the sum of the reported terms, by the backend's own automatic differentiation."""

    def cost(params):
        terms, _ = cost_and_gradients(config, recipe, manner, params, inputs, labels, np.float32(3))
        return terms[0] + recipe.pretext * 3 * (terms[2] + terms[3] + terms[4]) + recipe.supervised * terms[5]

    if keras.backend.backend() == 'jax':
        import jax

        return jax.grad(cost)(params)
    import tensorflow as tf

    params = {name: tf.convert_to_tensor(value) for name, value in params.items()}
    with tf.GradientTape() as tape:
        tape.watch(params)
        total = cost(params)
    return tape.gradient(total, params, unconnected_gradients='zero')


@pytest.mark.parametrize('manner', ['ap', 'sc'])
@pytest.mark.parametrize('without', [None, 'pretext', 'pairs', 'dropout+smoothed'])
@pytest.mark.parametrize('attention', ['LA', 'BA'])
def test_gradients_are_those_of_the_reported_terms(manner, without, attention):
    supervised = without != 'pairs'
    config, recipe = replace(CONFIG, attention=attention), replace(Recipe.of(without, supervised), pretext=0.7)
    params = joint.initial_params(config, manner, 3, 0)
    inputs = np.random.default_rng(0).normal(size=(3, 4, 6, 3)).astype(np.float32)
    labels = np.array([0, 0, 1, 1, 2, 2])
    arguments = ops.convert_to_tensor(inputs), labels
    terms, grads = cost_and_gradients(config, recipe, manner, params, *arguments, np.float32(3))
    assert len(terms) == len(TERMS) and np.isfinite(terms).all()
    expected = automatic(config, recipe, manner, params, *arguments)
    for name in params:
        assert np.allclose(grads[name], expected[name], atol=2e-5), name
    used = [name for name in params if name.startswith(PREFIX)]
    assert all(np.abs(grads[name]).max() > 0 for name in used)


def test_without_tuned_the_names_change_no_encoder():
    """Without the pretext task too, nothing is left for the encoders to learn from."""
    params = joint.initial_params(CONFIG, 'ap', 3, 0)
    inputs = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(3, 4, 6, 3)).astype(np.float32))
    labels = np.array([0, 0, 1, 1, 2, 2])
    for without, still in (('pretext+tuned', True), ('pretext', False)):
        _, grads = cost_and_gradients(CONFIG, Recipe.of(without), 'ap', params, inputs, labels, np.float32(1))
        kernel = np.abs(grads['rnn/multi_rnn_cell/cell_0/lstm_cell/kernel']).max()
        assert (kernel == 0) == still
        assert np.abs(grads[PREFIX + 'W1']).max() > 0


def test_batches_pair_neighbours_of_one_recording():
    """Recordings of 7, 8 and 2 sequences; sequence 9 is held out, so that 8 and 10 are neighbours."""
    recordings = np.repeat([4, 2, 9], [7, 8, 2])
    rows = np.setdiff1d(np.arange(17), [9])
    places = {row: place for place, row in enumerate(rows)}
    seen = set()
    for epoch in range(20):
        batches = joint.paired_batches(rows, recordings, 4, np.random.default_rng([0, epoch]))
        assert batches.shape[1] == 4 and len(np.unique(batches)) == batches.size
        for first, second in batches.reshape(-1, 2):
            assert recordings[first] == recordings[second] and places[second] - places[first] == 1
        seen |= set(batches.reshape(-1).tolist())
    assert seen == set(rows.tolist())


def test_two_recordings_of_a_person_stand_together_in_a_batch():
    """Three people with four recordings of 12 sequences: of each person's pairs at most one stands beside another's.

    Any two recordings meet; pairs of one recording do so only where they are more than half of a person's.
    """
    recordings, people, met = np.repeat(np.arange(12), 12), np.repeat([5, 1, 3], 48), set()
    for epoch in range(40):
        batches = joint.paired_batches(np.arange(144), recordings, 8, np.random.default_rng([0, epoch]), people)
        assert len(np.unique(batches)) == batches.size
        fours = batches.reshape(-1, 4)
        assert (recordings[fours[:, ::2]] == recordings[fours[:, 1::2]]).all()
        alike = people[fours[:, 0]] == people[fours[:, 2]]
        assert (~alike).sum() <= 1
        couples = recordings[fours[alike]][:, ::2]
        assert (couples[:, 0] != couples[:, 1]).all()
        met |= {tuple(sorted(couple % 4)) for couple in couples}
        assert len(set(people[batches[0]])) > 1 or epoch  # people are mixed
    assert met == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


@pytest.mark.parametrize(
    'recordings, people',
    [
        pytest.param([0, 0, 1, 1, 2, 2], [1] * 6, id='one person'),
        pytest.param([0, 0], [1, 1], id='one pair'),
        pytest.param([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], id='a pair of each person'),
    ],
)
def test_no_pair_is_lost_where_partners_are_few(recordings, people):
    rows = np.arange(len(people))
    batches = joint.paired_batches(rows, np.array(recordings), 2, np.random.default_rng(0), np.array(people))
    assert sorted(batches.reshape(-1).tolist()) == rows.tolist()


def test_too_few_sequences_are_refused():
    with pytest.raises(UserError, match='--batch_size 4 or less'):
        joint.paired_batches(np.arange(5), np.zeros(5, int), 8, np.random.default_rng(0))
    with pytest.raises(UserError, match='6 can be paired: use --batch_size 4 or less'):
        joint.paired_batches(np.arange(6), np.arange(6) // 2, 8, np.random.default_rng(0), np.zeros(6, int))


def small_run(epochs: int, state=None, without=None, rate=1e-3, supervised=False):
    skeletons, labels = walks(24, joints=3), np.repeat([0, 1, 2], 8)
    skeletons += labels[:, None, None, None]
    state = state or fresh_state(joint.initial_params(CONFIG, 'ap', 3, 0))
    settings = {'epochs': 3, 'batch_size': 8, 'seed': 1}
    found = joint.fit(
        CONFIG,
        replace(Recipe.of(without, supervised), rate=rate),
        'ap',
        lambda rows: skeletons[rows],
        labels,
        np.arange(24),
        labels,
        state,
        **settings,
    )
    for state in found:
        if state.epoch == epochs:
            return state
    raise AssertionError


def test_going_on_equals_never_having_stopped():
    stopped = small_run(1)
    arrays = stopped.arrays()
    again = replace(stopped, **arrays)
    done, undisturbed = small_run(3, again), small_run(3)
    assert [line['rate'] for line in done.history] == [line['rate'] for line in undisturbed.history]
    for part in ('params', 'first', 'second'):
        for name, value in undisturbed.arrays()[part].items():
            assert np.array_equal(done.arrays()[part][name], value), name


@pytest.mark.parametrize('supervised', [False, True])
def test_training_lowers_the_losses(supervised):
    loss = 'supervised_contrastive' if supervised else 'reconstruction'
    history = small_run(3, without='dropout+schedule', rate=1e-2, supervised=supervised).history
    assert ('supervised_contrastive' in history[0]) == supervised
    for name in ('train_loss', loss):
        assert history[-1][name] < history[0][name], name


def test_supervised_trains_another_network():
    one, other = (small_run(1, supervised=supervised).arrays()['params'] for supervised in (False, True))
    assert any(not np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_every_piece_can_be_left_out():
    """Each of those that the training itself knows gives another network."""
    whole = small_run(1).arrays()['params']
    for name in PIECES:
        if name in ('centred', 'sizes', 'standardised'):
            continue  # pieces of the inputs
        other = small_run(1, without=name).arrays()['params']
        assert any(not np.array_equal(whole[key], other[key]) for key in whole), name


@pytest.mark.slow
def test_simulated_walkers_are_told_apart_by_their_training_on_other_recordings(tmp_path, capsys):
    """DEMO as anybody would run it, smaller: six walkers, three passes; chance is a sixth."""
    import evaluate
    import train
    from sge_la.data.prepare import main as prepare
    from sge_la.errors import run_command

    data, models = ['--data_dir', str(tmp_path / 'Datasets')], ['--models_dir', str(tmp_path / 'Models')]
    assert run_command(prepare, ['DEMO', '--people', '6', *data]) == 0
    flags = ['--dataset', 'DEMO', '--recipe', 'modern', '--gpu', '-1', *data, *models]
    assert run_command(train.main, [*flags, '--epochs', '3']) == 0
    capsys.readouterr()
    assert run_command(evaluate.main, flags) == 0
    found = re.search(r'\nAll \d+ sequences \(nothing dropped\): Rank-1 ([\d.]+) % ', capsys.readouterr().out)
    assert float(found[1]) > 60
