"""Readers of raw recordings: what they read, and what they say of bad files."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sge_la.data.raw import casia_b, kgbd, kinect_v1, ks20
from sge_la.data.raw.reading import read_all
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.data.raw.text import coordinate, natural, read_text
from sge_la.errors import UserError
from tests.data.generators import (
    body,
    casia_b_text,
    skel_text,
    write_kgbd,
    write_ks20_frame,
    write_skel_folder,
)
from tests.data.raw_cases import read_one


@pytest.mark.parametrize('content', [b'a\nb\n', b'\xef\xbb\xbfa\r\nb\r\n', b'a\rb\r', b'a\r\nb\n'])
def test_all_line_ends_and_a_byte_order_mark_are_read(tmp_path, content):
    path = tmp_path / 'x.txt'
    path.write_bytes(content)
    assert read_text(path) == 'a\nb\n'


@pytest.mark.parametrize(
    'content, message',
    [
        (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer'),
        ('Head;1'.encode('utf-16'), 'UTF-16'),
        (b'Head;\xff', 'byte 5'),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    path = tmp_path / 'x.txt'
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_text(path)


@pytest.mark.parametrize('field', ['abc', '', 'nan', 'inf', '1e9', '1_0', '1,5', '0x1'])
def test_what_is_no_coordinate_is_refused(field):
    with pytest.raises(UserError, match=r'x\.txt, line 3'):
        coordinate(field, 'x.txt, line 3')


def test_numbers_in_names_sort_as_numbers():
    assert sorted(['p10', 'p9', 'a', 'p9b', '10', '9'], key=natural) == ['9', '10', 'a', 'p9', 'p9b', 'p10']


# KGBD


def biwi(folder: Path, people: int = 3, tested: tuple[int, ...] = (0, 2)) -> dict[str, np.ndarray]:
    """A small BIWI; returns the frames by the folder's name."""
    written = {}
    for person in range(people):
        for part in ('Training', 'Testing/Still', 'Testing/Walking'):
            if part == 'Training' or person in tested:
                name = f'{part}/{person:03d}'
                written[name] = body(6, 20, len(written))
                write_skel_folder(folder / name, written[name])
    return written


def test_biwi_keeps_the_folders_numbers(tmp_path):
    written = biwi(tmp_path)
    found = kinect_v1.find_biwi(tmp_path, 50)
    assert [(raw.identity, raw.part) for raw in found.recordings] == [
        (0, 'Still'),
        (0, 'Walking'),
        (0, 'Training'),
        (1, 'Training'),
        (2, 'Still'),
        (2, 'Walking'),
        (2, 'Training'),
    ]
    for raw in found.recordings:
        recording = found.read(raw)
        np.testing.assert_array_equal(recording.frames, written[raw.name])
        assert recording.numbers is None and recording.notes == ()


def test_biwi_28_are_those_who_are_tested(tmp_path):
    biwi(tmp_path / 'BIWI')
    found = kinect_v1.find_biwi(tmp_path, 28)
    assert {raw.identity for raw in found.recordings} == {0, 2}


def test_frames_with_a_lost_joint_are_left_out_and_the_rest_moves_together(tmp_path):
    frames = body(6, 20, 0)
    write_skel_folder(tmp_path / 'Training' / '007', frames, lost={0: 3, 4: 19})
    recording = read_one(kinect_v1.find_biwi(tmp_path))
    np.testing.assert_array_equal(recording.frames, frames[[1, 2, 3, 5]])
    assert recording.numbers is None


def test_a_missing_frame_file_is_told(tmp_path):
    frames = body(6, 20, 0)
    write_skel_folder(tmp_path / 'Training' / '000', frames)
    (gone,) = (tmp_path / 'Training' / '000').glob('*_000002-d_*_skel.txt')
    gone.unlink()
    recording = read_one(kinect_v1.find_biwi(tmp_path))
    np.testing.assert_array_equal(recording.frames, frames[[0, 1, 3, 4, 5]])
    (note,) = recording.notes
    assert '1 frame files are missing, the first after 000_000001-d_1001_skel.txt' in note


def test_two_takes_in_one_folder_do_not_run_together(tmp_path):
    """Frames 8 and 9 of the first take, 0 to 2 of the second: no sequence crosses from one to the other."""
    first, second = body(2, 20, 0), body(3, 20, 1)
    write_skel_folder(tmp_path / 'Training' / '000', first, take='000', first=8)
    write_skel_folder(tmp_path / 'Training' / '000', second, take='000b')
    recording = read_one(kinect_v1.find_biwi(tmp_path))
    np.testing.assert_array_equal(recording.frames, np.concatenate([first, second]))
    assert (np.diff(recording.numbers) == [1, 2, 1, 1]).all()


