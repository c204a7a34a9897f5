"""Recordings of the user's own: the table, the skeleton, CSV and `.npy`, jumps, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.holdout import hold_out
from sge_la.data.prepare import main
from sge_la.data.raw import own
from sge_la.data.skeletons import SKELETONS, Skeleton, without
from sge_la.errors import UserError, run_command
from tests.data.generators import body, own_csv, write_own

STICK = Skeleton('own', ('Hip', 'Head', 'Hand L', 'Hand R'), (-1, 0, 1, 1), ((2, 3),))


def people(folder: Path, num_frames: int = 12, extension: str = 'csv') -> dict[str, np.ndarray]:
    """Bo with recordings 9 and 10, Åsa with two; no split is given."""
    rows = [('Bo', '10'), ('Åsa', 'b'), ('Bo', '9'), ('Åsa', 'a')]
    frames = {f'{person}_{name}.{extension}': body(num_frames, 4, seed) for seed, (person, name) in enumerate(rows)}
    write_own(
        folder,
        STICK,
        [(file, *row, '', frames[file]) for file, row in zip(frames, rows, strict=True)],
    )
    return frames


def test_recordings_that_the_table_forgets_are_told(tmp_path):
    people(tmp_path)
    assert own.find(tmp_path).notes == ()
    (tmp_path / 'Bo_11.csv').write_text('forgotten')
    (tmp_path / 'notes.txt').write_text('no recording')
    assert own.find(tmp_path).notes == ('not read, since recordings.csv does not name them: Bo_11.csv (1 in all)',)


@pytest.mark.parametrize('extension', ['csv', 'npy'])
def test_recordings_are_found_and_read(tmp_path, extension):
    """Persons are numbered in sorted order; recording 10 comes after 9."""
    frames = people(tmp_path, extension=extension)
    found = own.find(tmp_path)
    assert [raw.name for raw in found.recordings] == [
        f'{name}.{extension}' for name in ('Bo_9', 'Bo_10', 'Åsa_a', 'Åsa_b')
    ]
    assert [raw.identity for raw in found.recordings] == [0, 0, 1, 1]
    assert found.skeleton == STICK
    for raw in found.recordings:
        recording = found.read(raw)
        assert recording.frames.dtype == np.float32 and recording.numbers is None
        np.testing.assert_array_equal(recording.frames, frames[raw.name])


def two_cameras(folder: Path, groups: str = 'aabbcc', split: str = '') -> None:
    """Two people; cameras k and m saw three walks of each; `groups`: of the recordings k1, m1, k2, m2, k3, m3."""
    takes = ('k1', 'm1', 'k2', 'm2', 'k3', 'm3')
    files = [(f'{person}_{take}.npy', person, take) for person in 'AB' for take in takes]
    write_own(folder, STICK, [(*row, '', body(13 + at, 4, at)) for at, row in enumerate(files)])
    rows = [','.join((*row, split if row[2] == 'm2' else '', groups[at % 6])) for at, row in enumerate(files)]
    (folder / 'recordings.csv').write_text('\n'.join(['file,person,recording,split,group', *rows]))


def test_views_of_one_walk_stay_together(tmp_path):
    """Held out whole, one number for both views in the arrays, and none on both sides of a validation."""
    two_cameras(tmp_path / 'raw')
    main(['X', '--raw', str(tmp_path / 'raw'), '--data_dir', str(tmp_path), '--holdout', 'middle', '--length', '4'])
    dataset = load('X', 4, tmp_path, warn=lambda text: None)
    (split,) = tmp_path.rglob('split.json')
    assert json.loads(split.read_text())['recordings']['test'] == ['A_k2.npy', 'A_m2.npy', 'B_k2.npy', 'B_m2.npy']
    assert len(set(dataset.tests['test'].recordings)) == 2
    assert len(set(dataset.train.recordings)) == 4 and dataset.leaks == ''
    training, held = hold_out(dataset.train.skeletons, dataset.train.ids, dataset.train.recordings)
    numbers = [
        {int(dataset.train.recordings[row]) for rows in part.values() for row in rows} for part in (training, held)
    ]
    assert len(numbers[0]) == 2 and len(numbers[1]) == 2 and not numbers[0] & numbers[1]


def test_views_of_one_walk_have_one_split(tmp_path):
    two_cameras(tmp_path, split='test')
    with pytest.raises(UserError, match="line 5: the split of the group 'b' of A was expected to be that of line 4"):
        own.find(tmp_path)


def test_one_walk_of_each_person_is_too_few(tmp_path):
    two_cameras(tmp_path / 'raw', groups='aaaaaa')
    with pytest.raises(UserError, match='nobody in X has a second recording'):
        main(['X', '--raw', str(tmp_path / 'raw'), '--data_dir', str(tmp_path), '--length', '4'])


def test_byte_order_mark_crlf_quotes_and_empty_lines_are_read(tmp_path):
    frames = people(tmp_path)
    text = (tmp_path / 'Bo_9.csv').read_text()
    header, rest = text.split('\n', 1)
    quoted = ','.join(f'"{name}"' for name in header.split(','))
    (tmp_path / 'Bo_9.csv').write_bytes(b'\xef\xbb\xbf' + (quoted + '\n\n' + rest).replace('\n', '\r\n', 4).encode())
    table = (tmp_path / 'recordings.csv').read_text(encoding='utf-8')
    (tmp_path / 'recordings.csv').write_bytes(b'\xef\xbb\xbf' + table.replace('\n', '\r\n').encode() + b'\r\n')
    recording = own.find(tmp_path)
    np.testing.assert_array_equal(recording.read(recording.recordings[0]).frames, frames['Bo_9.csv'])


def test_a_quote_that_nothing_closes_takes_no_other_line_with_it(tmp_path):
    people(tmp_path)
    edit(tmp_path / 'recordings.csv', 'Bo_10.csv,Bo,', 'Bo_10.csv,"Bo",')
    edit(tmp_path / 'recordings.csv', 'Åsa_b.csv,Åsa,b,', 'Åsa_b.csv,Åsa,b,"')
    found = own.find(tmp_path).recordings
    assert [(raw.name, raw.person) for raw in found] == [
        (f'{person}_{name}.csv', person) for person, name in (('Bo', '9'), ('Bo', '10'), ('Åsa', 'a'), ('Åsa', 'b'))
    ]
    edit(tmp_path / 'recordings.csv', 'Bo_9.csv', '"Bo_9.csv')
    with pytest.raises(UserError, match=r'line 4: 4 fields .* were expected, found 1'):
        own.find(tmp_path)


def test_frame_numbers_of_an_array(tmp_path):
    people(tmp_path, num_frames=4, extension='npy')
    np.save(tmp_path / 'Bo_9_frames.npy', np.array([3, 4, 9, 10], np.uint8))
    found = own.find(tmp_path)
    assert found.read(found.recordings[0]).numbers.tolist() == [3, 4, 9, 10]


def test_a_data_set_of_ones_own_is_prepared_and_loaded(tmp_path, capsys):
    """12 frames give 3 sequences of 4, but a jump after 5 frames leaves 0-3 and 5-8 and loses 4 and 9-11. Bo's
    recording 10 and Åsa's b are held out."""
    frames = people(tmp_path / 'raw')
    numbers = [*range(5), *range(100, 107)]
    (tmp_path / 'raw' / 'Bo_9.csv').write_text(own_csv(frames['Bo_9.csv'], STICK, numbers))
    arguments = ['Mine', '--raw', str(tmp_path / 'raw'), '--length', '4', '--data_dir', str(tmp_path / 'Datasets')]
    assert main(arguments) == 0
    dataset = load('Mine', 4, tmp_path / 'Datasets')
    assert dataset.skeleton.joints == STICK.joints and dataset.skeleton.parents == STICK.parents
    assert dataset.skeleton.pairs == STICK.pairs
    expected = [frames['Bo_9.csv'][0:4], frames['Bo_9.csv'][5:9], *frames['Åsa_a.csv'].reshape(3, 4, 4, 3)]
    np.testing.assert_array_equal(dataset.train.skeletons, np.stack(expected))
    assert {label: rows.tolist() for label, rows in dataset.train.ids.items()} == {0: [0, 1], 1: [2, 3, 4]}
    np.testing.assert_array_equal(
        dataset.tests['test'].skeletons,
        np.concatenate([frames['Bo_10.csv'], frames['Åsa_b.csv']]).reshape(6, 4, 4, 3),
    )
    prepared = json.loads((tmp_path / 'Datasets/Mine/4/Mine_train_npy_data/prepare.json').read_text(encoding='utf-8'))
    assert prepared['people'] == {'0': 'Bo', '1': 'Åsa'}
    assert 'train with --batch_size 5 or less' in capsys.readouterr().out


