"""Cutting: hand-computed cases, a slow twin, and what always holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sge_la.data.prepare.sequences import Cutting, cut, runs, starts


def numbered(num_frames: int, first: int = 0) -> np.ndarray:
    """A recording of one joint whose x is the number of the frame."""
    frames = np.zeros((num_frames, 1, 3), np.float32)
    frames[:, 0, 0] = np.arange(first, first + num_frames)
    return frames


def shown(sequences) -> list[list[int]]:
    """The frames of each sequence."""
    return sequences.skeletons[:, :, 0, 0].astype(int).tolist()


def test_whole_sequences_lose_the_rest_and_never_cross_recordings():
    """8 frames in threes are 0-2 and 3-5, with 6 and 7 lost; 5 frames from 100 on are 100-102; 2 frames are none."""
    result = cut([numbered(8), numbered(2, 50), numbered(5, 100)], Cutting.whole(3))
    assert shown(result) == [[0, 1, 2], [3, 4, 5], [100, 101, 102]]
    assert result.recordings.tolist() == [0, 0, 2]
    assert result.starts.tolist() == [0, 3, 0]
    assert result.skeletons.dtype == np.float32 and result.recordings.dtype == result.starts.dtype == np.int64


def test_dense_training_cut_of_four_frames():
    """T = 4 means step 2 and offsets 0 to 3. Of 7 frames, starts 0 to 3 fit: offset 0 gives 0 and 2, offset 1 gives 1
    and 3, offset 2 gives 2, offset 3 gives 3. So starts below 2 are used once, the others twice; the order in the file
    is by offset, then by recording."""
    assert Cutting.dense(4) == Cutting(4, 2, (0, 1, 2, 3))
    result = cut([numbered(7), numbered(4, 100)], Cutting.dense(4))
    assert [frames[0] for frames in shown(result)] == [0, 2, 100, 1, 3, 2, 3]
    assert result.recordings.tolist() == [0, 0, 1, 0, 0, 0, 0]


def test_dense_cut_uses_late_starts_twice():
    """For even T every start from T // 2 on occurs twice, an earlier one once."""
    result = cut([numbered(40)], Cutting.dense(6))
    first, counts = np.unique(result.starts, return_counts=True)
    assert first.tolist() == list(range(35))
    assert counts.tolist() == [1] * 3 + [2] * 32


def test_one_frame_sequences():
    assert shown(cut([numbered(3)], Cutting.dense(1))) == [[0], [1], [2]]


def test_no_sequence_crosses_a_jump():
    """Frames 10, 11, 12 | 20, 21, 22, 23: pairs from each piece, each from its own start."""
    numbers = np.array([10, 11, 12, 20, 21, 22, 23])
    assert runs(7, numbers) == [(0, 3), (3, 7)]
    result = cut([numbered(7)], Cutting.whole(2), [numbers])
    assert shown(result) == [[0, 1], [3, 4], [5, 6]]


def test_offsets_count_from_each_piece():
    """With one frame left out at each start: 1-2 and, after the jump, 4-5."""
    result = cut([numbered(7)], Cutting(2, 2, (1,)), [np.array([10, 11, 12, 20, 21, 22, 23])])
    assert shown(result) == [[1, 2], [4, 5]]


def test_an_empty_recording_gives_none():
    assert runs(0) == []
    assert len(starts([], Cutting.whole(2), 0)) == 0
    result = cut([numbered(0), numbered(1)], Cutting.whole(2))
    assert result.skeletons.shape == (0, 2, 1, 3)


@pytest.mark.parametrize('bad', [(0, 1, (0,)), (1, 0, (0,)), (1, 1, ()), (1, 1, (-1,))])
def test_impossible_cuttings_are_refused(bad):
    with pytest.raises(ValueError, match='length and step'):
        Cutting(*bad)


def slow_twin(recordings, cutting, numbers):
    """The same by loops: every start is tried, and each frame is looked at."""
    result = []
    for offset in cutting.offsets:
        for index, frames in enumerate(recordings):
            own = list(range(len(frames))) if numbers[index] is None else numbers[index].tolist()
            begin = 0
            while begin < len(frames):
                end = begin + 1
                while end < len(frames) and own[end] == own[end - 1] + 1:
                    end += 1
                at = begin + offset
                while at + cutting.length <= end:
                    result.append((index, at, [frames[at + k] for k in range(cutting.length)]))
                    at += cutting.step
                begin = end
    return result


@given(st.data())
def test_cutting_is_as_its_slow_twin(data):
    sizes = data.draw(st.lists(st.integers(0, 25), min_size=1, max_size=4))
    recordings = [numbered(size, 1000 * index) for index, size in enumerate(sizes)]
    numbers = []
    for size in sizes:
        steps = data.draw(st.none() | st.lists(st.sampled_from([1, 1, 1, 5]), min_size=size, max_size=size))
        numbers.append(None if steps is None else np.cumsum(np.array(steps, np.int64)))
    length = data.draw(st.integers(1, 7))
    offsets = tuple(data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=3, unique=True)))
    cutting = Cutting(length, data.draw(st.integers(1, 8)), offsets)
    result = cut(recordings, cutting, numbers)
    expected = slow_twin(recordings, cutting, numbers)
    assert result.recordings.tolist() == [index for index, _, _ in expected]
    assert result.starts.tolist() == [at for _, at, _ in expected]
    for sequence, (_, _, frames) in zip(result.skeletons, expected, strict=True):
        np.testing.assert_array_equal(sequence, np.stack(frames))
