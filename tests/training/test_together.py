"""Runs that train together: each ends as alone, whoever is late, fails or is stopped."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from sge_la.errors import UserError, say
from sge_la.model import recognition
from sge_la.runs.states import NotFinite, TrainingState, fresh_state
from sge_la.settings.command_line import parse_train
from sge_la.training.recognition import fit_recognition
from sge_la.training.together import next_stage, train_together
from tests.command_line_cases import uncompiled
from tests.disturbance import stopping
from tests.training.test_training import assert_equal

LABELS = np.tile(np.arange(3), 8)


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


def network(seed: int, *, epochs: int = 3, state: TrainingState | None = None, spoilt: bool = False, stages: int = 1):
    """The states after each epoch of a recognition network on rows of its own."""
    features = np.random.default_rng(seed).normal(size=(24, 6)).astype(np.float32)
    features[0, 0] = np.nan if spoilt else 1
    for _ in range(stages):
        next_stage()
    found = []
    state = state or fresh_state(recognition.initial_params(6, 3, seed, hidden=4))
    for after in fit_recognition(features, LABELS, state, epochs=epochs, batch_size=8):
        say(f'after {after.epoch}')
        found.append(after)
    return found


def half(seed: int) -> TrainingState:
    after = network(seed, epochs=1)[-1]
    return TrainingState(**after.arrays(), step=after.step, epoch=after.epoch, history=after.history)


def test_each_run_ends_as_alone_though_one_has_an_epoch_already(capsys):
    kept = half(2)
    found = train_together({'a': lambda: network(1), 'b': lambda: network(2, state=kept), 'c': lambda: network(3)})
    assert [[state.epoch for state in states] for states in found.values()] == [[1, 2, 3], [2, 3], [1, 2, 3]]
    said = capsys.readouterr().out.splitlines()
    assert {'a: after 1', 'b: after 2', 'b: after 3', 'c: after 3'} <= set(said) and 'b: after 1' not in said
    for states, seed in zip(found.values(), (1, 2, 3), strict=True):
        assert_equal(states[-1], network(seed)[-1])


def test_who_is_a_stage_behind_comes_first(capsys):
    train_together({'ahead': lambda: network(1, stages=2), 'behind': lambda: network(2)})
    assert capsys.readouterr().out.splitlines() == [
        f'{name}: after {k}' for name in ('behind', 'ahead') for k in (1, 2, 3)
    ]


def test_losses_that_are_not_finite_stop_their_own_run_alone(capsys):
    ended = []
    with pytest.raises(NotFinite, match='epoch 1, step 1'):
        train_together({'good': lambda: ended.extend(network(1)), 'bad': lambda: network(2, spoilt=True)})
    assert [state.epoch for state in ended] == [1, 2, 3]
    assert 'bad: warning: the cross-entropy loss became NaN' in capsys.readouterr().out
    assert_equal(ended[-1], network(1)[-1])


def test_a_run_that_is_refused_stops_the_others():
    def refused() -> None:
        raise UserError('the folder holds another run')

    ended = []
    with pytest.raises(UserError, match='another run'):
        train_together({'good': lambda: ended.extend(network(1, epochs=100)), 'refused': refused})
    assert not ended


def test_ctrl_c_stops_all_of_them():
    begun = []

    def endless(seed: int) -> None:
        begun.append(seed)
        network(seed, epochs=10**6)

    with stopping(signal.SIGINT, lambda: len(begun) == 2), pytest.raises(KeyboardInterrupt):
        train_together({'a': lambda: endless(1), 'b': lambda: endless(2)})


@pytest.mark.parametrize(
    'flags, words',
    [
        ('', 'add --runs with 2 or more'),
        ('--runs 2 --train_flag 2', '--train_flag 2 trains nothing'),
        ('--runs 2 --unknown 0.2', '--unknown leaves other people out'),
        ('--runs 2 --dataset CASIA_B --view all', '--runs is for one view'),
    ],
)
def test_what_cannot_be_trained_together_is_refused(flags, words):
    with pytest.raises(UserError, match=words):
        parse_train(['--together', *flags.split()])
