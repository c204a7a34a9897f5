"""Writes small text files whole or not at all, and reads JSON within limits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.errors import UserError
from sge_la.files.atomic import os_errors, regular_size, replacing

# Nothing that is kept as JSON comes near it. Parsed JSON can be twenty times as large as its text: 330 MB at most.
JSON_LIMIT = 16 * 2**20


def write_text(path: Path | str, text: str) -> None:
    """Writes UTF-8 text, whole or not at all.

    Raises UserError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode('utf-8'))


def write_json(path: Path | str, value: Any) -> None:
    """Writes JSON, whole or not at all.

    `path`: the file. `value`: dictionaries, lists, tuples, text, numbers, NumPy scalars and arrays, paths. NaN and
    infinity, which JSON does not know, become null. Raises UserError: it cannot be written. Raises TypeError: JSON has
    no such kind of value.
    """
    write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + '\n')


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def read_json(path: Path | str, limit: int = JSON_LIMIT) -> Any:
    """Reads a JSON file (UTF-8, with or without a byte-order mark).

    `path`: the file; `limit`: the largest size in bytes that is read. Raises UserError: it is missing, larger than the
    limit, or not JSON.
    """
    if regular_size(path) > limit:
        raise UserError(f'{path} should be a JSON file of at most {limit} bytes and is larger; check which file it is')
    with os_errors(path, 'read'):
        text = Path(path).read_bytes()
    try:
        return json.loads(text.decode('utf-8-sig'))
    except RecursionError as error:
        raise UserError(f'{path} should be JSON, but its values are nested too deep; repair or delete it') from error
    except ValueError as error:
        raise UserError(f'{path} should be JSON and is not ({error}); repair or delete it') from error
