"""The whole of `evaluate.py --protocol openset`: some people are enrolled, the others come as strangers.

A sequence is the mean of its CAGEs over its frames, of unit length, as in a gallery of `sge_la.enrol`; a probe is as
far from a person as from that person's nearest sequence, and a recording as its sequences are on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sge_la.data import Dataset
from sge_la.data.dataset import spread
from sge_la.data.quality.lost import some
from sge_la.data.unknown import without_people
from sge_la.errors import UserError, counted, say
from sge_la.evaluation.enrolled import RECORDING, SEQUENCE, Enrolled, leave_one_out, unit_length
from sge_la.evaluation.gallery import TRAIN, keep, started
from sge_la.evaluation.intervals import Interval, summarise_runs
from sge_la.evaluation.matching import pool_recordings
from sge_la.evaluation.openset import FARS, OpenSet, threshold_at
from sge_la.evaluation.openset_network import SCORES, NetworkAnswers, keep_thresholds, network_answers
from sge_la.evaluation.sides import Side, make_side
from sge_la.runs.plan import Plan

_TITLES = {**{f'dir_at_{far:g}': f'DIR at FAR {100 * far:g} %' for far in FARS}, 'eer': 'EER', 'auroc': 'AUROC'}
# Points of the DET curve that results.json keeps.
_POINTS = 200


@dataclass(frozen=True)
class Found:
    """One level, 'sequence' or 'recording', of one split of people.

    `answers`: of the probes; `intervals`: of the measures; `own`: the threshold that the gallery alone gives for a
    false accept rate, and DIR and FAR of the probes at it; None where its recordings are not known.
    """

    answers: OpenSet
    intervals: Mapping[str, Interval]
    own: tuple[float, float, float] | None


def run_openset(
    plan: Plan,
    dataset: Dataset,
    pairs: Sequence[tuple[str, str]],
    splits: Sequence[Sequence[int]],
    *,
    far: float,
    seen: str,
    network: bool,
) -> dict:
    """Encodes once, splits the people as often as asked, prints, and keeps the scores.

    `plan`: of the run; `dataset`: all people; `pairs`: of (probe, gallery), see `set_pairs`; `splits`: the labels of
    the unknown people of each; `far`: the false accept rate that galleries choose a threshold for; `seen`: what the
    encoders know of the unknown people; `network`: whether the recognition network was trained without them, so that
    its own answers are scored too. Returns what was printed, by pair of sets.
    """
    sources = started(plan, f'Open-set protocol: means of {plan.encoding}s of unit length, Euclidean distance')
    say(seen)
    asked = keep_thresholds(plan, without_people(dataset, splits[0]), sources, far) if network else {}
    sides: dict[str, Side] = {}
    kept = {}
    for probe, gallery in pairs:
        for name in {probe, gallery} - set(sides):
            split = dataset.train if name == TRAIN else dataset.tests[name]
            side = make_side(name, split, sources, 'ap', seed=plan.seed)
            sides[name] = replace(side, features=unit_length(side.features))
        runs = []
        for number, unknown in enumerate(splits, 1):
            found = answered(sides[probe], sides[gallery], unknown, far)
            title = f', split {number} of {len(splits)}' if len(splits) > 1 else ''
            say('\n'.join(_lines(sides[probe], sides[gallery], unknown, found, far, title)))
            runs.append({level: _summary(one, far) for level, one in found.items()} | {'unknown': list(unknown)})
            if network:
                people = np.setdiff1d(dataset.identities, unknown)
                answers = network_answers(plan, dataset, sides[probe], sources, people)
                runs[-1]['network'] = _of_network(answers, asked, far)
        if len(splits) > 1:
            say('\n'.join(_over_splits(runs)))
        kept[f'{probe} → {gallery}'] = runs
    keep(plan.network, 'openset', f'{len(splits[0])} unknown', kept)
    return kept


def _of_network(found: Mapping[str, NetworkAnswers], asked: Mapping[str, NetworkAnswers], far: float) -> dict[str, Any]:
    """Prints what the network's own scores tell of strangers, and gives what results.json keeps of it.

    `asked`: of what the network was not trained on in the training set.
    """
    kept: dict[str, Any] = {}
    for level, answers in found.items():
        for name, score in answers.scores.items():
            own = crossed(answers, asked[level], far) if name == SCORES[0] and level in asked else None
            one = Found(score, score.intervals(answers.groups), own)
            say(f'Recognition network, by {level}, {name}:\n  {_listed(one.intervals)}')
            if own:
                say(
                    f'  At {own[0]:.4f}, which other unknown people in the training set give for FAR {100 * far:g} %: '
                    f'DIR {own[1]:.4f}, FAR {own[2]:.4f}'
                )
            kept.setdefault(level, {})[name] = _summary(one, far)
    say()
    return kept


def crossed(answers: NetworkAnswers, asked: NetworkAnswers, far: float) -> tuple[float, float, float] | None:
    """Threshold on the maximum logit, and DIR and FAR at it, where no stranger of the test has helped to choose it.

    Of two halves of the strangers, each is tested at the threshold that the other gives; all three are means over both.
    None where one of the halves is empty.
    """
    tested, known = answers.scores[SCORES[0]], asked.scores[SCORES[0]].known
    strangers = np.unique(asked.labels[~known])
    results = []
    for half in (0, 1):
        choosing = np.isin(asked.labels, strangers[half::2]) & ~known
        others = np.isin(answers.labels, strangers[1 - half :: 2])
        if not choosing.any() or not others.any():
            return None
        threshold = -threshold_at(asked.scores[SCORES[0]].distances[choosing], far)
        chosen = tested.known | others
        part = OpenSet(tested.distances[chosen], tested.right[chosen], tested.known[chosen])
        results.append((threshold, *part.at(-threshold)))
    threshold, recognised, accepted = np.mean(results, axis=0).tolist()
    return threshold, recognised, accepted


def answered(probe: Side, gallery: Side, unknown: Sequence[int], far: float) -> dict[str, Found]:
    """Answers for one split of people, by 'sequence' and, where recordings are known on both sides, by 'recording'."""
    known = np.setdiff1d(np.unique(gallery.labels), unknown)
    rows = np.isin(gallery.labels, known)
    people = np.searchsorted(known, gallery.labels[rows])
    both = probe.recordings is not None and gallery.recordings is not None
    # Nobody knows the recordings: all of a person's count as one.
    recordings = gallery.recordings[rows] if both else people
    if len(known) < 2:
        raise UserError(
            f'at least two known people were expected in the gallery {gallery.name}, found {len(known)}: use a smaller '
            '--unknown, or another set'
        )
    enrolled, numbers = Enrolled.of(gallery.features[rows], people, recordings)
    own = np.where(np.isin(probe.labels, known), np.searchsorted(known, probe.labels), -1)
    left_out = _own_recordings(probe, own, enrolled, numbers) if both else None
    distances = enrolled.distances(probe.features, left_out)
    groups = probe.recordings if both else probe.labels
    if not both:
        return {SEQUENCE: _found(distances, own, groups, None)}
    levels = {SEQUENCE: (distances, own, groups), RECORDING: pool_recordings(distances, own, groups)}
    asked = leave_one_out(enrolled)
    thresholds = {level: threshold_at(asked[level].distances[~asked[level].known], far) for level in levels}
    return {level: _found(d, people, units, thresholds[level]) for level, (d, people, units) in levels.items()}


def _own_recordings(probe: Side, own: np.ndarray, enrolled: Enrolled, numbers: np.ndarray) -> np.ndarray:
    """The gallery's recording that each probe is from itself, or −1, int64 [n]."""
    place = {pair: k for k, pair in enumerate(zip(numbers.tolist(), enrolled.people.tolist(), strict=True))}
    return np.array([place.get(pair, -1) for pair in zip(probe.recordings.tolist(), own.tolist(), strict=True)])


