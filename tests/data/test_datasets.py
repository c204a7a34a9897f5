"""Tests of loading data sets: every layout, and every kind of bad input in one sentence."""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sge_la.data import Split, load, prepare
from sge_la.data.layout import dataset_files
from sge_la.data.loading import available_lengths
from sge_la.data.prepare.recipes import RECIPES
from sge_la.data.skeletons import SKELETONS
from sge_la.data.write import NewSplit, write_dataset, write_ids
from sge_la.errors import UserError
from sge_la.settings.papers import DATASETS


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def quiet(warnings):
    """Loads and collects the warnings."""
    return lambda *args, **further: load(*args, warn=warnings.append, **further)


@pytest.mark.parametrize('layout', [1, 2, 3])
@pytest.mark.parametrize(
    'name, joints, tests',
    [
        ('BIWI', 20, ('Walking',)),
        ('IAS', 20, ('A', 'B')),
        ('KGBD', 20, ('probe',)),
        ('KS20', 25, ('probe',)),
        ('DEMO', 20, None),
        ('my-own.set', 7, None),
    ],
)
def test_every_layout_and_data_set(write_tiny, quiet, name, layout, joints, tests):
    data_dir = write_tiny(name, layout, joints=joints, recordings=True)
    dataset = quiet(name, 6, data_dir)
    assert (dataset.name, dataset.length, dataset.layout, dataset.joints) == (name, 6, layout, joints)
    assert dataset.root == dataset_files(data_dir, name, 6, layout).root
    assert tuple(dataset.tests) == (tests or (('probe',) if layout == 3 else ('test',)))
    assert dataset.identities == (0, 3, 6, 9)
    assert dataset.train.skeletons.shape == (20, 6, joints, 3)
    assert dataset.train.skeletons.dtype == np.float32
    assert dataset.train.labels.tolist() == np.repeat([0, 3, 6, 9], 5).tolist()
    assert dataset.train.recordings.tolist()[:6] == [0, 0, 0, 1, 1, 6]
    files = dataset_files(data_dir, name, 6, layout)
    for split, part in [(dataset.train, files.train), *((dataset.tests[t], files.tests[t]) for t in dataset.tests)]:
        for axis, letter in enumerate('xyz'):
            source = np.load(part.source(letter)).reshape(-1, 6, joints)
            np.testing.assert_array_equal(split.skeletons[..., axis], source.astype(np.float32))
    for split in dataset.tests.values():
        assert len(split.skeletons) == 8
        assert dataset.classes(split).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_layout_2_comes_before_3_and_3_before_1(write_tiny, quiet):
    for layout in (1, 3, 2):
        data_dir = write_tiny('BIWI', layout, people=layout + 1)
        assert quiet('BIWI', 6, data_dir).layout == layout
        assert len(quiet('BIWI', 6, data_dir).identities) == layout + 1


def test_still_is_had_from_layout_3_even_if_layout_2_is_there(write_tiny, quiet):
    write_tiny('BIWI', 2)
    data_dir = write_tiny('BIWI', 3)
    dataset = quiet('BIWI', 6, data_dir, tests=('Still',))
    assert dataset.layout == 3 and list(dataset.tests) == ['Still']
    dataset = quiet('BIWI', 6, data_dir, tests=('Walking', 'Still'))
    assert list(dataset.tests) == ['Walking', 'Still']
    gallery = quiet('KGBD', 6, write_tiny('KGBD', 3), tests=('probe', 'gallery'))
    assert list(gallery.tests) == ['probe', 'gallery']


def test_views_of_ks20(write_tiny, quiet):
    data_dir = write_tiny('KS20', joints=25, view=2, people=3)
    write_tiny('KS20', joints=25, people=4)
    assert len(quiet('KS20', 6, data_dir, view=2).identities) == 3
    assert len(quiet('KS20', 6, data_dir).identities) == 4
    with pytest.raises(UserError, match='view_4'):
        quiet('KS20', 6, data_dir, view=4)


