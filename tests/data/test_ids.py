"""Tests of reading `ids_*.npy`: what NumPy pickles is read, what else a pickle can do is refused by name."""

import collections
import decimal
import io
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sge_la.data import ids as ids_module
from sge_la.data.ids import read_ids
from sge_la.data.write import write_ids
from sge_la.errors import UserError


def header() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {'descr': '|O', 'fortran_order': False, 'shape': ()})
    return file.getvalue()


def boxed(value: object, protocol: int) -> bytes:
    """As `np.save` stores an object, at any pickle protocol."""
    array = np.empty((), object)
    array[()] = value
    return header() + pickle.dumps(array, protocol)


IDS = {2: [0, 3], 300: [1], 70_000: [2, 70_001, 5]}
FORMS = {
    'lists': lambda indices: indices,
    'tuples': tuple,
    'numpy numbers': lambda indices: list(np.array(indices)),
    'int32 numbers': lambda indices: list(np.array(indices, np.int32)),
    'big-endian numbers': lambda indices: list(np.array(indices, '>i8')),
    'arrays': np.array,
    'uint32 arrays': lambda indices: np.array(indices, np.uint32),
    'big-endian arrays': lambda indices: np.array(indices, '>i8'),
}


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('protocol', [2, 3, 4])
@pytest.mark.parametrize('numpy_1', [False, True])
def test_reads_what_numpy_writes(tmp_path, form, protocol, numpy_1):
    content = boxed({label: FORMS[form](indices) for label, indices in IDS.items()}, protocol)
    if numpy_1 and protocol < 4:
        content = content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
    (tmp_path / 'ids.npy').write_bytes(content)
    ids = read_ids(tmp_path / 'ids.npy')
    assert list(ids) == [2, 300, 70_000]
    assert {label: indices.tolist() for label, indices in ids.items()} == IDS
    assert all(indices.dtype == np.int64 for indices in ids.values())


def test_reads_what_np_save_writes(tmp_path):
    np.save(tmp_path / 'ids.npy', IDS)
    assert {label: indices.tolist() for label, indices in read_ids(tmp_path / 'ids.npy').items()} == IDS


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_reads_many_indices(tmp_path, protocol):
    """More than fit into one frame of 64 KiB (protocol 4) and one batch of 1000."""
    ids = {label: list(range(label * 500, label * 500 + 500)) for label in range(300)}
    (tmp_path / 'ids.npy').write_bytes(boxed(ids, protocol))
    assert {label: indices.tolist() for label, indices in read_ids(tmp_path / 'ids.npy').items()} == ids


def test_frames_that_end_within_an_instruction_are_refused(tmp_path):
    content = boxed({1: [0, 300]}, 4)
    start = content.index(b'\x95') + 1
    size = int.from_bytes(content[start : start + 8], 'little')
    for wrong in (size + 1, 3, 5):
        (tmp_path / 'ids.npy').write_bytes(content[:start] + wrong.to_bytes(8, 'little') + content[start + 8 :])
        with pytest.raises(UserError, match='damaged'):
            read_ids(tmp_path / 'ids.npy')


def test_reads_python_2_text(tmp_path):
    """Protocol 2 as Python 2 wrote it: its strings are the instruction U."""
    content = boxed({1: [np.int64(5)]}, 2)
    python_2 = content.replace(b'X\x02\x00\x00\x00O8', b'U\x02O8').replace(b'X\x02\x00\x00\x00i8', b'U\x02i8')
    python_2 = python_2.replace(b'X\x01\x00\x00\x00<', b'U\x01<').replace(b'X\x01\x00\x00\x00|', b'U\x01|')
    assert python_2.count(b'U') >= content.count(b'U') + 4
    (tmp_path / 'ids.npy').write_bytes(python_2)
    assert read_ids(tmp_path / 'ids.npy')[1].tolist() == [5]


@given(
    ids=st.dictionaries(
        st.integers(0, 2**31 - 1), st.lists(st.integers(0, 2**31 - 1), max_size=20), min_size=1, max_size=20
    ),
    protocol=st.sampled_from([None, 2, 3, 4, 5]),
)
def test_any_dictionary_comes_back_sorted(tmp_path_factory, ids, protocol):
    path = tmp_path_factory.mktemp('ids') / 'ids.npy'
    if protocol is None:
        write_ids(path, ids)
    else:
        path.write_bytes(boxed(ids, protocol))
    read = read_ids(path)
    assert list(read) == sorted(ids)
    assert {label: indices.tolist() for label, indices in read.items()} == ids


