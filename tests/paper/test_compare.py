"""The comparison table: the paper's numbers, neighbours against scikit-learn, settings chosen without the test set."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sge_la.data import load
from sge_la.errors import UserError, run_command
from sge_la.evaluation.metrics import evaluate_scores
from sge_la.paper import baselines
from sge_la.paper import methods as comparison
from sge_la.paper.comparison import Kept, Row, _to_train, main, measured_row, table, trained_row
from sge_la.paper.curves import draw_cmc
from sge_la.paper.methods import (
    ADABOOST,
    LSTM_LAYERS,
    NEIGHBOURS,
    YARDSTICKS,
    Method,
    Sets,
    _folds,
    chosen_settings,
    methods,
)
from sge_la.paper.published import COLUMNS, PAPER, published
from sge_la.runs import records
from sge_la.runs.find import recognition_folder
from tests.conftest import small_flags

# As many as one person has whole batches of, and one whose sequences are filled up.
IDS = {0: np.arange(130), 1: np.arange(130, 140)}


@pytest.fixture
def sets(write_tiny) -> Sets:
    data_dir = write_tiny('BIWI', people=3, each=12, recordings=True)
    dataset = load('BIWI', 6, data_dir, warn=lambda text: None)
    return Sets(dataset, dataset.train, dataset.tests['Walking'])


def rank1(scores, sets: Sets) -> float:
    return evaluate_scores(scores, sets.labels()).rank1


@pytest.mark.parametrize('name', list(NEIGHBOURS))
def test_neighbours_agree_with_scikit_learn(sets, name):
    scores, _ = methods(1, 1)[name].measure(sets, 0)
    vectors, classes, probes = sets.described(NEIGHBOURS[name])
    twin = KNeighborsClassifier(1).fit(vectors, classes).score(probes, sets.labels())
    assert rank1(scores, sets) == pytest.approx(twin)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-4)  # standardised by training vectors


def test_settings_do_not_depend_on_the_test_set(sets, monkeypatch):
    """Every vector that the choice of settings sees is a training vector."""
    vectors, *_ = sets.described('D16')
    seen = []
    real = baselines.adaboost_scores

    def noting(one, labels, other, *args, **further):
        seen.append((one, other))
        return real(one, labels, other, *args, **further)

    monkeypatch.setattr(baselines, 'adaboost_scores', noting)
    _, note = methods(1, 1)[ADABOOST].measure(sets, 0)
    *choice, last = seen
    known = {vector.tobytes() for vector in vectors}
    assert choice
    assert all(vector.tobytes() in known for sides in choice for side in sides for vector in side)
    assert len(last[1]) == len(sets.test.skeletons)
    assert 'by cross-validation on training recordings' in note


@pytest.mark.parametrize('layers', LSTM_LAYERS.values())
def test_lstm_learns_people_and_says_its_epochs(sets, layers):
    """Twelve sequences of each of three people who stand apart by decimetres."""
    scores, note = comparison.lstm(sets, 0, layers=layers, epochs=40)
    assert scores.shape == (6, 3) and note == 'the last of 40 epochs'
    assert rank1(scores, sets) > 0.8
    again, _ = comparison.lstm(sets, 0, layers=layers, epochs=40)
    np.testing.assert_array_equal(scores, again)


@pytest.mark.parametrize('name', YARDSTICKS)
def test_yardsticks_learn_people(sets, name):
    scores, note = methods(1, 12)[name].measure(sets, 0)
    assert scores.shape == (6, 3) and note == 'the last of 12 epochs'
    assert rank1(scores, sets) > 0.8


def test_a_yardstick_repeats_with_its_seed(sets):
    measure = methods(1, 2)['MLP on coordinates'].measure
    first, again, other = (measure(sets, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_nobodys_sequences_are_left_out(write_tiny):
    data_dir = write_tiny('BIWI', people=3, each=12)
    dataset = load('BIWI', 6, data_dir, warn=lambda text: None)
    ids = {person: rows[:-1] for person, rows in dataset.train.ids.items()}
    split = replace(dataset.train, ids=ids)
    skeletons, classes = Sets(dataset, split, dataset.tests['Walking']).side(split)
    assert len(skeletons) == len(classes) == 33 and classes.min() == 0
    np.testing.assert_array_equal(skeletons[:11], split.skeletons[:11])


class TestKept:
    def measured(self, sets: Sets, seeds, path, data='d', epochs=1):
        calls = []

        def measure(sets, seed):
            calls.append(seed)
            return np.eye(3, dtype=np.float32)[(sets.labels() + (seed == 1)) % 3], 'noted'

        method = Method(measure, seeded=True, settings={'epochs': epochs})
        return measured_row('M', method, sets, seeds, data, Kept(path)), calls

    def test_a_finished_seed_is_not_measured_again(self, sets, tmp_path):
        path = tmp_path / 'comparison' / 'BIWI.json'
        first, calls = self.measured(sets, [0], path)
        assert calls == [0] and first.found[0]['rank1'] == 1 and first.note == 'noted'
        both, calls = self.measured(sets, [0, 1], path)
        assert calls == [1] and [found['rank1'] for found in both.found] == [1, 0]
        again, calls = self.measured(sets, [0, 1], path)
        assert not calls and again == both

    def test_other_data_or_settings_are_measured_anew(self, sets, tmp_path):
        path = tmp_path / 'kept.json'
        for further in ({}, {'data': 'other'}, {'epochs': 2}):
            assert self.measured(sets, [0], path, **further)[1] == [0]

    @pytest.mark.parametrize(
        'text', ['{}', '[1]', '[{"record": {}, "scores": {"rank1": "x"}, "seconds": 1, "note": ""}]', '[']
    )
    def test_a_file_of_something_else_is_refused(self, tmp_path, text):
        (tmp_path / 'kept.json').write_text(text)
        with pytest.raises(UserError, match=r'kept\.json'):
            Kept(tmp_path / 'kept.json')


def test_unknown_joints_are_told(sets, tmp_path):
    row = measured_row(
        'D13 + KNN',
        methods(1, 1)['D13 + KNN'],
        replace(sets, dataset=replace(sets.dataset, skeleton=None)),
        [0],
        '',
        Kept(tmp_path / 'none'),
    )
    assert not row.found and 'skeleton.json is missing' in row.note


def test_folds_keep_recordings_whole():
    classes, recordings = np.repeat([0, 1], 6), np.repeat([5, 6, 7, 8, 9, 9], 2)
    fold = _folds(classes, recordings)
    assert fold.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert _folds(classes, None).tolist() == [0, 0, 0, 1, 1, 1] * 2


def test_choice_with_one_person_takes_the_defaults():
    assert chosen_settings(np.zeros((4, 2)), np.zeros(4, int), None)['depth'] == 1


def test_table_has_the_papers_numbers_and_mean_and_deviation():
    """Two runs of 50 and 60 per cent: 55.0 ± 7.1 (the deviation has n − 1)."""
    runs = [{'rank1': 0.5, 'nauc': 0.9}, {'rank1': 0.6, 'nauc': 0.9}]
    rows = [Row('CAGE Rev.Rec.', runs, 3.0, '', [0.45, 0.64], 128), Row('PoseGait')]
    lines = list(table(rows, 'KGBD'))
    assert lines[2] == '| CAGE Rev.Rec. | 86.9 | 55.0 ± 7.1 (45.0 to 64.0) | 97.1 | 90.0 ± 0.0 | 2 | 128 | 3.0 s |  |'
    assert lines[3] == '| PoseGait | 90.6 | – | 97.8 | – |  |  |  |  |'
    assert '| – |' in list(table(rows, None))[2]


@pytest.mark.parametrize('ends', [[None, None], [np.nan, np.nan]])
def test_a_score_without_an_interval_stands_alone(ends):
    """As results.json has it, and as it was just measured, where all of a test set is one recording."""
    [line] = list(table([Row('PoseGait', [{'rank1': 0.5}], 3.0, '', ends, 128)], None))[2:]
    assert line == '| PoseGait | – | 50.0 | – | – | 1 | 128 | 3.0 s |  |'


def test_every_row_of_the_paper_has_five_columns():
    for one in PAPER.values():
        assert all(len(values) == len(COLUMNS) for values in one)
    assert published('PoseGait', 'KS20') == (70.5, 94.0)
    assert published('PoseGait', None) == published('another', 'KS20') == (None, None)


def test_a_network_that_is_not_trained_says_how_to(tmp_path):
    row = trained_row('CAGE Rev.Rec.Plus', ['--dataset', 'KGBD', '--models_dir', str(tmp_path)], 'probe', {})
    assert not row.found
    assert row.note.endswith('--model rev_rec_plus')


def test_a_network_of_another_length_is_told(tmp_path):
    row = trained_row('AGEs', ['--dataset', 'BIWI', '--length', '8', '--models_dir', str(tmp_path)], 'Walking', {})
    assert not row.found and 'one length, 6' in row.note


def test_seeds_count_once_and_unfinished_runs_do_not(small_run, tmp_path):
    """The plain folder and the repeat `_seed-0` are of one seed; `_seed-1` has not ended."""
    models = shutil.copytree(small_run / 'Models', tmp_path / 'Models')
    flags = [*small_flags(small_run), '--models_dir', str(models)]
    before = trained_row('CAGE Rev.Rec.', flags, 'Walking', IDS)
    folder = next(models.glob('CAGEs_RN_models/*'))
    for seed, finished in ((0, True), (1, False)):
        repeat = shutil.copytree(folder, folder.with_name(f'{folder.name}_seed-{seed}'))
        config = records.read_config(repeat)
        options = {**config['options'], 'seed': seed}
        records.write_config(repeat, {**config, 'options': options, 'finished': finished})
    assert trained_row('CAGE Rev.Rec.', flags, 'Walking', IDS) == before


def test_each_network_is_trained_with_each_seed(tmp_path):
    """Where the table looks for them; AGEs have one length."""
    flags = ['--dataset', 'BIWI', '--models_dir', str(tmp_path), '--length', '8']
    given = argparse.Namespace(train=True, runs=2, gpu='-1')
    found = [recognition_folder(options).name for options in _to_train(given, flags)]
    ends = ('LA_RN_ap_8_0.1_0pre_rev_rec', 'RN_ap_8_0.1_0pre_rev_rec_plus')
    ends += ('LA_RN_ap_8_0.1_0pre_rev_rec_recipe-modern_select-last',)
    assert found == [f'BIWI_{end}_seed-{seed}' for end in ends for seed in (0, 1)]
    assert _to_train(argparse.Namespace(train=False), flags) == []


@pytest.mark.slow
def test_networks_that_cannot_be_trained_are_told_below_the_table(write_tiny, tmp_path, capsys):
    """Fewer sequences than a batch: all four fail, and the rows that need no training are there."""
    data_dir = write_tiny('BIWI', people=3, each=12, recordings=True)
    flags = ['--dataset', 'BIWI', '--data_dir', str(data_dir), '--models_dir', str(tmp_path / 'Models')]
    flags += ['--runs', '1', '--lstm_epochs', '1', '--yardstick_epochs', '1', '--gpu', '-1', '--train']
    assert run_command(main, flags) == 2
    out, err = capsys.readouterr()
    assert out.count('\n## Run ') == 4 and '| D13 + KNN |' in out
    assert err.splitlines()[-1].startswith('error: 4 of 4 runs failed, BIWI_LA_RN_ap because ')


def test_a_cluster_is_for_training(small_run, tmp_path):
    with pytest.raises(UserError, match='--cluster local says how networks are trained: add --train'):
        main(['--dataset', 'BIWI', '--cluster', 'local'])


@pytest.mark.parametrize('flags', [['--train'], ['--output', 'rows.json']])
def test_what_only_the_table_obeys_is_no_flag_of_a_plot(flags):
    with pytest.raises(UserError, match='--figures RUN draws runs and makes no table'):
        main(['--figures', 'run', *flags])


def test_an_output_that_cannot_be_written_is_told_first(small_run, tmp_path):
    with pytest.raises(UserError, match='--output expects a file in an existing folder'):
        main(['--dataset', 'BIWI', '--output', str(tmp_path / 'nowhere' / 'rows.json')])


@pytest.mark.slow
def test_command_reads_the_runs_that_are_there(small_run, tmp_path, capsys):
    flags = small_flags(small_run)[-4:]
    flags += ['--gpu', '-1', '--lstm_epochs', '2', '--yardstick_epochs', '2', '--runs', '1', '--figures']
    main(['--dataset', 'BIWI', *flags, '--output', str(tmp_path / 'rows.json')])
    lines = capsys.readouterr().out.splitlines()
    kept = json.loads((tmp_path / 'rows.json').read_text())['Walking']
    names = [row['method'] for row in kept]
    assert names[: len(PAPER)] == list(PAPER)
    results = next((small_run / 'Models' / 'CAGEs_RN_models').glob('*rev_rec/results.json'))
    scores = json.loads(results.read_text())['test_sets']['Walking']['all_sequences']
    row = kept[names.index('CAGE Rev.Rec.')]
    assert row['found'] == [{'rank1': scores['rank1'], 'nauc': scores['nauc']}]
    assert row['note'] == '2 / 2 epochs, epoch kept: best on the test set; time without the encoders'
    assert any(line.startswith('| D13 + KNN | 39.3 | ') for line in lines)
    [lstm] = [line for line in lines if line.startswith('| Multi-layer LSTM | 36.1 | ')]
    assert lstm.endswith('| the last of 2 epochs |')
    main(['--dataset', 'BIWI', *flags])
    assert capsys.readouterr().out.splitlines() == lines  # nothing was measured again: even the times are equal


@pytest.fixture
def two_runs(small_run, tmp_path):
    """Two runs that differ in their seeds, the second with Rank-1 0.25 and Rank-2 0.5: names and flags."""
    models = shutil.copytree(small_run / 'Models', tmp_path / 'Models')
    first = next(models.glob('CAGEs_RN_models/*rev_rec'))
    second = shutil.copytree(first, first.with_name(f'{first.name}_seed-5'))
    config, results = records.read_config(second), records.read_results(second)
    records.write_config(second, {**config, 'options': {**config['options'], 'seed': 5}})
    results['test_sets']['Walking']['all_sequences'] |= {'rank1': 0.25, 'rank_n': [0.25, 0.5, 0.75, 1.0]}
    records.write_results(second, results)
    return first, second, ['--models_dir', str(models)]


def test_runs_are_drawn_in_one_plot_and_named_by_what_differs(two_runs, capsys):
    pytest.importorskip('matplotlib')
    first, second, flags = two_runs
    main(['--figures', first.name, str(second), *flags])
    told = capsys.readouterr().out
    assert 'Walking: seed 0: Rank-1 ' in told and 'Walking: seed 5: Rank-1 25.0 % (one seed' in told
    for kind in ('png', 'pdf'):
        assert (first.parents[1] / 'comparison' / 'figures' / f'BIWI-Walking-cmc.{kind}').is_file()


def test_a_curve_is_the_mean_of_its_seeds(two_runs, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    first, second, _ = two_runs
    share = records.read_results(first)['test_sets']['Walking']['all_sequences']['rank1']
    draw_cmc({'CAGE': [first, second]}, 'BIWI', tmp_path)
    assert f'Walking: CAGE: Rank-1 {50 * share + 12.5:.1f} % (mean of 2 seeds' in capsys.readouterr().out


def test_runs_that_cannot_be_compared_are_told(two_runs):
    first, second, flags = two_runs
    config, results = records.read_config(second), records.read_results(second)
    records.write_config(second, {**config, 'options': {**config['options'], 'dataset': 'IAS'}})
    with pytest.raises(UserError, match='runs of one data set, found BIWI, IAS'):
        main(['--figures', first.name, second.name, *flags])
    records.write_config(second, config)
    results['test_sets']['Walking']['all_sequences']['rank_n'] = [0.5, 1.0]
    records.write_results(second, results)
    with pytest.raises(UserError, match='the same people of BIWI, found 2 and 4'):
        main(['--figures', first.name, second.name, *flags])
    (second / records.RESULTS).unlink()
    with pytest.raises(UserError, match='should hold results'):
        main(['--figures', second.name, *flags])
    with pytest.raises(UserError, match='--figures nowhere names no folder'):
        main(['--figures', 'nowhere', *flags])
