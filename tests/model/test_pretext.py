"""Pretext tasks: inputs and targets, hand-computed on numbered frames."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la.model.pretext import permutations, pretext


@pytest.fixture
def numbered() -> np.ndarray:
    """Sequences whose coordinates are 100 n + 10 t + axis: float32 `[4, 3, 2, 3]`."""
    n, t, j, a = np.meshgrid(np.arange(4), np.arange(3), np.arange(2), np.arange(3), indexing='ij')
    return (100 * n + 10 * t + a + 0 * j).astype(np.float32)


def frames(array: np.ndarray, axis: int = 0) -> list[list[int]]:
    """100 n + 10 t of each frame of each sequence, read from one axis."""
    return (array[:, :, 0, axis] - axis).astype(int).tolist()


def test_reverse_reconstruction_reverses_time_alone(numbered):
    task = pretext('rev_rec', numbered)
    rows = np.array([2, 0])
    assert frames(task.inputs(rows)) == [[200, 210, 220], [0, 10, 20]]
    assert frames(task.targets(rows)) == [[220, 210, 200], [20, 10, 0]]
    np.testing.assert_array_equal(task.targets(rows), numbered[rows][:, ::-1])


def test_without_reversal_the_target_is_the_input(numbered):
    task = pretext('rec', numbered)
    np.testing.assert_array_equal(task.targets(slice(1, 3)), numbered[1:3])
    np.testing.assert_array_equal(task.inputs(slice(1, 3)), numbered[1:3])


@pytest.mark.parametrize('rows', [slice(1, 4), np.array([1, 2, 3])])
def test_prediction_wants_the_next_sequence_of_the_file_and_the_last_one_itself(numbered, rows):
    task = pretext('prediction', numbered)
    assert frames(task.inputs(rows)) == [[100, 110, 120], [200, 210, 220], [300, 310, 320]]
    assert frames(task.targets(rows)) == [[200, 210, 220], [300, 310, 320], [300, 310, 320]]


def test_prediction_follows_the_file_not_the_batch(numbered):
    """The next one in the file, though the batch is shuffled (AGE) or lacks it."""
    assert frames(pretext('prediction', numbered).targets(np.array([2, 0]))) == [[300, 310, 320], [100, 110, 120]]


def test_sorting_permutes_x_y_and_z_alike(numbered):
    task = pretext('sorting', numbered, seed=3)
    inputs = task.inputs(slice(None))
    assert frames(inputs, 0) == frames(inputs, 1) == frames(inputs, 2)
    assert [sorted(sequence) for sequence in frames(inputs)] == frames(numbered)
    np.testing.assert_array_equal(task.targets(slice(None)), numbered)
    assert task.orders.shape == (4, 3, 1)


def test_the_originals_sorting_permutes_x_y_and_z_apart():
    skeletons = np.broadcast_to(np.arange(6, dtype=np.float32)[None, :, None, None], (50, 6, 1, 3))
    inputs = pretext('sorting', skeletons, seed=3, shared_order=False).inputs(slice(None))[:, :, 0]
    assert (np.sort(inputs, axis=1) == skeletons[:, :, 0]).all()
    different = (inputs[..., 0] != inputs[..., 1]).any(axis=1)
    assert different.mean() > 0.9  # equal with chance 1 in 720


def test_orders_are_repeatable_and_not_those_of_another_seed():
    orders = permutations(7, 200, 6)
    np.testing.assert_array_equal(orders, permutations(7, 200, 6))
    assert (orders != permutations(8, 200, 6)).any()
    assert (np.sort(orders, axis=1)[..., 0] == np.arange(6)).all()


def test_every_order_of_three_frames_comes_up_about_as_often():
    """6 orders, 6000 draws: 1000 each, standard deviation 29."""
    _, counts = np.unique(permutations(0, 6000, 3)[..., 0], axis=0, return_counts=True)
    assert len(counts) == 6 and np.abs(counts - 1000).max() < 150


def test_a_batch_is_what_the_whole_array_says(numbered):
    """Batch by batch gives the rows of one pass: orders belong to sequences, not to batches."""
    for name in ('rev_rec', 'prediction', 'sorting', 'rec'):
        task = pretext(name, numbered, seed=1)
        for rows in (slice(1, 3), np.array([3, 3, 0])):
            np.testing.assert_array_equal(task.inputs(rows), task.inputs(slice(None))[rows])
            np.testing.assert_array_equal(task.targets(rows), task.targets(slice(None))[rows])
