"""The command: from raw files to arrays that load, the same for everybody, and nothing half-written."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.check import main as check_main
from sge_la.data.dataset import LEAKS
from sge_la.data.holdout import frame_hashes
from sge_la.data.layout import dataset_files
from sge_la.errors import UserError
from tests.data.generators import body, kgbd_text
from tests.data.prepare_cases import prepare, prepared, stored


def test_kgbd_from_raw_to_arrays(small_kgbd, tmp_path, capsys):
    """After clipping 10 frames at both ends, 15 to 19 frames give 3 or 4 (from 16 on) sequences of 4; the last
    recording of each person is held out."""
    raw, recordings = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path)
    train, labels, origin = [], [], []
    test, test_labels, test_origin = [], [], []
    number = 0
    for person, walks in recordings.items():
        for at, walk in enumerate(walks):
            kept = walk[10:-10]
            sequences = [kept[start : start + 4] for start in range(0, len(kept) - 3, 4)]
            last = at == len(walks) - 1
            (test if last else train).extend(sequences)
            (test_labels if last else labels).extend([person] * len(sequences))
            (test_origin if last else origin).extend([number] * len(sequences))
            number += 1
    files = dataset_files(tmp_path, 'KGBD', 4, 2)
    for split, expected, who, numbers in (
        (files.train, train, labels, origin),
        (files.tests['probe'], test, test_labels, test_origin),
    ):
        np.testing.assert_array_equal(stored(split, 4), np.stack(expected).astype(np.float64))
        np.testing.assert_array_equal(np.load(split.target('y')).reshape(-1, 4, 20)[:, ::-1], stored(split, 4)[..., 1])
        np.testing.assert_array_equal(np.load(split.recording), numbers)
        np.testing.assert_array_equal(np.load(split.frame_id), who)
        assert np.load(split.recording).dtype == np.int64
        ids = np.load(split.ids, allow_pickle=True).item()
        assert ids == {label: [at for at, own in enumerate(who) if own == label] for label in (3, 12)}
    dataset = load('KGBD', 4, tmp_path, warn=lambda text: None)
    np.testing.assert_array_equal(dataset.train.skeletons, np.stack(train))
    assert dataset.identities == (3, 12) and dataset.skeleton.joints[0] == 'Head'
    np.testing.assert_array_equal(dataset.train.recordings, origin)
    output = capsys.readouterr().out
    assert 'KGBD: 2 people, 7 recordings' in output
    assert f'train: {len(train)} sequences of 4 frames, 2 people, 5 recordings' in output


def test_prepare_json_says_how_it_was_made(small_kgbd, tmp_path):
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path)
    files = dataset_files(tmp_path, 'KGBD', 4, 2)
    record = prepared(files)
    assert record['people'] == {'3': 'Person003', '12': 'Person012'}
    assert record['settings']['holdout'] == 'last' and record['settings']['layout'] == 2
    assert record['cutting']['train'] == {'length': 4, 'step': 4, 'offsets': [0]}
    held = [item['name'] for item in record['recordings'] if item['split'] == 'probe']
    assert held == ['Person003/5.txt', 'Person012/2.txt']
    assert record['recordings'][0] == {
        'number': 0,
        'name': 'Person003/1.txt',
        'identity': 3,
        'clip': [10, 10],
        'frames': 15,
        'lost': None,
        'split': 'train',
        'sequences': 3,
        'left_out': None,
    }
    digest = hashlib.sha256(stored(files.train, 4).astype('<f4').tobytes()).hexdigest()
    assert record['splits']['train']['sha256'] == digest
    assert str(tmp_path) not in json.dumps(record)


def test_a_copy_is_left_out_before_anybody_is_chosen(small_kgbd, tmp_path, capsys):
    """Recording 5 repeats 4, in other bytes: so 4, the last that remains, is held out, and 5 is nowhere."""
    raw, recordings = small_kgbd
    (raw / 'Person003' / '5.txt').write_text(kgbd_text(recordings[3][3], '\n'), newline='')
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path)
    assert 'left out: Person003/5.txt repeats Person003/4.txt' in capsys.readouterr().out
    record = prepared(dataset_files(tmp_path, 'KGBD', 4, 2))
    by_name = {item['name']: item for item in record['recordings']}
    assert by_name['Person003/4.txt']['split'] == 'probe'
    assert by_name['Person003/5.txt']['split'] is None
    assert by_name['Person003/5.txt']['left_out'] == 'repeats Person003/4.txt'


def test_a_recording_that_is_too_short_is_told_and_not_held_out(small_kgbd, tmp_path, capsys):
    raw, _ = small_kgbd
    (raw / 'Person003' / '5.txt').write_text(kgbd_text(body(23, 20, 1)), newline='')
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path)
    assert 'left out: Person003/5.txt has no 4 frames in a row' in capsys.readouterr().out


def test_several_lengths_and_overlapping_training_cuts(small_kgbd, tmp_path):
    """Step and offsets are for training alone: tests stay whole. 16 frames with T = 5, step 2, offset 1: starts 1, 3,
    5, 7, 9 and 11."""
    raw, recordings = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 5, 8, '--step', 2, '--offsets', 1, '--data_dir', tmp_path)
    dataset = load('KGBD', 5, tmp_path, warn=lambda text: None)
    kept = recordings[3][1][10:-10]
    own = dataset.train.skeletons[dataset.train.recordings == 1]
    np.testing.assert_array_equal(own, np.stack([kept[start : start + 5] for start in (1, 3, 5, 7, 9, 11)]))
    last = recordings[12][1][10:-10]
    held = dataset.tests['probe'].skeletons[dataset.tests['probe'].recordings == 6]
    np.testing.assert_array_equal(held, np.stack([last[start : start + 5] for start in (0, 5, 10)]))
    assert load('KGBD', 8, tmp_path, warn=lambda text: None).train.skeletons.shape[1] == 8


def test_all_offsets_and_other_clips(small_kgbd, tmp_path):
    raw, recordings = small_kgbd
    arguments = ('--offsets', 'all', '--clip', 0, 1, '--data_dir', tmp_path)
    prepare('KGBD', '--raw', raw, '--length', 3, *arguments)
    record = prepared(dataset_files(tmp_path, 'KGBD', 3, 2))
    assert record['cutting']['train'] == {'length': 3, 'step': 3, 'offsets': [0, 1, 2]}
    assert [item['frames'] for item in record['recordings']] == [34, 35, 36, 37, 38, 34, 35]
    dataset = load('KGBD', 3, tmp_path, warn=lambda text: None)
    np.testing.assert_array_equal(dataset.train.skeletons[0], recordings[3][0][:3])


def test_centring_moves_the_joint_to_the_origin(small_kgbd, tmp_path):
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'raw_metres')
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'centred', '--center', 'HipCenter')
    plain = load('KGBD', 4, tmp_path / 'raw_metres', warn=lambda text: None)
    centred = load('KGBD', 4, tmp_path / 'centred', warn=lambda text: None)
    for one, other in ((plain.train, centred.train), (plain.tests['probe'], centred.tests['probe'])):
        np.testing.assert_array_equal(other.skeletons, one.skeletons - one.skeletons[:, :, 11:12])


def test_unit_size_leaves_directions_alone(small_kgbd, tmp_path):
    """Larger people, and those who stand elsewhere, become the same; bones keep their directions, of one length."""
    raw, recordings = small_kgbd
    (raw / 'Person003' / '1.txt').write_text(kgbd_text(1.25 * recordings[3][1] + np.float32([0, 0.5, 1])))
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'a')
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'b', '--unit_size')
    plain, unit = (load('KGBD', 4, tmp_path / name, warn=lambda text: None) for name in 'ab')
    outer, inner = plain.skeleton.bones
    before, after = (data.train.skeletons[:, :, outer] - data.train.skeletons[:, :, inner] for data in (plain, unit))
    np.testing.assert_allclose(after, 0.2 * before / np.linalg.norm(before, axis=-1, keepdims=True), atol=1e-6)
    assert not unit.train.skeletons[:, :, plain.skeleton.centre].any()
    larger, first = (unit.train.skeletons[unit.train.recordings == number][0] for number in (0, 1))
    np.testing.assert_allclose(larger, first, atol=1e-4)
    assert unit.way.unit_size and not plain.way.unit_size
    (split,) = (tmp_path / 'b').rglob('split.json')
    prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'c', '--split', split)
    assert all_bytes(tmp_path / 'b') == all_bytes(tmp_path / 'c')


def test_arrays_that_another_layout_hides_are_told(small_kgbd, tmp_path, capsys):
    raw, _ = small_kgbd
    arguments = ('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path, '--layout')
    for layout, hidden in ((1, False), (3, False), (2, False), (3, True), (1, True)):
        prepare(*arguments, layout)
        assert ('note: layout 2 of KGBD is in' in capsys.readouterr().out) == hidden


def test_layout_3_has_probe_and_gallery(small_kgbd, tmp_path):
    """Person 3, with 5 recordings: 5 is the probe, 4 and 3 the gallery; person 12, with 2: 2 is the probe alone."""
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--layout', 3, '--data_dir', tmp_path)
    record = prepared(dataset_files(tmp_path, 'KGBD', 4, 3))
    splits = {item['name']: item['split'] for item in record['recordings']}
    assert [splits[f'Person003/{number}.txt'] for number in range(1, 6)] == [
        'train',
        'train',
        'gallery',
        'gallery',
        'probe',
    ]
    assert [splits[f'Person012/{number}.txt'] for number in (1, 2)] == ['train', 'probe']
    dataset = load('KGBD', 4, tmp_path, tests=('probe', 'gallery'), warn=lambda text: None)
    assert dataset.layout == 3 and set(dataset.tests) == {'probe', 'gallery'}


@pytest.mark.parametrize('layout', [1, 2])
def test_layouts_hold_the_same_arrays(small_kgbd, tmp_path, layout):
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--layout', layout, '--data_dir', tmp_path)
    dataset = load('KGBD', 4, tmp_path, warn=lambda text: None)
    assert dataset.layout == layout and len(dataset.train.skeletons) == 3 + 4 + 4 + 4 + 3


def test_a_random_choice_can_be_had_again_from_a_list(small_kgbd, tmp_path):
    """What `prepare.json` records is enough: its held-out names as a list give the same arrays."""
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--holdout', 'random', '--seed', 5, '--data_dir', tmp_path / 'a')
    files = dataset_files(tmp_path / 'a', 'KGBD', 4, 2)
    held = [item['name'] for item in prepared(files)['recordings'] if item['split'] == 'probe']
    (tmp_path / 'held.txt').write_text('\r\n'.join([*held, '']))
    prepare('KGBD', '--raw', raw, '--length', 4, '--holdout', tmp_path / 'held.txt', '--data_dir', tmp_path / 'b')
    again = dataset_files(tmp_path / 'b', 'KGBD', 4, 2)
    assert prepared(files)['splits'] == prepared(again)['splits']
    for one, other in ((files.train, again.train), (files.tests['probe'], again.tests['probe'])):
        for path in sorted(one.folder.glob('*.npy')):
            assert path.read_bytes() == (other.folder / path.name).read_bytes()


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize(
    'arguments',
    [
        ('--layout', 3, '--holdout', 'random', '--seed', 5),
        ('--holdout', 'windows:0.3', '--seed', 2, '--step', 2, '--offsets', 0, 1),
        ('--holdout', 'tail:0.3', '--clip', 3, 4, '--keep_copies', '--length', 5),
    ],
)
def test_a_split_is_had_again_from_its_file(small_kgbd, tmp_path, arguments):
    raw, recordings = small_kgbd
    (raw / 'Person003' / '5.txt').write_text(kgbd_text(recordings[3][3], '\n'), newline='')
    where = ('KGBD', '--raw', raw, '--data_dir')
    prepare(*where, tmp_path / 'a', '--length', 4, *arguments)
    (split,) = (tmp_path / 'a').rglob('split.json')
    prepare(*where, tmp_path / 'b', '--split', split)
    assert all_bytes(tmp_path / 'a') == all_bytes(tmp_path / 'b')
    (raw / 'Person003' / '1.txt').write_text(kgbd_text(body(40, 20, 50)))
    with pytest.raises(UserError, match='made of other raw data'):
        prepare(*where, tmp_path / 'c', '--split', split)
    (raw / 'Person003' / '6.txt').write_text(kgbd_text(body(40, 20, 51)))
    with pytest.raises(UserError, match=r"1 which are not in the file, such as 'Person003/6\.txt'"):
        prepare(*where, tmp_path / 'c', '--split', split)
    assert not (tmp_path / 'c').exists()


def test_a_split_can_be_cut_otherwise_and_says_so(small_kgbd, tmp_path, capsys):
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'a', '--length', 4, '--holdout', 'first')
    (split,) = (tmp_path / 'a').rglob('split.json')
    prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'b', '--length', 5, '--step', 1, '--split', split)
    assert 'cut otherwise than split.json says' in capsys.readouterr().out
    record = prepared(dataset_files(tmp_path / 'b', 'KGBD', 5, 2))
    held = [item['name'] for item in record['recordings'] if item['split'] == 'probe']
    assert held == ['Person003/1.txt', 'Person012/1.txt']
    prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'c', '--length', 4, '--lost', 'interpolate')
    (split,) = (tmp_path / 'c').rglob('split.json')
    again = ('KGBD', '--raw', raw, '--data_dir', tmp_path / 'd', '--split', split, '--lost', 'drop')
    prepare(*again)
    assert prepared(dataset_files(tmp_path / 'd', 'KGBD', 4, 2))['settings']['max_gap'] is None
    with pytest.raises(UserError, match='--max_gap tells how long gaps --lost interpolate fills'):
        prepare(*again, '--max_gap', 3)


def test_sequences_of_one_recording_on_both_sides_are_told(small_kgbd, tmp_path, capsys):
    """Training sequences that share a frame with a tested one are left out; the leak is told by all that read them."""
    raw, recordings = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--holdout', 'windows:0.3', '--step', 1, '--data_dir', tmp_path)
    assert LEAKS in capsys.readouterr().out
    assert prepared(dataset_files(tmp_path, 'KGBD', 4, 2))['leaks'] == LEAKS
    dataset = load('KGBD', 4, tmp_path, warn=lambda text: None)
    assert dataset.leaks == LEAKS
    tested, trained = dataset.tests['probe'], dataset.train
    assert set(tested.recordings) <= set(trained.recordings)
    assert not np.isin(frame_hashes(trained.skeletons), frame_hashes(tested.skeletons)).any()
    windows = sum(len(walk) - 20 - 3 for walks in recordings.values() for walk in walks)
    assert windows - 7 * len(tested.skeletons) <= len(trained.skeletons) < windows - len(tested.skeletons)
    assert check_main(['KGBD', '--length', '4', '--data_dir', str(tmp_path)]) == 1
    assert LEAKS in capsys.readouterr().out


@pytest.mark.parametrize(
    'content, message',
    [
        ('[]', 'should be a split of KGBD'),
        ('{"format": 1, "dataset": "KGBD", "length": 4, "recordings": {"train": [3], "probe": []}}', 'by role'),
        (
            '{"format": 1, "dataset": "KGBD", "length": 4, "recordings": {"train": ["a"], "probe": ["a"]}}',
            'one role and has two',
        ),
        (
            '{"format": 1, "dataset": "KGBD", "length": 4, "recordings": {"train": ["a"], "probe": ["b"]}, '
            '"settings": {"layout": "/etc"}}',
            'layout: ',
        ),
        (
            '{"format": 1, "dataset": "KGBD", "length": 4, "recordings": {"train": ["a"], "probe": ["b"]}, '
            '"settings": {"offsets": ["0", "--overwrite"]}}',
            'offsets: .*overwrite',
        ),
        ('{"format": 1, "dataset": "KGBD", "length": 0, "recordings": {"train": ["a"], "probe": ["b"]}}', 'by role'),
    ],
)
def test_files_that_are_no_split_are_refused(small_kgbd, tmp_path, content, message):
    (tmp_path / 'split.json').write_text(content)
    with pytest.raises(UserError, match=message):
        prepare('KGBD', '--raw', small_kgbd[0], '--data_dir', tmp_path, '--split', tmp_path / 'split.json')
