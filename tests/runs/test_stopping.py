"""Commands that are stopped or refused by the system, and training that is stopped anywhere and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import train
from sge_la.errors import run_command
from tests.conftest import training_flags
from tests.disturbance import heed_interrupts, outcome, stopping

ROOT = Path(__file__).resolve().parents[2]
COMMAND = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from sge_la.errors import run_command

def main(argv):
    {{}}

sys.exit(run_command(main))
"""


def command(body: str, **options) -> subprocess.Popen:
    """Starts a command whose `main` has this body."""
    heed_interrupts()
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, '-c', COMMAND.format(body)], text=True, **options)


@pytest.mark.parametrize(
    'number, status, name', [(signal.SIGTERM, 143, 'SIGTERM'), (signal.SIGINT, 130, 'Ctrl-C')], ids=['term', 'int']
)
def test_a_stopped_command_says_so_and_cleans_up(tmp_path, number, status, name):
    """What was said before reaches a log, though Python keeps lines for files back."""
    body = f"""
    try:
        print('up')
        open({str(tmp_path / 'up')!r}, 'w').close()
        time.sleep(60)
    finally:
        open({str(tmp_path / 'cleaned')!r}, 'w').close()"""
    with open(tmp_path / 'log', 'w') as log, command(body, stdout=log) as process:
        while not (tmp_path / 'up').exists():
            time.sleep(0.01)
        assert (tmp_path / 'log').read_text() == 'up\n'
        process.send_signal(number)
        assert process.communicate(timeout=30)[1] == f'stopped by {name}\n'
    assert process.returncode == status and (tmp_path / 'cleaned').exists()


def test_words_of_the_one_who_was_stopped_are_passed_on():
    process = command('raise KeyboardInterrupt("the same command goes on")')
    assert process.communicate(timeout=30)[1] == 'stopped by Ctrl-C: the same command goes on\n'


def test_sigterm_is_left_to_whoever_wants_it():
    """A program that has a handler of its own, or ignores the signal, keeps it; ours is gone when the command ends."""
    found = []

    def main(argv):
        found.append(signal.getsignal(signal.SIGTERM))

    for wanted in (signal.SIG_IGN, lambda number, frame: None, signal.SIG_DFL):
        before = signal.signal(signal.SIGTERM, wanted)
        try:
            assert run_command(main) == 0
            assert signal.getsignal(signal.SIGTERM) is wanted
            assert (found.pop() is wanted) == (wanted is not signal.SIG_DFL)
        finally:
            signal.signal(signal.SIGTERM, before)


def test_a_command_in_another_thread_works():
    found = []
    thread = threading.Thread(target=lambda: found.append(run_command(lambda argv: 7)))
    thread.start()
    thread.join()
    assert found == [7]


def test_a_reader_that_has_gone_is_no_error():
    process = command("""
    for number in range(100_000):
        print(number)""")
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=30)[1] == ''
    assert process.returncode == 141


def test_a_full_disk_behind_the_output_is_told():
    if not Path('/dev/full').exists():
        pytest.skip('this system has no /dev/full')
    with open('/dev/full', 'w') as full:
        process = command("print('x')", stdout=full)
    assert process.communicate(timeout=30)[1].startswith('error: the system refused reading or writing (No space left')
    assert process.returncode == 2


def test_what_the_system_refuses_is_told_in_one_sentence(capsys, tmp_path):
    def main(argv):
        (tmp_path / 'nowhere').read_text()

    assert run_command(main) == 2
    assert capsys.readouterr().err == (
        f'error: the system refused {tmp_path / "nowhere"} (No such file or directory); '
        'check that it is there, may be used, and has room on its disk\n'
    )


def test_defects_keep_their_traceback():
    def main(argv):
        raise KeyError('a defect')

    with pytest.raises(KeyError):
        run_command(main)


# Training -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def flags(small_run) -> list[str]:
    """Flags of a training of four epochs a stage on the data of `small_run`."""
    return [*training_flags(small_run), '--epochs', '4', '--rn_epochs', '4']


@pytest.fixture(scope='module')
def undisturbed(flags, tmp_path_factory) -> Path:
    """The models of that training, never stopped."""
    models = tmp_path_factory.mktemp('undisturbed')
    assert run_command(train.main, [*flags, '--models_dir', str(models)]) == 0
    return models


