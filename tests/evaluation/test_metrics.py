import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import roc_auc_score, top_k_accuracy_score

from sge_la.errors import UserError
from sge_la.evaluation.metrics import (
    Evaluation,
    confusion_matrix,
    evaluate_scores,
    is_collapsed,
    label_ranks,
    nauc,
    original_lines,
    probabilities,
    rank_n,
    sequence_scores,
)

CASES = (
    'ap_11_N96_lt128',
    'ap_11_len4',
    'ap_11_len8_IASB',
    'ap_11_seq150',
    'ap_164_ragged_N1021',
    'ap_20_ragged_N1015',
    'ap_20_seq170',
    'ap_28_seq197',
    'ap_28_ties',
    'sc_11_N300',
    'sc_11_N96_lt128',
    'sc_20_N389',
    'sc_28_N500',
)


def reference_case(reference, name):
    with np.load(reference / 'metrics' / 'cases.npz') as cases:
        return {
            key: cases[f'{name}/{key}'] for key in ('X', 'lab', 'C', 'manner', 'T', 'rank_n', 'rank1', 'nauc', 'cm')
        }


def evaluate_case(case):
    gathered = sequence_scores(case['X'], case['lab'], int(case['T']), manner=str(case['manner']))
    evaluation = evaluate_scores(gathered.scores, gathered.labels, rank_divisor=gathered.original_rank_divisor)
    return gathered, evaluation


@st.composite
def scored_sequences(draw, max_sequences=12, max_classes=6):
    """Scores from few values, so that ties are common, and labels that may leave classes out."""
    num_sequences = draw(st.integers(1, max_sequences))
    num_classes = draw(st.integers(1, max_classes))
    values = st.lists(st.integers(-2, 2), min_size=num_sequences * num_classes, max_size=num_sequences * num_classes)
    scores = np.array(draw(values), np.float32).reshape(num_sequences, num_classes)
    labels = draw(st.lists(st.integers(0, num_classes - 1), min_size=num_sequences, max_size=num_sequences))
    return scores, np.array(labels)


def slow_sequence_scores(logits, labels, length, batch_size, drop_incomplete):
    """Collects rows one by one, as a person would with pencil and paper."""
    rows = list(zip(logits, labels, strict=True))
    if drop_incomplete and len(rows) >= batch_size:
        while len(rows) % batch_size:
            rows.pop()
    means, kept = [], []
    while len(rows) >= length:
        window, rows = rows[:length], rows[length:]
        if len({int(label) for _, label in window}) == 1:
            total = np.float32(0)
            for vector, _ in window:
                total = total + vector
            means.append(total / np.float32(length))
            kept.append(int(window[0][1]))
    return means, kept


def slow_rank(row, label):
    """Position of the label after a stable descending sort: equal scores keep the order of the classes."""
    return sorted(range(len(row)), key=lambda c: (-row[c], c)).index(label)


def slow_nauc(scores, labels):
    """Compares every right score with every wrong one; a tie is half a win."""
    right = [scores[i][labels[i]] for i in range(len(labels))]
    wrong = [scores[i][c] for i in range(len(labels)) for c in range(len(scores[i])) if c != labels[i]]
    wins = sum((r > w) + 0.5 * (r == w) for r in right for w in wrong)
    return wins / (len(right) * len(wrong))


