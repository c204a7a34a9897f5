"""The steps of `prepare`, from raw recordings to arrays on the disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sge_la.data.layout import check_dataset_name
from sge_la.data.prepare.inspection import inspect, refuse_two_names
from sge_la.data.prepare.recipes import Recipe, recipe_for, targets_of
from sge_la.data.prepare.settings import Settings
from sge_la.data.prepare.split_file import SplitFile
from sge_la.data.prepare.splits import repeats
from sge_la.data.prepare.work import Work, left_out_lines, shortened
from sge_la.data.raw.reading import read_all, refuse_links_out
from sge_la.data.raw.recording import Recording, notes_of
from sge_la.data.raw.text import alike_people
from sge_la.errors import UserError
from sge_la.files.atomic import os_errors


def prepare(
    settings: Settings,
    lengths: Sequence[int] | None,
    data_dir: Path | str,
    *,
    overwrite: bool = False,
    kept: SplitFile | None = None,
) -> Iterator[str]:
    """Prepares a data set.

    `settings`: what the user has chosen. `lengths`: T, one or several; None: the data set's default. `data_dir`: the
    folder `Datasets/`. `overwrite`: whether arrays that something else has written are replaced. Those of an earlier
    `prepare` are replaced anyway, since they can be made again. `kept`: a split that was made earlier, in place of the
    choice by `settings.holdout`. Yields lines of the summary, each when its work is done. Raises UserError: the raw
    data are bad, no sequence comes out, or something cannot be written.
    """
    check_dataset_name(settings.name)
    if settings.layout == 1 and len(set(lengths or ())) > 1:
        raise UserError('layout 1 has room for one length, and each would replace the one before; use --layout 2')
    recipe, settings = recipe_for(settings)
    targets = targets_of(recipe, settings, kept)
    since = time.perf_counter()
    with os_errors(settings.raw or settings.name, 'read'):
        raw = recipe.find(settings)
    if settings.raw is not None:
        refuse_links_out(raw.recordings, settings.raw)
    if settings.center is not None:
        raw.skeleton.index(settings.center)
    recordings = [
        _clipped(recording, recipe, settings)
        for recording in read_all(raw.read, raw.recordings, 1 if raw.quick else None)
    ]
    yield _how_many(recordings, settings, time.perf_counter() - since)
    firsts = [recipe.clip_of(recording.raw, settings)[0] for recording in recordings]
    found = inspect(recordings, firsts, raw, settings)
    recordings = found.recordings
    notes = [*raw.notes, *notes_of(recordings)]
    notes += alike_people(item.raw.person for item in recordings)
    yield from shortened('note: ', notes)
    yield from found.summary()
    found.refuse_what_cannot_be_meant(settings.accept)
    repeated = repeats(recordings)
    refuse_two_names(recordings, repeated, settings)
    copies = {index: f'repeats {recordings[first].raw.name}' for index, first in repeated.items()}
    if settings.keep_copies:
        # Of another person, which --accept takes, a copy is left out all the same.
        same = [at for at, first in repeated.items() if recordings[at].raw.identity == recordings[first].raw.identity]
        stay = [f'{recordings[index].raw.name} {copies.pop(index)} and is kept' for index in same]
        yield from shortened('note: ', stay)
        notes += stay
    yield from left_out_lines(recordings, copies)
    notes += [finding.text for finding in found.findings]
    for target in targets:
        for length in dict.fromkeys(lengths or [target.length]):
            work = Work(settings, recipe, target, raw, recordings, copies, found, tuple(notes), length, kept)
            yield from work.write(Path(data_dir), overwrite)


def _how_many(recordings: list[Recording], settings: Settings, seconds: float) -> str:
    people = len({recording.raw.identity for recording in recordings})
    frames = sum(len(recording.frames) for recording in recordings)
    return (
        f'{settings.name}: {people} people, {len(recordings)} recordings, {frames} frames after clipping '
        f'({seconds:.1f} s)'
    )


def _clipped(recording: Recording, recipe: Recipe, settings: Settings) -> Recording:
    first, last = recipe.clip_of(recording.raw, settings)
    behind = max(first, len(recording.frames) - last)
    numbers = None if recording.numbers is None else recording.numbers[first:behind]
    return replace(recording, frames=recording.frames[first:behind], numbers=numbers)
