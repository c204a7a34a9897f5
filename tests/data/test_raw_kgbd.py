"""The reader of KGBD."""

import numpy as np
import pytest

from sge_la.data.raw import kgbd
from sge_la.data.raw.reading import read_all
from sge_la.errors import UserError
from tests.data.generators import (
    body,
    kgbd_text,
    write_kgbd,
)


def test_kgbd_is_read_in_order_of_numbers(tmp_path):
    """Person 2 before person 10, and recording 9 before 10, which as text would be the other way round."""
    recordings = [body(3, 20, seed) for seed in range(10)]
    write_kgbd(tmp_path / 'Data' / 'kinect gait raw dataset', {10: recordings[:1], 2: recordings})
    found = kgbd.find(tmp_path)
    assert [raw.identity for raw in found.recordings] == [2] * 10 + [10]
    # Names do not depend on where the folder lies, so that a list of them is good for everybody.
    assert [raw.name for raw in found.recordings[:10]] == [f'Person002/{number}.txt' for number in range(1, 11)]
    for raw, frames in zip(found.recordings, recordings, strict=False):
        read = found.read(raw)
        assert read.frames.dtype == np.float32 and read.numbers is None
        np.testing.assert_array_equal(read.frames, frames)
    assert found.skeleton.joints[11] == 'HipCenter'


def test_kgbd_joints_are_those_of_the_same_names():
    """`Hip-centro` is the only one that is spelt otherwise."""
    names = [name.replace('-', '').replace('Hipcentro', 'HipCenter') for name in kgbd.JOINT_NAMES]
    assert names == list(kgbd.SKELETON.joints)


def test_kgbd_tells_files_that_it_does_not_use(tmp_path):
    write_kgbd(tmp_path, {1: [body(1, 20, 0)]})
    (tmp_path / 'Person001' / '1 (copy).txt').write_text('x')
    (tmp_path / 'Person001' / '._1.txt').write_text('x')
    (tmp_path / 'README').write_text('x')
    (note,) = kgbd.find(tmp_path).notes
    assert 'Person001/1 (copy).txt is not named like a recording' in note


def test_kgbd_reads_exponents_spaces_and_mixed_line_ends():
    frames = body(2, 20, 0)
    frames[0, 0, 0] = np.float32(-3.5e-05)
    lines = kgbd_text(frames, '\n').split('\n')
    lines[0] = f' Head ; -3.5E-05;{frames[0, 0, 1]:.4f} ;{frames[0, 0, 2]:.4f}'
    text = '\r\n'.join(lines[:7]) + '\n\n' + '\n'.join(lines[7:])
    np.testing.assert_array_equal(kgbd.parse(text.encode(), 'x'), frames)