@st.composite
def splits(draw, length: int, joints: int, labels: list[int]) -> NewSplit:
    """Sequences whose owners come in any order; some belong to nobody."""
    owners = draw(st.permutations(labels * draw(st.integers(1, 3)) + [-1] * draw(st.integers(0, 2))))
    skeletons = np.arange(len(owners) * length * joints * 3, dtype=np.float32).reshape(-1, length, joints, 3)
    ids = {label: np.flatnonzero(np.array(owners) == label) for label in draw(st.permutations(labels))}
    recordings = np.arange(len(owners)) if draw(st.booleans()) else None
    return NewSplit(skeletons, ids, recordings=recordings)


@settings(max_examples=30)
@given(data=st.data())
def test_what_is_written_is_read(tmp_path_factory, data):
    data_dir = tmp_path_factory.mktemp('data')
    layout, length, joints = (data.draw(st.integers(1, most)) for most in (3, 12, 30))
    labels = data.draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5, unique=True))
    known = data.draw(st.lists(st.sampled_from(labels), min_size=1, unique=True))
    train, test = data.draw(splits(length, joints, labels)), data.draw(splits(length, joints, known))
    name = 'probe' if layout == 3 else 'test'
    targets = data.draw(st.booleans())
    write_dataset(data_dir, 'own', train, {name: test}, layout=layout, targets=targets)
    dataset = load('own', length, data_dir, warn=lambda text: None)
    assert dataset.identities == tuple(sorted(labels))
    for written, read in ((train, dataset.train), (test, dataset.tests[name])):
        np.testing.assert_array_equal(read.skeletons, written.skeletons)
        assert {label: indices.tolist() for label, indices in read.ids.items()} == {
            label: list(indices) for label, indices in written.ids.items()
        }
        assert (read.recordings is None) == (written.recordings is None)


@pytest.mark.parametrize('dtype', ['<f8', '>f8', '<f4', '>f4', '<f2', '<i8', '>i4', '|u1'])
@pytest.mark.parametrize('fortran', [False, True])
@pytest.mark.parametrize('flat', [False, True])
def test_any_order_and_kind_of_numbers(write_tiny, quiet, dtype, fortran, flat):
    data_dir = write_tiny('X', targets=True)
    part = dataset_files(data_dir, 'X', 6, 2).train
    values = {}
    for letter in 'xyz':
        array = np.abs(np.round(np.load(part.source(letter)) * 10)).astype(dtype).reshape(-1, 6, 20)
        values[letter] = array
        for path, sequences in ((part.source(letter), array), (part.target(letter), array[:, ::-1])):
            stored = sequences.reshape(-1, 20) if flat else sequences
            np.save(path, np.asfortranarray(stored) if fortran else stored)
    skeletons = quiet('X', 6, data_dir).train.skeletons
    for axis, letter in enumerate('xyz'):
        np.testing.assert_array_equal(skeletons[..., axis], values[letter].astype(np.float32))


def test_targets_are_optional_and_each_alone(write_tiny, quiet):
    data_dir = write_tiny('X')
    files = dataset_files(data_dir, 'X', 6, 2)
    expected = quiet('X', 6, data_dir).train.skeletons
    files.train.target('y').unlink()
    np.testing.assert_array_equal(quiet('X', 6, data_dir).train.skeletons, expected)


def test_the_original_data_set_of_the_reference_run(reference, tmp_path, warnings, quiet):
    """A genuine tree of layout 2, with arrays `[N, T, J]` and ids that the original's NumPy wrote."""
    with tarfile.open(reference / 'runs' / 'biwi' / 'Datasets.tar.xz') as archive:
        archive.extractall(tmp_path, filter='data')
    dataset = quiet('BIWI', 6, tmp_path / 'Datasets')
    assert dataset.train.skeletons.shape == (544, 6, 20, 3)
    assert dataset.tests['Walking'].skeletons.shape == (262, 6, 20, 3)
    assert dataset.identities == tuple(range(28))
    assert warnings == []
    raw = np.load(tmp_path / 'Datasets/BIWI/6/BIWI_train_npy_data/source_z_BIWI_6.npy')
    np.testing.assert_array_equal(dataset.train.skeletons[..., 2], raw.reshape(-1, 6, 20).astype(np.float32))


