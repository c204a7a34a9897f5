"""Sweeps as jobs on this machine and of Slurm: failed, stopped, preempted, killed and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sge_la.errors import run_command
from sge_la.sweep import __main__ as sweep
from tests.command_line_cases import refused
from tests.disturbance import heed_interrupts, stopping
from tests.sweep.cases import files_of, flags

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('way', ['local --at_once 2', 'debug'])
def test_jobs_say_why_they_failed(broken, importable, way):
    """In a process of its own, since submitit leaves the log files of debug jobs to the garbage collector."""
    command = [sys.executable, '-m', 'sge_la', 'sweep', *broken, '--cluster', *way.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(re.findall(r'^Job \w+ has ended; broken_\S+: ', done.stdout, re.M)) == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith('error: 2 of 2 runs failed, broken_LA') and 'other reasons' not in last


SLURM = {
    # Runs the script behind, as Slurm would on a node, and keeps it.
    'sbatch': """\
echo 4711 >> $SLURM_HOME/submitted; cp $1 $SLURM_HOME/script
for task in 0 1; do
  SLURM_JOB_ID=4711 SLURM_ARRAY_JOB_ID=4711 SLURM_ARRAY_TASK_ID=$task SLURM_PROCID=0 bash $1 &
done >/dev/null 2>&1
echo Submitted batch job 4711""",
    'srun': """\
while [ "${1#-}" != "$1" ]; do case $1 in --output|--error) shift;; esac; shift; done
exec "$@" """,
    'sacct': """\
echo 'JobID|State|NodeList'; echo "4711_0|$SLURM_STATE|here"; echo "4711_1|$SLURM_STATE|here" """,
    'scontrol': 'echo here',
}


@pytest.fixture
def slurm(tmp_path, monkeypatch, importable) -> Path:
    """Programs under Slurm's names, which start what they are given on this machine."""
    home = tmp_path / 'slurm'
    home.mkdir()
    for name, body in SLURM.items():
        (home / name).write_text(f'#!/bin/bash\n{body}\n')
        (home / name).chmod(0o755)
    monkeypatch.setenv('PATH', os.pathsep.join([str(home), os.environ['PATH']]))
    monkeypatch.setenv('SLURM_HOME', str(home))
    monkeypatch.setenv('SLURM_STATE', 'RUNNING')
    return home


def test_jobs_of_slurm(broken, slurm, capsys):
    """One array with what was asked for; what its tasks return is told."""
    asked = '--at_once 1 --cpus 4 --gpus 1 --memory 16 --minutes 30 --sbatch partition=gpu account=me'
    assert run_command(sweep.main, [*broken, '--cluster', 'slurm', *asked.split()]) == 2
    assert refused(capsys.readouterr().err).startswith('error: 2 of 2 runs failed, broken_LA')
    options = set(re.findall(r'^#SBATCH --(\S+)$', (slurm / 'script').read_text(), re.M))
    assert {'array=0-1%1', 'cpus-per-task=4', 'gpus-per-node=1', 'mem=16GB', 'time=30', 'partition=gpu'} <= options
    assert 'account=me' in options and 'signal=USR2@90' in options


def test_what_slurm_refuses_is_told(broken, slurm, capsys):
    (slurm / 'sbatch').write_text('#!/bin/bash\necho "sbatch: error: invalid partition" >&2; exit 1\n')
    assert run_command(sweep.main, [*broken, '--cluster', 'slurm']) == 2
    assert 'Slurm refused the jobs' in (error := refused(capsys.readouterr().err)) and 'invalid partition' in error


def test_jobs_of_an_earlier_command_are_waited_for(broken, slurm, monkeypatch, capsys):
    """Ctrl-C while they wait leaves them to Slurm; the same command submits none again."""
    tasks = (slurm / 'sbatch').read_text()
    (slurm / 'sbatch').write_text(tasks.replace('bash $1 &', 'true &'))
    heed_interrupts()
    with stopping(signal.SIGINT, lambda: any(slurm.parent.rglob('submitted.json'))):
        assert run_command(sweep.main, [*broken, '--cluster', 'slurm']) == 130
    out, err = capsys.readouterr()
    assert '`scancel 4711_0 4711_1` ends them' in out and err.startswith('stopped by Ctrl-C')
    submitted = next(slurm.parent.rglob('submitted.json'))
    jobs = {number: [*folders, 'finished_since'] for number, folders in json.loads(submitted.read_text()).items()}
    submitted.write_text(json.dumps(jobs))
    for task in (0, 1):
        environment = {'SLURM_JOB_ID': '4711', 'SLURM_ARRAY_JOB_ID': '4711', 'SLURM_ARRAY_TASK_ID': str(task)}
        command = ['bash', str(slurm / 'script')]
        subprocess.run(
            command, env={**os.environ, **environment, 'SLURM_PROCID': '0'}, capture_output=True, check=False
        )
    assert run_command(sweep.main, [*broken, '--cluster', 'slurm']) == 2
    assert capsys.readouterr().out.count('of an earlier command goes on') == 2
    assert (slurm / 'submitted').read_text() == '4711\n'


