"""What cannot be meant about skeletons is found in simulated walks that were disturbed, and nothing in whole ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.check import main as check
from sge_la.data.prepare import main as prepare
from sge_la.data.quality.lost import filled, lost_finding, lost_joints, origin_joints
from sge_la.data.quality.plausible import look_through
from sge_la.data.simulated.kinect import walkers
from sge_la.data.simulated.walkers import SKELETON
from sge_la.data.skeletons import Skeleton
from sge_la.errors import run_command
from tests.data.generators import write_own

STICK = Skeleton('stick', ('Hip', 'Head', 'HandLeft', 'HandRight'), (-1, 0, 1, 1), ((2, 3),))


@pytest.fixture(scope='module')
def walks() -> dict[str, np.ndarray]:
    """Two walks of two walkers, `[60, 20, 3]` each."""
    raw = walkers(2, 2, seed=0)
    return {item.name: raw.read(item).frames[10:70] for item in raw.recordings}


def found(walks: dict[str, np.ndarray], skeleton: Skeleton | None = SKELETON) -> list[tuple[str, str, bool]]:
    numbered = {name: (frames, None) for name, frames in walks.items()}
    return [(one.kind, str(one.path), one.grave) for one in look_through(numbered, skeleton)]


def swapped(frames: np.ndarray) -> np.ndarray:
    left, right = np.array(SKELETON.pairs).T
    frames[:, [*left, *right]] = frames[:, [*right, *left]]
    return frames


def away(frames: np.ndarray) -> np.ndarray:
    frames[30:, :, 0] += 2
    return frames


def nailed(frames: np.ndarray) -> np.ndarray:
    frames[:, 7] = frames[0, 7]
    return frames


def elastic(frames: np.ndarray) -> np.ndarray:
    frames[::3, 3, 1] += 1
    return frames


@pytest.mark.parametrize('skeleton', [SKELETON, None])
def test_whole_walks_raise_no_doubt(walks, skeleton):
    assert found(walks, skeleton) == []


@pytest.mark.parametrize(
    ('kind', 'disturb', 'grave'),
    [
        ('units', lambda frames: frames * 1000, True),
        ('units', lambda frames: frames / 100, True),
        ('size', lambda frames: frames * 2, False),
        ('up', lambda frames: frames * np.float32([1, -1, 1]), True),
        ('up', lambda frames: frames[..., [0, 2, 1]], True),
        ('height', lambda frames: frames * np.float32([4, 1, 4]), False),
        ('sides', swapped, False),
        ('sides', lambda frames: frames * np.float32([-1, 1, 1]), False),
        ('jump', away, False),
        ('still', nailed, False),
        ('bones', elastic, False),
    ],
)
def test_one_disturbed_walk_is_named(walks, kind, disturb: Callable, grave):
    name = list(walks)[2]
    for skeleton in (SKELETON, None):
        if skeleton is None and kind in ('sides', 'bones', 'height'):  # they need bones and pairs
            continue
        told = found({**walks, name: disturb(walks[name].copy())}, skeleton)
        assert (kind, name, grave) in told
        assert {path for _, path, _ in told} == {name}


def test_what_all_have_is_told_once(walks):
    first = next(iter(walks))
    assert found({name: frames * 1000 for name, frames in walks.items()}) == [('units', first, False)]
    down = {name: frames * np.float32([1, -1, -1]) for name, frames in walks.items()}
    assert found(down) == [('axes', first, False)]
    flat = {name: frames * np.float32([1, 1, 0]) for name, frames in walks.items()}
    assert ('flat', first, False) in found(flat)
    centred = {name: frames - frames[:, :1] for name, frames in walks.items()}
    assert found(centred) == [('origin', first, False)]


def test_unlike_bodies_are_not_judged_by_each_other():
    rng = np.random.default_rng(0)
    clouds = {str(number): rng.normal(size=(30, 20, 3)).astype(np.float32) for number in range(4)}
    assert not {'up', 'sides', 'units'} & {kind for kind, _, _ in found(clouds)}


def test_lost_joints_are_those_at_the_origin_at_minus_one_or_nan():
    frames = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    expected = np.zeros((6, 4), bool)
    for place, value in (((0, 1), 0), ((1, 2), -1), ((2, 3), np.nan)):
        frames[place], expected[place] = value, True
    frames[4], expected[4] = 0, True
    frames[5, 0, :2] = 0  # one coordinate is elsewhere
    np.testing.assert_array_equal(lost_joints(frames), expected)
    text = lost_finding('x', frames, expected, STICK, np.arange(10, 16)).text
    assert 'of 6 frames, 4 have lost joints: Head in 1, HandLeft in 1, HandRight in 1, all joints in 1' in text
    assert 'first in frame 10, at 0, 0, 0' in text
    flat = frames.copy()
    flat[..., 2] = 0
    flat[1, 2] = -1, -1, 0
    np.testing.assert_array_equal(lost_joints(flat)[[1, 4]], expected[[1, 4]])


def test_the_joint_that_everything_was_centred_on_is_not_lost():
    frames = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    frames -= frames[:, :1]
    frames[2] = 0
    assert origin_joints([frames, frames]) == (0,)
    assert origin_joints([frames, frames + 1]) == ()
    assert origin_joints([np.zeros((3, 4, 3))]) == ()
    lost = lost_joints(frames, (0,))
    assert lost[2].all() and not lost[[0, 1, 3, 4, 5]].any()


def test_short_gaps_are_filled_in_a_straight_line():
    """Gaps of 2 and 3 frames, one at the start, and one over a jump of the numbers; at most 2 are filled."""
    frames = np.arange(12, dtype=np.float32)[:, None, None] * np.ones((12, 2, 3), np.float32)
    truth, lost = frames.copy(), np.zeros((12, 2), bool)
    lost[[0, 2, 3, 5, 6, 7, 10], 0] = True
    frames[lost] = np.nan
    numbers = np.array([*range(10), 20, 21])
    done, left = filled(frames, lost, numbers, 2)
    assert np.flatnonzero(left[:, 0]).tolist() == [0, 5, 6, 7, 10] and not left[:, 1].any()
    np.testing.assert_allclose(done[~left], truth[~left])
    assert np.isnan(frames[2, 0]).all()  # the argument is left alone


def raw_folder(folder: Path, walks: dict[str, np.ndarray]) -> list[str]:
    rows = [(f'{name.replace("/", "_")}.npy', name[:8], name[-1], '', frames) for name, frames in walks.items()]
    write_own(folder / 'raw', SKELETON, rows)
    return ['Own', '--raw', str(folder / 'raw'), '--data_dir', str(folder / 'Datasets')]


@pytest.mark.parametrize('lost', ['drop', 'interpolate', 'keep'])
def test_prepare_does_what_is_asked_about_lost_joints(walks, tmp_path, capsys, lost):
    """Ten frames at the start of the first walk, and one in its middle, have lost a joint."""
    name = next(iter(walks))
    frames = walks[name].copy()
    frames[[*range(10), 32], 5] = 0
    flags = raw_folder(tmp_path, {**walks, name: frames})
    assert run_command(prepare, [*flags, '--lost', lost]) == 0
    said = capsys.readouterr().out
    assert 'of 60 frames, 11 have lost joints: ElbowLeft in 11 (first in frame 0, at 0, 0, 0)' in said
    train = load('Own', data_dir=tmp_path / 'Datasets').train
    first = train.skeletons[train.recordings == 0]
    expected = {
        'drop': [*range(10, 28, 6), *range(33, 55, 6)],
        'interpolate': range(10, 55, 6),
        'keep': range(0, 55, 6),
    }
    np.testing.assert_array_equal(first[:, 0, 0], frames[list(expected[lost]), 0])
    assert lost_joints(first.reshape(-1, 20, 3)).any() == (lost == 'keep')
    record = json.loads((tmp_path / 'Datasets/Own/6/Own_train_npy_data/prepare.json').read_text())
    assert 'ElbowLeft in 11' in record['recordings'][0]['lost'] and record['settings']['lost'] == lost
    cost = 'lost to gaps (numbers jump, or frames were left out), because no sequence of 6 frames crosses one: '
    assert (f'{cost}walker00_1.npy loses 6' in said) == (lost == 'drop')


def test_check_says_what_it_finds_and_what_prepare_has_left_out(walks, tmp_path, capsys):
    """Whole sequences without tracking are equal, and yet nobody else's."""
    lossy = {name: frames.copy() for name, frames in walks.items()}
    for frames in lossy.values():
        frames[6:12] = 0
        frames[20, 5] = -1
    flags, places = raw_folder(tmp_path, lossy), ['Own', '--data_dir', str(tmp_path / 'Datasets')]
    for lost in ('keep', 'drop'):
        assert run_command(prepare, [*flags, '--lost', lost]) == 0
        capsys.readouterr()
        assert run_command(check, places) == 0
        said = capsys.readouterr().out
        for name in walks:
            name = f'{name.replace("/", "_")}.npy'
            kept = f'{name}: of 60 frames, 7 have lost joints: ElbowLeft in 1, all joints in 6 (first in sequence 1 fr'
            left = f'{name} as prepare met it: of 60 frames, 7 have lost joints: ElbowLeft in 1, all joints in 6'
            assert (kept in said, left in said) == (lost == 'keep', lost == 'drop')
    assert run_command(prepare, flags) == 0
    path = tmp_path / 'Datasets/Own/6/Own_test_npy_data/t_source_y_Own_6.npy'
    np.save(path, -np.load(path))
    assert run_command(check, places) == 1
    assert 'bad: walker00_2.npy: the body is upright along -y in all frames, and along y' in capsys.readouterr().out


