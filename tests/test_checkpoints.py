"""Checkpoints: the original's own files read and rewritten byte by byte, round trips, TensorFlow, and bad input."""

from __future__ import annotations

import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sge_la import layout
from sge_la.checkpoints import (
    AdamSlots,
    CheckpointWarning,
    RunName,
    checkpoint_facts,
    describe,
    encoder_shapes,
    load_encoder,
    load_recognition,
    parse_run_name,
    read_bundle,
    recognition_shapes,
    save_encoder,
    save_recognition,
    select_encoder,
    select_recognition,
    write_bundle,
)
from sge_la.checkpoints.__main__ import find_checkpoints, main
from sge_la.checkpoints.bundle import read_entries
from sge_la.checkpoints.crc32c import crc32c, masked_crc32c
from sge_la.checkpoints.names import beta_powers, steps_of
from sge_la.checkpoints.npz import read_npz, write_npz
from sge_la.checkpoints.table import FormatError, read_table, read_varint, write_table, write_varint
from sge_la.errors import UserError, run_command

STEM = layout.CHECKPOINT_STEM
INDEX, DATA = '.index', '.data-00000-of-00001'
GENUINE = [
    'models/AGEs_RN_models/BIWI_LA_RN_ap',
    'reference/recognition/checkpoint_step20',
    'reference/encoder/checkpoint_LA_step20',
    'reference/runs/biwi/Models/CAGEs_RN_models/BIWI_LA_RN_ap_6_0.1_0pre_rev_rec',
    'reference/runs/biwi/Models/CAGEs_RN_models/BIWI_RN_ap_6_0.1_0pre_rev_rec_plus',
    *(f'reference/runs/biwi/Models/Gait_Encoding_models/BIWI_LA_{axis}_6_0.1_0pre_rev_rec' for axis in 'xyz'),
]


@pytest.fixture
def shared(reference):
    """The folder that holds the reference folder under its name `reference`, and the authors' models beside it."""
    if not (reference.parent / 'models').is_dir():
        pytest.skip(f'no folder of genuine models beside {reference}')
    return reference.parent


def genuine(shared: Path, name: str) -> Path:
    return shared / name.replace('reference', shared.joinpath('reference').name, 1) / STEM


@pytest.fixture
def small(rng) -> dict[str, np.ndarray]:
    """The variables of a recognition network of 6 inputs, 4 hidden units and 3 classes."""
    return {name: draw(rng, shape) for name, shape in recognition_shapes(6, 3, 4).items()}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def draw(rng, shape) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def random_model(rng, shapes, axes=None) -> tuple[dict, AdamSlots]:
    """Parameters and moments of the given shapes, with a leading axis if `axes` is given."""
    lead = () if axes is None else (axes,)
    params, first, second = ({name: draw(rng, lead + shape) for name, shape in shapes.items()} for _ in range(3))
    return params, AdamSlots(first, second)


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert found[name].dtype == np.asarray(value).dtype and found[name].shape == np.shape(value), name


# Checksums -----------------------------------------------------------------------------------------------------------


