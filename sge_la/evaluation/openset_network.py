"""Strangers before a recognition network: whether its own answers tell that it does not know somebody.

Two scores of the logits are compared, both taken from Hendrycks et al., "Scaling Out-of-Distribution Detection for
Real-World Settings" (ICML 2022: the maximum logit), and Liu et al., "Energy-based Out-of-distribution Detection"
(NeurIPS 2020: the logarithm of the summed exponentials, at temperature 1). What is lower is farther from everybody.

The maximum logit, which was the better one on KGBD (docs/door.md), has a threshold that a run keeps. It comes from
training recordings of people whom the run was trained without: a network that has seen everybody cannot tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data import Dataset
from sge_la.data.training_set import training_data
from sge_la.errors import UserError, counted, say
from sge_la.evaluation.enrolled import RECORDING, SEQUENCE
from sge_la.evaluation.gallery import TRAIN
from sge_la.evaluation.matching import pool_recordings
from sge_la.evaluation.openset import OpenSet
from sge_la.evaluation.sides import Side, load_network, network_for, sequence_features
from sge_la.evaluation.threshold import Threshold, checked_number
from sge_la.features.sources import FeatureSource
from sge_la.files.text import read_json, write_json
from sge_la.runs.plan import Plan

SCORES = ('maximum logit', 'energy')
FILE = 'strangers.json'
# Logits are smaller by far.
_LARGEST = 1e9


@dataclass(frozen=True)
class NetworkAnswers:
    """How a network answers sequences or recordings.

    `scores`: by the name of the score; `labels`, `groups` int64 [n]: whom each shows, and what is resampled.
    """

    scores: Mapping[str, OpenSet]
    labels: np.ndarray
    groups: np.ndarray


def network_answers(
    plan: Plan, dataset: Dataset, probe: Side, sources: list[FeatureSource], people: np.ndarray
) -> Mapping[str, NetworkAnswers]:
    """How the run's network answers a set, by 'sequence' and 'recording'.

    `probe`: the set's sequences; `people`: labels of the network's classes; everybody else is a stranger.
    """
    network = load_network(network_for(plan, probe.name), sources, plan.manner)
    split = dataset.train if probe.name == TRAIN else dataset.tests[probe.name]
    found = sequence_features(sources, split.skeletons, probe.numbers, plan.manner, seed=plan.seed, network=network)
    return _by_level(found, probe.labels, probe.recordings, people)


def strangers_in_training(
    plan: Plan, known: Dataset, sources: list[FeatureSource], network: Mapping[str, np.ndarray]
) -> Mapping[str, NetworkAnswers]:
    """How the run's network answers what it was not trained on in the training set, by 'sequence' and 'recording'.

    That is all of the people who were left out and, of a run with `--select val`, what was held out of the others.
    `known`: the data set as `without_people` gives it; `network`: the run's.
    """
    split, shown = known.train, {**training_data(known, plan.select).held, **known.train.left_out}
    rows, labels = np.concatenate([*shown.values()]), np.repeat([*shown], [len(own) for own in shown.values()])
    found = sequence_features(sources, split.skeletons, rows, plan.manner, seed=plan.seed, network=network)
    recordings = None if split.recordings is None else split.recordings[rows]
    return _by_level(found, labels, recordings, np.array(known.identities))


def _by_level(
    found: np.ndarray, labels: np.ndarray, recordings: np.ndarray | None, people: np.ndarray
) -> Mapping[str, NetworkAnswers]:
    levels = {SEQUENCE: (found, labels, labels if recordings is None else recordings)}
    if recordings is not None:
        levels[RECORDING] = pool_recordings(found, labels, recordings)
    return {
        level: NetworkAnswers(
            by_score(answers, np.where(np.isin(shown, people), np.searchsorted(people, shown), -1)), shown, groups
        )
        for level, (answers, shown, groups) in levels.items()
    }


@dataclass(frozen=True)
class Doubt:
    """Whether a recording may show nobody whom a network was trained on.

    `score`: the highest mean logit; `threshold`: from this on somebody is named; `probability` that the likeliest
    person is the right one if strangers come as often as people of the network, None where that cannot be told.
    """

    score: float
    threshold: float
    probability: float | None

    @property
    def unknown(self) -> bool:
        """Whether nobody is to be named."""
        return self.score < self.threshold


@dataclass(frozen=True)
class NetworkThresholds:
    """Where strangers begin for a network, whose distance is the negative maximum logit.

    `digest`: of the network, see `network_digest`; `far`: the false accept rate; `people`: how many strangers there
    were; `thresholds`: by 'sequence' and, where recordings are known, 'recording'.
    """

    digest: str
    far: float
    people: int
    thresholds: Mapping[str, Threshold]

    @classmethod
    def of(cls, found: Mapping[str, NetworkAnswers], digest: str, far: float) -> NetworkThresholds:
        """From what `strangers_in_training` found."""
        asked = {level: answers.scores[SCORES[0]] for level, answers in found.items()}
        strangers = np.unique(found[SEQUENCE].labels[~asked[SEQUENCE].known])
        return cls(digest, far, len(strangers), {level: Threshold.of(one, far) for level, one in asked.items()})

    def doubt(self, scores: np.ndarray, level: str = RECORDING) -> Doubt | None:
        """From the logits of a recording's sequences [N, C]; None where the threshold of the level is not known."""
        if level not in self.thresholds:
            return None
        score, threshold = float(scores.mean(axis=0).max()), self.thresholds[level]
        return Doubt(score, -threshold.distance, threshold.probability(-score))

    def to_json(self) -> dict[str, Any]:
        """The form in which files keep it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any, params: Mapping[str, np.ndarray], where: object) -> NetworkThresholds:
        """Of what `to_json` gave, for a network of these parameters; `where` names the file.

        Raises UserError: it is no such thing, or another network's.
        """
        try:
            found = cls(**content)
            checked_number(found.far, 0, 1)
            thresholds = {
                level: Threshold.from_json(one, -_LARGEST, _LARGEST) for level, one in content['thresholds'].items()
            }
            sound = SEQUENCE in thresholds and set(thresholds) <= {SEQUENCE, RECORDING}
            if not sound or type(found.people) is not int:
                raise ValueError('thresholds are missing')
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(
                f'{where} should say where strangers begin, and does not ({error!s:.100}): score the run again with '
                '`evaluate --protocol openset`'
            ) from error
        if found.digest != network_digest(params):
            raise UserError(
                f'{where} says where strangers begin for another network than this one: score the run again with '
                '`evaluate --protocol openset`, or delete the file'
            )
        return cls(found.digest, found.far, found.people, thresholds)


def keep_thresholds(
    plan: Plan, known: Dataset, sources: list[FeatureSource], far: float
) -> Mapping[str, NetworkAnswers]:
    """Finds where strangers begin for a run that was trained without some people, and writes it into its folder.

    `plan`, `known`, `sources`: as of `strangers_in_training`; returns what that gives. Raises UserError: it cannot be
    written.
    """
    network = load_network(network_for(plan), sources, plan.manner)
    found = strangers_in_training(plan, known, sources, network)
    thresholds = NetworkThresholds.of(found, network_digest(network), far)
    write_json(plan.network / FILE, thresholds.to_json())
    for level, one in thresholds.thresholds.items():
        say(
            f'identify names nobody for a {level} whose highest logit is below {-one.distance:.3f}: false accept rate '
            f'{far:g} on {counted(one.strangers, level)} of {counted(thresholds.people, "person", "people")} left out'
        )
    return found


def read_thresholds(folder: Path, params: Mapping[str, np.ndarray]) -> NetworkThresholds | None:
    """What a run keeps; None where it keeps nothing.

    Raises UserError: it is damaged, or another network's.
    """
    path = folder / FILE
    return NetworkThresholds.from_json(read_json(path), params, path) if path.exists() else None


def network_digest(params: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of a network's parameters, in hexadecimal."""
    found = hashlib.sha256()
    for name, values in sorted(params.items()):
        found.update(name.encode() + np.ascontiguousarray(values, '<f4').tobytes())
    return found.hexdigest()


def by_score(found: np.ndarray, own: np.ndarray) -> dict[str, OpenSet]:
    """Logits [n, C] as answers, by either score; `own` [n]: the right class, −1 for a stranger."""
    most = OpenSet.of(-found, own)
    highest = found.max(axis=1, keepdims=True)
    energy = -(highest[:, 0] + np.log(np.exp(found - highest).sum(axis=1)))
    return {SCORES[0]: most, SCORES[1]: OpenSet(energy, most.right, most.known)}
