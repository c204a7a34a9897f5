"""Writes files whole or not at all, and reads small ones within limits.

Everything goes into a file beside the target, is flushed to the disk and then renamed, so that Ctrl-C, a full disk or a
power cut leaves either the old file or the new one. What the operating system refuses becomes a `UserError`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sge_la.errors import UserError

# Nothing that is kept as JSON comes near it. Parsed JSON can be twenty times as large as its text: 330 MB at most.
JSON_LIMIT = 16 * 2**20
# A header of fixed size can be written again when the number of rows is known. NumPy wants a multiple of 64.
_HEADER_SIZE = 128
_ZEROS = 2**20

_CAUSES = {
    errno.ENOSPC: 'there is no room left on the disk; free some or choose another folder',
    errno.EDQUOT: 'the disk quota is used up; free some room or choose another folder',
    errno.EFBIG: 'the file would be larger than is allowed here; choose another folder',
    errno.EROFS: 'the disk is read-only; choose another folder',
    errno.EACCES: 'there is no permission for it; change the permissions or choose another folder',
    errno.EPERM: 'there is no permission for it; change the permissions or choose another folder',
    errno.ENOENT: 'it, or its folder, does not exist (any more); check the path',
    errno.ENOTDIR: 'a part of its path is a file and not a folder; choose another path',
    errno.EEXIST: 'something of that name exists already; choose another path',
    errno.EISDIR: 'it is a folder and not a file; choose another path',
    errno.ENOTEMPTY: 'a folder with other files is in its place; choose another path',
    errno.ENAMETOOLONG: 'its name is too long; choose a shorter one',
}


@contextlib.contextmanager
def os_errors(path: Path | str, action: str) -> Iterator[None]:
    """Turns every `OSError` of its body into a `UserError` of one sentence.

    Args:
        path: the file or folder that the sentence names.
        action: what was tried, e.g. 'write' or 'read'.
    """
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno, error.strerror or str(error))
        raise UserError(f'cannot {action} {path}: {cause}') from error


def regular_size(path: Path | str) -> int:
    """The size of a file in bytes.

    Raises:
        UserError: it is missing, or it is a folder, a pipe or a device (which could block, or never end).
    """
    with os_errors(path, 'read'):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = 'a folder' if stat.S_ISDIR(status.st_mode) else 'a pipe or a device'
        raise UserError(f'cannot read {path}: a file was expected, found {kind}; check the path')
    return status.st_size


def refuse_way_out(path: Path | str, folder: Path | str) -> None:
    """Refuses a path that leads out of a folder, by `..` or by a link: others may have made the folder.

    Raises:
        UserError: it does, or cannot be followed.
    """
    with os_errors(path, 'read'):
        target, inside = Path(path).resolve(), Path(folder).resolve()
    if not target.is_relative_to(inside):
        raise UserError(f'{path} should lie in {folder}, but leads to {target}; put the file itself there')


def make_folder(path: Path | str) -> Path:
    """Makes a folder and those above it; one that exists is good.

    Raises:
        UserError: it cannot be made.
    """
    with os_errors(path, 'make the folder'):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def sync_folder(path: Path | str) -> None:
    """Flushes a folder's list of names to the disk, where the system can do that (Windows cannot)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[BinaryIO]:
    """Opens a file beside `path` for writing, and puts it in `path`'s place if the body comes to its end.

    Yields:
        A binary file that can be written, sought and read back.

    Raises:
        UserError: it cannot be written (no room, read-only, no permission, the folder has vanished). The body should
            do nothing but write, since every `OSError` in it is told as one of this file.
    """
    with os_errors(path, 'write'), _beside(Path(path)) as file:
        yield file


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """As `replacing`, but exceptions of the body stay what they are."""
    partial = path.with_name(f'.{path.name[:200]}.{secrets.token_hex(4)}.partial')
    with os_errors(path, 'write'):
        file = open(partial, 'x+b')  # noqa: SIM115 - closed below; errors of the body are not ours to tell
    try:
        yield file
        with os_errors(path, 'write'):
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    sync_folder(path.parent)


def write_text(path: Path | str, text: str) -> None:
    """Writes UTF-8 text, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode('utf-8'))


def write_json(path: Path | str, value: Any) -> None:
    """Writes JSON, whole or not at all.

    Args:
        path: the file.
        value: dictionaries, lists, tuples, text, numbers, NumPy scalars and arrays, paths. NaN and infinity, which
            JSON does not know, become null.

    Raises:
        UserError: it cannot be written.
        TypeError: JSON has no such kind of value.
    """
    write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + '\n')


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def read_json(path: Path | str, limit: int = JSON_LIMIT) -> Any:
    """Reads a JSON file (UTF-8, with or without a byte-order mark).

    Args:
        path: the file.
        limit: the largest size in bytes that is read.

    Raises:
        UserError: it is missing, larger than the limit, or not JSON.
    """
    if regular_size(path) > limit:
        raise UserError(f'{path} should be a JSON file of at most {limit} bytes and is larger; check which file it is')
    with os_errors(path, 'read'):
        text = Path(path).read_bytes()
    try:
        return json.loads(text.decode('utf-8-sig'))
    except RecursionError as error:
        raise UserError(f'{path} should be JSON, but its values are nested too deep; repair or delete it') from error
    except ValueError as error:
        raise UserError(f'{path} should be JSON and is not ({error}); repair or delete it') from error


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

    Args:
        path: the file.
        row_shape: the shape of one row, e.g. `(20,)`; the array will be `[rows, 20]`.
        dtype: what is stored.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path | str, row_shape: tuple[int, ...], dtype: np.dtype | type = np.float64) -> None:
        self.path = Path(path)
        self.row_shape = tuple(row_shape)
        self.dtype = np.dtype(dtype)
        self.rows = 0
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> NpyWriter:
        self._file = self._stack.enter_context(_beside(self.path))
        with os_errors(self.path, 'write'):
            self._file.write(npy_header((0, *self.row_shape), self.dtype))
        return self

    def append(self, rows: np.ndarray) -> None:
        """Adds rows `[n, *row_shape]` at the end, converted to the file's dtype.

        Raises:
            UserError: they cannot be written.
            ValueError: they have another shape.
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

    Raises:
        UserError: it cannot be written.
        ValueError: the array holds Python objects.
    """
    array = np.asarray(array)
    with replacing(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


@contextlib.contextmanager
def new_npy(path: Path | str, shape: tuple[int, ...], dtype: np.dtype | type) -> Iterator[np.ndarray]:
    """Makes a `.npy` file of a known shape that is filled in place through a memory map; whole or not at all.

    Room for all of it is taken first where the system can do that, because a full disk under a memory map kills the
    process without a word.

    Yields:
        A writable map of `shape`, zeros at first (an ordinary array if it has no elements).

    Raises:
        UserError: it cannot be written.
    """
    path, shape, dtype = Path(path), tuple(shape), np.dtype(dtype)
    with _beside(path) as file:
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