def slow_crc32c(data: bytes) -> int:
    """The definition: bit by bit, inverted before and after."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ('data', 'expected'),
    [
        (b'123456789', 0xE3069283),
        (b'\x00' * 32, 0x8A9136AA),
        (b'\xff' * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b'', 0),
    ],
)
def test_crc32c_of_published_examples(data, expected):
    """The examples of RFC 3720, B.4, and the usual check value."""
    assert crc32c(data) == expected == slow_crc32c(data)


@pytest.mark.parametrize('count', [*range(1, 20), 255, 256, 257, 1023, 4099])
def test_crc32c_equals_its_definition(rng, count):
    data = rng.bytes(count)
    assert crc32c(data) == slow_crc32c(data)
    assert crc32c(np.frombuffer(data, np.uint8)) == slow_crc32c(data)


def test_crc32c_of_arrays_without_dimensions():
    assert crc32c(np.array(1.5, np.float32)) == slow_crc32c(struct.pack('<f', 1.5))


# The table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [0, 1, 127, 128, 300, 2**32, 2**64 - 1])
def test_varints_come_back(value):
    data = write_varint(value)
    assert read_varint(b'x' + data, 1) == (value, 1 + len(data))


@pytest.mark.parametrize('data', [b'', b'\x80', b'\xff' * 9 + b'\x7f', b'\x80' * 11])
def test_varints_that_are_cut_or_too_long_are_refused(data):
    with pytest.raises(FormatError):
        read_varint(data, 0)


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=60), min_size=1, max_size=80))
def test_tables_come_back(entries):
    rows = sorted(entries.items())
    assert read_table(write_table(rows)) == rows


def test_a_table_whose_blocks_repeat_is_refused():
    """An index block that names one data block many times would take time and memory without end."""
    table = write_table([(b'', b'a'), (b'name', b'b')])
    handle = write_varint(0) + write_varint(int.from_bytes(table[-48:][:1], 'little') - 5)
    entries = b''.join(b'\x00\x01' + write_varint(len(handle)) + bytes([key]) + handle for key in (97, 98))
    index = entries + struct.pack('<II', 0, 1) + b'\0'
    start = table.index(table[-48:])
    forged = table[:start] + index + struct.pack('<I', masked_crc32c(index))
    footer = b'\0\0' + write_varint(start) + write_varint(len(index) - 1)
    forged += footer.ljust(40, b'\0') + table[-8:]
    with pytest.raises(FormatError, match='overlap'):
        read_table(forged)


# Bundles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', GENUINE)
def test_rewriting_a_genuine_bundle_gives_the_same_bytes(shared, tmp_path, name):
    """The original's saver wrote these files; reading and writing them again must not change a bit."""
    source = genuine(shared, name)
    write_bundle(tmp_path / STEM, read_bundle(source))
    for ending in (INDEX, DATA):
        assert Path(f'{tmp_path / STEM}{ending}').read_bytes() == Path(f'{source}{ending}').read_bytes()
    assert (tmp_path / 'checkpoint').read_bytes() == (source.parent / 'checkpoint').read_bytes()


