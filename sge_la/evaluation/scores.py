"""Scores of trained networks: what the original prints, what it leaves out, and those of all test sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sge_la import backends
from sge_la.backends import ops
from sge_la.evaluation import metrics
from sge_la.evaluation.test_sets import SEQUENCES_AT_ONCE, ProbeSet, Sources, are_alike, encode_rows
from sge_la.features import cages
from sge_la.files.arrays import release_pages
from sge_la.model import labelled_lstm, products, recognition
from sge_la.model.config import FLOAT32
from sge_la.model.gait_encoder import axis_major
from sge_la.runs.plan import Plan

# Sequences of the features that are encoded again, to see that the encoders at hand made them.
SAMPLE = 8
# Sequences, and feature rows, that a network answers at once.
_SCORED_AT_ONCE, LOGIT_ROWS = 2048, 4096


def logits(params: Mapping, features: np.ndarray, compiled: Callable | None = None) -> np.ndarray:
    """The recognition network's answers, in blocks of bounded memory.

    `features`: `[R, D]`, any float dtype, may be a memory map; `compiled`: from `compiled_recogniser`; None computes in
    float32. Returns float32 `[R, C]`.
    """
    compiled = compiled or compiled_recogniser(FLOAT32)
    params = {name: ops.convert_to_tensor(value) for name, value in params.items()}
    block = min(LOGIT_ROWS, len(features))

    def answers(start: int) -> np.ndarray:
        chosen = np.asarray(features[start : start + block], np.float32)
        filled = np.pad(chosen, ((0, block - len(chosen)), (0, 0)))
        return ops.convert_to_numpy(compiled(params, filled))[: len(chosen)]

    out = np.empty((len(features), params['Variable'].shape[0]), np.float32)
    starts = range(0, len(features), max(block, 1))
    for start, found in zip(starts, backends.each(answers, starts), strict=True):
        out[start : start + block] = found
        release_pages(features)
    return out


@cache
def compiled_recogniser(precision: str) -> Callable:
    """`recognise`, compiled once for each precision of the products."""

    def recognise(params, features):
        with products.precision(precision):
            return recognition.recognise(params, features)

    return backends.compiled(recognise)


@dataclass(frozen=True)
class Scored:
    """One test set's metrics and the per-sequence scores that they come from."""

    evaluation: metrics.Evaluation
    sequences: metrics.SequenceScores


def score(
    params: dict, features: np.ndarray, labels: np.ndarray, *how, compiled: Callable | None = None, **rules
) -> Scored:
    """Answers and metrics of a recognition network on feature rows.

    `params`: the network's; `features`: `[R, D]`, may be a memory map; `how`, `rules`: see `score_answers`.
    """
    return score_answers(logits(params, features, compiled), labels, *how, **rules)


def score_answers(
    answers: np.ndarray,
    labels: np.ndarray,
    length: int,
    manner: str,
    *,
    batch_size: int = 128,
    drop_incomplete: bool = True,
    faithful: bool = False,
    fill_batch: bool = False,
) -> Scored:
    """Metrics of a recognition network's answers.

    Args:
        answers: float32 `[R, C]`, a row for each feature row.
        labels: class indices `[R]`.
        length: T, rows in a sequence with 'ap'.
        manner: 'ap' or 'sc'.
        batch_size: rows beyond the last whole batch are dropped, as in the original.
        drop_incomplete: False scores all whole windows instead.
        faithful: divide Rank-n by the batch size for fewer 'sc' rows than a batch, as the original does.
        fill_batch: as in `metrics.sequence_scores`.
    """
    settings: dict[str, Any] = {'batch_size': batch_size, 'drop_incomplete': drop_incomplete, 'fill_batch': fill_batch}
    found = metrics.sequence_scores(answers, labels, length, manner=manner, **settings)
    divisor = found.original_rank_divisor if faithful else None
    return Scored(metrics.evaluate_scores(found.scores, found.labels, rank_divisor=divisor), found)


def summary(evaluation: metrics.Evaluation) -> dict[str, Any]:
    """The metrics as JSON has them."""
    return {
        'rank1': evaluation.rank1,
        'nauc': evaluation.nauc if np.isfinite(evaluation.nauc) else None,
        'rank_n': evaluation.rank_n.tolist(),
        'sequences': evaluation.num_sequences,
        'classes': evaluation.num_classes,
        'chance': 1 / evaluation.num_classes,
    }


