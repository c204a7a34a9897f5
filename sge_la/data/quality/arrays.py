"""What can be wrong with a data set, looked for file by file; the command is `check`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from sge_la.data.arrays import axis_header, check_ids, first_unlike, read_recordings
from sge_la.data.holdout import frame_hashes
from sge_la.data.ids import read_ids
from sge_la.data.layout import AXES, DatasetFiles, SplitFiles, check_dataset_name, dataset_files
from sge_la.data.loading import (
    LAYOUT_ORDER,
    check_test_identities,
    find,
    is_begun,
    is_open_set,
    names_in,
    open_set_oddity,
    present_tests,
    read_record,
    read_skeleton,
    record_path,
    split_files,
)
from sge_la.data.quality.findings import COPIES, SHARED_FRAMES, FileRow, Finding, Part, Report
from sge_la.data.quality.leaks import check_near_copies, check_recordings_apart
from sge_la.data.quality.lost import lost_joints
from sge_la.data.quality.recordings import check_plausible, recording_names
from sge_la.data.quality.requirements import requirements
from sge_la.data.raw.text import alike_people
from sge_la.errors import UserError, bar, listed
from sge_la.files.arrays import Header, memory_for, read_blocks, read_header, read_npy, sequence_shape
from sge_la.settings.papers import facts

# A Kinect sees people at 0.5 to 8 metres.
_FAR = 10.0


def check(
    name: str, length: int = 6, data_dir: Path | str = 'Datasets', *, view: int | None = None, layout: int | None = None
) -> Report:
    """Looks through a data set; goes on after a bad file as far as it can.

    `name`: e.g. 'BIWI'; `length`: T, frames in a sequence; `data_dir`: the folder `Datasets/`; `view`: KS20's or
    CASIA-B's view, or None; `layout`: 1, 2 or 3, or None for the first that has files. Returns what was found. Raises
    UserError: there is no such data set at all.
    """
    files = _choose(name, length, data_dir, view, layout)
    report = Report(name, length, files.layout, files.root)
    train = _check_split(report, files.train, facts(name).joints, 'training set')
    report.train = train.skeletons
    joints = None if train.skeletons is None else train.skeletons.shape[2]
    if joints is not None:
        path = files.train.folder / 'skeleton.json'
        report.skeleton = report.attempt(path, lambda: read_skeleton(files, joints))
    parts = {'training set': train}
    record = record_path(files)
    content = report.attempt(record, lambda: read_record(files)) or {}
    names = recording_names(content)
    for test in present_tests(files):
        what = f'test set {test}'
        parts[what] = _check_split(report, files.tests[test], joints, what)
        _compare(report, train, parts[what], what, names)
        if view is None:
            check_recordings_apart(report, train, parts[what], what, names)
    _check_people(report, train, facts(name).identities)
    check_plausible(report, {what: part for what, part in parts.items() if part.skeletons is not None}, record, content)
    for text in alike_people(names_in(content).values()):
        report.found_odd(record, text)
    _check_strays(report, files)
    report.needs = requirements(report, train, list(parts.values())[1:], data_dir, view)
    order = {row.path: index for index, row in enumerate(report.files)}
    report.bad.sort(key=lambda finding: order.get(finding.path, len(order)))
    return report


def _choose(name: str, length: int, data_dir: Path | str, view: int | None, layout: int | None) -> DatasetFiles:
    check_dataset_name(name)
    for number in LAYOUT_ORDER if layout is None else (layout,):
        files = dataset_files(data_dir, name, length, number, view)
        if any(map(is_begun, (files.train, *files.tests.values()))):
            return files
    # Says where it was looked for and how it is made.
    return find(name, length, data_dir, view=view, layout=layout)[0]


# One split.


def _check_split(report: Report, files: SplitFiles, joints: int | None, what: str) -> Part:
    part = Part(files)
    rows = _list_files(report, files)
    headers = _axis_headers(report, files, rows, joints)
    if len(headers) == len(AXES):
        part.skeletons = read_coordinates(report, headers)
        check_coordinates(report, part, what)
        check_targets(report, files, part.skeletons)
    if files.ids.exists():
        part.ids = report.attempt(files.ids, lambda: read_ids(files.ids))
    if part.ids is not None:
        rows[files.ids].people = len(part.ids)
        rows[files.ids].sequences = sum(map(len, part.ids.values()))
        rows[files.ids].dtype = 'dictionary'
        if part.skeletons is not None:
            check_identities(report, part)
    if part.skeletons is not None:
        check_recordings(report, part, what)
        check_frame_id(report, part)
    return part


def _axis_headers(report: Report, files: SplitFiles, rows: dict[Path, FileRow], joints: int | None) -> list[Header]:
    """The headers of the good ones among the source files of x, y and z."""
    headers: list[Header] = []
    for axis in AXES:
        path = files.source(axis)
        # What is wrong with the file itself has been told.
        if rows[path].state == 'good':
            first = headers[0] if headers else None
            header = report.attempt(path, partial(axis_header, files, axis, report.length, joints, first))
            headers += [] if header is None else [header]
    return headers


def _list_files(report: Report, files: SplitFiles) -> dict[Path, FileRow]:
    """Puts each file that is there, or should be, into the table; reads headers only."""
    needed = split_files(files)
    optional = [*map(files.target, AXES), files.frame_id, files.recording]
    rows = {}
    for path in [*needed, *(path for path in optional if path.exists())]:
        row = rows[path] = FileRow(path)
        report.files.append(row)
        if not path.exists():
            row.state = 'MISSING'
            report.bad.append(Finding(path, f'{path} is missing; get or make it again'))
        elif path != files.ids:
            header = report.attempt(path, partial(read_header, path))
            if header is not None:
                row.shape, row.dtype = header.shape, str(header.dtype)
                shape = sequence_shape(header, report.length)
                if shape is not None:
                    row.sequences, row.frames = shape[0], shape[0] * shape[1]
    return rows


# Between splits.


def _compare(report: Report, train: Part, test: Part, what: str, names: dict[int, str]) -> None:
    """Looks for test people that training lacks, and for frames and near copies that are on both sides."""
    if train.ids is not None and test.ids is not None:
        path = test.files.ids
        if not is_open_set(report.name):
            report.attempt(path, lambda: check_test_identities(test.ids, sorted(train.ids), path))
        elif text := open_set_oddity(test.ids, sorted(train.ids), path):
            report.found_odd(path, text)
    if train.skeletons is None or test.skeletons is None or train.skeletons.shape[2] != test.skeletons.shape[2]:
        return
    # Untracked frames are often all zero: equal, but no leak.
    flat = (test.skeletons == test.skeletons[:, :, :1]).all(axis=(2, 3))
    shared = np.isin(test.hashes, train.hashes) & ~flat
    if shared.any():
        sequence, frame = (int(number) for number in np.argwhere(shared)[0])
        origin = int(np.argwhere(train.hashes == test.hashes[sequence, frame])[0, 0])
        path = test.files.source('x')
        report.found_bad(
            path,
            f'{what}: {int(shared.any(axis=1).sum())} of {len(shared)} sequences have frames that are in the '
            f'training set too, such as frame {frame} of sequence {sequence}, which is in training sequence {origin}',
            SHARED_FRAMES,
        )
    check_near_copies(report, train, test, what, names)


def _check_people(report: Report, train: Part, expected: int | None) -> None:
    if train.ids is not None and expected is not None and len(train.ids) != expected:
        path = train.files.ids
        report.found_odd(path, f'{path}: {len(train.ids)} identities, and {expected} in the paper')


def _check_strays(report: Report, files: DatasetFiles) -> None:
    """Names files that nothing reads, in the data set's own folders."""
    known = {row.path for row in report.files}
    for folder in dict.fromkeys(part.folder for part in (files.train, *files.tests.values())):
        strays = sorted(path for path in folder.glob('*') if path not in known and path.suffix != '.json')
        names = [path.name for path in strays if path.is_file()]
        if names and files.layout != 1:
            report.found_odd(folder, f'{folder}: nothing reads {listed(names)}')
    parent = files.root if files.layout == 1 else files.root.parent
    for path in sorted(parent.glob(f'.{files.train.stem}.*.partial')):
        report.found_odd(path, f'{path} was left by a run that was killed; the next prepare removes it')