def test_a_bundle_is_read_without_meta_and_checkpoint(shared, tmp_path):
    source = genuine(shared, GENUINE[0])
    for ending in (INDEX, DATA):
        shutil.copy(f'{source}{ending}', tmp_path)
    assert_same(read_bundle(tmp_path / STEM), read_bundle(source))


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(st.characters(codec='utf-8', exclude_categories=('C', 'Z')), min_size=1, max_size=30),
        npst.arrays(
            st.sampled_from(['<f4', '<f8', '<f2', '<i4', '<i8', '>f4']),
            npst.array_shapes(min_dims=0, max_dims=4, max_side=5),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_bundles_and_npz_files_come_back(tmp_path_factory, tensors):
    folder = tmp_path_factory.mktemp('bundle')
    write_bundle(folder / STEM, tensors)
    found = read_bundle(folder / STEM)
    assert list(found) == sorted(tensors, key=str.encode)
    write_npz(folder / 'a.npz', tensors, {'epoch': 3})
    members, meta = read_npz(folder / 'a.npz')
    assert meta == {'epoch': 3}
    with np.load(folder / 'a.npz') as loaded:
        for name, value in tensors.items():
            for other in (found[name], members[name], loaded[name]):
                np.testing.assert_array_equal(other, value)
                assert other.shape == value.shape and other.dtype.newbyteorder('=') == value.dtype.newbyteorder('=')


def test_only_wanted_variables_are_read(small, tmp_path):
    write_bundle(tmp_path / STEM, small, checkpoint_state=False)
    assert list(read_bundle(tmp_path / STEM, lambda name: name != 'W1')) == ['Variable', 'W', 'b1']
    assert not (tmp_path / 'checkpoint').exists()


@pytest.mark.parametrize('tensors', [{}, {'a': np.array('text')}, {'a': np.zeros((2, 0))}, {'a': np.zeros(2, complex)}])
def test_what_no_checkpoint_can_hold_is_a_defect_of_ours(tmp_path, tensors):
    with pytest.raises(ValueError, match='checkpoint'):
        write_bundle(tmp_path / STEM, tensors)
    assert not any(tmp_path.iterdir())


# TensorFlow reads what we write, and writes what we read --------------------------------------------------------------

_TENSORFLOW_CHECK = """
import sys
import numpy as np
import tensorflow as tf
folder = sys.argv[1]
latest = tf.train.latest_checkpoint(folder)
reader = tf.train.load_checkpoint(latest)
read = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
np.savez(folder + '/read.npz', **read)
values = {name: value for name, value in read.items()}
graph = tf.Graph()
with graph.as_default():
    variables = [tf.compat.v1.Variable(np.zeros_like(v), name=n, use_resource=False) for n, v in read.items()]
    saver = tf.compat.v1.train.Saver(variables)
    with tf.compat.v1.Session(graph=graph) as session:
        saver.restore(session, latest)
        assert all((session.run(v) == values[v.op.name]).all() for v in variables)
        saver.save(session, folder + '/again/trained_model.ckpt')
"""


def test_tensorflow_and_we_read_each_other(shared, tmp_path, rng):
    """One process of TensorFlow 2 with the Saver of TensorFlow 1: reads ours by three ways, and writes its own."""
    if importlib.util.find_spec('tensorflow') is None:
        pytest.skip('TensorFlow is not installed')
    params, slots = random_model(rng, encoder_shapes(20, 6), axes=1)
    save_encoder([tmp_path], params, slots, step=7)
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3', 'CUDA_VISIBLE_DEVICES': '-1'}
    command = [sys.executable, '-c', _TENSORFLOW_CHECK, str(tmp_path)]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    ours = read_bundle(tmp_path / STEM)
    with np.load(tmp_path / 'read.npz') as theirs:
        assert_same({name: theirs[name] for name in theirs.files}, {name: ours[name] for name in theirs.files})
        assert set(theirs.files) == set(ours)
    assert_same(read_bundle(tmp_path / 'again' / STEM), ours)
    for ending in (INDEX, DATA):
        again = (tmp_path / 'again' / f'{STEM}{ending}').read_bytes()
        assert again == (tmp_path / f'{STEM}{ending}').read_bytes()


# Names and shapes ----------------------------------------------------------------------------------------------------


def test_the_original_s_count_of_values():
    """One axis has 2,824,726 values with the two dead variables and three scalars' room (see the paper's 8.47 M):
    2,541,076 are the model's, [276, 1024] and [1024] dead: 2,541,076 + 282,624 + 1,024 = 2,824,724, and two rates."""
    shapes = encoder_shapes(20, 6)
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    assert count == 2_541_076
    assert count + 276 * 1024 + 1024 + 2 == 2_824_726
    assert len(shapes) == 16 and len(encoder_shapes(20, 6, contrastive=False)) == 12


def test_genuine_encoders_have_the_expected_shapes(shared):
    entries = read_entries(genuine(shared, GENUINE[2]))
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


def test_beta_powers_are_those_of_tensorflow(shared):
    """After 20 updates the original holds beta to the power of 21, multiplied up in float32."""
    for name, scope in ((GENUINE[2], 'optimization'), (GENUINE[1], 'new_train')):
        tensors = read_bundle(genuine(shared, name), lambda name: name.endswith('_power'))
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


def test_our_recognition_networks_hold_what_the_authors_hold(shared, rng, tmp_path):
    save_recognition(tmp_path, *random_model(rng, recognition_shapes(768, 28)), step=20)
    theirs = {name: entry[:4] for name, entry in read_entries(genuine(shared, GENUINE[0])).items()}
    assert {name: entry[:4] for name, entry in read_entries(tmp_path / STEM).items()} == theirs


def test_our_encoders_hold_what_the_original_holds_but_the_dead(shared, rng, tmp_path):
    save_encoder([tmp_path], *random_model(rng, encoder_shapes(20, 6), axes=1), step=20)
    theirs = {name: entry.shape for name, entry in read_entries(genuine(shared, GENUINE[2])).items()}
    ours = {name: entry.shape for name, entry in read_entries(tmp_path / STEM).items()}
    assert ours == {name: shape for name, shape in theirs.items() if not name.startswith('lstm_weights_layer_')}
    scalars = read_bundle(tmp_path / STEM, lambda name: not ours[name])
    assert_same(scalars, read_bundle(genuine(shared, GENUINE[2]), lambda name: not theirs[name]))


def test_genuine_checkpoints_load(shared):
    encoder = load_encoder([genuine(shared, GENUINE[2]).parent], 20, 6)
    assert encoder.step == 20 and encoder.slots is not None
    tensors = read_bundle(genuine(shared, GENUINE[2]))
    for name, value in encoder.params.items():
        np.testing.assert_array_equal(value[0], tensors[name])
        np.testing.assert_array_equal(encoder.slots.first[name][0], tensors[f'{name}/Adam'])
        np.testing.assert_array_equal(encoder.slots.second[name][0], tensors[f'{name}/Adam_1'])
    run = load_encoder({axis: genuine(shared, name).parent for axis, name in zip('xyz', GENUINE[-3:], strict=True)})
    assert run.slots is None and run.params['W1'].shape == (3, 1536, 256)
    authors = load_recognition(genuine(shared, GENUINE[0]).parent, 768, 28)
    assert authors.params['Variable'].shape == (28,) and authors.slots is not None


def test_the_authors_network_answers_as_it_did(shared, reference):
    """relu(X W1 + b1) W + Variable on fixed random features, against what TensorFlow 1 computed."""
    params = load_recognition(genuine(shared, GENUINE[0]).parent, slots=False).params
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


@pytest.mark.parametrize('dataset', ['BIWI', 'IAS', 'KGBD', 'KS20', 'KinectReID', 'DEMO'])
@pytest.mark.parametrize('encoding', ['CAGE', 'AGE'])
@pytest.mark.parametrize(
    'suffix', ['', '_select-val', '_transfer-KGBD', '_c_reid', '_select-val_transfer-KS20_faithful']
)
def test_folder_names_are_read_as_they_are_made(dataset, encoding, suffix):
    view = 3 if dataset == 'KS20' and encoding == 'CAGE' else None
    for task in ('rev_rec', 'prediction', 'sorting', 'rev_rec_plus'):
        options = {'length': 8, 'temperature': 0.05, 'frozen': 1, 'view': view, 'task': task}
        if encoding == 'AGE':
            if task != 'rev_rec':
                continue
            shown = {}
        else:
            shown = options
        plus = task == 'rev_rec_plus'
        folder = layout.recognition_folder(
            'Models',
            dataset,
            'BA',
            'sc',
            encoding=encoding,
            suffix=suffix,
            **{'length': 6, 'temperature': 0.1, **options},
        )
        attention = None if plus else 'BA'
        expected = RunName('recognition', encoding, dataset, None, attention, None, 'sc', **shown, suffix=suffix)
        assert parse_run_name(folder.name) == expected
        if not plus:
            folder = layout.encoder_folder('Models', dataset, 'LA', 'y', encoding=encoding, suffix=suffix, **options)
            assert parse_run_name(folder.name) == RunName(
                'encoder', encoding, dataset, None, 'LA', 'y', None, **shown, suffix=suffix
            )


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


# Bad input -----------------------------------------------------------------------------------------------------------


def flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def forge(path: Path, name: str, message: bytes) -> None:
    """Replaces one entry of an index by `message`, with checksums that fit."""
    rows = [(key, message if key == name.encode() else value) for key, value in read_table(path.read_bytes())]
    path.write_bytes(write_table(rows))


LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 34000000\n'
BAD_BUNDLES = {
    'index missing': (lambda index, data: index.unlink(), 'no checkpoint.*is not there'),
    'data missing': (lambda index, data: data.unlink(), 'copy both files'),
    'index empty': (lambda index, data: index.write_bytes(b''), 'should be the index'),
    'index cut': (lambda index, data: index.write_bytes(index.read_bytes()[:-9]), 'should be the index'),
    'index a pointer': (lambda index, data: index.write_bytes(LFS), 'Git LFS pointer'),
    'data a pointer': (lambda index, data: data.write_bytes(LFS), 'Git LFS pointer'),
    'data empty': (lambda index, data: data.write_bytes(b''), 'cut short'),
    'data cut': (lambda index, data: data.write_bytes(data.read_bytes()[:-1]), 'cut short'),
    'data flipped': (lambda index, data: data.write_bytes(flip(data.read_bytes(), 50)), 'checksum of .W. is wrong'),
    'index flipped': (lambda index, data: index.write_bytes(flip(index.read_bytes(), 20)), 'checksum is wrong'),
    'index foreign': (lambda index, data: index.write_bytes(bytes(300)), 'last bytes are not those'),
    'index huge': (lambda index, data: index.write_bytes(bytes((1 << 20) + 1)), 'at most 1048576 bytes'),
    'index a folder': (lambda index, data: (index.unlink(), index.mkdir()), 'no checkpoint'),
    'no variables': (lambda index, data: index.write_bytes(write_table([(b'', b'\x08\x01')])), 'names no variable'),
    'no header': (lambda index, data: index.write_bytes(write_table([(b'W', b'\x08\x01')])), 'cut short|names|says'),
    'two data files': (lambda index, data: forge(index, '', b'\x08\x02'), 'split over 2 data files'),
    'big-endian': (lambda index, data: forge(index, '', b'\x08\x01\x10\x01'), 'big-endian'),
    'text': (lambda index, data: forge(index, 'W', b'\x08\x07'), 'type .number 7.'),
    'sliced': (lambda index, data: forge(index, 'W', b'\x08\x01\x3a\x00'), 'split over files'),
    'a size that lies': (lambda index, data: forge(index, 'W', b'\x08\x01\x12\x00\x28\x08'), 'says that it takes 8'),
    'a shape that lies': (
        lambda index, data: forge(index, 'W', b'\x08\x01\x12\x0b\x12\x09\x08' + write_varint(1 << 50) + b'\x28\x04'),
        'says that it takes 4',
    ),
    'an overlap': (lambda index, data: forge(index, 'W', b'\x08\x01\x12\x00\x28\x04\x35\0\0\0\0'), 'overlaps'),
    'no proto': (lambda index, data: forge(index, 'W', b'\x0b\x0c'), 'no protocol buffer'),
    'a dead end': (lambda index, data: forge(index, 'W', b'\x08\x01\x12\xff'), 'cut off'),
}


@pytest.mark.parametrize('case', BAD_BUNDLES)
def test_bad_bundles_are_refused_in_one_sentence(small, tmp_path, capsys, case):
    spoil, message = BAD_BUNDLES[case]
    write_bundle(tmp_path / STEM, small)
    spoil(Path(f'{tmp_path / STEM}{INDEX}'), Path(f'{tmp_path / STEM}{DATA}'))
    with pytest.raises(UserError, match=message) as caught:
        load_recognition(tmp_path)
    assert '\n' not in str(caught.value)
    assert run_command(main, [str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith('error: ')


def test_a_sparse_data_file_of_a_terabyte_is_refused(small, tmp_path):
    write_bundle(tmp_path / STEM, small)
    os.truncate(f'{tmp_path / STEM}{DATA}', 1 << 40)
    with pytest.raises(UserError, match='at most'):
        read_bundle(tmp_path / STEM)


def test_a_pipe_is_no_checkpoint(small, tmp_path):
    """Opening a pipe that nobody writes to would wait for ever."""
    write_bundle(tmp_path / STEM, small)
    os.unlink(f'{tmp_path / STEM}{DATA}')
    os.mkfifo(f'{tmp_path / STEM}{DATA}')
    with pytest.raises(UserError):
        read_bundle(tmp_path / STEM)


BAD_NPZ = {
    'empty': (lambda path: path.write_bytes(b''), 'not a zip'),
    'cut': (lambda path: path.write_bytes(path.read_bytes()[:-30]), 'should be an .npz'),
    'flipped': (lambda path: path.write_bytes(flip(path.read_bytes(), 200)), 'CRC'),
    'a pointer': (lambda path: path.write_bytes(LFS), 'Git LFS pointer'),
    'compressed': (lambda path: np.savez_compressed(path, W=np.zeros(10**6)), 'compressed'),
    'objects': (lambda path: np.savez(path, W=np.array([{}], object)), 'no plain array'),
    'records': (lambda path: np.savez(path, W=np.zeros(2, [('a', 'f4')])), 'no plain array'),
    'text': (lambda path: np.savez(path, W=np.array('x')), 'no plain array'),
    'no array': (lambda path: zip_of(path, {'W.npy': b'\x93NUMPY'}), 'no plain array'),
    'a line break': (lambda path: zip_of(path, {'a\nb.npy': b'x'}), 'control characters'),
    'a stranger': (lambda path: zip_of(path, {'../../etc/passwd': b'x'}), 'is no array'),
    'code for a header': (
        lambda path: zip_of(path, {'W.npy': b'\x93NUMPY\x01\x00\x09\x00__import_'}),
        'no plain array',
    ),
    'a shape that lies': (lambda path: zip_of(path, {'W.npy': npy('(4294967296, 4294967296)')}), 'takes'),
    'negative': (lambda path: zip_of(path, {'W.npy': npy('(-1,)')}), 'no plain array'),
    'list for meta': (lambda path: zip_of(path, {'meta.json': b'[]'}), 'no JSON object'),
    'deep meta': (lambda path: zip_of(path, {'meta.json': b'[' * 500_000}), 'nested too deep'),
    'bad meta': (lambda path: zip_of(path, {'meta.json': b'{'}), 'should be an .npz'),
}


def zip_of(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + bytes(64)


@pytest.mark.parametrize('case', BAD_NPZ)
def test_bad_npz_files_are_refused_in_one_sentence(small, tmp_path, case):
    spoil, message = BAD_NPZ[case]
    path = tmp_path / f'{STEM}.npz'
    write_npz(path, small)
    spoil(path)
    with pytest.raises(UserError, match=message) as caught:
        load_recognition(tmp_path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('order', ['C', 'F'])
@pytest.mark.parametrize('dtype', ['>f4', '<f8', '>i8', '|b1', '<u2'])
def test_npz_files_of_numpy_are_read_in_any_order_of_bytes_and_axes(rng, tmp_path, order, dtype):
    value = np.asarray(rng.integers(0, 2, (3, 4, 5)).astype(dtype), order=order)
    np.savez(tmp_path / 'a.npz', **{'deep/name': value})
    found = read_npz(tmp_path / 'a.npz')[0]['deep/name']
    np.testing.assert_array_equal(found, value)
    assert found.dtype.isnative and found.flags.c_contiguous


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


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_tells_what_checkpoints_hold(rng, tmp_path, capsys):
    models = tmp_path / 'Models'
    encoder = layout.encoder_folder(models, 'KS20', 'BA', 'x', 8, 0.1, view=2, task='sorting')
    network = layout.recognition_folder(models, 'IAS', 'LA', 'ap', 6, 0.1, suffix='_select-val')
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
    folder = layout.encoder_folder(tmp_path, 'BIWI', 'LA', 'x', 6, 0.1)
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
