"""Runs whose files are damaged, foreign or of another shape: one sentence, exit status 2, and nothing overwritten."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sge_la import checkpoints
from tests.command_line_cases import CAGES, ENCODERS, USUAL, refused

ENCODER = 'KGBD_LA_{}_6_0.5_0pre_rev_rec'


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('kind', ['cut', 'empty', 'no index', 'encoder', 'classes', 'inputs', 'noise'])
def test_a_recognition_network_that_does_not_fit(after, kind):
    """What is wrong is told with both sides where there are two."""
    folder = after.network(USUAL)
    data = folder / 'trained_model.ckpt.data-00000-of-00001'
    words = str(folder)
    if kind == 'cut':
        data.write_bytes(data.read_bytes()[:1000])
    elif kind == 'empty':
        data.write_bytes(b'')
    elif kind == 'noise':
        data.write_bytes(bytes(len(data.read_bytes())))
    elif kind == 'no index':
        (folder / 'trained_model.ckpt.index').unlink()
        words = 'should hold a trained recognition network'
    elif kind == 'encoder':
        for path in (after.models_dir / ENCODERS / ENCODER.format('x')).glob('trained_model.ckpt*'):
            shutil.copy(path, folder)
        words = 'holds a gait encoder'
    else:
        rng = np.random.default_rng(0)
        shapes = checkpoints.recognition_shapes(700 if kind == 'inputs' else 768, 5 if kind == 'classes' else 3)
        checkpoints.save_recognition(folder, {name: rng.standard_normal(shape) for name, shape in shapes.items()})
        words = 'expected W1 [768, 256]; found W1 [700, 256]' if kind == 'inputs' else 'found W [256, 5], Variable [5]'
    assert after.try_evaluate('--dataset KGBD') == 2
    assert words in refused(after.err)


def test_a_network_of_another_class_count_is_refused_without_features_too(after):
    """The data set has 3 identities, the network answers 5."""
    shapes = checkpoints.recognition_shapes(768, 5)
    params = {name: np.zeros(shape) for name, shape in shapes.items()}
    checkpoints.save_recognition(after.network(USUAL), params)
    (after.network(USUAL) / 'val_X.npy').unlink()
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'expected W [256, 3]' in refused(after.err)


@pytest.mark.parametrize('kind', ['cut', 'joints', 'length', 'head', 'network', 'missing'])
def test_an_encoder_that_does_not_fit(after, kind):
    """Encoders are asked for by --train_flag 0, and by evaluate.py where features are missing."""
    folder = after.models_dir / ENCODERS / ENCODER.format('z')
    settings = {'joints': 25 if kind == 'joints' else 20, 'length': 8 if kind == 'length' else 6}
    shapes = checkpoints.encoder_shapes(**settings, contrastive=kind != 'head')
    if kind == 'cut':
        path = folder / 'trained_model.ckpt.data-00000-of-00001'
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == 'network':
        for path in after.network(USUAL).glob('trained_model.ckpt*'):
            shutil.copy(path, folder)
    elif kind == 'missing':
        shutil.rmtree(folder)
    else:
        checkpoints.save_encoder([folder], {name: np.zeros((1, *shape)) for name, shape in shapes.items()})
    expected = {
        'joints': 'lstm_cell/kernel [276, 1024]',
        'length': 'expected W1 [1536, 256]; found W1 [2048, 256]',
        'head': 'no W1',
        'network': 'does not fit this gait encoder',
    }
    assert after.try_train('--dataset KGBD --train_flag 0 --manner sc') == 2
    error = refused(after.err)
    assert expected.get(kind, str(folder)) in error
    assert not (after.models_dir / CAGES / USUAL.replace('_ap_', '_sc_')).joinpath('trained_model.ckpt.index').exists()
    (after.network(USUAL) / 'val_X.npy').unlink()
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'test features are needed' in refused(after.err) if kind == 'missing' else refused(after.err) == error


def test_other_variables_are_named_and_ignored(after):
    """One line on stderr without a place in the code; Adam's moments and its powers are known."""
    after.evaluate('--dataset KGBD')
    expected = after.parsed()
    folder = after.network(USUAL)
    tensors = checkpoints.read_checkpoint(folder)
    known = {'W1/Adam3': tensors['W1'], 'new_train/beta1_power': np.float32(0.9), 'learning_rate': np.float32(0.0005)}
    checkpoints.write_bundle(folder / 'trained_model.ckpt', {**tensors, **known, 'stranger': np.ones(3, np.float32)})
    after.evaluate('--dataset KGBD')
    assert after.parsed() == expected
    lines = [line for line in after.err.splitlines() if 'identities here' not in line]
    assert lines == [f'warning: {folder / "trained_model.ckpt"} also holds stranger: ignored']


def test_train_flag_0_without_encoders_names_the_folder(commands):
    assert commands.try_train('--dataset KGBD --train_flag 0') == 2
    assert ENCODER.format('x') in refused(commands.err)


def test_train_flag_2_without_a_network(commands):
    assert commands.try_train('--dataset KGBD --train_flag 2') == 2
    refused(commands.err)


def test_features_of_another_shape(after):
    np.save(after.network(USUAL) / 'val_X.npy', np.zeros((144, 700), np.float32))
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'W1 [700, 256]' in refused(after.err)
    np.save(after.network(USUAL) / 'val_X.npy', np.zeros((143, 768), np.float32))
    assert after.try_evaluate('--dataset KGBD') == 2
    assert '(143, 768) and (144, 3)' in refused(after.err)


@pytest.mark.parametrize('cut', [0, 100, 5000])
def test_features_that_are_cut_short(after, cut):
    path = after.network(USUAL) / 'val_X.npy'
    path.write_bytes(path.read_bytes()[:cut])
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'val_X.npy' in refused(after.err)


def test_features_of_any_number_of_rows_are_good_input(after):
    """143 rows fit neither 128 nor 6: 128 rows are scored in the lines, 21 windows; 23 whole ones in all."""
    folder = after.network(USUAL)
    for name in ('val_X.npy', 'val_y.npy'):
        np.save(folder / name, np.load(folder / name)[:143])
    after.evaluate('--dataset KGBD')
    found = after.results(USUAL)['probe']
    assert (found['selected']['sequences'], found['all_sequences']['sequences']) == (21, 23)
    assert 'the data set at hand has other sequences' in after.out


def test_a_foreign_checkpoint_is_not_overwritten(after):
    """Somebody's published network lies there, without config.json."""
    for name in ('config.json', 'results.json'):
        (after.network(USUAL) / name).unlink()
    before = snapshot(after.network(USUAL))
    assert after.try_train('--dataset KGBD') == 2
    assert 'says nothing of its options' in refused(after.err)
    assert {name: content for name, content in snapshot(after.network(USUAL)).items() if name in before} == before


def test_an_unfinished_run_is_not_scored(after):
    path = after.network(USUAL) / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'finished': False}))
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'has not come to its end' in refused(after.err)
    assert after.try_train('--dataset KGBD --train_flag 2') == 2
    assert 'has not come to its end' in refused(after.err)
    after.train('--dataset KGBD', rn_epochs=2)  # goes on, from the beginning since no state is left
    after.evaluate('--dataset KGBD')


@pytest.mark.parametrize('content', ['{"options": ', '[]', '{"record": 3, "options": {"dataset": "KGBD"}}'])
def test_a_damaged_config(after, content):
    (after.network(USUAL) / 'config.json').write_text(content)
    assert after.try_train('--dataset KGBD') == 2
    assert 'config.json' in refused(after.err)