@pytest.mark.slow
def test_a_run_that_is_stopped_in_every_stage_ends_like_one_that_was_not(flags, undisturbed, tmp_path, capsys):
    """kill -9 while encoders train, SIGTERM while features are written, Ctrl-C while the network trains; a state is
    damaged on the way, and the clock has jumped by decades in both directions.
    """
    flags = [*flags, '--models_dir', str(tmp_path)]
    encoders, networks = tmp_path / 'Gait_Encoding_models', tmp_path / 'CAGEs_RN_models'

    with subprocess.Popen([sys.executable, 'train.py', *flags], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            while not any(encoders.glob('*/resume.previous.npz')):
                assert process.poll() is None
                time.sleep(0.001)
        finally:
            process.kill()
    newest = min(encoders.glob('*/resume.n*npz'), default=None) or next(encoders.glob('*/resume.npz'))
    newest.write_bytes(newest.read_bytes()[:-1000])
    os.utime(newest, (0, 0))
    os.utime(next(encoders.glob('*/resume.previous.npz')), (2**32, 2**32))
    os.utime(next(encoders.glob('*/run.lock')), (2**32, 2**32))

    with stopping(signal.SIGTERM, lambda: any(networks.glob('*/.train_X.npy.*.partial'))):
        assert run_command(train.main, [*flags, '--resume']) == 143
    said = capsys.readouterr()
    assert said.err.endswith('\nstopped by SIGTERM: the same command goes on after the last finished epoch\n')
    assert f'warning: {newest} should be an .npz file' in said.out and ', the state before it\n' in said.out
    assert 'Found an unfinished run: going on after epoch ' in said.out
    assert 'run.lock of process' in said.out and 'which ended without removing it' in said.out
    assert not any(networks.glob('*/.*')) and not any(networks.glob('*/features.json'))

    with stopping(signal.SIGINT, lambda: any(networks.glob('*/resume.npz'))):
        assert run_command(train.main, flags) == 130
    said = capsys.readouterr()
    assert said.err.endswith('\nstopped by Ctrl-C: the same command goes on after the last finished epoch\n')
    assert 'Gait encoders are trained already' in said.out and 'Generate CAGEs' in said.out

    assert run_command(train.main, flags) == 0
    said = capsys.readouterr()
    assert 'Features are there already' in said.out
    assert 'Found an unfinished run: going on after epoch 1 of 4' in said.out
    assert outcome(tmp_path) == outcome(undisturbed)

    assert run_command(train.main, [*flags, '--resume']) == 0
    assert 'The recognition network is trained already' in capsys.readouterr().out
    assert outcome(tmp_path) == outcome(undisturbed)


def test_going_on_with_nothing_is_refused_and_leaves_nothing(flags, tmp_path, capsys):
    for more in ([], ['--train_flag', '0']):
        assert run_command(train.main, [*flags, '--models_dir', str(tmp_path), '--resume', *more]) == 2
        assert 'error: --resume goes on with a run, and ' in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('other', [['--overwrite'], ['--train_flag', '2']])
def test_resume_beside_what_contradicts_it_is_refused(flags, capsys, other):
    assert run_command(train.main, [*flags, '--resume', *other]) == 2
    assert capsys.readouterr().err.count('--resume') == 1


@pytest.mark.slow
def test_runs_together_that_are_killed_end_like_runs_one_after_the_other(flags, tmp_path):
    """kill -9 while encoders train, and while networks do: each seed goes on from its own state. Compiled, as usual."""
    flags = [*flags, '--runs', '2']
    assert run_command(train.main, [*flags, '--models_dir', str(tmp_path / 'Alone')]) == 0
    models = tmp_path / 'Together'
    together = [*flags, '--together', '--models_dir', str(models)]
    for root in ('Gait_Encoding_models', 'CAGEs_RN_models'):
        with subprocess.Popen([sys.executable, 'train.py', *together], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            try:
                while not any(models.glob(f'{root}/*/resume.previous.npz')):
                    assert process.poll() is None
                    time.sleep(0.001)
            finally:
                process.kill()
    assert run_command(train.main, together) == 0
    assert outcome(models) == outcome(tmp_path / 'Alone')