def test_class_and_labels(write_tiny, quiet):
    dataset = quiet('X', 6, write_tiny('X'))
    assert [dataset.class_of(label) for label in dataset.identities] == [0, 1, 2, 3]
    with pytest.raises(KeyError):
        dataset.class_of(1)
    assert Split(np.zeros((3, 6, 5, 3)), {4: np.array([2]), 7: np.array([0])}).labels.tolist() == [7, -1, 4]


def test_skeletons_of_own_data_come_from_their_file(write_tiny, quiet):
    data_dir = write_tiny('X', joints=14, skeleton=SKELETONS['casia_b'])
    assert quiet('X', 6, data_dir).skeleton == SKELETONS['casia_b']
    assert quiet('Y', 6, write_tiny('Y', joints=14)).skeleton is None
    assert quiet('KGBD', 6, write_tiny('KGBD')).skeleton == SKELETONS['kgbd']
    path = dataset_files(data_dir, 'X', 6, 2).train.folder / 'skeleton.json'
    path.write_text(path.read_text().replace('"Head"', '"Neck"'))
    with pytest.raises(UserError, match='a different name'):
        quiet('X', 6, data_dir)
    with pytest.raises(UserError, match='names 14 joints, but the arrays have 15'):
        quiet('Z', 6, write_tiny('Z', joints=15, skeleton=SKELETONS['casia_b']))


# What is odd, but no error.


def test_names_that_a_terminal_would_obey_are_not_taken(write_tiny, quiet):
    people = {'0': 'Ann', '3': 'Bob\x1b[2J', '6': 'Eve\n', '9': 7}
    data_dir = write_tiny('X')
    (dataset_files(data_dir, 'X', 6, 2).train.folder / 'prepare.json').write_text(json.dumps({'people': people}))
    assert quiet('X', 6, data_dir).names == {0: 'Ann'}


def test_another_number_of_identities_than_the_papers_is_a_warning(write_tiny, quiet, warnings):
    assert len(quiet('BIWI', 6, write_tiny('BIWI')).identities) == 4
    assert warnings == ['BIWI has 4 identities here, and 28 in the paper']


def test_own_data_has_no_expected_number(write_tiny, quiet, warnings):
    quiet('X', 6, write_tiny('X'))
    assert warnings == []


