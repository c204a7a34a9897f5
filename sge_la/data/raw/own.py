"""Recordings of the user's own: a folder with `recordings.csv`, `skeleton.json` and one file a recording.

`recordings.csv` has the header `file,person,recording,split`: a path inside the folder; the person, any text; the
recording's name or number, by which those of a person are sorted; `train`, `test`, or nothing, which leaves the choice
to `--holdout`.

`skeleton.json` is `{"joints": [names], "parents": [index, -1 for the root], "pairs": [[left, right], ...]}`.

A recording is a `.csv` with the header `frame,<joint>_x,<joint>_y,<joint>_z,...` in metres, the columns in any order
and `frame` optional; or a `.npy` `[frames, joints, 3]`, with frame numbers in `<name>_frames.npy` if that is there.
No sequence crosses a jump in the frame numbers.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.raw.text import MAX_COORDINATE, coordinate, coordinates, in_order, read_text, shown
from sge_la.data.skeletons import SKELETONS, Skeleton, from_json, ready, without
from sge_la.errors import UserError
from sge_la.files.arrays import read_npy
from sge_la.files.atomic import os_errors, refuse_way_out, regular_size
from sge_la.files.text import read_json

TABLE = 'recordings.csv'
SKELETON_FILE = 'skeleton.json'
_COLUMNS = ('file', 'person', 'recording', 'split')
_SPLITS = ('', 'train', 'test')
_AXES = ('x', 'y', 'z')
_LARGEST_FRAME_NUMBER = 2**53
_LINES_AT_ONCE = 1024


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
    return RawData(joints, [raw for _, raw in recordings], partial(read, skeleton=joints), notes)


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
    reader = csv.reader(read_text(path).split('\n'))
    try:
        lines = [(reader.line_num, [field.strip() for field in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(f'{path}, line {reader.line_num}: {error}; correct the file') from error
    expected = ','.join(_COLUMNS)
    if not lines:
        raise UserError(f'{path} is empty; it should have the header {expected} and a line for each recording')
    header = lines[0][1]
    if sorted(header) != sorted(_COLUMNS):
        raise UserError(
            f'{path}, line {lines[0][0]}: the header {expected} was expected, found {shown(",".join(header))}'
        )
    rows = []
    for line, fields in lines[1:]:
        if len(fields) != len(header):
            raise UserError(
                f'{path}, line {line}: {len(header)} fields ({expected}) were expected, found {len(fields)}; '
                'correct the line'
            )
        file, person, name, split = (fields[header.index(column)] for column in _COLUMNS)
        if not all(map(str.isprintable, (file, person, name))):
            raise UserError(f'{path}, line {line}: printable names were expected, found {shown(",".join(fields))}')
        if not file or not person:
            raise UserError(f'{path}, line {line}: a file and a person were expected, one is missing; fill it in')
        if split not in _SPLITS:
            raise UserError(f'{path}, line {line}: the split train, test or nothing was expected, found {shown(split)}')
        rows.append((line, file, person, name or file, split))
    if not rows:
        raise UserError(f'{path} names no recording; add a line for each')
    return rows


def _inside(folder: Path, file: str, where: str) -> Path:
    with os_errors(folder / file, 'read'):
        path = _in_either_form(folder / file).resolve()
        exists = path.exists()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f'{where}: a file inside {folder} was expected, found {shown(file)}; move it there')
    if path.suffix not in ('.csv', '.npy'):
        raise UserError(f'{where}: a .csv or .npy file was expected, found {shown(file)}; convert it')
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
    if raw.path.suffix == '.npy':
        return _read_npy(raw, skeleton)
    frames, numbers = parse(read_text(raw.path), str(raw.path), skeleton)
    return Recording(raw, frames, numbers)


def parse(text: str, where: str, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray | None]:
    """Turns the text of a `.csv` recording into arrays.

    `text`: the lines, separated by newlines; `where`: the file, for the errors; `skeleton`: the joints that are wanted,
    in the order of the result. Returns float32 `[F, J, 3]`, metres, and int64 `[F]` frame numbers or None. Raises
    UserError: the header or a line does not fit, or something is no number.
    """
    lines = [(number, line) for number, line in enumerate(text.split('\n'), 1) if line.strip()]
    if not lines:
        raise UserError(f'{where} is empty; it should have a header and a line for each frame')
    columns = _columns(lines[0][1], f'{where}, line {lines[0][0]}', skeleton)
    if len(lines) == 1:
        raise UserError(f'{where} has a header and no frame; add frames or take it out of {TABLE}')
    place = {column: index for index, column in enumerate(columns)}
    wanted = [place[f'{joint}_{axis}'] for joint in skeleton.joints for axis in _AXES]
    frames = np.empty((len(lines) - 1, len(skeleton.joints), 3), np.float32)
    numbers = np.empty(len(frames), np.int64)
    for start in range(0, len(frames), _LINES_AT_ONCE):
        block = lines[1 + start : 1 + start + _LINES_AT_ONCE]
        rows = [_fields(line, len(columns), f'{where}, line {number}') for number, line in block]
        values = coordinates([row[column] for row in rows for column in wanted])
        if values is None:
            values = [
                _coordinate(row[column], f'{where}, line {number}, column {columns[column]}')
                for (number, _), row in zip(block, rows, strict=True)
                for column in wanted
            ]
        frames[start : start + len(block)] = np.reshape(values, (-1, *frames.shape[1:]))
        if 'frame' in place:
            places = (f'{where}, line {number}' for number, _ in block)
            numbers[start : start + len(block)] = [
                _frame_number(row[place['frame']].strip(), at) for row, at in zip(rows, places, strict=True)
            ]
    if 'frame' not in place:
        return frames, None
    return frames, _rising(numbers, where, [f'line {line}' for line, _ in lines[1:]])


def _fields(line: str, count: int, where: str) -> list[str]:
    fields = line.split(',')
    if len(fields) != count:
        raise UserError(
            f'{where}: {count} columns were expected, found {len(fields)} in {shown(line)}; correct the line'
        )
    return fields


def _coordinate(field: str, where: str) -> float:
    try:
        return coordinate(field, where)
    except UserError as error:
        # A line is a frame, and one that was lost is no reason to lose the file.
        text = str(error).removesuffix('correct or remove the file')
        raise UserError(f'{text}correct it or leave the frame out') from None


def _frame_number(field: str, where: str) -> int:
    usable = field.isascii() and field.isdigit() and len(field) <= len(str(_LARGEST_FRAME_NUMBER))
    if not usable or int(field) > _LARGEST_FRAME_NUMBER:
        raise UserError(f'{where}: a frame number was expected, found {shown(field)}; correct the line')
    return int(field)


def _columns(header: str, where: str, skeleton: Skeleton) -> list[str]:
    """The names of the columns, all of the skeleton's and perhaps `frame`, in the file's order."""
    if header.count(';') > header.count(','):
        raise UserError(f'{where}: columns separated by commas were expected, found semicolons; save it with commas')
    columns = [field.strip().strip('"') for field in header.split(',')]
    expected = [f'{joint}_{axis}' for joint in skeleton.joints for axis in _AXES]
    known, present = {*expected, 'frame'}, set(columns)
    unknown = [column for column in columns if column not in known]
    missing = [column for column in expected if column not in present]
    if unknown or missing or len(set(columns)) < len(columns):
        problem = (
            f'{shown(unknown[0])} is no column of {SKELETON_FILE}'
            if unknown
            else f'{missing[0]} is missing'
            if missing
            else 'a column occurs twice'
        )
        raise UserError(
            f'{where}: the header frame,{",".join(expected[:3])},... was expected ({len(skeleton.joints)} joints), '
            f'but {problem}; correct the header or {SKELETON_FILE}'
        )
    return columns


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
    numbers = None
    if path.exists():
        refuse_way_out(path, path.parent)
        numbers = read_npy(path)
        if numbers.shape != (len(frames),) or numbers.dtype.kind not in 'iu':
            raise UserError(
                f'{path} should hold {len(frames)} whole numbers, one a frame, found {list(numbers.shape)} '
                f'of {numbers.dtype}; correct or remove it'
            )
        numbers = _rising(numbers.astype(np.int64), str(path), [f'frame {at}' for at in range(len(numbers))])
    return Recording(raw, np.ascontiguousarray(frames, np.float32), numbers)


def _rising(numbers: np.ndarray, where: str, places: list[str]) -> np.ndarray:
    falls = np.flatnonzero(np.diff(numbers) <= 0)
    if len(falls):
        at = int(falls[0]) + 1
        raise UserError(
            f'{where}, {places[at]}: frame numbers that grow were expected, but {numbers[at]} follows '
            f'{numbers[at - 1]}; sort the frames, or split the file if it holds two recordings'
        )
    return numbers
