"""Compiled, as users run it: same seed, same bits; and the numbers of the tests that run without compiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sge_la import checkpoints
from tests.command_line_cases import ENCODERS, Commands, uncompiled, write_people

NETWORK = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec'


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('compiled') / 'Datasets'
    write_people(folder, 'KGBD')
    return folder


@pytest.fixture
def commands(capsys, data_dir, tmp_path) -> Commands:
    return Commands(capsys, data_dir, tmp_path / 'First')


def contents(models: Path) -> dict[str, bytes]:
    """All files but those with times in them."""
    timed = ('config.json', 'results.json', 'history.csv')
    paths = [path for path in models.rglob('*') if path.is_file() and path.name not in timed]
    return {str(path.relative_to(models)): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_same_seed_same_bits_and_the_same_numbers_uncompiled(commands, tmp_path):
    """Two runs leave the same bytes, another seed leaves others; operation by operation rounds differently alone."""
    commands.train('--dataset KGBD', epochs=2, rn_epochs=2)
    lines = [line for line in commands.out.splitlines() if 'Accuracy' in line]
    commands.train('--dataset KGBD', epochs=2, rn_epochs=2, models_dir=tmp_path / 'Second')
    assert [line for line in commands.out.splitlines() if 'Accuracy' in line] == lines
    first, second = contents(tmp_path / 'First'), contents(tmp_path / 'Second')
    assert first == second and any('train_X.npy' in name for name in first)
    commands.train('--dataset KGBD --seed 1', epochs=2, rn_epochs=2, models_dir=tmp_path / 'Third')
    third = contents(tmp_path / 'Third')
    assert third.keys() == first.keys() and all(third[name] != first[name] for name in first if name.endswith('_X.npy'))
    with uncompiled():
        commands.train('--dataset KGBD', epochs=2, rn_epochs=2, models_dir=tmp_path / 'Fourth')
    networks = [tmp_path / name / 'CAGEs_RN_models' / NETWORK for name in ('First', 'Fourth')]
    features = [np.load(folder / 'val_X.npy') for folder in networks]
    assert np.abs(features[0] - features[1]).max() < 1e-3 * np.abs(features[0]).max()
    places = [tmp_path / name / ENCODERS / 'KGBD_LA_y_6_0.5_0pre_rev_rec' for name in ('First', 'Fourth')]
    one, other = (checkpoints.load_encoder([folder]).params for folder in places)
    for name, value in one.items():
        assert np.abs(value - other[name]).max() < 1e-2 * np.abs(value).max() + 1e-4, name