class Command:
    def __reduce__(self):
        return os.system, ('touch PWNED',)


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('place', ['whole', 'value', 'index', 'beside'])
def test_a_pickle_that_asks_for_more_is_refused_by_name(tmp_path, monkeypatch, protocol, place):
    monkeypatch.chdir(tmp_path)
    value = {
        'whole': Command(),
        'value': {1: Command()},
        'index': {1: [0, Command()]},
        'beside': {1: [0], 2: Command()},
    }
    (tmp_path / 'ids.npy').write_bytes(boxed(value[place], protocol))
    with pytest.raises(UserError, match=r"asks for '(posix|nt)\.system'"):
        read_ids(tmp_path / 'ids.npy')
    assert os.listdir(tmp_path) == ['ids.npy']


def calling(module: str, name: str, argument: bytes = b')') -> bytes:
    """A pickle that calls module.name."""
    return header() + b'\x80\x03c' + module.encode() + b'\n' + name.encode() + b'\n' + argument + b'R.'


@pytest.mark.parametrize(
    'module, name',
    [
        ('builtins', 'eval'),
        ('builtins', 'getattr'),
        ('numpy.f2py.crackfortran', 'getlincoef'),
        ('numpy.testing._private.utils', 'runstring'),
        ('numpy', 'load'),
        ('numpy', 'ndarray.tofile'),
        ('numpy.core.multiarray', 'fromfile'),
        ('numpy.core.multiarray', '_reconstruct.__globals__'),
        ('numpy.core', 'multiarray._reconstruct'),
        ('_codecs', 'decode'),
        ('collections', 'defaultdict'),
        ('os', 'system'),
        ('', ''),
    ],
)
def test_only_the_exact_names_are_known(tmp_path, module, name):
    (tmp_path / 'ids.npy').write_bytes(calling(module, name))
    with pytest.raises(UserError) as caught:
        read_ids(tmp_path / 'ids.npy')
    assert f"asks for '{module}.{name}'" in str(caught.value)


def test_the_old_instruction_that_names_and_calls_is_refused_by_name(tmp_path):
    (tmp_path / 'ids.npy').write_bytes(header() + b'\x80\x02(X\x02\x00\x00\x00lsios\nsystem\n.')
    with pytest.raises(UserError, match=r"asks for 'os\.system'"):
        read_ids(tmp_path / 'ids.npy')
    (tmp_path / 'ids.npy').write_bytes(header() + b'\x80\x02(inumpy\nndarray\n.')
    with pytest.raises(UserError, match='is refused'):
        read_ids(tmp_path / 'ids.npy')


@pytest.mark.parametrize(
    'name',
    [
        ('numpy', 'dtype'),
        ('numpy', 'ndarray'),
        ('numpy.core.multiarray', '_reconstruct'),
        ('numpy.core.multiarray', 'scalar'),
        ('_codecs', 'encode'),
    ],
)
@pytest.mark.parametrize(
    'argument', [b')', b'K\x01\x85', b'N', b'K\x01', b']', b'X\x03\x00\x00\x00abc\x85', b'C\x01a\x85']
)
def test_known_names_with_other_arguments_are_refused(tmp_path, name, argument):
    (tmp_path / 'ids.npy').write_bytes(calling(*name, argument))
    with pytest.raises(UserError, match='is refused'):
        read_ids(tmp_path / 'ids.npy')


def test_other_kinds_of_objects_are_refused_by_name(tmp_path):
    for value, name in (
        (collections.OrderedDict({1: [0]}), 'collections.OrderedDict'),
        (collections.defaultdict(list, {1: [0]}), 'collections.defaultdict'),
        ({1: decimal.Decimal(1)}, 'decimal.Decimal'),
    ):
        (tmp_path / 'ids.npy').write_bytes(boxed(value, 4))
        with pytest.raises(UserError, match=f"asks for '{name}'"):
            read_ids(tmp_path / 'ids.npy')


