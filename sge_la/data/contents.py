"""Looks at what the arrays of one split hold; part of `checking`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from sge_la.data.findings import Part, Report
from sge_la.data.holdout import frame_hashes
from sge_la.data.npy import Header, memory_for, read_blocks, read_header, read_npy, sequence_shape
from sge_la.data.reading import check_ids, first_unlike, read_recordings
from sge_la.errors import UserError
from sge_la.layout import AXES, SplitFiles

# A Kinect sees people at 0.5 to 8 metres.
_FAR = 10.0


def read_coordinates(report: Report, headers: list[Header]) -> np.ndarray:
    """Reads x, y and z as float32 `[N, T, J, 3]`; what is not finite is told and left in."""
    shape = (*sequence_shape(headers[0], report.length), len(headers))
    with memory_for(4 * int(np.prod(shape)), headers[0].path.parent):
        skeletons = np.empty(shape, np.float32)
    for axis, header in enumerate(tqdm(headers, desc='reading', unit='file', leave=False, disable=None)):
        with np.errstate(over='ignore'):
            for index, block in read_blocks(header, report.length):
                skeletons[..., axis][index] = block
        finite = np.isfinite(skeletons[..., axis])
        if not finite.all():
            sequence, frame, joint = (int(number) for number in np.argwhere(~finite)[0])
            report.found_bad(
                header.path,
                f'{header.path} has {int((~finite).sum())} coordinates that are NaN, infinite or too large, the first '
                f'in row {sequence * report.length + frame} (sequence {sequence}, frame {frame}) at joint {joint}; '
                'correct or remake it',
            )
    return skeletons


def check_coordinates(report: Report, part: Part, what: str) -> None:
    skeletons, files = part.skeletons, part.files
    part.hashes = frame_hashes(skeletons)
    for axis, letter in enumerate(AXES):
        values = skeletons[..., axis]
        constant = np.flatnonzero((values == values[:1, :1]).all(axis=(0, 1)))
        if len(constant) and len(values) > 1:
            report.found_odd(
                files.source(letter),
                f'{files.source(letter)}: the same value in every frame at joint {_numbers(constant)}',
            )
        with np.errstate(invalid='ignore'):
            far = np.abs(values) > _FAR
        if far.any():
            sequence = int(np.argmax(far.any(axis=(1, 2))))
            largest = float(np.nanmax(np.abs(values)))
            hint = '; are these millimetres?' if far.mean() > 0.1 else ''
            report.found_odd(
                files.source(letter),
                f'{files.source(letter)}: {int(far.sum())} coordinates are farther than {_FAR:g} m (up to '
                f'{largest:g}), the first in sequence {sequence}{hint}',
            )
    if report.length > 1:
        same = part.hashes[:, 1:] == part.hashes[:, :-1]
        if same.any():
            report.found_odd(
                files.source('x'),
                f'{what}: {int(same.sum())} frames repeat the frame before them, {int(same.all(axis=1).sum())} '
                f'sequences stand still, the first repeat is in sequence {int(np.argmax(same.any(axis=1)))}',
            )


def _numbers(values: Iterable[int], most: int = 8) -> str:
    values = list(map(int, values))
    return ', '.join(map(str, values[:most])) + (' ...' if len(values) > most else '')


def check_targets(report: Report, files: SplitFiles, skeletons: np.ndarray) -> None:
    for axis, letter in enumerate(AXES):
        path = files.target(letter)
        if report.good_row(path) is None:
            continue
        bad = first_unlike(read_header(path), skeletons[..., axis])
        if bad is not None:
            report.found_bad(
                path, f'{path} is not {files.source(letter).name} reversed in time, first in sequence {bad}; delete it'
            )


def check_identities(report: Report, part: Part) -> None:
    count, path = len(part.skeletons), part.files.ids
    try:
        check_ids(part.ids, count, path)
    except UserError as error:
        report.found_bad(path, str(error))
        part.ids = None
        return
    unused = np.flatnonzero(part.labels < 0)
    if len(unused):
        report.found_odd(path, f'{path}: {len(unused)} of {count} sequences belong to nobody: {_numbers(unused)}')
    _, first, inverse = np.unique(_sequence_hashes(part.hashes), return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[inverse] != np.arange(count))
    others = copies[part.labels[copies] != part.labels[first[inverse[copies]]]]
    if len(others):
        copy, original = int(others[0]), int(first[inverse[others[0]]])
        report.found_bad(
            path,
            f'{path}: {len(others)} sequences are those of another identity, such as sequence {copy} of identity '
            f'{part.labels[copy]}, which equals sequence {original} of identity {part.labels[original]}; correct it',
        )
    elif len(copies):
        twice = f'{first[inverse[copies[0]]]} and {copies[0]}'
        report.found_odd(path, f'{path}: {len(copies)} sequences occur more than once, such as {twice}')


def _sequence_hashes(hashes: np.ndarray) -> np.ndarray:
    """One number a sequence from those of its frames `[N, T]`; the order of the frames counts."""
    weights = np.random.default_rng(1).integers(1, 2**63, hashes.shape[1], dtype=np.uint64) * 2 + 1
    return (hashes * weights).sum(axis=1, dtype=np.uint64)


def check_recordings(report: Report, part: Part, what: str) -> None:
    path = part.files.recording
    row = report.good_row(path)
    if row is None:
        return
    part.recordings = report.attempt(path, lambda: read_recordings(part.files, len(part.skeletons)))
    if part.recordings is None:
        return
    numbers, inverse = np.unique(part.recordings, return_inverse=True)
    row.sequences = len(part.recordings)
    if part.ids is not None:
        for number in numbers:
            people = np.unique(part.labels[part.recordings == number])
            people = people[people >= 0]
            if len(people) > 1:
                report.found_bad(path, f'{path}: recording {number} has sequences of identities {_numbers(people)}')
                return
    copies: dict[bytes, int] = {}
    for index, number in enumerate(numbers):
        content = part.hashes[inverse == index].tobytes()
        if content in copies:
            report.found_bad(path, f'{what}: recording {number} repeats recording {copies[content]} ({path})')
        copies.setdefault(content, int(number))


def check_frame_id(report: Report, part: Part) -> None:
    path = part.files.frame_id
    if report.good_row(path) is None or part.labels is None:
        return
    values = read_npy(path)
    if values.shape != part.labels.shape or (values != part.labels).any():
        report.found_odd(path, f'{path} differs from {part.files.ids.name}, which is what counts')
