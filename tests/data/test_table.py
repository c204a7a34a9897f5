"""Tables as they come: separators, spellings, columns that are no joints, times, steps of frame numbers; bad ones."""

import time

import numpy as np
import pytest

from sge_la.data.skeletons import SKELETONS, Skeleton
from sge_la.errors import UserError
from tests.data.generators import body, own_csv, read_table

STICK = Skeleton('own', ('Hip', 'Head', 'Hand L', 'Hand R'), (-1, 0, 1, 1), ((2, 3),))
NAMES = [f'{joint}_{axis}' for joint in STICK.joints for axis in 'xyz']


def test_columns_may_come_in_any_order():
    """The file has Head, Hip, the frame number, then the hands, each z, y, x; the result has the skeleton's order."""
    frames = body(3, 4, 0)
    order = [1, 0, 2, 3]
    header = ['frame'] + [f'{STICK.joints[joint]}_{axis}' for joint in order for axis in 'zyx']
    rows = [
        [str(5 + at)] + [f'{frame[joint]["xyz".index(axis)]:.4f}' for joint in order for axis in 'zyx']
        for at, frame in enumerate(frames)
    ]
    text = '\n'.join(','.join(row[1:7] + row[:1] + row[7:]) for row in [header, *rows])
    read = read_table(text, STICK)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.numbers.tolist() == [5, 6, 7]


BAD_RECORDINGS = {
    'a wrong joint': ('Head_x', 'Nose_x', "x, line 1: .*Head_x is missing, and 'Nose_x' is no column"),
    'a joint less': (',Hand R_z', '', 'Hand R_z is missing'),
    'a joint twice': ('Head_x', 'Hip_x', "'Hip_x' and 'Hip_x' are one column"),
    'a joint twice in two spellings': ('Head_x,', 'head.X,HEAD_x,', "'HEAD_x' and 'head.X' are one column"),
    'a line of another length': ('Head_x', 'colour,Head_x', 'x, line 2: 13 columns were expected, found 12'),
    'a decimal comma': ('0.5000', '"0,5000"', "a decimal point was expected, found '0,5000'"),
    'a short line': ('0.5000,', '', 'x, line 3: 12 columns were expected, found 11'),
    'text': ('0.5000', 'far', "x, line 3, column Hip_x: a number was expected, found 'far'"),
    'infinity': ('0.5000', 'inf', 'column Hip_x: a coordinate in metres'),
}


@pytest.mark.parametrize('name', BAD_RECORDINGS)
def test_bad_recordings_are_refused(name):
    frames = np.ones((2, 4, 3), np.float32)
    frames[1, 0, 0] = 0.5
    old, new, message = BAD_RECORDINGS[name]
    text = own_csv(frames, STICK)
    assert old in text
    with pytest.raises(UserError, match=message):
        read_table(text.replace(old, new, 1), STICK)


@pytest.mark.parametrize(
    'numbers, message',
    [
        (['0', 'one'], "line 3: a frame number was expected, found 'one'"),
        (['0', '-1'], "found '-1'"),
        (['0', '1.5'], "found '1.5'"),
        (['7', '7'], 'x, line 3: frame numbers that grow were expected, but 7 follows 7'),
        (['7', '3'], 'but 3 follows 7'),
    ],
)
def test_bad_frame_numbers_are_refused(numbers, message):
    with pytest.raises(UserError, match=message):
        read_table(own_csv(body(2, 4, 0), STICK, numbers), STICK)


@pytest.mark.parametrize('text, message', [('', 'x is empty'), ('\n \n', 'x is empty')])
def test_empty_recordings_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        read_table(text, STICK)


def test_a_header_alone_is_refused():
    with pytest.raises(UserError, match='a header and no frame'):
        read_table(own_csv(body(0, 4, 0), STICK), STICK)