def collapse_warning(evaluation: metrics.Evaluation) -> str | None:
    """A sentence if the scores do not depend on the sequence, else None."""
    if not evaluation.is_collapsed:
        return None
    return (
        'warning: the scores are the same for every sequence, so the network tells nobody apart and Rank-1 means '
        'nothing; train longer or look at the data with `python -m sge_la.data.check`'
    )


@dataclass(frozen=True)
class Groups:
    """What belongs together among scored sequences.

    `recordings`: the recording of each, int64 `[S]`, or None where unknown; `people`: the class of each, int64 `[S]`.
    """

    recordings: np.ndarray | None
    people: np.ndarray


def score_everything(
    plan: Plan,
    test: ProbeSet,
    params: dict,
    sources: Sources,
    compiled: Callable,
    answers: np.ndarray | None = None,
) -> tuple[Scored, Groups, str]:
    """Scores every sequence of a test set; without data set and encoders, all whole windows of its features.

    Sequences that the features lack are encoded now, provided that the encoders and sequences at hand are those that
    the features were made with.

    `plan`: of the run; `test`: the test set; `params`: the recognition network's; `sources`: gives the encoders; None
    where there are none; `compiled`: from `sge_la.evaluation.scores.compiled_recogniser`; `answers`: the network's
    `[R, C]` on the features; None computes them. Returns metrics and scores, what belongs together among them, and a
    note on what was scored.
    """
    if answers is None:
        answers = logits(params, test.features.X, compiled)
    if test.split is None:
        return _whole_windows(plan, test, answers, 'the data set is not')
    encoded = cages.original_rows(test.split.ids, pad=plan.pads_tests)
    each = plan.length if plan.manner == 'ap' else 1
    if not np.array_equal(test.features.labels, np.repeat(test.classes[encoded], each)):
        return _whole_windows(plan, test, answers, 'the data set at hand has other sequences')
    places = np.sort(np.unique(encoded, return_index=True)[1])  # padding repeats some
    known, rest = encoded[places], np.setdiff1d(cages.all_rows(test.split.ids), encoded)
    if len(rest) and sources is None:
        return _whole_windows(plan, test, answers, 'the encoders are not')
    parts = [answers.reshape(len(encoded), each, -1)[places]]
    sample = known[:SAMPLE] if len(rest) else known[:0]
    for start in range(0, len(rest), SEQUENCES_AT_ONCE):
        chosen = np.concatenate([sample, rest[start : start + SEQUENCES_AT_ONCE]])
        X = encode_rows(plan, test.split.skeletons, chosen, sources())
        made = places[: len(sample), None] * each + np.arange(each)
        if not are_alike(X[: made.size], test.features.X[made.reshape(-1)], plan.precision):
            return _whole_windows(plan, test, answers, 'the encoders at hand did not make them')
        parts.append(logits(params, X, compiled).reshape(-1, each, answers.shape[1])[len(sample) :])
    order = np.concatenate([known, rest])
    everything = np.concatenate(parts).reshape(-1, answers.shape[1])
    labels = np.repeat(test.classes[order], each)
    scored = score_answers(everything, labels, each, plan.manner, drop_incomplete=False)
    recordings = None if test.split.recordings is None else test.split.recordings[order[scored.sequences.windows]]
    return scored, Groups(recordings, scored.sequences.labels), 'nothing dropped'


def _whole_windows(plan: Plan, test: ProbeSet, answers: np.ndarray, why: str) -> tuple[Scored, Groups, str]:
    scored = score_answers(answers, test.features.labels, plan.length, plan.manner, drop_incomplete=False)
    note = f'all whole windows of the features at hand: {why}'
    return scored, Groups(None, scored.sequences.labels), note


def labelled_scores(params: Mapping[str, np.ndarray], skeletons: np.ndarray) -> np.ndarray:
    """The answers of the network with its own softmax, before it, in blocks of bounded memory.

    `skeletons`: float32 `[N, T, J, 3]`. Returns float32 `[N, C]`.
    """
    compiled, block = _compiled_logits(), min(_SCORED_AT_ONCE, len(skeletons))
    params = {name: ops.convert_to_tensor(value) for name, value in params.items()}
    out = np.empty((len(skeletons), params[labelled_lstm.BIAS].shape[1]), np.float32)
    for start in range(0, len(skeletons), max(block, 1)):
        start = min(start, len(skeletons) - block)  # the last block overlaps, so that one compiled shape serves all
        out[start : start + block] = ops.convert_to_numpy(compiled(params, skeletons[start : start + block]))
    return out


@cache
def _compiled_logits() -> Callable:
    return backends.compiled(lambda params, inputs: labelled_lstm.logits(params, axis_major(inputs)))
