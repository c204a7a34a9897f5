"""Tests of writing data sets: what the original would read, and nothing half-written."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sge_la.data import write
from sge_la.data.ids import read_ids
from sge_la.data.layout import SplitFiles, dataset_files
from sge_la.data.skeletons import SKELETONS
from sge_la.data.write import NewSplit, write_dataset, write_ids, write_split
from sge_la.errors import UserError
from sge_la.files.text import read_json
from sge_la.files.write_arrays import NpyWriter


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def split(count: int = 4, length: int = 6, joints: int = 5, seed: int = 0) -> NewSplit:
    skeletons = np.random.default_rng(seed).normal(size=(count, length, joints, 3))
    return NewSplit(skeletons, {7: [0, 2], 3: list(range(1, count, 2))})


def test_arrays_are_what_the_original_reads(tmp_path):
    new = split()
    files = SplitFiles(tmp_path / 'folder', 't_', 'X_6')
    write_split(files, replace(new, recordings=np.array([4, 4, 5, 5])))
    for axis, letter in enumerate('xyz'):
        source = np.load(tmp_path / 'folder' / f't_source_{letter}_X_6.npy')
        target = np.load(tmp_path / 'folder' / f't_target_{letter}_X_6.npy')
        assert source.shape == (24, 5) and source.dtype == target.dtype == np.float64
        np.testing.assert_array_equal(source.reshape(-1, 6, 5), new.skeletons[..., axis])
        np.testing.assert_array_equal(target.reshape(-1, 6, 5)[:, ::-1], new.skeletons[..., axis])
    assert np.load(tmp_path / 'folder' / 'frame_id_X_6.npy').tolist() == [7, 3, 7, 3]
    assert np.load(tmp_path / 'folder' / 't_recording_X_6.npy').tolist() == [4, 4, 5, 5]
    # As the original reads it; this file is our own.
    ids = np.load(tmp_path / 'folder' / 'ids_X_6.npy', allow_pickle=True).item()
    assert ids == {7: [0, 2], 3: [1, 3]}
    assert list(ids) == [7, 3] and type(ids[7][0]) is int


def test_sequences_of_nobody_have_the_frame_id_minus_one(tmp_path):
    files = SplitFiles(tmp_path, '', 'X_6')
    write_split(files, NewSplit(np.zeros((3, 6, 5, 3)), {2: [1]}), targets=False)
    assert np.load(files.frame_id).tolist() == [-1, 2, -1]
    assert not files.target('x').exists() and not files.recording.exists()


def test_blocks_equal_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(write, '_BLOCK', 3)
    new = split(count=8)
    files = SplitFiles(tmp_path, '', 'X_6')
    write_split(files, new)
    np.testing.assert_array_equal(np.load(files.source('y')).reshape(-1, 6, 5), new.skeletons[..., 1])
    np.testing.assert_array_equal(np.load(files.target('y')).reshape(-1, 6, 5), new.skeletons[:, ::-1, :, 1])


def test_ids_name_what_every_numpy_knows(tmp_path):
    write_ids(tmp_path / 'ids.npy', {np.int64(3): np.array([0, 2**31 - 1]), 1: (5,)})
    content = (tmp_path / 'ids.npy').read_bytes()
    assert b'numpy.core.multiarray' in content and b'numpy._core' not in content
    assert np.load(tmp_path / 'ids.npy', allow_pickle=True).item() == {3: [0, 2**31 - 1], 1: [5]}
    assert {label: indices.tolist() for label, indices in read_ids(tmp_path / 'ids.npy').items()} == {
        1: [5],
        3: [0, 2**31 - 1],
    }


@pytest.mark.parametrize('ids', [{0: [4]}, {0: [-1]}, {0: []}, {-1: [0]}, {0: [1, 1]}, {0: [0, 1], 1: [1, 2]}])
def test_ids_that_do_not_fit_are_a_defect(tmp_path, ids):
    with pytest.raises(ValueError, match='identity'):
        write_split(SplitFiles(tmp_path, '', 'X_6'), NewSplit(np.zeros((4, 6, 5, 3)), ids))
    assert everything(tmp_path) == []


def test_arrays_that_do_not_fit_are_a_defect(tmp_path):
    files = SplitFiles(tmp_path, '', 'X_6')
    with pytest.raises(ValueError, match='skeletons'):
        write_split(files, NewSplit(np.zeros((4, 6, 5)), {0: [0]}))
    with pytest.raises(ValueError, match='recordings'):
        write_split(files, NewSplit(np.zeros((4, 6, 5, 3)), {0: [0]}, np.zeros(3)))
    with pytest.raises(ValueError, match='do not fit'):
        write_dataset(tmp_path, 'X', split(joints=5), {'test': split(joints=6)})
    assert everything(tmp_path) == []


LAYOUT_FOLDERS = {
    1: ('X_train_npy_data', 'X_test_npy_data'),
    2: ('X/6/X_train_npy_data', 'X/6/X_test_npy_data'),
    3: ('X/6/train_npy_data', 'X/6/test_npy_data/probe'),
}


@pytest.mark.parametrize('layout', [1, 2, 3])
def test_layouts_lie_where_the_original_has_them(tmp_path, layout):
    test = 'probe' if layout == 3 else 'test'
    write_dataset(
        tmp_path,
        'X',
        split(),
        {test: split(seed=1)},
        layout=layout,
        prepared={'seed': 3},
        skeleton=SKELETONS['casia_b'],
    )
    folders = LAYOUT_FOLDERS[layout]
    expected = [f'{folders[0]}/{name}.json' for name in ('prepare', 'skeleton')]
    for folder, prefix in zip(folders, ('', 't_'), strict=True):
        names = [f'{prefix}source_{axis}_X_6' for axis in 'xyz'] + ['ids_X_6', 'frame_id_X_6']
        if layout < 3:
            names += [f'{prefix}target_{axis}_X_6' for axis in 'xyz']
        expected += [f'{folder}/{name}.npy' for name in names]
    assert everything(tmp_path) == sorted(expected)
    assert read_json(tmp_path / folders[0] / 'prepare.json') == {'seed': 3}


def test_test_sets_of_ias_share_a_folder_in_layout_2_and_have_their_own_in_3(tmp_path):
    for layout in (2, 3):
        write_dataset(tmp_path, 'IAS', split(), {'A': split(), 'B': split()}, layout=layout)
    assert (tmp_path / 'IAS/6/IAS_test_npy_data/t_source_x_IAS-B_6.npy').exists()
    assert (tmp_path / 'IAS/6/test_npy_data/B/t_source_x_IAS_6.npy').exists()


def test_a_view_has_its_own_folder_beside_the_random_split(tmp_path):
    write_dataset(tmp_path, 'KS20', split(), {'probe': split()}, view=3)
    write_dataset(tmp_path, 'KS20', split(), {'probe': split()})
    assert (tmp_path / 'KS20/6/view_3/KS20_train_npy_data/source_x_KS20_6.npy').exists()
    assert (tmp_path / 'KS20/6/KS20_train_npy_data/source_x_KS20_6.npy').exists()


def test_nothing_is_overwritten_unasked(tmp_path):
    write_dataset(tmp_path, 'X', split(), {'test': split()})
    before = everything(tmp_path)
    with pytest.raises(UserError, match='exists already'):
        write_dataset(tmp_path, 'X', split(seed=5), {'test': split()})
    assert everything(tmp_path) == before
    new = split(count=6, seed=5)
    files = write_dataset(tmp_path, 'X', new, {'test': split()}, overwrite=True, targets=False)
    assert len(np.load(files.train.source('x'))) == 36
    assert not files.train.target('x').exists()


def test_unknown_test_set_and_unsafe_names_are_user_errors(tmp_path):
    with pytest.raises(UserError, match='the test sets Walking'):
        write_dataset(tmp_path, 'BIWI', split(), {'Still': split()})
    for name in ('../x', '', 'a/b', '.x', 'x' * 65, 'a b'):
        with pytest.raises(UserError, match="a data set's name"):
            write_dataset(tmp_path / 'Datasets', name, split(), {'test': split()})
    assert list(tmp_path.iterdir()) == []


def test_read_only_target_is_a_user_error():
    with pytest.raises(UserError, match='cannot make the folder /proc'):
        write_dataset('/proc/Datasets', 'X', split(), {'test': split()})


@pytest.mark.parametrize('file_number', range(0, 16, 3))
@pytest.mark.parametrize('overwrite', [False, True])
def test_ctrl_c_half_way_leaves_the_old_data_set_or_none(tmp_path, monkeypatch, file_number, overwrite):
    """Ctrl-C comes while the n-th array is being written."""
    if overwrite:
        write_dataset(tmp_path, 'X', split(), {'test': split()})
    before = everything(tmp_path)
    calls = []

    def interrupted(self, rows, append=NpyWriter.append):
        calls.append(self.path)
        if len(calls) > file_number:
            raise KeyboardInterrupt
        append(self, rows)

    monkeypatch.setattr(NpyWriter, 'append', interrupted)
    if file_number < 12:
        with pytest.raises(KeyboardInterrupt):
            write_dataset(tmp_path, 'X', split(seed=2), {'test': split()}, overwrite=overwrite)
        assert everything(tmp_path) == before
    else:
        # There are twelve arrays: source and target, x, y, z, training and test.
        write_dataset(tmp_path, 'X', split(seed=2), {'test': split()}, overwrite=overwrite)
        assert len(calls) == 12
    assert not [path for path in tmp_path.rglob('.*')]


@pytest.mark.parametrize('failing', range(5))
def test_trouble_while_renaming_puts_the_old_set_back(tmp_path, monkeypatch, failing):
    """With an old set there are four renames: two aside (training first), two into place (training last)."""
    files = write_dataset(tmp_path, 'X', split(), {'test': split(seed=1)})
    old = [np.load(part.source('x')) for part in (files.train, files.tests['test'])]
    new = [split(seed=2), split(seed=3)]
    calls = []

    def rename(source, target, os_rename=write.os.rename):
        calls.append(target)
        if len(calls) == failing + 1:
            raise OSError(5, 'Input/output error')
        os_rename(source, target)

    monkeypatch.setattr(write.os, 'rename', rename)
    if failing < 4:
        with pytest.raises(UserError, match='Input/output error'):
            write_dataset(tmp_path, 'X', new[0], {'test': new[1]}, overwrite=True)
    else:
        write_dataset(tmp_path, 'X', new[0], {'test': new[1]}, overwrite=True)
    found = [np.load(part.source('x')) for part in (files.train, files.tests['test'])]
    expected = old if failing < 4 else [part.skeletons[..., 0].reshape(-1, 5) for part in new]
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_kill_half_way_leaves_nothing_that_is_read(tmp_path):
    """A real process is killed while it writes; what it leaves is hidden and under another name."""
    code = (
        'import os, signal, sys, numpy as np\n'
        'from sge_la.data import write\n'
        'original = write.NpyWriter.append\n'
        'def append(self, rows):\n'
        "    if 't_source_y' in self.path.name:\n"
        '        os.kill(os.getpid(), signal.SIGKILL)\n'
        '    original(self, rows)\n'
        'write.NpyWriter.append = append\n'
        'split = write.NewSplit(np.zeros((2, 6, 5, 3)), {0: [0, 1]})\n'
        "write.write_dataset(sys.argv[1], 'X', split, {'test': split})\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, '-c', code, tmp_path / 'Datasets'], cwd=root, check=False)
    assert killed.returncode == -9
    files = dataset_files(tmp_path / 'Datasets', 'X', 6, 2)
    assert not files.root.exists()
    assert all(path.name.startswith('.') for path in files.root.parent.iterdir())
    write_dataset(tmp_path / 'Datasets', 'X', split(), {'test': split()})
    assert files.train.source('x').exists()
