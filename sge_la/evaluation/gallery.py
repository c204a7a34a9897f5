"""Gallery and probe: who walks is told by the nearest encodings of a gallery, without a recognition network.

The network's answers can be matched in their place or beside them (`--match`), where the people are those of the
training, gallery entries be moved towards the mean of their recording (`--smooth`), and the gallery be ranked by the
neighbours that probe and entry share (`--rerank`).

The protocol of the later papers on the same data sets (SPC-MGR and after): mAP, Rank-1, Rank-5, Rank-10. Their pairs:
BIWI Walking → Still and back, IAS A → B and back, KGBD and KS20 probe → gallery. Where a data set has no gallery of its
own (layouts 1 and 2 but for IAS), the training set is the gallery; numbers are then no repetition of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.backends import runtime
from sge_la.data import Dataset
from sge_la.errors import UserError, say
from sge_la.evaluation.intervals import Interval, bootstrap_match
from sge_la.evaluation.matching import MatchResult, match
from sge_la.evaluation.score_run import keep_results
from sge_la.evaluation.sides import Side, load_network, make_side, network_for, smoothed_side
from sge_la.features.files import feature_sources
from sge_la.features.sources import FeatureSource
from sge_la.runs import records
from sge_la.runs.banner import banner
from sge_la.runs.plan import Plan

TRAIN = 'train'
RANKS = (1, 5, 10)
ENCODINGS, ANSWERS, BOTH = 'encodings', 'answers', 'both'


@dataclass(frozen=True)
class How:
    """How sequences are matched: the flags of evaluate.py that are called so."""

    metric: str
    level: str
    match: str
    beside: float
    smooth: float
    rerank: int | None

    def __str__(self) -> str:
        match = {ENCODINGS: '', ANSWERS: ', answers', BOTH: f', both {self.beside:g}'}[self.match]
        smooth = f', smoothed by {self.smooth:g}' if self.smooth else ''
        return f'{self.metric}, {self.level}{match}{smooth}' + (f', reranked by {self.rerank}' if self.rerank else '')


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


@dataclass(frozen=True)
class Matched:
    """A matching, its intervals by metric, what they resample ('recordings' or 'people'), what is left out."""

    result: MatchResult
    intervals: Mapping[str, Interval]
    resampled: str
    excluded: str


def match_sides(
    probe: Side, gallery: Side, *, metric: str = 'euclidean', rerank: int | None = None, smooth: float = 0.0
) -> Matched:
    """Matches probes with a gallery, leaving out what the sensor saw in the same recording.

    `rerank`: by so many k-reciprocal neighbours; `smooth`: see `smoothed_side`. Raises UserError: no probe has a right
    entry in the gallery, or its recordings are unknown and `smooth` needs them.
    """
    settings: dict[str, Any] = {}
    gallery = smoothed_side(gallery, smooth)
    if rerank:
        from sge_la.evaluation.reranking import reranked_blocks  # SciPy, which nothing else here needs

        settings['blocks'] = partial(reranked_blocks, neighbours=rerank)
    excluded = 'entries of the same recording cannot be left out, because recordings are unknown'
    if probe.recordings is not None and gallery.recordings is not None:
        settings |= {'probe_groups': probe.recordings, 'gallery_groups': gallery.recordings}
        shared = len(np.intersect1d(probe.recordings, gallery.recordings))
        excluded = f'entries of the same recording left out (recordings on both sides: {shared})'
    if probe.name == gallery.name:
        if probe.numbers is not None:
            settings |= {'probe_items': probe.numbers, 'gallery_items': gallery.numbers}
        excluded += '; the probe itself is left out too'
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


def run_gallery(plan: Plan, dataset: Dataset, pairs: Sequence[tuple[str, str]], how: How) -> dict:
    """A whole run of `evaluate.py --protocol gallery`: encodes, matches, prints, and keeps the scores.

    `plan`: of the run; `dataset`: with the sets that are matched; `pairs`: of (probe, gallery), see `set_pairs`.
    Returns what was printed, by pair of sets. Raises UserError: as `match_sides`; or a set would be re-ranked against
    itself.
    """
    twice = next((probe for probe, gallery in pairs if probe == gallery), None)
    if how.rerank and twice:
        raise UserError(
            f'--rerank needs two different sets, since probes are neighbours too, but both are {twice!r}: choose '
            'another --gallery, or leave out --rerank'
        )
    sources = started(plan, f'Gallery protocol: {_title(plan, dataset.length, how)}')
    if how.match != ENCODINGS:
        say('Its answers are about the people of the training alone: for others match encodings')
    if any(gallery == TRAIN for _, gallery in pairs):
        say('The training set is the gallery, which the later papers do not do: compare with nothing of theirs')
    sides: dict[tuple, Side] = {}
    found = {}
    for pair in pairs:
        where = None if how.match == ENCODINGS else network_for(plan, pair[0])
        network = load_network(where, sources, plan.manner) if where else None
        settings: dict[str, Any] = {
            'level': how.level,
            'seed': plan.seed,
            'network': network,
            'beside': how.beside if how.match == BOTH else 0.0,
        }
        for name in pair:
            if (name, where) not in sides:
                split = dataset.train if name == TRAIN else dataset.tests[name]
                sides[name, where] = make_side(name, split, sources, plan.manner, **settings)
        probe, gallery = (sides[name, where] for name in pair)
        matched = match_sides(probe, gallery, metric=how.metric, rerank=how.rerank, smooth=how.smooth)
        say('\n'.join(lines(probe, gallery, matched)))
        found[' → '.join(pair)] = summary(matched)
    keep(plan.network, 'gallery', str(how), found)
    return found


def _title(plan: Plan, length: int, how: How) -> str:
    """What is matched, and how, for the reader."""
    head = plan.features == 'contrast'
    what = "the contrast head's vectors" if head and plan.encoding != 'AGE' else f'{plan.encoding}s'
    vectors = 'one vector a sequence' if head else _MANNERS[plan.manner].format(length)
    title = {
        ENCODINGS: f'{what} matched without a recognition network, {vectors}',
        ANSWERS: "the recognition network's answers matched (roots of its probabilities)",
        BOTH: "the recognition network's answers matched (roots of its probabilities), "
        f'and {what} beside them, weighing {how.beside:g}',
    }[how.match]
    moved = f', gallery entries moved by {how.smooth:g} towards the mean of their recording' if how.smooth else ''
    anew = f', ranked anew by {how.rerank} k-reciprocal neighbours among probes and gallery' if how.rerank else ''
    return f'{title}, {how.metric} distance{moved}{anew}'


_MANNERS = {'ap': 'mean of {} frames', 'sc': '{} frames joined'}


def started(plan: Plan, title: str) -> list[FeatureSource]:
    """The encoders of a run, after its banner and the title of the protocol."""
    environment = runtime.environment(runtime.start(plan.gpu, plan.seed), plan.precision)
    sources = feature_sources(plan)
    say(banner(plan.heading, environment))
    say(title)
    return sources


def keep(folder: Path, protocol: str, key: str, found: dict) -> None:
    """Adds the scores of a protocol, by pair of sets, to the results.json of the run, where there is one."""
    results = records.read_results(folder)
    if results is not None:
        there = results.get(protocol, {})
        if not isinstance(there, dict) or not isinstance(there.get(key, {}), dict):
            where = folder / records.RESULTS
            raise UserError(f'{where}: {protocol} should hold scores by pair of sets, and does not; delete the file')
        keep_results(folder, {**results, protocol: {**there, key: {**there.get(key, {}), **found}}})
