"""Which recordings are trained on and which are kept for testing, for each folder that is to be written."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.errors import UserError

if TYPE_CHECKING:
    from sge_la.data.prepare.settings import Settings


_NUM_KS20_VIEWS, _NUM_CASIA_B_VIEWS = 5, 11
# What holds out recordings whole, and what tests on a share of the sequences of each.
WHOLE, SHARES = ('first', 'middle', 'last', 'random'), ('tail', 'windows')


@dataclass(frozen=True)
class Tree:
    """One folder of arrays that is to be written.

    `train`: indices of the recordings to train on; `tests`: for each test set its recordings; `view`: the number of its
    `view_` folder, or None; `open_set`: whether people are tested on who are not trained on; `windows`: None, or the
    first frames of the sequences of each recording that are tested on, where all others are trained on that share no
    frame with one: a leak.
    """

    train: list[int]
    tests: dict[str, list[int]]
    view: int | None = None
    open_set: bool = False
    windows: Mapping[int, np.ndarray] | None = None


def repeats(recordings: Sequence[Recording]) -> dict[int, int]:
    """Finds recordings whose frames are, bit for bit, those of an earlier one.

    Left in, one copy could be trained on and the other tested on (KGBD's Person064/5 repeats 064/4).

    Returns index of the copy → index of the first of its kind. Recordings without frames are no copies.
    """
    first, copies = {}, {}
    for index, recording in enumerate(recordings):
        if not len(recording.frames):
            continue
        content = np.ascontiguousarray(recording.frames)
        key = (content.shape, hashlib.sha256(content).digest())
        if (original := first.setdefault(key, index)) != index:
            copies[index] = original
    return copies


def hold_out(
    recordings: Sequence[RawRecording],
    rule: str | Iterable[str],
    seed: int = 0,
    count: int = 1,
    others_train: Collection[int] = (),
) -> list[set[int]]:
    """Chooses recordings of each person that are not trained on.

    A person keeps at least one recording for training: one with two recordings gives one, one with a single
    recording none. Recordings of one walk (`RawRecording.walk`) count as one and stay together.

    `recordings`: those to choose from; those of a person in the order that 'last' goes by. `rule`: one of `WHOLE`, or
    the names of the recordings to hold out. `seed`: for 'random'. A person's choice does not depend on who else is
    there. `count`: how many recordings a person gives, if there are enough (ignored for a list of names).
    `others_train`: identities that have further recordings to train on, and may give all of these. Returns `count` sets
    of indices: the first has the first choice of each person, and so on. For 'last' the first choice is the last
    recording, then the one before it; for 'middle' further ones are the nearest, earlier ones first. One set for a list
    of names. Raises UserError: a name is unknown, is of a walk that is not held out whole, or a person has nothing left
    to train on.
    """
    people = defaultdict(dict)
    for index, raw in enumerate(recordings):
        people[raw.identity].setdefault(raw.walk or index, []).append(index)
    walks = {identity: list(own.values()) for identity, own in people.items()}
    if rule not in WHOLE:
        chosen = _by_name(recordings, set(rule))
        for identity, own in walks.items():
            _refuse_parts(recordings, own, chosen)
            if identity not in others_train and all(map(chosen.issuperset, own)):
                raise UserError(
                    f'all recordings of {recordings[own[0][0]].person} are to be held out and none is left to train '
                    'on; take one of them off the list'
                )
        return [chosen]
    choices = [set() for _ in range(count)]
    for identity, own in walks.items():
        most = len(own) - (identity not in others_train)
        for choice, at in zip(choices, _order(len(own), rule, [seed, identity])[:most], strict=False):
            choice.update(own[at])
    return choices


def _order(count: int, rule: str, seed: list[int]) -> Sequence[int]:
    """The order in which a person's `count` walks are held out."""
    if rule == 'random':
        return np.random.default_rng(seed).permutation(count).tolist()
    if rule == 'middle':
        return sorted(range(count), key=lambda at: (abs(at - count // 2), at))
    return range(count)[:: -1 if rule == 'last' else 1]


def _refuse_parts(recordings: Sequence[RawRecording], walks: Iterable[list[int]], chosen: set[int]) -> None:
    for walk in walks:
        held = chosen.intersection(walk)
        if held and len(held) < len(walk):
            one, other = recordings[min(held)].name, recordings[min(set(walk) - held)].name
            raise UserError(
                f"'{one}' is to be held out and '{other}', which saw the same walk, is not; views of one walk stay "
                'together: put both on the list or none'
            )


def share_of(rule: str | Iterable[str] | None) -> tuple[str, float] | None:
    """Which of `SHARES` a rule is, and the share of each recording that it tests on; None for any other rule."""
    kind, _, share = rule.partition(':') if isinstance(rule, str) else ('', '', '')
    return (kind, float(share)) if kind in SHARES else None


def within_recordings(recordings: Sequence[RawRecording], firsts: Sequence[np.ndarray], settings: Settings) -> Tree:
    """Tests on a share of the sequences of each recording: the last ones, or some at random. This leaks.

    `firsts`: for each recording the first frames of its sequences when it is cut whole. A recording with one sequence
    is trained on.
    """
    if settings.layout == 3 or any(raw.part in ('train', 'test') for raw in recordings):
        where = 'a probe and a gallery' if settings.layout == 3 else 'a split in recordings.csv'
        raise UserError(
            f'--holdout {settings.holdout} tests on a part of every recording, and here is {where}; use --layout 2, '
            'and no split in the table'
        )
    kind, share = share_of(settings.holdout)
    draw = np.random.default_rng(settings.seed)
    windows = {}
    for index, own in enumerate(firsts):
        count = min(max(1, round(share * len(own))), len(own) - 1)
        if count > 0:
            order = np.arange(len(own)) if kind == 'tail' else draw.permutation(len(own))
            windows[index] = np.sort(own[order[-count:]])
    test = 'probe' if settings.name in ('KGBD', 'KS20') else 'test'
    return Tree(list(range(len(recordings))), {test: list(windows)}, windows=windows)


def _by_name(recordings: Sequence[RawRecording], names: set[str]) -> set[int]:
    known = {raw.name: index for index, raw in enumerate(recordings)}
    unknown = sorted(names - set(known))
    if unknown:
        example = f" ('{recordings[0].name}' is one, say)" if recordings else ''
        raise UserError(
            f"the recording '{unknown[0]}' is to be held out, but there is none of that name among those that can be "
            f'chosen{example}; correct the list'
        )
    return {known[name] for name in names}


def one_per_person(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Holds out one recording a person; in layout 3 that is the probe, and up to two more are the gallery."""
    rule = settings.holdout
    if settings.layout < 3:
        (held,) = hold_out(recordings, rule, settings.seed)
        return [Tree(_others(recordings, held), {'probe' if settings.name == 'KGBD' else 'test': sorted(held)})]
    probe, *gallery = hold_out(recordings, _no_list(rule), settings.seed, count=3)
    gallery = set().union(*gallery)
    return [Tree(_others(recordings, probe | gallery), {'probe': sorted(probe), 'gallery': sorted(gallery)})]


def biwi(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Trains on Training and tests on Walking; layout 3 has Still besides."""
    tests = ('Walking',) if settings.layout < 3 else ('Walking', 'Still')
    return [Tree(_of_part(recordings, 'Training'), {name: _of_part(recordings, name) for name in tests})]


def ias(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Trains on Training and tests on TestingA and TestingB."""
    tests = {'A': _of_part(recordings, 'TestingA'), 'B': _of_part(recordings, 'TestingB')}
    return [Tree(_of_part(recordings, 'Training'), tests)]


def ks20(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Holds out one take of each person, the same in all views; in layout 3 another take is the gallery.

    Layout 2 has a folder for each view besides, where that view is tested on and all others are trained on.
    """
    rule = settings.holdout
    if settings.layout == 3:
        probe, gallery = _takes(recordings, _no_list(rule), settings.seed, count=2)
        return [Tree(_others(recordings, probe | gallery), {'probe': sorted(probe), 'gallery': sorted(gallery)})]
    if isinstance(rule, str):
        (held,) = _takes(recordings, rule, settings.seed, count=1)
    else:
        (held,) = hold_out(recordings, rule)
    trees = [Tree(_others(recordings, held), {'probe': sorted(held)})]
    return trees + (_by_view(recordings, settings, _NUM_KS20_VIEWS, 'probe') if settings.layout == 2 else [])


def casia_b_views(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Cross-view evaluation: each view is tested on once, all others are trained on; everyone is in both."""
    return _by_view(recordings, settings, _NUM_CASIA_B_VIEWS, 'test')


def casia_b_conditions(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Condition-based matching: the first half of the people is trained on, the other half is gallery and probe.

    With all 124 people those are the first 62; that the original does so is inferred, not published.
    """
    people = sorted({raw.identity for raw in recordings})
    trained = set(people[: len(people) // 2])
    held = [index for index, raw in enumerate(recordings) if raw.identity not in trained]
    tests = {'all': held}
    for condition in ('nm', 'bg', 'cl'):
        tests[condition] = [index for index in held if recordings[index].part == condition]
    return [Tree(_others(recordings, held), tests, open_set=True)]


def own(recordings: Sequence[RawRecording], settings: Settings) -> list[Tree]:
    """Follows the table's `split`, and holds out one recording of each person whom it gives no test recording."""
    rule = settings.holdout
    if settings.layout == 3:
        if any(raw.part for raw in recordings):
            raise UserError(
                'layout 3 has a probe and a gallery, and the split of recordings.csv knows train and test alone; '
                'leave the split empty or use --layout 2'
            )
        return one_per_person(recordings, settings)
    test = _of_part(recordings, 'test')
    tested = {recordings[index].identity for index in test}
    trained = {raw.identity for raw in recordings if raw.part == 'train'}
    free = [index for index, raw in enumerate(recordings) if not raw.part and raw.identity not in tested]
    (held,) = hold_out([recordings[index] for index in free], rule, settings.seed, others_train=trained)
    test = sorted([*test, *(free[at] for at in held)])
    return [Tree(_others(recordings, test), {'test': test})]


def _no_list(rule: str | Iterable[str]) -> str:
    if not isinstance(rule, str):
        raise UserError(
            'layout 3 has a probe and a gallery, which a list cannot tell apart; use --holdout last or random, '
            'or --split'
        )
    return rule


def _takes(recordings: Sequence[RawRecording], rule: str, seed: int, count: int) -> list[set[int]]:
    """As `hold_out`, but for takes: the recordings of one person and part in all views."""
    takes = {}
    for index, raw in enumerate(recordings):
        takes.setdefault((raw.identity, raw.part), []).append(index)
    order = sorted(takes)
    chosen = hold_out([replace(recordings[takes[key][0]], view=None) for key in order], rule, seed, count)
    return [{index for at in choice for index in takes[order[at]]} for choice in chosen]


def _by_view(recordings: Sequence[RawRecording], settings: Settings, num_views: int, test: str) -> list[Tree]:
    trees = []
    for view in range(num_views) if settings.views is None else settings.views:
        if view >= num_views:
            raise UserError(
                f'--view: {settings.name} has the views 0 to {num_views - 1}, found {view}; choose one of them'
            )
        held = [index for index, raw in enumerate(recordings) if raw.view == view]
        trees.append(Tree(_others(recordings, held), {test: held}, view))
    return trees


def _of_part(recordings: Sequence[RawRecording], part: str) -> list[int]:
    return [index for index, raw in enumerate(recordings) if raw.part == part]


def _others(recordings: Sequence[RawRecording], held: Iterable[int]) -> list[int]:
    held = set(held)
    return [index for index in range(len(recordings)) if index not in held]