@pytest.mark.reference
class TestAgainstTheOriginal:
    @pytest.mark.parametrize('name', CASES)
    def test_numbers(self, reference, name):
        case = reference_case(reference, name)
        _, evaluation = evaluate_case(case)
        assert f'{evaluation.rank1:f}' == f'{case["rank1"]:f}'
        assert abs(evaluation.nauc - case['nauc']) <= 1e-9
        np.testing.assert_array_equal(evaluation.confusion, case['cm'])
        if not name.endswith('_ties'):  # argpartition's choice among equal scores differs between NumPy versions
            np.testing.assert_array_equal(evaluation.rank_n, case['rank_n'])

    @pytest.mark.parametrize('name', CASES)
    def test_printed_lines(self, reference, name):
        """Every byte, but for the last digits of nAUC: the original sums a curve, here whole numbers are counted."""
        printed = (reference / 'metrics' / f'{name}.txt').read_text()
        expected, expected_nauc = printed[printed.index('### Re-ID') :].rstrip('\n').split('### nAUC: ')
        lines, shown_nauc = original_lines(evaluate_case(reference_case(reference, name))[1]).split('### nAUC: ')
        if name.endswith('_ties'):
            expected, lines = (re.sub(r'\{.*\}', '{}', text) for text in (expected, lines))
        assert lines == expected
        assert float(shown_nauc) == pytest.approx(float(expected_nauc), abs=1e-14)

    def test_printed_lines_do_not_depend_on_print_options(self, reference):
        evaluation = evaluate_case(reference_case(reference, 'ap_164_ragged_N1021'))[1]
        expected = original_lines(evaluation)
        options = {'threshold': 10**6, 'linewidth': 30, 'edgeitems': 1, 'legacy': '1.13', 'formatter': {'int': hex}}
        with np.printoptions(**options):
            assert original_lines(evaluation) == expected

    def test_rank_n_is_divided_by_the_batch_for_a_short_sc(self, reference):
        """96 rows: the original's Rank-n is 96/128 of ours, its Rank-1 is not."""
        gathered, faithful = evaluate_case(reference_case(reference, 'sc_11_N96_lt128'))
        assert gathered.original_rank_divisor == 128
        right = evaluate_scores(gathered.scores, gathered.labels)
        np.testing.assert_allclose(right.rank_n * 96 / 128, faithful.rank_n, rtol=1e-15)
        assert right.rank_n[0] == right.rank1 == faithful.rank1
        assert right.rank_n[-1] == 1

    @pytest.mark.parametrize('log', ['eval_default.out', 'eval_defaultbest_modelrev_rec_plus.out'])
    def test_wide_matrix_is_wrapped_as_printed(self, reference, log):
        """A matrix of more than 75 columns, taken from the console of a whole run, is printed as it was."""
        printed = (reference / 'runs' / 'biwi' / 'logs' / log).read_text()
        printed = printed[printed.index('### Re-ID') :].rstrip('\n')
        counts = np.array(re.findall(r'\d+', printed[: printed.index('### Rank-n')]), int)
        matrix = counts.reshape(round(len(counts) ** 0.5), -1)
        values = dict(re.findall(r'(\d+): ([\d.]+)', printed[printed.index('{') : printed.index('}')]))
        evaluation = Evaluation(
            rank_n=np.array([float(value) for value in values.values()]),
            rank1=np.trace(matrix) / matrix.sum(),
            nauc=float(printed.split('nAUC: ')[1]),
            confusion=matrix,
            classes=np.arange(len(matrix)),
            num_sequences=int(matrix.sum()),
            num_classes=28,
            is_collapsed=False,
        )
        assert original_lines(evaluation) == printed