@pytest.mark.parametrize('separator', [';', '\t', ','])
@pytest.mark.parametrize(
    'spelt',
    [
        lambda joint, axis: f'{joint}.{axis}',
        lambda joint, axis: f'{joint.upper()}_{axis.upper()}',
        lambda joint, axis: f'{joint.replace("Hand L", "LeftHand").replace("Hand R", "hand_right")} {axis}',
        lambda joint, axis: f'{joint.replace("Hand L", "HandLeft").replace("Hand R", "RightHand")}{axis.upper()}',
        lambda joint, axis: f'{joint}.Position.{axis.upper()}',
        lambda joint, axis: f'x{STICK.joints.index(joint)}'.replace('x', axis),
        lambda joint, axis: f'joint{1 + STICK.joints.index(joint)}_{axis}',
    ],
)
def test_separators_and_spellings(separator, spelt):
    frames = body(5, 4, 0)
    text = own_csv(frames, STICK)
    for joint in STICK.joints:
        for axis in 'xyz':
            text = text.replace(f'{joint}_{axis}', spelt(joint, axis), 1)
    read = read_table(text.replace(',', separator), STICK)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.numbers is None and read.rate is None


@pytest.mark.parametrize('lost', ['', 'nan', '-nan(ind)', 'NA', ' '])
def test_cells_without_a_number_are_joints_that_were_not_seen(lost):
    """They are NaN, and for `--lost` to see to; the other joints of the frame are what they are."""
    frames = np.ones((2, 4, 3), np.float32)
    frames[1, 0, 0] = 0.5
    read = read_table(own_csv(frames, STICK).replace('0.5000', lost), STICK)
    frames[1, 0, 0] = np.nan
    np.testing.assert_array_equal(read.frames, frames)


def with_columns(frames: np.ndarray, **columns: list) -> str:
    """A table with more columns in front."""
    header, *lines = own_csv(frames, STICK).splitlines()
    rows = zip(*columns.values(), lines, strict=True)
    return '\n'.join([','.join([*columns, header]), *(','.join(map(str, row)) for row in rows)])


def test_columns_that_are_no_joints_are_left_out_and_named():
    frames = body(3, 4, 0)
    text = with_columns(frames, **{'': [0, 1, 2], 'Confidence': [0.5, 'high', ''], 'Nose_x': [9, 9, 9], 'State': '222'})
    read = read_table(text, STICK)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.notes == (
        'columns that hold no joint of the skeleton are left out: one without a name, Confidence, Nose_x, State',
    )


TIMES = {
    'seconds': [100 + at / 30 for at in range(12)],
    'milliseconds': [33, 67, 100, 133, 167, 200, 233, 267, 300, 333, 367, 400],
    'microseconds': [1_000_000 + 33_333 * at for at in range(12)],
    'ticks': [637_000_000_000_000_000 + 333_333 * at for at in range(12)],
    'nanoseconds since 1970': [1_700_000_000_000_000_000 + 33_333_333 * at for at in range(12)],
    'a clock': [f'12:59:59.{at:03d}' if at < 1000 else f'13:00:00.{at - 1000:03d}' for at in range(700, 1100, 33)][:12],
    "pandas' time": [f'0 days 00:00:40.{at:09d}' for at in range(0, 400_000_000, 33_333_333)][:12],
    'a date': [f'2024-02-29T23:59:59.{at:03d}Z' for at in range(0, 400, 33)][:12],
}


@pytest.mark.parametrize('name', TIMES)
def test_times_give_rate_and_gaps(name):
    """Times of 30 frames a second, the fifth frame missing: no sequence may cross there. The rate is told of all."""
    times = TIMES[name]
    text = with_columns(body(11, 4, 0), Timestamp=times[:4] + times[5:])
    read = read_table(text, STICK)
    assert read.numbers.tolist() == [0, 1, 2, 3, *range(5, 12)]
    assert abs(read.rate - 30) < 0.5 and read.notes == ()


def test_an_unpunctual_camera_loses_no_frame():
    """Steps of 50 and 90 ms in turn, as a real recording has them: none is twice the usual one."""
    times = np.cumsum([0, *[0.05, 0.09, 0.09] * 5])
    assert read_table(with_columns(body(16, 4, 0), time=times), STICK).numbers.tolist() == list(range(16))


@pytest.mark.parametrize('times', [['a', 'b', 'c', 'd', 'e', 'f'], [1] * 6, ['inf'] * 6, ['2024-13-01 10:00:00'] * 6])
def test_times_that_tell_nothing_are_left_out(times):
    read = read_table(with_columns(body(6, 4, 0), time=times), STICK)
    assert read.numbers is None and read.rate is None
    assert read.notes == ("the column 'time' holds no times that tell frames apart, and is left out",)


