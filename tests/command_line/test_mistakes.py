"""Mistakes that are told before anything is loaded, by every command alike: one sentence, status 2, what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import evaluate
import train
from sge_la import ablation, compare, cost, export, identify
from sge_la.backends import runtime, starting
from sge_la.checkpoints import __main__ as checkpoints
from sge_la.data import check, convert, prepare
from sge_la.enrol import __main__ as gallery
from sge_la.errors import UserError, run_command
from sge_la.reporting import audit
from tests.command_line_cases import CAGES, Commands, refused

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    train,
    evaluate,
    prepare,
    check,
    audit,
    convert,
    identify,
    gallery,
    export,
    checkpoints,
    compare,
    cost,
    ablation,
)
NETWORK = 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command.__name__)
def test_an_unknown_flag_is_told_alike(command, capsys):
    assert run_command(command.main, ['--no_such_flag', '1']) == 2
    error = refused(capsys.readouterr().err)
    assert 'usage' not in error and error.rstrip().endswith('--help`')


@pytest.mark.parametrize(
    ('backend', 'words'),
    [
        ('torch', 'one of tensorflow, jax, numpy was expected'),
        ('jax', 'pip install jax'),
        ('numpy', 'used and not trained'),
    ],
)
def test_a_backend_that_cannot_be_had(backend, words, monkeypatch):
    monkeypatch.setenv('KERAS_BACKEND', backend)
    monkeypatch.setattr(starting, 'find_spec', lambda name: None)
    for name in ('jax', 'keras'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UserError, match=words):
        starting.keras_backend()


def test_a_gpu_that_is_not_there(monkeypatch):
    assert runtime._choice(0, 0) == 'CPU (no GPU found)' and runtime._choice(1, 2) is None
    for gpu, count in ((3, 0), (2, 2)):
        with pytest.raises(UserError, match=f'--gpu {gpu} is not there'):
            runtime._choice(gpu, count)


@pytest.fixture
def after(small_run, capsys, tmp_path) -> Commands:
    """Commands on a copy of the run of BIWI that many tests share."""
    shutil.copytree(small_run / 'Models', tmp_path / 'elsewhere' / 'Models')
    return Commands(capsys, small_run / 'Datasets', tmp_path / 'elsewhere' / 'Models')


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        ('evaluate.main(["--attention", "BA", *places])', ('BIWI_BA_RN', 'did you mean BIWI_LA_RN')),
        ('evaluate.main(["--RN_dir", "NOPE", *places])', ('--RN_dir NOPE names no folder', f'there are {NETWORK}')),
        ('identify.main(["--RN_dir", "NOPE", "train.py", *places])', ('--RN_dir NOPE names no folder',)),
        ('export.main(["--RN_dir", "NOPE", "--output", "x", *places])', ('--RN_dir NOPE names no folder',)),
        ('train.main(["--dataset", "BIIW", *places])', ('did you mean BIWI?',)),
    ],
)
def test_what_is_not_there_is_told_before_a_backend_is_loaded(after, code, words):
    """In a process of its own, in which neither TensorFlow nor Keras can be imported."""
    lines = [
        'import sys; sys.modules["tensorflow"] = sys.modules["keras"] = None',
        'import evaluate, train',
        'from sge_la import export, identify',
        'from sge_la.errors import run_command',
        f'places = ["--models_dir", {str(after.models_dir)!r}, "--data_dir", {str(after.data_dir)!r}]',
        f'sys.exit(run_command(lambda argv: {code}, []))',
    ]
    done = subprocess.run(
        [sys.executable, '-c', '\n'.join(lines)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    error = refused(done.stderr)
    assert all(word in error for word in words), error
    assert str(after.models_dir) in error or str(after.data_dir) in error


def test_a_config_names_the_run_whose_folder_it_lies_in(after, tmp_path, monkeypatch):
    """evaluate.py looks there, and not into ./Models."""
    monkeypatch.chdir(tmp_path)
    home = after.models_dir
    config = f'--config elsewhere/Models/{CAGES}/{NETWORK}/config.json'
    after.capsys.readouterr()
    assert run_command(evaluate.main, [*config.split(), '--data_dir', str(after.data_dir), '--gpu', '-1']) == 0
    assert after.capsys.readouterr().out.count('### Rank-1 Accuracy') == 1
    assert home.is_dir() and not (tmp_path / 'Models').exists()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'transfer': '../../outside/E'}, '--transfer'),
        ({'t': [0.1]}, '--t'),
        ({'seed': 10**30}, '--seed'),
        ({'dataset': {}}, '--dataset'),
        ({'models_dir': '/nowhere', 'config': '/nowhere', 'RN_dir': '/nowhere'}, ''),
    ],
)
def test_a_config_is_read_by_one_reader(after, options, words, tmp_path):
    """What evaluate.py refuses in a config.json, identify and export refuse too; and nothing in it names a path."""
    path = after.network(NETWORK) / 'config.json'
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'options': {**content['options'], **options}}))
    (tmp_path / 'x.npy').write_bytes(b'')
    places = ['--RN_dir', NETWORK, '--models_dir', str(after.models_dir), '--data_dir', str(after.data_dir)]
    commands = [
        (evaluate.main, [*places, '--gpu', '-1']),
        (identify.main, [*places, '--gpu', '-1', str(tmp_path / 'x.npy')]),
        (export.main, [*places, '--output', str(tmp_path / 'out')]),
    ]
    for main, flags in commands if words else commands[:1]:
        after.capsys.readouterr()
        assert run_command(main, flags) == (2 if words else 0)
        if words:
            error = refused(after.capsys.readouterr().err)
            assert words in error and NETWORK in error


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        ('--output foo.onnx --format saved_model', 'a folder was expected'),
        ('--output foo --format onnx', "a file's name that ends in .onnx was expected"),
    ],
)
def test_the_ending_of_an_export_and_its_format_agree(flags, words, capsys):
    assert run_command(export.main, ['--RN_dir', 'x', *flags.split()]) == 2
    assert words in refused(capsys.readouterr().err)
