"""Tests of `python -m sge_la.data.convert`: there and back again, to the last bit."""

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.check import main as check_main
from sge_la.data.convert import convert, main
from sge_la.data.layout import dataset_files
from sge_la.data.quality.arrays import check
from sge_la.data.skeletons import KGBD_TO_SDK, KGBD_TO_SDK_MIRRORED, SKELETONS, mirrored
from sge_la.errors import UserError, run_command
from sge_la.files.text import read_json


def quiet(text: str) -> None:
    pass


@pytest.mark.parametrize('old', [1, 2, 3])
@pytest.mark.parametrize('new', [1, 2, 3])
@pytest.mark.parametrize('name', ['BIWI', 'IAS', 'KGBD', 'X'])
def test_between_layouts(write_tiny, tmp_path, capsys, name, old, new):
    data_dir = write_tiny(name, old, recordings=True, prepared={'seed': 5})
    out = tmp_path / 'out'
    files = convert(name, 6, data_dir, out, to_layout=new)
    assert files == dataset_files(out, name, 6, new)
    one, other = load(name, 6, data_dir, warn=quiet), load(name, 6, out, warn=quiet)
    assert (one.layout, other.layout) == (old, new)
    splits = [(one.train, other.train), *zip(one.tests.values(), other.tests.values(), strict=True)]
    for before, after in splits:
        np.testing.assert_array_equal(before.skeletons, after.skeletons)
        np.testing.assert_array_equal(before.recordings, after.recordings)
        assert {k: v.tolist() for k, v in before.ids.items()} == {k: v.tolist() for k, v in after.ids.items()}
    assert read_json(files.train.folder / 'prepare.json') == {'seed': 5}
    assert files.train.target('x').exists() == (new < 3)
    assert check(name, 6, out).bad == []
    left_out = {'BIWI': 'Still', 'KGBD': 'gallery', 'X': 'gallery'}.get(name)
    assert (f'left out: test set {left_out}' in capsys.readouterr().out) == (old == 3 and new < 3 and name != 'IAS')


def test_float64_stays_as_it_is(write_tiny, tmp_path):
    data_dir = write_tiny('X')
    path = dataset_files(data_dir, 'X', 6, 2).train.source('x')
    array = np.random.default_rng(0).normal(size=(120, 20))
    np.save(path, array)
    dataset_files(data_dir, 'X', 6, 2).train.target('x').unlink()
    files = convert('X', 6, data_dir, tmp_path / 'out')
    np.testing.assert_array_equal(np.load(files.train.source('x')), array)


@pytest.mark.parametrize(
    'joints, order, names',
    [
        ('kinect_v1', KGBD_TO_SDK, SKELETONS['kinect_v1'].joints),
        ('kinect_v1_mirrored', KGBD_TO_SDK_MIRRORED, mirrored(SKELETONS['kinect_v1']).joints),
    ],
)
def test_kgbd_in_the_sdks_order(write_tiny, tmp_path, joints, order, names):
    data_dir = write_tiny('KGBD')
    out = tmp_path / 'out'
    assert main(['KGBD', '--data_dir', str(data_dir), '--joints', joints, '--out', str(out)]) == 0
    one, other = load('KGBD', 6, data_dir, warn=quiet), load('KGBD', 6, out, warn=quiet)
    np.testing.assert_array_equal(other.train.skeletons, one.train.skeletons[:, :, list(order)])
    np.testing.assert_array_equal(other.tests['probe'].skeletons, one.tests['probe'].skeletons[:, :, list(order)])
    assert other.skeleton.joints == names
    # Back again: skeleton.json says where each joint is.
    convert('KGBD', 6, out, tmp_path / 'back', joints='kgbd')
    back = load('KGBD', 6, tmp_path / 'back', warn=quiet)
    np.testing.assert_array_equal(back.train.skeletons, one.train.skeletons)
    assert back.skeleton == one.skeleton


def test_ks20_becomes_a_set_of_twenty_joints_under_another_name(write_tiny, tmp_path):
    data_dir = write_tiny('KS20', joints=25, view=2)
    out = tmp_path / 'out'
    with pytest.raises(UserError, match='KS20 should have 25 joints, but 20 were to be written'):
        convert('KS20', 6, data_dir, out, view=2, joints='kinect_v1')
    convert('KS20', 6, data_dir, out, view=2, joints='kinect_v1', new_name='KS20v1')
    dataset = load('KS20v1', 6, out, view=2)
    assert dataset.joints == 20 and dataset.skeleton.name == 'kinect_v1' and list(dataset.tests) == ['test']
    with pytest.raises(UserError, match='BIWI should have 20 joints, but 25'):
        convert('KS20', 6, data_dir, out, view=2, new_name='BIWI')
    with pytest.raises(UserError, match="no joint 'Neck'"):
        convert('KS20v1', 6, out, tmp_path / 'x', view=2, joints='kinect_v2')
    assert not (tmp_path / 'x').exists()


def test_joints_of_ones_own_sensor_are_ordered(write_tiny, tmp_path):
    """Every skeleton that prepare knows can be asked for, as the help says: here NTU's, which are a Kinect 2's."""
    data_dir, out = write_tiny('KS20', joints=25), tmp_path / 'out'
    assert main(['KS20', '--data_dir', str(data_dir), '--joints', 'ntu', '--name', 'own', '--out', str(out)]) == 0
    assert load('own', 6, out, warn=quiet).skeleton.name == 'ntu'


def test_own_joints_without_names_cannot_be_ordered(write_tiny, tmp_path):
    with pytest.raises(UserError, match=r'skeleton\.json'):
        convert('X', 6, write_tiny('X'), tmp_path / 'out', joints='kinect_v1')


def test_bad_input_has_status_2_and_writes_nothing(write_tiny, tmp_path, capsys):
    data_dir = write_tiny('X')
    out = tmp_path / 'out'
    common = ['X', '--data_dir', str(data_dir), '--out', str(out)]
    for argv in (
        ['X', '--data_dir', str(data_dir)],
        [*common, '--to_layout', '4'],
        [*common, '--joints', 'sdk'],
        [*common, '--length', '8'],
        [*common, '--from_layout', '3'],
        [*common, '--name', '../y'],
        ['Y', '--data_dir', str(data_dir), '--out', str(out)],
    ):
        assert run_command(main, argv) == 2
        assert capsys.readouterr().err.startswith('error: ')
    assert not out.exists()


def test_damaged_sources_write_nothing(write_tiny, tmp_path):
    data_dir = write_tiny('X')
    dataset_files(data_dir, 'X', 6, 2).tests['test'].ids.write_bytes(b'')
    with pytest.raises(UserError, match='is empty'):
        convert('X', 6, data_dir, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_overwriting_is_asked_for(write_tiny, tmp_path, capsys):
    argv = ['X', '--data_dir', str(write_tiny('X')), '--out', str(tmp_path / 'out')]
    assert run_command(main, argv) == 0
    assert run_command(main, argv) == 2
    assert 'exists already' in capsys.readouterr().err
    assert run_command(main, [*argv, '--overwrite']) == 0
    assert check_main(['X', '--data_dir', str(tmp_path / 'out')]) == 0
