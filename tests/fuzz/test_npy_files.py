"""Damaged `.npy` files and ids: a right result or a `UserError`, never another exception, a hang, or a gigabyte."""

import io
import os
import pickle

import numpy as np

from sge_la.data.ids import read_ids
from sge_la.data.write import write_ids
from sge_la.files.arrays import read_blocks, read_header, read_npy, sequence_shape
from tests.fuzz.bounds import hold_to_its_word, memory_limit
from tests.fuzz.mutation import cases


def saved(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=False)
    return file.getvalue()


def numeric_files() -> list[bytes]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 5))
    arrays = [
        values,
        values.astype('>f4'),
        np.asfortranarray(values.astype(np.float16)),
        (values * 100).astype(np.int64).reshape(2, 6, 5),
        np.arange(20, dtype=np.uint8),
        np.array(3.5),
        np.zeros((0, 5)),
        values > 0,
    ]
    return [saved(array) for array in arrays] + [saved(values, (2, 0)), saved(values, (3, 0))]


def check_array(array: np.ndarray, content: bytes) -> None:
    """What is read is what NumPy reads from the same bytes (it is particular about line ends within the header)."""
    offset = len(content) - array.nbytes
    header = content[10:offset].replace(b'\n', b' ').replace(b'\r', b' ')
    expected = np.load(io.BytesIO(content[:10] + header + content[offset:]), allow_pickle=False)
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype.newbyteorder('=')
    assert array.tobytes() == expected.astype(array.dtype).tobytes()


def test_damaged_arrays(tmp_path, fuzz_cases):
    read, refused = hold_to_its_word(
        cases(numeric_files(), fuzz_cases, focus=128), tmp_path / 'a.npy', read_npy, check_array
    )
    # Damaged numbers make a valid file; damaged headers rarely do.
    assert read > 0.05 * len(fuzz_cases) and refused > 0.3 * len(fuzz_cases)


def test_damaged_arrays_as_maps_and_in_pieces(tmp_path, fuzz_cases):
    def read(path):
        header = read_header(path)
        shape = sequence_shape(header, 6)
        array = np.array(read_npy(path, mmap=True))
        if shape is not None:
            pieces = np.zeros(shape, header.dtype.newbyteorder('='))
            for index, piece in read_blocks(header, 6):
                pieces[index] = piece
            assert pieces.tobytes() == array.reshape(shape).astype(pieces.dtype).tobytes()
        return array.astype(array.dtype.newbyteorder('='))

    hold_to_its_word(cases(numeric_files(), fuzz_cases, seed=1, focus=128), tmp_path / 'a.npy', read, check_array)


def ids_files(folder) -> list[bytes]:
    ids = {0: [0, 1, 2], 7: [3], 300: list(range(4, 90)), 70_000: [65_536]}
    write_ids(folder / 'seed.npy', ids)
    files = [(folder / 'seed.npy').read_bytes()]
    header = files[0][:128]
    for protocol in (2, 3, 4):
        for form in (list, np.array, lambda indices: list(np.array(indices))):
            array = np.empty((), object)
            array[()] = {label: form(indices) for label, indices in ids.items()}
            files.append(header + pickle.dumps(array, protocol))
    return files


class Type:
    """A NumPy type as Python's own unpickler makes it; NumPy's own code can crash on damaged pickles."""

    def __init__(self, code, *rest):
        self.code = code.decode() if isinstance(code, bytes) else code

    def __setstate__(self, state):
        self.order = {'<': 'little', '>': 'big'}.get(state[1].decode() if isinstance(state[1], bytes) else state[1])

    def number(self, data: bytes) -> int:
        if self.code[0] == 'f':
            raise ValueError
        assert self.code[0] in 'iub' and len(data) == int(self.code[1:])
        return int.from_bytes(data, getattr(self, 'order', None) or 'little', signed=self.code[0] == 'i')


class Array:
    def __init__(self, *rest):
        pass

    def __setstate__(self, state):
        width = 1 if state[2].code == 'O8' else int(state[2].code[1:])
        self.items = (
            state[4]
            if state[2].code == 'O8'
            else [state[2].number(state[4][at : at + width]) for at in range(0, len(state[4]), width)]
        )


class Twin(pickle.Unpickler):
    """Python's own unpickler with the same five names."""

    def find_class(self, module: str, name: str) -> object:
        module = module.replace('numpy._core', 'numpy.core')
        return {
            ('numpy', 'dtype'): Type,
            ('numpy', 'ndarray'): Array,
            ('numpy.core.multiarray', '_reconstruct'): Array,
            ('numpy.core.multiarray', 'scalar'): lambda kind, data: kind.number(data),
            ('_codecs', 'encode'): str.encode,
        }[module, name]


def check_ids(ids: dict[int, np.ndarray], content: bytes) -> None:
    """A dictionary of whole numbers was read: the one that Python's unpickler reads, where that can read it at all."""
    assert ids and list(ids) == sorted(ids)
    for label, indices in ids.items():
        assert type(label) is int and indices.dtype == np.int64 and indices.ndim == 1
        assert label >= 0 and (indices >= 0).all()
    start = 10 + int.from_bytes(content[8:10], 'little')
    try:
        # An index of a thousand million in its memo makes Python's unpickler ask for as much memory.
        with memory_limit(2**30):
            expected = Twin(io.BytesIO(content[start:])).load().items[0]
    except (MemoryError, pickle.UnpicklingError, EOFError, OverflowError, UnicodeDecodeError):
        return
    found = {label: indices.tolist() for label, indices in ids.items()}
    assert {label: list(getattr(indices, 'items', indices)) for label, indices in expected.items()} == found


def test_damaged_ids(tmp_path, fuzz_cases, monkeypatch):
    files = ids_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    read, refused = hold_to_its_word(cases(files, fuzz_cases), tmp_path / 'seed.npy', read_ids, check_ids)
    assert read > 0.02 * len(fuzz_cases) and refused > 0.3 * len(fuzz_cases)
    assert sorted(os.listdir(tmp_path)) == before


def test_whole_dictionaries_behind_damaged_pickles(tmp_path, fuzz_cases):
    """Only the pickle is damaged, so that every case comes to the reader of pickles."""
    seeds = ids_files(tmp_path)
    header = seeds[0][:128]
    damaged = (
        (number, header + content) for number, content in cases([seed[128:] for seed in seeds], fuzz_cases, seed=2)
    )
    hold_to_its_word(damaged, tmp_path / 'seed.npy', read_ids, check_ids)
