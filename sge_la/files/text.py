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

# Nothing that is kept as JSON comes near it.
JSON_LIMIT = 16 * 2**20
# What an empty list and a small object take in memory; how much all of them may: times the file's size, and besides.
_LIST_BYTES, _OBJECT_BYTES = 72, 240
_PARTS_A_BYTE, _PARTS_BESIDES = 5, 48 * 2**20
# Of lists and objects in each other, when they are read and when they are written.
_DEEPEST = 100
_NO_TEXT = 'it holds {!a}, a half of a letter that no file can hold; rename what is called so'


def write_text(path: Path | str, text: str) -> None:
    """Writes UTF-8 text, whole or not at all.

    Raises UserError: it cannot be written.
    """
    try:
        content = text.encode('utf-8')
    except UnicodeEncodeError as error:
        raise UserError(f'cannot write {path}: {_NO_TEXT.format(text[error.start])}') from error
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path | str, value: Any) -> None:
    """Writes JSON, whole or not at all.

    `path`: the file. `value`: dictionaries, lists, tuples, text, numbers, NumPy scalars and arrays, paths. NaN and
    infinity, which JSON does not know, become null. Raises UserError: it cannot be written. Raises TypeError: JSON has
    no such kind of value.
    """
    write_text(path, json.dumps(_plain(value, _DEEPEST), indent=2, ensure_ascii=False, allow_nan=False) + '\n')


def _plain(value: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError(f'nested more than {_DEEPEST} deep')
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(key, depth): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    return str(value) if isinstance(value, Path) else value


def _unwritable(value: Any, depth: int) -> str:
    """Why a value of JSON could not be written again, or ''."""
    if isinstance(value, str):
        return 'it has a half of a letter' if any('\ud800' <= letter <= '\udfff' for letter in value) else ''
    if not isinstance(value, (dict, list)):
        return ''
    if depth == 0:
        return f'its values are nested more than {_DEEPEST} deep'
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    return next(filter(None, (_unwritable(part, depth - 1) for part in parts)), '')


def has_too_many_parts(text: bytes) -> bool:
    """Whether lists and objects of JSON would take more memory than a reader may: far more than their text."""
    parts = _LIST_BYTES * text.count(b'[') + _OBJECT_BYTES * text.count(b'{')
    return parts > _PARTS_A_BYTE * len(text) + _PARTS_BESIDES


def read_json(path: Path | str, limit: int = JSON_LIMIT) -> Any:
    """Reads a JSON file (UTF-8, with or without a byte-order mark).

    `path`: the file; `limit`: the largest size in bytes that is read. Raises UserError: it is missing, larger than the
    limit, or not JSON.
    """
    if regular_size(path) > limit:
        raise UserError(f'{path} should be a JSON file of at most {limit} bytes and is larger; check which file it is')
    with os_errors(path, 'read'):
        text = Path(path).read_bytes()
    if has_too_many_parts(text):
        raise UserError(f'{path} holds more lists and objects than any JSON file of ours; check which file it is')
    try:
        value = json.loads(text.decode('utf-8-sig'))
        if problem := _unwritable(value, _DEEPEST):
            raise UserError(f'{path} should be JSON that can be written again, but {problem}; repair or delete it')
        return value
    except RecursionError as error:
        raise UserError(f'{path} should be JSON, but its values are nested too deep; repair or delete it') from error
    except ValueError as error:
        raise UserError(f'{path} should be JSON and is not ({error}); repair or delete it') from error
