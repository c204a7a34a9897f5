"""Copies of training recordings in a test set are found although no frame is equal; walks of one person are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sge_la.data.check import main as check
from sge_la.data.prepare import main as prepare
from sge_la.data.quality import leaks
from sge_la.data.simulated.kinect import walkers
from sge_la.data.simulated.walkers import SKELETON
from sge_la.errors import run_command
from tests.data.generators import write_own


@pytest.fixture(scope='module')
def walks() -> dict[str, np.ndarray]:
    raw = walkers(3, 3, seed=0)
    return {item.name.replace('/', '_'): raw.read(item).frames[10:100] for item in raw.recordings}


def checked(folder: Path, walks: dict[str, np.ndarray], tested: dict[str, np.ndarray]) -> int:
    """Prepares a set that trains on `walks` and tests on `tested`, and looks through it."""
    rows = [(f'{name}.npy', name[:8], name, 'train', frames) for name, frames in walks.items()]
    rows += [(f'{name}.npy', name[:8], name, 'test', frames) for name, frames in tested.items()]
    write_own(folder / 'raw', SKELETON, rows)
    places = ['--data_dir', str(folder / 'Datasets')]
    assert run_command(prepare, ['Own', '--raw', str(folder / 'raw'), *places]) == 0
    return run_command(check, ['Own', *places])


@pytest.mark.parametrize(
    'change',
    [
        lambda frames: np.round(frames[4:], 2),
        lambda frames: np.round(frames, 3)[20:40],
        lambda frames: frames + np.random.default_rng(0).normal(0, 0.003, frames.shape).astype(np.float32),
        lambda frames: np.concatenate([frames[31:60] * np.float32(1.0001), frames[:10] + 1]),
    ],
)
def test_a_rounded_or_cut_copy_is_named(walks, tmp_path, capsys, change):
    """Under the name of somebody else, beside a walk that is none."""
    names = list(walks)
    train = {name: walks[name] for name in names if name[-1] != '3'}
    copy = {'walker02_copy': change(walks['walker00_1']), 'walker01_3': walks['walker01_3']}
    assert checked(tmp_path, train, copy) == 1
    said = capsys.readouterr().out
    assert said.count('bad: ') == 1
    assert 'bad: test set test: walker02_copy.npy is nearly walker00_1.npy, which is trained on: ' in said


def test_walks_of_one_person_are_no_copies(walks, tmp_path, capsys):
    names = list(walks)
    train, tested = ({name: walks[name] for name in names if (name[-1] == '3') == held} for held in (False, True))
    assert checked(tmp_path, train, tested) == 0
    assert 'nearly' not in capsys.readouterr().out


def test_where_everything_is_copied_other_recordings_tell_what_is_usual(walks, tmp_path, capsys):
    train = {name: walks[name] for name in walks if name[-1] != '3'}
    assert checked(tmp_path, train, {f'{name}c': np.round(frames, 3) for name, frames in train.items()}) == 1
    assert capsys.readouterr().out.count(' is nearly ') == 6


def test_both_searches_agree_with_the_slow_one(walks, monkeypatch):
    """In blocks of ten frames, some of which cannot be used."""
    monkeypatch.setattr(leaks, '_BLOCK', 8 * 60 * 10)
    frames = np.concatenate(list(walks.values())[:3])
    usable = np.flatnonzero(np.arange(len(frames)) % 7 != 0)
    queries = frames[:90] + np.random.default_rng(1).normal(0, 0.01, (90, 20, 3)).astype(np.float32)
    every = np.sqrt(((queries[:, None] - frames[None, usable]).astype(np.float64) ** 2).mean(axis=(2, 3)))
    np.testing.assert_allclose(leaks._distances(queries, frames, usable), every.min(axis=1), rtol=1e-6)
    numbers = np.arange(len(frames)) // 100
    others = np.where(numbers[:90, None] == numbers[usable], np.inf, every).min(axis=1)
    found = leaks._distances(queries, frames, usable, numbers[:90], numbers)
    np.testing.assert_allclose(found, others, rtol=1e-6)
    found, places = leaks._nearest_within(queries, frames, usable, 0.011)
    near = every.min(axis=1) < 0.011
    assert 0 < near.sum() < 90
    np.testing.assert_array_equal(np.isfinite(found), near)
    np.testing.assert_allclose(found[near], every.min(axis=1)[near], rtol=1e-6)
    np.testing.assert_array_equal(places[near], usable[every.argmin(axis=1)[near]])
