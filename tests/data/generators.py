"""Writes raw recordings in the exact form of each data set, for tests of their readers.

KGBD's form is known from real files; the others' from their descriptions. Coordinates are rounded to the digits that
are written, so that what a reader gives can be compared exactly.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sge_la.data.raw import table
from sge_la.data.raw.kgbd import JOINT_NAMES
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.skeletons import SKELETONS, Skeleton

# What follows the tracking state in BIWI and IAS: quality, two joints of a link, a quaternion.
_REST = '0,1,2,0.1,0.2,0.3,0.9'


def body(num_frames: int, num_joints: int, seed: int) -> np.ndarray:
    """Random coordinates of somebody near, with 4 decimals: float32 `[F, J, 3]`."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-1, 1, (1, num_joints, 3)) + np.cumsum(rng.normal(0, 0.01, (num_frames, num_joints, 3)), axis=0)
    return np.round(place, 4).astype(np.float32)


def kgbd_text(frames: np.ndarray, end: str = '\r\n') -> str:
    """A recording of KGBD."""
    lines = [
        f'{joint};{x:.4f};{y:.4f};{z:.4f}{end}'
        for frame in frames
        for joint, (x, y, z) in zip(JOINT_NAMES, frame, strict=True)
    ]
    return ''.join(lines)


def write_kgbd(folder: Path, people: Mapping[int, Sequence[np.ndarray]]) -> Path:
    """`PersonNNN/1.txt`, `2.txt`, ... for each person."""
    for person, recordings in people.items():
        place = folder / f'Person{person:03d}'
        place.mkdir(parents=True)
        for number, frames in enumerate(recordings, 1):
            (place / f'{number}.txt').write_bytes(kgbd_text(frames).encode())
    return folder


def skel_text(frame: np.ndarray, states: Sequence[int] | None = None, person: int = 1) -> str:
    """One frame of BIWI or IAS."""
    states = [2] * len(frame) if states is None else states
    rows = zip(frame, states, strict=True)
    return ''.join(f'{person},{x:.4f},{y:.4f},{z:.4f},320,240,{state},{_REST}\n' for (x, y, z), state in rows)


def write_skel_folder(
    folder: Path, frames: np.ndarray, lost: Mapping[int, int] | None = None, take: str = '000', first: int = 0
) -> None:
    """A recording of BIWI or IAS; `lost` gives frames in which a joint is not tracked."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        states = [2] * len(frame)
        if lost and number in lost:
            states[lost[number]] = 0
        name = f'{take}_{first + number:06d}-d_{1000 + number}_skel.txt'
        (folder / name).write_text(skel_text(frame, states))
        # The folders hold other files as well.
    (folder / f'{take}_{first:06d}-e_1000_groundCoeff.txt').write_text('0,1,0,1\n')


def write_ks20_frame(folder: Path, view: str, take: int, bodynumber: int, time: str, frame: np.ndarray) -> None:
    """One frame of KS20."""
    place = folder / view
    place.mkdir(parents=True, exist_ok=True)
    text = ''.join(f'{joint},{x:.4f},{y:.4f},{z:.4f},2\n' for joint, (x, y, z) in enumerate(frame))
    (place / f'gc{take}_body{bodynumber}_{time}_skeleton.txt').write_text(text + 'floor,0,1,0\n')


def casia_b_text(frames: np.ndarray) -> str:
    """A walk of CASIA-B."""
    return ''.join(' '.join(f'{value:.4f}' for value in frame.reshape(-1)) + '\n' for frame in frames)


def own_csv(frames: np.ndarray, skeleton: Skeleton, numbers: Sequence[int] | None = None) -> str:
    """A recording of the user's own as CSV."""
    header = [f'{joint}_{axis}' for joint in skeleton.joints for axis in 'xyz']
    rows = [[f'{value:.4f}' for value in frame.reshape(-1)] for frame in frames]
    if numbers is not None:
        header, rows = ['frame', *header], [[str(number), *row] for number, row in zip(numbers, rows, strict=True)]
    return '\n'.join(','.join(row) for row in [header, *rows]) + '\n'


def read_table(text: str, skeleton: Skeleton, wanted: str = '') -> Recording:
    """What the reader of tables makes of a file `x` with this text, and of the body that is wanted of it."""
    return table.parse(text, RawRecording('x', Path('x'), 'Ann', 0, body=wanted), skeleton)