@pytest.mark.parametrize(
    ('state', 'words'), [('CANCELLED by 1000', 'its job was cancelled'), ('OUT_OF_MEMORY', 'give more --memory')]
)
def test_jobs_that_would_end_so_again_are_not_taken_up(broken, slurm, monkeypatch, capsys, state, words):
    monkeypatch.setenv('SLURM_STATE', state)
    (slurm / 'sbatch').write_text((slurm / 'sbatch').read_text().replace('bash $1 &', 'true &'))
    assert run_command(sweep.main, [*broken, '--cluster', 'slurm']) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert (slurm / 'submitted').read_text() == '4711\n'


def _job_below(home: Path) -> int:
    """The process of the only job whose logs lie in a folder, by what the system says of its processes."""
    [pid] = [pid for pid in map(int, filter(str.isdigit, os.listdir('/proc'))) if _is_job(pid, str(home))]
    return pid


def _is_job(pid: int, home: str) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f'/proc/{pid}/cmdline').read_bytes().decode(errors='replace').split('\0')
        return 'submitit.core._submit' in words and home in words
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self').exists(), reason='this system does not say which processes there are')
def test_a_job_that_is_preempted_and_one_that_is_killed_go_on(folder, importable, tmp_path):
    """The first signal is the cluster's, after which submitit starts it again; then it is killed, and we do."""
    shutil.copytree(folder / 'Datasets', tmp_path / 'Datasets')
    longer = [*flags(tmp_path), '--epochs', '25', '--rn_epochs', '3', '--seed', '0']
    command = [sys.executable, '-m', 'sge_la', 'sweep', *longer]
    state = tmp_path / 'Models/Gait_Encoding_models/KGBD_LA_x_6_0.5_0pre_rev_rec/resume.npz'
    home, seen = tmp_path / 'Models' / 'sweep' / 'jobs', 0
    local = [*command, '--cluster', 'local']
    with subprocess.Popen(local, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for number in (signal.SIGUSR2, signal.SIGKILL):
            end = time.monotonic() + 120
            while not state.exists() or state.stat().st_mtime_ns == seen:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.01)
            os.kill(_job_below(home), number)
            time.sleep(1)
            seen = state.stat().st_mtime_ns
        out = process.communicate(timeout=300)[0]
    assert process.returncode == 0, out
    assert out.count('was killed: it is taken up again') == 1
    logs = ''.join(path.read_text() for path in home.glob('*.out'))
    assert logs.count('Found an unfinished run: going on after epoch') == 2
    alone = [*command, '--cluster', 'debug', '--models_dir', str(tmp_path / 'Alone')]
    subprocess.run(alone, cwd=ROOT, check=True, capture_output=True)
    assert files_of(tmp_path / 'Models') == files_of(tmp_path / 'Alone')


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs_on_this_machine(folder, importable, tmp_path):
    """And nothing else is said than that the command goes on; no job is left behind."""
    shutil.copytree(folder / 'Datasets', tmp_path / 'Datasets')
    command = [sys.executable, '-m', 'sge_la', 'sweep', *flags(tmp_path), '--epochs', '1000', '--cluster', 'local']
    heed_interrupts()
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        end = time.monotonic() + 120
        while not list(tmp_path.rglob('resume.npz')):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=100)[1]
    assert process.returncode == 130
    assert err == 'stopped by Ctrl-C: the same command goes on after the last finished epoch\n'
    home = str(tmp_path / 'Models' / 'sweep' / 'jobs')
    assert not [pid for pid in filter(str.isdigit, os.listdir('/proc')) if _is_job(int(pid), home)]
