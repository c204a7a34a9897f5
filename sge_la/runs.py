"""What lies in a run's folder besides checkpoints: its options, history, results, and what it goes on from.

Everything is written beside and renamed. `config.json` holds all options, `history.csv` a row an epoch, `results.json`
the scores; `resume*.npz` hold the state of an unfinished training in two generations.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sge_la.checkpoints.npz import read_npz, write_npz
from sge_la.errors import UserError
from sge_la.files import os_errors, read_json, regular_size, sync_folder, write_json, write_text
from sge_la.locks import RunLock, claim
from sge_la.results import not_scores, not_seconds

__all__ = [
    'RunLock',
    'RunState',
    'append_history',
    'claim',
    'clear_state',
    'differences',
    'load_state',
    'read_config',
    'read_epochs',
    'read_history',
    'read_results',
    'save_state',
    'write_config',
    'write_history',
    'write_results',
]

CONFIG, HISTORY, RESULTS = 'config.json', 'history.csv', 'results.json'
# From the newest to the oldest. The first exists only between two renames, complete as the others.
_STATES = ('resume.new.npz', 'resume.npz', 'resume.previous.npz')
_MAX_HISTORY_BYTES = 64 << 20


class RunState(NamedTuple):
    """What an unfinished training goes on from.

    Attributes:
        parts: arrays by part (`params`, `first`, `second`, ...) and name.
        meta: what JSON can hold: epoch, step, ...
        warning: a sentence if the newest file was damaged and the one before it was taken, else ''.
    """

    parts: dict[str, dict[str, np.ndarray]]
    meta: dict[str, Any]
    warning: str = ''


def write_config(folder: Path | str, config: Mapping[str, Any]) -> None:
    """Writes `config.json`."""
    write_json(Path(folder) / CONFIG, config)


def read_config(folder: Path | str) -> dict[str, Any] | None:
    """Reads `config.json`; None if there is none.

    Raises:
        UserError: it is not a JSON object, or one of its parts should be one and is not.
    """
    path = Path(folder) / CONFIG
    config = _read_object(path)
    for name in ('record', 'options', 'environment'):
        if config is not None and not isinstance(config.get(name, {}), dict):
            raise UserError(f'{path}: {name} should be a JSON object and is not; repair or delete the file')
    return config


def write_results(folder: Path | str, results: Mapping[str, Any]) -> None:
    """Writes `results.json`."""
    write_json(Path(folder) / RESULTS, results)


def read_results(folder: Path | str) -> dict[str, Any] | None:
    """Reads `results.json`; None if there is none.

    Raises:
        UserError: it is not a JSON object, or `test_sets` holds anything but scores by test set and by kind.
    """
    path = Path(folder) / RESULTS
    results = _read_object(path)
    if results is not None and (bad := not_scores(results.get('test_sets', {}))):
        raise UserError(f'{path}: {bad} should hold scores as this program writes them, and does not; delete the file')
    if results is not None and not_seconds(results.get('seconds', {})):
        raise UserError(f'{path}: seconds should hold the times of the stages, and does not; delete the file')
    return results


def differences(there: Mapping[str, Any], asked: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Compares two configurations.

    Args:
        there: the one that a folder holds.
        asked: the one of this run.
        keys: the options that change a result.

    Returns:
        'length: 6 there, 8 asked' for each option that differs; one that is missing counts as null.
    """
    pairs = [(key, _as_json(there.get(key)), _as_json(asked.get(key))) for key in keys]
    return [f'{json.dumps(key)[1:-1]}: {json.dumps(a)} there, {json.dumps(b)} asked' for key, a, b in pairs if a != b]


def write_history(folder: Path | str, rows: Sequence[Mapping[str, Any]], name: str = HISTORY) -> None:
    """Writes a table with a header, a row an epoch; the columns are the keys in the order in which they first occur."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_text(Path(folder) / name, text.getvalue())


def append_history(folder: Path | str, row: Mapping[str, Any], name: str = HISTORY) -> None:
    """Adds a row to a history, rewriting it whole: a few hundred rows at most.

    Raises:
        UserError: what is there is no history, or it cannot be written.
    """
    write_history(folder, [*read_history(folder, name), row], name)


def read_history(folder: Path | str, name: str = HISTORY) -> list[dict[str, Any]]:
    """Reads a history; [] if there is none.

    Returns:
        A dict a row: numbers as int or float, empty cells left out, anything else as text.

    Raises:
        UserError: the file is no such table.
    """
    path = Path(folder) / name
    if not path.exists():
        return []
    if regular_size(path) > _MAX_HISTORY_BYTES:
        raise UserError(f'{path} should be a history of epochs and is larger than {_MAX_HISTORY_BYTES} bytes')
    with os_errors(path, 'read'):
        content = path.read_bytes()
    try:
        lines = list(csv.reader(io.StringIO(content.decode(), newline=''), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f'{path} should be a CSV table and is not ({error}); repair or delete it') from error
    columns = lines[0] if lines else []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(columns):
            raise UserError(
                f'{path}, row {number}: expected {len(columns)} values, found {len(line)}; repair or delete the file'
            )
    return [{key: _number(cell) for key, cell in zip(columns, line, strict=True) if cell} for line in lines[1:]]


def read_epochs(folder: Path | str) -> list[dict[str, Any]]:
    """Reads the history of a training, as `read_history` does, and checks that row n is of epoch n.

    Raises:
        UserError: it is not, or a number is too large to be drawn.
    """
    rows = read_history(folder)
    for number, row in enumerate(rows, 1):
        sane = all(isinstance(value, str) or value != value or abs(value) < 1e300 for value in row.values())
        if row.get('epoch') != number or not sane:
            raise UserError(
                f'{Path(folder) / HISTORY}, row {number + 1}: expected the numbers of epoch {number}, found '
                f'{str(row)!a:.80}; repair or delete the file'
            )
    return rows


def save_state(
    folder: Path | str, parts: Mapping[str, Mapping[str, np.ndarray]], meta: Mapping[str, Any] | None = None
) -> None:
    """Keeps the state of an unfinished training, and the one before it.

    At every moment one complete state is on the disk: the new one is written and flushed under a name of its own, then
    the names move on. Each file carries checksums.

    Args:
        folder: the run's folder.
        parts: arrays by part and name, e.g. `{'params': {...}, 'first': {...}}`; a part's name holds no slash.
        meta: what JSON can hold, e.g. the epoch.

    Raises:
        UserError: it cannot be written; the states that were there stay.
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

    Args:
        folder: the run's folder.
        unsound: says what is wrong with a state that was read well, or ''.

    Returns:
        The state, or None if there is none at all.

    Raises:
        UserError: there are states and none is sound.
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


def clear_state(folder: Path | str) -> None:
    """Removes the states of a training that has ended."""
    for name in _STATES:
        path = Path(folder) / name
        with os_errors(path, 'remove'), contextlib.suppress(FileNotFoundError):
            path.unlink()


def _read_object(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f'{path} should hold a JSON object and holds a {type(value).__name__}; repair or delete it')
    return value


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(cell)
    return cell
