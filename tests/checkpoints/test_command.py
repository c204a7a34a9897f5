"""The command that shows and converts checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from sge_la.checkpoints import (
    encoder_shapes,
    load_recognition,
    recognition_shapes,
    save_encoder,
    save_recognition,
)
from sge_la.checkpoints.__main__ import find_checkpoints, main
from sge_la.checkpoints.folders import CHECKPOINT_STEM as STEM
from sge_la.checkpoints.names import ENCODER_KERNEL, OUTPUT_KERNEL
from sge_la.errors import run_command
from tests.checkpoints.cases import DATA, INDEX, assert_same, random_model


def test_the_command_tells_what_checkpoints_hold(rng, tmp_path, capsys):
    models = tmp_path / 'Models'
    encoder = models / 'Gait_Encoding_models/KS20_BA_x_8_0.1_0view_2pre_sorting'
    network = models / 'CAGEs_RN_models/IAS_LA_RN_ap_6_0.1_0pre_rev_rec_select-val'
    save_encoder([encoder], *random_model(rng, encoder_shapes(25, 8, 8), axes=1), step=1500)
    save_recognition(network, random_model(rng, recognition_shapes(768, 11))[0], stem=f'A_{STEM}')
    assert run_command(main, [str(models)]) == 0
    text = capsys.readouterr().out
    blocks = [
        dict(line.strip().split(None, 1) for line in block.splitlines()[1:]) for block in text.split(str(models))[1:]
    ]
    assert blocks[0] == {
        'holds': 'recognition network on CAGEs',
        'data': 'set    IAS',
        'manner': 'ap',
        'inputs': '768',
        'classes': '11',
        'length': '6',
        'attention': 'LA',
        'temperature': '0.1',
        'task': 'rev_rec',
        'suffix': 'select-val',
        'best': 'on     IAS-A',
        'parameters': '199,691',
        'optimizer': 'no',
    }
    assert blocks[1]['joints'] == '25' and blocks[1]['length'] == '8' and blocks[1]['view'] == '2'
    assert blocks[1]['optimizer'] == 'Adam, after 1,500 updates' and blocks[1]['axis'] == 'x'


def test_the_command_goes_on_after_a_damaged_one(rng, tmp_path, capsys):
    for name in 'ab':
        save_recognition(tmp_path / name, random_model(rng, recognition_shapes(6, 3))[0])
    os.truncate(tmp_path / 'a' / f'{STEM}{DATA}', 10)
    assert run_command(main, [str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert 'cut short' in captured.err and str(tmp_path / 'b' / STEM) in captured.out


def test_the_command_names_what_contradicts_the_folder(rng, tmp_path, capsys):
    folder = tmp_path / 'BIWI_LA_x_6_0.1_0pre_rev_rec'
    save_encoder([folder], random_model(rng, encoder_shapes(20, 8, 8), axes=1)[0])
    assert run_command(main, [str(folder)]) == 0
    assert '8 (its folder is named for 6)' in capsys.readouterr().out


def test_the_command_converts_both_ways(rng, tmp_path, capsys):
    params, slots = random_model(rng, recognition_shapes(6, 3))
    save_recognition(tmp_path, params, slots, step=4)
    index = tmp_path / f'{STEM}{INDEX}'
    original = index.read_bytes(), (tmp_path / f'{STEM}{DATA}').read_bytes()
    assert run_command(main, [str(tmp_path), '--to-npz']) == 0
    assert run_command(main, [str(tmp_path), '--to-bundle']) == 2
    assert '--overwrite' in capsys.readouterr().err
    index.unlink()
    assert_same(load_recognition(tmp_path).params, params)
    assert run_command(main, [str(tmp_path), '--to-bundle']) == 0
    assert (index.read_bytes(), (tmp_path / f'{STEM}{DATA}').read_bytes()) == original


@pytest.mark.parametrize(
    'arrays',
    [
        pytest.param({}, id='nothing'),
        pytest.param({'W': np.zeros((0, 3), np.float32)}, id='an array without values'),
        pytest.param({'W': np.zeros(3, np.int16)}, id='numbers of another kind'),
        pytest.param({'': np.zeros(3, np.float32)}, id='no name'),
        pytest.param({'W' * 1025: np.zeros(3, np.float32)}, id='a long name'),
    ],
)
def test_what_no_bundle_can_hold_is_told_and_writes_nothing(tmp_path, capsys, arrays):
    np.savez(tmp_path / f'{STEM}.npz', **arrays)
    assert run_command(main, [str(tmp_path), '--to-bundle']) == 2
    assert 'cannot become a TensorFlow bundle' in (error := capsys.readouterr().err) and error.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir()] == [f'{STEM}.npz']


def test_layers_without_units_are_told(tmp_path, capsys):
    layers = {ENCODER_KERNEL: (5, 0), OUTPUT_KERNEL: (0, 5), 'W1': (3, 4)}
    np.savez(tmp_path / f'{STEM}.npz', **{name: np.zeros(shape, np.float32) for name, shape in layers.items()})
    assert run_command(main, [str(tmp_path)]) == 2
    assert 'should hold a gait encoder or a recognition network' in capsys.readouterr().err


def test_an_empty_or_missing_folder_is_named(tmp_path, capsys):
    assert run_command(main, [str(tmp_path)]) == 2
    assert run_command(main, [str(tmp_path / 'nowhere')]) == 2
    assert run_command(main, [str(tmp_path), '--to-npz']) == 2
    assert capsys.readouterr().err.count('error: ') == 3


def test_links_are_not_followed_into_folders(rng, tmp_path):
    save_recognition(tmp_path / 'in' / 'a', random_model(rng, recognition_shapes(6, 3))[0])
    (tmp_path / 'in' / 'loop').symlink_to(tmp_path / 'in')
    assert find_checkpoints(tmp_path / 'in') == [tmp_path / 'in' / 'a' / STEM]


def test_reading_needs_no_tensorflow(rng, tmp_path):
    """The whole command runs where neither TensorFlow nor Keras can be imported."""
    save_recognition(tmp_path, random_model(rng, recognition_shapes(6, 3))[0])
    code = (
        'import sys; sys.modules["tensorflow"] = sys.modules["keras"] = None\n'
        'from sge_la.checkpoints.__main__ import main; sys.exit(main([sys.argv[1]]))'
    )
    subprocess.run([sys.executable, '-c', code, str(tmp_path)], check=True, capture_output=True, timeout=60)