def test_biwi_ignores_lines_after_the_first_body_and_ias_does_not():
    frame = body(1, 20, 0)[0]
    text = skel_text(frame) + skel_text(frame + 1, person=2)
    np.testing.assert_array_equal(kinect_v1.parse(text, 'x', first_rows_only=True), frame)
    with pytest.raises(UserError, match='20 lines were expected, one a joint, found 40'):
        kinect_v1.parse(text, 'x', first_rows_only=False)


def changed_skel(at: int, column: int, field: str | None) -> str:
    rows = [line.split(',') for line in skel_text(body(1, 20, 0)[0]).splitlines()]
    if field is None:
        del rows[at][column:]
    else:
        rows[at][column] = field
    return '\n'.join(map(','.join, rows))


@pytest.mark.parametrize(
    'text, message',
    [
        (changed_skel(4, 2, 'high'), "x, line 5: a number was expected, found 'high'"),
        (changed_skel(4, 2, 'nan'), 'line 5: a coordinate in metres'),
        (changed_skel(4, 6, None), 'line 5: 7 columns or more were expected, found 6'),
        (changed_skel(4, 6, '3'), 'line 5: a tracking state 0, 1 or 2 was expected'),
        (changed_skel(4, 0, '2'), 'one person was expected, found 2 numbers'),
        ('', '20 lines were expected, one a joint, found 0'),
        ('\n'.join(skel_text(body(1, 20, 0)[0]).split('\n')[:19]), 'found 19'),
    ],
)
def test_bad_frames_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        kinect_v1.parse(text, 'x', first_rows_only=True)


def test_ias_people_are_matched_by_name(tmp_path):
    """Folders are written in another order for each part, and the names sort by their numbers."""
    names = {'Training': ['p10', 'p9', 'p1'], 'TestingA': ['p1', 'p10'], 'TestingB': ['p9', 'p10', 'p1']}
    for part, people in names.items():
        for seed, person in enumerate(people):
            write_skel_folder(tmp_path / part / person, body(2, 20, seed))
    found = kinect_v1.find_ias(tmp_path)
    assert {raw.person: raw.identity for raw in found.recordings} == {'p1': 0, 'p9': 1, 'p10': 2}
    assert len(found.recordings) == 8


def test_bad_skeleton_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match='and holds nothing'):
        kinect_v1.find_ias(tmp_path)
    (tmp_path / 'Training' / 'anna').mkdir(parents=True)
    with pytest.raises(UserError, match='anna is an empty recording'):
        kinect_v1.find_ias(tmp_path)
    write_skel_folder(tmp_path / 'Training' / 'anna', body(1, 20, 0))
    with pytest.raises(UserError, match='named by the number of a person'):
        kinect_v1.find_biwi(tmp_path)
    write_skel_folder(tmp_path / 'Training', body(1, 20, 0))
    with pytest.raises(UserError, match='sort them by person'):
        kinect_v1.find_ias(tmp_path)


# KS20


def small_ks20(folder: Path, bodies=(2, 24), takes=(1, 2), num_frames: int = 3) -> dict[str, np.ndarray]:
    """A small KS20 whose times are sorted wrongly as text."""
    written = {}
    for view in ks20.VIEWS:
        for take in takes:
            for number in bodies:
                name = f'{view}/gc{take}_body{number}'
                written[name] = body(num_frames, 25, len(written))
                for at, frame in enumerate(written[name]):
                    write_ks20_frame(folder, view, take, number, str(98 + at), frame)
    return written


def test_ks20_files_every_frame_under_its_own_take_in_order_of_time(tmp_path):
    """Times 98, 99, 100: as text 100 comes first. The last body of each take keeps its frames."""
    written = small_ks20(tmp_path / 'KS20')
    found = ks20.find(tmp_path)
    assert len(found.recordings) == len(written) == 20
    assert {raw.person: raw.identity for raw in found.recordings} == {'body2': 1, 'body24': 19}
    for raw in found.recordings:
        assert ks20.VIEWS[raw.view] == raw.name.split('/')[0]
        np.testing.assert_array_equal(found.read(raw).frames, written[raw.name])


def test_bad_ks20_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="should hold KS20's folders"):
        ks20.find(tmp_path)
    (tmp_path / 'KS20.mat').write_text('')
    with pytest.raises(UserError, match=r'a \.mat file.*cannot be read'):
        ks20.find(tmp_path)
    small_ks20(tmp_path)
    (tmp_path / 'frontal' / 'notes.txt').write_text('')
    assert 'not named like a frame' in ks20.find(tmp_path).notes[0]
    write_ks20_frame(tmp_path, 'frontal', 1, 5, '1', body(1, 25, 0)[0])
    with pytest.raises(UserError, match='body 5 is none of the 20 people'):
        ks20.find(tmp_path)
    for path in (tmp_path / 'right_lateral').iterdir():
        path.unlink()
    with pytest.raises(UserError, match='right_lateral is empty'):
        small = tmp_path / 'frontal'
        for path in small.glob('*body5*'):
            path.unlink()
        ks20.find(tmp_path)


