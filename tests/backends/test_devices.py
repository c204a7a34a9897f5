"""Training on several devices of several processes, on JAX: the result of one device, and processes that die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from sge_la import checkpoints
from sge_la.backends import processes
from sge_la.errors import UserError
from sge_la.features.files import read_features
from sge_la.runs.records import read_config, read_history
from sge_la.settings.command_line import parse_train

ROOT = Path(__file__).resolve().parents[2]
needs_jax = pytest.mark.skipif(find_spec('jax') is None, reason='JAX is not installed: pip install jax')
SECONDS = 540  # after which a test gives up: the step is compiled in each process, and cores may be shared


def start(flags: list[str], *more: str, devices: int = 1, place: tuple[int, int, int] | None = None):
    """Starts a training on so many devices a process; `place`: number of this process, of how many, and a port."""
    environment = {
        **os.environ,
        'KERAS_BACKEND': 'jax',
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
    }
    if place:
        number, count, port = place
        environment |= {'JAX_PROCESS_ID': str(number), 'JAX_NUM_PROCESSES': str(count)}
        environment['JAX_COORDINATOR_ADDRESS'] = f'127.0.0.1:{port}'
    command = [sys.executable, 'train.py', *flags, *more]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def start_two(flags: list[str], *more: str) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    return [start(flags, '--devices', 'all', *more, devices=2, place=(number, 2, port)) for number in (0, 1)]


def errors(process: subprocess.Popen) -> list[str]:
    """What we said on stderr, and tracebacks: XLA and the coordination service chatter there on a busy machine."""
    said = process.communicate(timeout=SECONDS)[1].splitlines()
    ours = [line for line in said if line.startswith(('error: ', 'warning: ', 'Traceback'))]
    return [line for line in ours if not line.startswith('warning: BIWI has')]


@pytest.fixture
def flags(write_tiny: Callable[..., Path]) -> Callable[[str], list[str]]:
    """Flags of a training whose epochs are one step, into a folder of models beside the data."""
    data = write_tiny(people=4, each=2)
    common = ['--dataset', 'BIWI', '--gpu', '-1', '--batch_size', '4', '--rn_batch_size', '96', '--data_dir', str(data)]
    return lambda models: [*common, '--models_dir', str(data.parent / models)]


@needs_jax
@pytest.mark.slow
def test_four_devices_of_two_processes_give_what_one_gives(flags, tmp_path):
    """Losses of 20 steps, weights, CAGEs and files; the second process writes nothing and says nothing."""
    epochs = ['--epochs', '20', '--rn_epochs', '2']
    first, second = start_two(flags('four'), *epochs)
    assert (errors(first), first.returncode) == ([], 0)
    assert (errors(second), second.returncode) == ([], 0)
    one = start(flags('one'), *epochs)
    assert (errors(one), one.returncode) == ([], 0)
    written = [{path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob('*')} for name in ('one', 'four')]
    assert written[0] == written[1]
    for folder in (path for path in written[0] if path.parts[0] == 'Gait_Encoding_models' and len(path.parts) == 2):
        _same_encoder(tmp_path / 'one' / folder, tmp_path / 'four' / folder)
    networks = [next((tmp_path / name / 'CAGEs_RN_models').iterdir()) for name in ('one', 'four')]
    for stem in ('train', 'val'):
        found = [read_features(network, stem).X for network in networks]
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    environment = read_config(networks[1])['environment']
    assert (environment['devices'], environment['processes']) == (4, 2)
    assert 'devices' not in read_config(networks[0])['environment']


def _same_encoder(one: Path, four: Path) -> None:
    """Losses within rounding, which 20 steps magnify; names, shapes, dtypes and sizes of checkpoints the same."""
    lines = [read_history(folder) for folder in (one, four)]
    assert len(lines[0]) == len(lines[1]) == 20 and lines[0][0].keys() == lines[1][0].keys()
    for ours, theirs in zip(*lines, strict=True):
        for name in ours.keys() - {'seconds'}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), name
    kept = [checkpoints.read_checkpoint(folder) for folder in (one, four)]
    assert kept[0].keys() == kept[1].keys()
    for name, values in kept[0].items():
        np.testing.assert_allclose(values, kept[1][name], rtol=1e-3, atol=2e-5, err_msg=name)
        assert values.dtype == kept[1][name].dtype
    sizes = [{path.name: path.stat().st_size for path in folder.glob('*.ckpt.*')} for folder in (one, four)]
    assert sizes[0] == sizes[1]


@needs_jax
@pytest.mark.slow
def test_the_modern_recipe_on_two_devices_is_that_on_one(flags, tmp_path):
    """Its contrasts need the sequences, and the names, of the other device."""
    modern = ['--recipe', 'modern', '--supervised', '--epochs', '5']
    both = [start(flags('one'), *modern), start(flags('two'), *modern, '--devices', 'all', devices=2)]
    assert [(errors(process), process.returncode) for process in both] == [([], 0)] * 2
    one, two = (read_history(next((tmp_path / name / 'CAGEs_RN_models').iterdir())) for name in ('one', 'two'))
    assert len(one) == len(two) == 5 and all(line['supervised_contrastive'] > 0 for line in one)
    for ours, theirs in zip(one, two, strict=True):
        for name in ours.keys() - {'seconds'}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), name


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_a_dead_process_ends_the_other_in_one_sentence(flags, victim):
    first, second = both = start_two(flags('Models'), '--epochs', '100000')
    end = time.monotonic() + SECONDS
    with first, second:
        try:
            while not (said := first.stdout.readline()).startswith('Epoch   1/'):
                assert time.monotonic() < end and said
            both[victim].send_signal(signal.SIGKILL)
            both[1 - victim].wait(SECONDS)
            (told,) = errors(both[1 - victim])
        finally:
            for process in both:
                process.kill()
    assert both[1 - victim].returncode == 2
    assert told.startswith('error: ') and 'of this training' in told and 'start all of them again' in told


@pytest.mark.parametrize(
    'flags, words',
    [
        (['--backend', 'tensorflow', '--devices', '2'], 'on JAX alone'),
        (['--backend', 'jax', '--devices', '2', '--gpu', '3'], 'begins with the first GPU'),
        (['--backend', 'jax', '--devices', '2', '--runs', '2', '--together'], 'on one device'),
    ],
)
def test_what_several_devices_cannot_do_is_refused(flags, words):
    with pytest.raises(UserError, match=words):
        parse_train(flags)


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    """With the next size that would do."""
    monkeypatch.setattr(processes, '_chosen', lambda *given: ['a device'] * 3)
    monkeypatch.delenv('JAX_COORDINATOR_ADDRESS', raising=False)
    with (
        pytest.raises(
            UserError, match='--batch_size 128 should be a multiple of the 3 devices that share a batch: use 129'
        ),
        processes.joined('-1', 'all', {'--batch_size': 128}),
    ):
        raise AssertionError('it was not refused')


@pytest.mark.parametrize(
    'environment, expected',
    [
        ({}, None),
        ({'SLURM_PROCID': '0', 'SLURM_NTASKS': '1'}, None),
        ({'SLURM_PROCID': '1', 'SLURM_NTASKS': '4'}, processes.Place(1, 4, None)),
        ({'OMPI_COMM_WORLD_RANK': '2', 'OMPI_COMM_WORLD_SIZE': '3'}, processes.Place(2, 3, None)),
        (
            {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_PROCESS_ID': '0', 'JAX_NUM_PROCESSES': '2', 'SLURM_NTASKS': '9'},
            processes.Place(0, 2, 'a:1'),
        ),
    ],
)
def test_a_process_knows_which_one_it_is(monkeypatch, environment, expected):
    for name in (name for pair in processes._PLACES for name in (*pair, 'JAX_COORDINATOR_ADDRESS')):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.place() == expected


@pytest.mark.parametrize(
    'environment, words',
    [
        ({'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_PROCESS_ID': '2', 'JAX_NUM_PROCESSES': '2'}, "found '2' and '2'"),
        ({'JAX_PROCESS_ID': '1', 'JAX_NUM_PROCESSES': '2'}, 'beside JAX_COORDINATOR_ADDRESS, which is not set'),
        ({'JAX_NUM_PROCESSES': '2'}, 'JAX_NUM_PROCESSES should stand beside'),
    ],
)
def test_half_a_place_is_refused(monkeypatch, environment, words):
    """Or each process would train alone."""
    for name in (name for pair in processes._PLACES for name in (*pair, 'JAX_COORDINATOR_ADDRESS')):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words):
        processes.place()
