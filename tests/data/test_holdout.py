"""Holding out training sequences: no frame on both sides, whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sge_la.data.holdout import frame_hashes, hold_out

Ids = dict[int, np.ndarray]


def frames_of(skeletons: np.ndarray, ids: Ids) -> set[bytes]:
    """The frames, bit by bit, of all sequences that somebody has."""
    return {frame.tobytes() for rows in ids.values() for row in rows for frame in skeletons[row]}


def assert_apart(skeletons: np.ndarray, ids: Ids, training: Ids, held: Ids) -> None:
    assert not frames_of(skeletons, training) & frames_of(skeletons, held)
    assert set(training) == set(held) == set(ids)
    for identity, rows in ids.items():
        chosen = np.concatenate([training[identity], held[identity]])
        assert len(set(chosen)) == len(chosen) and set(chosen) <= set(rows)


def windows(frames: np.ndarray, length: int, step: int) -> np.ndarray:
    """Overlapping sequences of a recording, as the released BIWI, IAS and KS20 training sets have them."""
    return np.stack([frames[start : start + length] for start in range(0, len(frames) - length + 1, step)])


def recordings_of(people: int, each: int, length: int, step: int) -> tuple[np.ndarray, Ids, np.ndarray]:
    rng = np.random.default_rng(0)
    parts, ids, numbers, count = [], {}, [], 0
    for person in range(people):
        ids[person] = []
        for recording in range(each):
            cut = windows(rng.normal(size=(30, 2, 3)).astype(np.float32), length, step)
            parts.append(cut)
            ids[person] += range(count, count + len(cut))
            numbers += [10 * person + recording] * len(cut)
            count += len(cut)
    return np.concatenate(parts), {person: np.array(rows) for person, rows in ids.items()}, np.array(numbers)


@pytest.mark.parametrize('step', [3, 6])
def test_the_last_recording_is_held_out(step):
    skeletons, ids, numbers = recordings_of(3, 3, 6, step)
    training, held = hold_out(skeletons, ids, numbers)
    assert_apart(skeletons, ids, training, held)
    for person in ids:
        assert set(numbers[held[person]]) == {10 * person + 2}
        assert set(numbers[training[person]]) == {10 * person, 10 * person + 1}
        assert len(training[person]) + len(held[person]) == len(ids[person])


@pytest.mark.parametrize('known', [True, False])
def test_without_a_second_recording_the_last_tenth_and_what_overlaps_it(known):
    """30 frames, windows of 6 every 3: 9 sequences, the last (frames 24 to 29) held out, the one before in neither."""
    skeletons, ids, numbers = recordings_of(2, 1, 6, 3)
    training, held = hold_out(skeletons, ids, numbers if known else None)
    assert_apart(skeletons, ids, training, held)
    for person, first in ((0, 0), (1, 9)):
        assert held[person].tolist() == [first + 8]
        assert training[person].tolist() == list(range(first, first + 7))


def test_a_tenth_of_many():
    """40 sequences that share nothing: the last 4."""
    skeletons = np.random.default_rng(1).normal(size=(40, 4, 2, 3)).astype(np.float32)
    training, held = hold_out(skeletons, {5: np.arange(40)}, None)
    assert held[5].tolist() == [36, 37, 38, 39] and training[5].tolist() == list(range(36))


def test_somebody_elses_frames_count_too():
    """Sequence 0 of one person holds a frame of another one's held-out sequence, as a file with a copy would."""
    skeletons = np.random.default_rng(1).normal(size=(20, 4, 2, 3)).astype(np.float32)
    skeletons[0, 2] = skeletons[19, 1]
    ids = {0: np.arange(10), 1: np.arange(10, 20)}
    training, held = hold_out(skeletons, ids, None)
    assert_apart(skeletons, ids, training, held)
    assert training[0].tolist() == list(range(1, 9)) and held[1].tolist() == [19]


def test_one_who_shares_all_frames_is_not_held_out():
    """All four sequences of a person are one standing frame: they train, and nothing of them is held out."""
    skeletons = np.random.default_rng(1).normal(size=(24, 4, 2, 3)).astype(np.float32)
    skeletons[20:] = skeletons[20, 0]
    ids = {0: np.arange(20), 1: np.arange(20, 24)}
    training, held = hold_out(skeletons, ids, None)
    assert_apart(skeletons, ids, training, held)
    assert training[1].tolist() == [20, 21, 22, 23] and len(held[1]) == 0 and held[0].tolist() == [18, 19]


def test_two_who_stand_alike():
    """A frame that both people have, in held-out sequences of both and in training ones."""
    skeletons = np.random.default_rng(1).normal(size=(40, 4, 2, 3)).astype(np.float32)
    for row in (3, 19, 25, 39):
        skeletons[row, 1] = 7
    ids = {0: np.arange(20), 1: np.arange(20, 40)}
    training, held = hold_out(skeletons, ids, None)
    assert_apart(skeletons, ids, training, held)
    assert 3 not in training[0] and 25 not in training[1]


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    pool=st.integers(2, 60),
    seed=st.integers(0, 10**6),
    known=st.booleans(),
)
def test_no_frame_on_both_sides(labels, pool, seed, known):
    """Frames are drawn from a small pool, so that sequences share frames in every way, within and across people."""
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(pool, 2, 3)).astype(np.float32)
    skeletons = frames[rng.integers(0, pool, (len(labels), 3))]
    ids = {label: np.flatnonzero(np.array(labels) == label) for label in sorted(set(labels))}
    numbers = rng.integers(0, 4, len(labels)) if known else None
    training, held = hold_out(skeletons, ids, numbers)
    assert_apart(skeletons, ids, training, held)
    assert all(len(rows) for rows in training.values())


def test_hashes_tell_frames_apart_and_nothing_else():
    skeletons = np.random.default_rng(2).normal(size=(500, 6, 20, 3)).astype(np.float32)
    skeletons[1, 3] = skeletons[0, 0]
    hashes = frame_hashes(skeletons)
    assert hashes.shape == (500, 6) and hashes.dtype == np.uint64
    assert hashes[1, 3] == hashes[0, 0] and len(np.unique(hashes)) == 2999
    changed = skeletons.copy()
    changed[7, 2, 19, 2] = np.nextafter(changed[7, 2, 19, 2], np.float32(9))
    assert (frame_hashes(changed) != hashes).sum() == 1
