"""The state of an unfinished training in its run folder: `resume*.npz`, in two generations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sge_la.errors import UserError
from sge_la.files.atomic import os_errors, sync_folder
from sge_la.files.npz import read_npz, write_npz

# From the newest to the oldest. The first exists only between two renames, complete as the others.
_STATES = ('resume.new.npz', 'resume.npz', 'resume.previous.npz')


class RunState(NamedTuple):
    """What an unfinished training goes on from.

    `parts`: arrays by part (`params`, `first`, `second`, ...) and name; `meta`: what JSON can hold: epoch, step, ...;
    `warning`: a sentence if the newest file was damaged and the one before it was taken, else ''.
    """

    parts: dict[str, dict[str, np.ndarray]]
    meta: dict[str, Any]
    warning: str = ''


def save_state(
    folder: Path | str, parts: Mapping[str, Mapping[str, np.ndarray]], meta: Mapping[str, Any] | None = None
) -> None:
    """Keeps the state of an unfinished training, and the one before it.

    At every moment one complete state is on the disk: the new one is written and flushed under a name of its own, then
    the names move on. Each file carries checksums.

    `folder`: the run's folder. `parts`: arrays by part and name, e.g. `{'params': {...}, 'first': {...}}`; a part's
    name holds no slash. `meta`: what JSON can hold, e.g. the epoch. Raises UserError: it cannot be written; the states
    that were there stay.
    """
    new, newest, previous = (Path(folder) / name for name in _STATES)
    write_npz(new, {f'{part}/{name}': a for part, arrays in parts.items() for name, a in arrays.items()}, meta or {})
    with os_errors(new, 'rename'):
        if newest.exists():
            os.replace(newest, previous)
        os.replace(new, newest)
    sync_folder(folder)


def load_state(folder: Path | str, unsound: Callable[[RunState], str] | None = None) -> RunState | None:
    """Reads the newest state that is sound. Which is the newest, names tell and not dates, so clocks may jump.

    `folder`: the run's folder; `unsound`: says what is wrong with a state that was read well, or ''. Returns the state,
    or None if there is none at all. Raises UserError: there are states and none is sound.
    """
    damaged = []
    for path in (Path(folder) / name for name in _STATES):
        if not path.exists():
            continue
        try:
            state = _read_state(path)
        except UserError as error:
            damaged.append(str(error))
            continue
        if unsound and (reason := unsound(state)):
            damaged.append(f'{path} {reason}')
            continue
        warning = f'{"; ".join(damaged)}: going on from {path.name}, the state before it' if damaged else ''
        return state._replace(warning=warning)
    if damaged:
        raise UserError(
            f'no state to go on from can be read in {folder}: {"; ".join(damaged)}; delete them to start anew'
        )
    return None


def _read_state(path: Path) -> RunState:
    arrays, meta = read_npz(path)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        part, _, name = key.partition('/')
        parts.setdefault(part, {})[name] = array
    return RunState(parts, meta)


def has_state(folder: Path | str) -> bool:
    """Whether a training has left something to go on from, sound or not."""
    return any((Path(folder) / name).exists() for name in _STATES)


def clear_state(folder: Path | str) -> None:
    """Removes the states of a training that has ended."""
    for name in _STATES:
        path = Path(folder) / name
        with os_errors(path, 'remove'), contextlib.suppress(FileNotFoundError):
            path.unlink()
