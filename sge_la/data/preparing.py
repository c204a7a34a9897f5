"""The steps of `prepare`, from raw recordings to arrays on the disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.raw.reading import read_all
from sge_la.data.raw.recording import RawData, Recording
from sge_la.data.recipes import RECIPES, Recipe, Settings, Tree
from sge_la.data.sequences import Cutting, cut, runs, starts
from sge_la.data.splits import repeats
from sge_la.data.write import NewSplit, write_dataset
from sge_la.errors import UserError
from sge_la.files import read_json
from sge_la.layout import dataset_files

# What `prepare.json` says of its form; a reader can refuse a newer one.
FORMAT = 1


def prepare(
    settings: Settings, lengths: Sequence[int] | None, data_dir: Path | str, *, overwrite: bool = False
) -> Iterator[str]:
    """Prepares a data set.

    Args:
        settings: what the user has chosen.
        lengths: T, one or several; None: the data set's default.
        data_dir: the folder `Datasets/`.
        overwrite: whether arrays that something else has written are replaced. Those of an earlier `prepare` are
            replaced anyway, since they can be made again.

    Yields:
        Lines of the summary, each when its work is done.

    Raises:
        UserError: the raw data are bad, no sequence comes out, or something cannot be written.
    """
    recipe = RECIPES[settings.name]
    raw = recipe.find(settings)
    if settings.center is not None:
        raw.skeleton.index(settings.center)
    since = time.perf_counter()
    recordings = [_clipped(recording, recipe, settings) for recording in read_all(raw.read, raw.recordings)]
    people = len({recording.raw.identity for recording in recordings})
    frames = sum(len(recording.frames) for recording in recordings)
    yield (
        f'{settings.name}: {people} people, {len(recordings)} recordings, {frames} frames after clipping '
        f'({time.perf_counter() - since:.1f} s)'
    )
    notes = [*raw.notes, *(note for recording in recordings for note in recording.notes)]
    yield from _shortened(notes)
    copies = {index: f'repeats {recordings[first].raw.name}' for index, first in repeats(recordings).items()}
    for length in dict.fromkeys(lengths or recipe.lengths):
        short = {
            index: f'has no {length} frames in a row'
            for index, recording in enumerate(recordings)
            if index not in copies and not _num_sequences(recording, length)
        }
        left_out = {**copies, **short}
        yield from _shortened([f'left out: {recordings[index].raw.name} {why}' for index, why in left_out.items()])
        used = [index for index in range(len(recordings)) if index not in left_out]
        if not used:
            raise UserError(
                f'no recording of {settings.name} has {length} frames in a row after clipping; '
                'give a smaller --length or --clip'
            )
        for tree in recipe.split([recordings[index].raw for index in used], settings):
            tree = Tree(_at(used, tree.train), {name: _at(used, test) for name, test in tree.tests.items()}, tree.view)
            yield from _write(settings, recipe, raw, recordings, left_out, tree, length, Path(data_dir), overwrite)


def _write(
    settings: Settings,
    recipe: Recipe,
    raw: RawData,
    recordings: list[Recording],
    left_out: dict[int, str],
    tree: Tree,
    length: int,
    data_dir: Path,
    overwrite: bool,
) -> Iterator[str]:
    """Cuts and writes one folder."""
    training = recipe.training_cut(length, settings)
    cuts = {'train': training} | {name: Cutting.whole(length) for name in tree.tests}
    parts = {'train': tree.train} | tree.tests
    centre = None if settings.center is None else raw.skeleton.index(settings.center)
    splits = {name: _new_split(recordings, part, cuts[name], centre) for name, part in parts.items()}
    for name, split in splits.items():
        if not len(split.skeletons):
            raise UserError(
                f'the {_part_name(name)} of {settings.name} would have no sequence of {length} frames; '
                'two recordings of a person are needed at least, or another --holdout'
            )
        strangers = sorted(set(split.ids) - set(splits['train'].ids))
        if strangers:
            person = next(item.raw.person for item in recordings if item.raw.identity == strangers[0])
            raise UserError(
                f'{person} is in the {_part_name(name)} of {settings.name} and has no training sequence; '
                'hold out other recordings, or take this person out of the raw data'
            )
    train = splits.pop('train')
    files = write_dataset(
        data_dir,
        settings.name,
        train,
        splits,
        layout=settings.layout,
        view=tree.view,
        overwrite=overwrite
        or _is_ours(dataset_files(data_dir, settings.name, length, settings.layout, tree.view).train.folder),
        skeleton=raw.skeleton,
        prepared=_record(settings, length, cuts, recipe, recordings, left_out, parts, {'train': train} | splits),
    )
    yield f'{files.root} (layout {settings.layout}):'
    for name, split in ({'train': train} | splits).items():
        yield (
            f'  {name}: {len(split.skeletons)} sequences of {length} frames, {len(split.ids)} people, '
            f'{len(parts[name])} recordings'
        )


def _new_split(recordings: list[Recording], part: list[int], cutting: Cutting, centre: int | None) -> NewSplit:
    """Cuts the recordings of one split; `recordings` of the result are indices into all of them."""
    if not part:
        return NewSplit(np.empty((0, cutting.length, 1, 3), np.float32), {})
    sequences = cut(
        [recordings[index].frames for index in part], cutting, [recordings[index].numbers for index in part]
    )
    if centre is not None:
        sequences.skeletons[:] -= sequences.skeletons[:, :, centre : centre + 1].copy()
    origin = np.array(part, np.int64)[sequences.recordings]
    labels = np.array([recordings[index].raw.identity for index in part], np.int64)[sequences.recordings]
    ids = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    return NewSplit(sequences.skeletons, ids, labels, origin)


def _record(
    settings: Settings,
    length: int,
    cuts: dict[str, Cutting],
    recipe: Recipe,
    recordings: list[Recording],
    left_out: dict[int, str],
    parts: dict[str, list[int]],
    splits: dict[str, NewSplit],
) -> dict[str, Any]:
    """What `prepare.json` holds: enough for somebody with the same raw data to get the same files."""
    where = {index: name for name, part in parts.items() for index in part}
    used = {name: np.bincount(split.recordings, minlength=len(recordings)) for name, split in splits.items()}
    chosen = {key: value for key, value in asdict(settings).items() if key not in ('name', 'raw')}
    return {
        'format': FORMAT,
        'dataset': settings.name,
        'length': length,
        'settings': chosen,
        'cutting': {name: asdict(cutting) for name, cutting in cuts.items()},
        'people': {item.raw.identity: item.raw.person for item in recordings},
        'splits': {
            name: {
                'sequences': len(split.skeletons),
                'people': len(split.ids),
                'sha256': hashlib.sha256(np.ascontiguousarray(split.skeletons, '<f4')).hexdigest(),
            }
            for name, split in splits.items()
        },
        'recordings': [
            {
                'number': index,
                'name': item.raw.name,
                'identity': item.raw.identity,
                'clip': recipe.clip_of(item.raw, settings),
                'frames': len(item.frames),
                'split': where.get(index),
                'sequences': int(used[where[index]][index]) if index in where else 0,
                'left_out': left_out.get(index),
            }
            for index, item in enumerate(recordings)
        ],
    }


def _clipped(recording: Recording, recipe: Recipe, settings: Settings) -> Recording:
    first, last = recipe.clip_of(recording.raw, settings)
    behind = max(first, len(recording.frames) - last)
    numbers = None if recording.numbers is None else recording.numbers[first:behind]
    return replace(recording, frames=recording.frames[first:behind], numbers=numbers)


def _num_sequences(recording: Recording, length: int) -> int:
    return len(starts(runs(len(recording.frames), recording.numbers), Cutting.whole(length), 0))


def _at(indices: Sequence[int], positions: Sequence[int]) -> list[int]:
    return [indices[position] for position in positions]


def _part_name(name: str) -> str:
    return 'training set' if name == 'train' else f"test set '{name}'"


def _is_ours(folder: Path) -> bool:
    """Whether an earlier `prepare` has written what lies there."""
    path = folder / 'prepare.json'
    return path.exists() and isinstance(content := read_json(path), dict) and 'format' in content


def _shortened(lines: list[str], limit: int = 12) -> Iterator[str]:
    yield from lines[:limit]
    if len(lines) > limit:
        yield f'... and {len(lines) - limit} more like these (prepare.json has all)'