def skeleton_text(
    frames: Sequence[Mapping[int, np.ndarray]], lost: Mapping[tuple[int, int], Sequence[int]] | None = None
) -> str:
    """A `.skeleton` file: for each frame the joints of each body; `lost` joints of (frame, body) are not tracked."""
    lines = [str(len(frames))]
    for at, bodies in enumerate(frames):
        lines.append(str(len(bodies)))
        for name, joints in bodies.items():
            lines += [f'{name} 0 1 1 1 1 0 0.1 0.2 2', str(len(joints))]
            gone = (lost or {}).get((at, name), ())
            for joint, (x, y, z) in enumerate(joints):
                lines.append(f'{x:.4f} {y:.4f} {z:.4f} 0 200 1000 500 0.1 0.2 0.3 0.9 {0 if joint in gone else 2}')
    return '\n'.join(lines) + '\n'


def azure(
    frames: Sequence[Mapping[int, np.ndarray]],
    ids: Sequence[int] | None = None,
    lost: Mapping[tuple[int, int], Sequence[int]] | None = None,
) -> str:
    """What `offline_processor` writes, with levels of confidence if joints are `lost`: millimetres, y down."""
    written = []
    for at, bodies in enumerate(frames):
        entries = []
        for name, joints in bodies.items():
            positions = (joints.astype(np.float64) * [1000, -1000, -1000]).round(1).tolist()
            entry = {'body_id': name, 'joint_positions': positions, 'joint_orientations': [[1, 0, 0, 0]] * len(joints)}
            if lost:
                gone = lost.get((at, name), ())
                entry['confidence_level'] = [0 if joint in gone else 2 for joint in range(len(joints))]
            entries.append(entry)
        time = {'timestamp_usec': 1000 + 33_333 * at, 'frame_id': ids[at] if ids else at, 'num_bodies': len(bodies)}
        written.append({**time, 'bodies': entries})
    return json.dumps({'joint_names': SKELETONS['azure_kinect'].joints, 'bone_list': [], 'frames': written})


def openpose(people: Sequence[np.ndarray]) -> str:
    """A frame of OpenPose: x and y of each person's joints `[25, 2]`, y up."""
    flat = [np.column_stack([joints * [1, -1], np.full(len(joints), 0.5)]).ravel().tolist() for joints in people]
    return json.dumps({'version': 1.3, 'people': [{'person_id': [-1], 'pose_keypoints_2d': points} for points in flat]})


def alphapose(people: Sequence[tuple[str, np.ndarray, int | list | None]]) -> str:
    """What AlphaPose writes: image, x and y of the joints `[J, 2]`, y up, and number of each person, None for none."""
    written = []
    for image, joints, number in people:
        points = np.column_stack([joints * [1, -1], np.full(len(joints), 0.5)]).ravel().tolist()
        entry = {'image_id': image, 'category_id': 1, 'keypoints': points, 'score': 2.5}
        written.append(entry if number is None else {**entry, 'idx': number})
    return json.dumps(written)


def trc_text(frames: np.ndarray, markers: Sequence[str], numbers: Sequence[int] | None = None) -> str:
    """A TRC file in millimetres, 60 frames a second."""
    count = len(frames)
    lines = [
        'PathFileType\t4\t(X/Y/Z)\twalk.trc',
        'DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames',
        f'60\t60\t{count}\t{len(markers)}\tmm\t60\t1\t{count}',
        'Frame#\tTime\t' + '\t\t\t'.join(markers) + '\t\t',
        '\t\t' + '\t'.join(f'{axis}{marker + 1}' for marker in range(len(markers)) for axis in 'XYZ'),
        '',
    ]
    for number, frame in zip(numbers or range(1, count + 1), frames, strict=True):
        values = [f'{1000 * value:.1f}' for value in frame.astype(np.float64).ravel()]
        lines.append('\t'.join([str(number), f'{number / 60:.6f}', *values]))
    return '\n'.join(lines) + '\n'


def write_own(folder: Path, skeleton: Skeleton, recordings: Sequence[tuple[str, str, str, str, np.ndarray]]) -> Path:
    """`recordings.csv`, `skeleton.json` and the recordings: (file, person, recording, split, frames) each."""
    folder.mkdir(parents=True, exist_ok=True)
    value = {'joints': skeleton.joints, 'parents': skeleton.parents, 'pairs': skeleton.pairs}
    (folder / 'skeleton.json').write_text(json.dumps(value))
    with (folder / 'recordings.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['file', 'person', 'recording', 'split'])
        for name, person, recording, split, frames in recordings:
            writer.writerow([name, person, recording, split])
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith('.npy'):
                np.save(folder / name, frames)
            else:
                (folder / name).write_text(own_csv(frames, skeleton))
    return folder