@pytest.mark.parametrize(
    'value, message',
    [
        ([[0, 1], [2]], 'found a list'),
        ('text', 'found a str'),
        (5, 'found a int'),
        (None, 'no NumPy array of one object'),
        ({}, 'an empty one'),
        ({'0': [0]}, 'a key of the kind str'),
        ({1.0: [0]}, 'a key of the kind float'),
        ({True: [0]}, 'a key of the kind bool'),
        ({(1, 2): [0]}, 'a key of the kind tuple'),
        ({-1: [0]}, 'one label is -1'),
        ({2**31: [0]}, 'one label is 2147483648'),
        ({10**300: [0]}, 'one label is 1000'),
        ({1: 5}, 'identity 1 has a int'),
        ({1: {0: 1}}, 'identity 1 has a dict'),
        ({1: 'abc'}, 'identity 1 has a str'),
        ({1: None}, 'identity 1 has a NoneType'),
        ({1: [0, -1]}, 'identity 1 has -1'),
        ({1: [0.5]}, r'identity 1 has 0\.5'),
        ({1: [True]}, 'identity 1 has a bool'),
        ({1: ['0']}, 'identity 1 has a str'),
        ({1: [[0]]}, 'identity 1 has a list'),
        ({1: [10**300]}, 'identity 1 has 1000'),
        ({1: np.array([0.5])}, 'identity 1 has a ndarray'),
        ({1: np.array([[0, 1]])}, 'a damaged array'),
        ({1: [0], 2: np.array(['a'])}, "values of the type 'U1'"),
        (np.array([{1: [0]}, {2: [1]}], object), 'an array of several objects'),
    ],
)
@pytest.mark.parametrize('protocol', [2, 4])
def test_what_is_no_dictionary_of_indices_is_refused(tmp_path, value, message, protocol):
    path = tmp_path / 'ids.npy'
    path.write_bytes(boxed(value, protocol))
    with pytest.raises(UserError, match=message) as caught:
        read_ids(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_a_label_named_twice_is_refused(tmp_path):
    """A dictionary would keep the last; Python cannot write such a pickle, but a stranger can."""
    content = boxed({1: [0], 2: [5]}, 3)
    assert content.count(b'K\x02]') == 1
    (tmp_path / 'ids.npy').write_bytes(content.replace(b'K\x02]', b'K\x01]'))
    with pytest.raises(UserError, match='names identity 1 twice'):
        read_ids(tmp_path / 'ids.npy')


def test_arrays_are_no_dictionary(tmp_path):
    np.save(tmp_path / 'ids.npy', np.arange(5))
    with pytest.raises(UserError, match=r'found an array \[5\] of int64'):
        read_ids(tmp_path / 'ids.npy')
    np.save(tmp_path / 'ids.npy', np.array([{1: [0]}], object), allow_pickle=True)
    with pytest.raises(UserError, match=r'found an array \[1\] of object'):
        read_ids(tmp_path / 'ids.npy')


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'is empty'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer'),
        (pickle.dumps({1: [0]}), 'should be a .npy file'),
        (header(), 'does not start as a pickle'),
        (header() + b'\x80', 'cut short'),
        (header() + pickle.dumps({1: [0]}, 0), 'does not start as a pickle'),
        (header() + pickle.dumps({1: [0]}, 3), 'no NumPy array'),
        (boxed({1: [0]}, 3) + b'x', 'is damaged'),
        (header() + b'\x80\x03(.', 'no NumPy array|damaged'),
        (header() + b'\x80\x03R.', 'damaged'),
    ],
)
def test_damaged_files_are_user_errors(tmp_path, content, message):
    (tmp_path / 'ids.npy').write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_ids(tmp_path / 'ids.npy')


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_every_cut_is_refused(tmp_path, protocol):
    content = boxed({1: [0, 1], 2: [300]}, protocol)
    for size in range(len(content)):
        (tmp_path / 'ids.npy').write_bytes(content[:size])
        with pytest.raises(UserError):
            read_ids(tmp_path / 'ids.npy')


_MANY, _FEW = 300_000, 30_000


