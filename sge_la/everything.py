"""Scores of all test sequences, those included that the original drops when it encodes and when it scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sge_la import cages, metrics
from sge_la.evaluation import Scored, score
from sge_la.feature_files import feature_manner, original_test_rows
from sge_la.options import BFLOAT16, FLOAT32
from sge_la.probes import ProbeSet, Sources, encode_rows
from sge_la.training import logits

SEQUENCES_AT_ONCE = 2048
# Sequences of the features that are encoded again, to see that the encoders at hand made them.
SAMPLE = 8
# By precision: a sum that comes out a little otherwise in another batch may be rounded to another bfloat16 after it.
TOLERANCES = {FLOAT32: 1e-3, BFLOAT16: 1e-2}


@dataclass(frozen=True)
class Groups:
    """What belongs together among scored sequences.

    Attributes:
        recordings: the recording of each, int64 `[S]`, or None where unknown.
        people: the class of each, int64 `[S]`.
    """

    recordings: np.ndarray | None
    people: np.ndarray


def score_everything(
    options, test: ProbeSet, params: dict, sources: Sources, compiled: Callable
) -> tuple[Scored, Groups, str]:
    """Scores every sequence of a test set; without data set and encoders, all whole windows of its features.

    Sequences that the features lack are encoded now, provided that the encoders and sequences at hand are those that
    the features were made with.

    Args:
        options: of the run.
        test: the test set.
        params: the recognition network's.
        sources: gives the encoders; None where there are none.
        compiled: from `sge_la.training.compiled_recogniser`.

    Returns:
        Metrics and scores, what belongs together among them, and a note on what was scored.
    """
    if test.split is None:
        return _whole_windows(options, test, params, compiled, 'the data set is not')
    encoded, each = original_test_rows(options, test.split.ids), _rows_each(options)
    if not np.array_equal(test.features.labels, np.repeat(test.classes[encoded], each)):
        return _whole_windows(options, test, params, compiled, 'the data set at hand has other sequences')
    places = np.sort(np.unique(encoded, return_index=True)[1])  # padding repeats some
    known, rest = encoded[places], np.setdiff1d(cages.all_rows(test.split.ids), encoded)
    if len(rest) and sources is None:
        return _whole_windows(options, test, params, compiled, 'the encoders are not')
    answers = [logits(params, test.features.X, compiled).reshape(len(encoded), each, -1)[places]]
    sample = known[:SAMPLE] if len(rest) else known[:0]
    for start in range(0, len(rest), SEQUENCES_AT_ONCE):
        X = encode_rows(
            options, test.split.skeletons, np.concatenate([sample, rest[start : start + SEQUENCES_AT_ONCE]]), sources()
        )
        tolerance, again = TOLERANCES[options.precision], X.reshape(-1, each, X.shape[1])[: len(sample)]
        if not _alike(again, test.features.X, places[: len(sample)], tolerance):
            return _whole_windows(options, test, params, compiled, 'the encoders at hand did not make them')
        answers.append(logits(params, X, compiled).reshape(-1, each, answers[0].shape[2])[len(sample) :])
    answers, order = np.concatenate(answers), np.concatenate([known, rest])
    scored = _scored(answers.reshape(-1, answers.shape[2]), np.repeat(test.classes[order], each), each, options)
    recordings = None if test.split.recordings is None else test.split.recordings[order[scored.sequences.windows]]
    return scored, Groups(recordings, scored.sequences.labels), 'nothing dropped'


def _rows_each(options) -> int:
    return options.length if feature_manner(options) == 'ap' else 1


def _alike(found: np.ndarray, features: np.ndarray, places: np.ndarray, tolerance: float) -> bool:
    """Whether encodings `[n, rows, D]` are those that stand at these places among the features."""
    each = found.shape[1]
    if found.shape[2] != features.shape[1]:
        return False
    expected = features[(places[:, None] * each + np.arange(each)).reshape(-1)].reshape(found.shape)
    return bool(np.abs(found - expected).max() <= tolerance * np.abs(expected).max())


def _scored(answers: np.ndarray, labels: np.ndarray, each: int, options) -> Scored:
    manner = feature_manner(options)
    found = metrics.sequence_scores(answers, labels, each, manner=manner, drop_incomplete=False)
    return Scored(metrics.evaluate_scores(found.scores, found.labels), found)


def _whole_windows(options, test: ProbeSet, params, compiled, why: str) -> tuple[Scored, Groups, str]:
    features, manner = test.features, feature_manner(options)
    settings = {'drop_incomplete': False, 'compiled': compiled}
    scored = score(params, features.X, features.labels, options.length, manner, **settings)
    note = f'all whole windows of the features at hand: {why}'
    return scored, Groups(None, scored.sequences.labels), note
