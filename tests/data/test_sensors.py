"""What sensors and pose estimators write: Kinect v2, Azure Kinect, OpenPose, AlphaPose, TRC; one of several bodies."""

import json
from pathlib import Path

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.prepare import main
from sge_la.data.raw import kinect_v2, own, pose_json, trc
from sge_la.data.raw.recording import RawRecording
from sge_la.data.skeletons import SKELETONS, Skeleton, without
from sge_la.errors import UserError
from tests.data.generators import alphapose, azure, body, openpose, skeleton_text, trc_text

KINECT, AZURE, OPEN = SKELETONS['kinect_v2'], SKELETONS['azure_kinect'], SKELETONS['openpose_25']
COCO = SKELETONS['coco_17']
STICK = Skeleton('own', ('Hip', 'Head', 'HandLeft'), (-1, 0, 0), ())


def raw(name: str = 'x', wanted: str = '') -> RawRecording:
    return RawRecording(name, Path(name), 'Ann', 0, body=wanted)


def test_kinect_v2():
    """Body 7 is in frames 1 to 4 of five, its left hand is not tracked in frame 2; body 8 is in two frames."""
    frames, other = body(4, 25, 0), body(2, 25, 1)
    bodies = [{8: other[0]}, {7: frames[0]}, {8: other[1], 7: frames[1]}, {7: frames[2]}, {7: frames[3]}]
    hand = KINECT.joints.index('HandLeft')
    text = skeleton_text(bodies, lost={(2, 7): [hand]})
    read = kinect_v2.parse(text, raw(), KINECT)
    frames[1, hand] = np.nan
    np.testing.assert_array_equal(read.frames, frames)
    assert read.numbers.tolist() == [1, 2, 3, 4] and read.frames.dtype == np.float32
    assert read.notes == (
        'x has 2 bodies (8 in 2 frames, 7 in 4 frames): 7 is read; '
        "the column 'body' of recordings.csv, or --body, can name another",
    )
    read = kinect_v2.parse(text.replace('\n', '\n\n'), raw(wanted='8'), without(KINECT, ['Neck']))
    np.testing.assert_array_equal(read.frames, np.delete(other, 2, axis=1))
    assert read.numbers.tolist() == [0, 2] and read.notes == ()


def test_the_real_kinect_v2(samples):
    """One body in 82 frames; two in 70, of which the first is read. First and last joints as the files have them."""
    path = samples / 'S001C001P001R001A011.skeleton'
    read = own.read(raw(str(path)), SKELETONS['ntu'])
    assert read.frames.shape == (82, 25, 3) and read.notes == ()
    np.testing.assert_array_equal(read.frames[0, 0], np.float32([0.2058097, 0.1920515, 3.810989]))
    lines = path.read_text().split()
    np.testing.assert_array_equal(read.frames[-1, -1], np.array(lines[-12:-9], np.float32))
    path = samples / 'S001C003P008R002A058.skeleton'
    first = own.read(raw(str(path)), KINECT)
    assert first.frames.shape == (70, 25, 3) and '72057594037944734 in 70 frames' in first.notes[0]
    second = own.read(raw(str(path), '72057594037944734'), KINECT)
    np.testing.assert_array_equal(second.frames[-1, -1], np.array(path.read_text().split()[-12:-9], np.float32))
    assert np.abs(first.frames - second.frames).max() > 0.3


BAD_KINECT = {
    'no body': (slice(0, None), ['1', '0'], 'no body in any frame'),
    'another number of joints': (slice(3, 4), ['20'], 'line 4: a body of 25 joints was expected'),
    'a line less': (slice(28, 29), [], 'line 29: 12 fields of a joint were expected, found 1'),
    'more frames than said': (slice(0, 1), ['1'], 'line 30: the end of the file was expected'),
    'fewer frames than said': (slice(0, 1), ['3'], 'the number of bodies was expected, found the end'),
    'text': (slice(4, 5), ['1 far 1 0 0 0 0 0 0 0 0 2'], "line 5: a number was expected, found 'far'"),
    'no number of frames': (slice(0, 1), ['frames'], "line 1: the number of frames was expected, found 'frames'"),
    'no ID': (slice(2, 3), ['x 0 1'], "line 3: the ID of a body was expected, found 'x 0 1"),
}


