"""Writes `.npy` files whole or not at all: at once, block by block, or in place through a memory map."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sge_la.files.atomic import beside, os_errors, replacing

# A header of fixed size can be written again when the number of rows is known. NumPy wants a multiple of 64.
_HEADER_SIZE = 128
_ZEROS = 2**20


def npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The first bytes of a `.npy` file (format 1.0), always 128, for an array in C order."""
    text = repr({'descr': np.lib.format.dtype_to_descr(dtype), 'fortran_order': False, 'shape': shape})
    room = _HEADER_SIZE - 10
    if len(text) + 1 > room:
        raise ValueError(f'the header of a {dtype} array of shape {shape} takes more than {room} bytes')
    return b'\x93NUMPY\x01\x00' + room.to_bytes(2, 'little') + text.ljust(room - 1).encode('ascii') + b'\n'


class NpyWriter:
    """Writes a `.npy` file block by block, without ever holding all of it; whole or not at all.

    Use it as a context manager. The file appears under its name when the body comes to its end; an exception removes
    what was written.

    `path`: the file. `row_shape`: the shape of one row, e.g. `(20,)`; the array will be `[rows, 20]`. `dtype`: what is
    stored. Raises UserError: it cannot be written.
    """

    def __init__(self, path: Path | str, row_shape: tuple[int, ...], dtype: np.dtype | type = np.float64) -> None:
        self.path = Path(path)
        self.row_shape = tuple(row_shape)
        self.dtype = np.dtype(dtype)
        self.rows = 0
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> NpyWriter:
        self._file = self._stack.enter_context(beside(self.path))
        with os_errors(self.path, 'write'):
            self._file.write(npy_header((0, *self.row_shape), self.dtype))
        return self

    def append(self, rows: np.ndarray) -> None:
        """Adds rows `[n, *row_shape]` at the end, converted to the file's dtype.

        Raises UserError: they cannot be written. Raises ValueError: they have another shape.
        """
        rows = np.ascontiguousarray(rows, self.dtype)
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f'rows of shape {self.row_shape} were expected, found {rows.shape[1:]}')
        with os_errors(self.path, 'write'):
            self._file.write(rows.data if rows.size else b'')
        self.rows += len(rows)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> bool | None:
        if kind is None:
            self._stack.push(self._write_header)
        return self._stack.__exit__(kind, error, trace)

    def _write_header(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        with os_errors(self.path, 'write'):
            self._file.seek(0)
            self._file.write(npy_header((self.rows, *self.row_shape), self.dtype))


def save_npy(path: Path | str, array: np.ndarray) -> None:
    """Writes an array as `.npy`, whole or not at all; objects are refused.

    Raises UserError: it cannot be written. Raises ValueError: the array holds Python objects.
    """
    array = np.asarray(array)
    with replacing(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


@contextlib.contextmanager
def new_npy(path: Path | str, shape: tuple[int, ...], dtype: np.dtype | type) -> Iterator[np.ndarray]:
    """Makes a `.npy` file of a known shape that is filled in place through a memory map; whole or not at all.

    Room for all of it is taken first where the system can do that, because a full disk under a memory map kills the
    process without a word.

    Yields a writable map of `shape`, zeros at first (an ordinary array if it has no elements). Raises UserError: it
    cannot be written.
    """
    path, shape, dtype = Path(path), tuple(shape), np.dtype(dtype)
    with beside(path) as file:
        with os_errors(path, 'write'):
            file.write(npy_header(shape, dtype))
            _take_room(file, math.prod(shape) * dtype.itemsize)
            array = np.memmap(file, dtype, 'r+', _HEADER_SIZE, shape) if math.prod(shape) else np.empty(shape, dtype)
        yield array
        with os_errors(path, 'write'):
            if isinstance(array, np.memmap):
                array.flush()


def _take_room(file: BinaryIO, size: int) -> None:
    """Lengthens a file by `size` zero bytes for which there is room on the disk."""
    file.flush()
    if hasattr(os, 'posix_fallocate') and size:
        try:
            os.posix_fallocate(file.fileno(), file.tell(), size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    # A file system that cannot promise room: fill it.
    for start in range(0, size, _ZEROS):
        file.write(bytes(min(_ZEROS, size - start)))
    file.flush()