def _found(distances: np.ndarray, own: np.ndarray, groups: np.ndarray, threshold: float | None) -> Found:
    # Known people all of whose recordings are the probe's own have nobody to be recognised by.
    rows = np.arange(len(own))
    told = (own < 0) | np.isfinite(distances[rows, own])
    answers = OpenSet.of(distances[told], own[told])
    if answers.known.all() or not answers.known.any():
        raise UserError(
            f'probes of known and of unknown people were expected, found {answers.known.sum()} and '
            f'{(~answers.known).sum()}: use another --probe or --unknown'
        )
    at = None if threshold is None else (threshold, *answers.at(threshold))
    return Found(answers, answers.intervals(groups[told]), at)


def _lines(
    probe: Side, gallery: Side, unknown: Sequence[int], found: Mapping[str, Found], far: float, title: str
) -> Iterator[str]:
    people = np.union1d(probe.labels, gallery.labels)
    strangers = np.isin(people, unknown) | ~np.isin(people, gallery.labels)
    yield f'### Probe {probe.name}, gallery {gallery.name}{title}'
    yield f'People: {(~strangers).sum()} enrolled, {strangers.sum()} unknown ({some(people[strangers].tolist())})'
    for level, one in found.items():
        counts = one.answers.known.sum(), (~one.answers.known).sum()
        yield f'By {level}: {counts[0]} of enrolled people, {counts[1]} of unknown people'
        yield f'  {_listed(one.intervals)}'
        if counts[1] * min(FARS) < 1:
            least = f'a FAR below {1 / counts[1]:.2g} cannot be told from 0'
            yield f'  ({counted(counts[1], level)} of unknown people: {least})'
        if one.own:
            threshold, recognised, accepted = one.own
            yield (
                f'  At {threshold:.4f}, which the gallery itself gives for FAR {100 * far:g} %: DIR {recognised:.4f}, '
                f'FAR {accepted:.4f}'
            )
    if RECORDING not in found:
        yield 'Recordings are not known, so that neither are they scored, nor does the gallery give a threshold'
    groups = next(iter(found.values())).intervals['eer'].num_groups
    units = 'recordings' if RECORDING in found else 'people'
    if groups > 1:
        yield f'(in brackets: 95 % of resamples of {groups} {units})\n'
    else:
        yield f'(no intervals: at least two {units} both of enrolled and of unknown people are needed to resample)\n'


def _summary(found: Found, far: float) -> dict[str, Any]:
    det = found.answers.det()
    places = spread(len(det.far), _POINTS)
    own = found.own and {'for_far': far, **dict(zip(('threshold', 'dir', 'far'), found.own, strict=True))}
    return {
        **{name: one.value for name, one in found.intervals.items()},
        'intervals': {name: [one.low, one.high] for name, one in found.intervals.items()},
        'known': int(found.answers.known.sum()),
        'strangers': int((~found.answers.known).sum()),
        'det': {'far': det.far[places].tolist(), 'fnir': det.fnir[places].tolist()},
        'own_threshold': own,
    }


def _over_splits(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Mean and standard deviation over the splits of people."""
    for level in (SEQUENCE, RECORDING):
        if level in runs[0]:
            found = summarise_runs([{name: run[level][name] for name in _TITLES} for run in runs])
            yield f'By {level}, over {len(runs)} splits of people: {_listed(found)}'


def _listed(found: Mapping[str, object]) -> str:
    return '; '.join(f'{title}: {found[name]}' for name, title in _TITLES.items())
