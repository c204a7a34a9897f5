"""Reads one split of a data set (the training set, or one test set) and checks all of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.backends.room import fits_memory
from sge_la.data.dataset import Split
from sge_la.data.ids import read_ids
from sge_la.data.layout import AXES, SplitFiles
from sge_la.data.mapped import MappedSkeletons
from sge_la.errors import UserError
from sge_la.files.arrays import Header, memory_for, read_blocks, read_header, read_npy, sequence_shape


def read_split(
    files: SplitFiles, length: int, joints: int | None = None, dtype: type[np.floating] = np.float32
) -> Split:
    """Reads one split and checks it.

    Coordinates go straight into one array, a few megabytes at a time, so that nothing is held twice; those of more than
    half of the memory stay in their files (`MappedSkeletons`).

    `files`: the names of its files; `length`: T; `joints`: J where it is known; `dtype`: of the coordinates; float64
    only where they are written again. Returns the split. Sequences that no identity has are kept: pretraining in file
    order uses them, as in the original. Raises UserError: a file is missing, damaged or does not fit the others; each
    case in one sentence.
    """
    headers = axis_headers(files, length, joints)
    count = sequence_shape(headers[0], length)[0]
    ids = read_ids(files.ids)
    check_ids(ids, count, files.ids)
    recordings = read_recordings(files, count)
    held = _held(headers, length, dtype)
    # What stays in its files is indexed as an array is.
    skeletons: Any = read_skeletons(headers, length, dtype) if held else mapped(headers, length)
    check_targets(files, skeletons)
    return Split(skeletons, ids, recordings)


def axis_headers(files: SplitFiles, length: int, joints: int | None = None) -> list[Header]:
    """The headers of the source files of x, y and z, checked against each other.

    Raises UserError: a file is missing or damaged, an array is not `[N*T, J]` or `[N, T, J]`, or the shapes differ.
    """
    headers: list[Header] = []
    for axis in AXES:
        headers.append(axis_header(files, axis, length, joints, headers[0] if headers else None))
    return headers


def axis_header(
    files: SplitFiles, axis: str, length: int, joints: int | None = None, first: Header | None = None
) -> Header:
    """The header of one axis' source file, checked; `first` is the one that it should agree with.

    Raises UserError: as `axis_headers`.
    """
    header = read_header(files.source(axis))
    _check_shape(header, length, joints)
    if first is not None and sequence_shape(header, length) != sequence_shape(first, length):
        raise UserError(
            f'x, y and z of a data set should have the same shape, but {header.path} has {list(header.shape)} and '
            f'{first.path.name} {list(first.shape)}; get or make the files again'
        )
    return header


def _check_shape(header: Header, length: int, joints: int | None) -> None:
    shape, path = header.shape, header.path
    if len(shape) not in (2, 3) or 0 in shape or header.dtype.kind == 'b':
        raise UserError(
            f'{path} should hold coordinates [sequences × {length} frames, joints], found an array {list(shape)} of '
            f'{header.dtype}; get or make the file again'
        )
    if joints is not None and shape[-1] != joints:
        raise UserError(
            f'{path} should have {joints} joints (columns), found {shape[-1]}; check that it is of this data set, and '
            'that all its files are of one kind'
        )
    if sequence_shape(header, length) is None:
        found = f'has {shape[0]} rows' if len(shape) == 2 else f'has sequences of {shape[1]}'
        raise UserError(f'{path} should hold whole sequences of {length} frames, but {found}; check the length')


def _held(headers: list[Header], length: int, dtype: type[np.floating]) -> bool:
    """Whether the coordinates are read into memory; columns, as Fortran order has them, cannot be read by sequence."""
    size = np.dtype(np.float32).itemsize * math.prod(sequence_shape(headers[0], length)) * len(headers)
    columns = any(header.fortran_order for header in headers)
    return dtype is not np.float32 or columns or fits_memory(size)


def mapped(headers: list[Header], length: int) -> MappedSkeletons:
    """Checks x, y and z as `read_skeletons` does, and leaves them in their files.

    Raises UserError: a coordinate is NaN, infinite or too large (file and first such row are named).
    """
    for header in headers:
        for index, block in read_blocks(header, length):
            _finite(header, index, block, length, np.dtype(np.float32))
    return MappedSkeletons(headers, length)


def read_skeletons(headers: list[Header], length: int, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """Reads x, y and z into one array `[N, T, J, 3]`.

    Raises UserError: a coordinate is NaN, infinite or too large for the dtype (file and first such row are named), or
    there is not enough memory.
    """
    shape = (*sequence_shape(headers[0], length), len(headers))
    with memory_for(np.dtype(dtype).itemsize * math.prod(shape), headers[0].path.parent):
        skeletons = np.empty(shape, dtype)
    for axis, header in enumerate(headers):
        for index, block in read_blocks(header, length):
            skeletons[..., axis][index] = _finite(header, index, block, length, skeletons.dtype)
    return skeletons


def _finite(header: Header, index: tuple[slice, slice, slice], block: np.ndarray, length: int, dtype: np.dtype):
    """A block in another dtype, refused unless all of it is finite there."""
    piece = _cast(block, dtype)
    finite = np.isfinite(piece)
    if not finite.all():
        raise _not_finite(header.path, index, finite, block, length)
    return piece


def _cast(block: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A block in another dtype; what is too large for it becomes infinite."""
    with np.errstate(over='ignore'):
        return block.astype(dtype, copy=False)


