"""TensorFlow's checkpoint bundles, `<prefix>.index` and `<prefix>.data-00000-of-00001`, without TensorFlow.

Written out for three reasons: nothing in a stranger's file can end the process or take all memory (TensorFlow 2.21
aborts on most indexes whose checksums are right and whose shapes or types are not); checkpoints are read on machines
without TensorFlow, and without the seconds that its import takes; and the bytes written are those of the original's
saver. `.meta` (a graph) and `checkpoint` (a text file with a path) are never read.

The index is a table: the key '' holds the number of data files, every other key is a variable and holds its dtype,
shape, place in the data file and checksum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sge_la.checkpoints.crc32c import masked_crc32c
from sge_la.checkpoints.table import MAX_KEY_BYTES, FormatError, read_table, read_varint, write_table, write_varint
from sge_la.errors import UserError
from sge_la.files.arrays import MAX_DATA_BYTES, MAX_RANK
from sge_la.files.atomic import LFS_START, os_errors, refuse_lfs_pointer, regular_size, replacing
from sge_la.files.text import write_text

# An encoder's index takes 2 KB and its data 34 MB; a recognition network on 2304 values of 10 frames takes 71 MB.
MAX_INDEX_BYTES = 1 << 20
# TensorFlow's numbers of the types that a checkpoint of ours can hold.
_DTYPES = {1: np.dtype('<f4'), 2: np.dtype('<f8'), 3: np.dtype('<i4'), 9: np.dtype('<i8'), 19: np.dtype('<f2')}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}
_HEADER = b'\x08\x01\x1a\x02\x08\x01'  # BundleHeaderProto: one data file, little endian, version 1


class Entry(NamedTuple):
    """Where one variable lies in the data file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int


def index_file(prefix: Path | str) -> Path:
    return Path(f'{prefix}.index')


def data_file(prefix: Path | str) -> Path:
    return Path(f'{prefix}.data-00000-of-00001')


def read_entries(prefix: Path | str) -> dict[str, Entry]:
    """Reads what a bundle holds, without the values.

    `prefix`: e.g. `folder/trained_model.ckpt`. Returns the entries by variable name, sorted; every one lies within the
    data file and none overlaps another. Raises UserError: a file is missing, a Git LFS pointer, damaged, cut short, or
    of another format.
    """
    index, data = index_file(prefix), data_file(prefix)
    if not index.is_file():
        raise UserError(f'no checkpoint: {index} was expected and is not there; train first, or check the folder')
    content = _checked_bytes(index)
    try:
        table = read_table(content)
        entries = {_name(key): _entry(value) for key, value in table if key}
        if not table or table[0][0] != b'' or not entries:
            raise FormatError('it names no variable')
        _check_header(table[0][1])
    except FormatError as error:
        raise UserError(f'{index} should be the index of a TensorFlow checkpoint, but {error}; get it again') from error
    if not data.is_file():
        raise UserError(f'{index.name} is there but {data} is not; copy both files of the checkpoint')
    _check_places(entries, data)
    return entries


def read_bundle(prefix: Path | str, wanted: Callable[[str], bool] | None = None) -> dict[str, np.ndarray]:
    """Reads the variables of a TensorFlow checkpoint.

    `prefix`: e.g. `folder/trained_model.ckpt`. `wanted`: says by its name whether a variable is read; None reads all.
    Returns arrays by variable name, in the dtype of the file; their checksums have been compared. Raises UserError: a
    file is missing, a Git LFS pointer, damaged, cut short, or of another format.
    """
    entries = read_entries(prefix)
    path = data_file(prefix)
    tensors = {}
    with os_errors(path, 'read'), open(path, 'rb') as file:
        for name, entry in entries.items():
            if wanted is not None and not wanted(name):
                continue
            tensor = np.empty(entry.shape, entry.dtype)
            file.seek(entry.offset)
            got = file.readinto(tensor.reshape(-1).view(np.uint8))
            if got != entry.size:
                raise UserError(f'{path} ended within {name!r} while it was read; is another program writing it?')
            if masked_crc32c(tensor) != entry.checksum:
                raise UserError(f'{path} is damaged: the checksum of {name!r} is wrong; get the file again')
            tensors[name] = tensor
    return tensors


def write_bundle(prefix: Path | str, tensors: Mapping[str, np.ndarray], *, checkpoint_state: bool = True) -> None:
    """Writes a TensorFlow checkpoint, which TensorFlow's readers and the original's saver load.

    Both files are written beside and flushed before either takes its place, the data first; a stop between the two
    leaves an index whose checksums do not fit the data, which every reader notices.

    `prefix`: e.g. `folder/trained_model.ckpt`; the folder exists. `tensors`: arrays of float16, float32, float64, int32
    or int64 by variable name. `checkpoint_state`: whether to write the text file `checkpoint`, by which TensorFlow
    finds the latest checkpoint. Raises UserError: the files cannot be written. Raises ValueError: nothing to write, an
    array of another dtype, or a name that no reader takes.
    """
    if not tensors:
        raise ValueError('a checkpoint needs at least one variable')
    with replacing(index_file(prefix)) as index, replacing(data_file(prefix)) as data:
        rows, offset = [(b'', _HEADER)], 0
        for key, tensor in sorted((name.encode(), tensor) for name, tensor in tensors.items()):
            values = np.asarray(tensor, order='C')
            values = values.astype(values.dtype.newbyteorder('<'), copy=False)
            if not 0 < len(key) <= MAX_KEY_BYTES:
                raise ValueError(f'{key.decode()!r:.40}: a name of 1 to {MAX_KEY_BYTES} bytes was expected')
            if values.dtype not in _NUMBERS or not values.size:
                raise ValueError(f'{key.decode()!r}: cannot store {values.dtype} {values.shape} in a checkpoint')
            entry = Entry(values.dtype, values.shape, offset, values.nbytes, masked_crc32c(values))
            rows.append((key, _encode_entry(entry)))
            data.write(values.reshape(-1).view(np.uint8))
            offset += values.nbytes
        index.write(write_table(rows))
    if checkpoint_state:
        stem = Path(prefix).name
        lines = f'model_checkpoint_path: "{stem}"\nall_model_checkpoint_paths: "{stem}"\n'
        write_text(Path(prefix).parent / 'checkpoint', lines)


