"""Which recordings are trained on and which are kept for testing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.errors import UserError


def repeats(recordings: Sequence[Recording]) -> dict[int, int]:
    """Finds recordings whose frames are, bit for bit, those of an earlier one.

    Left in, one copy could be trained on and the other tested on (KGBD's Person064/5 repeats 064/4).

    Returns:
        Index of the copy → index of the first of its kind. Recordings without frames are no copies.
    """
    first, copies = {}, {}
    for index, recording in enumerate(recordings):
        if not len(recording.frames):
            continue
        content = np.ascontiguousarray(recording.frames)
        key = (content.shape, hashlib.sha256(content).digest())
        if key in first:
            copies[index] = first[key]
        else:
            first[key] = index
    return copies


def hold_out(
    recordings: Sequence[RawRecording], rule: str | Iterable[str], seed: int = 0, count: int = 1
) -> list[set[int]]:
    """Chooses recordings of each person that are not trained on.

    A person keeps at least one recording for training: one with two recordings gives one, one with a single
    recording none.

    Args:
        recordings: those to choose from; those of a person in the order that 'last' goes by.
        rule: 'last', 'random', or the names of the recordings to hold out.
        seed: for 'random'. A person's choice does not depend on who else is there.
        count: how many recordings a person gives, if there are enough (ignored for a list of names).

    Returns:
        `count` sets of indices: the first has the first choice of each person, and so on. For 'last' the first
        choice is the last recording.

    Raises:
        UserError: a name is unknown, or a person has nothing left to train on.
    """
    people = defaultdict(list)
    for index, raw in enumerate(recordings):
        people[raw.identity].append(index)
    if rule not in ('last', 'random'):
        return [_by_name(recordings, set(rule), people)]
    chosen = [set() for _ in range(count)]
    for identity, own in people.items():
        if rule == 'last':
            order = own[::-1]
        else:
            order = [own[at] for at in np.random.default_rng([seed, identity]).permutation(len(own))]
        for choice, index in zip(chosen, order[: len(own) - 1], strict=False):
            choice.add(index)
    return chosen


def _by_name(recordings: Sequence[RawRecording], names: set[str], people: dict[int, list[int]]) -> set[int]:
    known = {raw.name: index for index, raw in enumerate(recordings)}
    unknown = sorted(names - set(known))
    if unknown:
        raise UserError(
            f"the recording '{unknown[0]}' is to be held out, but there is none of that name among those that can be "
            f"used ('{recordings[0].name}' is one, say); correct the list"
        )
    chosen = {known[name] for name in names}
    for own in people.values():
        if chosen.issuperset(own):
            raise UserError(
                f'all recordings of {recordings[own[0]].person} are to be held out and none is left to train on; '
                'take one of them off the list'
            )
    return chosen
