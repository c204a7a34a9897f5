"""The raw recordings of BIWI RGBD-ID and IAS-Lab RGBD-ID (Munaro and others, 2014): one text file a frame.

A folder is a recording, and a file `..._skel.txt` in it a frame: 20 lines, comma-separated, with the tracked person's
number, x, y, z in metres, two pixel coordinates, the tracking state (0 not tracked, 1 inferred, 2 tracked) and more
that is not needed. BIWI has `Training/NNN`, `Testing/Still/NNN` and `Testing/Walking/NNN`; IAS has a folder a person in
`Training`, `TestingA` and `TestingB`.

A frame with a joint that was not tracked is left out, as in the published preprocessing, and the frames around it
follow each other.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.raw.text import coordinate, in_order, read_text, shown
from sge_la.data.skeletons import SKELETONS
from sge_la.errors import UserError
from sge_la.files.atomic import os_errors

SKELETON = SKELETONS['kinect_v1']
BIWI_PARTS = {'Training': ('Training',), 'Still': ('Testing', 'Still'), 'Walking': ('Testing', 'Walking')}
IAS_PARTS = {'Training': ('Training',), 'TestingA': ('TestingA',), 'TestingB': ('TestingB',)}
_FRAME = re.compile(r'(.*?)(\d+)-[a-z]_.*skel\.txt')
_STATE = 6
_BYTES_PER_FRAME = 2000


def find_biwi(folder: Path, people: int = 50) -> RawData:
    """Lists the recordings of BIWI; a person's label is the number that the folder is named by.

    `folder`: the folder with `Training` and `Testing`, or the one above it; `people`: 50 for everyone, 28 for those who
    have test recordings. Raises UserError: a folder is missing, or is not named by a number.
    """
    recordings = _find(folder, BIWI_PARTS, 'BIWI')
    for raw in recordings:
        if not re.fullmatch('[0-9]{1,6}', raw.person):
            raise UserError(f'{raw.path}: a folder named by the number of a person (000) was expected; rename it')
    if people == 28:
        tested = {raw.person for raw in recordings if raw.part != 'Training'}
        recordings = [raw for raw in recordings if raw.person in tested]
    labels = {raw.person: int(raw.person) for raw in recordings}
    return _labelled(recordings, labels, first_rows_only=True)


def find_ias(folder: Path) -> RawData:
    """Lists the recordings of IAS; people are matched across the three parts by the names of their folders.

    The published preprocessing numbers people in the order in which the file system lists them, part by part. Here
    they are numbered from 0 in the order of their names.

    `folder`: the folder with `Training`, `TestingA` and `TestingB`, or the one above it. Raises UserError: a folder is
    missing.
    """
    recordings = _find(folder, IAS_PARTS, 'IAS')
    people = sorted({raw.person for raw in recordings}, key=in_order)
    return _labelled(recordings, {person: label for label, person in enumerate(people)}, first_rows_only=False)


def _labelled(recordings: list[RawRecording], labels: dict[str, int], first_rows_only: bool) -> RawData:
    numbered = [replace(raw, identity=labels[raw.person]) for raw in recordings]
    numbered.sort(key=lambda raw: (raw.identity, in_order(raw.name)))
    return RawData(SKELETON, numbered, partial(read, first_rows_only=first_rows_only))


def _find(folder: Path, parts: dict[str, tuple[str, ...]], dataset: str) -> list[RawRecording]:
    """Every folder that holds frames, without labels."""
    root = next((place for place in (folder, folder / dataset) if (place / 'Training').is_dir()), None)
    if root is None:
        found = ', '.join(sorted(path.name for path in folder.iterdir())[:5]) or 'nothing'
        raise UserError(
            f"{folder} should hold {dataset}'s folders Training and Testing..., and holds {found}; "
            'give --raw the folder that they lie in'
        )
    recordings = []
    for part, names in parts.items():
        place = root.joinpath(*names)
        if part == 'Training' or place.is_dir():
            recordings += _find_part(root, place, part)
    return recordings


def _find_part(root: Path, place: Path, part: str) -> list[RawRecording]:
    recordings = []
    with os_errors(place, 'read'):
        for parent, folders, files in os.walk(place):
            folders.sort()
            frames = [name for name in files if name.endswith('skel.txt') and not name.startswith('.')]
            path = Path(parent)
            inside = path.relative_to(place).parts
            if frames and not inside:
                raise UserError(f'{place} should hold a folder for each person, and holds frames; sort them by person')
            if frames:
                ordered = tuple(sorted(frames, key=_frame_key))
                name, size = path.relative_to(root).as_posix(), len(frames) * _BYTES_PER_FRAME
                recordings.append(RawRecording(name, path, inside[0], -1, part, size=size, files=ordered))
            elif inside and not folders:
                raise UserError(f'{path} is an empty recording: frames ..._skel.txt were expected; fetch it again')
    return recordings


def read(raw: RawRecording, first_rows_only: bool) -> Recording:
    """Reads the frames of one folder.

    `raw`: the recording; `first_rows_only`: whether lines after the first 20 are ignored (BIWI) or an error (IAS).
    Returns the frames in which every joint was tracked or inferred. Frame numbers are None, unless the folder holds
    several takes, told by what stands before the number in the file names: no sequence crosses from one to the next.
    Raises UserError: a file is no frame; file and line are named.
    """
    keys = [_frame_key(name) for name in raw.files]
    frames, kept = [], []
    for at, (_, _, name) in enumerate(keys):
        path = raw.path / name
        frame = parse(read_text(path), str(path), first_rows_only)
        if frame is not None:
            frames.append(frame)
            kept.append(at)
    takes = [take for take, _, _ in keys]
    notes = _missing(raw, keys)
    stacked = np.array(frames, np.float32).reshape(-1, len(SKELETON.joints), 3)
    if len(set(takes)) < 2:
        return Recording(raw, stacked, None, notes)
    order = {take: number for number, take in enumerate(dict.fromkeys(takes))}
    return Recording(
        raw, stacked, np.array([at + order[takes[index]] for at, index in enumerate(kept)], np.int64), notes
    )


def _frame_key(name: str) -> tuple[str, int, str]:
    """What frames are sorted by: the take, then the number; text where there is no number."""
    match = _FRAME.fullmatch(name)
    return (match[1], int(match[2]), name) if match else ('', 0, name)


def _missing(raw: RawRecording, keys: list[tuple[str, int, str]]) -> tuple[str, ...]:
    gaps = [
        (before, after)
        for before, after in itertools.pairwise(keys)
        if before[0] == after[0] and after[1] > before[1] + 1
    ]
    if not gaps:
        return ()
    missing = sum(after[1] - before[1] - 1 for before, after in gaps)
    return (
        f'{raw.name}: {missing} frame files are missing, the first after {gaps[0][0][2]}; '
        'the frames around them follow each other, as in the published preprocessing',
    )


def parse(text: str, where: str, first_rows_only: bool) -> np.ndarray | None:
    """Turns the text of one frame into an array.

    `text`: the lines, separated by newlines; `where`: the file, for the errors; `first_rows_only`: whether lines after
    the first 20 are ignored or an error. Returns float32 `[20, 3]`, metres, or None if a joint was not tracked. Raises
    UserError: a line is missing, too short or no numbers, or two people are in the frame.
    """
    num_joints = len(SKELETON.joints)
    rows = [(number, line.split(',')) for number, line in enumerate(text.split('\n'), 1) if line.strip()]
    if first_rows_only:
        rows = rows[:num_joints]
    if len(rows) != num_joints:
        raise UserError(
            f'{where}: {num_joints} lines were expected, one a joint, found {len(rows)}; fetch it again or remove it'
        )
    people, tracked = set(), True
    for number, fields in rows:
        if len(fields) <= _STATE:
            raise UserError(
                f'{where}, line {number}: {_STATE + 1} columns or more were expected, found {len(fields)} '
                f'in {shown(",".join(fields))}; fetch the file again or remove it'
            )
        state = coordinate(fields[_STATE], f'{where}, line {number}')
        if state not in (0, 1, 2):
            raise UserError(
                f'{where}, line {number}: a tracking state 0, 1 or 2 was expected in column {_STATE + 1}, '
                f'found {shown(fields[_STATE])}; fetch the file again or remove it'
            )
        tracked = tracked and state > 0
        people.add(coordinate(fields[0], f'{where}, line {number}'))
    if len(people - {0}) > 1:
        raise UserError(
            f'{where}: one person was expected, found {len(people - {0})} numbers in column 1; remove the file'
        )
    if not tracked:
        return None
    return np.array(
        [[coordinate(field, f'{where}, line {number}') for field in fields[1:4]] for number, fields in rows], np.float32
    )
