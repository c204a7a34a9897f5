"""Scoring a run folder: the original's four lines, then what they leave out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la import cages, checkpoints, layout, metrics
from sge_la.data import Split
from sge_la.evaluation import collapse_warning, one_line, score, summary
from sge_la.features import FeatureSource, feature_shape, fill_features
from sge_la.recognition_stage import Features, feature_manner
from sge_la.training import compiled_recogniser, logits

say = tqdm.write
SEQUENCES_AT_ONCE = 2048
Sources = Callable[[], list[FeatureSource]] | None


@dataclass(frozen=True)
class TestSet:
    """One test set as a run folder and the data set have it.

    Attributes:
        name: e.g. 'Walking', or 'A' of IAS.
        features: rows as the original scores them.
        split: the sequences, if the data set is at hand.
        classes: the class of each of the data set's sequences `[N]`, if it is at hand.
    """

    name: str
    features: Features
    split: Split | None = None
    classes: np.ndarray | None = None


def checkpoint_stem(folder: Path, name: str) -> str:
    """IAS keeps a checkpoint for each test set; the joint one serves where it is missing, and everybody else."""
    own = f'{name}_{layout.CHECKPOINT_STEM}'
    return own if checkpoints.has_checkpoint(folder, own) else layout.CHECKPOINT_STEM


def score_test(folder: Path, options, test: TestSet, sources: Sources, known: dict) -> dict:
    """Scores one test set with the checkpoint that belongs to it, and prints the lines.

    Args:
        folder: of the recognition network.
        options: dataset, length, manner, seed, ... of the run.
        test: the test set.
        sources: gives the encoders, for sequences that are not among the features; None where there are none.
        known: what results.json says of this test set: the last epoch's scores, the chosen epoch; {} without one.

    Returns:
        `selected`, `all_sequences` and, where known, `last`: Rank-1, nAUC, Rank-n, sequences.
    """
    manner, compiled = feature_manner(options), compiled_recogniser()
    params = checkpoints.load_recognition(
        folder,
        test.features.X.shape[1],
        test.features.num_classes,
        slots=False,
        stem=checkpoint_stem(folder, test.name),
    ).params
    say(f'{test.features.X.shape} {(len(test.features.labels), params["Variable"].shape[0])}')
    if options.dataset == 'IAS':
        say(f'### Validation Results on IAS-{test.name}: ')
    settings = {'batch_size': options.batch_size, 'faithful': options.faithful, 'compiled': compiled}
    features = test.features
    scored = score(params, features.X, features.labels, options.length, manner, **settings)
    say('\n' + _lines(scored.evaluation, options.encoding))
    if warning := collapse_warning(scored.evaluation):
        say(warning)
    found = {'selected': {**known.get('selected', {}), **summary(scored.evaluation)}}
    evaluation, note = _all_sequences(options, test, params, sources, manner, compiled)
    found['all_sequences'] = summary(evaluation)
    say(one_line('All sequences', found['all_sequences'], note))
    if 'last' in known:
        found['last'] = known['last']
        say(one_line('Last epoch', known['last'], f'epoch {known["last"]["epoch"]}'))
    classes = scored.evaluation.num_classes
    say(f'Chance: Rank-1 Accuracy: {1 / classes:.6f}, nAUC: 0.500000, {classes} identities')
    return found


def _lines(evaluation: metrics.Evaluation, encoding: str) -> str:
    """What the original prints: the T-PAMI code four results, the IJCAI code two."""
    if encoding == 'AGE':
        return f'Rank-1 Accuracy: {evaluation.rank1}\nnAUC: {evaluation.nauc}'
    return metrics.original_lines(evaluation)


def _all_sequences(options, test: TestSet, params, sources, manner, compiled) -> tuple[metrics.Evaluation, str]:
    """Every sequence, nothing dropped at extraction or scoring; without data set and encoders all whole windows."""
    if test.split is None or sources is None:
        scored = score(
            params,
            test.features.X,
            test.features.labels,
            options.length,
            manner,
            drop_incomplete=False,
            compiled=compiled,
        )
        return scored.evaluation, 'all whole windows of the features at hand: data set or encoders are not'
    rows, encoded = cages.all_rows(test.split.ids), cages.original_rows(test.split.ids, pad=False)
    each = options.length if manner == 'ap' else 1
    labels = test.classes[rows]
    if np.array_equal(test.features.labels, np.repeat(test.classes[encoded], each)):
        answers = [logits(params, test.features.X, compiled)]
        labels, rows = test.classes[encoded], np.setdiff1d(rows, encoded)
        labels = np.concatenate([labels, test.classes[rows]])
    else:  # the features hold padding, or other sequences
        answers = []
    for start in range(0, len(rows), SEQUENCES_AT_ONCE):
        answers.append(
            _encode_and_answer(
                options, test.split, rows[start : start + SEQUENCES_AT_ONCE], sources(), manner, params, compiled
            )
        )
    answers = np.concatenate(answers)
    found = metrics.sequence_scores(answers, np.repeat(labels, each), each, manner=manner, drop_incomplete=False)
    return metrics.evaluate_scores(found.scores, found.labels), 'nothing dropped'


def _encode_and_answer(options, split: Split, rows, sources, manner, params, compiled) -> np.ndarray:
    each, width = feature_shape(sources, manner)
    features = np.empty((len(rows) * each, width), np.float32)
    fill_features(features, sources, split.skeletons, rows, manner, seed=options.seed, test=True)
    return logits(params, features, compiled)
