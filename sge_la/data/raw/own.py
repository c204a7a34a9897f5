"""Recordings of the user's own: a folder with `recordings.csv`, `skeleton.json` and one file a recording.

`recordings.csv` has the header `file,person,recording,split`, of which the last two may be missing: a path inside the
folder; the person, any text; the recording's name or number, by which those of a person are sorted; `train`, `test`, or
nothing, which leaves the choice to `--holdout`.

`skeleton.json` is `{"joints": [names], "parents": [index, -1 for the root], "pairs": [[left, right], ...]}`, and may
have `"units"` ("m", "cm", "mm") and `"up"` ("y", "-y", "x", "-x", "z", "-z") of the recordings.

A recording is a table (`table`) in metres, or a `.npy` `[frames, joints, 3]`, with frame numbers in
`<name>_frames.npy` if that is there. No sequence crosses a jump in the frame numbers.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sge_la.data.axes import METRES_Y_UP, Axes
from sge_la.data.raw import clock, table
from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.raw.text import MAX_COORDINATE, in_order, read_text, shown
from sge_la.data.skeletons import SKELETONS, Skeleton, from_json, ready, without
from sge_la.errors import UserError
from sge_la.files.arrays import read_npy
from sge_la.files.atomic import os_errors, refuse_way_out, regular_size
from sge_la.files.text import read_json

TABLE = 'recordings.csv'
SKELETON_FILE = 'skeleton.json'
_COLUMNS = ('file', 'person', 'recording', 'split')
_SPLITS = ('', 'train', 'test')
ENDINGS = ('.csv', '.tsv', '.txt', '.npy')


def find(folder: Path, skeleton: str | None = None, leave_out: Sequence[str] = ()) -> RawData:
    """Lists the recordings that `recordings.csv` names.

    `skeleton`: name of a ready skeleton, None for that of `skeleton.json`; `leave_out`: joints of it that are not used.
    Returns recordings sorted by person, then by their name or number; persons are numbered from 0 in sorted order.
    Raises UserError: the table or the skeleton is bad, a file is missing, or one is named twice.
    """
    refuse_way_out(folder / TABLE, folder)
    joints = without(_skeleton(folder) if skeleton is None else ready(skeleton), leave_out)
    rows = _read_table(folder / TABLE)
    people = sorted({person for _, _, person, _, _ in rows}, key=in_order)
    labels = {person: label for label, person in enumerate(people)}
    recordings, seen_files, seen_names = [], {}, {}
    for line, file, person, name, split in rows:
        where = f'{folder / TABLE}, line {line}'
        path = _inside(folder, file, where)
        if path in seen_files:
            raise UserError(f'{where}: {file} is in line {seen_files[path]} already; a recording belongs to one person')
        if (person, name) in seen_names:
            raise UserError(
                f"{where}: the recording '{name}' of {person} is in line {seen_names[person, name]} already; "
                'give it another name'
            )
        seen_files[path], seen_names[person, name] = line, line
        size = regular_size(path)
        recordings.append((in_order(name), RawRecording(file, path, person, labels[person], split, size=size)))
    recordings.sort(key=lambda item: (item[1].identity, item[0]))
    both = skeleton is not None and (folder / SKELETON_FILE).exists()
    notes = (f'the joints are those of --skeleton {skeleton}, and {SKELETON_FILE} is not read',) if both else ()
    axes = METRES_Y_UP if skeleton is not None else Axes.from_json(read_json(folder / SKELETON_FILE), SKELETON_FILE)
    return RawData(joints, [raw for _, raw in recordings], partial(read, skeleton=joints), notes, axes)


def _skeleton(folder: Path) -> Skeleton:
    path = folder / SKELETON_FILE
    if not path.exists():
        raise UserError(
            f'{path} is missing; name a ready skeleton by --skeleton ({", ".join(SKELETONS)}), or write a file such as '
            '{"joints": ["Hip", "Knee"], "parents": [-1, 0], "pairs": []}'
        )
    refuse_way_out(path, folder)
    return from_json(read_json(path), str(path))


def _read_table(path: Path) -> list[tuple[int, str, str, str, str]]:
    """Line, file, person, recording and split of each row."""
    text = read_text(path)
    header = text.lstrip().split('\n', 1)[0]
    reader = csv.reader(text.split('\n'), delimiter=max(',;\t', key=header.count))
    try:
        lines = [(reader.line_num, [field.strip() for field in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(f'{path}, line {reader.line_num}: {error}; correct the file') from error
    expected = ','.join(_COLUMNS)
    if not lines:
        raise UserError(f'{path} is empty; it should have the header {expected} and a line for each recording')
    header = [name.casefold() for name in lines[0][1]]
    if not {'file', 'person'} <= set(header) <= set(_COLUMNS) or len(set(header)) < len(header):
        raise UserError(
            f'{path}, line {lines[0][0]}: the header {expected} was expected, found {shown(",".join(lines[0][1]))}'
        )
    rows = []
    for line, fields in lines[1:]:
        if len(fields) != len(header):
            raise UserError(
                f'{path}, line {line}: {len(header)} fields ({",".join(header)}) were expected, found {len(fields)}; '
                'correct the line'
            )
        row = dict.fromkeys(_COLUMNS, '') | dict(zip(header, fields, strict=True))
        _refuse_row(row, f'{path}, line {line}')
        rows.append((line, row['file'], row['person'], row['recording'] or row['file'], row['split']))
    if not rows:
        raise UserError(f'{path} names no recording; add a line for each')
    return rows


def _refuse_row(row: dict[str, str], where: str) -> None:
    if not all(map(str.isprintable, row.values())):
        raise UserError(f'{where}: printable names were expected, found {shown(",".join(row.values()))}')
    if not row['file'] or not row['person']:
        raise UserError(f'{where}: a file and a person were expected, one is missing; fill it in')
    if row['split'] not in _SPLITS:
        raise UserError(f'{where}: the split train, test or nothing was expected, found {shown(row["split"])}')


def _inside(folder: Path, file: str, where: str) -> Path:
    with os_errors(folder / file, 'read'):
        path = _in_either_form(folder / file).resolve()
        exists = path.exists()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f'{where}: a file inside {folder} was expected, found {shown(file)}; move it there')
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f'{where}: a file {", ".join(ENDINGS)} was expected, found {shown(file)}; convert it')
    if not exists:
        raise UserError(f'{where}: there is no file {shown(file)} in {folder}; correct the line or add the file')
    return path


def _in_either_form(path: Path) -> Path:
    """The file of this name, or of the same letters in another Unicode form (é as one sign or as two)."""
    if path.exists() or not path.parent.is_dir():
        return path
    same = unicodedata.normalize('NFC', path.name)
    found = (other for other in sorted(path.parent.iterdir()) if unicodedata.normalize('NFC', other.name) == same)
    return next(found, path)


def read(raw: RawRecording, skeleton: Skeleton) -> Recording:
    """Reads one recording.

    Raises UserError: it does not fit the skeleton, or holds no finite numbers; file and line, or frame, are named.
    """
    if raw.path.suffix.lower() == '.npy':
        return _read_npy(raw, skeleton)
    return table.parse(read_text(raw.path), raw, skeleton)


def _read_npy(raw: RawRecording, skeleton: Skeleton) -> Recording:
    frames = read_npy(raw.path)
    if frames.ndim != 3 or frames.shape[1:] != (len(skeleton.joints), 3) or not len(frames):
        raise UserError(
            f'{raw.path} should be an array [frames, {len(skeleton.joints)}, 3], found {list(frames.shape)}; '
            f'correct it or {SKELETON_FILE}'
        )
    bad = ~(np.abs(frames.astype(np.float64)) <= MAX_COORDINATE).all(axis=(1, 2))
    if bad.any():
        raise UserError(
            f'{raw.path}: finite coordinates in metres were expected, but frame {int(bad.argmax())} has others; '
            'correct it or leave the frame out'
        )
    path = raw.path.with_name(f'{raw.path.stem}_frames.npy')
    numbers, rate, notes = None, None, []
    if path.exists():
        refuse_way_out(path, path.parent)
        numbers = read_npy(path)
        if numbers.shape != (len(frames),) or numbers.dtype.kind not in 'iu':
            raise UserError(
                f'{path} should hold {len(frames)} whole numbers, one a frame, found {list(numbers.shape)} '
                f'of {numbers.dtype}; correct or remove it'
            )
        places = [f'frame {at}' for at in range(len(numbers))]
        numbers, rate, notes = clock.frame_numbers(numbers.astype(np.int64), str(path), places)
    return Recording(raw, np.ascontiguousarray(frames, np.float32), numbers, tuple(notes), rate)
