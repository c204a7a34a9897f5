"""Recordings of the user's own: a folder with `recordings.csv`, `skeleton.json` and one file a recording.

`recordings.csv` has the header `file,person,recording,split,body,group`, of which the last four may be missing: a path
inside the folder; the person, any text; the recording's name or number, by which those of a person are sorted; `train`,
`test`, or nothing, which leaves the choice to `--holdout`; which of several bodies in the file it is, as the file calls
it; a name that a person's recordings of one walk share, which several sensors saw: they are held out and tested
together.

`skeleton.json` is `{"joints": [names], "parents": [index, -1 for the root], "pairs": [[left, right], ...]}`, and may
have `"units"` ("m", "cm", "mm") and `"up"` ("y", "-y", "x", "-x", "z", "-z") of the recordings.

A recording is a table (`table`) in metres; a `.npy` `[frames, joints, 3]`, with frame numbers in `<name>_frames.npy` if
that is there; a `.skeleton` (`kinect_v2`), `.json` (`pose_json`) or `.trc` (`trc`); or a folder of OpenPose's `.json`,
one a frame. No sequence crosses a jump in the frame numbers.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sge_la.data.axes import METRES_Y_UP, Axes
from sge_la.data.raw import clock, kinect_v2, pose_json, table, trc
from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.raw.text import MAX_COORDINATE, in_order, read_text, shown
from sge_la.data.skeletons import SKELETONS, Skeleton, from_json, ready, without
from sge_la.errors import UserError, listed
from sge_la.files.arrays import read_npy
from sge_la.files.atomic import os_errors, refuse_way_out, regular_size
from sge_la.files.text import read_json

TABLE = 'recordings.csv'
SKELETON_FILE = 'skeleton.json'
_COLUMNS = ('file', 'person', 'recording', 'split', 'body', 'group')
_SPLITS = ('', 'train', 'test')
_READERS = {'.skeleton': kinect_v2.parse, '.json': pose_json.parse, '.trc': trc.parse}
ENDINGS = ('.csv', '.tsv', '.txt', '.npy', '.skeleton', '.json', '.trc')


def find(folder: Path, skeleton: str | None = None, leave_out: Sequence[str] = ()) -> RawData:
    """Lists the recordings that `recordings.csv` names.

    `skeleton`: name of a ready skeleton, None for that of `skeleton.json`; `leave_out`: joints of it that are not used.
    Returns recordings sorted by person, then by their name or number; persons are numbered from 0 in sorted order.
    Raises UserError: the table or the skeleton is bad, a file is missing, or one is named twice.
    """
    refuse_way_out(folder / TABLE, folder)
    joints = without(_skeleton(folder) if skeleton is None else ready(skeleton), leave_out)
    rows = _read_table(folder / TABLE)
    labels = {person: at for at, person in enumerate(sorted({row['person'] for _, row in rows}, key=in_order))}
    recordings, seen_files, seen_names, seen_groups = [], {}, {}, {}
    for line, row in rows:
        where, file, person, body = f'{folder / TABLE}, line {line}', row['file'], row['person'], row['body']
        path = _inside(folder, file, where)
        name = f'{file}#{body}' if body else file
        bodies, take = seen_files.setdefault(path, {}), row['recording'] or name
        if body in bodies or (bodies and '' in (body, *bodies)):
            raise UserError(
                f'{where}: {file} is in line {next(iter(bodies.values()))} already; a recording belongs to one person, '
                'and people in one file are told apart by the column body'
            )
        if (person, take) in seen_names:
            raise UserError(
                f"{where}: the recording '{take}' of {person} is in line {seen_names[person, take]} already; "
                'give it another name'
            )
        bodies[body], seen_names[person, take] = line, line
        if row['group']:
            first = seen_groups.setdefault((person, row['group']), (line, row['split']))
            if first[1] != row['split']:
                raise UserError(
                    f"{where}: the split of the group '{row['group']}' of {person} was expected to be that of line "
                    f'{first[0]}, {shown(first[1])}, and is {shown(row["split"])}; views of one walk stay together'
                )
        files = _frames_in(path, where) if path.is_dir() else ()
        size = sum(regular_size(path / frame) for frame in files) if files else regular_size(path)
        found = RawRecording(
            name, path, person, labels[person], row['split'], walk=row['group'], size=size, files=files, body=body
        )
        recordings.append((in_order(take), found))
    recordings.sort(key=lambda item: (item[1].identity, item[0]))
    both = skeleton is not None and (folder / SKELETON_FILE).exists()
    notes = (f'the joints are those of --skeleton {skeleton}, and {SKELETON_FILE} is not read',) if both else ()
    if others := _unlisted(seen_files):
        notes += (f'not read, since {TABLE} does not name them: {listed(others)} ({len(others)} in all)',)
    axes = METRES_Y_UP if skeleton is not None else Axes.from_json(read_json(folder / SKELETON_FILE), SKELETON_FILE)
    return RawData(joints, [raw for _, raw in recordings], partial(read, skeleton=joints), notes, axes)


def _unlisted(paths: Collection[Path]) -> list[str]:
    """Files that lie beside the recordings and end like them, but are none of them."""
    endings = {path.suffix for path in paths if path.suffix}
    beside = (path for folder in {path.parent for path in paths} for path in folder.iterdir())
    found = (path for path in beside if path.suffix in endings and path.name not in (TABLE, SKELETON_FILE))
    return sorted(path.name for path in found if path not in paths and path.is_file())


def refuse_axes(data: RawData) -> None:
    """Refuses units, or an upright axis, for files that have their own.

    Raises UserError: names the first.
    """
    for raw in data.recordings:
        if axes_of(raw.path, data.axes) != data.axes:
            raise UserError(
                f'{raw.name} says its units itself, as every such file does: no units, and y as upright axis, were '
                f'expected, found {data.axes.units} and {data.axes.up}; leave them out'
            )


def axes_of(path: Path, axes: Axes) -> Axes:
    """The axes that the reader gives the coordinates of a file in, where others come in `axes`.

    What sensors and pose estimators write becomes metres with y up as it is read; TRC has units and no upright axis.
    """
    ending = '.json' if path.is_dir() else path.suffix.lower()
    if ending == '.trc':
        return Axes(METRES_Y_UP.units, axes.up)
    return METRES_Y_UP if ending in _READERS else axes


def one(path: Path, body: str = '') -> RawRecording:
    """A recording that is in no table, for `read`.

    `path`: the file, or a folder of OpenPose's; `body`: which of several bodies is meant. Raises UserError: it has
    another ending than those that are read.
    """
    if path.is_dir():
        return RawRecording(path.name, path, '', 0, files=_frames_in(path, str(path)), body=body)
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f'{path}: a recording should end in {", ".join(ENDINGS)}: convert it')
    return RawRecording(path.name, path, '', 0, body=body)


def _skeleton(folder: Path) -> Skeleton:
    path = folder / SKELETON_FILE
    if not path.exists():
        raise UserError(
            f'{path} is missing; name a ready skeleton by --skeleton ({", ".join(SKELETONS)}), or write a file such as '
            '{"joints": ["Hip", "Knee"], "parents": [-1, 0], "pairs": []}'
        )
    refuse_way_out(path, folder)
    return from_json(read_json(path), str(path))


def _read_table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The line of each row, and what stands in its columns; '' for a column that is missing."""
    text = read_text(path)
    separator = max(',;\t', key=text.lstrip().split('\n', 1)[0].count)
    lines = []
    for number, line in enumerate(text.split('\n'), 1):
        try:
            # Line by line: a quote that nothing closes would take the lines behind it into its field.
            fields = [field.strip() for field in next(csv.reader([line], delimiter=separator))]
        except csv.Error as error:
            raise UserError(f'{path}, line {number}: {error}; correct the file') from error
        if any(fields):
            lines.append((number, fields))
    expected = ','.join(_COLUMNS[:4])
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
        rows.append((line, row))
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
    if path.suffix.lower() not in ENDINGS and not path.is_dir():
        raise UserError(f'{where}: a file {", ".join(ENDINGS)} was expected, found {shown(file)}; convert it')
    if not exists:
        raise UserError(f'{where}: there is no file {shown(file)} in {folder}; correct the line or add the file')
    return path


