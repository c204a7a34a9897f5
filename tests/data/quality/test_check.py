"""Tests of `python -m sge_la.data.check`: every kind of trouble is found, named, and told by the exit status."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sge_la.data.check import main
from sge_la.data.layout import DatasetFiles, dataset_files
from sge_la.data.quality.arrays import check
from sge_la.data.write import NewSplit, write_dataset, write_ids
from sge_la.errors import UserError, run_command


@pytest.fixture
def tiny(write_tiny):
    """A data set X of layout 2 with recordings: its `Datasets` folder and its files."""
    data_dir = write_tiny('X', recordings=True)
    return data_dir, dataset_files(data_dir, 'X', 6, 2)


def change(path: Path, make) -> None:
    np.save(path, make(np.load(path)))


def put(index: tuple, value: float):
    def make(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return make


def texts(findings: list) -> str:
    return '\n'.join(finding.text for finding in findings)


def without_targets(files: DatasetFiles) -> None:
    for part in (files.train, *files.tests.values()):
        for letter in 'xyz':
            part.target(letter).unlink(missing_ok=True)


@pytest.mark.parametrize('layout', [1, 2, 3])
def test_a_good_data_set_has_nothing_bad_or_odd(write_tiny, capsys, layout):
    data_dir = write_tiny('X', layout, recordings=True)
    assert main(['X', '--data_dir', str(data_dir)]) == 0
    out = capsys.readouterr().out
    assert f'layout {layout}' in out and 'nothing bad, 0 odd' in out
    files = dataset_files(data_dir, 'X', 6, layout)
    report = check('X', 6, data_dir)
    rows = {row.path: row for row in report.files}
    assert (rows[files.train.source('x')].sequences, rows[files.train.source('x')].frames) == (20, 120)
    assert (rows[files.train.ids].people, rows[files.train.ids].sequences) == (4, 20)
    on_disk = {path for path in files.root.rglob('*.npy') if layout > 1 or 'X_' in path.name}
    assert set(rows) == on_disk


def test_the_original_data_set_of_the_reference_run_is_good(reference, tmp_path, capsys):
    import tarfile

    with tarfile.open(reference / 'runs' / 'biwi' / 'Datasets.tar.xz') as archive:
        archive.extractall(tmp_path, filter='data')
    assert main(['BIWI', '--data_dir', str(tmp_path / 'Datasets')]) == 0
    assert 'nothing bad, 0 odd' in capsys.readouterr().out


def test_the_table_shows_each_file(tiny, capsys):
    main(['X', '--data_dir', str(tiny[0])])
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if 't_source_y' in line)
    assert row.split() == ['X_test_npy_data/t_source_y_X_6.npy', '48', '×', '20', 'float64', '8', '48', 'good']


def test_every_test_set_that_is_there_is_checked(write_tiny):
    data_dir = write_tiny('BIWI', 3)
    files = dataset_files(data_dir, 'BIWI', 6, 3)
    files.tests['Still'].source('z').unlink()
    report = check('BIWI', 6, data_dir)
    assert [finding.path for finding in report.bad] == [files.tests['Still'].source('z')]
    shutil.rmtree(files.tests['Still'].folder)
    assert check('BIWI', 6, data_dir).bad == []


def test_other_lengths_views_and_layouts(write_tiny):
    data_dir = write_tiny('KS20', 3, joints=25, view=1, length=4)
    write_tiny('KS20', 2, joints=25, view=1, length=4, people=3)
    assert check('KS20', 4, data_dir, view=1).layout == 2
    report = check('KS20', 4, data_dir, view=1, layout=3)
    assert report.layout == 3 and report.bad == []
    with pytest.raises(UserError, match='KS20_6'):
        check('KS20', 6, data_dir, view=1)
    with pytest.raises(UserError, match='was looked for'):
        check('KS20', 4, data_dir, view=1, layout=1)


BAD = {
    'pointer': ('source', lambda p: p.write_bytes(b'version https://git-lfs.github.com/spec/v1\n'), 'Git LFS pointer'),
    'cut': ('source', lambda p: p.write_bytes(p.read_bytes()[:-1]), 'cut short'),
    'missing': ('source', Path.unlink, 'is missing'),
    'rows': ('source', lambda p: change(p, lambda a: a[:-6]), 'same shape'),
    'length': ('source', lambda p: change(p, lambda a: a[:-1]), 'whole sequences of 6'),
    'nan': (
        'source',
        lambda p: change(p, put((13, 2), np.nan)),
        '1 coordinates .* in row 13 .sequence 2, frame 1. at joint 2',
    ),
    'infinite': ('source', lambda p: change(p, put((slice(7, 9), 0), np.inf)), '2 coordinates .* in row 7'),
    'target': (
        'target',
        lambda p: change(p, put((13, 2), 5)),
        'not .*source_y_X_6.npy reversed in time, first in sequence 2',
    ),
    'target cut': ('target', lambda p: p.write_bytes(p.read_bytes()[:-1]), 'cut short'),
    'ids empty': ('ids', lambda p: p.write_bytes(b''), 'is empty'),
    'ids beyond': ('ids', lambda p: write_ids(p, {0: [0], 3: [20], 6: [1], 9: [2]}), 'has the sequence 20'),
    'ids twice': ('ids', lambda p: write_ids(p, {0: [0], 3: [0], 6: [1], 9: [2]}), 'named twice'),
    'recording': ('recording', lambda p: change(p, lambda a: a[:-1]), 'one whole number for each'),
    'recording of two': (
        'recording',
        lambda p: change(p, lambda a: a * 0),
        'recording 0 has sequences of identities 0, 3',
    ),
}


@pytest.mark.parametrize('side', ['train', 'test'])
@pytest.mark.parametrize('name', BAD)
def test_bad_files_are_named_and_the_others_still_checked(tiny, capsys, side, name):
    data_dir, files = tiny
    part = files.train if side == 'train' else files.tests['test']
    kind, damage, message = BAD[name]
    path = {'source': part.source('y'), 'target': part.target('y'), 'ids': part.ids, 'recording': part.recording}[kind]
    damage(path)
    # A second bad file, far behind the first in the table.
    files.tests['test'].target('z').write_bytes(b'')
    assert main(['X', '--data_dir', str(data_dir)]) == 1
    out = capsys.readouterr().out
    report = check('X', 6, data_dir)
    paths = [finding.path for finding in report.bad]
    assert path in paths and files.tests['test'].target('z') in paths
    assert f'the first bad file is {report.bad[0].path}' in out
    assert any(row.path == path and row.state in ('BAD', 'MISSING') for row in report.files)
    import re

    assert any(re.search(message, finding.text) for finding in report.bad), texts(report.bad)


def test_several_bad_files_are_all_named(tiny):
    data_dir, files = tiny
    damaged = [
        files.train.source('x'),
        files.train.target('y'),
        files.tests['test'].ids,
        files.tests['test'].source('z'),
    ]
    for path in damaged:
        path.write_bytes(b'')
    assert [finding.path for finding in check('X', 6, data_dir).bad] == [damaged[0], damaged[1], damaged[3], damaged[2]]


def test_a_test_person_that_training_lacks_is_bad(tiny):
    data_dir, files = tiny
    write_ids(files.tests['test'].ids, {0: [0], 4: [1]})
    report = check('X', 6, data_dir)
    assert [finding.path for finding in report.bad] == [files.tests['test'].ids]
    assert '1 of 2 are not (4)' in report.bad[0].text


def test_a_leak_between_training_and_test_is_bad(tiny):
    """Frame 3 of test sequence 5 becomes frame 2 of training sequence 7."""
    data_dir, files = tiny
    without_targets(files)
    for letter in 'xyz':
        row = np.load(files.train.source(letter))[7 * 6 + 2]
        change(files.tests['test'].source(letter), put((5 * 6 + 3,), row))
    report = check('X', 6, data_dir)
    assert len(report.bad) == 1
    assert 'test set test: 1 of 8 sequences have frames' in report.bad[0].text
    assert 'frame 3 of sequence 5, which is in training sequence 7' in report.bad[0].text


def test_frames_of_zeros_on_both_sides_are_no_leak(tiny):
    data_dir, files = tiny
    without_targets(files)
    for part in (files.train, files.tests['test']):
        for letter in 'xyz':
            change(part.source(letter), put((13,), 0))
    assert check('X', 6, data_dir).bad == []


def test_one_axis_in_common_is_no_leak(tiny):
    data_dir, files = tiny
    without_targets(files)
    for letter in 'xy':
        change(files.tests['test'].source(letter), put((33,), np.load(files.train.source(letter))[44]))
    assert check('X', 6, data_dir).bad == []


def test_a_recording_that_repeats_another_is_bad(tiny):
    """Recording 7 (sequences 8 and 9 of person 3) becomes a copy of recording 1 (sequences 3 and 4 of person 0)."""
    data_dir, files = tiny
    without_targets(files)
    assert np.load(files.train.recording)[[3, 4, 8, 9]].tolist() == [1, 1, 7, 7]
    for letter in 'xyz':
        array = np.load(files.train.source(letter))
        array[48:60] = array[18:30]
        np.save(files.train.source(letter), array)
    report = check('X', 6, data_dir)
    assert 'training set: recording 7 repeats recording 1' in texts(report.bad)
    assert '2 sequences are those of another identity, such as sequence 8 of identity 3' in texts(report.bad)


def test_the_same_sequence_twice_within_a_person_is_odd(tiny):
    data_dir, files = tiny
    without_targets(files)
    for letter in 'xyz':
        array = np.load(files.train.source(letter))
        array[6:12] = array[:6]
        np.save(files.train.source(letter), array)
    report = check('X', 6, data_dir)
    assert report.bad == []
    assert '1 sequences occur more than once, such as 0 and 1' in texts(report.odd)


def test_constant_far_and_repeated_coordinates_are_odd(tiny, capsys):
    data_dir, files = tiny
    without_targets(files)
    change(files.train.source('x'), put((slice(None), 4), 0.25))
    change(files.train.source('z'), put((50, 3), -12))
    change(files.tests['test'].source('y'), lambda array: array * 1000)
    for letter in 'xyz':
        array = np.load(files.train.source(letter))
        array[14] = array[13]
        array[18:24] = array[18]
        np.save(files.train.source(letter), array)
    assert main(['X', '--data_dir', str(data_dir)]) == 1
    assert 'test set test, recording 1000: the body is ' in (said := capsys.readouterr().out)
    assert said.count('millimetres among metres') == 8
    odd = texts(check('X', 6, data_dir).odd)
    assert 'source_x_X_6.npy: the same value in every frame at joint 4' in odd
    assert '1 coordinates are farther than 10 m (up to 12), the first in sequence 8' in odd
    assert odd.count('millimetres') == 1
    assert '6 frames repeat the frame before them, 1 sequences stand still, the first repeat is in sequence 2' in odd


def test_sequences_of_nobody_wrong_frame_ids_and_strays_are_odd(tiny):
    data_dir, files = tiny
    write_ids(files.train.ids, {0: [0], 3: [5], 6: [10], 9: list(range(15, 20))})
    np.save(files.tests['test'].frame_id, np.zeros(8, int))
    (files.train.folder / 'source_x_X_6 (1).npy').write_bytes(b'')
    (files.root.parent / '.X_6.12345678.partial').mkdir()
    report = check('X', 6, data_dir)
    assert report.bad == []
    odd = texts(report.odd)
    assert '12 of 20 sequences belong to nobody: 1, 2, 3, 4, 6, 7, 8, 9 ...' in odd
    assert odd.count('differs from ids_X_6.npy') == 2
    assert 'nothing reads source_x_X_6 (1).npy' in odd
    assert '.X_6.12345678.partial was left by a run that was killed' in odd


def test_another_number_of_people_than_the_papers_is_odd(write_tiny):
    assert '4 identities, and 28 in the paper' in texts(check('BIWI', 6, write_tiny('BIWI')).odd)


def test_missing_data_set_and_wrong_arguments_have_status_2(tmp_path, capsys):
    for argv in (['X', '--data_dir', str(tmp_path)], ['X', '--length', 'six'], [], ['../x'], ['X', '--length', '0']):
        assert run_command(main, argv) == 2
        captured = capsys.readouterr()
        assert captured.out == '' and captured.err.startswith('error: ') and captured.err.count('\n') == 1


def test_a_damaged_record_is_told_once(tiny, capsys):
    data_dir, files = tiny
    (files.train.folder / 'prepare.json').write_text('{')
    assert main(['X', '--data_dir', str(data_dir)]) == 1
    said = capsys.readouterr().out
    assert said.count('prepare.json should be JSON and is not') == 1 and '1 bad, 0 odd' in said


def test_the_command_runs_as_a_module(tiny):
    command = [sys.executable, '-m', 'sge_la.data.check', 'X', '--data_dir', tiny[0]]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ''
    tiny[1].train.ids.write_bytes(b'')
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == ''


def test_all_sequences_of_a_length_one_data_set(tmp_path):
    split = NewSplit(np.random.default_rng(0).normal(size=(3, 1, 5, 3)), {0: [0, 1, 2]})
    test = NewSplit(np.random.default_rng(1).normal(size=(3, 1, 5, 3)), {0: [0, 1, 2]})
    write_dataset(tmp_path, 'X', split, {'test': test})
    report = check('X', 1, tmp_path)
    assert report.bad == [] and report.odd == []


def test_the_needs_of_training_are_told(tiny, capsys):
    """20 sequences of 4 people, of which 12 are left without the held-out ones; without ids nothing can be trained."""
    data_dir, files = tiny
    assert main(['X', '--data_dir', str(data_dir)]) == 0
    said = capsys.readouterr().out
    assert '  met: two people or more to tell apart: 4\n  NOT MET: a batch of 128 training sequences: 20 (' in said
    assert '  met: people who are trained on and tested: 4 of 4\n  met: the recordings of training seq' in said
    assert f'works: python train.py --dataset X --data_dir {data_dir} --select val --batch_size 12\n' in said
    files.train.ids.unlink()
    assert main(['X', '--data_dir', str(data_dir)]) == 1
    said = capsys.readouterr().out
    assert 'train.py: correct what is bad first' in said and 'works:' not in said


@pytest.mark.parametrize(
    ('name', 'length', 'view', 'joints'),
    [('BIWI', 6, None, 20), ('KS20', 8, 2, 25), ('CASIA_B', 20, 3, 14), ('CASIA_B_match', 50, None, 14)],
)
def test_the_command_that_is_named_can_be_typed(write_tiny, capsys, name, length, view, joints):
    from sge_la.settings.command_line import parse_train

    data_dir = write_tiny(name, length=length, view=view, joints=joints)
    main([name, '--length', str(length), '--data_dir', str(data_dir), *(['--view', str(view)] if view else [])])
    said = capsys.readouterr().out
    [words] = [line.split()[3:] for line in said.splitlines() if line.startswith('works: python train.py ')]
    options = parse_train(words)
    assert (options.length, options.view, options.data_dir) == (length, view, str(data_dir))
    assert options.batch_size <= 20
