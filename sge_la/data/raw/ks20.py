"""The raw recordings of KS20 VisLab Multi-View Kinect (Nambiar and others, 2017) as text files, one a frame.

`<view>/gc<take>_body<person>_<time>...txt` has a line `id,x,y,z,...` for each of 25 joints (second Kinect), in metres.
Views are frontal, left_diagonal, left_lateral, right_diagonal and right_lateral; a person has a take of each number in
each view. The data set's authors publish a `.mat` file; how the text files are made from it was never published.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from sge_la.data.raw.recording import RawData, RawRecording, Recording
from sge_la.data.raw.text import coordinate, natural, read_text, shown
from sge_la.data.skeletons import SKELETONS
from sge_la.errors import UserError
from sge_la.files.atomic import os_errors

SKELETON = SKELETONS['kinect_v2']
# View 0 to 4 of `--view`. The paper has 0, 30, 90, 130 and 180 degrees; which name stands for which is our reading.
VIEWS = ('left_lateral', 'left_diagonal', 'frontal', 'right_diagonal', 'right_lateral')
# The numbers in the files, in the order of the labels 0 to 19.
BODIES = (1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24)
_BYTES_PER_FRAME = 1200
_FRAME = re.compile(r'gc(\d{1,4})_body(\d{1,4})_([^_]+).*\.(?:txt|csv)')


def find(folder: Path) -> RawData:
    """Lists the recordings: all frames of one person, take and view.

    They are put together by their names. (The published script files the last person of a take under the next take,
    loses the last person of all, and sorts times as text.)

    `folder`: the folder of the five views, or the one above it. Raises UserError: a view is missing, a file belongs to
    an unknown person, or there is only the `.mat` file.
    """
    root = next((place for place in (folder, folder / 'KS20') if any((place / view).is_dir() for view in VIEWS)), None)
    if root is None:
        if any(folder.rglob('*.mat')):
            raise UserError(
                f'{folder} holds a .mat file, whose structure is published nowhere, so that it cannot be read; '
                f'text files in the folders {", ".join(VIEWS)} are needed'
            )
        raise UserError(f"{folder} should hold KS20's folders {', '.join(VIEWS)}; give --raw the folder of the views")
    recordings, notes = [], []
    for view, view_name in enumerate(VIEWS):
        place = root / view_name
        groups = defaultdict(list)
        with os_errors(place, 'read'):
            names = sorted(os.listdir(place))
        for name in names:
            match = _FRAME.fullmatch(name)
            if match:
                groups[int(match[2]), int(match[1])].append((natural(match[3]), name))
            elif not name.startswith('.'):
                notes.append(f'{place / name} is not named like a frame (gc1_body1_<time>...txt) and not used')
        if not groups:
            raise UserError(f'{place} is empty: frames gc1_body1_<time>...txt were expected; fetch the view again')
        for (body, take), frames in sorted(groups.items()):
            if body not in BODIES:
                raise UserError(f'{place}: body {body} is none of the 20 people of KS20; remove its files')
            name = f'{view_name}/gc{take}_body{body}'
            files = tuple(frame for _, frame in sorted(frames))
            size = _BYTES_PER_FRAME * len(files)
            person = f'body{body}'
            recordings.append(
                RawRecording(name, place, person, BODIES.index(body), f'gc{take}', view, size=size, files=files)
            )
    recordings.sort(key=lambda raw: (raw.identity, raw.view, natural(raw.part)))
    return RawData(SKELETON, recordings, read, tuple(notes))


def read(raw: RawRecording) -> Recording:
    """Reads the frames of one recording.

    Raises UserError: a file is no frame; file and line are named.
    """
    frames = [parse(read_text(raw.path / name), str(raw.path / name)) for name in raw.files]
    return Recording(raw, np.stack(frames))


def parse(text: str, where: str) -> np.ndarray:
    """Turns the text of one frame into an array.

    `text`: the lines, separated by newlines; those after the first 25 are ignored; `where`: the file, for the errors.
    Returns float32 `[25, 3]`, metres. Raises UserError: a line is missing, too short or no numbers.
    """
    num_joints = len(SKELETON.joints)
    rows = [(number, line.split(',')) for number, line in enumerate(text.split('\n'), 1) if line.strip()][:num_joints]
    if len(rows) < num_joints:
        raise UserError(
            f'{where}: {num_joints} lines were expected, one a joint, found {len(rows)}; fetch it again or remove it'
        )
    values = []
    for number, fields in rows:
        if len(fields) < 4:
            raise UserError(
                f'{where}, line {number}: id,x,y,z was expected, found {shown(",".join(fields))}; '
                'fetch the file again or remove it'
            )
        values.append([coordinate(field, f'{where}, line {number}') for field in fields[1:4]])
    return np.array(values, np.float32)
