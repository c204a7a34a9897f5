"""Epochs of several runs in one call, beside each run's own: encoders, recognition network, and both together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from keras import ops

from sge_la import backends
from sge_la.model import gait_encoder, recognition
from sge_la.model.config import EncoderConfig, Recipe
from sge_la.runs.states import fresh_state
from sge_la.training import joint
from sge_la.training.encoders import encoder_step
from sge_la.training.recognition import recognition_step

# With fewer units vectors of the contrast head are zero, whose direction is rounding alone.
CONFIG = EncoderConfig(length=3, joints=2, units=8)
SEEDS, SIZE = (3, 4, 5), 4
# The second run has a batch less than the others.
BATCHES = [np.arange(12).reshape(3, SIZE)[:steps] for steps in (3, 2, 3)]
ROWS = np.random.default_rng(0).normal(size=(12, 3, 2, 3)).astype(np.float32)
LABELS = np.tile(np.arange(3, dtype=np.int32), 4)


def own_rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(ROWS)


def start(params: dict, number: int = 0) -> tuple:
    fresh = fresh_state(params)
    return fresh.params, fresh.first, fresh.second, np.float32(number)


def encoders() -> tuple[Callable, list, list]:
    """The second has been trained for five updates already, of which Adam's rate depends."""
    states = [start(gait_encoder.initial_params(CONFIG, seed), 5 * (seed == 4)) for seed in SEEDS]
    return encoder_step(CONFIG), [lambda rows: (ROWS[rows], ROWS[rows, ::-1])] * 3, states


def network() -> tuple[Callable, list, list]:
    features = [own_rows(seed).reshape(12, -1) for seed in SEEDS]
    pairs = [lambda rows, own=own: (own[rows], LABELS[rows]) for own in features]
    return recognition_step, pairs, [start(recognition.initial_params(18, 3, seed, hidden=5)) for seed in SEEDS]


def both() -> tuple[Callable, list, list]:
    """Each update has its own rate and its own dropout; two runs are at their first update and one at its third."""
    walks = map(own_rows, SEEDS)
    pairs = [lambda rows, own=own: (own[rows], LABELS[rows]) for own in walks]
    rates = np.float32([1e-3, 2e-3, 3e-3])
    states = [
        (*start(joint.initial_params(CONFIG, 'ap', 3, seed), before), rates, np.float32(before))
        for seed, before in zip(SEEDS, (0, 0, 2), strict=True)
    ]
    return joint.modern_step(CONFIG, Recipe(), 'ap', frozenset(['W1'])), pairs, states


def arrays(found: list, parts: slice) -> list[np.ndarray]:
    """Some parts of (parameters, both moments) of all runs, by name, and the number of updates and the terms."""
    kept = []
    for state, terms in found:
        kept += [ops.convert_to_numpy(part[name]) for part in state[:3][parts] for name in sorted(part)]
        kept += [ops.convert_to_numpy(state[3]), np.asarray(terms)]
    return kept


def computed(made: Callable, stacked: bool) -> tuple[list, list]:
    """(state, terms) by run, of the runs together and of each alone."""
    ticks: list[int] = []
    step, pairs, states = made()
    together = backends.current().epochs_runner(step, pairs, stacked=stacked)(states, BATCHES, ticks.append)
    step, pairs, states = made()
    alone = [
        backends.current().epoch_runner(step, pair)(state, batches, lambda steps: None)
        for pair, state, batches in zip(pairs, states, BATCHES, strict=True)
    ]
    assert sum(ticks) == 8 and [len(terms) for _, terms in together] == [3, 2, 3]
    return together, alone


ALL = [
    pytest.param(encoders, marks=pytest.mark.slow),
    network,
    pytest.param(both, marks=pytest.mark.slow),
]


@pytest.mark.parametrize('made', ALL)
def test_runs_beside_each_other_have_the_bits_that_they_have_alone(made):
    together, alone = computed(made, stacked=False)
    for one, other in zip(arrays(together, slice(3)), arrays(alone, slice(3)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('made', ALL)
def test_an_axis_of_runs_changes_nothing_but_rounding(made):
    """Of what is computed on a GPU: losses and moments; Adam makes whole steps of gradients that are rounding alone."""
    together, alone = computed(made, stacked=True)
    for one, other in zip(arrays(together, slice(1, 3)), arrays(alone, slice(1, 3)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize('made', ALL)
def test_an_epoch_in_one_call_is_one_step_after_the_other(made):
    """What TensorFlow computes on a GPU, beside calls of the same compiled step; JAX has no other way."""
    if backends.name() != 'tensorflow':
        pytest.skip('looks at what TensorFlow does')
    import tensorflow as tf

    ticks: list[int] = []
    step, pairs, states = made()
    state = states[0]
    found = backends.current().epoch_runner(step, pairs[0], at_once=True)(state, BATCHES[0], ticks.append)
    assert ticks == [3]
    alone, terms = tf.function(step, jit_compile=True, autograph=False), []
    for rows in BATCHES[0]:
        state, told = alone(state, *pairs[0](rows))
        terms.append(told)
    for one, other in zip(arrays([found], slice(3)), arrays([(state, np.stack(terms))], slice(3)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())
