"""Data larger than memory: read from their files and sent batch by batch, with the results of data in memory."""

from __future__ import annotations

import threading
from importlib.util import find_spec

import numpy as np
import pytest

from sge_la import backends
from sge_la.backends import room
from sge_la.data.loading import load
from sge_la.data.mapped import MappedSkeletons
from sge_la.data.training_set import training_data
from sge_la.errors import UserError
from sge_la.model.pretext import pretext

needs_jax = pytest.mark.skipif(find_spec('jax') is None, reason='JAX is not installed: pip install jax')


@pytest.fixture
def both(write_tiny, monkeypatch):
    """A data set in memory, and the same in its files."""
    data = write_tiny('BIWI', each=12)
    held = load('BIWI', 6, data, warn=lambda text: None)
    monkeypatch.setenv(room.VARIABLE, '0')
    return held, load('BIWI', 6, data, warn=lambda text: None)


def test_a_large_data_set_stays_in_its_files(both):
    held, mapped = (dataset.train.skeletons for dataset in both)
    assert isinstance(held, np.ndarray) and isinstance(mapped, MappedSkeletons)
    assert (mapped.shape, mapped.dtype, mapped.nbytes, len(mapped)) == (held.shape, held.dtype, held.nbytes, len(held))
    for rows in (3, slice(2, 9), np.array([5, 1, 1])):
        np.testing.assert_array_equal(mapped[rows], held[rows])
    np.testing.assert_array_equal(mapped[..., 1], held[..., 1])
    assert training_data(both[0], 'val').fingerprint == training_data(both[1], 'val').fingerprint
    for task in ('rev_rec', 'prediction', 'sorting'):
        pairs, rows = [pretext(task, skeletons) for skeletons in (held, mapped)], np.array([0, 47, 9])
        np.testing.assert_array_equal(*(pair.inputs(rows) for pair in pairs))
        np.testing.assert_array_equal(*(pair.targets(rows) for pair in pairs))


def test_what_stays_in_files_is_checked_too(write_tiny, monkeypatch):
    monkeypatch.setenv(room.VARIABLE, '0')
    data = write_tiny('BIWI')
    path = next(data.rglob('source_y_*.npy'))
    values = np.load(path)
    values.reshape(-1)[-1] = np.nan
    np.save(path, values)
    with pytest.raises(UserError, match='should hold finite numbers'):
        load('BIWI', 6, data)


def test_an_absurd_limit_is_refused(monkeypatch):
    monkeypatch.setenv(room.VARIABLE, 'much')
    with pytest.raises(UserError, match='a number of gigabytes'):
        room.fits_memory(1)


def test_the_next_item_is_worked_on_meanwhile_and_errors_come_through():
    begun = threading.Event()

    def work(item):
        if item == 1:
            begun.set()
        if item == 2:
            raise UserError('no')
        return item * item

    found = backends.ahead(work, range(4))
    assert next(found) == 0
    assert begun.wait(10)
    assert next(found) == 1
    with pytest.raises(UserError, match='no'):
        next(found)


@needs_jax
@pytest.mark.parametrize('sent', [1, 10**6], ids=['batch by batch', 'in one group'])
def test_streamed_batches_give_what_held_ones_give(monkeypatch, sent):
    """Bit for bit; the last group is not full."""
    from sge_la.backends import jax as backend

    inputs = np.random.default_rng(0).standard_normal((56, 5), np.float32)
    targets = np.arange(56, dtype=np.int32)
    batches = np.random.default_rng(1).permutation(56).reshape(7, 8)

    def step(state, inputs, targets):
        weights, number = state
        loss = ((inputs @ weights - targets) ** 2).mean()
        return (weights - 0.01 * (inputs * (inputs @ weights - targets)[:, None]).mean(axis=0), number + 1), loss[None]

    def pair(rows):
        return inputs[rows], targets[rows]

    steps, answers = [], []
    for limit, size in (('1', sent), ('0', sent), ('0', 3 * 8 * 24)):
        monkeypatch.setenv(room.VARIABLE, limit)
        monkeypatch.setattr(backend, '_SENT_AT_ONCE', size)
        run, state = backend.epoch_runner(step, pair), (np.zeros(5, np.float32), np.float32(0))
        for _ in range(2):
            state, terms = run(state, batches, steps.append)
        answers.append((*map(np.asarray, state), terms))
    for found in answers[1:]:
        for ours, theirs in zip(found, answers[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert sum(steps) == 3 * 2 * 7 and steps[-3:] == [3, 3, 1]
