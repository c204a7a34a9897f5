"""Reads `.npy` files that strangers made.

Nothing in a file is run, and no size in it is believed unchecked: a header is compared with the size of its file before
anything is allocated. Numbers of any common kind are read, in C or Fortran order and either byte order; objects only as
the dictionary of identities (`data.ids`).
"""

from __future__ import annotations

import contextlib
import io
import math
import mmap
import os
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sge_la.errors import UserError
from sge_la.files.atomic import LFS_START, os_errors, regular_size

MAX_DATA_BYTES = 1 << 30
_MOST_BESIDE_NONE = 1 << 62
MAX_RANK = 8
_MAGIC = b'\x93NUMPY'
_MAX_HEADER = 10_000
_BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Header:
    """What a `.npy` file says about its array, checked against the file's size.

    `path`: the file; `shape`: of the array; `dtype`: of the numbers, or `object`; `fortran_order`: whether the first
    index runs fastest; `offset`: where the array's bytes begin; `size`: of the whole file in bytes.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    offset: int
    size: int


def read_header(path: Path | str) -> Header:
    """Reads the header of a `.npy` file of numbers and checks that the file holds exactly what it promises.

    Raises UserError: the file is missing, a Git LFS pointer, empty, no `.npy`, cut short or too long, or holds anything
    but integers or floats of 1 to 8 bytes.
    """
    header = read_any_header(Path(path))
    if header.dtype.hasobject:
        raise UserError(f'{path} should hold numbers, but holds Python objects, which are not read; get the file again')
    held, promised = header.size - header.offset, math.prod(header.shape) * header.dtype.itemsize
    # In an array without elements the other dimensions may say anything, and NumPy chokes on large ones and products.
    beside = math.prod(filter(None, header.shape)) * header.dtype.itemsize
    if held != promised or max(header.shape, default=0) > header.size or beside > _MOST_BESIDE_NONE:
        state = 'cut short' if held < promised else 'damaged'
        raise UserError(
            f'{path} is {state}: its header promises {shown_shape(header.shape)} numbers of {header.dtype}, '
            f'{promised} bytes, but {held} follow; get or make the file again'
        )
    return header


def read_npy(path: Path | str, *, mmap: bool = False) -> np.ndarray:
    """Reads an array of numbers.

    `path`: the file; `mmap`: map the file (read only, in the file's byte order) instead of reading it. Returns the
    array, in the file's order of axes and kind of numbers, and in the machine's byte order. Raises UserError: as
    `read_header`, or the array is larger than the memory.
    """
    header = read_header(path)
    order = 'F' if header.fortran_order else 'C'
    count = math.prod(header.shape)
    if mmap and count:
        with os_errors(path, 'read'):
            return np.memmap(header.path, header.dtype, 'r', header.offset, header.shape, order)
    with memory_for(count * header.dtype.itemsize, path):
        array = np.empty(count, header.dtype.newbyteorder('='))
    position = 0
    for block in _stream(header, max(1, _BLOCK_BYTES // header.dtype.itemsize)):
        array[position : position + len(block)] = block
        position += len(block)
    return array.reshape(header.shape, order=order)


def sequence_shape(header: Header, length: int) -> tuple[int, int, int] | None:
    """(N, T, J) of an array `[N*T, J]` or `[N, T, J]`, or None if it is neither or empty."""
    shape = header.shape
    if len(shape) == 2 and shape[0] % length == 0:
        shape = (shape[0] // length, length, shape[1])
    return shape if len(shape) == 3 and shape[1] == length and 0 not in shape else None


def read_blocks(header: Header, length: int) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray]]:
    """Reads the sequences in an array `[N*T, J]` or `[N, T, J]` piece by piece, in bounded memory.

    `header`: of the file, from `read_header`; `sequence_shape` must know it; `length`: T. Yields (index, piece), so
    that `array[index] = piece` puts an array `[N, T, J]` together. C order comes as whole sequences, Fortran order as
    columns. Raises UserError: the file cannot be read, or has been cut since its header was read.
    """
    num, frames, joints = sequence_shape(header, length)
    everything = slice(0, num), slice(0, frames), slice(0, joints)
    if not header.fortran_order:
        step = max(1, _BLOCK_BYTES // (header.dtype.itemsize * frames * joints))
        for count, block in enumerate(_stream(header, step * frames * joints)):
            piece = block.reshape(-1, frames, joints)
            yield (slice(count * step, count * step + len(piece)), *everything[1:]), piece
    elif len(header.shape) == 2:
        for joint, block in enumerate(_stream(header, num * frames)):
            yield (*everything[:2], slice(joint, joint + 1)), block.reshape(num, frames, 1)
    else:
        for count, block in enumerate(_stream(header, num)):
            joint, frame = divmod(count, frames)
            yield (everything[0], slice(frame, frame + 1), slice(joint, joint + 1)), block.reshape(num, 1, 1)


@contextlib.contextmanager
def memory_for(size: int, path: Path | str) -> Iterator[None]:
    """A context in which an array of `size` bytes is made; refuses more than the machine has.

    Raises UserError: the machine has not so much memory, or it cannot be had now.
    """
    problem = UserError(
        f'{path} needs {size / 2**30:.1f} GB of memory, more than can be had here; use a machine with more'
    )
    # Linux promises more memory than it has, and kills who uses it.
    with contextlib.suppress(AttributeError, ValueError, OSError):
        if size > os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'):
            raise problem
    try:
        yield
    except MemoryError as error:
        raise problem from error


def as_float32(values: object, what: str) -> np.ndarray:
    """Somebody's numbers, float32.

    Raises UserError: they are none; `what` says what they should be.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', np.exceptions.ComplexWarning)
            return np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError, np.exceptions.ComplexWarning) as error:
        raise UserError(f'{what} were expected as an array of numbers, found {type(values).__name__}') from error