def bombs(many: int) -> dict[str, bytes]:
    """Short pickles that ask for much, and long ones of so many instructions."""
    return {
        # A memo index of four thousand million makes Python's own unpickler take 32 GB.
        'memo': b'\x80\x03Nr\xff\xff\xff\xff.',
        'bytearray': b'\x80\x05\x96' + struct.pack('<Q', 2**40) + b'.',
        'bytes': b'\x80\x04\x8e' + struct.pack('<Q', 2**40) + b'.',
        'frame': b'\x80\x04\x95' + struct.pack('<Q', 2**63) + b'N.',
        'text': b'\x80\x03X\xff\xff\xff\xffa.',
        'long integer': b'\x80\x03\x8b\xff\xff\xff\x7f.',
        'lists': b'\x80\x03' + b']' * many + b'.',
        'dictionaries': b'\x80\x03' + b'}' * many + b'.',
        'memoized': b'\x80\x04N' + b'\x94' * many + b'.',
        'nested tuples': b'\x80\x03)' + b'\x85' * many + b'.',
        'nested lists': b'\x80\x03' + b']' * (many // 2) + b'a' * (many // 2 - 1) + b'.',
        'nested key': b'\x80\x03})' + b'\x85' * many + b'Ns.',
        'long integers': b'\x80\x03' + (b'\x8a\xff' + b'\x01' * 255) * (many // 10) + b'.',
        'small dictionaries': b'\x80\x03' + b'}K\x01K\x01s' * (many // 4) + b'.',
        'data types': b'\x80\x03cnumpy\ndtype\nq\x00X\x02\x00\x00\x00i8\x85q\x01' + b'h\x00h\x01R' * (many // 3) + b'.',
        'array of a terabyte': b'\x80\x03cnumpy\nndarray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85\x85R.',
        'names': b'\x80\x03' + b'cnumpy\ndtype\n0' * (many // 3) + b'.',
        'no end of line': b'\x80\x03c' + b'a' * 1_000_000,
    }


@pytest.mark.parametrize('many', [_FEW, pytest.param(_MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize('bomb', bombs(0))
def test_bombs_are_refused_in_bounded_memory(tmp_path, bomb, many):
    """At most 120 bytes an instruction and 4 a byte of the file: together below 1 GB at the limits."""
    content = header() + bombs(many)[bomb]
    (tmp_path / 'ids.npy').write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match='is refused'):
            read_ids(tmp_path / 'ids.npy')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120 * min(many, len(content)) + 4 * len(content) + 100_000


def test_containers_that_hold_themselves_are_refused(tmp_path):
    """A list in itself, as an identity's indices."""
    own = []
    own.append(own)
    (tmp_path / 'ids.npy').write_bytes(boxed({1: own}, 4))
    with pytest.raises(UserError, match='identity 1 has a list'):
        read_ids(tmp_path / 'ids.npy')
    own_dict = {}
    own_dict[1] = own_dict
    (tmp_path / 'ids.npy').write_bytes(boxed(own_dict, 4))
    with pytest.raises(UserError, match='identity 1 has a dict'):
        read_ids(tmp_path / 'ids.npy')


def test_a_large_file_is_refused_unread(tmp_path):
    with open(tmp_path / 'ids.npy', 'wb') as file:
        file.write(header())
        file.truncate(2**40)
    with pytest.raises(UserError, match='in at most'):
        read_ids(tmp_path / 'ids.npy')


def test_what_is_made_is_limited(tmp_path, monkeypatch):
    (tmp_path / 'ids.npy').write_bytes(boxed({1: list(range(1000))}, 3))
    assert len(read_ids(tmp_path / 'ids.npy')[1]) == 1000
    monkeypatch.setattr(ids_module, 'MADE_BESIDES', 0)
    with pytest.raises(UserError, match='makes more than 10 times its size'):
        read_ids(tmp_path / 'ids.npy')


@pytest.mark.parametrize('bomb', ['encoded again and again', 'one list for all labels'])
def test_what_is_shared_is_not_made_anew(tmp_path, bomb):
    """Short instructions that fetch something large from the memo: at most 10 times the file, and 64 MB besides."""
    if bomb == 'one list for all labels':
        shared = list(range(20_000))
        content = boxed(dict.fromkeys(range(20_000), shared), 4)
    else:
        text = b'X' + struct.pack('<I', 100_000) + b'a' * 100_000
        start = b'\x80\x03c_codecs\nencode\nq\x00' + text + b'X\x06\x00\x00\x00latin1\x86q\x01R'
        content = header() + start + b'h\x00h\x01R' * 20_000 + b'.'
    (tmp_path / 'ids.npy').write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r'makes more than|more sequences than it has bytes'):
            read_ids(tmp_path / 'ids.npy')
        assert tracemalloc.get_traced_memory()[1] < 10 * len(content) + 64 * 2**20
    finally:
        tracemalloc.stop()