def test_the_tables_split_is_followed(tmp_path):
    frames = [body(4, 4, seed) for seed in range(5)]
    rows = [('1.csv', 'a', '1', 'test'), ('2.csv', 'a', '2', ''), ('3.csv', 'b', '1', ''), ('4.csv', 'b', '2', '')]
    rows.append(('deep/5.csv', 'b', '3', 'train'))
    write_own(tmp_path / 'raw', STICK, [(*row, array) for row, array in zip(rows, frames, strict=True)])
    main(['Mine', '--raw', str(tmp_path / 'raw'), '--length', '4', '--data_dir', str(tmp_path)])
    dataset = load('Mine', 4, tmp_path)
    np.testing.assert_array_equal(dataset.train.skeletons, np.stack([frames[1], frames[2], frames[4]]))
    np.testing.assert_array_equal(dataset.tests['test'].skeletons, np.stack([frames[0], frames[3]]))


def test_a_ready_skeleton_is_named_and_joints_are_left_out(tmp_path, capsys):
    """--skeleton stands for skeleton.json, which is not needed then; what is left out is missing in the arrays too."""
    full, thumbs = SKELETONS['kinect_v2'], ['ThumbLeft', 'ThumbRight']
    joints = without(full, thumbs)
    rows = [(f'{person}{take}.csv', person, str(take), '') for person in 'ab' for take in (1, 2)]
    frames = [body(8, len(joints.joints), seed) for seed in range(4)]
    raw = write_own(tmp_path / 'raw', joints, [(*row, array) for row, array in zip(rows, frames, strict=True)])
    flags = ['Mine', '--raw', str(raw), '--length', '4', '--data_dir', str(tmp_path), '--skeleton', 'kinect_v2']
    main([*flags, '--leave_out', *thumbs])
    assert 'skeleton.json is not read' in capsys.readouterr().out
    (raw / 'skeleton.json').unlink()
    main([*flags, '--leave_out', *thumbs])
    dataset = load('Mine', 4, tmp_path)
    assert dataset.skeleton == joints
    np.testing.assert_array_equal(dataset.train.skeletons[:2], frames[0].reshape(2, 4, 23, 3))
    assert run_command(main, flags[:-2]) == 2 and '--skeleton (kinect_v1, ' in capsys.readouterr().err
    assert run_command(main, [*flags[:-1], 'kinect_v3']) == 2
    assert "no ready skeleton 'kinect_v3'; choose kinect_v1, " in capsys.readouterr().err
    with pytest.raises(UserError, match='--skeleton means nothing for KGBD'):
        main(['KGBD', '--raw', str(raw), '--skeleton', 'kgbd'])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding='utf-8')
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding='utf-8')