class TestSequenceScores:
    @pytest.mark.parametrize('drop_incomplete', [True, False])
    @given(
        num_rows=st.integers(2, 40), length=st.integers(1, 3), batch_size=st.integers(1, 16), seed=st.integers(0, 99)
    )
    @settings(deadline=None)
    def test_slow_twin(self, drop_incomplete, num_rows, length, batch_size, seed):
        random = np.random.default_rng(seed)
        logits = random.normal(size=(num_rows, 4)).astype(np.float32)
        labels = np.sort(random.integers(0, 4, num_rows))
        means, kept = slow_sequence_scores(logits, labels, length, batch_size, drop_incomplete)
        if not kept:
            with pytest.raises(UserError):
                sequence_scores(logits, labels, length, batch_size=batch_size, drop_incomplete=drop_incomplete)
            return
        gathered = sequence_scores(logits, labels, length, batch_size=batch_size, drop_incomplete=drop_incomplete)
        np.testing.assert_array_equal(gathered.scores, means)
        np.testing.assert_array_equal(gathered.labels, kept)
        assert gathered.scores.dtype == np.float32
        lost = gathered.num_dropped_rows + gathered.num_incomplete_rows + gathered.num_mixed * length
        assert gathered.num_rows == lost + len(gathered.scores) * length

    def test_counts_by_hand(self):
        """21 rows, batches of 8, T = 3: 16 rows are scored, 5 dropped; 5 windows and 1 row over; labels change at
        row 4, so window 1 (rows 3 to 5) is mixed. Windows 0, 2, 3, 4 are left."""
        logits = np.arange(21, dtype=np.float32)[:, None] * np.ones(2, np.float32)
        labels = np.array([0] * 4 + [1] * 17)
        gathered = sequence_scores(logits, labels, 3, batch_size=8)
        assert (gathered.num_rows, gathered.num_dropped_rows, gathered.num_incomplete_rows) == (21, 5, 1)
        assert gathered.num_mixed == 1
        np.testing.assert_array_equal(gathered.windows, [0, 2, 3, 4])
        np.testing.assert_array_equal(gathered.scores[:, 0], [1, 7, 10, 13])
        np.testing.assert_array_equal(gathered.labels, [0, 1, 1, 1])
        assert gathered.original_rank_divisor == 4
        everything = sequence_scores(logits, labels, 3, batch_size=8, drop_incomplete=False)
        np.testing.assert_array_equal(everything.windows, [0, 2, 3, 4, 5, 6])
        assert (everything.num_dropped_rows, everything.num_incomplete_rows) == (0, 0)

    def test_sc_takes_rows_as_sequences(self):
        logits = np.arange(12, dtype=np.float32).reshape(6, 2)
        gathered = sequence_scores(logits, np.array([0, 1, 0, 1, 0, 1]), 6, manner='sc')
        np.testing.assert_array_equal(gathered.scores, logits)
        assert gathered.num_mixed == gathered.num_incomplete_rows == 0

    def test_too_few_rows(self):
        with pytest.raises(UserError, match='whole sequence of 6 rows, but only 5 rows'):
            sequence_scores(np.zeros((5, 3)), np.zeros(5, int), 6)

    def test_all_windows_mixed(self):
        with pytest.raises(UserError, match='each of the 2 windows mixes identities'):
            sequence_scores(np.zeros((4, 3)), np.array([0, 1, 0, 1]), 2)

    @pytest.mark.parametrize(
        ('labels', 'options'),
        [
            (np.zeros(5, int), {}),
            (np.zeros(4), {}),
            (np.full(4, 3), {}),
            (np.full(4, -1), {}),
            (np.zeros(4, int), {'manner': 'sp'}),
            (np.zeros(4, int), {'length': 0}),
            (np.zeros(4, int), {'batch_size': 0}),
        ],
    )
    def test_defects_of_the_caller(self, labels, options):
        with pytest.raises(ValueError):
            sequence_scores(np.zeros((4, 3), np.float32), labels, **{'length': 2, **options})


