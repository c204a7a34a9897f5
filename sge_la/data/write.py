"""Writes data sets in the three released layouts, whole or not at all.

The arrays are what the original reads: one file an axis, float64 `[N*T, J]`, the frames of all sequences below each
other; `ids` as a pickled dictionary, in the form that NumPy 1 wrote.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pickle
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.layout import AXES, DatasetFiles, SplitFiles, check_dataset_name, dataset_files
from sge_la.data.skeletons import Skeleton, to_json
from sge_la.errors import UserError
from sge_la.files.atomic import make_folder, os_errors, replacing, sync_folder
from sge_la.files.locks import claim
from sge_la.files.text import write_json
from sge_la.files.write_arrays import NpyWriter, save_npy

# Sequences that are converted to float64 at a time: about 8 MB for 6 frames of 25 joints.
_BLOCK = 4096


@dataclass(frozen=True)
class NewSplit:
    """What is to be written for the training set or for one test set.

    `skeletons`: `[N, T, J, 3]`, any float type, metres; an array or a memory map; `ids`: label → indices of its
    sequences, in the order that the original shall meet them; `recordings`: int64 `[N]`, the recording that each
    sequence is from, or None.
    """

    skeletons: np.ndarray
    ids: Mapping[int, Sequence[int] | np.ndarray]
    recordings: np.ndarray | None = None


def write_dataset(
    data_dir: Path | str,
    name: str,
    train: NewSplit,
    tests: Mapping[str, NewSplit],
    *,
    layout: int = 2,
    view: int | None = None,
    targets: bool | None = None,
    overwrite: bool = False,
    skeleton: Skeleton | None = None,
    prepared: Mapping[str, Any] | None = None,
    split: Mapping[str, Any] | None = None,
) -> DatasetFiles:
    """Writes a data set; its length is the arrays' own.

    All of it is written into a hidden folder beside its place and renamed at the end, the training folder last:
    whatever happens on the way, a later run finds the old data set, the new one, or none.

    Args:
        data_dir: the folder `Datasets/`.
        name: e.g. 'KGBD' or a name of the user's own (letters, digits, `_` and `-`).
        train: the training split.
        tests: test splits by name: 'Walking' (and in layout 3 'Still') for BIWI, 'A' and 'B' for IAS, 'probe' (and in
            layout 3 'gallery') for KGBD and KS20, otherwise 'test' in layouts 1 and 2, 'probe' and 'gallery' in 3.
        layout: 1, 2 or 3.
        view: KS20's view 0 to 4, or None.
        targets: whether the target files (sequences reversed in time) are written. None: as in the released data,
            which have them in layouts 1 and 2.
        overwrite: whether a data set of that name, length and view is replaced. Its folders are replaced as a whole: in
            layout 1, which knows one length, other lengths in them go too.
        skeleton: joint names and bones, written as `skeleton.json` beside the training arrays. Needed by drawing and
            reordering for a data set of the user's own.
        prepared: how the data set was made, written as `prepare.json` beside the training arrays.
        split: what is trained and tested on, written as `split.json` beside it.

    Returns:
        The files' names.

    Raises:
        UserError: it exists, a test set has no place in the layout, or something cannot be written.
        ValueError: the arrays or ids do not fit together.
    """
    check_dataset_name(name)
    length = _shape(train)[0]
    for test in tests.values():
        if _shape(test) != _shape(train):
            raise ValueError(f'test sequences (T, J) = {_shape(test)} do not fit the training ones {_shape(train)}')
    files = dataset_files(data_dir, name, length, layout, view)
    for test_name in tests:
        if test_name not in files.tests:
            places = ', '.join(files.tests)
            raise UserError(
                f"layout {layout} of {name} has the test sets {places}, but '{test_name}' was to be written, which is "
                'of another layout; leave out --layout or give the other one'
            )
    folders = _top_folders(files, tests)
    if not overwrite:
        _refuse_existing(folders)
    with _stage(files) as stage:
        train_files = _moved(files.train, files.root, stage)
        parts = [(train_files, train)]
        parts += [(_moved(files.tests[test_name], files.root, stage), test) for test_name, test in tests.items()]
        for part, new in parts:
            write_split(part, new, targets=layout < 3 if targets is None else targets)
        texts = {'skeleton': None if skeleton is None else to_json(skeleton), 'prepare': prepared, 'split': split}
        for name_of_text, content in texts.items():
            if content is not None:
                write_json(train_files.folder / f'{name_of_text}.json', content)
        _put_in_place({folder: stage / folder.relative_to(files.root) for folder in folders}, stage, files.root)
    return files


def write_split(files: SplitFiles, split: NewSplit, *, targets: bool = True) -> None:
    """Writes the arrays of one split, each whole or not at all; a memory map is read in blocks.

    `files`: their names; the folder is made; `targets`: whether the target files (sequences reversed in time) are
    written too. `frame_id` holds, in spite of its name, the label of each sequence, −1 for nobody's. Raises UserError:
    something cannot be written. Raises ValueError: the arrays or ids do not fit together.
    """
    labels = _labels(split)
    make_folder(files.folder)
    for axis, letter in enumerate(AXES):
        _write_axis(files.source(letter), split.skeletons, axis, reverse=False)
        if targets:
            _write_axis(files.target(letter), split.skeletons, axis, reverse=True)
    write_ids(files.ids, split.ids)
    save_npy(files.frame_id, labels)
    if split.recordings is not None:
        save_npy(files.recording, np.asarray(split.recordings, np.int64))


def write_ids(path: Path | str, ids: Mapping[int, Sequence[int] | np.ndarray]) -> None:
    """Writes the dictionary of identities as the original reads it: `np.load(path, allow_pickle=True).item()`.

    The pickle names `numpy.core.multiarray`, which every NumPy understands, and plain Python integers.

    `path`: the file; `ids`: label → indices of its sequences. Raises UserError: it cannot be written.
    """
    plain = {int(label): [int(index) for index in indices] for label, indices in ids.items()}
    array = np.empty((), object)
    array[()] = plain
    # NumPy 2 calls its own module `numpy._core`, which NumPy 1 lacks. In protocol 3 a name stands as a line of text.
    content = pickle.dumps(array, protocol=3).replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n', 1)
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(file, {'descr': '|O', 'fortran_order': False, 'shape': ()})
        file.write(content)


def _shape(split: NewSplit) -> tuple[int, int]:
    """T and J of a split."""
    if split.skeletons.ndim != 4 or split.skeletons.shape[3] != len(AXES):
        raise ValueError(f'skeletons [N, T, J, 3] were expected, found {split.skeletons.shape}')
    return split.skeletons.shape[1:3]


def _labels(split: NewSplit) -> np.ndarray:
    """The label of each sequence, int64 `[N]`, −1 for one that belongs to nobody; checks indices and lengths."""
    _shape(split)
    count = len(split.skeletons)
    labels = np.full(count, -1, np.int64)
    for label, indices in split.ids.items():
        indices = np.asarray(indices, np.int64).reshape(-1)
        if label < 0 or indices.size == 0 or indices.min() < 0 or indices.max() >= count:
            raise ValueError(
                f'identity {label}: labels from 0 and one or more indices from 0 to {count - 1} are needed'
            )
        if len(np.unique(indices)) < len(indices) or (labels[indices] >= 0).any():
            raise ValueError(f'identity {label} has a sequence twice, or one that belongs to another identity')
        labels[indices] = label
    if split.recordings is not None and np.shape(split.recordings) != (count,):
        raise ValueError(f'recordings should have the shape {(count,)}, found {np.shape(split.recordings)}')
    return labels


def _write_axis(path: Path, skeletons: np.ndarray, axis: int, reverse: bool) -> None:
    joints = skeletons.shape[2]
    with NpyWriter(path, (joints,), np.float64) as writer:
        for start in range(0, len(skeletons), _BLOCK):
            block = skeletons[start : start + _BLOCK, :, :, axis]
            writer.append(np.asarray(block[:, ::-1] if reverse else block, np.float64).reshape(-1, joints))


def _moved(files: SplitFiles, root: Path, stage: Path) -> SplitFiles:
    return replace(files, folder=stage / files.folder.relative_to(root))


def _top_folders(files: DatasetFiles, tests: Mapping[str, NewSplit]) -> list[Path]:
    """The folders directly under the root that the data set fills: tests first, training last."""
    folders = [files.tests[name].folder for name in tests] + [files.train.folder]
    return list(dict.fromkeys(files.root / folder.relative_to(files.root).parts[0] for folder in folders))


def _refuse_existing(folders: list[Path]) -> None:
    for folder in folders:
        with os_errors(folder, 'look into'):
            taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if taken:
            raise UserError(
                f'{folder} exists already, and nothing is overwritten unasked; delete it, choose another name or '
                'folder, or give --overwrite'
            )


@contextlib.contextmanager
def _stage(files: DatasetFiles) -> Iterator[Path]:
    """A hidden folder on the same disk as the data set's place; it is gone afterwards."""
    parent = files.root if files.layout == 1 else files.root.parent
    make_folder(parent)
    _remove_left_behind(parent, files.train.stem)
    stage = parent / f'.{files.train.stem}.{secrets.token_hex(4)}.partial'
    try:
        with claim(stage):
            yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _remove_left_behind(parent: Path, stem: str) -> None:
    """Removes what a killed `prepare` has left, unless another one that is alive is writing it."""
    for old in parent.glob(f'.{glob.escape(stem)}.*.partial'):
        if old.is_dir() and not old.is_symlink():
            with contextlib.suppress(UserError), claim(old):
                shutil.rmtree(old, ignore_errors=True)


def _put_in_place(staged: dict[Path, Path], stage: Path, root: Path) -> None:
    """Renames the staged folders. Old ones step aside first, the training folder before the others; it comes last."""
    make_folder(root)
    aside = stage / 'replaced'
    with os_errors(aside, 'make the folder'):
        aside.mkdir()
    moves = [(folder, aside / folder.name) for folder in reversed(staged) if folder.exists()]
    moves += [(new, folder) for folder, new in staged.items()]
    done = []
    try:
        for source, target in moves:
            with os_errors(target, 'write'):
                os.rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            with os_errors(source, 'restore'):
                os.rename(target, source)
        raise
    sync_folder(root)