def test_prepare_refuses_two_units_unless_that_is_accepted(walks, tmp_path, capsys):
    name = list(walks)[2]
    flags = raw_folder(tmp_path, {**walks, name: walks[name] * 1000})
    assert run_command(prepare, flags) == 2
    error = capsys.readouterr().err
    assert 'walker01_1.npy: bones are' in error and 'millimetres among metres' in error and '--accept' in error
    assert not (tmp_path / 'Datasets').exists()
    assert run_command(prepare, [*flags, '--accept']) == 0


@pytest.mark.parametrize(
    ('axes', 'disturb'),
    [
        ({'units': 'mm'}, lambda frames: frames * 1000),
        ({'units': 'cm', 'up': '-y'}, lambda frames: frames * np.float32([100, -100, -100])),
        ({'up': 'z'}, lambda frames: frames[..., [0, 2, 1]] * np.float32([1, -1, 1])),
        ({'up': '-z'}, lambda frames: frames[..., [0, 2, 1]] * np.float32([1, 1, -1])),
        ({'up': 'x'}, lambda frames: frames[..., [1, 0, 2]] * np.float32([1, -1, 1])),
        ({'up': '-x'}, lambda frames: frames[..., [1, 0, 2]] * np.float32([-1, 1, 1])),
    ],
)
@pytest.mark.parametrize('typed', [False, True])
def test_units_and_axes_are_turned_into_metres_with_y_up(walks, tmp_path, capsys, axes, disturb: Callable, typed):
    """Said in skeleton.json or typed; a joint at -1 is lost in any unit; without a word the set is doubted."""
    changed = {name: disturb(frames) for name, frames in walks.items()}
    changed['walker00/1'][3, 2] = -1
    flags = raw_folder(tmp_path, changed)
    assert run_command(prepare, flags) == 0
    said = capsys.readouterr().out
    assert all(f'say "{key}": "{value}" in skeleton.json' in said for key, value in axes.items())
    path = tmp_path / 'raw' / 'skeleton.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | ({} if typed else axes)))
    assert run_command(prepare, flags + [f'--{key}={value}' for key, value in axes.items() if typed]) == 0
    said = capsys.readouterr().out
    assert 'say "' not in said and 'of 60 frames, 1 have lost joints' in said
    train = load('Own', data_dir=tmp_path / 'Datasets').train
    np.testing.assert_allclose(train.skeletons[0], walks['walker00/1'][4:10], atol=1e-6)
    np.testing.assert_allclose(train.skeletons[-1], walks['walker01/1'][54:], atol=1e-6)


