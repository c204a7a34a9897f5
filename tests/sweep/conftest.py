"""A sweep of two seeds, one that fails, and jobs that find this package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sge_la.errors import run_command
from sge_la.sweep import __main__ as sweep
from tests.command_line_cases import uncompiled, write_people
from tests.conftest import nobodys_time
from tests.sweep.cases import flags

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='package')
def folder(request, tmp_path_factory) -> Path:
    """Data, and a sweep of two seeds on them."""
    folder = tmp_path_factory.mktemp('sweep')
    write_people(folder / 'Datasets', 'KGBD', recordings=True)
    with nobodys_time(request.config), uncompiled():
        assert run_command(sweep.main, [*flags(folder), '--seed', '0', '1']) == 0
    return folder


@pytest.fixture
def broken(tmp_path) -> list[str]:
    """The flags of two runs that fail at once, for their data are damaged."""
    write_people(tmp_path / 'Datasets', 'broken')
    next((tmp_path / 'Datasets' / 'broken').rglob('*.npy')).write_bytes(b'no array')
    return ['--dataset', 'broken', '--seed', '0', '1', *flags(tmp_path)[2:]]


@pytest.fixture
def importable(monkeypatch):
    """Jobs find this package, wherever the tests were started."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
