"""Sweeps: which runs they are, in this process and as jobs, stopped, killed and gone on with, and their tables."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sge_la.errors import UserError, run_command
from sge_la.evaluation.intervals import RunSummary
from sge_la.settings.command_line import parse_train
from sge_la.sweep import __main__ as sweep
from sge_la.sweep import carry_out, single, table
from sge_la.sweep.runs import MOST_RUNS, read_grids, runs_of
from tests.command_line_cases import CAGES, refused, uncompiled, write_people
from tests.conftest import nobodys_time
from tests.disturbance import heed_interrupts, stopping

ROOT = Path(__file__).resolve().parents[2]
SIZES = ['--epochs', '1', '--rn_epochs', '1', '--batch_size', '12', '--rn_batch_size', '128', '--gpu', '-1']
NETWORK = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec_seed-{}'


def flags(folder: Path) -> list[str]:
    places = ['--data_dir', str(folder / 'Datasets'), '--models_dir', str(folder / 'Models')]
    return ['--dataset', 'KGBD', *SIZES, *places]


@pytest.fixture(scope='module')
def folder(request, tmp_path_factory) -> Path:
    """Data, and a sweep of two seeds on them."""
    folder = tmp_path_factory.mktemp('sweep')
    write_people(folder / 'Datasets', 'KGBD', recordings=True)
    with nobodys_time(request.config), uncompiled():
        assert run_command(sweep.main, [*flags(folder), '--seed', '0', '1']) == 0
    return folder


def files_of(models: Path) -> dict[str, bytes]:
    """The checkpoints below a folder."""
    return {str(path.relative_to(models)): path.read_bytes() for path in sorted(models.rglob('*.ckpt*'))}


class TestRuns:
    def test_every_combination_with_seeds_fastest(self):
        runs = runs_of([{'seed': [3, 1], 'dataset': ['BIWI'], 'manner': ['ap', 'sc']}])
        found = [(run.options.manner, run.options.seed, run.options.by_seed) for run in runs]
        assert found == [('ap', 3, True), ('ap', 1, True), ('sc', 3, True), ('sc', 1, True)]
        assert runs[1].folder == Path('Models') / CAGES / 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec_seed-1'

    def test_runs_are_seeds(self):
        runs = runs_of([{'runs': [3], 'seed': [5], 'dataset': ['IAS']}])
        assert [(run.options.seed, run.options.runs) for run in runs] == [(5, 1), (6, 1), (7, 1)]

    def test_one_seed_keeps_the_usual_folder(self):
        [run] = runs_of([{'dataset': ['KS20'], 'seed': [0], 'attention': [None]}])
        assert run.options == parse_train(['--dataset', 'KS20', '--seed', '0'])

    def test_a_run_that_two_grids_ask_for_is_one(self):
        assert len(runs_of([{'dataset': ['BIWI', 'IAS']}, {'dataset': ['IAS']}])) == 2

    def test_all_views_of_casia_b(self, tmp_path):
        for view in (2, 7):
            (tmp_path / f'CASIA_B/20/view_{view}').mkdir(parents=True)
        runs = runs_of([{'dataset': ['CASIA_B'], 'view': ['all'], 'data_dir': [str(tmp_path)]}])
        assert [run.options.view for run in runs] in ([2, 7], [0])

    def test_the_file_in_the_documents(self, tmp_path):
        text = (ROOT / 'docs' / 'scaling.md').read_text(encoding='utf-8')
        (tmp_path / 'sweep.json').write_text(text.partition('```json\n')[2].partition('```')[0])
        grids = read_grids(tmp_path / 'sweep.json')
        assert len(runs_of(grids[:2])) == 2 * 2 * 5 + 5 * 2 * 5
        assert grids[2] == {'dataset': ['CASIA_B'], 'view': ['all'], 'length': [20, 40]}

    def test_what_shares_encoders_is_one_job(self):
        grids = [{'dataset': ['BIWI'], 'manner': ['ap', 'sc'], 'seed': [0, 1]}]
        every = [
            run.options for run in runs_of([*grids, {'dataset': ['IAS'], 'transfer': ['BIWI'], 'by_seed': [True]}])
        ]
        parts = single.chains(every)
        assert [[(o.manner, o.seed) for o in part] for part in parts] == [
            [('ap', 0), ('sc', 0)],
            [('ap', 1), ('sc', 1)],
            [('ap', 0)],
        ]

    def test_who_only_reads_an_encoder_waits_for_none(self):
        """Unless the encoder is trained in the same sweep: then they come one after the other."""
        reads = {'dataset': ['IAS', 'KS20'], 'transfer': ['KGBD']}
        assert len(single.chains([run.options for run in runs_of([reads])])) == 2
        assert len(single.chains([run.options for run in runs_of([{'dataset': ['KGBD']}, reads])])) == 1


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ({'datset': 'BIWI'}, "no flag 'datset' (did you mean dataset?)"),
        ({'config': 'x.json'}, "no flag 'config'"),
        ({'devices': 2}, "no flag 'devices'"),
        ({'length': [6, 'six']}, 'expected a number of frames'),
        ({'length': [[6]]}, 'length: expected a value or a list of values'),
        ({'length': []}, 'length: expected a value or a list of values'),
        ({'faithful': 'yes'}, 'faithful should be true or false'),
        ({'seed': True}, 'expected a whole number'),
        ({'dataset': 'BIWI --overwrite'}, "expected a data set's name"),
        ([{'dataset': 'BIWI'}, 3], 'should hold the flags of a sweep'),
        ([], 'should hold the flags of a sweep'),
        ({'dataset': 'BIWI', 'seed': list(range(200)), 'length': list(range(2, 60))}, f'at most {MOST_RUNS} runs'),
        ({'dataset': 'BIWI', 'runs': 100_000}, f'at most {MOST_RUNS} runs'),
        ({'dataset': 'BIWI', 'epochs': [5, 10]}, '--epochs 10 and --epochs 5 would share the folder'),
        ({'dataset': 'BIWI', 'encoding': 'AGE', 'frozen': [0, 1]}, '--frozen and --c_reid need the contrast head'),
        ({'dataset': 'CASIA_B', 'probe_type': 'all'}, '--protocol CME trains no recognition network'),
        ({'models_dir': 'x' * 2**20}, 'is larger'),
    ],
)
def test_what_is_refused_of_a_file(tmp_path, content, words):
    path = tmp_path / 'sweep.json'
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        runs_of(read_grids(path))
    assert words in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('typed', 'words'),
    [
        ('--cpus 4', '--cpus is for --cluster slurm alone'),
        ('--cluster local --memory 8', '--memory is for --cluster slurm alone'),
        ('--cluster debug --requeue 1', '--requeue is for --cluster local and slurm alone'),
        ('--cluster slurm', "needs Slurm's sbatch and srun, and there is none on this machine"),
        ('--cluster slurm --sbatch gpu', 'expected an option of sbatch, such as partition=gpu'),
        ('--cluster local --overwrite', '--overwrite starts anew whenever a job is taken up again'),
        ('--resume', 'unrecognized arguments: --resume'),
        ('--seed 2 --by_seed --transfer BIWI', 'another_set'),
    ],
)
def test_what_is_refused_of_the_command(folder, monkeypatch, capsys, typed, words):
    monkeypatch.setenv('PATH', '')
    if words == 'another_set':
        typed, words = f'{typed} --dataset IAS', 'IAS'  # no such data: told before anything is started
    assert run_command(sweep.main, [*flags(folder), *typed.split()]) == 2
    assert words in refused(capsys.readouterr().err)


def test_without_submitit(folder, monkeypatch, capsys):
    monkeypatch.setattr(carry_out, 'find_spec', lambda name: None)
    assert run_command(sweep.main, [*flags(folder), '--cluster', 'local']) == 2
    assert '--cluster local needs the package submitit, which is not installed' in refused(capsys.readouterr().err)


class TestFinished:
    def test_the_tables_are_those_of_the_runs(self, folder):
        """Mean, deviation and t interval of what the two results.json say, as NumPy and SciPy have them."""
        networks = [folder / 'Models' / CAGES / NETWORK.format(seed) for seed in (0, 1)]
        scores = [json.loads((path / 'results.json').read_text())['test_sets']['probe'] for path in networks]
        home = folder / 'Models' / 'sweep'
        [row] = csv.DictReader((home / 'table.csv').read_text().splitlines())
        assert (row['dataset'], row['test set'], row['seeds']) == ('KGBD', 'probe', '2')
        found = [one['all_sequences']['nauc'] for one in scores]
        mean, sd = np.mean(found), statistics.stdev(found)
        assert sd > 0 and float(row['nauc_mean']) == pytest.approx(mean) and float(row['nauc_sd']) == pytest.approx(sd)
        ends = stats.t.interval(0.95, 1, mean, stats.sem(found))
        assert (float(row['nauc_low']), float(row['nauc_high'])) == pytest.approx(ends)
        shown = f'{100 * mean:.1f} ± {100 * sd:.1f}'
        line = (home / 'table.md').read_text().splitlines()[2]
        assert line.startswith('| KGBD | probe | best on the test set | 2 |') and f' | {shown} | ' in line
        assert shown.replace('±', r'$\pm$') in (home / 'table.tex').read_text()

    def test_one_seed_has_the_interval_of_its_test_set(self, folder, capsys):
        assert (
            run_command(sweep.main, [*flags(folder), '--seed', '1', '--by_seed', '--output', str(folder / 'one')]) == 0
        )
        network = folder / 'Models' / CAGES / NETWORK.format(1)
        scores = json.loads((network / 'results.json').read_text())['test_sets']['probe']['all_sequences']
        [row] = csv.DictReader((folder / 'one' / 'table.csv').read_text().splitlines())
        assert [float(row['rank1_low']), float(row['rank1_high'])] == scores['intervals']['rank1']
        assert row['rank1_sd'] == ''

    def test_nothing_is_done_again(self, folder, capsys):
        before = files_of(folder / 'Models')
        stamps = {path: path.stat().st_mtime_ns for path in (folder / 'Models' / CAGES).rglob('*')}
        assert run_command(sweep.main, [*flags(folder), '--seed', '0', '1']) == 0
        out = capsys.readouterr().out
        assert '1 of' not in out and 'Run 1' not in out and '2 of 2 runs are finished' in out
        assert files_of(folder / 'Models') == before
        assert stamps == {path: path.stat().st_mtime_ns for path in (folder / 'Models' / CAGES).rglob('*')}

    def test_other_options_or_data_are_no_finished_run(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        options = parse_train([*flags(tmp_path), '--seed', '1', '--by_seed'])
        assert single.is_finished(options)
        other = [*flags(tmp_path), '--seed', '1', '--by_seed', '--epochs', '2']
        assert not single.is_finished(parse_train(other))
        single._fingerprints.cache_clear()
        shutil.rmtree(tmp_path / 'Datasets' / 'KGBD')
        write_people(tmp_path / 'Datasets', 'KGBD', recordings=True, each=13)
        assert not single.is_finished(options)
        results = tmp_path / 'Models' / CAGES / NETWORK.format(1) / 'results.json'
        shutil.rmtree(tmp_path / 'Datasets')
        single._fingerprints.cache_clear()
        assert single.is_finished(options)  # nothing is there to compare with
        found = json.loads(results.read_text())
        del found['test_sets']['probe']['all_sequences']  # stopped between training and scoring
        results.write_text(json.dumps(found))
        assert not single.is_finished(options)


def test_list_says_what_is_finished(folder, capsys):
    assert run_command(sweep.main, [*flags(folder), '--seed', '1', '2', '--list']) == 0
    found = [line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    networks = folder / 'Models' / CAGES
    assert found == [['finished', str(networks / NETWORK.format(1))], ['to do', str(networks / NETWORK.format(2))]]


def test_words_in_latex():
    """Every letter that LaTeX reads otherwise, in a path that somebody may sweep over."""
    line = table.Line({'models_dir': r'a_b~{c}\50%'}, 'test', 'last', {'rank1': RunSummary(0.5, 0.1, -0.2, 1.2, 2)}, 2)
    row = table.as_latex([line]).splitlines()[5]
    shown = r'a\_b\textasciitilde{}\{c\}\textbackslash{}50\%'
    assert row == rf'{shown} & test & last & 2 & 50.0 $\pm$ 10.0 & 0.0 to 100.0 & -- &  \\'


def test_a_sweep_that_is_stopped_goes_on(folder, tmp_path, capsys):
    """Ctrl-C in the second run, the first being finished: the same command trains it, and it ends as without a stop."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns('*_seed-1'))
    command = [*flags(tmp_path), '--seed', '0', '1']
    second = tmp_path / 'Models' / 'Gait_Encoding_models' / 'KGBD_LA_x_6_0.5_0pre_rev_rec_seed-1' / 'config.json'
    with uncompiled():
        with stopping(signal.SIGINT, second.exists):
            assert run_command(sweep.main, command) == 130
        told = capsys.readouterr().err.splitlines()[-1]
        assert told == 'stopped by Ctrl-C: the same command goes on after the last finished epoch'
        assert run_command(sweep.main, command) == 0
    assert '1 of 2 runs are finished' in capsys.readouterr().out
    assert files_of(tmp_path / 'Models') == files_of(folder / 'Models')


def test_a_run_that_fails_stops_no_other(folder, tmp_path, capsys):
    shutil.copytree(folder / 'Datasets', tmp_path / 'Datasets')
    write_people(tmp_path / 'Datasets', 'broken')
    next((tmp_path / 'Datasets' / 'broken').rglob('*.npy')).write_bytes(b'no array')
    more = ['--dataset', 'broken', 'KGBD', '--t', '0.5', '--seed', '1', '--by_seed']
    with uncompiled():
        assert run_command(sweep.main, [*flags(tmp_path), *more]) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert last.startswith('error: 1 of 2 runs failed, broken_LA') and 'the same command tries them again' in last
    assert '| KGBD | probe |' in out
    made = files_of(tmp_path / 'Models')
    assert made == {name: content for name, content in files_of(folder / 'Models').items() if name in made}
    assert len(made) == 8


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
