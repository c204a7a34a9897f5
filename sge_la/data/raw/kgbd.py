"""The raw recordings of KGBD (Kinect Gait Biometry Dataset, Andersson and Araujo, AAAI 2015).

`PersonNNN/K.txt` holds the K-th walk of a person: 20 lines a frame, each `Joint;x;y;z` in metres, y upwards, with the
joints in an order that is the data set's own. There is no tracking state.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.raw.text import coordinate, coordinates, read_text, shown
from sge_la.data.skeletons import SKELETONS
from sge_la.errors import UserError
from sge_la.files.atomic import os_errors

SKELETON = SKELETONS['kgbd']
# The names in the files, in their order; `SKELETON` has the same joints under the names of Microsoft's SDK.
JOINT_NAMES = (
    'Head',
    'Shoulder-Center',
    'Shoulder-Right',
    'Shoulder-Left',
    'Elbow-Right',
    'Elbow-Left',
    'Wrist-Right',
    'Wrist-Left',
    'Hand-Right',
    'Hand-Left',
    'Spine',
    'Hip-centro',
    'Hip-Right',
    'Hip-Left',
    'Knee-Right',
    'Knee-Left',
    'Ankle-Right',
    'Ankle-Left',
    'Foot-Right',
    'Foot-Left',
)
_PERSON = re.compile(r'Person(\d{1,6})')
_RECORDING = re.compile(r'(\d{1,6})\.txt')
# The published archive has the people in `kinect gait raw dataset/`, its repository in `Data/`.
_MAX_DEPTH = 3


def find(folder: Path) -> RawData:
    """Lists the recordings; nothing is read.

    `folder`: the folder of the `PersonNNN` folders, or one at most two levels above it. Returns recordings sorted by
    person, then by number (not by text: 10 comes after 9). Raises UserError: no recording is found, a person has none,
    or a person occurs twice.
    """
    recordings, notes, seen = [], [], {}
    for person_folder in _person_folders(folder):
        number = int(_PERSON.fullmatch(person_folder.name)[1])
        if number in seen:
            raise UserError(
                f'person {number} was found twice, in {seen[number]} and {person_folder}; '
                'give --raw the folder of one copy of the data'
            )
        seen[number] = person_folder
        found = {}
        for path in sorted(person_folder.iterdir()):
            match = _RECORDING.fullmatch(path.name)
            if match and int(match[1]) in found:
                raise UserError(f'{found[int(match[1])]} and {path.name} have the same number; remove one of them')
            if match:
                found[int(match[1])] = path
            elif not path.name.startswith('.'):
                notes.append(
                    f'{path.relative_to(folder).as_posix()} is not named like a recording (1.txt) and not used'
                )
        if not found:
            raise UserError(f'{person_folder} should hold recordings 1.txt, 2.txt, ... and has none; fetch it again')
        for _, path in sorted(found.items()):
            name = f'{person_folder.name}/{path.name}'
            recordings.append(RawRecording(name, path, person_folder.name, number, size=path.stat().st_size))
    if not recordings:
        raise UserError(
            f'{folder} should hold the folders Person001, Person002, ... of KGBD and has none; '
            'give --raw the folder of the unpacked recordings'
        )
    recordings.sort(key=lambda raw: raw.identity)
    return RawData(SKELETON, recordings, read, tuple(notes))


def _person_folders(folder: Path) -> list[Path]:
    found = []
    with os_errors(folder, 'read'):
        os.listdir(folder)
        for parent, names, _ in os.walk(folder):
            depth = len(Path(parent).relative_to(folder).parts)
            found += [Path(parent, name) for name in names if _PERSON.fullmatch(name)]
            below = depth + 1 < _MAX_DEPTH
            names[:] = sorted(name for name in names if below and not _PERSON.fullmatch(name) and name[0] != '.')
    return sorted(found)


def read(raw: RawRecording) -> Recording:
    """Reads one recording.

    Raises UserError: it is no KGBD recording; file and line are named.
    """
    return Recording(raw, parse(read_text(raw.path), str(raw.path)))


def parse(text: str, where: str) -> np.ndarray:
    """Turns the text of a recording into an array.

    `text`: the lines, separated by newlines; `where`: the file, for the errors. Returns float32 `[F, 20, 3]`, metres, F
    > 0. Raises UserError: a line is missing, too much, out of order or no `Joint;x;y;z`.
    """
    frames = _parse_regular(text)
    return _parse_lines(text, where) if frames is None else frames


def _parse_regular(text: str) -> np.ndarray | None:
    """The quick way for files as they are published; None for all others, good or bad."""
    # The newline stays with the joint's name, so that comparing names also tells that lines break where they should.
    fields = ('\n' + text.strip()).replace('\n', ';\n').split(';')
    del fields[0]
    if not fields or len(fields) % (4 * len(JOINT_NAMES)):
        return None
    names = ['\n' + name for name in JOINT_NAMES]
    if fields[::4] != names * (len(fields) // (4 * len(names))):
        return None
    del fields[::4]
    values = coordinates(fields)
    return None if values is None else values.reshape(-1, len(JOINT_NAMES), 3)


def _parse_lines(text: str, where: str) -> np.ndarray:
    """Line by line: accepts spaces and empty lines, and tells what is wrong where."""
    values, line_number = [], 0
    for line_number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(';')]
        expected = JOINT_NAMES[len(values) % len(JOINT_NAMES)]
        place = f'{where}, line {line_number}'
        if fields[0] != expected:
            raise UserError(
                f'{place}: the joint {expected} was expected, found {shown(line)}; correct or remove the file'
            )
        if len(fields) != 4:
            raise UserError(f'{place}: {expected};x;y;z was expected, found {shown(line)}; correct or remove the file')
        values.append([coordinate(field, place) for field in fields[1:]])
    if not values:
        raise UserError(f'{where} is empty; fetch it again or remove it')
    if len(values) % len(JOINT_NAMES):
        raise UserError(
            f'{where}, line {line_number}: the last frame has {len(values) % len(JOINT_NAMES)} of '
            f'{len(JOINT_NAMES)} joints; fetch the file again or remove those lines'
        )
    return np.array(values, np.float32).reshape(-1, len(JOINT_NAMES), 3)