BAD_TABLES = {
    'another header': (
        'file,person,recording,split',
        'path,person,recording,split',
        'the header file,person,recording',
    ),
    'a short line': ('Bo_10.csv,Bo,10,', 'Bo_10.csv,Bo', r'line 2: 4 fields .* were expected, found 2'),
    'no person': ('Bo_10.csv,Bo,10,', 'Bo_10.csv,,10,', 'line 2: a file and a person'),
    'an unknown split': ('Bo_10.csv,Bo,10,', 'Bo_10.csv,Bo,10,val', "line 2: the split train, test .* found 'val'"),
    'a file that is not there': ('Bo_10.csv,Bo', 'Bo_11.csv,Bo', "line 2: there is no file 'Bo_11.csv'"),
    'a file outside': ('Bo_10.csv,Bo', '../x.csv,Bo', 'line 2: a file inside'),
    'another kind of file': ('Bo_10.csv,Bo', 'walk.pdf,Bo', r'line 2: a file \.csv, '),
    'one file for two people': ('Åsa_b.csv', 'Bo_10.csv', 'line 3: Bo_10.csv is in line 2 already'),
    'a recording twice': ('Bo,9', 'Bo,10', "line 4: the recording '10' of Bo is in line 2 already"),
    'a bell': ('Bo,10', 'Bo\a,10', 'line 2: printable names'),
}