def test_times_that_run_back_are_refused():
    with pytest.raises(UserError, match=r"x, line 5: times 'time' that grow were expected, but 0\.5 follows 3\.0"):
        read_table(with_columns(body(6, 4, 0), time=[1, 2, 3, 0.5, 1.5, 2.5]), STICK)


@pytest.mark.parametrize(
    'numbers, expected, rate, note',
    [
        (range(4, 16, 2), range(6), None, 'frame numbers grow by 2: that is taken as one frame'),
        ([0, 2, 4, 6, 12, 14], [0, 1, 2, 3, 6, 7], None, 'frame numbers grow by 2: that is taken as one frame'),
        ([0, 33, 67, 100, 200, 233], [0, 1, 2, 3, 6, 7], 30, 'by 33 (milliseconds): that is taken as one frame'),
        ([7, 8, 9, 10, 12, 13], [7, 8, 9, 10, 12, 13], None, None),
        ([7, 107, 207], [7, 107, 207], None, None),
        (['1.0', '2.0', '10.0'], [1, 2, 10], None, None),
    ],
)
def test_steps_of_frame_numbers_are_the_rate(numbers, expected, rate, note):
    read = read_table(with_columns(body(len(numbers), 4, 0), **{'Frame#': list(numbers)}), STICK)
    assert read.numbers.tolist() == list(expected)
    assert read.rate is None if rate is None else abs(read.rate - rate) < 0.5
    assert [text.endswith(note) for text in read.notes] == [True] * (note is not None)


def test_one_of_several_bodies_is_read():
    """Lines of two bodies in turn, as Kinect's recorders write them: the one with more lines, or the one named."""
    frames = body(9, 4, 0)
    order = [7, 8, 7, 8, 7, 8, 7, 8, 7]
    text = with_columns(frames, TimeStamp=[at // 2 * 33 for at in range(9)], TrackingID=order)
    read = read_table(text, STICK)
    np.testing.assert_array_equal(read.frames, frames[::2])
    assert read.numbers.tolist() == [0, 1, 2, 3, 4]
    assert read.notes == (
        'x has 2 bodies (7 in 5 frames, 8 in 4 frames): 7 is read; '
        "the column 'body' of recordings.csv, or --body, can name another",
    )
    np.testing.assert_array_equal(read_table(text, STICK, '8').frames, frames[1::2])
    with pytest.raises(UserError, match="body '9' was expected, and there are 7 in 5 frames, 8 in 4 frames"):
        read_table(text, STICK, '9')
    with pytest.raises(UserError, match="no column tells bodies apart, and body '7' was expected"):
        read_table(own_csv(frames, STICK), STICK, '7')
    mixed = read_table(text.replace('TrackingID', 'Colour').replace('99,7', '98,7'), STICK)
    assert any('stand still in places: if two bodies' in note for note in mixed.notes)


def long_text(frames: np.ndarray, names: list, first: str = 'frame', axes: str = 'xyz') -> str:
    """A line a joint, and how sure it is."""
    lines = [f'{first},landmark,{",".join(axes)},visibility']
    for at, frame in enumerate(frames):
        for name, joint in zip(names, frame, strict=True):
            lines.append(f'{at},{name},{",".join(f"{value:.4f}" for value in joint[: len(axes)])},0.9')
    return '\n'.join(lines)


@pytest.mark.parametrize('names', [['hip', 'HEAD', 'left_hand', 'RIGHT_HAND'], [0, 1, 2, 3], [1, 2, 3, 4]])
def test_a_line_a_joint_is_made_into_a_line_a_frame(names):
    frames = body(5, 4, 0)
    read = read_table(long_text(frames, names), STICK)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.numbers.tolist() == [0, 1, 2, 3, 4]
    assert read.notes[0] == 'columns that hold no joint of the skeleton are left out: visibility'
    lines = long_text(frames, names, 'time').splitlines()
    del lines[6]
    frames[1, 1] = np.nan
    np.testing.assert_array_equal(read_table('\n'.join(lines), STICK).frames, frames)
    flat = read_table(long_text(frames, names, 'number', 'xy'), STICK)
    np.testing.assert_array_equal(flat.frames[2:], frames[2:] * np.float32([1, 1, 0]))
    assert flat.numbers is None and 'there is no z' in ' '.join(flat.notes)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda lines: [*lines[:3], *lines[1:]], "x, line 4: 'Hip' is in this frame already; if the file holds two"),
        (lambda lines: [lines[0], *sorted(lines[1:], key=lambda line: line.split(',')[1])], 'sort the lines by frame'),
        (lambda lines: [line.replace('Hip', 'Tail') for line in lines], 'but Hip_x is missing'),
    ],
)
def test_bad_long_tables_are_refused(change, message):
    lines = long_text(body(8, 4, 0), ['Hip', 'Head', 'Hand L', 'Hand R']).splitlines()
    with pytest.raises(UserError, match=message):
        read_table('\n'.join(change(lines)), STICK)


