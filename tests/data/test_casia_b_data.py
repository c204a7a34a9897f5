"""CASIA-B's data: views, conditions and people that must be there, and what encoders see of the coordinates."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sge_la.data.casia_b import check_files, load, load_for, load_raw, present_views
from sge_la.data.normalise import CellScale
from sge_la.data.quality.arrays import check
from sge_la.data.write import write_ids
from sge_la.errors import UserError
from sge_la.settings.command_line import parse_train
from tests.paper.casia_b_cases import VIEWS, write_simulated

LENGTH = 30


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('casia_b')
    write_simulated(folder, 'CVE', LENGTH)
    return write_simulated(folder, 'CME', LENGTH)


@pytest.fixture
def own_dir(data_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(data_dir, tmp_path / 'Datasets')


def options(data_dir: Path, *flags: str):
    return parse_train(['--dataset', 'CASIA_B', '--length', str(LENGTH), '--data_dir', str(data_dir), *flags])


def silent(text: str) -> None:
    pass


def conditions_folder(data_dir: Path) -> Path:
    return data_dir / f'CASIA_B_match/{LENGTH}/CASIA_B_test_npy_data'


def test_a_view_is_tested_on_and_all_others_are_trained_on(data_dir):
    """Two views, four people of five walks of 2 or 3 sequences of 30 frames (walks have 85 to 100)."""
    raw = load_raw(options(data_dir, '--view', '5'), silent)
    assert raw.root == data_dir / 'CASIA_B' / str(LENGTH) / 'view_5'
    assert raw.identities == (1, 2, 3, 4) and list(raw.tests['test'].ids) == [1, 2, 3, 4]
    assert raw.train.skeletons.shape == raw.tests['test'].skeletons.shape
    # All cameras see a walk at once: both sets are of the same walks.
    assert set(raw.train.recordings) == set(raw.tests['test'].recordings) == set(range(20))
    other = load_raw(options(data_dir, '--view', '0'), silent)
    np.testing.assert_array_equal(other.train.skeletons, raw.tests['test'].skeletons)


def test_conditions_are_of_people_who_are_not_trained_on(data_dir):
    warnings = []
    raw = load_raw(options(data_dir, '--probe_type', 'all'), warnings.append)
    assert raw.identities == (1, 2) and list(raw.tests) == ['nm', 'bg', 'cl']
    assert all(list(split.ids) == [3, 4] for split in raw.tests.values())
    assert warnings == ['CASIA_B_match has 2 identities here, and 62 in the paper']
    walks = {name: set(split.recordings) for name, split in raw.tests.items()}
    assert [len(walks[name]) for name in ('nm', 'bg', 'cl')] == [4, 4, 2]  # both views share a walk's number


def test_only_the_conditions_that_are_asked_for_are_read(data_dir):
    assert list(load_raw(options(data_dir, '--probe_type', 'cl.nm'), silent).tests) == ['cl', 'nm']
    assert list(load_raw(options(data_dir, '--probe_type', 'bg.bg'), silent).tests) == ['bg']


def test_a_view_that_is_not_there_is_named(data_dir):
    assert present_views(data_dir, LENGTH) == list(VIEWS)
    for action in (load_raw, check_files):
        with pytest.raises(UserError, match=r'view 7 \(126 degrees\) of CASIA_B is not there: .* the views 0, 5; use'):
            action(options(data_dir, '--view', '7'))


def test_a_length_that_is_not_there_says_how_to_make_it(data_dir):
    with pytest.raises(
        UserError, match=r'that are there: 30\); make it with ".* CASIA_B --raw .* --protocol CVE --length 44'
    ):
        load_raw(options(data_dir, '--length', '44'))
    with pytest.raises(
        UserError, match=r'that are there: 30\).*prepare CASIA_B --raw FOLDER --protocol CME --length 44'
    ):
        check_files(options(data_dir, '--length', '44', '--protocol', 'CME'))


def test_a_probe_type_without_gallery_is_refused(own_dir):
    shutil.rmtree(conditions_folder(own_dir) / 'nm')
    for action in (load_raw, check_files):
        with pytest.raises(UserError, match=r'lacks 4 of \d+ files: CASIA_B_test_npy_data/nm/t_source_x_CASIA_B_30'):
            action(options(own_dir, '--probe_type', 'cl.nm'))
    assert load_raw(options(own_dir, '--probe_type', 'cl.cl'), silent)


def test_people_among_the_probes_alone_are_refused(own_dir):
    gallery = conditions_folder(own_dir) / 'nm' / f'ids_CASIA_B_{LENGTH}.npy'
    ids = load_raw(options(own_dir, '--probe_type', 'nm.nm'), silent).tests['nm'].ids
    write_ids(gallery, {3: ids[3]})
    with pytest.raises(UserError, match=r'\(cl\) should be in the gallery \(nm\), but 1 of 2 people are not \(4\)'):
        load_raw(options(own_dir, '--probe_type', 'cl.nm'), silent)
    assert load_raw(options(own_dir, '--probe_type', 'nm.nm'), silent)


def test_people_who_are_tested_on_alone_are_refused_across_views(own_dir):
    folder = own_dir / f'CASIA_B/{LENGTH}/view_0/CASIA_B_train_npy_data'
    ids = load_raw(options(own_dir), silent).train.ids
    write_ids(folder / f'ids_CASIA_B_{LENGTH}.npy', {label: ids[label] for label in (1, 2, 3)})
    with pytest.raises(UserError, match=r'every test identity should be in the training set, but 1 of 4 are not \(4\)'):
        load_raw(options(own_dir), silent)


def test_people_who_are_not_tested_on_are_told(own_dir):
    folder = own_dir / f'CASIA_B/{LENGTH}/view_0/CASIA_B_test_npy_data'
    ids = load_raw(options(own_dir), silent).tests['test'].ids
    write_ids(folder / f'ids_CASIA_B_{LENGTH}.npy', {1: ids[1], 2: ids[2]})
    warnings = []
    load_raw(options(own_dir), warnings.append)
    assert any('2 of 4 people are trained on and not tested on' in text for text in warnings)


def test_training_people_among_the_probes_are_told_and_checked(own_dir):
    """Condition-based matching is of strangers; half of them trained on is odd, but stops nothing."""
    folder = own_dir / f'CASIA_B_match/{LENGTH}/CASIA_B_train_npy_data'
    ids = load_raw(options(own_dir, '--protocol', 'CME'), silent).train.ids
    write_ids(folder / f'ids_CASIA_B_{LENGTH}.npy', {1: ids[1], 3: ids[2]})
    warnings = []
    load_raw(options(own_dir, '--protocol', 'CME'), warnings.append)
    expected = '1 of 2 people are in the training set too (3), and should not be'
    assert any(expected in text for text in warnings)
    report = check('CASIA_B_match', LENGTH, own_dir)
    assert any(expected in finding.text for finding in report.odd)


def test_check_finds_nothing_bad(data_dir):
    for name, view in (('CASIA_B', 5), ('CASIA_B_match', None)):
        report = check(name, LENGTH, data_dir, view=view)
        assert not report.bad
        assert [finding.text[-24:] for finding in report.odd] == [
            'es, and 124 in the paper' if view else 'ies, and 62 in the paper'
        ]


def test_encoders_see_the_head_at_the_origin(data_dir):
    raw, seen = (function(options(data_dir), silent) for function in (load_raw, load))
    for before, after in ((raw.train, seen.train), (raw.tests['test'], seen.tests['test'])):
        np.testing.assert_array_equal(after.skeletons, before.skeletons - before.skeletons[:, :, :1])
        np.testing.assert_array_equal(after.labels, before.labels)
        np.testing.assert_array_equal(after.recordings, before.recordings)
    same = load_for(options(data_dir), silent)
    np.testing.assert_array_equal(same.train.skeletons, seen.train.skeletons)


def test_encoders_see_scaled_cells(data_dir):
    """Everything by the training set's range; `--faithful` scales probes and gallery by that of the whole test file."""
    flags = ('--protocol', 'CME', '--norm', '0')
    raw, seen = (function(options(data_dir, *flags), silent) for function in (load_raw, load))
    scale = CellScale.of(raw.train.skeletons)
    np.testing.assert_array_equal(seen.train.skeletons, scale(raw.train.skeletons))
    np.testing.assert_array_equal(seen.tests['nm'].skeletons, scale(raw.tests['nm'].skeletons))
    faithful = options(data_dir, *flags, '--faithful')
    whole, seen = load_raw(faithful, silent), load(faithful, silent)
    assert list(whole.tests) == ['nm', 'all'] and list(seen.tests) == ['nm']
    expected = CellScale.of(whole.tests['all'].skeletons)(raw.tests['nm'].skeletons)
    np.testing.assert_array_equal(seen.tests['nm'].skeletons, expected)
    np.testing.assert_array_equal(seen.train.skeletons, scale(raw.train.skeletons))


def test_other_data_sets_are_left_as_they_are(write_tiny):
    folder = write_tiny('BIWI')
    dataset = load_for(parse_train(['--data_dir', str(folder)]), silent)
    assert list(dataset.tests) == ['Walking']
    assert (dataset.train.skeletons[:, :, 0] != 0).any()
