"""Preparing each known data set from its raw recordings."""

import json
import os

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.check import main as check
from sge_la.data.layout import dataset_files
from sge_la.data.raw import casia_b, ks20
from sge_la.errors import UserError
from tests.data.generators import body, casia_b_text, write_ks20_frame, write_skel_folder
from tests.data.prepare_cases import prepare, prepared, stored


def test_the_real_kgbd_sample(kgbd_sample, tmp_path, capsys):
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
    # Written by hand, a split names no rule of --holdout, which means nothing here.
    roles = {'train': ['Training/p2', 'Training/p10'], 'A': ['TestingA/p2'], 'B': ['TestingB/p10']}
    split = {
        'format': 1,
        'dataset': 'IAS',
        'length': 4,
        'recordings': roles,
        'left_out': ['TestingA/p10', 'TestingB/p2'],
    }
    (tmp_path / 'split.json').write_text(json.dumps(split))
    prepare('IAS', '--raw', tmp_path / 'raw', '--data_dir', tmp_path / 'other', '--split', tmp_path / 'split.json')
    assert list(load('IAS', 4, tmp_path / 'other', warn=lambda text: None).tests['B'].ids) == [1]
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


def test_either_split_of_casia_b_is_had_again_from_its_file(tmp_path, capsys):
    """Each file brings back the data set that it is of, and the command that is named finds what was written."""
    names = [f'{who}-{walk}-01-{view:03d}' for who in ('004', '007') for walk in casia_b.CONDITIONS for view in (0, 72)]
    (tmp_path / 'raw').mkdir()
    for seed, name in enumerate(names):
        (tmp_path / 'raw' / f'{name}.txt').write_text(casia_b_text(body(5, 14, seed)))
    arguments = ('CASIA_B', '--raw', tmp_path / 'raw', '--length', 5)
    prepare(*arguments, '--view', 4, '--data_dir', tmp_path / 'a')
    assert check(capsys.readouterr().out.splitlines()[-1].split()[4:]) == 0
    for folder in ('CASIA_B', 'CASIA_B_match'):
        (split,) = (tmp_path / 'a' / folder).rglob('split.json')
        prepare(*arguments, '--data_dir', tmp_path / 'b', '--split', split)
        assert check(capsys.readouterr().out.splitlines()[-1].split()[4:]) == 0
    with pytest.raises(UserError, match='is a split of CME: leave out --protocol'):
        prepare(*arguments, '--data_dir', tmp_path / 'b', '--split', split, '--protocol', 'CVE')
    paths = {path.relative_to(tmp_path / 'a') for path in (tmp_path / 'a').rglob('*') if path.is_file()}
    assert all((tmp_path / 'a' / path).read_bytes() == (tmp_path / 'b' / path).read_bytes() for path in paths)


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
