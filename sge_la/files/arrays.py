"""Reads `.npy` files that strangers made.

Nothing in a file is run, and no size in it is believed unchecked: a header is compared with the size of its file before
anything is allocated. Numbers of any common kind are read, in C or Fortran order and either byte order; objects only as
the dictionary of identities (`data.ids`).
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sge_la.errors import UserError
from sge_la.files.atomic import os_errors, regular_size

MAX_DATA_BYTES = 1 << 30
MAX_RANK = 8
_MAGIC = b'\x93NUMPY'
_LFS = b'version https://git-lfs'
_MAX_HEADER = 10_000
_BLOCK_BYTES = 4 * 2**20
_BLANKS = str.maketrans('\t\r\n', '   ')
_FIELD = re.compile(r"""['"](\w+)['"] *: *(?:'([^']*)'|"([^"]*)"|(True|False)|\(([ \d,L]*)\)) *(?:,|$) *""")


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
    # In an array without elements a dimension may say anything, and NumPy chokes on large ones.
    if held != promised or max(header.shape, default=0) > header.size:
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


def shown_shape(shape: tuple[int, ...]) -> str:
    return '[' + ', '.join(map(str, shape)) + ']'


def read_any_header(path: Path) -> Header:
    """The header alone; the array behind it is not looked at."""
    size = regular_size(path)
    with os_errors(path, 'read'), open(path, 'rb') as file:
        start = file.read(12 + _MAX_HEADER)
    if start.startswith(_LFS):
        raise UserError(
            f"{path} is a Git LFS pointer and not the file itself; run 'git lfs pull' in its repository or download it"
        )
    if not start:
        raise UserError(f'{path} is empty; get or make the file again')
    if not start.startswith(_MAGIC):
        raise UserError(f'{path} should be a .npy file, but it starts with {start[:8]!r}; get or make the file again')
    damaged = UserError(f'{path} has no header that can be read as a .npy file; get or make the file again')
    if len(start) < 12 or start[6:8] not in (b'\x01\x00', b'\x02\x00', b'\x03\x00'):
        raise damaged
    width = 2 if start[6] == 1 else 4
    offset = 8 + width + int.from_bytes(start[8 : 8 + width], 'little')
    if offset > min(len(start), 8 + width + _MAX_HEADER):
        raise damaged
    fields = _parse_fields(start[8 + width : offset])
    if fields is None:
        raise damaged
    return Header(path, fields[2], _dtype(fields[0], path), fields[1], offset, size)


def _parse_fields(text: bytes) -> tuple[str, bool, tuple[int, ...]] | None:
    """(descr, fortran_order, shape) of a header such as `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 20), }`.

    Only this is understood: a general parser of Python literals can be made to use up the stack.
    """
    if not text.isascii():
        return None
    literal = text.decode('ascii').translate(_BLANKS).strip(' ')
    if not (literal.isprintable() and literal.startswith('{') and literal.endswith('}')):
        return None
    literal = literal[1:-1].strip(' ')
    found: dict[str, str] = {}
    position = 0
    while position < len(literal):
        match = _FIELD.match(literal, position)
        if match is None or match[1] in found:
            return None
        found[match[1]] = next(group for group in match.groups()[1:] if group is not None)
        position = match.end()
    if set(found) != {'descr', 'fortran_order', 'shape'} or found['fortran_order'] not in ('True', 'False'):
        return None
    # Python 2 wrote `20L`.
    sizes = [size.strip(' ').removesuffix('L') for size in found['shape'].split(',')]
    if sizes[-1] == '':
        sizes.pop()
    if len(sizes) > 32 or not all(re.fullmatch(r'0|[1-9]\d{0,17}', size) for size in sizes):
        return None
    return found['descr'], found['fortran_order'] == 'True', tuple(map(int, sizes))


def _dtype(descr: str, path: Path) -> np.dtype:
    if re.fullmatch(r'[|<>=]?O\d?', descr):
        return np.dtype(object)
    if not re.fullmatch(r'[|<>=]?([iu][1248]|f[248]|b1)', descr):
        raise UserError(
            f'{path} should hold integers or floats of 1 to 8 bytes, found the type {descr[:40]!r}; convert it'
        )
    return np.dtype(descr)


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
