"""What a look through a data set finds: a row a file, and sentences on what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from sge_la.data.dataset import labels_of
from sge_la.data.layout import SplitFiles
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError

_Value = TypeVar('_Value')
# Kinds of findings on what is in a data set twice: recordings or frames in both training and tests, recordings that
# are nearly the same, and copies within one set.
BOTH_SIDES, SHARED_FRAMES, NEAR_COPIES, COPIES = 'both sides', 'shared frames', 'near copies', 'copies'


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: with which file, and what, in a sentence that names it.

    `kind`: a word that findings of one kind share; `grave`: whether it cannot be meant, so that somebody must say so.
    """

    path: Path
    text: str
    kind: str = ''
    grave: bool = False


@dataclass
class FileRow:
    """What one file holds; numbers are None where they say nothing."""

    path: Path
    shape: tuple[int, ...] = ()
    dtype: str = ''
    people: int | None = None
    sequences: int | None = None
    frames: int | None = None
    state: str = 'good'


@dataclass
class Report:
    """What was found out about a data set.

    `name`, `length`, `layout`, `root`: which one, and where; `files`: one row a file, in the order in which they were
    read; `bad`: what training or scoring would fail on or be misled by; `odd`: what is worth knowing; `train`: the
    training skeletons, float32 `[N, T, J, 3]`, if they could be read; `skeleton`: names and bones of the joints where
    they are known; `needs`: lines on what train.py needs of it.
    """

    name: str
    length: int
    layout: int
    root: Path
    files: list[FileRow] = field(default_factory=list)
    bad: list[Finding] = field(default_factory=list)
    odd: list[Finding] = field(default_factory=list)
    train: np.ndarray | None = None
    skeleton: Skeleton | None = None
    needs: list[str] = field(default_factory=list)

    def attempt(self, path: Path, read: Callable[[], _Value]) -> _Value | None:
        """Calls `read`; a `UserError` becomes a finding against `path`, and None is returned."""
        try:
            return read()
        except UserError as error:
            self.found_bad(path, str(error))
            return None

    def good_row(self, path: Path) -> FileRow | None:
        """The row of a file that is there and has nothing wrong so far."""
        return next((row for row in self.files if row.path == path and row.state == 'good'), None)

    def found_bad(self, path: Path, text: str, kind: str = '') -> None:
        self.bad.append(Finding(path, text, kind))
        for row in self.files:
            if row.path == path:
                row.state = 'BAD'

    def found_odd(self, path: Path, text: str, kind: str = '') -> None:
        self.odd.append(Finding(path, text, kind))


@dataclass
class Part:
    """What could be read of one split."""

    files: SplitFiles
    skeletons: np.ndarray | None = None
    ids: dict[int, np.ndarray] | None = None
    recordings: np.ndarray | None = None
    hashes: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray | None:
        if self.ids is None or self.skeletons is None:
            return None
        return labels_of(self.ids, len(self.skeletons))
