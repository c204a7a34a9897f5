"""Sweeps in this process: their tables, stopped, failed and gone on with."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import signal
import statistics

import numpy as np
import pytest
from scipy import stats

from sge_la.errors import run_command
from sge_la.evaluation.intervals import RunSummary
from sge_la.settings.command_line import parse_train
from sge_la.sweep import __main__ as sweep
from sge_la.sweep import single, table, way
from sge_la.sweep.runs import runs_of
from tests.command_line_cases import CAGES, refused, uncompiled, write_people
from tests.disturbance import stopping
from tests.sweep.cases import NETWORK, asked, files_of, flags


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
    monkeypatch.setattr(way, 'find_spec', lambda name: None)
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

    def test_a_line_has_runs_of_its_own_options_alone(self, folder):
        runs = runs_of([{**asked(folder), 'seed': [0, 1]}])
        assert [line.seeds for line in table.lines_of(runs)] == [2]
        longer = runs_of([{**asked(folder), 'epochs': [2], 'seed': [0, 1]}])
        assert table.lines_of(longer) == []

    def test_a_test_set_that_one_seed_alone_has_is_a_line_of_one(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        path = tmp_path / 'Models' / CAGES / NETWORK.format(1) / 'results.json'
        found = json.loads(path.read_text())
        found['test_sets']['Still'] = found['test_sets']['probe']
        path.write_text(json.dumps(found))
        lines = table.lines_of(runs_of([{**asked(tmp_path), 'seed': [0, 1]}]))
        assert [(line.test, line.seeds) for line in lines] == [('probe', 2), ('Still', 1)]

    def test_figures_and_event_files_of_finished_runs_are_made(self, folder, tmp_path, capsys):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        with uncompiled():
            assert run_command(sweep.main, [*flags(tmp_path), '--seed', '1', '--by_seed', '--tensorboard']) == 0
        assert 'trained already' in capsys.readouterr().out
        assert list((tmp_path / 'Models' / CAGES / NETWORK.format(1)).rglob('events.*'))

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


def test_runs_are_in_the_order_of_the_flags(capsys):
    """The first flag that was typed changes slowest, whatever the hashes of their names."""
    typed = '--manner ap sc --length 6 8 --attention LA BA --t 0.1 0.2'
    assert run_command(sweep.main, ['--list', '--dataset', 'BIWI', *typed.split()]) == 0
    found = [line.rpartition('/')[2].split('_') for line in capsys.readouterr().out.splitlines()]
    expected = itertools.product(('ap', 'sc'), ('6', '8'), ('LA', 'BA'), ('0.1', '0.2'))
    assert [(name[3], name[4], name[1], name[5]) for name in found] == [*expected]


def test_a_score_without_an_interval_has_an_empty_cell(monkeypatch):
    """Of a test set of one recording nothing can be resampled, and results.json has null for the ends."""
    scores = {'rank1': 0.5, 'nauc': 0.75, 'intervals': {'rank1': [None, None], 'nauc': [None, None]}}
    monkeypatch.setattr(
        table, 'scores_of', lambda options: {'test': {'all_sequences': scores, 'selected': {'select': 'last'}}}
    )
    lines = table.lines_of(runs_of([{'dataset': ['BIWI']}]))
    assert table.as_markdown(lines).splitlines()[2] == '| BIWI | test | last | 1 | 50.0 |  | 75.0 |  |'
    assert table.as_csv(lines).splitlines()[1] == 'BIWI,test,last,1,0.5,,,,0.75,,,'
    assert ' & 50.0 &  & 75.0 &  ' in table.as_latex(lines)


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


def test_a_run_that_breaks_stops_no_other(folder, tmp_path, monkeypatch, capsys):
    """As without memory on a GPU: said whole, and the other run is scored."""
    from sge_la.training import pipeline

    shutil.copytree(folder / 'Datasets', tmp_path / 'Datasets')
    trained = pipeline.run_training

    def training(plan, dataset):
        if plan.seed == 0:
            raise MemoryError('no room\nfor 3 GB')
        return trained(plan, dataset)

    monkeypatch.setattr(pipeline, 'run_training', training)
    with uncompiled():
        assert run_command(sweep.main, [*flags(tmp_path), '--seed', '0', '1']) == 2
    out, err = capsys.readouterr()
    assert 'Traceback' in err and 'error: 1 of 2 runs failed' in err.splitlines()[-1]
    assert 'because MemoryError: no room' in err.splitlines()[-1] and '| KGBD | probe |' in out


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
