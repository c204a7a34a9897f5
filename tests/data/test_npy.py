"""Tests of reading `.npy` files of numbers: what NumPy writes is read, what lies is refused."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sge_la.errors import UserError
from sge_la.files import arrays as npy
from sge_la.files.arrays import read_blocks, read_header, read_npy, sequence_shape

KINDS = ['f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8']


def saved(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=False)
    return file.getvalue()


def with_header(text: str, data: bytes = b'', version: int = 1) -> bytes:
    width = 2 if version == 1 else 4
    return b'\x93NUMPY' + bytes([version, 0]) + len(text).to_bytes(width, 'little') + text.encode('latin-1') + data


def arrays() -> st.SearchStrategy[np.ndarray]:
    dtypes = st.sampled_from([order + kind for kind in KINDS for order in '<>'] + ['b1']).map(np.dtype)
    return dtypes.flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    )


@given(array=arrays(), fortran=st.booleans(), version=st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_reads_what_numpy_writes(tmp_path_factory, array, fortran, version):
    path = tmp_path_factory.mktemp('npy') / 'a.npy'
    if fortran:
        array = np.asfortranarray(array)
    path.write_bytes(saved(array, version))
    read, mapped = read_npy(path), read_npy(path, mmap=True)
    assert read.dtype == array.dtype.newbyteorder('=') and read.dtype.isnative
    assert read.shape == mapped.shape == array.shape
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(mapped, array)
    assert read.flags.f_contiguous == np.load(path).flags.f_contiguous


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    flat=st.booleans(),
    fortran=st.booleans(),
    dtype=st.sampled_from([order + kind for kind in KINDS for order in '<>']),
    block=st.integers(1, 300),
)
def test_blocks_put_the_array_together(tmp_path_factory, shape, flat, fortran, dtype, block):
    path = tmp_path_factory.mktemp('npy') / 'a.npy'
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    stored = array.reshape(-1, shape[2]) if flat else array
    path.write_bytes(saved(np.asfortranarray(stored) if fortran else stored))
    header = read_header(path)
    assert sequence_shape(header, shape[1]) == shape
    found = np.full(shape, -1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npy, '_BLOCK_BYTES', block)
        for index, piece in read_blocks(header, shape[1]):
            assert piece.dtype.isnative
            assert (found[index] == -1).all()
            found[index] = piece
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    'shape, length, expected',
    [
        ((12, 5), 6, (2, 6, 5)),
        ((2, 6, 5), 6, (2, 6, 5)),
        ((13, 5), 6, None),
        ((2, 4, 5), 6, None),
        ((0, 5), 6, None),
        ((12, 0), 6, None),
        ((12,), 6, None),
        ((2, 6, 5, 3), 6, None),
    ],
)
def test_sequence_shape(tmp_path, shape, length, expected):
    (tmp_path / 'a.npy').write_bytes(saved(np.zeros(shape)))
    assert sequence_shape(read_header(tmp_path / 'a.npy'), length) == expected


def test_headers_of_other_writers_are_read(tmp_path):
    """Python 2 wrote long integers; keys may come in any order, with either quote and any spaces."""
    data = np.arange(6.0).tobytes()
    for text in (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3L), }\n",
        '{"shape":(2,3),"fortran_order":False,"descr":"<f8"}',
        "  { 'descr' : '<f8' , 'shape' : ( 2 , 3 ) , 'fortran_order' : False }   \n",
    ):
        (tmp_path / 'a.npy').write_bytes(with_header(text, data))
        np.testing.assert_array_equal(read_npy(tmp_path / 'a.npy'), np.arange(6.0).reshape(2, 3))


GOOD = saved(np.arange(40.0).reshape(8, 5))


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'is empty'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n', 'Git LFS pointer'),
        (b'<!DOCTYPE html><html>', 'starts with'),
        (b'PK\x03\x04', 'starts with'),
        (b'\x93NUMPY', 'no header'),
        (b'\x93NUMPY\x01\x00', 'no header'),
        (b'\x93NUMPY\x04\x00v\x00' + GOOD[10:], 'no header'),
        (GOOD[:60], 'no header'),
        (GOOD[:-1], 'cut short'),
        (GOOD[:128], 'cut short'),
        (GOOD + b'x', 'damaged'),
        (GOOD.replace(b'(8, 5)', b'(9, 5)'), 'cut short'),
        (GOOD.replace(b'(8, 5)', b'(7, 5)'), 'damaged'),
        (GOOD.replace(b'(8, 5)', b'(-8,5)'), 'no header'),
        (GOOD.replace(b'(8, 5)', b'(8.5,)'), 'no header'),
        (GOOD.replace(b'False', b'Maybe'), 'no header'),
        (GOOD.replace(b"'<f8'", b"'<c8'"), 'integers or floats'),
        (GOOD.replace(b"'<f8'", b"'<M8'"), 'integers or floats'),
        (GOOD.replace(b"'<f8'", b"'|S8'"), 'integers or floats'),
        (GOOD.replace(b"'<f8'", b"'|O8'"), 'Python objects'),
    ],
)
def test_damaged_files_are_user_errors(tmp_path, content, message):
    path = tmp_path / 'a.npy'
    path.write_bytes(content)
    for read in (read_npy, read_header, lambda path: read_npy(path, mmap=True)):
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)


@pytest.mark.parametrize('shape', ['(1000000000000, 20)', f'({10**17},)', f'(0, {10**17})', '(4294967296, 4294967296)'])
def test_huge_shapes_are_refused_without_memory(tmp_path, shape):
    path = tmp_path / 'a.npy'
    path.write_bytes(with_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n", bytes(80)))
    with pytest.raises(UserError, match=r'cut short|damaged'):
        read_npy(path)


def test_a_shape_without_elements_that_numpy_cannot_make_is_refused(tmp_path):
    """No dimension is larger than the file, and their product is beyond all numbers of bytes."""
    path, shape = tmp_path / 'a.npy', (0, *[250] * 10)
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    path.write_bytes(with_header(f'{text:300}\n'))
    for mmap in (False, True):
        with pytest.raises(UserError, match='damaged'):
            read_npy(path, mmap=mmap)


@pytest.mark.parametrize(
    'text',
    [
        '{' * 5000,
        "{'descr': " + '(' * 3000 + ')' * 3000 + "'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + '1,' * 40 + ')}',
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + '9' * 5000 + ',)}',
        "{'descr': '<f8', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': True}",
        "{'descr': '<f8', 'shape': (1,)}",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (1,)}",
        ' ' * 9000,
    ],
)
@pytest.mark.parametrize('version', [1, 2, 3])
def test_strange_headers_are_user_errors(tmp_path, text, version):
    path = tmp_path / 'a.npy'
    path.write_bytes(with_header(text, bytes(80), version))
    with pytest.raises(UserError, match=r'no header|is damaged'):
        read_npy(path)


def test_a_header_of_four_gigabytes_is_refused(tmp_path):
    path = tmp_path / 'a.npy'
    path.write_bytes(b'\x93NUMPY\x02\x00\xff\xff\xff\xff' + b' ' * 100)
    with pytest.raises(UserError, match='no header'):
        read_npy(path)


def test_more_than_the_machine_has_is_refused(tmp_path):
    """A file with a hole, which takes no room on the disk, of 8 TB."""
    path = tmp_path / 'a.npy'
    with open(path, 'wb') as file:
        file.write(with_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**40},), }}"))
        try:
            file.truncate(file.tell() + 2**43)
        except OSError:
            pytest.skip('this file system has no files of 8 TB')
    with pytest.raises(UserError, match='GB of memory'):
        read_npy(path)


def test_missing_file_and_folder_are_user_errors(tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        read_npy(tmp_path / 'a.npy')
    with pytest.raises(UserError, match='a folder'):
        read_npy(tmp_path)


def test_a_file_that_shrinks_while_it_is_read_is_a_user_error(tmp_path, monkeypatch):
    path = tmp_path / 'a.npy'
    path.write_bytes(saved(np.zeros((8000, 50))))
    header = read_header(path)
    monkeypatch.setattr(npy, '_BLOCK_BYTES', 80_000)
    blocks = read_blocks(header, 2)
    next(blocks)
    with open(path, 'r+b') as file:
        file.truncate(1_000_000)
    with pytest.raises(UserError, match='has been cut'):
        list(blocks)


def test_reading_holds_the_array_once(tmp_path):
    """At most one block of 4 MiB beside the array."""
    import tracemalloc

    array = np.zeros((400_000, 20), np.float32)
    np.save(tmp_path / 'a.npy', array)
    tracemalloc.start()
    read_npy(tmp_path / 'a.npy')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes + 10 * 2**20
    assert math.prod(array.shape) * 4 == array.nbytes
