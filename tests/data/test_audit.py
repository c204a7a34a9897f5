"""The page of what cannot be trusted: what is on both sides, and what choosing on the test set adds."""

import numpy as np
import pytest

from sge_la.data.dataset import LEAKS
from sge_la.data.layout import dataset_files
from sge_la.reporting.audit import main
from sge_la.runs import records


@pytest.fixture
def audit(write_tiny, tmp_path, capsys):
    """Audits a tiny data set, after `change(files)`; returns exit status and output."""

    def run(change=lambda files: None, recordings: bool = True) -> tuple[int, str]:
        data_dir = write_tiny('X', recordings=recordings, targets=False)
        change(dataset_files(data_dir, 'X', 6, 2))
        status = main(['X', '--data_dir', str(data_dir), '--models_dir', str(tmp_path / 'Models')])
        return status, capsys.readouterr().out

    return run


def test_nothing_is_found_in_a_good_set(audit):
    status, out = audit()
    assert status == 0 and out.count(': none\n') == 4
    assert 'no run of X' in out


def test_where_recordings_are_not_known_it_says_so(audit):
    status, out = audit(recordings=False)
    assert status == 0 and 'do not say which recording' in out and out.count(': none\n') == 3


def test_recordings_and_frames_on_both_sides(audit):
    """The first test sequence becomes a training sequence of the same recording."""

    def change(files) -> None:
        test = files.tests['test']
        for axis in 'xyz':
            array = np.load(test.source(axis))
            array[:6] = np.load(files.train.source(axis))[:6]
            np.save(test.source(axis), array)
        numbers = np.load(test.recording)
        numbers[0] = np.load(files.train.recording)[0]
        np.save(test.recording, numbers)

    status, out = audit(change)
    assert status == 1
    assert f'Recordings in training and test:\n  test set test: {LEAKS} (of 1 recordings: 0)' in out
    assert 'Frames in training and test:\n  test set test: 1 of 8 sequences have frames' in out
    assert 'Copies within one set: none' in out


def test_what_the_choice_on_the_test_set_adds(audit, tmp_path):
    """Runs of other lengths, and those that know one epoch alone, have no line."""
    scores = {'nauc': 0.9, 'sequences': 8, 'epoch': 3}
    epochs = {'test': {**scores, 'rank1': 0.625}, 'last': {**scores, 'rank1': 0.5, 'nauc': 0.925}}
    for run, length, rules in (('a', 6, ('test', 'last')), ('b', 6, ('last',)), ('c', 8, ('test', 'last'))):
        folder = tmp_path / 'Models' / 'CAGEs_RN_models' / run
        folder.mkdir(parents=True)
        records.write_config(folder, {'options': {'dataset': 'X', 'length': length, 'view': None}})
        records.write_results(folder, {'test_sets': {'test': {'epochs': {rule: epochs[rule] for rule in rules}}}})
    _, out = audit()
    (line,) = [line.split('  ') for line in out.splitlines() if line.endswith('(test)')]
    assert [cell.strip() for cell in line if cell.strip()] == ['62.5 / 90.0', '50.0 / 92.5', '+12.5 / -2.5', 'a (test)']