class TestRankN:
    def test_by_hand(self):
        """Labels 2, 0, 1: largest; second; last of three. Hits: 1, 2, 3 of 3."""
        scores = np.array([[0, 1, 5], [4, 9, 1], [3, 0, 2]], np.float32)
        np.testing.assert_array_equal(label_ranks(scores, np.array([2, 0, 1])), [0, 1, 2])
        np.testing.assert_array_equal(rank_n(scores, np.array([2, 0, 1])), [1 / 3, 2 / 3, 1])
        np.testing.assert_array_equal(rank_n(scores, np.array([2, 0, 1]), divisor=6), [1 / 6, 2 / 6, 3 / 6])

    def test_ties_count_for_the_lower_class(self):
        np.testing.assert_array_equal(label_ranks(np.zeros((4, 4)), np.arange(4)), [0, 1, 2, 3])

    @given(scored_sequences())
    @settings(deadline=None)
    def test_slow_twin(self, case):
        scores, labels = case
        ranks = [slow_rank(row, label) for row, label in zip(scores, labels, strict=True)]
        np.testing.assert_array_equal(label_ranks(scores, labels), ranks)
        expected = [np.mean([rank < n for rank in ranks]) for n in range(1, scores.shape[1] + 1)]
        np.testing.assert_allclose(rank_n(scores, labels), expected, rtol=1e-15)
        np.testing.assert_array_equal(label_ranks(scores, labels) == 0, scores.argmax(axis=1) == labels)

    def test_sklearn_on_random_cases_with_ties_and_missing_classes(self):
        """A hair less for every further class puts tied classes in order."""
        random = np.random.default_rng(6)
        labels = random.integers(0, 10, 500) * 2  # odd classes have no sequence
        scores = random.normal(size=(500, 21)).round(1)
        assert (np.diff(np.sort(scores, axis=1)) == 0).any()
        ordered = scores - 1e-6 * np.arange(21)
        found = rank_n(scores, labels)
        for n in range(1, 21):
            expected = top_k_accuracy_score(labels, ordered, k=n, labels=np.arange(21))
            assert found[n - 1] == pytest.approx(expected, abs=1e-12)
        assert found[20] == 1

    def test_no_sequence(self):
        assert np.isnan(rank_n(np.zeros((0, 3)), np.zeros(0, int))).all()


class TestNauc:
    def test_by_hand(self):
        """Right scores 3 and 1, wrong ones 2 and 1: 3 > 2, 3 > 1, 1 < 2, 1 = 1 (half): 2.5 of 4."""
        assert nauc(np.array([[3.0, 2.0], [1.0, 1.0]]), np.array([0, 1])) == 2.5 / 4

    @given(scored_sequences())
    @settings(deadline=None)
    def test_slow_twin_and_sklearn(self, case):
        scores, labels = case
        if scores.shape[1] == 1:
            assert np.isnan(nauc(scores, labels))
            return
        assert nauc(scores, labels) == pytest.approx(slow_nauc(scores, labels), abs=1e-12)
        one_hot = np.eye(scores.shape[1], dtype=int)[labels]
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            expected = roc_auc_score(one_hot, scores, average='micro')
        assert nauc(scores, labels) == pytest.approx(expected, abs=1e-9)

    def test_sklearn_on_many_sequences_with_ties_and_missing_classes(self):
        random = np.random.default_rng(5)
        labels = random.integers(0, 20, 3000) * 2  # odd classes have no sequence
        scores = random.normal(size=(3000, 41)).round(1).astype(np.float32)
        scores[np.arange(3000), labels] += 1
        expected = roc_auc_score(np.eye(41, dtype=int)[labels].ravel(), scores.ravel())
        assert nauc(scores, labels) == pytest.approx(expected, abs=1e-9)

    def test_one_sequence_is_defined(self):
        assert nauc(np.array([[1.0, 3.0, 2.0]]), np.array([2])) == 0.5

    def test_undefined_without_wrong_scores(self):
        assert np.isnan(nauc(np.array([[1.0], [2.0]]), np.array([0, 0])))
        assert np.isnan(nauc(np.zeros((0, 3)), np.zeros(0, int)))

    def test_unchanged_by_increasing_maps(self):
        random = np.random.default_rng(1)
        scores, labels = random.normal(size=(50, 7)), random.integers(0, 7, 50)
        assert nauc(scores, labels) == nauc(np.exp(scores), labels)
        assert nauc(-scores, labels) == pytest.approx(1 - nauc(scores, labels), abs=1e-15)