def test_the_quick_way_and_line_by_line_agree():
    """Zero keeps its sign."""
    frames = body(50, 20, 1)
    frames[3, 4] = -0.0
    for text in (kgbd_text(frames, '\n'), kgbd_text(frames, '\r\n'), kgbd_text(frames, '\n').rstrip()):
        quick = kgbd._parse_regular(text.encode())
        assert quick is not None
        np.testing.assert_array_equal(quick.view(np.int32), frames.view(np.int32))
        lines = kgbd._parse_lines(text.replace('\r\n', '\n'), 'x')
        np.testing.assert_array_equal(quick.view(np.int32), lines.view(np.int32))


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (';', ';;'),
        ('Head;', 'Head;5;'),
        ('Head;', 'Head-'),
        ('Shoulder-Center', 'ShoulderCenter'),
        ('Shoulder-Center', 'Shoulder.Center'),
        ('Shoulder-Center', 'ShoulderCenter-'),
        ('.', '.1'),
        ('.', '-'),
        ('.', ''),
        (';', ';1'),
        (';', '; '),
        ('Head;', 'Head;--'),
        ('\nShoulder', ';\nShoulder'),
        ('\nShoulder', '5\r\nShoulder'),
    ],
)
def test_the_quick_way_leaves_whatever_is_odd_to_the_other(old, new):
    text = kgbd_text(body(2, 20, 1), '\n')
    odd = text.replace(old, new, 1)
    assert odd != text
    assert kgbd._parse_regular(odd.encode()) is None
    shifted = text[: len(text) // 2] + text[len(text) // 2 :].replace(old, new, 1)
    assert shifted == text or kgbd._parse_regular(shifted.encode()) is None


def edited(change) -> bytes:
    lines = kgbd_text(body(2, 20, 0), '\n').split('\n')
    change(lines)
    return '\n'.join(lines).encode()


def replaced(at: int, line: str):
    def change(lines: list[str]) -> None:
        lines[at] = line

    return change


BAD_KGBD = {
    'a missing line': (lambda lines: lines.pop(5), r'line 6: the joint Elbow-Left was expected, found .Wrist-Right'),
    'a line twice': (lambda lines: lines.insert(3, lines[3]), 'line 5: the joint Elbow-Right was expected'),
    'another name': (replaced(0, 'Nose;1;2;3'), "line 1: the joint Head was expected, found 'Nose;1;2;3'"),
    'two joints in the wrong order': (lambda lines: lines.insert(0, lines.pop(1)), 'line 1: the joint Head'),
    'text for a number': (replaced(20, 'Head;1;two;3'), "line 21: a number was expected, found 'two'"),
    'no number': (replaced(20, 'Head;1;;3'), "line 21: a number was expected, found ''"),
    'a decimal comma': (replaced(20, 'Head;1;0,5;3'), "line 21: a number was expected, found '0,5'"),
    'NaN': (replaced(39, 'Foot-Left;1;nan;3'), 'line 40: a coordinate in metres was expected'),
    'too large': (replaced(39, 'Foot-Left;1;1e30;3'), "found '1e30'"),
    'a short line': (replaced(4, 'Elbow-Right;1;2'), 'line 5: Elbow-Right;x;y;z was expected'),
    'a long line': (replaced(4, 'Elbow-Right;1;2;3;4'), 'line 5: Elbow-Right;x;y;z was expected'),
    'two lines in one': (lambda lines: lines.insert(0, lines.pop(0) + ';' + lines.pop(0)), 'line 1: Head;x;y;z'),
    'a broken line': (replaced(0, 'Head;1\n;2;3'), 'line 1: Head;x;y;z was expected'),
    'the end of the last frame': (lambda lines: lines.__delitem__(slice(33, None)), '13 of 20 joints'),
    'everything': (lambda lines: lines.clear(), 'is empty'),
}


@pytest.mark.parametrize('name', BAD_KGBD)
def test_bad_kgbd_recordings_are_refused(name):
    change, message = BAD_KGBD[name]
    with pytest.raises(UserError, match=message) as caught:
        kgbd.parse(edited(change), 'Person001/1.txt')
    assert str(caught.value).startswith('Person001/1.txt')


def test_bad_kgbd_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match='has none'):
        kgbd.find(tmp_path)
    write_kgbd(tmp_path, {1: []})
    with pytest.raises(UserError, match='Person001 should hold recordings'):
        kgbd.find(tmp_path)
    write_kgbd(tmp_path / 'copy', {1: [body(1, 20, 0)]})
    (tmp_path / 'Person001' / '1.txt').write_text('')
    with pytest.raises(UserError, match='person 1 was found twice'):
        kgbd.find(tmp_path)
    (tmp_path / 'copy' / 'Person001' / '01.txt').write_text('')
    with pytest.raises(UserError, match='same number'):
        kgbd.find(tmp_path / 'copy')


def test_the_real_kgbd_is_read_as_published(kgbd_sample):
    """Every number, against Python's own reading of each line."""
    found = kgbd.find(kgbd_sample)
    assert [raw.name for raw in found.recordings] == [f'Person015/{k}.txt' for k in (1, 2, 3)] + [
        f'Person064/{k}.txt' for k in (1, 2, 3, 4, 5)
    ]
    recordings = read_all(found.read, found.recordings)
    for raw, recording in zip(found.recordings, recordings, strict=True):
        lines = raw.path.read_text(encoding='ascii').split()
        assert len(lines) == 20 * len(recording.frames)
        values = [[np.float32(field) for field in line.split(';')[1:]] for line in lines]
        np.testing.assert_array_equal(recording.frames.reshape(-1, 3), values)
        assert tuple(line.partition(';')[0] for line in lines[:20]) == kgbd.JOINT_NAMES
    np.testing.assert_array_equal(recordings[7].frames, recordings[6].frames)
    # The names are true: the head is above the hip centre, and the right foot is a foot.
    height = recordings[0].frames[:, :, 1].mean(axis=0)
    joints = found.skeleton.joints
    assert height[joints.index('Head')] > height[joints.index('HipCenter')] > height[joints.index('FootRight')]
