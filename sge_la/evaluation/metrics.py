"""Rank-n, nAUC and the confusion matrix, from the recognition network's logits.

C identities are the columns of `scores`; label c means column c. The rules for incomplete batches and windows are the
original's; `drop_incomplete=False` leaves nothing whole out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sge_la.errors import UserError

# Scores whose spread is below this fraction of the largest one tell no two sequences (or classes) apart.
COLLAPSE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Windows:
    """The windows of rows that are scored, and what was left out on the way.

    `rows` int64 [S, T] are the rows of each, `labels` int64 [S] its label; `windows` says which window, in file order,
    each is: `recordings[windows]` and the like. The original divides its Rank-n hits by `original_rank_divisor`: S, but
    the batch size for `sc` with fewer rows than a batch.
    """

    rows: np.ndarray
    labels: np.ndarray
    windows: np.ndarray
    num_rows: int
    num_dropped_rows: int
    num_incomplete_rows: int
    num_mixed: int
    original_rank_divisor: int


@dataclass(frozen=True)
class SequenceScores(Windows):
    """One row of scores [S, C] for each of the windows."""

    scores: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one test set.

    `rank_n` float64 [C] is the share of sequences whose label is among the n largest scores; `rank1` equals `rank_n[0]`
    unless another divisor was asked for. `nauc` is nan with a single class. `confusion` int64 [K, K] has true classes
    in rows, predicted ones in columns, and `classes` int64 [K] are theirs.
    """

    rank_n: np.ndarray
    rank1: float
    nauc: float
    confusion: np.ndarray
    classes: np.ndarray
    num_sequences: int
    num_classes: int
    is_collapsed: bool


def counted_windows(
    labels: np.ndarray,
    length: int,
    *,
    manner: str = 'ap',
    batch_size: int = 128,
    drop_incomplete: bool = True,
    fill_batch: bool = False,
) -> Windows:
    """The windows of rows that the original scores.

    It scores rows in batches and forgets those beyond the last whole batch, unless there are fewer rows than one batch.
    What is left is cut into windows of T rows; an incomplete last window is dropped and a window of mixed labels
    skipped.

    `labels`: integers [R]; `length`: T, rows in a sequence; with `sc` each row is a sequence; `manner`: 'ap' (a row is
    a frame) or 'sc'; `batch_size`: rows in a scoring batch, 128 in the original (1280 in its CASIA-B script);
    `drop_incomplete`: False keeps the rows beyond the last whole batch; `fill_batch`: copies of row 0 fill up fewer
    rows than a batch, and are scored (the original's CASIA-B script). Raises UserError: no whole sequence, or no
    sequence with a single label, is left.
    """
    if manner not in ('ap', 'sc'):
        raise ValueError(f"manner must be 'ap' or 'sc', received {manner!r}")
    length = 1 if manner == 'sc' else length
    if length < 1 or batch_size < 1:
        raise ValueError(f'length and batch_size must be at least 1, received {length} and {batch_size}')
    rows = np.arange(len(labels))
    if fill_batch and 0 < len(labels) < batch_size:
        rows = np.concatenate([rows, np.zeros(batch_size - len(labels), np.int64)])
    num_rows = len(rows)
    is_batched = drop_incomplete and num_rows >= batch_size
    num_used = num_rows - num_rows % batch_size if is_batched else num_rows
    num_windows, num_incomplete = divmod(num_used, length)
    if num_windows == 0:
        raise UserError(
            f'scoring needs at least one whole sequence of {length} rows, but only {num_used} rows are there: '
            'check --length against the test set'
        )
    window_rows = rows[: num_windows * length].reshape(num_windows, length)
    window_labels = labels[window_rows]
    windows = np.flatnonzero((window_labels == window_labels[:, :1]).all(axis=1))
    if len(windows) == 0:
        raise UserError(
            f'scoring needs windows of {length} rows with a single identity, but each of the {num_windows} windows '
            'mixes identities: check --length against the test set'
        )
    return Windows(
        rows=window_rows[windows],
        labels=window_labels[windows, 0],
        windows=windows,
        num_rows=num_rows,
        num_dropped_rows=num_rows - num_used,
        num_incomplete_rows=num_incomplete,
        num_mixed=num_windows - len(windows),
        original_rank_divisor=batch_size if manner == 'sc' and num_rows < batch_size else len(windows),
    )