@pytest.mark.parametrize('said', [{'units': 'inch'}, {'units': 1}, {'up': 'down'}, {'up': ['y']}])
def test_axes_that_nobody_knows_are_refused(walks, tmp_path, capsys, said):
    flags = raw_folder(tmp_path, walks)
    path = tmp_path / 'raw' / 'skeleton.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    assert run_command(prepare, flags) == 2
    assert f'was expected as "{next(iter(said))}"' in capsys.readouterr().err


def test_who_cannot_be_tested_is_named(walks, tmp_path, capsys):
    few = dict(list(walks.items())[:3])
    assert run_command(prepare, raw_folder(tmp_path, few)) == 0
    assert '1 people have no test recording and are not tested (1 of them have one recording' in capsys.readouterr().out


def test_nothing_left_without_lost_frames_is_told(walks, tmp_path, capsys):
    lossy = {name: frames.copy() for name, frames in walks.items()}
    for frames in lossy.values():
        frames[::4, 2] = -1
    flags = raw_folder(tmp_path, lossy)
    assert run_command(prepare, flags) == 2
    said = capsys.readouterr()
    assert 'without the 60 frames that have lost joints; give a smaller --length, --lost interpolate' in said.err
    assert '60 frames of 4 recordings have lost joints' in said.out
    assert run_command(prepare, [*flags, '--lost', 'interpolate']) == 0
    assert run_command(prepare, [*flags, '--max_gap', '3']) == 2


def test_files_that_the_table_names_in_a_roundabout_way(walks, tmp_path, capsys):
    """`./a.npy` is found again by that name, with what prepare and check say of it."""
    frames = {
        file: walks[f'walker{file[2]}{file[3]}/{file[4]}'].copy() for file in ('./001', './002', './011', './012')
    }
    frames['./001'][5, 3] = 0
    rows = [(f'{file}.npy', file[2:4], file[4], '', array) for file, array in frames.items()]
    raw = write_own(tmp_path / 'raw', SKELETON, rows)
    prepare(['X', '--raw', str(raw), '--data_dir', str(tmp_path)])
    capsys.readouterr()
    assert check(['X', '--data_dir', str(tmp_path)]) == 0
    assert './001.npy as prepare met it: of 60 frames, 1 have lost joints' in capsys.readouterr().out
