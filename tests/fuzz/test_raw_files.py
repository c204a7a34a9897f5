"""Damaged raw recordings and tables: a right result or a `UserError`, never another exception or a hang."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sge_la.data.raw import casia_b, kgbd, kinect_v1, ks20, own
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.raw.text import MAX_COORDINATE, read_content, read_text
from sge_la.data.skeletons import SKELETONS, Skeleton
from tests.data.generators import (
    alphapose,
    azure,
    body,
    casia_b_text,
    kgbd_text,
    openpose,
    own_csv,
    read_table,
    skel_text,
    skeleton_text,
    trc_text,
)
from tests.fuzz.bounds import hold_to_its_word
from tests.fuzz.mutation import cases

STICK = Skeleton('own', ('Hip', 'Head', 'Foot'), (-1, 0, 0), ())
TABLE = 'file,person,recording,split\n1.csv,Ann,1,train\n2.csv,Ann,2,\n3.npy,Bo,x,test\n'


def coordinates_are_sound(result: Any, content: bytes, lost: bool = False) -> None:
    """Whatever was read is finite (but for joints that were `lost`), of the right kind and shape, and no larger than
    the text that it is from."""
    if result is None:
        return
    assert result.dtype == np.float32 and result.shape[-1] == 3
    assert not (np.abs(result) > MAX_COORDINATE).any() and (lost or np.isfinite(result).all())
    # A number and what divides it from the next take two bytes.
    assert 2 * result.size <= len(content) + 1


def numbers_rise(recording: Recording) -> np.ndarray:
    """The frames of a recording whose numbers and rate are sound."""
    if recording.numbers is not None:
        assert recording.numbers.dtype == np.int64 and len(recording.numbers) == len(recording.frames)
        assert (np.diff(recording.numbers) > 0).all()
    assert recording.rate is None or 0 < recording.rate < 1e4
    assert all(len(note) < 1000 for note in recording.notes)
    return recording.frames


def rows_agree(result: Any, content: bytes) -> None:
    """A recording that is read is read right: line by line, Python reads the same numbers."""
    coordinates_are_sound(result, content)
    text = content.decode('utf-8-sig').replace('\r\n', '\n').replace('\r', '\n')
    rows = [[float(field.strip()) for field in line.split(';')[1:]] for line in text.split('\n') if line.strip()]
    np.testing.assert_array_equal(result.reshape(-1, 3), np.array(rows, np.float64).astype(np.float32))


def test_kgbd(tmp_path, fuzz_cases):
    seeds = [kgbd_text(body(2, 20, 0)).encode(), kgbd_text(body(1, 20, 1), '\n').encode()]
    seeds.append(b'\xef\xbb\xbf' + seeds[1])
    counts = hold_to_its_word(
        cases(seeds, fuzz_cases), tmp_path / '1.txt', lambda path: kgbd.parse(read_content(path), 'x'), rows_agree
    )
    assert min(counts) > 0


@pytest.mark.parametrize('first_rows_only', [True, False])
def test_skeleton_frames(tmp_path, fuzz_cases, first_rows_only):
    frame = body(1, 20, 0)[0]
    seeds = [skel_text(frame).encode(), skel_text(frame, [2, 1] * 10).replace('\n', '\r\n').encode()]

    def read(path: Path) -> Any:
        return kinect_v1.parse(read_text(path), 'x', first_rows_only)

    counts = hold_to_its_word(cases(seeds, fuzz_cases), tmp_path / 'skel.txt', read, coordinates_are_sound)
    assert min(counts) > 0


@pytest.mark.parametrize(
    'parse, text',
    [
        (
            ks20.parse,
            ''.join(f'{joint},{x:.4f},{y:.4f},{z:.4f}\n' for joint, (x, y, z) in enumerate(body(1, 25, 0)[0])),
        ),
        (casia_b.parse, casia_b_text(body(3, 14, 0))),
    ],
)
def test_other_texts(tmp_path, fuzz_cases, parse: Callable[[str, str], np.ndarray], text):
    def read(path: Path) -> Any:
        return parse(read_text(path), 'x')

    counts = hold_to_its_word(cases([text.encode()], fuzz_cases), tmp_path / 'x.txt', read, coordinates_are_sound)
    assert min(counts) > 0


def test_own_recordings(tmp_path, fuzz_cases):
    frames = body(4, 3, 0)
    seeds = [own_csv(frames, STICK).encode(), own_csv(frames, STICK, [3, 4, 8, 9]).replace('\n', '\r\n').encode()]
    lines = own_csv(frames, STICK).splitlines()
    times = ['time_stamp', *(f'"2024-02-29 23:59:59.{at:03d}"' for at in range(0, 132, 33))]
    seeds.append(
        '\n'.join(map('\t'.join, zip(times, (line.replace(',', '\t') for line in lines), strict=True))).encode()
    )
    rows = [
        f'{at},{name},{x:.4f},{y:.4f}'
        for at, frame in enumerate(frames)
        for name, (x, y, _) in zip('012', frame, strict=True)
    ]
    seeds.append('\n'.join(['frame,landmark,x,y', *rows]).encode())
    rows = zip(['timestamp', 1.0, 1.03, 1.07, 1.3], lines, strict=True)
    seeds.append('\n'.join(f'{at},{line}' for at, line in rows).encode())

    def read(path: Path) -> Any:
        return numbers_rise(read_table(read_text(path), STICK))

    counts = hold_to_its_word(
        cases(seeds, fuzz_cases), tmp_path / 'x.csv', read, partial(coordinates_are_sound, lost=True)
    )
    assert min(counts) > 0


def sensors() -> dict[str, list[str]]:
    """Valid files of each kind: one body and two, with joints that were not seen."""
    kinect, azure_body, points = body(3, 25, 0), body(3, 32, 0), body(3, 25, 0)[..., :2]
    return {
        'skeleton': [
            skeleton_text([{7: joints} for joints in kinect]),
            skeleton_text([{7: kinect[0], 8: kinect[1]}, {8: kinect[2]}], lost={(0, 8): [3]}),
        ],
        'azure': [azure([{1: azure_body[0]}]), azure([{1: azure_body[0], 2: azure_body[1]}, {}], lost={(0, 2): [4]})],
        'openpose': [openpose(points[:1]), openpose(points[:2])],
        'alphapose': [alphapose([(f'{at}.jpg', joints[:17], at % 2) for at, joints in enumerate(points)])],
        'trc': [trc_text(body(4, 3, 0), STICK.joints), trc_text(body(6, 3, 0), STICK.joints, [2, 4, 6, 8, 10, 14])],
    }


@pytest.mark.parametrize(
    'kind, ending, skeleton',
    [
        ('skeleton', 'skeleton', SKELETONS['kinect_v2']),
        ('azure', 'json', SKELETONS['azure_kinect']),
        ('openpose', 'json', SKELETONS['openpose_25']),
        ('alphapose', 'json', SKELETONS['coco_17']),
        ('trc', 'trc', STICK),
    ],
)
def test_files_of_sensors(tmp_path, fuzz_cases, kind, ending, skeleton):
    """The same promises, the choice of a body and the frame numbers included."""

    def read(path: Path) -> Any:
        return numbers_rise(own.read(RawRecording(path.name, path, 'Ann', 0), skeleton))

    seeds = [text.encode() for text in sensors()[kind]]
    counts = hold_to_its_word(
        cases(seeds, fuzz_cases), tmp_path / f'x.{ending}', read, partial(coordinates_are_sound, lost=True)
    )
    assert min(counts) > 0


@pytest.mark.parametrize('damaged', ['recordings.csv', 'skeleton.json'])
def test_tables_and_skeletons(tmp_path, fuzz_cases, damaged):
    """Whatever the table says, only files inside the folder are found, each for one person."""
    frames = body(3, 3, 0)
    for name in ('1.csv', '2.csv'):
        (tmp_path / name).write_text(own_csv(frames, STICK))
    np.save(tmp_path / '3.npy', frames)
    value = {'joints': STICK.joints, 'parents': STICK.parents, 'pairs': [[1, 2]]}
    (tmp_path / 'skeleton.json').write_text(json.dumps(value))
    (tmp_path / 'recordings.csv').write_text(TABLE)

    def check(found: Any, content: bytes) -> None:
        paths = [raw.path for raw in found.recordings]
        assert len(set(paths)) == len(paths) and paths
        assert {path.name for path in paths} <= {'1.csv', '2.csv', '3.npy'}
        assert {raw.identity for raw in found.recordings} == set(range(len({raw.person for raw in found.recordings})))
        assert found.skeleton.parents.count(-1) == 1

    seeds = [(tmp_path / damaged).read_bytes()]
    counts = hold_to_its_word(cases(seeds, fuzz_cases), tmp_path / damaged, lambda path: own.find(tmp_path), check)
    assert min(counts) > 0