@pytest.mark.parametrize(
    'text, message',
    [('1,2,3,4\n' * 24, 'found 24'), ('1,2,3\n' * 25, 'x, line 1: id,x,y,z'), ('1,2,x,4\n' * 25, "'x'")],
)
def test_bad_ks20_frames_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        ks20.parse(text, 'x')


# CASIA-B


def test_casia_b_walks_are_read_and_sorted(tmp_path):
    written = {}
    for name in ('002-nm-01-000', '001-cl-01-018', '001-bg-02-180', '001-nm-06-090', '001-nm-06-000'):
        path = tmp_path / name[:3] / f'{name}.txt'
        path.parent.mkdir(exist_ok=True)
        written[name] = body(4, 14, len(written))
        path.write_text(casia_b_text(written[name]))
    (tmp_path / 'list.txt').write_text('')
    found = casia_b.find(tmp_path)
    names = [raw.path.stem for raw in found.recordings]
    assert names == ['001-nm-06-000', '001-nm-06-090', '001-bg-02-180', '001-cl-01-018', '002-nm-01-000']
    assert [raw.view for raw in found.recordings] == [0, 5, 10, 1, 0]
    assert [raw.part for raw in found.recordings] == ['nm', 'nm', 'bg', 'cl', 'nm']
    # Two cameras, one walk.
    assert found.recordings[0].walk == found.recordings[1].walk != found.recordings[4].walk
    for raw in found.recordings:
        np.testing.assert_array_equal(found.read(raw).frames, written[raw.path.stem])
    assert 'list.txt is not named like a walk' in found.notes[0]


def test_casia_b_takes_commas_as_well():
    frames = body(2, 14, 0)
    np.testing.assert_array_equal(casia_b.parse(casia_b_text(frames).replace(' ', ', '), 'x'), frames)


def test_bad_casia_b_walks_are_refused(tmp_path):
    with pytest.raises(UserError, match='has none'):
        casia_b.find(tmp_path)
    (tmp_path / '001-nm-01-090.txt').write_text('')
    (tmp_path / 'copy').mkdir()
    (tmp_path / 'copy' / '001-nm-01-090.txt').write_text('')
    with pytest.raises(UserError, match='same walk'):
        casia_b.find(tmp_path)
    (tmp_path / '001-xx-01-090.txt').write_text('')
    with pytest.raises(UserError, match='a condition nm, bg or cl'):
        casia_b.find(tmp_path)


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'x is empty'),
        ('1 ' * 41, 'x, line 1: 42 numbers were expected, found 41'),
        ('1 ' * 43, 'found 43'),
        ('\n' + '1 ' * 41 + 'one', "x, line 2: a number was expected, found 'one'"),
        ('1 ' * 41 + 'inf', 'a coordinate in metres'),
        ('1 ' * 41 + '1_0', "found '1_0'"),
    ],
)
def test_bad_casia_b_lines_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        casia_b.parse(text, 'x')


# Many at once


def test_several_processes_read_what_one_reads(tmp_path):
    write_kgbd(tmp_path, {person: [body(4, 20, person), body(3, 20, 50 + person)] for person in range(1, 5)})
    found = kgbd.find(tmp_path)
    alone = read_all(found.read, found.recordings, processes=1)
    together = read_all(found.read, found.recordings, processes=2)
    assert [item.raw for item in together] == list(found.recordings)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)


def test_the_first_bad_recording_is_told_whoever_reads_it(tmp_path):
    write_kgbd(tmp_path, {1: [body(2, 20, 0), body(2, 20, 1), body(2, 20, 2)]})
    (tmp_path / 'Person001' / '2.txt').write_text('Head;1;2')
    (tmp_path / 'Person001' / '3.txt').write_text('')
    found = kgbd.find(tmp_path)
    for processes in (1, 2):
        with pytest.raises(UserError, match=r'2\.txt, line 1'):
            read_all(found.read, found.recordings, processes=processes)


def _die(raw: RawRecording, how: int) -> Recording:
    signal.raise_signal(how)
    raise AssertionError('still alive')


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no SIGKILL')
def test_a_killed_process_is_told():
    raws = [RawRecording(str(number), Path(), 'p', 0) for number in range(3)]
    with pytest.raises(UserError, match='was killed'):
        read_all(partial(_die, how=signal.SIGKILL), raws, processes=2)


def test_reading_needs_no_tensorflow():
    code = (
        'import sys; from sge_la.data.prepare import steps; from sge_la.data.raw import own, kgbd; '
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