@pytest.mark.parametrize('name', BAD_KINECT)
def test_bad_files_of_kinect_v2_are_refused(name):
    place, new, message = BAD_KINECT[name]
    frames = body(2, 25, 0)
    lines = skeleton_text([{7: frames[0]}, {7: frames[1]}]).splitlines()
    lines[place] = new
    with pytest.raises(UserError, match=message):
        kinect_v2.parse('\n'.join(lines), raw(), KINECT)


@pytest.mark.parametrize(
    'parse, text, own_skeleton',
    [
        (kinect_v2.parse, skeleton_text([{7: body(1, 25, 0)[0]}]), 'kinect_v2'),
        (pose_json.parse, azure([{1: body(1, 32, 0)[0]}]), 'azure_kinect'),
        (pose_json.parse, openpose([body(1, 25, 0)[0, :, :2]]), 'openpose_25'),
        (pose_json.parse, alphapose([('1.jpg', body(1, 17, 0)[0, :, :2], None)]), 'coco_17'),
    ],
)
def test_joints_and_bodies_that_are_not_there_are_told(parse, text, own_skeleton):
    joints = SKELETONS[own_skeleton].joints[:2]
    with pytest.raises(UserError, match=f"skeleton '{own_skeleton}' and not 'Tail'; give --skeleton {own_skeleton}"):
        parse(text, raw(), Skeleton('own', (*joints, 'Tail'), (-1, 0, 0), ()))
    with pytest.raises(UserError, match=r"x: body '9' was expected, and there are .* in 1 frames; correct the table"):
        parse(text, raw(wanted='9'), Skeleton('own', joints, (-1, 0), ()))


def test_azure_kinect():
    """Millimetres and y down become metres and y up, and z is turned with y. A joint without
    confidence is not seen, frames that the tracker skipped are gaps."""
    frames = body(5, 32, 0)
    bodies = [{4: joints} for joints in frames]
    bodies[1] = {4: frames[1], 5: frames[0]}
    text = azure(bodies, ids=[0, 1, 2, 3, 9], lost={(1, 4): [31]})
    read = pose_json.parse(text, raw(), AZURE)
    frames[1, 31] = np.nan
    np.testing.assert_allclose(read.frames, frames, atol=1e-7)
    assert read.numbers.tolist() == [0, 1, 2, 3, 9] and round(read.rate, 2) == 30 and '5 in 1 frames' in read.notes[0]
    older = (
        text.replace('SPINE_NAVEL', 'SPINE_NAVAL').replace('"PELVIS", ', '', 1).replace('"HEAD"', '"PELVIS", "HEAD"')
    )
    moved = pose_json.parse(older, raw(wanted='5'), Skeleton('own', ('SpineNavel', 'PELVIS'), (-1, 0), ()))
    np.testing.assert_allclose(moved.frames, body(5, 32, 0)[:1, [0, 25]], atol=1e-7)


def test_openpose(samples):
    """Two people in a real frame: y is turned, z is 0, joints that were not found are NaN."""
    text = (samples / 'openpose_frame.json').read_text()
    first = pose_json.parse(text, raw(), OPEN)
    np.testing.assert_array_equal(first.frames[0, 0], np.float32([505.232, -431.63, 0]))
    assert any('have no size in metres' in note for note in first.notes) and len(first.notes) == 3
    second = pose_json.parse(text, raw(wanted='1'), OPEN)
    np.testing.assert_array_equal(second.frames[0, 1], np.float32([89.9826, -326.423, 0]))
    lost = [OPEN.joints[joint] for joint in np.flatnonzero(np.isnan(second.frames[0, :, 0]))]
    assert lost == ['LElbow', 'LHip', 'RHeel']


def test_a_folder_of_openpose_is_one_recording(tmp_path):
    """A file a frame, in the order of the numbers in their names, which may jump."""
    frames = body(5, 25, 0)
    numbers = [8, 9, 10, 11, 30]
    for person, numbered in (('a', numbers), ('b', range(5))):
        for take in (1, 2):
            (tmp_path / f'raw/{person}{take}').mkdir(parents=True)
            for frame, number in zip(frames + take + ord(person), numbered, strict=True):
                text = openpose([frame[:, :2]])
                (tmp_path / f'raw/{person}{take}' / f'walk_{number}_keypoints.json').write_text(text)
    (tmp_path / 'raw/recordings.csv').write_text('file,person\na1,a\na2,a\nb1,b\nb2,b\n')
    found = own.find(tmp_path / 'raw', 'openpose_25')
    read = found.read(found.recordings[0])
    np.testing.assert_allclose(read.frames[..., :2], (frames + 98)[..., :2], rtol=1e-6)
    assert read.numbers.tolist() == numbers and (read.frames[..., 2] == 0).all()
    main(
        [
            'Mine',
            '--raw',
            str(tmp_path / 'raw'),
            '--skeleton',
            'openpose_25',
            '--length',
            '4',
            '--data_dir',
            str(tmp_path),
        ]
    )
    assert len(load('Mine', 4, tmp_path).train.skeletons) == 2
    for path in (tmp_path / 'raw/a1').iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r'line 2: a folder of \.json files of OpenPose was expected'):
        own.find(tmp_path / 'raw', 'openpose_25')


