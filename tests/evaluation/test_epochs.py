"""Which epochs three rules choose, and the table that sets their scores side by side."""

from __future__ import annotations

import json
import shutil

import pytest

from sge_la.evaluation.epoch_choice import NOTHING_HELD, EpochChoice, EpochScores, lines, side_by_side
from sge_la.runs import records
from sge_la.runs.state_files import RunState
from tests.command_line_cases import uncompiled
from tests.conftest import small_flags, training_flags


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


def offered(accuracies: list[float], held: list[float] | None = None) -> dict:
    found = EpochScores()
    for epoch, accuracy in enumerate(accuracies, 1):
        own = held[epoch - 1] if held else None
        found.offer('X', epoch, accuracy, own, lambda accuracy=accuracy: {'rank1': accuracy, 'nauc': 0.5})
    return {rule: (scores['epoch'], scores['rank1']) for rule, scores in found.found['X'].items()}


def test_each_rule_has_its_epoch_and_later_ones_win_ties():
    assert offered([0.2, 0.6, 0.6, 0.1]) == {'test': (3, 0.6)}
    assert offered([0.2, 0.6, 0.5, 0.1], [0.7, 0.1, 0.7, 0.6]) == {'test': (2, 0.6), 'val': (3, 0.5)}


def test_scores_are_asked_for_only_where_they_are_kept():
    found = EpochScores()
    found.offer('X', 1, 0.5, None, lambda: {'rank1': 0.5})
    found.offer('X', 2, 0.4, None, lambda: pytest.fail('nobody chooses this epoch'))


def test_an_epoch_after_a_stop_is_compared_with_those_before():
    choice, again = EpochChoice('test', ['X']), EpochChoice('test', ['X'])
    choice.scores.offer('X', 1, 0.6, 0.7, lambda: {'nauc': 0.5})
    parts, meta = choice.kept()
    again.restore(RunState(parts, json.loads(json.dumps(meta))))
    again.scores.offer('X', 2, 0.5, 0.6, lambda: pytest.fail('worse by either rule'))
    assert again.scores.found == choice.scores.found


def test_table_by_hand():
    last = {'epoch': 12, 'rank1': 0.25, 'nauc': None}
    found = {'epochs': {'test': {'epoch': 3, 'rank1': 0.5, 'nauc': 0.75}, 'last': last}}
    assert list(lines(found)) == [
        'Epoch chosen by       test set   nobody: last  held-out data',
        'Epoch                        3             12              –',
        'Rank-1 Accuracy       0.500000       0.250000              –',
        'nAUC                  0.750000              –              –',
        f'({NOTHING_HELD})',
    ]
    assert not list(lines({'selected': {'rank1': 0.5}}))  # somebody else's network: no epoch is known


def test_runs_of_older_versions_have_what_they_kept():
    selected, last = {'select': 'val', 'epoch': 2, 'rank1': 0.5, 'nauc': 0.5}, {'epoch': 3, 'rank1': 0.25, 'nauc': 0.5}
    assert side_by_side({'selected': selected, 'last': last}) == {'val': selected, 'last': last}


@pytest.fixture(scope='module')
def run(small_run, tmp_path_factory):
    """A run of three epochs that holds recordings out."""
    import train

    folder = tmp_path_factory.mktemp('epochs')
    sizes = ['--epochs', '1', '--rn_epochs', '3', '--batch_size', '8']
    flags = [*training_flags(small_run), *sizes, '--select', 'val', '--models_dir', str(folder)]
    train.main(flags)
    [network] = (folder / 'CAGEs_RN_models').iterdir()
    return flags, network


def test_three_epochs_are_those_of_the_history(run, small_run, capsys):
    """Rank-1 of each is the accuracy that history.csv has of it, and evaluate.py prints the table from results.json."""
    import evaluate

    _, network = run
    history = records.read_history(network)
    found = json.loads((network / 'results.json').read_text())['test_sets']['Walking']
    best = max(history, key=lambda row: (row['accuracy_Walking'], row['epoch']))
    held = max(history, key=lambda row: (row['selection_accuracy'], row['epoch']))
    for rule, row in (('test', best), ('last', history[-1]), ('val', held)):
        assert found['epochs'][rule]['epoch'] == row['epoch']
        assert found['epochs'][rule]['rank1'] == pytest.approx(row['accuracy_Walking'])
    assert found['selected']['epoch'] == held['epoch']
    assert found['selected']['nauc'] == pytest.approx(found['epochs']['val']['nauc'], abs=1e-6)
    capsys.readouterr()
    evaluate.main(['--verbose', *small_flags(small_run), '--select', 'val', '--models_dir', str(network.parents[1])])
    out = capsys.readouterr().out
    assert '\n'.join(lines(found)) in out and NOTHING_HELD not in out


def test_stopped_run_keeps_them(run, small_run, tmp_path, monkeypatch):
    """Stopped before its last epoch and gone on with, a run has the scores of one that was never stopped."""
    import train
    from sge_la.runs import states

    flags = [*run[0], '--models_dir', str(tmp_path)]
    shutil.copytree(run[1].parents[1] / 'Gait_Encoding_models', tmp_path / 'Gait_Encoding_models')
    real, calls = states.save, []

    def stopping(*args):
        real(*args)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(states, 'save', stopping)
    with pytest.raises(KeyboardInterrupt):
        train.main(flags)
    monkeypatch.undo()
    train.main(flags)
    [network] = (tmp_path / 'CAGEs_RN_models').iterdir()
    found, whole = (json.loads((place / 'results.json').read_text())['test_sets'] for place in (network, run[1]))
    assert found['Walking']['epochs'] == whole['Walking']['epochs']