def test_sequences_of_nobody_are_a_warning(write_tiny, quiet, warnings):
    data_dir = write_tiny('X')
    write_ids(dataset_files(data_dir, 'X', 6, 2).train.ids, {label: [5 * label // 3] for label in (0, 3, 6, 9)})
    dataset = quiet('X', 6, data_dir)
    assert (dataset.train.labels >= 0).sum() == 4
    assert len(warnings) == 1 and '16 of 20 sequences belong to no identity' in warnings[0]


def test_warnings_go_to_stderr_unless_told_otherwise(write_tiny, capsys):
    load('BIWI', 6, write_tiny('BIWI'))
    captured = capsys.readouterr()
    assert captured.out == '' and captured.err.startswith('warning: BIWI has 4')


# Bad input.


def test_a_missing_data_set_names_places_lengths_and_the_command(write_tiny):
    data_dir = write_tiny('X', length=8, tests=['test'])
    write_tiny('X', 3, length=10)
    write_tiny('X', 1, length=4)
    assert available_lengths('X', data_dir) == [4, 8, 10]
    with pytest.raises(UserError) as caught:
        load('X', 6, data_dir)
    text = str(caught.value)
    for layout in (1, 2, 3):
        assert str(dataset_files(data_dir, 'X', 6, layout).train.source('x')) in text
    assert 'lengths that are there: 4, 8, 10' in text and 'views' not in text
    for view in (10, 2):
        write_tiny('CASIA_B', joints=14, view=view)
    with pytest.raises(UserError, match=r'views that are there: 2, 10; name one by --view'):
        load('CASIA_B', 6, data_dir)
    assert f'python -m sge_la.data.prepare X --raw FOLDER --length 6 --data_dir {data_dir}' in text
    assert 'Datasets/README.md' in text and '\n' not in text


def test_a_missing_demo_names_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r'"python -m sge_la\.data\.prepare DEMO --length 6"'):
        load('DEMO')


@pytest.mark.parametrize('name', [*DATASETS, 'Mine'])
def test_the_command_for_a_missing_data_set_is_one_that_exists(name, tmp_path):
    """Who has no reader needs a table of recordings, and is told so."""
    with pytest.raises(UserError) as caught:
        load(name, 6, tmp_path)
    command = re.search(r'make it with "python -m sge_la\.data\.prepare (.*?)"', str(caught.value))[1].split()
    assert ('recordings.csv' in str(caught.value)) == (command[0] not in RECIPES)
    prepare.parser().parse_args(command)


def test_missing_files_are_named(write_tiny):
    data_dir = write_tiny('IAS')
    files = dataset_files(data_dir, 'IAS', 6, 2)
    files.tests['B'].source('y').unlink()
    files.train.ids.unlink()
    with pytest.raises(UserError, match='layout 2') as caught:
        load('IAS', 6, data_dir)
    text = str(caught.value)
    assert 'lacks 2 of 12 files' in text and 't_source_y_IAS-B_6.npy' in text and '/ids_IAS_6.npy' in text


def test_an_unknown_test_set_is_named(write_tiny):
    with pytest.raises(UserError, match="has the test sets Walking, but 'Still' was asked for"):
        load('BIWI', 6, write_tiny('BIWI'), tests=('Still',))


@pytest.mark.parametrize('length', [0, -1, 1001, 6.5])
def test_impossible_lengths(tmp_path, length):
    with pytest.raises(UserError, match='a length of 1 to 1000'):
        load('BIWI', length, tmp_path)


@pytest.mark.parametrize('name', ['', '../BIWI', 'a/b', 'BIWI\n', '.', '*'])
def test_unsafe_names(tmp_path, name):
    with pytest.raises(UserError, match="a data set's name"):
        load(name, 6, tmp_path)


def test_a_wrong_number_of_joints_for_a_known_data_set(write_tiny):
    with pytest.raises(UserError, match='should have 20 joints'):
        load('BIWI', 6, write_tiny('BIWI', joints=25))
    with pytest.raises(UserError, match='should have 25 joints'):
        load('KS20', 6, write_tiny('KS20', joints=20))


def test_a_test_identity_that_training_lacks(write_tiny):
    data_dir = write_tiny('X')
    write_ids(dataset_files(data_dir, 'X', 6, 2).tests['test'].ids, {0: [0], 4: [1], 5: [2]})
    with pytest.raises(UserError, match=r'2 of 3 are not \(4, 5\)'):
        load('X', 6, data_dir)


def test_loading_needs_no_heavy_import_and_little_memory(tmp_path, write_tiny):
    """300 MB of float64 arrays become 75 MB; the peak stays 60 MB above them and what was there before."""
    data_dir = write_tiny('X', tests=['test'])
    part = dataset_files(data_dir, 'X', 6, 2).train
    for letter in 'xyz':
        np.save(part.source(letter), np.zeros((600_000, 20)))
        part.target(letter).unlink()
    code = (
        'import resource, sys, numpy\n'
        'from sge_la.data import load\n'
        'import sge_la.data.loading\n'
        'before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        f"dataset = load('X', 6, {str(data_dir)!r}, warn=lambda text: None)\n"
        'after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'print((after - before) * 1024 - dataset.train.skeletons.nbytes)\n'
        "print([name for name in ('tensorflow', 'keras', 'sklearn', 'matplotlib') if name in sys.modules])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True)
    above, heavy = done.stdout.splitlines()
    assert int(above) < 60 * 2**20
    assert heavy == '[]'
