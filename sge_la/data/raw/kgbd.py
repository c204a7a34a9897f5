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
from sge_la.data.raw.text import as_text, coordinate, read_content, shown
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
    return RawData(SKELETON, recordings, read, tuple(notes), quick=True)


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
    return Recording(raw, parse(read_content(raw.path), str(raw.path)))


def parse(content: bytes, where: str) -> np.ndarray:
    """Turns the text of a recording into an array.

    `content`: UTF-8; `where`: the file, for the errors. Returns float32 `[F, 20, 3]`, metres, F > 0. Raises UserError:
    a line is missing, too much, out of order or no `Joint;x;y;z`.
    """
    frames = _parse_regular(content)
    return _parse_lines(as_text(content, where), where) if frames is None else frames


def _parse_regular(content: bytes) -> np.ndarray | None:
    """The quick way for files as they are published, all numbers like `-0.1234`; None for all others, good or bad.

    What is left without the characters of numbers must be the letters of the names; then the places of the separators
    tell whether each name is whole, and where a number ends.
    """
    content = content.strip() + b'\n'
    line_end = b'\r\n' if b'\r\n' in content else b'\n'
    content = content[:-1] + line_end
    letters = content.translate(None, b'0123456789.-;')
    frame = b''.join(name.encode().replace(b'-', b'') + line_end for name in JOINT_NAMES)
    frames, rest = divmod(len(letters), len(frame))
    if rest or not frames or letters != frame * frames:
        return None
    data = np.frombuffer(content, np.uint8)
    marks = np.flatnonzero((data == ord(';')) | (data == ord('\n')))
    if len(marks) != 4 * len(JOINT_NAMES) * frames or (data[marks[3::4]] != ord('\n')).any():
        return None
    marks = marks.reshape(frames, len(JOINT_NAMES), 4)
    starts = np.concatenate([[0], marks[..., 3].reshape(-1)[:-1] + 1]).reshape(frames, -1)
    hyphens = [(joint, name.index('-')) for joint, name in enumerate(JOINT_NAMES) if '-' in name]
    joints, places = np.array(hyphens).T
    if (marks[..., 0] - starts != [len(name) for name in JOINT_NAMES]).any() or (
        data[starts[:, joints] + places] != ord('-')
    ).any():
        return None
    ends = marks[..., 1:] - [0, 0, len(line_end) - 1]
    return _numbers(content, ends)


def _numbers(content: bytes, ends: np.ndarray) -> np.ndarray | None:
    """Numbers of four decimals and one digit before them, such as `;-0.1234`, each of them behind a semicolon.

    `ends`: int64, any shape, where each ends. Returns float32, the nearest to each number, or None if one is not such.
    """
    if ends.min() < 8:
        return None
    # The eight bytes before each end as one integer, its lowest byte first.
    words = np.ndarray(len(content) - 7, '<u8', content, strides=(1,))[ends - 8]
    before = words & 0xFFFF
    minus = before == int.from_bytes(b';-', 'little')
    digits = words & 0x0F0F0F0F_000F0000
    if not (
        (minus | (before >> 8 == ord(';'))).all()
        and (words & 0xF0F0F0F0_FFF00000 == 0x30303030_2E300000).all()
        and (digits + 0x06060606_00060000 & 0xF0F0F0F0_00F00000 == 0).all()
    ):
        return None
    value = digits >> 16 & 15
    for shift in (32, 40, 48, 56):
        value = value * 10 + (digits >> shift & 15)
    # Integer and divisor are exact, so that the quotient is the float64 that is nearest, as `float` gives it.
    quotient = value / 10**4
    return np.where(minus, -quotient, quotient).astype(np.float32)


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