def _checked_bytes(path: Path) -> bytes:
    size = regular_size(path)
    if size > MAX_INDEX_BYTES:
        raise UserError(f'{path} should be the index of a checkpoint, at most {MAX_INDEX_BYTES} bytes, and has {size}')
    with os_errors(path, 'read'):
        content = path.read_bytes()
    refuse_lfs_pointer(path, content)
    return content


def _check_places(entries: Mapping[str, Entry], path: Path) -> None:
    """Every variable within the data file, and no byte in two of them, so that nothing can swell."""
    size = regular_size(path)
    if size > MAX_DATA_BYTES:
        raise UserError(f'{path} has {size} bytes, and at most {MAX_DATA_BYTES} were expected; check which file it is')
    with os_errors(path, 'read'), open(path, 'rb') as file:
        refuse_lfs_pointer(path, file.read(len(LFS_START)))
    free = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].offset):
        end = entry.offset + entry.size
        if end > size:
            raise UserError(f'{path} is cut short: {name!r} ends at byte {end} and the file at {size}; get it again')
        if entry.offset < free:
            raise UserError(f'the index of {path} is damaged: {name!r} overlaps another variable; get it again')
        free = end


def _name(key: bytes) -> str:
    try:
        name = key.decode()
    except UnicodeDecodeError as error:
        raise FormatError('a name is no text') from error
    if not name.isprintable():
        raise FormatError(f'the name {name!r} holds control characters')
    return name


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The fields of a protocol buffer message by number: integers, or bytes for nested messages."""
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = read_varint(message, position)
        elif kind in (1, 2, 5):
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                size, position = read_varint(message, position)
            if position + size > len(message):
                raise FormatError('an entry is cut off')
            value = message[position : position + size]
            position += size
        else:
            raise FormatError('an entry is no protocol buffer')
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _field(fields: dict, number: int, kind: type, default: int | bytes) -> int | bytes:
    value = fields.get(number, [default])[-1]
    if not isinstance(value, kind):
        raise FormatError('an entry has a field of the wrong kind')
    return value


def _check_header(message: bytes) -> None:
    fields = _fields(message)
    shards, big_endian = _field(fields, 1, int, 0), _field(fields, 2, int, 0)
    if shards != 1:
        raise FormatError(f'it is split over {shards} data files, and one was expected')
    if big_endian:
        raise FormatError('its numbers are big-endian, and little-endian was expected')


def _entry(message: bytes) -> Entry:
    """Parses BundleEntryProto: 1 dtype, 2 shape, 3 data file, 4 offset, 5 size, 6 checksum, 7 slices."""
    fields = _fields(message)
    number = _field(fields, 1, int, 0)
    if number not in _DTYPES:
        raise FormatError(f'a variable is of a type (number {number}) that no checkpoint of this method has')
    if _field(fields, 3, int, 0) or fields.get(7):
        raise FormatError('a variable is split over files, which was not expected')
    shape = _fields(_field(fields, 2, bytes, b''))
    dims = tuple(_field(_fields(dim), 1, int, 0) for dim in shape.get(2, []) if isinstance(dim, bytes))
    if len(dims) > MAX_RANK or 0 in dims or 3 in shape:
        raise FormatError(f'a variable has the shape {list(dims)[: MAX_RANK + 1]}')
    dtype = _DTYPES[number]
    size = _field(fields, 5, int, 0)
    if math.prod(dims) * dtype.itemsize != size:
        raise FormatError(f'a variable of shape {list(dims)} says that it takes {size} bytes')
    checksum = int.from_bytes(_field(fields, 6, bytes, b''), 'little')
    return Entry(dtype, dims, _field(fields, 4, int, 0), size, checksum)


def _encode_entry(entry: Entry) -> bytes:
    shape = b''
    for dim in entry.shape:
        size = b'\x08' + write_varint(dim)
        shape += b'\x12' + write_varint(len(size)) + size
    message = b'\x08' + write_varint(_NUMBERS[entry.dtype]) + b'\x12' + write_varint(len(shape)) + shape
    if entry.offset:
        message += b'\x20' + write_varint(entry.offset)
    return message + b'\x28' + write_varint(entry.size) + b'\x35' + entry.checksum.to_bytes(4, 'little')
