"""NumPy's `.npz`, uncompressed, with checks: arrays by name and, if wanted, one JSON object beside them.

Every member of a ZIP file carries a checksum, which is compared when it is read, so a damaged file is noticed. Sizes
are believed only as far as the file itself is long; members that are compressed, objects or twice there are refused.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.errors import UserError
from sge_la.files.arrays import MAX_DATA_BYTES, MAX_RANK, is_plain, parse_header
from sge_la.files.atomic import LFS_START, os_errors, refuse_lfs_pointer, regular_size, replacing
from sge_la.files.text import has_too_many_parts

MAX_MEMBERS = 10_000
_MAX_DIRECTORY_BYTES = 200 * MAX_MEMBERS
_META = 'meta.json'
MAX_META_BYTES = 1 << 24
_KINDS = 'fiub'  # floats, integers, booleans


def write_npz(path: Path | str, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any] | None = None) -> None:
    """Writes arrays as an uncompressed `.npz`, whole or not at all.

    `path`: the file; `arrays`: numbers or booleans by name; names may hold slashes; `meta`: what JSON can hold, and
    NumPy's numbers; kept as the member `meta.json`. Raises UserError: it cannot be written. Raises ValueError: an array
    holds anything else, or meta holds NaN or infinity.
    """
    with replacing(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            values = np.asarray(array, order='C')
            if values.dtype.kind not in _KINDS:
                raise ValueError(f'{name!r}: cannot store {values.dtype} in {path}')
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
            # A ZipInfo of its own has the date 1980-01-01: equal content gives equal bytes, whatever the clock says.
            info = zipfile.ZipInfo(f'{name}.npy')
            info.file_size = header.tell() + values.nbytes
            with archive.open(info, 'w') as member:
                member.write(header.getvalue())
                member.write(values.reshape(-1).view(np.uint8).data if values.size else b'')
        if meta is not None:
            archive.writestr(
                zipfile.ZipInfo(_META), json.dumps(meta, allow_nan=False, default=lambda value: value.tolist())
            )


def read_npz(
    path: Path | str, wanted: Callable[[str], bool] | None = None, limit: int = MAX_DATA_BYTES
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `write_npz` or `numpy.savez` wrote.

    `path`: the file; `wanted`: says by its name whether an array is read; None reads all; `limit`: the largest size in
    bytes that is read. Returns the arrays by name, and meta ({} if there is none). Raises UserError: it is missing, a
    Git LFS pointer, damaged, compressed, or holds anything but plain arrays.
    """
    path = Path(path)
    size = regular_size(path)
    if size > limit:
        raise UserError(f'{path} has {size} bytes, and at most {limit} were expected; check which file it is')
    with os_errors(path, 'read'), _Opened(path) as file:
        refuse_lfs_pointer(path, file.read(len(LFS_START)))
        try:
            with zipfile.ZipFile(file) as archive:
                file.at_once = size
                return _read_members(archive, size, wanted)
        # What zipfile raises for damaged files differs by version and by the byte that is wrong.
        except (
            zipfile.BadZipFile,
            EOFError,
            ValueError,
            KeyError,
            NotImplementedError,
            RuntimeError,
            struct.error,
        ) as error:
            raise UserError(f'{path} should be an .npz file of plain arrays, but {error}; get it again') from error


class _Opened(io.FileIO):
    """An open file that gives few bytes at once until its directory is read, which zipfile would parse whole."""

    at_once = _MAX_DIRECTORY_BYTES

    def read(self, size: int = -1) -> bytes:
        if size > self.at_once:
            raise ValueError(f'its directory has {size} bytes, more than {MAX_MEMBERS} members need')
        return super().read(size)


def _read_members(archive: zipfile.ZipFile, size: int, wanted) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS or len({member.filename for member in members}) != len(members):
        raise ValueError(f'it has a member twice or more than {MAX_MEMBERS}')
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f'{member.filename!r} is compressed, and plain arrays (numpy.savez) were expected')
    # Stored members that do not overlap cannot be larger than the file.
    if sum(member.file_size for member in members) > size:
        raise ValueError('its members say that they are larger than the file')
    arrays, meta = {}, {}
    for member in members:
        name = member.filename.removesuffix('.npy')
        if not name.isprintable():
            raise ValueError(f'the name {name!r} holds control characters')
        if member.filename == _META:
            meta = _read_meta(archive, member)
        elif name == member.filename:
            raise ValueError(f'its member {name!r} is no array')
        elif wanted is None or wanted(name):
            with archive.open(member) as stream:
                arrays[name] = _read_array(stream, member)
    return arrays, meta


def _read_meta(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> dict[str, Any]:
    if member.file_size > MAX_META_BYTES:
        raise ValueError(f'{_META} is larger than {MAX_META_BYTES} bytes')
    text = archive.read(member)
    if has_too_many_parts(text):
        raise ValueError(f'{_META} holds more lists and objects than any of ours')
    try:
        meta = json.loads(text)
    except RecursionError as error:
        raise ValueError(f'{_META} is nested too deep') from error
    if not isinstance(meta, dict):
        raise ValueError(f'{_META} is no JSON object')
    return meta


def _read_array(stream, member: zipfile.ZipInfo) -> np.ndarray:
    """Reads one array whose size in the header agrees with the member's."""
    name, content = member.filename, io.BytesIO(stream.read())  # all of it: the checksum is compared at the end
    try:
        dtype, fortran_order, shape = parse_header(content)
    except ValueError as error:
        raise ValueError(f'{name!r} is no plain array of numbers') from error
    if not is_plain(dtype):
        raise ValueError(f'{name!r} is no plain array of numbers but of {dtype}')
    size, room = math.prod(shape) * dtype.itemsize, member.file_size - content.tell()
    if size != room or len(shape) > MAX_RANK or max(shape, default=0) > MAX_DATA_BYTES:
        raise ValueError(f'{name!r} of shape {shape} takes {size} bytes and has {room}')
    array = np.frombuffer(content.getbuffer(), dtype, offset=content.tell())
    array = array.reshape(shape, order='F' if fortran_order else 'C')
    return array.astype(dtype.newbyteorder('='), order='C', copy=False)  # a gallery may fill half of the memory