def read_coordinates(report: Report, headers: list[Header]) -> np.ndarray:
    """Reads x, y and z as float32 `[N, T, J, 3]`; what is not finite is told and left in."""
    shape = (*sequence_shape(headers[0], report.length), len(headers))
    with memory_for(4 * int(np.prod(shape)), headers[0].path.parent):
        skeletons = np.empty(shape, np.float32)
    for axis, header in enumerate(bar(headers, desc='reading', unit='file')):
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
                f'{files.source(letter)}: the same value in every frame at joint {listed(constant, 8)}',
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
        report.found_odd(path, f'{path}: {len(unused)} of {count} sequences belong to nobody: {listed(unused, 8)}')
    _, first, inverse = np.unique(_sequence_hashes(part.hashes), return_index=True, return_inverse=True)
    copies = np.flatnonzero((first[inverse] != np.arange(count)) & ~_empty(part.skeletons))
    others = copies[part.labels[copies] != part.labels[first[inverse[copies]]]]
    if len(others):
        copy, original = int(others[0]), int(first[inverse[others[0]]])
        report.found_bad(
            path,
            f'{path}: {len(others)} sequences are those of another identity, such as sequence {copy} of identity '
            f'{part.labels[copy]}, which equals sequence {original} of identity {part.labels[original]}; correct it',
            COPIES,
        )
    elif len(copies):
        twice = f'{first[inverse[copies[0]]]} and {copies[0]}'
        report.found_odd(path, f'{path}: {len(copies)} sequences occur more than once, such as {twice}', COPIES)


def _empty(skeletons: np.ndarray) -> np.ndarray:
    """Sequences in which every frame has lost all joints: bool `[N]`; they are equal, and nobody's."""
    lost = lost_joints(skeletons.reshape(-1, *skeletons.shape[2:]))
    return np.all(lost.reshape(len(skeletons), -1), axis=1)


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
    labels = part.labels
    if labels is not None:
        for number in numbers:
            people = np.unique(labels[(part.recordings == number) & (labels >= 0)])
            if len(people) > 1:
                report.found_bad(path, f'{path}: recording {number} has sequences of identities {listed(people, 8)}')
                return
    copies: dict[bytes, int] = {}
    for index, number in enumerate(numbers):
        content = part.hashes[inverse == index].tobytes()
        if content in copies:
            text = f'{what}: recording {number} repeats recording {copies[content]} ({path})'
            report.found_bad(path, text, COPIES)
        copies.setdefault(content, int(number))


def check_frame_id(report: Report, part: Part) -> None:
    path = part.files.frame_id
    if report.good_row(path) is None or part.labels is None:
        return
    values = read_npy(path)
    if values.shape != part.labels.shape or (values != part.labels).any():
        report.found_odd(path, f'{path} differs from {part.files.ids.name}, which is what counts')
