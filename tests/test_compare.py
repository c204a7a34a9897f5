"""The comparison table: the paper's numbers, neighbours against scikit-learn, settings chosen without the test set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sge_la import baselines, compare
from sge_la.compare import Row, adaboost_row, chosen_settings, described, neighbour_row, table, trained_row
from sge_la.data import load
from tests.conftest import small_flags


@pytest.fixture
def dataset(write_tiny):
    data_dir = write_tiny('BIWI', people=3, each=12, recordings=True)
    return load('BIWI', 6, data_dir, warn=lambda text: None)


@pytest.mark.parametrize('method', list(compare.NEIGHBOURS))
def test_neighbours_agree_with_scikit_learn(dataset, method):
    train, test = dataset.train, dataset.tests['Walking']
    found = neighbour_row(method, train, test, dataset).found[0]['rank1']
    vectors, classes, probes, labels = described(train, test, dataset, compare.NEIGHBOURS[method])
    twin = KNeighborsClassifier(1).fit(vectors, classes).score(probes, labels)
    assert found == pytest.approx(twin)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-4)  # standardised by training vectors


def test_settings_do_not_depend_on_the_test_set(dataset, monkeypatch):
    """Every vector that the choice of settings sees is a training vector."""
    train, test = dataset.train, dataset.tests['Walking']
    vectors, *_ = described(train, test, dataset, 'D16')
    seen = []
    real = baselines.adaboost_scores

    def noting(one, labels, other, *args, **further):
        seen.append((one, other))
        return real(one, labels, other, *args, **further)

    monkeypatch.setattr(baselines, 'adaboost_scores', noting)
    row = adaboost_row(train, test, dataset, [0, 1])
    *choice, first, second = seen
    known = {vector.tobytes() for vector in vectors}
    assert choice
    assert all(vector.tobytes() in known for sides in choice for side in sides for vector in side)
    assert len(first[1]) == len(second[1]) == len(test.skeletons)
    assert len(row.found) == 2
    assert 'by cross-validation on training recordings' in row.note


def test_folds_keep_recordings_whole():
    classes, recordings = np.repeat([0, 1], 6), np.repeat([5, 6, 7, 8, 9, 9], 2)
    fold = compare._folds(classes, recordings)
    assert fold.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert compare._folds(classes, None).tolist() == [0, 0, 0, 1, 1, 1] * 2


def test_choice_with_one_person_takes_the_defaults():
    assert chosen_settings(np.zeros((4, 2)), np.zeros(4, int), None)['depth'] == 1


def test_table_has_the_papers_numbers_and_mean_and_deviation():
    """Two runs of 50 and 60 per cent: 55.0 ± 7.1 (the deviation has n − 1)."""
    rows = [Row('CAGE Rev.Rec.', [{'rank1': 0.5, 'nauc': 0.9}, {'rank1': 0.6, 'nauc': 0.9}], 3.0), Row('PoseGait')]
    lines = list(table(rows, 'KGBD'))
    assert lines[2] == '| CAGE Rev.Rec. | 86.9 | 55.0 ± 7.1 | 97.1 | 90.0 ± 0.0 | 2 | 3.0 s |  |'
    assert lines[3] == '| PoseGait | 90.6 | – | 97.8 | – |  |  |  |'
    assert '| – |' in list(table(rows, None))[2]


def test_every_row_of_the_paper_has_five_columns():
    for rank1, nauc in compare.PAPER.values():
        assert len(rank1) == len(nauc) == len(compare.COLUMNS)


def test_a_network_that_is_not_trained_says_how_to(tmp_path):
    row = trained_row('CAGE Rev.Rec.Plus', ['--dataset', 'KGBD', '--models_dir', str(tmp_path)], 'probe')
    assert not row.found
    assert row.note.endswith('--model rev_rec_plus')


def test_command_reads_the_runs_that_are_there(small_run, tmp_path, capsys):
    flags = small_flags(small_run)[4:]
    compare.main(['--dataset', 'BIWI', *flags, '--runs', '1', '--output', str(tmp_path / 'rows.json')])
    lines = capsys.readouterr().out.splitlines()
    kept = json.loads((tmp_path / 'rows.json').read_text())['Walking']
    names = [row['method'] for row in kept]
    assert names[: len(compare.PAPER)] == list(compare.PAPER)
    results = next((small_run / 'Models' / 'CAGEs_RN_models').glob('*rev_rec/results.json'))
    scores = json.loads(results.read_text())['test_sets']['Walking']['all_sequences']
    row = kept[names.index('CAGE Rev.Rec.')]
    assert row['found'] == [{'rank1': scores['rank1'], 'nauc': scores['nauc']}]
    assert any(line.startswith('| D13 + KNN | 39.3 | ') for line in lines)
