"""Poses estimated from the videos of CASIA-B: one text file a walk, 14 joints.

`PPP-CC-NN-VVV.txt` is person, condition (nm normal, bg bag, cl coat), number of the walk and view in degrees (000 to
180 in steps of 18), as the data set names its videos. Each line is a frame: 42 numbers, x, y and z of one joint after
the other. The original's authors estimated poses by OpenPose and 3DHumanPose and published no script.
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

SKELETON = SKELETONS['casia_b']
CONDITIONS = ('nm', 'bg', 'cl')
VIEWS = tuple(range(0, 181, 18))
_WALK = re.compile(r'(\d{3})-([a-z]{2})-(\d{2})-(\d{3})\.txt')
_SPLIT = re.compile(r'[\s,;]+')


def find(folder: Path) -> RawData:
    """Lists the walks in a folder and those below it; a person's label is the number in the file names.

    `folder`: where the walks lie. Returns walks sorted by person, condition (nm, bg, cl), number and view; the views of
    a walk share its name. Raises UserError: there is none, one occurs twice, or a name has an unknown condition or
    view.
    """
    found, notes = {}, []
    with os_errors(folder, 'read'):
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                match = _WALK.fullmatch(name)
                if match is None:
                    if not name.startswith('.'):
                        notes.append(
                            f'{path.relative_to(folder)} is not named like a walk (001-nm-01-090.txt), not used'
                        )
                    continue
                person, condition, number, degrees = match.groups()
                if condition not in CONDITIONS or int(degrees) not in VIEWS:
                    raise UserError(
                        f'{path}: a condition nm, bg or cl and a view 000, 018, ... 180 were expected in the name; '
                        'rename or remove the file'
                    )
                key = (int(person), CONDITIONS.index(condition), int(number), VIEWS.index(int(degrees)))
                if key in found:
                    raise UserError(f'{found[key].path} and {path} are the same walk; remove one of them')
                size = path.stat().st_size
                walk = f'{person}-{condition}-{number}'
                found[key] = RawRecording(name, path, person, int(person), condition, key[3], walk, size)
    if not found:
        raise UserError(f'{folder} should hold walks named like 001-nm-01-090.txt and has none; check --raw')
    return RawData(SKELETON, [raw for _, raw in sorted(found.items())], read, tuple(notes))


def read(raw: RawRecording) -> Recording:
    """Reads one walk.

    Raises UserError: a line has not 42 numbers; file and line are named.
    """
    return Recording(raw, parse(read_text(raw.path), str(raw.path)))


def parse(text: str, where: str) -> np.ndarray:
    """Turns the text of a walk into an array.

    `text`: a line a frame, numbers separated by spaces, tabs, commas or semicolons; `where`: the file, for the errors.
    Returns float32 `[F, 14, 3]`, F > 0. Raises UserError: the file is empty, a line has not 42 fields, or one of them
    is no number.
    """
    width = 3 * len(SKELETON.joints)
    rows = []
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        fields = _SPLIT.split(line.strip(' \t,;'))
        if len(fields) != width:
            raise UserError(
                f'{where}, line {number}: {width} numbers were expected, found {len(fields)} in {shown(line)}; '
                'correct or remove the file'
            )
        row = coordinates(fields)
        if row is None:
            row = [coordinate(field, f'{where}, line {number}') for field in fields]
        rows.append(row)
    if not rows:
        raise UserError(f'{where} is empty; fetch it again or remove it')
    return np.array(rows, np.float32).reshape(-1, len(SKELETON.joints), 3)
