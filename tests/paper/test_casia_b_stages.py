"""What CASIA-B changes in the two stages: which encoders are joined, what they train on, and the network's settings."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la.data import Split
from sge_la.data.training_set import TrainingData
from sge_la.errors import UserError
from sge_la.evaluation.metrics import evaluate_scores, original_lines, sequence_scores
from sge_la.model import recognition
from sge_la.runs import states
from sge_la.runs.plan import plan_of
from sge_la.settings.command_line import parse_train
from sge_la.training import encoders
from sge_la.training.recognition import fit_recognition


def options(*flags: str):
    return parse_train(['--dataset', 'CASIA_B', *flags])


@pytest.mark.parametrize(
    ('double', 'expected'),
    [
        ('', [('rev_rec', 'LA'), ('prediction', 'BA'), ('sorting', 'BA')]),
        ('rev_rec+pred', [('rev_rec', 'LA'), ('prediction', 'BA')]),
        ('rev_rec+sort', [('rev_rec', 'LA'), ('sorting', 'BA')]),
        ('pred+sort', [('prediction', 'BA'), ('sorting', 'BA')]),
    ],
)
def test_double_pretext_joins_two_encoders(double, expected):
    chosen = options('--model', 'rev_rec_plus', '--double_pretext', double)
    plan = plan_of(chosen, joints=14)
    jobs = plan.encoders
    assert [(job.task, job.attention) for job in jobs] == expected
    assert jobs[0].folders['y'].name == f'CASIA_B_{expected[0][1]}_y_20_0.15_0view_0pre_{expected[0][0]}'
    # Networks on a single task's columns stand beside all three alone.
    assert bool(plan.own_tasks) == (double == '')


def test_the_published_double_pretext_joins_one_encoder_with_itself():
    """Of the original's three blocks (rev_rec, rev_rec, rev_rec on permuted training frames) the two that it picks."""
    chosen = options('--model', 'rev_rec_plus', '--double_pretext', 'rev_rec+sort', '--faithful')
    jobs = plan_of(chosen, joints=14).encoders
    assert [job.task for job in jobs] == ['rev_rec', 'rev_rec']
    assert [job.permute_train_only for job in jobs] == [False, True]


def test_encoders_are_of_14_joints_and_the_length_asked_for():
    (job,) = plan_of(options('--protocol', 'CME', '--length', '70'), joints=14).encoders
    assert (job.config.joints, job.config.length, job.config.temperature) == (14, 70, 0.15)


@pytest.mark.parametrize('task', ['prediction', 'sorting'])
def test_the_original_trains_every_task_on_reversed_targets(task, monkeypatch):
    """Its loader for CASIA-B knows no other; ours trains each task on its own."""
    skeletons = np.random.default_rng(0).normal(size=(4, 20, 14, 3)).astype(np.float32)
    data = TrainingData(Split(skeletons, {1: np.arange(4)}), {1: np.arange(4)}, {}, np.zeros(4, int), 1, '')
    seen = []
    monkeypatch.setattr(encoders, 'fit_encoder', lambda config, pairs, *rest, **settings: seen.append(pairs))
    for flags in ([], ['--faithful']):
        chosen = options('--model', task, '--batch_size', '4', *flags)
        plan = plan_of(chosen, joints=14)
        (job,) = plan.encoders
        assert job.folders['x'].name.endswith(f'pre_{task}_test_adj_2' + ('_faithful' if flags else ''))
        encoders._fit_pretext(plan, job, data, np.arange(4), None)
    assert [pairs.task for pairs in seen] == [task, 'rev_rec']


def test_the_network_moves_at_its_rate():
    """Adam's first step is the rate itself in each weight with a gradient, whatever its size."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 5)).astype(np.float32), np.array([0, 1] * 4)
    start = recognition.initial_params(5, 2, 0)
    for rate in (5e-4, 5e-3):
        settings = {'epochs': 1, 'batch_size': 8, 'rate': rate}
        (state,) = fit_recognition(X, y, states.fresh_state(start), **settings)
        moved = np.abs(np.asarray(state.params['Variable']) - start['Variable'])
        np.testing.assert_allclose(moved, rate, rtol=1e-3)


def test_too_few_rows_name_the_networks_flag():
    X, y = np.zeros((8, 5), np.float32), np.zeros(8, int)
    with pytest.raises(UserError, match='one batch of 1280 rows, found 8 rows: use --rn_batch_size 8 or less'):
        next(fit_recognition(X, y, None, epochs=1, batch_size=1280))


def test_copies_of_the_first_row_fill_a_batch():
    """Three rows of T = 1 and a batch of 5: two copies of row 0 (right) are scored: 4 of 5 right instead of 2 of 3."""
    logits, labels = np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([0, 1, 0])
    plain = sequence_scores(logits, labels, 1, batch_size=5)
    filled = sequence_scores(logits, labels, 1, batch_size=5, fill_batch=True)
    assert np.mean(plain.scores.argmax(axis=1) == plain.labels) == pytest.approx(2 / 3)
    assert np.mean(filled.scores.argmax(axis=1) == filled.labels) == pytest.approx(4 / 5)
    assert len(sequence_scores(logits, labels, 1, batch_size=3, fill_batch=True).labels) == 3


def test_windows_across_the_copies_are_skipped():
    """T = 2: the second window has the last row of person 1 and a copy of person 0's, and counts for nobody."""
    logits, labels = np.eye(2, dtype=np.float32)[[0, 0, 1]], np.array([0, 0, 1])
    found = sequence_scores(logits, labels, 2, batch_size=6, fill_batch=True)
    np.testing.assert_array_equal(found.windows, [0, 2])
    assert found.num_mixed == 1


def test_the_confusion_matrix_stands_row_by_row():
    scores = np.eye(2, dtype=np.float32)[[0, 0, 1]]
    text = original_lines(evaluate_scores(scores, np.array([0, 1, 1])), rows_apart=True)
    assert text.split('\n')[:4] == ['### Re-ID Confusion Matrix: ', '[1 0]', '[1 1]', '### Rank-n Accuracy: ']
