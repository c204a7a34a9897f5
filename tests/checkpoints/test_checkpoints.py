"""Checkpoints of models: variables, folders and their names, what does not fit, and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sge_la.checkpoints import (
    CheckpointWarning,
    checkpoint_facts,
    describe,
    encoder_shapes,
    load_encoder,
    load_recognition,
    read_bundle,
    recognition_shapes,
    save_encoder,
    save_recognition,
    select_encoder,
    select_recognition,
    write_bundle,
)
from sge_la.checkpoints.bundle import read_entries
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.checkpoints.names import beta_powers, steps_of
from sge_la.errors import UserError
from sge_la.settings.names import RunName, parse_run_name
from tests.checkpoints.cases import GENUINE, INDEX, assert_same, genuine, random_model

STEM = CHECKPOINT_STEM


def test_the_original_s_count_of_values():
    """The original's file of one axis holds 2,824,726 values without Adam's: 2,541,076 of the model, two dead
    variables [276, 1024] and [1024], and two rates: 2,541,076 + 282,624 + 1,024 + 2.
    """
    shapes = encoder_shapes(20, 6)
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    assert count == 2_541_076
    assert count + 276 * 1024 + 1024 + 2 == 2_824_726
    assert len(shapes) == 16 and len(encoder_shapes(20, 6, contrastive=False)) == 12


def test_genuine_encoders_have_the_expected_shapes(reference):
    entries = read_entries(genuine(reference, GENUINE[2]))
    for name, shape in encoder_shapes(20, 6).items():
        assert entries[name].shape == entries[f'{name}/Adam'].shape == entries[f'{name}/Adam_1'].shape == shape
    assert len(entries) == 3 * (len(encoder_shapes(20, 6)) + 2) + 4


def test_encoder_shapes_are_those_of_the_model():
    """The model draws its own variables; both lists must agree for every kind of encoder."""
    gait_encoder = pytest.importorskip('sge_la.model.gait_encoder')
    for attention, contrastive, joints, length in [('LA', True, 20, 6), ('BA', False, 25, 4), ('none', True, 20, 8)]:
        config = gait_encoder.EncoderConfig(
            length=length, joints=joints, units=16, attention=attention, contrastive=contrastive
        )
        drawn = gait_encoder.initial_params(config, seed=1, axes=3)
        expected = encoder_shapes(joints, length, 16, contrastive=contrastive, attends=attention != 'none')
        assert {name: value.shape[1:] for name, value in drawn.items()} == expected


def test_beta_powers_are_those_of_tensorflow(reference):
    """After 20 updates the original holds beta to the power of 21, multiplied up in float32."""
    for name, scope in ((GENUINE[2], 'optimization'), (GENUINE[1], 'new_train')):
        tensors = read_bundle(genuine(reference, name), lambda name: name.endswith('_power'))
        assert_same(tensors, beta_powers(20, scope))
        assert steps_of(tensors, scope) == 20


@pytest.mark.parametrize('step', [0, 1, 20, 828, 829, 830, 31_201, 87_000])
def test_the_step_is_told_by_the_powers(step):
    assert steps_of(beta_powers(step, 'new_train'), 'new_train') == step


@pytest.mark.parametrize('value', [0.0, -1.0, 2.0, np.nan, np.inf])
def test_powers_that_are_none_tell_no_step(value):
    powers = {f'new_train/beta{i}_power': np.float32(value) for i in (1, 2)}
    assert steps_of(powers, 'new_train') is None
    assert steps_of({}, 'new_train') is None


def test_powers_of_more_updates_than_float32_can_tell_are_zero():
    """0.999 to the power of 87,400 lies below the least normal float32, which TensorFlow flushes to 0."""
    assert {value.item() for value in beta_powers(87_400, 'new_train').values()} == {0.0}


# Folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('as_npz', [False, True])
@pytest.mark.parametrize('contrastive', [True, False])
def test_encoders_come_back(rng, tmp_path, as_npz, contrastive):
    folders = {axis: tmp_path / axis for axis in 'xyz'}
    params, slots = random_model(rng, encoder_shapes(20, 6, 8, contrastive=contrastive), axes=3)
    save_encoder(folders, params, slots, step=12, as_npz=as_npz)
    found = load_encoder(folders, 20, 6, 8, contrastive=contrastive)
    assert_same(found.params, params)
    assert_same(found.slots.first, slots.first)
    assert_same(found.slots.second, slots.second)
    assert found.step == 12
    inferred = load_encoder([folders[axis] for axis in 'xyz'], contrastive=contrastive, slots=False)
    assert_same(inferred.params, params)
    assert inferred.slots is None
    axis_y = load_encoder({'y': folders['y']}, contrastive=contrastive).params
    assert_same(axis_y, {name: value[1:2] for name, value in params.items()})


def test_encoders_without_attention_come_back(rng, tmp_path):
    params, _ = random_model(rng, encoder_shapes(20, 6, 8, attends=False), axes=1)
    save_encoder([tmp_path], params)
    found = load_encoder([tmp_path], attends=False)
    assert_same(found.params, params)
    assert found.slots is None and found.step is None
    assert checkpoint_facts(tmp_path).attends is False


@pytest.mark.parametrize('as_npz', [False, True])
def test_recognition_networks_come_back(rng, tmp_path, as_npz):
    params, slots = random_model(rng, recognition_shapes(768, 11))
    for stem in (STEM, f'A_{STEM}'):
        save_recognition(tmp_path, params, slots, step=3, stem=stem, as_npz=as_npz)
        found = load_recognition(tmp_path, 768, 11, stem=stem)
        assert_same(found.params, params)
        assert_same(found.slots.first, slots.first)
        assert_same(found.slots.second, slots.second)
        assert found.step == 3


def test_our_recognition_networks_hold_what_the_authors_hold(reference, rng, tmp_path):
    save_recognition(tmp_path, *random_model(rng, recognition_shapes(768, 28)), step=20)
    theirs = {name: entry[:4] for name, entry in read_entries(genuine(reference, GENUINE[0])).items()}
    assert {name: entry[:4] for name, entry in read_entries(tmp_path / STEM).items()} == theirs


def test_our_encoders_hold_what_the_original_holds_but_the_dead(reference, rng, tmp_path):
    save_encoder([tmp_path], *random_model(rng, encoder_shapes(20, 6), axes=1), step=20)
    theirs = {name: entry.shape for name, entry in read_entries(genuine(reference, GENUINE[2])).items()}
    ours = {name: entry.shape for name, entry in read_entries(tmp_path / STEM).items()}
    assert ours == {name: shape for name, shape in theirs.items() if not name.startswith('lstm_weights_layer_')}
    scalars = read_bundle(tmp_path / STEM, lambda name: not ours[name])
    assert_same(scalars, read_bundle(genuine(reference, GENUINE[2]), lambda name: not theirs[name]))


def test_genuine_checkpoints_load(reference):
    encoder = load_encoder([genuine(reference, GENUINE[2]).parent], 20, 6)
    assert encoder.step == 20 and encoder.slots is not None
    tensors = read_bundle(genuine(reference, GENUINE[2]))
    for name, value in encoder.params.items():
        np.testing.assert_array_equal(value[0], tensors[name])
        np.testing.assert_array_equal(encoder.slots.first[name][0], tensors[f'{name}/Adam'])
        np.testing.assert_array_equal(encoder.slots.second[name][0], tensors[f'{name}/Adam_1'])
    run = load_encoder({axis: genuine(reference, name).parent for axis, name in zip('xyz', GENUINE[-3:], strict=True)})
    assert run.slots is None and run.params['W1'].shape == (3, 1536, 256)
    authors = load_recognition(genuine(reference, GENUINE[0]).parent, 768, 28)
    assert authors.params['Variable'].shape == (28,) and authors.slots is not None


def test_the_authors_network_answers_as_it_did(reference):
    """relu(X W1 + b1) W + Variable on fixed random features, against what TensorFlow 1 computed."""
    params = load_recognition(genuine(reference, GENUINE[0]).parent, slots=False).params
    features = np.random.RandomState(0).randn(64, 768).astype(np.float32)
    logits = np.maximum(features @ params['W1'] + params['b1'], 0) @ params['W'] + params['Variable']
    with np.load(reference / 'authors' / 'biwi_recognition.npz') as archive:
        expected = archive['BIWI_LA_RN_ap/logits']
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_stop_between_the_two_files_is_noticed(small, tmp_path):
    """New data under an old index: the worst that a stop can leave."""
    write_bundle(tmp_path / STEM, small)
    index = Path(f'{tmp_path / STEM}{INDEX}')
    old = index.read_bytes()
    write_bundle(tmp_path / STEM, {name: value + 1 for name, value in small.items()})
    index.write_bytes(old)
    with pytest.raises(UserError, match='checksum'):
        read_bundle(tmp_path / STEM)


# Names of folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('dataset', ['BIWI', 'IAS', 'KS20', 'DEMO', 'my-lab.2', 'lab-A', 'Büro+1'])
@pytest.mark.parametrize('encoding', ['CAGE', 'AGE'])
@pytest.mark.parametrize(
    'suffix', ['', '_select-val', '_transfer-KGBD', '_c_reid', '_select-val_transfer-KS20_faithful', '_transfer-Büro-1']
)
def test_folder_names_are_read_as_they_are_made(dataset, encoding, suffix):
    view = 3 if dataset == 'KS20' and encoding == 'CAGE' else None
    for task in ('rev_rec', 'prediction', 'sorting', 'rev_rec_plus') if encoding == 'CAGE' else ('rev_rec',):
        told = {'length': 8, 'temperature': 0.05, 'frozen': 1, 'view': view, 'task': task}
        read = told if encoding == 'CAGE' else {}
        plus = task == 'rev_rec_plus'
        name = RunName('recognition', encoding, dataset, attention='BA', manner='sc', suffix=suffix)
        expected = replace(name, attention=None if plus else 'BA', **read)
        assert parse_run_name(replace(name, **told).folder('Models').name) == expected
        if not plus:
            name = RunName('encoder', encoding, dataset, attention='LA', axis='y', suffix=suffix)
            assert parse_run_name(replace(name, **told).folder('Models').name) == replace(name, **read)


def test_names_that_only_the_authors_use():
    name = parse_run_name('IAS-B_LA_RN_ap_6_0.1_0pre_rev_rec')
    assert (name.dataset, name.test_set, name.length, name.temperature) == ('IAS', 'B', 6, 0.1)
    assert parse_run_name('BIWI_LA_RN_ap') == RunName('recognition', 'AGE', 'BIWI', attention='LA', manner='ap')


@pytest.mark.parametrize(
    'name',
    [
        '',
        'BIWI',
        'BIWI_LA',
        'BIWI_LA_RN',
        'BIWI_LA_w_6_0.1_0pre_rev_rec',
        'BIWI_LA_RN_zz_6_0.1_0pre_rev_rec',
        'BIWI_LA_RN_ap_six_0.1_0pre_rev_rec',
        'BIWI_LA_RN_ap_6_warm_0pre_rev_rec',
        'BIWI_LA_RN_ap_6_0.1_2pre_rev_rec',
        'BIWI_LA_RN_ap_6_0.1_0pre_',
        'BIWI_LA_RN_ap_6_0.1_0pre_cooking',
        'BIWI_RN_ap_6_0.1_0pre_rev_rec',
        'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec_plus',
        '../BIWI_LA_RN_ap_6_0.1_0pre_rev_rec',
        'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec\n',
        'x' * 5000,
    ],
)
def test_names_that_cannot_be_read_are_refused(name):
    with pytest.raises(UserError, match='expected one like'):
        parse_run_name(name)


# What does not fit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('expected', 'message'),
    [
        ((768, 11), r'expected W1 \[768, 256\], W \[256, 11\], Variable \[11\]; found W1 \[6, 256\], W \[256, 3\]'),
        ((6, 4), r'expected W \[256, 4\], Variable \[4\]; found W \[256, 3\], Variable \[3\]; is it .*class count'),
    ],
)
def test_a_network_of_another_data_set_lists_both_sides(rng, tmp_path, expected, message):
    save_recognition(tmp_path, random_model(rng, recognition_shapes(6, 3))[0])
    with pytest.raises(UserError, match=message):
        load_recognition(tmp_path, *expected)


def test_an_encoder_of_another_length_or_joints_lists_both_sides(rng, tmp_path):
    save_encoder([tmp_path], random_model(rng, encoder_shapes(20, 6, 8), axes=1)[0])
    with pytest.raises(UserError, match=r'expected W1 \[64, 8\]; found W1 \[48, 8\]; is it a checkpoint of another'):
        load_encoder([tmp_path], 20, 8, 8)
    with pytest.raises(UserError, match=r'kernel \[33, 32\].*found.*kernel \[28, 32\]'):
        load_encoder([tmp_path], 25, 6, 8)


def test_the_wrong_kind_is_named(rng, tmp_path):
    save_encoder([tmp_path / 'e'], random_model(rng, encoder_shapes(20, 6, 8), axes=1)[0])
    save_recognition(tmp_path / 'r', random_model(rng, recognition_shapes(6, 3))[0])
    with pytest.raises(UserError, match='should hold a recognition network and holds a gait encoder'):
        load_recognition(tmp_path / 'e')
    with pytest.raises(UserError, match='should hold a gait encoder and holds a recognition network'):
        load_encoder([tmp_path / 'r'])
    with pytest.raises(UserError, match=r'expected rnn.*found .*W1 \[6, 256\]'):
        load_encoder([tmp_path / 'r'], 20, 6, 8)


def test_a_missing_head_is_named(rng):
    params, _ = random_model(rng, encoder_shapes(20, 6, 8, contrastive=False))
    with pytest.raises(UserError, match='found no W1, no b1, no W, no Variable'):
        select_encoder(params, 20, 6, 8)


def test_a_head_that_is_not_needed_is_left_out(rng):
    params, _ = random_model(rng, encoder_shapes(20, 6, 8))
    assert len(select_encoder(params, 20, 6, 8, contrastive=False).params) == 12


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(small, value):
    small['W'] = small['W'].astype(np.float64)
    small['W'][1, 2] = value
    with pytest.raises(UserError, match="holds 1 values in 'W'"):
        select_recognition(small, 6, 3, 4)


def test_other_names_are_named_and_ignored(small):
    with pytest.warns(CheckpointWarning, match='also holds stranger, stranger2: ignored'):
        found = select_recognition({**small, 'stranger': np.zeros(2), 'stranger2': np.zeros(1)}, 6, 3, 4)
    assert_same(found.params, small)


def test_slots_of_another_shape_are_no_slots(small):
    slots = {f'{name}{ending}': value for name, value in small.items() for ending in ('/Adam3', '/Adam3_1')}
    assert select_recognition({**small, **slots}, 6, 3, 4).slots is not None
    slots['W/Adam3'] = np.zeros((2, 2), np.float32)
    assert select_recognition({**small, **slots}, 6, 3, 4).slots is None


@pytest.mark.parametrize('shapes', [{}, {'a': [3]}, {'W1': [3, 4], 'W': [4]}, {'W1': [3, 4], 'W': [5, 6]}])
def test_what_is_no_model_of_ours_is_refused(shapes):
    with pytest.raises(UserError, match='should'):
        describe({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