def sequence_scores(logits: np.ndarray, labels: np.ndarray, length: int, **rules) -> SequenceScores:
    """Gathers the logits of rows (frames, or joined vectors) into one score vector for each window that counts.

    A window's score is the mean of its raw logits in their own precision (float32), which reproduces the original's
    numbers. `logits`, `labels`: float [R, C], and integers [R] from 0 to C − 1; `length`, `rules`, errors: as of
    `counted_windows`.
    """
    logits, labels = _checked(logits, labels)
    return window_scores(logits, counted_windows(labels, length, **rules))


def window_scores(logits: np.ndarray, windows: Windows) -> SequenceScores:
    """As `sequence_scores`, of windows that are known already; `logits`: float [R, C] of the rows that they name."""
    rows = windows.rows.reshape(-1)
    # Indexing copies, and the logits may be large.
    chosen = logits[: len(rows)] if np.array_equal(rows, np.arange(len(rows))) else logits[rows]
    return SequenceScores(**vars(windows), scores=chosen.reshape(*windows.rows.shape, -1).mean(axis=1))


def label_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes are ahead of the right one, int64 [S]; 0 means that the right one is first.

    Equal scores count for the lower class index, so that rank 0 is exactly where `argmax` is right.
    """
    scores, labels = _checked(scores, labels)
    own = scores[np.arange(len(labels)), labels][:, None]
    is_lower_class = np.arange(scores.shape[1]) < labels[:, None]
    return np.count_nonzero((scores > own) | ((scores == own) & is_lower_class), axis=1).astype(np.int64)


def rank_n(scores: np.ndarray, labels: np.ndarray, *, divisor: int | None = None) -> np.ndarray:
    """Share of sequences whose label is among the n largest scores, float64 [C] from n = 1 on (the CMC curve).

    The original picks the n largest by `argpartition`, whose choice among equal scores changes with NumPy's version and
    with n; here they count for the lower class index. Hits are divided by `divisor`, S if None; nan without sequences.
    """
    hits = np.cumsum(np.bincount(label_ranks(scores, labels), minlength=np.shape(scores)[1]))
    divisor = len(labels) if divisor is None else divisor
    return hits / divisor if divisor else np.full(len(hits), np.nan)


def nauc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the micro-averaged ROC curve: all S·C scores pooled, against one-hot labels.

    The chance that the score of a (sequence, right class) is above that of a (sequence, wrong class), equal scores
    counting one half; sequences may differ, so softmax would change it. Counts are whole numbers: exact but for the
    last division. nan where it is undefined: a single class, or no sequence.
    """
    scores, labels = _checked(scores, labels)
    num_sequences, num_classes = scores.shape
    num_wrong = num_sequences * (num_classes - 1)
    if num_wrong == 0:
        return float('nan')
    right = np.sort(scores[np.arange(num_sequences), labels])
    pooled = np.sort(scores, axis=None)
    # Twice (scores below + half of the equal ones), first among all scores, then less those among the right ones.
    doubled = sum(np.searchsorted(pooled, right, side).sum(dtype=np.int64) for side in ('left', 'right'))
    doubled -= sum(np.searchsorted(right, right, side).sum(dtype=np.int64) for side in ('left', 'right'))
    return int(doubled) / (2 * num_sequences * num_wrong)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The softmax of scores [S, C], in float64 whatever theirs: what the network says of each sequence by itself.

    A constant added to all scores of a sequence changes nothing here, but it changes `nauc` of the scores, which the
    training leaves free to differ between sequences.
    """
    likely = np.exp(np.subtract(scores, np.max(scores, axis=1, keepdims=True), dtype=np.float64))
    return likely / likely.sum(axis=1, keepdims=True)


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each true class was taken for each other one: (int64 [K, K], int64 [K] classes, sorted).

    Rows are true, columns predicted; classes that occur on neither side have no row, as in the original.
    """
    labels = np.asarray(labels)
    classes, codes = np.unique(np.concatenate([labels, predicted]).astype(np.int64), return_inverse=True)
    cells = codes[: len(labels)] * len(classes) + codes[len(labels) :]
    return np.bincount(cells, minlength=len(classes) ** 2).reshape(len(classes), -1).astype(np.int64), classes