def test_alphapose():
    """Images in the order of their numbers; people by idx, or by their order where they were not tracked; of forms with
    more joints the first 17."""
    frames = body(3, 17, 0)
    people = [('10.jpg', frames[2], 3), ('2.jpg', frames[0], 3), ('2.jpg', frames[1], 1), ('3.jpg', frames[1], 3)]
    read = pose_json.parse(alphapose([(image, joints[:, :2], idx) for image, joints, idx in people]), raw(), COCO)
    np.testing.assert_allclose(read.frames, frames * np.float32([1, 1, 0]), rtol=1e-6)
    assert read.numbers.tolist() == [2, 3, 10] and '(3 in 3 frames, 1 in 1 frames): 3 is read' in read.notes[1]
    listed = alphapose([(image, joints[:, :2], [[float(idx)]]) for image, joints, idx in people])
    np.testing.assert_array_equal(pose_json.parse(listed, raw(wanted='3'), COCO).frames, read.frames)
    alike = pose_json.parse(listed.replace('[[1.0]]', '[[3.0]]'), raw(wanted='0'), COCO)
    np.testing.assert_array_equal(alike.frames, read.frames)
    assert 'told apart by their order' in alike.notes[1]
    more = np.concatenate([frames, frames[:, :9]], axis=1)
    text = alphapose([(f'{at}.jpg', joints[:, :2], None) for at, joints in enumerate(more)] * 2)
    read = pose_json.parse(text, raw(), COCO)
    np.testing.assert_allclose(read.frames, frames * np.float32([1, 1, 0]), rtol=1e-6)
    assert 'told apart by their order' in read.notes[1]


BAD_JSON = {
    'no JSON': ('{"frames": [', 'x should be JSON and is not'),
    'something else': ('{"version": 1}', 'a list people was expected, found JSON of the kind NoneType'),
    'a number': ('3', 'a list people was expected'),
    'no list of frames': ('{"frames": 3, "people": 3}', 'a list people was expected, found JSON of the kind int'),
    'another model of OpenPose': (
        '{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}',
        'BODY_25, were expected .* found 3;',
    ),
    'a face alone': ('{"people": [{"pose_keypoints_2d": []}]}', 'no body in any frame'),
    'no image': ('[{"keypoints": []}]', 'an image_id were expected, found another as number 0'),
    'no joints': ('[{"image_id": "1.jpg", "keypoints": []}]', '51 numbers of joints were expected, found 0'),
    'text as a joint': (
        '[{"image_id": 1, "keypoints": ' + str(['a'] * 51).replace("'", '"') + '}]',
        'found 51 or others',
    ),
    'infinity': ('[{"image_id": 1, "keypoints": ' + str([1] * 50 + [10**400]) + '}]', 'found 51 or others'),
    'far away': ('[{"image_id": 1, "keypoints": ' + str([1e7] * 51) + '}]', 'coordinates of a body were expected'),
    'a body without a name': (azure([{}]).replace('"bodies": []', '"bodies": [{"joint_positions": []}]'), '96 numbers'),
    'brackets': ('[' + '[],' * 7_000_000 + '[]]', 'holds little but brackets'),
    'nested': ('[' * 100_000, 'x should be JSON and is not'),
}


@pytest.mark.parametrize('name', BAD_JSON)
def test_bad_json_is_refused(name):
    text, message = BAD_JSON[name]
    with pytest.raises(UserError, match=message):
        pose_json.parse(text, raw(), SKELETONS['coco_17'] if text[0] == '[' else AZURE if 'joint' in text else OPEN)


