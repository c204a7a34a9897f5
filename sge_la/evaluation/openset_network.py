"""Strangers before a recognition network: whether its own answers tell that it does not know somebody.

Two scores of the logits are compared, both taken from Hendrycks et al., "Scaling Out-of-Distribution Detection for
Real-World Settings" (ICML 2022: the maximum logit), and Liu et al., "Energy-based Out-of-distribution Detection"
(NeurIPS 2020: the logarithm of the summed exponentials, at temperature 1). What is lower is farther from everybody.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sge_la import checkpoints
from sge_la.data import Dataset, Split
from sge_la.evaluation.enrolled import RECORDING, SEQUENCE
from sge_la.evaluation.gallery import SEQUENCES_AT_ONCE, TRAIN, Side
from sge_la.evaluation.matching import pool_recordings
from sge_la.evaluation.openset import OpenSet
from sge_la.evaluation.score_run import checkpoint_stem
from sge_la.evaluation.scores import compiled_recogniser, logits
from sge_la.evaluation.test_sets import encode_rows
from sge_la.features.sources import FeatureSource, feature_shape
from sge_la.runs.plan import Plan

SCORES = ('maximum logit', 'energy')


def network_answers(
    plan: Plan, dataset: Dataset, probe: Side, sources: list[FeatureSource], people: np.ndarray
) -> Mapping[str, Mapping[str, tuple[OpenSet, np.ndarray]]]:
    """How the run's network answers a set, by 'sequence' and 'recording', and by score; and what is resampled.

    `probe`: the set's sequences; `people`: labels of the network's classes; everybody else is a stranger.
    """
    folder = plan.networks.get(probe.name, plan.network)
    width = feature_shape(sources, plan.manner)[1]
    params = checkpoints.load_recognition(folder, width, slots=False, stem=checkpoint_stem(folder, probe.name)).params
    split = dataset.train if probe.name == TRAIN else dataset.tests[probe.name]
    found = sequence_logits(plan, split, probe.numbers, sources, params)
    own = np.where(np.isin(probe.labels, people), np.searchsorted(people, probe.labels), -1)
    if probe.recordings is None:
        return {SEQUENCE: {name: (answers, probe.labels) for name, answers in by_score(found, own).items()}}
    pooled, owners, recordings = pool_recordings(found, own, probe.recordings)
    return {
        SEQUENCE: {name: (answers, probe.recordings) for name, answers in by_score(found, own).items()},
        RECORDING: {name: (answers, recordings) for name, answers in by_score(pooled, owners).items()},
    }


def sequence_logits(
    plan: Plan, split: Split, rows: np.ndarray, sources: list[FeatureSource], params: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The mean of each sequence's frames' logits ('ap'), or its one answer ('sc'), float32 [len(rows), C]."""
    compiled, parts = compiled_recogniser(plan.precision), []
    for start in range(0, len(rows), SEQUENCES_AT_ONCE):
        chosen = rows[start : start + SEQUENCES_AT_ONCE]
        answers = logits(params, encode_rows(plan, split.skeletons, chosen, sources), compiled)
        parts.append(answers.reshape(len(chosen), -1, answers.shape[1]).mean(axis=1))
    return np.concatenate(parts)


def by_score(found: np.ndarray, own: np.ndarray) -> dict[str, OpenSet]:
    """Logits [n, C] as answers, by either score; `own` [n]: the right class, −1 for a stranger."""
    most = OpenSet.of(-found, own)
    highest = found.max(axis=1, keepdims=True)
    energy = -(highest[:, 0] + np.log(np.exp(found - highest).sum(axis=1)))
    return {SCORES[0]: most, SCORES[1]: OpenSet(energy, most.right, most.known)}
