"""Gallery and probe: who walks is told by the nearest encodings of a gallery, without a recognition network.

The network's answers can be matched in their place (`--match answers`), where the people are those of the training.

The protocol of the later papers on the same data sets (SPC-MGR and after): mAP, Rank-1, Rank-5, Rank-10. Their pairs:
BIWI Walking → Still and back, IAS A → B and back, KGBD and KS20 probe → gallery. Where a data set has no gallery of its
own (layouts 1 and 2 but for IAS), the training set is the gallery; numbers are then no repetition of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sge_la import checkpoints
from sge_la.backends import runtime
from sge_la.data import Dataset, Split
from sge_la.errors import UserError, counted, say
from sge_la.evaluation.intervals import Interval, bootstrap_match
from sge_la.evaluation.matching import MatchResult, match, pool_recordings
from sge_la.evaluation.score_run import checkpoint_stem
from sge_la.evaluation.scores import compiled_recogniser, logits
from sge_la.features import cages
from sge_la.features.files import feature_sources
from sge_la.features.sources import FeatureSource, feature_shape, fill_features
from sge_la.runs import records
from sge_la.runs.banner import banner
from sge_la.runs.plan import Plan

TRAIN = 'train'
RANKS = (1, 5, 10)
SEQUENCES_AT_ONCE = 2048


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


def set_pairs(names: Sequence[str], probe: str | None = None, gallery: str | None = None) -> list[tuple[str, str]]:
    """The (probe, gallery) pairs of sets that are matched.

    Two test sets match each other (`probe` and `gallery` only this way round); a single one matches the training set.

    Raises UserError: a set that is not there was asked for.
    """
    known = (*names, TRAIN)
    for asked in filter(None, (probe, gallery)):
        if asked not in known:
            raise UserError(f'there is no set {asked!r} to match with; this data set has {", ".join(known)}')
    pairs = [('probe', 'gallery')] if {'probe', 'gallery'} <= set(names) else []
    pairs = pairs or [(one, other) for one in names for other in names if one != other]
    pairs = pairs or [(name, TRAIN) for name in names]
    if probe and gallery:
        return [(probe, gallery)]
    chosen = [pair for pair in pairs if probe in (None, pair[0]) and gallery in (None, pair[1])]
    if chosen:
        return chosen
    return [(probe, TRAIN)] if probe else [(name, gallery) for name in names if name != gallery] or [(TRAIN, gallery)]


def sequence_features(
    sources: list[FeatureSource],
    skeletons: np.ndarray,
    rows: np.ndarray,
    manner: str,
    *,
    seed: int = 0,
    network: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """One vector for each sequence of `rows`, in bounded memory: float32 [len(rows), D].

    D is 3U times the number of encoders: the mean of the T frames' CAGEs ('ap'), or T·3U of them, joined ('sc'). With
    the parameters of a recognition network they are its mean logits of the frames ('ap'), or its one answer's, D = C.
    """
    each, width = feature_shape(sources, manner)
    out = np.empty((len(rows), width if network is None else len(network['Variable'])), np.float32)
    size = min(SEQUENCES_AT_ONCE, len(rows))
    block = np.empty((size * each, width), np.float32)
    for start in range(0, len(rows), size):
        start = min(start, len(rows) - size)  # the last block overlaps, so that one compiled shape serves all
        chosen = rows[start : start + size]
        fill_features(block, sources, skeletons, chosen, manner, seed=seed, test=True)
        found = block if network is None else logits(network, block, compiled_recogniser(sources[0].config.precision))
        out[start : start + size] = found.reshape(size, each, -1).mean(axis=1)
    return out


def answers_of(scores: np.ndarray) -> np.ndarray:
    """Square roots of the probabilities of logits [N, C]: vectors of length 1 whose distance is that of Hellinger."""
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.sqrt(likely / likely.sum(axis=1, keepdims=True))


def make_side(
    name: str,
    split: Split,
    sources: list[FeatureSource],
    manner: str,
    *,
    level: str = 'sequence',
    seed: int = 0,
    network: Mapping[str, np.ndarray] | None = None,
) -> Side:
    """Encodes all sequences of a set that belong to an identity; `level` 'recording' takes means of each recording.

    `network`: its answers (`answers_of`) stand in the place of encodings.

    Raises UserError: 'recording', but the recordings are not known.
    """
    rows = cages.all_rows(split.ids)
    if level == 'recording' and split.recordings is None:
        raise UserError(
            f'--level recording needs to know the recording of each sequence, and of the set {name} nobody does (the '
            'released arrays lack it): prepare the data set from its raw recordings, or use --level sequence'
        )
    features = sequence_features(sources, split.skeletons, rows, manner, seed=seed, network=network)
    features = features if network is None else answers_of(features)
    labels, recordings = split.labels[rows], None if split.recordings is None else split.recordings[rows]
    if level == 'recording':
        return Side(name, *pool_recordings(features, labels, recordings), None)
    return Side(name, features, labels, recordings, rows)


@dataclass(frozen=True)
class Matched:
    """A matching, its intervals by metric, what they resample ('recordings' or 'people'), what is left out."""

    result: MatchResult
    intervals: Mapping[str, Interval]
    resampled: str
    excluded: str


def match_sides(probe: Side, gallery: Side, *, metric: str = 'euclidean') -> Matched:
    """Matches probes with a gallery, leaving out what the sensor saw in the same recording.

    Raises UserError: no probe has a right entry in the gallery.
    """
    settings: dict[str, Any] = {}
    excluded = 'same recordings cannot be left out, because recordings are unknown'
    if probe.recordings is not None and gallery.recordings is not None:
        settings |= {'probe_groups': probe.recordings, 'gallery_groups': gallery.recordings}
        shared = len(np.intersect1d(probe.recordings, gallery.recordings))
        excluded = f'entries of the same recording left out (recordings on both sides: {shared})'
    if probe.name == gallery.name:
        if probe.numbers is not None:
            settings |= {'probe_items': probe.numbers, 'gallery_items': gallery.numbers}
        excluded += ', and the probe itself'
    result = match(
        probe.features,
        gallery.features,
        probe.labels,
        gallery.labels,
        metric=metric,
        num_ranks=min(50, len(gallery.labels)),
        show_progress=True,
        **settings,
    )
    known = probe.recordings is not None
    intervals = bootstrap_match(result, probe.recordings if known else probe.labels, ranks=RANKS)
    return Matched(result, intervals, 'recordings' if known else 'people', excluded)


def summary(matched: Matched) -> dict:
    """What results.json keeps of a matching."""
    result = matched.result
    ranks = {f'rank{n}': float(result.rank_n[min(n, len(result.rank_n)) - 1]) for n in RANKS}
    return {
        'mAP': result.mean_ap,
        **ranks,
        'mINP': result.mean_inp,
        'rank_n': result.rank_n.tolist(),
        'probes': len(result.probes),
        'skipped': result.num_skipped,
        'excluded': matched.excluded,
        'intervals': {name: [found.low, found.high] for name, found in matched.intervals.items()},
        'resampled': matched.resampled,
    }


def lines(probe: Side, gallery: Side, matched: Matched) -> Iterator[str]:
    """The printed result: who is matched with whom, who was left out, and the scores with 95 % intervals."""
    result, found = matched.result, matched.intervals
    skipped = f'; {result.num_skipped} without a right entry are not counted' if result.num_skipped else ''
    yield f'### Probe {probe.name}, gallery {gallery.name}'
    yield f'Probe: {probe}{skipped}'
    yield f'Gallery: {gallery}; {matched.excluded}'
    names = {'mAP': 'mAP', **{f'rank{n}': f'Rank-{n}' for n in RANKS}, 'mINP': 'mINP'}
    yield ', '.join(f'{title} {found[name]}' for name, title in names.items())
    yield f'(in brackets: 95 % of resamples of the {found["mAP"].num_groups} {matched.resampled})\n'


def run_gallery(
    plan: Plan, dataset: Dataset, pairs: Sequence[tuple[str, str]], *, metric: str, level: str, answers: bool = False
) -> dict:
    """A whole run of `evaluate.py --protocol gallery`: encodes, matches, prints, and keeps the scores.

    `plan`: of the run; `dataset`: with the sets that are matched; `pairs`: of (probe, gallery), see `set_pairs`;
    `metric`, `level`: as the flags; `answers`: the recognition network's answers match, not the encodings. Returns what
    was printed, by pair of sets.
    """
    head = plan.features == 'contrast'
    what = "the contrast head's vectors" if head and plan.encoding != 'AGE' else f'{plan.encoding}s'
    how = 'one vector a sequence' if head else _MANNERS[plan.manner].format(dataset.length)
    if answers:
        title = f"the recognition network's answers matched (roots of its probabilities), {metric} distance"
    else:
        title = f'{what} matched without a recognition network, {how}, {metric} distance'
    sources = started(plan, f'Gallery protocol: {title}')
    if answers:
        say('Its answers are about the people of the training alone: for others match encodings')
    if any(gallery == TRAIN for _, gallery in pairs):
        say('The training set is the gallery, which the later papers do not do: compare with nothing of theirs')
    sides: dict[tuple, Side] = {}
    found = {}
    for pair in pairs:
        where = network_for(plan, pair[0]) if answers else None
        network = load_network(where, sources, plan.manner) if where else None
        for name in pair:
            if (name, where) not in sides:
                split = dataset.train if name == TRAIN else dataset.tests[name]
                sides[name, where] = make_side(
                    name, split, sources, plan.manner, level=level, seed=plan.seed, network=network
                )
        probe, gallery = (sides[name, where] for name in pair)
        matched = match_sides(probe, gallery, metric=metric)
        say('\n'.join(lines(probe, gallery, matched)))
        found[' → '.join(pair)] = summary(matched)
    keep(plan.network, 'gallery', f'{metric}, {level}{", answers" if answers else ""}', found)
    return found


def network_for(plan: Plan, name: str = '') -> tuple[Path, str]:
    """Folder and stem of the recognition network that answers for a set, IAS may have one for each; '': for all."""
    folder = plan.networks.get(name, plan.network)
    return folder, checkpoint_stem(folder, name)


def load_network(where: tuple[Path, str], sources: list[FeatureSource], manner: str) -> Mapping[str, np.ndarray]:
    """The recognition network at a folder and stem, for the features of these encoders."""
    folder, stem = where
    return checkpoints.load_recognition(folder, feature_shape(sources, manner)[1], slots=False, stem=stem).params


_MANNERS = {'ap': 'mean of {} frames', 'sc': '{} frames joined'}


def started(plan: Plan, title: str) -> list[FeatureSource]:
    """The encoders of a run, after its banner and the title of the protocol."""
    environment = runtime.environment(runtime.start(plan.gpu, plan.seed), plan.precision)
    sources = feature_sources(plan)
    say(banner(plan.heading, environment))
    say(title)
    return sources


def keep(folder: Path, protocol: str, key: str, found: dict) -> None:
    """Adds the scores of a protocol to the results.json of the run, where there is one."""
    results = records.read_results(folder)
    if results is None:
        return
    try:
        records.write_results(folder, {**results, protocol: {**results.get(protocol, {}), key: found}})
    except UserError as error:
        say(f'warning: the scores were not kept: {error}')