def shown_shape(shape: tuple[int, ...]) -> str:
    return '[' + ', '.join(map(str, shape)) + ']'


def read_any_header(path: Path) -> Header:
    """The header alone; the array behind it is not looked at."""
    size = regular_size(path)
    with os_errors(path, 'read'), open(path, 'rb') as file:
        start = file.read(12 + _MAX_HEADER)
    if start.startswith(LFS_START):
        raise UserError(
            f"{path} is a Git LFS pointer and not the file itself; run 'git lfs pull' in its repository or download it"
        )
    if not start:
        raise UserError(f'{path} is empty; get or make the file again')
    if not start.startswith(_MAGIC):
        raise UserError(f'{path} should be a .npy file, but it starts with {start[:8]!r}; get or make the file again')
    damaged = UserError(f'{path} has no header that can be read as a .npy file; get or make the file again')
    file = io.BytesIO(start)
    try:
        dtype, fortran_order, shape = parse_header(file)
    except ValueError as error:
        raise damaged from error
    if not (dtype.hasobject or is_plain(dtype)):
        raise UserError(f'{path} should hold integers or floats of 1 to 8 bytes, found the type {dtype}; convert it')
    return Header(path, shape, dtype, fortran_order, file.tell(), size)


def parse_header(file: BinaryIO) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """Dtype, Fortran order and shape, from the beginning of a `.npy` file on; the file is then at its first number.

    Raises ValueError: it cannot be read.
    """
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 in the encoding of field names alone.
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Python 2 wrote `20L`
            shape, fortran_order, dtype = read(file, max_header_size=_MAX_HEADER)
    except (SyntaxError, MemoryError, RecursionError, OverflowError, TypeError, tokenize.TokenError) as error:
        raise ValueError(f'no header of a .npy file: {error}') from error
    if (
        version > (3, 0)
        or dtype.fields
        or len(shape) > 32
        or not all(type(size) is int and 0 <= size < 10**18 for size in shape)
    ):
        raise ValueError('no header of a .npy file')
    return dtype, fortran_order, shape


def is_plain(dtype: np.dtype) -> bool:
    """Whether an array holds integers, floats or booleans of 1 to 8 bytes."""
    return dtype.kind in 'iufb' and dtype.itemsize <= 8 and dtype.subdtype is None


def _stream(header: Header, count: int) -> Iterator[np.ndarray]:
    """The array's numbers as they lie in the file, `count` at a time, in the machine's byte order."""
    left = math.prod(header.shape)
    with os_errors(header.path, 'read'), open(header.path, 'rb') as file:
        file.seek(header.offset)
        while left:
            block = np.empty(min(count, left), header.dtype)
            if file.readinto(block.view(np.uint8)) != block.nbytes:
                raise UserError(f'{header.path} has been cut while it was read; get or make the file again')
            left -= len(block)
            yield block.astype(block.dtype.newbyteorder('='), copy=False)


def release_pages(array: np.ndarray) -> None:
    """Gives the pages of a memory map back to the system, which keeps what was written; other arrays stay."""
    source = array if getattr(array, 'mode', None) in ('r', 'r+', 'w+') else None  # of 'c', writes would be lost
    while isinstance(source, np.ndarray):
        source = source.base
    if isinstance(source, mmap.mmap) and hasattr(mmap, 'MADV_DONTNEED'):
        source.madvise(mmap.MADV_DONTNEED)