def test_trc():
    """Millimetres, markers by name in any order, an empty cell, a frame missing, a tab at the ends of lines."""
    frames = body(5, 3, 0)
    text = trc_text(frames, [*STICK.joints], [1, 2, 3, 4, 6])
    frames[2, 1] = np.nan
    value = text.splitlines()[8].split('\t')
    value[5:8] = ['', '', '']
    lines = text.splitlines()
    lines[8] = '\t'.join(value)
    lines = lines[:6] + [line + '\t' for line in lines[6:]]
    read = trc.parse('\n'.join(lines), raw(), STICK)
    np.testing.assert_allclose(read.frames, frames, atol=1e-7)
    assert read.numbers.tolist() == [1, 2, 3, 4, 6] and read.rate == 60 and read.notes == ()
    nobody = trc.parse('\n'.join([*lines[:-1], '6\t0.1']), raw(), STICK)
    np.testing.assert_allclose(nobody.frames[:-1], frames[:-1], atol=1e-7)
    assert np.isnan(nobody.frames[-1]).all() and nobody.numbers.tolist() == [1, 2, 3, 4, 6]
    swapped = Skeleton('own', ('LeftHand', 'HEAD'), (-1, 0), ())
    read = trc.parse(text.replace('\tmm\t', '\tcm\t'), raw(), swapped)
    np.testing.assert_allclose(read.frames, 10 * body(5, 3, 0)[:, [2, 1]], atol=1e-6)
    assert 'left out: Hip_x, Hip_y, Hip_z' in read.notes[0]


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('PathFileType', 'Path', 'should be a TRC file'),
        ('\tmm\t', '\tinches\t', "line 3: a DataRate and Units mm, cm or m were expected, found '60' and 'inches'"),
        ('60\t60', 'fast\t60', "found 'fast' and 'mm'"),
        ('Head', 'Nose', "line 4: .*Head_x is missing, and 'Nose_x' is no column"),
        ('\n2\t', '\n2\t\t', 'line 8: 11 columns were expected, found 12'),
        ('\n3\t', '\n3\t0.05\t1.0\n3\t', 'line 9: 11 columns were expected, found 3'),
        ('\n2\t', '\n1\t', 'line 8: frame numbers that grow were expected, but 1 follows 1'),
    ],
)
def test_bad_trc_is_refused(old, new, message):
    text = trc_text(body(3, 3, 0), [*STICK.joints])
    assert old in text
    with pytest.raises(UserError, match=message):
        trc.parse(text.replace(old, new, 1), raw(), STICK)


def test_trc_that_was_cut_off_is_told():
    text = trc_text(body(3, 3, 0), [*STICK.joints])
    assert trc.parse(text[: text.index('\n3\t')], raw(), STICK).notes == ("x has 2 frames, and its header says '3'",)


def test_two_people_of_one_file(tmp_path):
    """The column body tells them apart; without it, one file is one person's."""
    frames = np.stack([body(8, 25, seed) for seed in range(4)])
    for take in (0, 1):
        text = skeleton_text([{7: frames[take][at], 8: frames[2 + take][at]} for at in range(8)])
        (tmp_path / f'{take}.skeleton').write_text(text)
    rows = ['0.skeleton;a;7', '0.skeleton;b;8', '1.skeleton;a;7', '1.skeleton;b;8']
    table = tmp_path / 'recordings.csv'
    table.write_text('\n'.join(['File;Person;Body', *rows]))
    main(['Two', '--raw', str(tmp_path), '--skeleton', 'ntu', '--length', '4', '--data_dir', str(tmp_path / 'D')])
    dataset = load('Two', 4, tmp_path / 'D')
    np.testing.assert_array_equal(dataset.train.skeletons, frames[[0, 2]].reshape(4, 4, 25, 3))
    np.testing.assert_array_equal(dataset.tests['test'].skeletons, frames[[1, 3]].reshape(4, 4, 25, 3))
    prepared = json.loads((tmp_path / 'D/Two/4/Two_train_npy_data/prepare.json').read_text())
    assert [item['name'] for item in prepared['recordings']] == [
        f'{take}.skeleton#{number}' for number in (7, 8) for take in (0, 1)
    ]
    for flags in (['--units', 'mm'], ['--up=-y']):
        with pytest.raises(UserError, match=r'0\.skeleton#7 says its units itself, as every such file does'):
            main(['Two', '--raw', str(tmp_path), '--skeleton', 'ntu', '--data_dir', str(tmp_path / 'D'), *flags])
    for second in ('0.skeleton;b;', '0.skeleton;b;7'):
        table.write_text('\n'.join(['File;Person;Body', rows[0], second]))
        with pytest.raises(UserError, match=r'line 3: 0\.skeleton is in line 2 already; .* by the column body'):
            own.find(tmp_path, 'ntu')