def _frames_in(folder: Path, where: str) -> tuple[str, ...]:
    """The files of a folder of OpenPose's, in the order of the numbers in their names."""
    with os_errors(folder, 'read'):
        found = [path.name for path in folder.iterdir() if path.suffix.lower() == '.json' and path.name[0] != '.']
    if not found:
        raise UserError(f'{where}: a folder of .json files of OpenPose was expected, {folder} has none; name a file')
    return tuple(sorted(found, key=in_order))


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
    if raw.files:
        texts = ((str(raw.path / name), read_text(raw.path / name)) for name in raw.files)
        return pose_json.parse_frames(texts, raw, skeleton)
    ending = raw.path.suffix.lower()
    if raw.body and ending in ('.npy', '.trc'):
        raise UserError(f'{raw.path}: no body was expected in the table, for such a file has only one; leave it empty')
    if ending == '.npy':
        return _read_npy(raw, skeleton)
    text = read_text(raw.path)
    return _READERS.get(ending, table.parse)(text, raw, skeleton)


def _read_npy(raw: RawRecording, skeleton: Skeleton) -> Recording:
    frames = read_npy(raw.path)
    if frames.ndim != 3 or frames.shape[1:] != (len(skeleton.joints), 3) or not len(frames):
        raise UserError(
            f'{raw.path} should be an array [frames, {len(skeleton.joints)}, 3], found {list(frames.shape)}; '
            f'correct it or {SKELETON_FILE}'
        )
    # NaN passes: a joint that was not seen.
    bad = (np.abs(frames.astype(np.float64)) > MAX_COORDINATE).any(axis=(1, 2))
    if bad.any():
        raise UserError(
            f'{raw.path}: coordinates in metres were expected, but frame {int(bad.argmax())} has others; '
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
