"""What is matched: a vector for each sequence of a set, of its encodings, the network's answers, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sge_la import checkpoints
from sge_la.data import Split
from sge_la.errors import UserError, counted
from sge_la.evaluation.enrolled import unit_length
from sge_la.evaluation.matching import pool_recordings, smoothed
from sge_la.evaluation.metrics import probabilities
from sge_la.evaluation.score_run import checkpoint_stem
from sge_la.evaluation.scores import compiled_recogniser, logits
from sge_la.evaluation.test_sets import SEQUENCES_AT_ONCE
from sge_la.features import cages
from sge_la.features.sources import FeatureSource, feature_shape, fill_features
from sge_la.runs.plan import Plan

_UNKNOWN = (
    '{flag} needs to know the recording of each sequence, and of the set {name} nobody does (the released arrays lack '
    'it): prepare the data set from its raw recordings, or {instead}'
)


@dataclass(frozen=True)
class Side:
    """The probes, or the gallery: a set's name, features float32 [N, D] and identities int64 [N].

    `recordings` int64 [N] are numbered alike on both sides, None where unknown; `numbers` int64 [N] are the sequences
    in their set, None for pooled recordings.
    """

    name: str
    features: np.ndarray
    labels: np.ndarray
    recordings: np.ndarray | None
    numbers: np.ndarray | None

    def __str__(self) -> str:
        people = f'of {counted(len(np.unique(self.labels)), "person", "people")}'
        if self.numbers is None:
            return f'{self.name}, {counted(len(self.labels), "recording")} {people}'
        recordings = '' if self.recordings is None else f', {counted(len(np.unique(self.recordings)), "recording")}'
        return f'{self.name}, {counted(len(self.labels), "sequence")} {people}{recordings}'


def sequence_features(
    sources: list[FeatureSource],
    skeletons: np.ndarray,
    rows: np.ndarray,
    manner: str,
    *,
    seed: int = 0,
    network: Mapping[str, np.ndarray] | None = None,
    beside: bool = False,
) -> np.ndarray:
    """One vector for each sequence of `rows`, in bounded memory: float32 [len(rows), D].

    D is 3U times the number of encoders: the mean of the T frames' CAGEs ('ap'), or T·3U of them, joined ('sc'). With
    the parameters of a recognition network they are its mean logits of the frames ('ap'), or its one answer's, D = C;
    `beside`: behind the encodings.
    """
    each, width = feature_shape(sources, manner)
    encodings = width if network is None or beside else 0
    out = np.empty((len(rows), encodings + (0 if network is None else len(network['Variable']))), np.float32)
    size = min(SEQUENCES_AT_ONCE, len(rows))
    block = np.empty((size * each, width), np.float32)
    for start in range(0, len(rows), size):
        start = min(start, len(rows) - size)  # the last block overlaps, so that one compiled shape serves all
        chosen = rows[start : start + size]
        fill_features(block, sources, skeletons, chosen, manner, seed=seed, test=True)
        if encodings:
            out[start : start + size, :encodings] = block.reshape(size, each, -1).mean(axis=1)
        if network is not None:
            found = logits(network, block, compiled_recogniser(sources[0].config.precision))
            out[start : start + size, encodings:] = found.reshape(size, each, -1).mean(axis=1)
    return out


def answers_of(scores: np.ndarray) -> np.ndarray:
    """Square roots of the probabilities of logits [N, C]: vectors of length 1 whose distance is that of Hellinger."""
    return np.sqrt(probabilities(scores)).astype(scores.dtype)


def _answers_beside(features: np.ndarray, classes: int, weight: float) -> np.ndarray:
    """Answers, and encodings of length √weight beside them, of what `sequence_features` gave with `beside`."""
    encodings = unit_length(features[:, :-classes]) * np.float32(np.sqrt(weight))
    return np.concatenate([answers_of(features[:, -classes:]), encodings], axis=1)


def make_side(
    name: str,
    split: Split,
    sources: list[FeatureSource],
    manner: str,
    *,
    level: str = 'sequence',
    seed: int = 0,
    network: Mapping[str, np.ndarray] | None = None,
    beside: float = 0.0,
) -> Side:
    """Encodes all sequences of a set that belong to an identity; `level` 'recording' takes means of each recording.

    `network`: its answers (`answers_of`) stand in the place of encodings; `beside`: what encodings weigh beside them.

    Raises UserError: 'recording', but the recordings are not known.
    """
    rows = cages.all_rows(split.ids)
    if level == 'recording' and split.recordings is None:
        raise UserError(_UNKNOWN.format(flag='--level recording', name=name, instead='use --level sequence'))
    settings: dict[str, Any] = {'seed': seed, 'network': network, 'beside': bool(beside)}
    features = sequence_features(sources, split.skeletons, rows, manner, **settings)
    if network is not None:
        features = _answers_beside(features, len(network['Variable']), beside) if beside else answers_of(features)
    labels, recordings = split.labels[rows], None if split.recordings is None else split.recordings[rows]
    if level == 'recording':
        return Side(name, *pool_recordings(features, labels, recordings), None)
    return Side(name, features, labels, recordings, rows)


def smoothed_side(gallery: Side, share: float) -> Side:
    """A gallery whose entries moved by `share` (0 to 1) towards the means of their recordings.

    Raises UserError: the recordings are not known.
    """
    if not share:
        return gallery
    if gallery.recordings is None:
        raise UserError(_UNKNOWN.format(flag='--smooth', name=gallery.name, instead='leave out --smooth'))
    return replace(gallery, features=smoothed(gallery.features, gallery.labels, gallery.recordings, share))


def network_for(plan: Plan, name: str = '') -> tuple[Path, str]:
    """Folder and stem of the recognition network that answers for a set, IAS may have one for each; '': for all."""
    folder = plan.networks.get(name, plan.network)
    return folder, checkpoint_stem(folder, name)


def load_network(where: tuple[Path, str], sources: list[FeatureSource], manner: str) -> dict[str, np.ndarray]:
    """The recognition network at a folder and stem, for the features of these encoders."""
    folder, stem = where
    return checkpoints.load_recognition(folder, feature_shape(sources, manner)[1], slots=False, stem=stem).params
