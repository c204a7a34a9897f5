"""What an epoch scores: by hand, in blocks, and on the device beside the host."""

import numpy as np
import pytest

from sge_la.backends import ops
from sge_la.errors import UserError
from sge_la.evaluation.metrics import sequence_scores
from sge_la.evaluation.scores import LOGIT_ROWS
from sge_la.features.files import Features
from sge_la.model import recognition
from sge_la.training.scoring import cross_entropy, scorer, sequence_accuracy


def test_cross_entropy_over_several_blocks():
    rng, rows = np.random.default_rng(0), 2 * LOGIT_ROWS + 3
    answers, labels = rng.normal(0, 50, (rows, 4)).astype(np.float32), rng.integers(0, 4, rows)
    exact = answers.astype(np.float64)
    losses = np.log(np.exp(exact - exact.max(1, keepdims=True)).sum(1)) + exact.max(1) - exact[np.arange(rows), labels]
    assert cross_entropy(answers, labels) == pytest.approx(losses.mean(), rel=1e-5)


def test_sequence_accuracy_counts_whole_windows():
    """7 rows in windows of 2 with batches of 4: rows 0 to 3 are scored, two windows, one of them right."""
    scores = np.array([[1, 0], [1, 0], [0, 1], [0, 3], [9, 0], [9, 0], [9, 0]], np.float32)
    found = sequence_scores(scores, np.zeros(7, int), 2, manner='ap', batch_size=4)
    assert sequence_accuracy(found) == 0.5


def test_no_held_out_sequence_is_dropped():
    """129 rows are one more than a batch, and the network finds only the last one right."""
    params = recognition.initial_params(2, 2, seed=0, hidden=2)
    params |= {'W1': np.eye(2, dtype=np.float32), 'W': np.eye(2, dtype=np.float32)}
    params |= {name: np.zeros_like(params[name]) for name in ('b1', 'Variable')}
    X = np.tile(np.array([[0, 1]], np.float32), (129, 1))
    X[128] = [1, 0]
    held = Features(X, np.zeros(129, int), 2)
    assert scorer(held, 6, 'float32', manner='sc', drop_incomplete=False)(params).accuracy == pytest.approx(1 / 129)
    assert scorer(held, 6, 'float32', manner='sc')(params).accuracy == 0


@pytest.mark.parametrize(
    ('rows', 'length', 'rules'),
    [
        (300, 6, {}),  # 256 rows are whole batches, and 4 of them no whole window
        (300, 6, {'drop_incomplete': False}),
        (130, 6, {'manner': 'sc'}),
        (40, 6, {}),
        (40, 4, {'batch_size': 64, 'fill_batch': True}),
    ],
)
def test_device_and_host_score_alike(rows, length, rules):
    """Labels change within some windows, which do not count."""
    rng = np.random.default_rng(rows + length)
    params = recognition.initial_params(5, 4, seed=1, hidden=8)
    X, labels = rng.normal(size=(rows, 5)).astype(np.float32), np.repeat(rng.integers(0, 4, rows), 9)[:rows]
    host = scorer(Features(X, labels, 4), length, 'float32', **rules)(params)
    device = scorer(Features(ops.convert_to_tensor(X), labels, 4), length, 'float32', **rules)(params)
    assert 0 < host.accuracy < 1
    assert device.accuracy == host.accuracy
    assert device.loss == pytest.approx(host.loss, rel=1e-6)
    found, expected = vars(device.sequences()), vars(host.sequences())
    np.testing.assert_allclose(found.pop('scores'), expected.pop('scores'), rtol=1e-5, atol=1e-6)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_too_few_rows_are_noticed_before_the_training():
    with pytest.raises(UserError, match='at least one whole sequence of 6 rows'):
        scorer(Features(np.zeros((5, 2), np.float32), np.zeros(5, int), 2), 6, 'float32')