class TestProbabilities:
    def test_by_hand(self):
        """e and 1 are 0.731 and 0.269; nAUC of the scores has 10 wrong above 1 right, that of probabilities has not."""
        scores, labels = np.array([[1, 0], [10, 11]], np.float32), np.array([0, 1])
        share = np.e / (1 + np.e)
        np.testing.assert_allclose(probabilities(scores), [[share, 1 - share], [1 - share, share]], rtol=1e-12)
        assert (nauc(scores, labels), nauc(probabilities(scores), labels)) == (3 / 4, 1)

    def test_large_scores_do_not_overflow(self):
        assert probabilities(np.array([[1e4, -1e4]], np.float32)).tolist() == [[1, 0]]


class TestConfusionMatrix:
    def test_by_hand(self):
        """True 5, 5, 0; taken for 0, 5, 7. Classes 0, 5, 7; class 7 was never right nor true."""
        confusion, classes = confusion_matrix(np.array([0, 5, 7]), np.array([5, 5, 0]))
        np.testing.assert_array_equal(classes, [0, 5, 7])
        np.testing.assert_array_equal(confusion, [[0, 0, 1], [1, 1, 0], [0, 0, 0]])

    @given(scored_sequences())
    def test_sklearn(self, case):
        scores, labels = case
        predicted = scores.argmax(axis=1)
        confusion, classes = confusion_matrix(predicted, labels)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # sklearn warns of a matrix of one class
            np.testing.assert_array_equal(confusion, sklearn_confusion(labels, predicted))
        np.testing.assert_array_equal(classes, np.unique(np.concatenate([labels, predicted])))


class TestEvaluation:
    def test_collapse(self):
        assert is_collapsed(np.zeros((3, 4)))
        assert is_collapsed(np.tile([1.0, 2.0, 3.0], (5, 1)))
        assert is_collapsed(np.array([[1.0, 1.0], [2.0, 2.0]]))
        assert is_collapsed(np.full((1, 4), 7.0))
        assert is_collapsed(np.tile([1.0, 2.0], (2, 1)) + 1e-9)
        assert not is_collapsed(np.array([[1.0, 2.0]]))
        assert not is_collapsed(np.array([[1.0, 2.0], [1.0, 2.1]]))
        assert not is_collapsed(np.zeros((0, 3)))
        assert not is_collapsed(np.array([[1.0], [2.0]]))
        assert evaluate_scores(np.zeros((3, 4)), np.arange(3)).is_collapsed

    def test_collapsed_scores_have_the_share_of_the_first_class(self):
        evaluation = evaluate_scores(np.zeros((4, 2)), np.array([0, 1, 1, 1]))
        assert (evaluation.rank1, evaluation.nauc) == (0.25, 0.5)

    @given(scored_sequences())
    @settings(deadline=None)
    def test_metrics_agree_with_each_other(self, case):
        evaluation = evaluate_scores(*case)
        assert evaluation.rank_n[0] == pytest.approx(evaluation.rank1)
        assert np.trace(evaluation.confusion) == round(evaluation.rank1 * evaluation.num_sequences)
        assert evaluation.confusion.sum() == evaluation.num_sequences == len(case[1])
        assert (np.diff(evaluation.rank_n) >= 0).all() and evaluation.rank_n[-1] == 1

    def test_scores_that_are_not_finite(self):
        scores = np.zeros((4, 3), np.float32)
        scores[2, 1] = np.nan
        with pytest.raises(UserError, match='sequence 2 has NaN or infinity'):
            evaluate_scores(scores, np.zeros(4, int))

    def test_no_sequence(self):
        with pytest.raises(UserError, match='found none'):
            evaluate_scores(np.zeros((0, 3)), np.zeros(0, int))

    def test_one_class_prints_nan(self):
        lines = original_lines(evaluate_scores(np.array([[2.0], [3.0]]), np.array([0, 0])))
        assert lines.splitlines()[1:] == [
            '[[2]]',
            '### Rank-n Accuracy: ',
            '{1: 1.0}',
            '### Rank-1 Accuracy: 1.000000',
            '### nAUC: nan',
        ]