def test_a_table_without_a_header():
    frames = body(3, 4, 0)
    text = own_csv(frames, STICK).split('\n', 1)[1].replace(',', ';')
    read = read_table(text, STICK)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.notes == ("no column has a name: they are x, y and z of the joints in the skeleton 'own'",)
    numbered = ';'.join(map(str, range(12))) + '\n' + text
    np.testing.assert_array_equal(read_table(numbered, STICK).frames, frames)
    indexed = ['', *(str(at) for at in range(3))]
    lines = [f'{at};{line}' for at, line in zip(indexed, numbered.splitlines(), strict=True)]
    np.testing.assert_array_equal(read_table('\n'.join(lines), STICK).frames, frames)
    with pytest.raises(UserError, match='line 1: a header was expected, or 60 numbers for 20 joints, found 12 numbers'):
        read_table(text, SKELETONS['kinect_v1'])


def test_blanks_separate_where_nothing_else_does():
    frames = body(3, 4, 0)
    text = own_csv(frames, STICK).replace('Hand L', 'HandLeft').replace('Hand R', 'HandRight').replace(',', '  ')
    np.testing.assert_array_equal(read_table(text, STICK).frames, frames)


def test_a_table_without_z_is_two_dimensional():
    frames = body(3, 4, 0)
    rows = [line.split(',') for line in own_csv(frames, STICK).splitlines()]
    read = read_table('\n'.join(','.join(row[at] for at in range(12) if at % 3 < 2) for row in rows), STICK)
    np.testing.assert_array_equal(read.frames, frames * np.array([1, 1, 0], np.float32))
    assert read.notes == ('there is no z: positions are two-dimensional, and z is 0',)


def test_a_table_of_another_sensor_says_what_to_leave_out():
    text = own_csv(body(2, 20, 0), SKELETONS['kinect_v1'])
    with pytest.raises(
        UserError, match=r'Neck_x is missing .*: --leave_out Neck HandTipLeft ThumbLeft HandTipRight Th'
    ):
        read_table(text, SKELETONS['kinect_v2'])


def test_the_real_table(samples):
    """Kinect v2 by a published program: 25 joints, and times with pauses, which no sequence crosses."""
    read = read_table((samples / 'kinect-skeleton_0.csv').read_text(), SKELETONS['kinect_v2'])
    assert read.frames.shape == (1099, 25, 3) and read.notes == () and round(read.rate, 1) == 11.6
    assert (
        read.frames[0, 0].tolist() == np.float32([0.8872890472412109, 0.054094444960355766, 2.737095355987549]).tolist()
    )
    assert (np.diff(read.numbers) > 1).sum() == 18


def test_a_table_of_many_columns_is_read_at_once():
    """1,000 joints, 40,000 columns: the search for each of them is no walk through all."""
    skeleton = Skeleton('many', tuple(f'J{number}' for number in range(1000)), (-1, *range(999)), ())
    header = ','.join(f'J{number}_{axis}' for number in range(13_334) for axis in 'xyz')
    start = time.process_time()
    read = read_table(header + '\n' + ','.join(map(str, range(1, 40_003))), skeleton)
    assert read.frames.shape == (1, 1000, 3) and read.frames[0, -1, -1] == 3000
    with pytest.raises(UserError, match='columns of 999 more joints'):
        read_table(header.replace('J', 'K') + '\n' + ','.join(['0'] * 40_002), skeleton)
    assert time.process_time() - start < 4


def test_long_recordings_are_read_in_blocks():
    """As many lines as two blocks and a half, each number where it belongs."""
    frames = body(2560, 4, 3)
    numbers = [*range(1300), *range(2000, 3260)]
    read = read_table(own_csv(frames, STICK, numbers), STICK)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.numbers.tolist() == numbers
