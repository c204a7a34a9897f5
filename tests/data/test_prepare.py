"""The command: from raw files to arrays that load, the same for everybody, and nothing half-written."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.check import main as check_main
from sge_la.data.dataset import LEAKS
from sge_la.data.holdout import frame_hashes
from sge_la.data.layout import AXES, SplitFiles, dataset_files
from sge_la.data.prepare import main
from sge_la.data.raw import casia_b, ks20
from sge_la.errors import UserError
from tests.data.generators import body, casia_b_text, kgbd_text, write_kgbd, write_ks20_frame, write_skel_folder
from tests.data.test_raw import kgbd_sample  # noqa: F401 - a fixture

REPOSITORY = Path(__file__).parents[2]


def prepare(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def prepared(files) -> dict:
    return json.loads((files.train.folder / 'prepare.json').read_text(encoding='utf-8'))


def stored(files: SplitFiles, length: int) -> np.ndarray:
    """The arrays as the original reads them, put together: `[N, T, J, 3]`."""
    axes = [np.load(files.source(axis)) for axis in AXES]
    assert all(axis.dtype == np.float64 for axis in axes)
    return np.stack([axis.reshape(-1, length, axis.shape[1]) for axis in axes], axis=-1)


@pytest.fixture
def small_kgbd(tmp_path) -> tuple[Path, dict[int, list[np.ndarray]]]:
    """Persons 3 and 12: 5 and 2 recordings of 35 to 39 frames, of which 15 to 19 are left after clipping."""
    recordings = {
        3: [body(35 + number, 20, number) for number in range(5)],
        12: [body(35 + number, 20, 10 + number) for number in range(2)],
    }
    return write_kgbd(tmp_path / 'raw', recordings), recordings


# KGBD


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
    with pytest.raises(UserError, match=r"does not name it: 'Person003/6\.txt'"):
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


def test_the_real_kgbd_sample(kgbd_sample, tmp_path, capsys):  # noqa: F811
    """Two real people; the number of sequences is counted from the lines of the files."""
    prepare('KGBD', '--raw', kgbd_sample, '--length', 6, '--data_dir', tmp_path / 'Datasets')
    assert 'left out: Person064/5.txt repeats Person064/4.txt' in capsys.readouterr().out
    counts = {
        path.relative_to(kgbd_sample).as_posix(): (path.read_bytes().count(b'\n') // 20 - 20) // 6
        for path in kgbd_sample.glob('Person*/*.txt')
    }
    dataset = load('KGBD', 6, tmp_path / 'Datasets', warn=lambda text: None)
    assert len(dataset.tests['probe'].skeletons) == counts['Person015/3.txt'] + counts['Person064/4.txt']
    trained = ['Person015/1.txt', 'Person015/2.txt', 'Person064/1.txt', 'Person064/2.txt', 'Person064/3.txt']
    assert len(dataset.train.skeletons) == sum(counts[name] for name in trained)
    first = (kgbd_sample / 'Person015' / '1.txt').read_text().split()[200]
    assert dataset.train.skeletons[0, 0, 0].tolist() == [np.float32(value) for value in first.split(';')[1:]]


# The other data sets


def test_biwi_is_cut_as_published(tmp_path):
    """Training is clipped by 10 and 10 and cut for each offset by half a length; Walking is cut whole; person 1, who
    is not tested, is not among the 28. In layout 3 everybody trains, and Still is there."""
    walks = {}
    for name in ('Training/000', 'Training/001', 'Testing/Still/000', 'Testing/Walking/000'):
        walks[name] = body(31, 20, len(walks))
        write_skel_folder(tmp_path / 'raw' / name, walks[name])
    prepare('BIWI', '--raw', tmp_path / 'raw', '--length', 4, '--data_dir', tmp_path / 'two')
    dataset = load('BIWI', 4, tmp_path / 'two', warn=lambda text: None)
    kept = walks['Training/000'][10:21]
    expected = [kept[s + i : s + i + 4] for s in range(4) for i in range(0, 11 - s - 3, 2)]
    np.testing.assert_array_equal(dataset.train.skeletons, np.stack(expected))
    walking = walks['Testing/Walking/000'][10:21]
    np.testing.assert_array_equal(dataset.tests['Walking'].skeletons, np.stack([walking[0:4], walking[4:8]]))
    prepare('BIWI', '--raw', tmp_path / 'raw', '--length', 4, '--layout', 3, '--data_dir', tmp_path / 'three')
    dataset = load('BIWI', 4, tmp_path / 'three', tests=('Walking', 'Still'), warn=lambda text: None)
    assert dataset.identities == (0, 1) and list(dataset.tests['Still'].ids) == [0]


def test_ias_clips_the_start_of_training_alone(tmp_path):
    """24 frames: Training keeps 14, the tests keep 4."""
    walks = {}
    for part in ('Training', 'TestingA', 'TestingB'):
        for person in ('p2', 'p10'):
            walks[part, person] = body(24, 20, len(walks))
            write_skel_folder(tmp_path / 'raw' / part / person, walks[part, person])
    prepare('IAS', '--raw', tmp_path / 'raw', '--length', 4, '--data_dir', tmp_path)
    dataset = load('IAS', 4, tmp_path, warn=lambda text: None)
    assert list(dataset.tests) == ['A', 'B'] and dataset.identities == (0, 1)
    for name, split in dataset.tests.items():
        expected = [walks[f'Testing{name}', person][10:14] for person in ('p2', 'p10')]
        np.testing.assert_array_equal(split.skeletons, np.stack(expected))
    own = dataset.train.skeletons[dataset.train.ids[0]]
    kept = walks['Training', 'p2'][10:]
    assert len(kept) == 14
    np.testing.assert_array_equal(own, [kept[s + i : s + i + 4] for s in range(4) for i in range(0, 14 - s - 3, 2)])


def test_ks20_has_a_random_split_and_every_view(tmp_path):
    frames = {}
    for view in ks20.VIEWS:
        for number in (1, 2):
            for take in (1, 2, 3):
                frames[view, number, take] = body(6, 25, len(frames))
                for at, frame in enumerate(frames[view, number, take]):
                    write_ks20_frame(tmp_path / 'raw', view, take, number, str(at), frame)
    prepare('KS20', '--raw', tmp_path / 'raw', '--length', 6, '--data_dir', tmp_path)
    dataset = load('KS20', 6, tmp_path, warn=lambda text: None)
    assert dataset.train.skeletons.shape == (20, 6, 25, 3)
    expected = [frames[view, number, 3] for number in (1, 2) for view in ks20.VIEWS]
    np.testing.assert_array_equal(dataset.tests['probe'].skeletons, np.stack(expected))
    for view, name in enumerate(ks20.VIEWS):
        dataset = load('KS20', 6, tmp_path, view=view, warn=lambda text: None)
        expected = [frames[name, number, take] for number in (1, 2) for take in (1, 2, 3)]
        np.testing.assert_array_equal(dataset.tests['probe'].skeletons, np.stack(expected))
        assert len(dataset.train.skeletons) == 24


def test_casia_b_has_views_and_conditions(tmp_path):
    """Persons 4 and 7 walk normally and in a coat, before 11 cameras. Cross-view: view 3 against the ten others;
    matching: 4 is trained on, 7 is gallery and probe. The views of a walk share their number."""
    frames = {}
    for person in (4, 7):
        for walk in ('nm-01', 'nm-02', 'cl-01'):
            for degrees in casia_b.VIEWS:
                name = f'{person:03d}-{walk}-{degrees:03d}'
                frames[name] = body(5, 14, len(frames))
                path = tmp_path / 'raw' / f'{name}.txt'
                path.parent.mkdir(exist_ok=True)
                path.write_text(casia_b_text(frames[name]))
    arguments = ('CASIA_B', '--raw', tmp_path / 'raw', '--data_dir', tmp_path, '--length', 5)
    prepare(*arguments, '--protocol', 'CVE', '--view', 3)
    assert not (tmp_path / 'CASIA_B_match').exists()
    files = dataset_files(tmp_path, 'CASIA_B', 5, 2, view=3)
    assert files.root == tmp_path / 'CASIA_B' / '5' / 'view_3'
    expected = [array for name, array in frames.items() if name.endswith('054')]
    by_walk = sorted(expected, key=lambda array: [array is other for other in frames.values()].index(True))
    np.testing.assert_array_equal(stored(files.tests['test'], 5), np.stack(by_walk).astype(np.float64))
    assert len(stored(files.train, 5)) == 60
    numbers = np.load(files.train.recording)
    assert (np.unique(numbers, return_counts=True)[1] == 10).all()
    assert set(np.load(files.tests['test'].recording)) == set(numbers)
    os.rename(tmp_path / 'raw' / '007-cl-01-000.txt', tmp_path / 'raw' / '007-bg-01-000.txt')
    prepare(*arguments, '--protocol', 'CME')
    files = dataset_files(tmp_path, 'CASIA_B_match', 5, 2)
    assert files.tests['cl'].source('x') == (
        tmp_path / 'CASIA_B_match/5/CASIA_B_test_npy_data/cl/t_source_x_CASIA_B_5.npy'
    )
    sizes = {name: len(stored(split, 5)) for name, split in files.tests.items()}
    assert sizes == {'all': 33, 'nm': 22, 'bg': 1, 'cl': 10}
    np.testing.assert_array_equal(stored(files.tests['bg'], 5)[0], frames['007-cl-01-000'])
    assert np.load(files.train.ids, allow_pickle=True).item().keys() == {4}
    assert np.load(files.tests['nm'].ids, allow_pickle=True).item().keys() == {7}


def test_simulated_views_go_the_same_way(tmp_path):
    prepare('CASIA_B', '--simulate', '--people', 2, '--data_dir', tmp_path, '--length', 70, '--protocol', 'CME')
    files = dataset_files(tmp_path, 'CASIA_B_match', 70, 2)
    assert stored(files.tests['bg'], 70).shape == (22, 70, 14, 3)


def test_demo_is_the_same_every_time(tmp_path):
    for name in ('a', 'b'):
        prepare('DEMO', '--people', 3, '--recordings', 2, '--data_dir', tmp_path / name)
    prepare('DEMO', '--people', 3, '--recordings', 2, '--seed', 1, '--data_dir', tmp_path / 'c')
    records = [prepared(dataset_files(tmp_path / name, 'DEMO', 6, 2)) for name in 'abc']
    assert records[0] == records[1] and records[0]['splits'] != records[2]['splits']
    dataset = load('DEMO', 6, tmp_path / 'a', warn=lambda text: None)
    assert dataset.identities == (0, 1, 2) and set(dataset.tests) == {'test'}
    assert dataset.train.skeletons.shape[1:] == (6, 20, 3)


# What is refused


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['NOBODY'], 'NOBODY is none of BIWI, IAS, KGBD, KS20, CASIA_B, DEMO'),
        (['KGBD'], '--raw is missing'),
        (['KGBD', '--raw', 'nowhere'], 'there is no such folder'),
        (['NOBODY', '--raw', '.'], r'has no recordings\.csv'),
        (['DEMO', '--raw', '.'], '--raw means nothing for DEMO'),
        (['DEMO', '--simulate'], '--simulate means nothing for DEMO'),
        (['BIWI', '--holdout', 'last'], '--holdout means nothing for BIWI'),
        (['BIWI', '--people', '30'], 'should be 28 .* or 50'),
        (['IAS', '--people', '28'], '--people means nothing for IAS'),
        (['CASIA_B', '--people', '28'], 'add --simulate'),
        (['CASIA_B', '--simulate', '--raw', '.'], 'leave out --raw or --simulate'),
        (['CASIA_B', '--simulate', '--layout', '3'], 'never published in layout 3'),
        (['KGBD', '--view', '1'], '--view means nothing for KGBD'),
        (['DEMO', '--length', '1'], 'a whole number from 2 on'),
        (['DEMO', '--length', '6', '-1'], 'error|expected'),
        (['DEMO', '--length', '9' * 5000], 'a whole number from 2 on'),
        (['DEMO', '--length', '500'], 'no recording of DEMO has 500 frames in a row'),
        (['DEMO', '--step', '0'], 'a whole number from 1 on'),
        (['DEMO', '--offsets', 'all', '1'], "'all' alone"),
        (['DEMO', '--center', 'Nose'], "no joint 'Nose'"),
        (['DEMO', '--layout', '4'], '--layout'),
        (['DEMO', '--holdout', 'nowhere.txt'], 'there is no file nowhere'),
        (['../DEMO', '--raw', '.'], "a data set's name"),
        (['KS20', '--raw', '.'], "should hold KS20's folders"),
    ],
)
def test_impossible_wishes_are_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_one_recording_a_person_leaves_nothing_to_test_on(tmp_path):
    write_kgbd(tmp_path / 'raw', {1: [body(40, 20, 0)], 2: [body(40, 20, 1)]})
    with pytest.raises(UserError, match='nobody in KGBD has a second recording'):
        prepare('KGBD', '--raw', tmp_path / 'raw', '--data_dir', tmp_path / 'Datasets')
    assert not (tmp_path / 'Datasets').exists()


def test_a_person_who_is_only_tested_on_is_refused(tmp_path):
    """The training recording of person 1 is too short for an offset of 20 frames."""
    raw = write_kgbd(tmp_path / 'raw', {1: [body(35, 20, 0), body(35, 20, 1)], 2: [body(60, 20, 2), body(60, 20, 3)]})
    with pytest.raises(UserError, match='Person001 is in the test set'):
        prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'Datasets', '--length', 4, '--offsets', 20)


def test_what_others_have_written_is_kept(small_kgbd, write_tiny, tmp_path):
    """Released arrays are not replaced unasked; what an earlier `prepare` wrote is."""
    raw, _ = small_kgbd
    data_dir = write_tiny('KGBD', length=4, data_dir=tmp_path / 'Datasets')
    before = {path: path.read_bytes() for path in data_dir.rglob('*.npy')}
    with pytest.raises(UserError, match='nothing is overwritten unasked'):
        prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', data_dir)
    assert {path: path.read_bytes() for path in data_dir.rglob('*.npy')} == before
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', data_dir, '--overwrite')
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', data_dir, '--clip', 0, 0)
    assert prepared(dataset_files(data_dir, 'KGBD', 4, 2))['settings']['clip'] == [0, 0]


def test_a_bad_recording_leaves_the_old_arrays(small_kgbd, tmp_path):
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'Datasets')
    before = {path: path.read_bytes() for path in (tmp_path / 'Datasets').rglob('*') if path.is_file()}
    (raw / 'Person012' / '2.txt').write_text('Head;1;2;3\n')
    with pytest.raises(UserError, match=r'2\.txt, line 2: the last frame has 1 of 20 joints'):
        prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'Datasets')
    assert {path: path.read_bytes() for path in (tmp_path / 'Datasets').rglob('*') if path.is_file()} == before


# Processes


def command(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-m', 'sge_la.data.prepare', *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_help_answers_without_numpy():
    code = (
        "import sys; from sge_la.data import prepare; prepare.parser().format_help(); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, check=False).returncode == 0


def test_mistakes_end_with_status_2_and_one_line(tmp_path):
    process = command('KGBD', '--raw', tmp_path)
    output, errors = process.communicate()
    assert process.returncode == 2 and output == ''
    assert errors.startswith('error: ') and errors.count('\n') == 1


def test_a_target_that_is_no_folder_is_told(tmp_path):
    (tmp_path / 'Datasets').write_text('')
    process = command('DEMO', '--people', 2, '--data_dir', tmp_path / 'Datasets')
    _, errors = process.communicate()
    assert process.returncode == 2 and 'cannot make the folder' in errors and errors.count('\n') == 1


@pytest.mark.skipif(sys.platform == 'win32' or os.geteuid() == 0, reason='permissions do not hold here')
def test_a_read_only_target_is_told(tmp_path):
    (tmp_path / 'Datasets').mkdir(mode=0o500)
    with pytest.raises(UserError, match='no permission'):
        prepare('DEMO', '--people', 2, '--data_dir', tmp_path / 'Datasets')


@pytest.mark.skipif(sys.platform == 'win32' or os.geteuid() == 0, reason='permissions do not hold here')
def test_unreadable_raw_data_are_told(small_kgbd, tmp_path):
    raw, _ = small_kgbd
    (raw / 'Person003').chmod(0)
    try:
        with pytest.raises(UserError, match=r'cannot read .* no permission'):
            prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'Datasets')
    finally:
        (raw / 'Person003').chmod(0o700)


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no such limit')
def test_no_room_leaves_nothing(tmp_path):
    """Files may have 50 kB here, and the arrays need more: as on a full disk, writing fails half way."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = command('DEMO', '--people', 4, '--data_dir', tmp_path / 'Datasets', preexec_fn=limit)
    _, errors = process.communicate()
    assert process.returncode == 2 and 'cannot write' in errors and errors.count('\n') == 1
    assert [path for path in (tmp_path / 'Datasets').rglob('*') if path.is_file()] == []
    assert list((tmp_path / 'Datasets').rglob('*.partial')) == []


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows sends no SIGINT to one process')
def test_ctrl_c_while_writing_leaves_whole_data_sets_only(tmp_path):
    """Stopped while the first of many lengths is written: what is there loads, and no piece is left behind."""
    lengths = range(2, 42)
    process = command('DEMO', '--length', *lengths, '--data_dir', tmp_path)
    while not list(tmp_path.glob('DEMO/.*.partial')):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and errors == 'stopped by Ctrl-C\n'
    assert list(tmp_path.rglob('*.partial')) == []
    written = [int(path.name) for path in (tmp_path / 'DEMO').iterdir()]
    assert len(written) < len(lengths)
    for length in written:
        assert len(load('DEMO', length, tmp_path, warn=lambda text: None).train.skeletons)


def runs(process: str) -> bool:
    """Whether a process runs; one that has ended may wait for somebody to ask for its status."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='child processes are looked up in /proc')
def test_ctrl_c_while_several_processes_read_stops_all_of_them(tmp_path):
    """A terminal sends Ctrl-C to all of its processes: one line is printed, and none of them goes on."""
    text = kgbd_text(body(1000, 20, 0)).encode()
    (tmp_path / 'Person001').mkdir()
    for number in range(40):
        (tmp_path / 'Person001' / f'{number}.txt').write_bytes(text)
    process = command('KGBD', '--raw', tmp_path, '--data_dir', tmp_path / 'Datasets', start_new_session=True)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children')
    while len(found := children.read_text().split()) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and errors == 'stopped by Ctrl-C\n'
    # The pipes are closed by now, which is almost the end of a process.
    until = time.monotonic() + 60
    while any(runs(child) for child in found):
        assert time.monotonic() < until, 'a process goes on'
        time.sleep(0.01)
    assert not (tmp_path / 'Datasets').exists()