@pytest.mark.parametrize('name', BAD_TABLES)
def test_bad_tables_are_refused(tmp_path, name):
    people(tmp_path)
    old, new, message = BAD_TABLES[name]
    edit(tmp_path / 'recordings.csv', old, new)
    with pytest.raises(UserError, match=message) as caught:
        own.find(tmp_path)
    assert str(tmp_path / 'recordings.csv') in str(caught.value)


@pytest.mark.parametrize(
    'content, message', [('', 'is empty'), ('file,person,recording,split\n', 'names no recording')]
)
def test_empty_tables_are_refused(tmp_path, content, message):
    people(tmp_path)
    (tmp_path / 'recordings.csv').write_text(content)
    with pytest.raises(UserError, match=message):
        own.find(tmp_path)


def test_a_missing_or_bad_skeleton_is_refused(tmp_path):
    people(tmp_path)
    (tmp_path / 'skeleton.json').write_text('{"joints": ["Hip"], "parents": [0]}')
    with pytest.raises(UserError, match=r'skeleton\.json: .*one root'):
        own.find(tmp_path)
    (tmp_path / 'skeleton.json').unlink()
    with pytest.raises(UserError, match=r'skeleton\.json is missing'):
        own.find(tmp_path)


@pytest.mark.parametrize(
    'array, message',
    [
        (np.zeros((3, 5, 3)), r'should be an array \[frames, 4, 3\], found \[3, 5, 3\]'),
        (np.zeros((3, 4)), r'found \[3, 4\]'),
        (np.zeros((0, 4, 3)), r'found \[0, 4, 3\]'),
        (np.array([np.zeros((4, 3)), np.full((4, 3), np.inf)]), 'frame 1 has others'),
        (np.full((2, 4, 3), 1e6), 'frame 0 has others'),
    ],
)
def test_bad_arrays_are_refused(tmp_path, array, message):
    people(tmp_path, extension='npy')
    np.save(tmp_path / 'Bo_9.npy', array)
    found = own.find(tmp_path)
    with pytest.raises(UserError, match=message):
        found.read(found.recordings[0])


@pytest.mark.parametrize(
    'numbers, message', [([1, 2], 'should hold 12 whole numbers'), (np.ones(12), 'of float64'), ([1] * 12, 'frame 1')]
)
def test_bad_frame_numbers_of_an_array_are_refused(tmp_path, numbers, message):
    people(tmp_path, extension='npy')
    np.save(tmp_path / 'Bo_9_frames.npy', numbers)
    found = own.find(tmp_path)
    with pytest.raises(UserError, match=message):
        found.read(found.recordings[0])
