"""Intervals, recording votes and repeated runs, as the commands print and keep them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import evaluate
import train
from sge_la import checkpoints
from sge_la.data import load
from sge_la.evaluation.metrics import evaluate_scores, sequence_scores
from sge_la.evaluation.score_lines import all_lines
from sge_la.evaluation.score_run import _recording_vote
from sge_la.evaluation.scores import Scored
from tests.conftest import small_flags

RUN = 'CAGEs_RN_models/BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'


def frame_logits(folder: Path) -> np.ndarray:
    """The recognition network written out with NumPy."""
    params = checkpoints.load_recognition(folder, slots=False).params
    hidden = np.maximum(np.load(folder / 'val_X.npy') @ params['W1'] + params['b1'], 0)
    return hidden @ params['W'] + params['Variable']


@pytest.fixture(scope='module')
def evaluated(small_run) -> dict:
    evaluate.main(small_flags(small_run))
    return json.loads((small_run / 'Models' / RUN / 'results.json').read_text())['test_sets']['Walking']


def test_recording_vote_is_the_mean_of_its_frames(small_run, evaluated):
    """Twin: one recording at a time. Test features are in the order of the identities, six rows a sequence."""
    split = load('BIWI', 6, small_run / 'Datasets', warn=lambda text: None).tests['Walking']
    order = np.concatenate(list(split.ids.values()))
    classes = np.repeat(np.arange(len(split.ids)), [len(rows) for rows in split.ids.values()])
    scores = frame_logits(small_run / 'Models' / RUN).reshape(len(order), 6, -1).mean(axis=1)
    right = []
    for recording in np.unique(split.recordings):
        own = np.flatnonzero(split.recordings[order] == recording)
        right.append(scores[own].mean(axis=0).argmax() == classes[own[0]])
    assert evaluated['recording_vote']['rank1'] == np.mean(right)
    assert evaluated['recording_vote']['recordings'] == len(right) == 8


def test_a_vote_is_no_majority():
    """Person 0's recording: 9 to 0, 0 to 1, 0 to 1. The mean is for person 0, two of three sequences are not."""
    sequences = sequence_scores(np.array([[9, 0], [0, 1], [0, 1], [0, 1]], np.float32), np.array([0, 0, 0, 1]), 1)
    found = _recording_vote(
        Scored(evaluate_scores(sequences.scores, sequences.labels), sequences), np.array([4, 4, 4, 7])
    )
    assert (found['rank1'], found['sequences'], found['recordings']) == (1.0, 2, 2)


@pytest.mark.parametrize(('nauc', 'shown'), [(0.0, 'nAUC: 0.000000'), (None, 'nAUC: nan')])
def test_a_vote_that_ranks_everybody_last_has_an_area_of_zero(nauc, shown):
    scores, labels = np.eye(2, dtype=np.float32), np.array([1, 0])
    plan = SimpleNamespace(protocol=None, encoding='AGE')
    every = {
        'rank1': 0.0,
        'nauc': None,
        'sequences': 2,
        'groups': 1,
        'resampled': 'people',
        'chance': 0.5,
        'classes': 2,
    }
    found = {'all_sequences': every, 'recording_vote': {'rank1': 0.0, 'nauc': nauc, 'recordings': 2}}
    [vote] = [line for line in all_lines(plan, evaluate_scores(scores, labels), found, '') if 'vote' in line]
    assert f'{shown}, 2 recordings' in vote


def test_intervals_hold_the_value(evaluated):
    found = evaluated['all_sequences']
    assert found['resampled'] == 'recordings'
    assert set(found['intervals']) == {'rank1', 'nauc', 'nauc_of_probabilities'}  # four people have no Rank-5
    for name, (low, high) in found['intervals'].items():
        assert low <= found[name] <= high


def test_evaluate_prints_intervals_and_vote(small_run, capsys):
    evaluate.main(['--verbose', *small_flags(small_run)])
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith('All sequences: '))
    assert lines[place + 1].startswith('nAUC of probabilities: ')
    assert lines[place + 2].startswith('95 % intervals: Rank-1 Accuracy ')
    assert lines[place + 2].endswith('(resampling 8 recordings)')
    assert lines[place + 3].startswith('Recording vote: Rank-1 Accuracy: ')


def test_people_are_resampled_where_recordings_are_unknown(small_run, tmp_path, capsys):
    evaluate.main(
        [
            '--verbose',
            *small_flags(small_run)[:-4],
            '--data_dir',
            str(tmp_path),
            '--models_dir',
            str(small_run / 'Models'),
        ]
    )
    printed = capsys.readouterr().out
    assert '(resampling 4 people, since recordings are unknown)' in printed
    assert 'Recording vote' not in printed


def test_runs_repeat_with_seeds_in_own_folders(small_run, tmp_path, capsys):
    """Mean and deviation (n − 1) of two runs a, b: (a + b) / 2 and |a − b| / √2."""
    flags = [*small_flags(small_run)[:-2], '--models_dir', str(tmp_path), '--epochs', '1', '--rn_epochs', '2']
    train.main([*flags, '--rn_batch_size', '96', '--seed', '3', '--runs', '2'])
    printed = capsys.readouterr().out
    folders = [tmp_path / f'{RUN}_seed-{seed}' for seed in (3, 4)]
    a, b = (json.loads((folder / 'results.json').read_text())['test_sets']['Walking'] for folder in folders)
    kept = json.loads((tmp_path / f'{RUN}_runs.json').read_text())
    assert kept['seeds'] == [3, 4]
    for variant in ('selected', 'all_sequences', 'recording_vote', 'last'):
        for metric in ('rank1', 'nauc'):
            one, other = a[variant][metric], b[variant][metric]
            found = kept['test_sets']['Walking'][variant][metric]
            assert found['mean'] == pytest.approx((one + other) / 2)
            assert found['sd'] == pytest.approx(abs(one - other) / 2**0.5)
    found = kept['test_sets']['Walking']['all_sequences']['rank1']
    assert f'Walking, All sequences: Rank-1 Accuracy {found["mean"]:.4f} ± {found["sd"]:.4f}, nAUC ' in printed
    evaluate.main([*flags[:-4], '--RN_dir', folders[1].name])  # the encoders of this seed are found again
    assert 'nothing dropped' in capsys.readouterr().out