def is_collapsed(scores: np.ndarray) -> bool:
    """Whether the scores say nothing: every sequence has the same ones, or no sequence prefers a class.

    Such a model still has a Rank-1, that of the class it always answers; whoever prints it should say so.
    """
    scores = np.asarray(scores)
    if scores.size == 0:
        return False
    tolerance = COLLAPSE_TOLERANCE * np.abs(scores).max()
    has_no_preference = np.ptp(scores, axis=1).max() <= tolerance
    is_constant = len(scores) > 1 and np.ptp(scores, axis=0).max() <= tolerance
    return bool((has_no_preference and scores.shape[1] > 1) or is_constant)


def evaluate_scores(scores: np.ndarray, labels: np.ndarray, *, rank_divisor: int | None = None) -> Evaluation:
    """Every metric of one test set, of scores [S, C] and labels [S]; `rank_divisor` as in `rank_n`.

    Raises UserError: no sequence, or a score that is not finite.
    """
    scores, labels = _checked(scores, labels)
    if len(labels) == 0:
        raise UserError('scoring needs at least one test sequence, found none: check the test set')
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise UserError(
            f'scores must be finite numbers, but sequence {row} has NaN or infinity: the weights are damaged or '
            'training diverged; evaluate an earlier checkpoint or train again'
        )
    predicted = scores.argmax(axis=1)
    confusion, classes = confusion_matrix(predicted, labels)
    return Evaluation(
        rank_n=rank_n(scores, labels, divisor=rank_divisor),
        rank1=float(np.mean(predicted == labels)),
        nauc=nauc(scores, labels),
        confusion=confusion,
        classes=classes,
        num_sequences=len(labels),
        num_classes=scores.shape[1],
        is_collapsed=is_collapsed(scores),
    )


def result_lines(evaluation: Evaluation) -> str:
    """Rank-1 and nAUC as the original prints them, which scripts parse."""
    return f'### Rank-1 Accuracy: {evaluation.rank1:f}\n### nAUC: {evaluation.nauc}'


def original_lines(evaluation: Evaluation, *, rows_apart: bool = False) -> str:
    """All four `###` results as the original prints them, without a final line break.

    Scripts parse these lines, so spelling, trailing spaces, NumPy's layout of the matrix (`...` above 1000 entries) and
    plain numbers in the dictionary are kept, whatever `numpy.set_printoptions` says. `rows_apart` prints the matrix row
    by row, without outer brackets, as the original's CASIA-B script does.
    """
    with np.printoptions(formatter=None, legacy=False):
        parts = evaluation.confusion if rows_apart else [evaluation.confusion]
        settings: dict[str, Any] = {'max_line_width': 75, 'threshold': 1000, 'edgeitems': 3, 'separator': ' '}
        matrix = '\n'.join(np.array2string(part, **settings) for part in parts)
    ranks = {n: value for n, value in enumerate(evaluation.rank_n.tolist(), start=1)}
    return f'### Re-ID Confusion Matrix: \n{matrix}\n### Rank-n Accuracy: \n{ranks}\n{result_lines(evaluation)}'


def _checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of matching shape, labels as int64 within the classes; anything else is a caller's defect."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f'scores must be [S, C] and labels [S], received {scores.shape} and {labels.shape}')
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f'labels must be integers, received {labels.dtype}')
    if len(labels) and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ValueError(f'labels must be 0 to {scores.shape[1] - 1}, received {labels.min()} to {labels.max()}')
    return scores, labels.astype(np.int64)
