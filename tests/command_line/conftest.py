"""Tiny data sets, commands on them, and a usual run that was trained on one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.command_line_cases import Commands, uncompiled, write_people


@pytest.fixture(scope='package')
def data_dir(tmp_path_factory) -> Path:
    """Data sets of all names in layout 2, DEMO with two more lengths, KS20 with a view."""
    folder = tmp_path_factory.mktemp('command_line') / 'Datasets'
    for name in ('BIWI', 'IAS', 'KGBD', 'KinectReID', 'Mine-2'):
        write_people(folder, name)
    for length in (4, 6, 8):
        write_people(folder, 'DEMO', length=length, recordings=True)
    for view in (None, 2):
        write_people(folder, 'KS20', joints=25, view=view)
    return folder


@pytest.fixture(scope='package', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture
def commands(capsys, data_dir, tmp_path) -> Commands:
    return Commands(capsys, data_dir, tmp_path / 'Models')


@pytest.fixture(scope='package')
def trained(data_dir, tmp_path_factory) -> Path:
    """Models of a usual run on KGBD; tests that change them take a copy."""
    import train
    from sge_la.errors import run_command

    models = tmp_path_factory.mktemp('trained') / 'Models'
    sizes = '--epochs 1 --rn_epochs 2 --batch_size 12 --rn_batch_size 128 --gpu -1 --dataset KGBD'
    assert run_command(train.main, [*sizes.split(), '--data_dir', str(data_dir), '--models_dir', str(models)]) == 0
    return models


@pytest.fixture
def after(capsys, data_dir, trained, tmp_path) -> Commands:
    """Commands on a copy of the usual run's models."""
    shutil.copytree(trained, tmp_path / 'Models')
    return Commands(capsys, data_dir, tmp_path / 'Models')
