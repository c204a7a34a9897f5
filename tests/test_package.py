"""The command `sge-la`, and the wheel in an environment of its own outside the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from sge_la import __main__ as package
from sge_la import __version__
from sge_la.errors import PROGRAMS, program, run_command

ROOT = Path(__file__).resolve().parents[1]


def test_each_command_says_its_flags_under_the_name_that_called_it(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/sge-la'])
    assert run_command(package.main, []) == 0
    listed = capsys.readouterr().out
    assert set(package.COMMANDS) == set(PROGRAMS)
    for command in package.COMMANDS:
        assert f'  {command} ' in listed
        with pytest.raises(SystemExit) as stop:
            package.main([command, '--help'])
        assert stop.value.code == 0 and f'usage: sge-la {command} ' in capsys.readouterr().out


def test_mistakes_and_version(capsys):
    assert run_command(package.main, ['trian']) == 2
    assert "error: there is no command 'trian' (did you mean train?); see `sge-la --help`" in capsys.readouterr().err
    assert run_command(package.main, ['--version']) == 0
    assert capsys.readouterr().out == f'sge-la {__version__}\n'


@pytest.mark.parametrize(
    ('called', 'words'),
    [
        ('/env/bin/sge-la', 'sge-la check'),
        ('sge-la.exe', 'sge-la check'),
        ('/env/site-packages/sge_la/__main__.py', 'python -m sge_la check'),
        ('train.py', 'python -m sge_la.data.check'),
    ],
)
def test_commands_are_named_as_this_one_was_called(called, words, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [called])
    assert program('check') == words


@pytest.mark.slow
def test_the_demonstration_names_who_walks(tmp_path, capsys):
    """In a walk that nobody was trained on."""
    assert run_command(package.main, ['demo', '--folder', str(tmp_path / 'demo')]) == 0
    said = capsys.readouterr().out
    walker = re.search(r'A new walk of (\w+),', said)[1]
    assert f'  1. {walker}  ' in said
    assert float(re.search(r'### Rank-1 Accuracy: (\S+)', said)[1]) > 0.9  # 0.99 where it was written


@pytest.mark.slow
def test_the_wheel_works_outside_the_repository(tmp_path):
    """The steps of `make demo`, with the packages that this environment has and the wheel's own files and command."""
    source = tmp_path / 'source'  # building leaves files beside the source
    shutil.copytree(ROOT / 'sge_la', source / 'sge_la', ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}

    def call(*words: object) -> subprocess.CompletedProcess:
        return subprocess.run([*map(str, words)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    python = tmp_path / 'env' / 'bin' / 'python'
    for words in (
        (sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--wheel-dir', tmp_path, source),
        (sys.executable, '-m', 'venv', tmp_path / 'env'),
        (python, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--find-links', tmp_path, 'sge-la'),
    ):
        done = call(*words)
        assert done.returncode == 0, done.stderr
    [packages] = (tmp_path / 'env' / 'lib').glob('python*/site-packages')
    (packages / 'others.pth').write_text(sysconfig.get_path('purelib') + '\n')

    def sge_la(flags: str) -> subprocess.CompletedProcess:
        return call(python.with_name('sge-la'), *flags.split())

    for flags in (
        'prepare DEMO --people 4 --recordings 3',
        'train --dataset DEMO --epochs 1 --rn_epochs 1 --gpu -1',
        'evaluate --dataset DEMO --gpu -1',
    ):
        done = sge_la(flags)
        assert done.returncode == 0, done.stderr
    assert '### Rank-1 Accuracy: ' in done.stdout and (tmp_path / 'Models').is_dir()
    assert str(packages) in call(python, '-c', 'import sge_la; print(sge_la.__file__)').stdout
    missing = sge_la('evaluate --dataset BIWI')
    assert missing.returncode == 2 and 'Traceback' not in missing.stderr
