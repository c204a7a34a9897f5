"""TensorFlow bundles and `.npz` files: the original's rewritten byte by byte, TensorFlow, and bad input."""

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

from sge_la.checkpoints import (
    encoder_shapes,
    load_recognition,
    read_bundle,
    save_encoder,
    write_bundle,
)
from sge_la.checkpoints.__main__ import main
from sge_la.checkpoints.crc32c import crc32c, masked_crc32c
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.checkpoints.table import FormatError, read_table, read_varint, write_table, write_varint
from sge_la.errors import UserError, run_command
from sge_la.files.npz import read_npz, write_npz
from tests.checkpoints.cases import DATA, GENUINE, INDEX, assert_same, genuine, random_model

STEM = CHECKPOINT_STEM


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
def test_rewriting_a_genuine_bundle_gives_the_same_bytes(reference, tmp_path, name):
    """The original's saver wrote these files; reading and writing them again must not change a bit."""
    source = genuine(reference, name)
    write_bundle(tmp_path / STEM, read_bundle(source))
    for ending in (INDEX, DATA):
        assert Path(f'{tmp_path / STEM}{ending}').read_bytes() == Path(f'{source}{ending}').read_bytes()
    assert (tmp_path / 'checkpoint').read_bytes() == (source.parent / 'checkpoint').read_bytes()


def test_a_bundle_is_read_without_meta_and_checkpoint(reference, tmp_path):
    source = genuine(reference, GENUINE[0])
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


# TensorFlow reads what we write, and writes what we read -------------------------------------------------------------

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


def test_tensorflow_and_we_read_each_other(reference, tmp_path, rng):
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


# Bad input -----------------------------------------------------------------------------------------------------------


def flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def forge(path: Path, name: str, message: bytes) -> None:
    """Replaces one entry of an index by `message`, with checksums that fit."""
    rows = [(key, message if key == name.encode() else value) for key, value in read_table(path.read_bytes())]
    path.write_bytes(write_table(rows))


def rename(path: Path, before: bytes, after: bytes) -> None:
    """Renames a variable of an index, with checksums that fit."""
    rows = {after if key == before else key: value for key, value in read_table(path.read_bytes())}
    path.write_bytes(write_table(sorted(rows.items())))


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
    'an escape': (lambda index, data: rename(index, b'W', b'W\x1b[2J'), r'W.x1b.2J. holds control characters'),
    'a line break': (lambda index, data: rename(index, b'W', b'W\n'), 'holds control characters'),
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
    assert str(caught.value).isprintable()
    assert run_command(main, [str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith('error: ')


def test_a_stop_between_the_two_files_leaves_no_index(small, tmp_path, monkeypatch):
    """An index tells that a checkpoint is there, so it comes last."""
    real = os.replace

    def stopped(source, target):
        monkeypatch.setattr(os, 'replace', interrupted)
        real(source, target)

    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', stopped)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / STEM, small)
    assert [path.name for path in tmp_path.iterdir()] == [f'{STEM}{DATA}']


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
