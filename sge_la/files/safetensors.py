"""Safetensors: float32 arrays by name with texts beside them, through the package of that name, within bounds.

The package checks the header: every tensor lies in the file, none twice, none upon another. How large a file may be,
how many tensors and what kinds of numbers are checked here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sge_la.errors import UserError
from sge_la.files.arrays import MAX_DATA_BYTES, MAX_RANK
from sge_la.files.atomic import LFS_START, os_errors, refuse_lfs_pointer, regular_size

ENDING = '.safetensors'
_MAX_HEADER_BYTES, _MAX_TENSORS = 1 << 20, 1000


def refuse_without_package(wish: str) -> None:
    """Raises a `UserError` if the package is not installed; `wish`: what needs it."""
    if find_spec('safetensors') is None:
        raise UserError(f'{wish} needs the package safetensors, which is not installed: pip install safetensors')


def write_safetensors(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes float32 arrays and texts into an open file, from its beginning on.

    Raises UserError: the texts are longer than would be read again.
    """
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}, dict(metadata))
    if int.from_bytes(content[:8], 'little') > _MAX_HEADER_BYTES:
        raise UserError(
            f'names and descriptions of at most {_MAX_HEADER_BYTES} bytes fit into a {ENDING} file, and these are '
            'longer: leave out the people'
        )
    file.write(content)


def read_safetensors(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads all arrays, float32 by name, and the texts.

    Raises UserError: the file is missing, a Git LFS pointer, damaged, too large, or holds anything but float32.
    """
    with _opened(path) as file:
        names = list(file.keys())
        if len(names) > _MAX_TENSORS or not all(name.isprintable() for name in names):
            raise ValueError(f'it holds more than {_MAX_TENSORS} tensors or unprintable names')
        for name in names:
            header = file.get_slice(name)
            kind, shape = header.get_dtype(), header.get_shape()
            if kind != 'F32' or len(shape) > MAX_RANK or 0 in shape:
                raise ValueError(f'{name!a} holds {kind} {shape!s:.80}, and float32 was expected')
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def read_metadata(path: Path | str) -> dict[str, str]:
    """Reads the texts alone; errors as of `read_safetensors`."""
    with _opened(path) as file:
        return file.metadata() or {}


def parsed(metadata: Mapping[str, str], name: str, path: Path | str) -> Any:
    """The JSON value that one of the texts holds; None where it is not there.

    Raises UserError: it is no JSON.
    """
    try:
        return json.loads(metadata.get(name, 'null'))
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path} should hold JSON as {name!a}, and does not; get the file again') from error


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    size = regular_size(path)
    refuse_without_package(str(path))
    from safetensors import SafetensorError, safe_open

    with os_errors(path, 'read'), open(path, 'rb') as file:
        start = file.read(len(LFS_START))
    refuse_lfs_pointer(Path(path), start)
    if size > MAX_DATA_BYTES or int.from_bytes(start[:8], 'little') > _MAX_HEADER_BYTES:
        raise UserError(
            f'{path} should be a {ENDING} file of at most {MAX_DATA_BYTES} bytes, {_MAX_HEADER_BYTES} of them before '
            'its numbers, and is not: check which file it is'
        )
    try:
        with os_errors(path, 'read'), safe_open(str(path), framework='numpy') as file:
            yield file
    except (SafetensorError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise UserError(f'{path} should be a sound {ENDING} file, but {error!s:.200}; get it again') from error