def _not_finite(
    path: Path, index: tuple[slice, slice, slice], finite: np.ndarray, block: np.ndarray, length: int
) -> UserError:
    first = tuple(np.argwhere(~finite)[0])
    sequence, frame, joint = (int(start.start + offset) for start, offset in zip(index, first, strict=True))
    return UserError(
        f'{path} should hold finite numbers, but row {sequence * length + frame} has {block[first]} at joint {joint} '
        f'(sequence {sequence}, frame {frame}, all counted from 0); correct the file or make it again'
    )


def check_targets(files: SplitFiles, skeletons: np.ndarray) -> None:
    """Checks that the target files, where they are, hold each sequence reversed in time. Nothing else reads them.

    Raises UserError: one does not; the file and the first such sequence are named.
    """
    for axis, letter in enumerate(AXES):
        path = files.target(letter)
        bad = first_unlike(read_header(path), skeletons[..., axis]) if path.exists() else None
        if bad is not None:
            raise UserError(
                f'{path} should be {files.source(letter).name} with each sequence reversed in time, but sequence {bad} '
                '(from 0) is not; delete the target files, which are not needed, or make the data set again'
            )


def first_unlike(header: Header, source: np.ndarray) -> int | None:
    """The first sequence of a target file that is not the source's reversed in time, or None.

    `header`: of the target file; `source`: `[N, T, J]`, in whose dtype the two are compared.
    """
    if sequence_shape(header, source.shape[1]) != source.shape:
        return 0
    bad = []
    for index, block in read_blocks(header, source.shape[1]):
        unlike = (_cast(block, source.dtype) != source[:, ::-1][index]).any(axis=(1, 2))
        if unlike.any():
            bad.append(index[0].start + int(np.argmax(unlike)))
    return min(bad, default=None)


def check_ids(ids: dict[int, np.ndarray], count: int, path: Path) -> None:
    """Checks that identities share out the sequences of an array.

    `ids`: label → indices, from `read_ids`; `count`: N, the sequences that the arrays hold; `path`: the ids' file, for
    the errors. Raises UserError: an identity has no sequence, or one beyond the array; or a sequence is named twice.
    """
    owner = np.full(count, -1, np.int64)
    for label, indices in ids.items():
        if not len(indices):
            raise UserError(
                f'{path}: every identity should have a sequence, but identity {label} has none; make the file again '
                'without it'
            )
        if indices.max() >= count:
            raise UserError(
                f'{path}: identity {label} has the sequence {indices.max()}, but the arrays hold {count} (counted from '
                '0); check that ids and arrays are of one set and length'
            )
        taken = owner[indices] >= 0
        values, times = np.unique(indices, return_counts=True)
        if taken.any() or times.max() > 1:
            twice = int(indices[taken][0]) if taken.any() else int(values[times > 1][0])
            other = f'identities {owner[twice]} and {label}' if taken.any() else f'identity {label}'
            raise UserError(
                f'{path}: every sequence should be named once, but sequence {twice} is named twice, by {other}; '
                'make the file again'
            )
        owner[indices] = label


def read_recordings(files: SplitFiles, count: int) -> np.ndarray | None:
    """The recording of each sequence, int64 `[N]`, or None where there is no such file.

    Raises UserError: the file does not hold `count` whole numbers.
    """
    if not files.recording.exists():
        return None
    recordings = read_npy(files.recording)
    if recordings.shape != (count,) or recordings.dtype.kind not in 'iu':
        raise UserError(
            f'{files.recording} should hold one whole number for each of the {count} sequences, found an array '
            f'{list(recordings.shape)} of {recordings.dtype}; delete it, which is allowed, or make the data set again'
        )
    return recordings.astype(np.int64, copy=False)
