"""Reads the text files of raw recordings, whatever editor or system has written them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sge_la.errors import UserError
from sge_la.files.atomic import os_errors, regular_size

# KGBD's largest recording has 1 MB; an hour of 25 joints at 30 frames a second, 150 MB.
TEXT_LIMIT = 256 * 2**20
# Nothing that a depth camera sees is as far away; more is a sign of another unit or of a broken number.
MAX_COORDINATE = 1e4

# What a line of its own takes in memory, and how much all of them may: times the file's size, and besides.
_LINE_BYTES, _LINES_A_BYTE, _LINES_BESIDES = 140, 6, 48 * 2**20

_LFS_START = b'version https://git-lfs'
_UTF16_STARTS = (b'\xff\xfe', b'\xfe\xff')


def read_text(path: Path) -> str:
    """Reads a text file: UTF-8, with or without a byte-order mark; all line ends become a newline.

    Raises UserError: it is missing, no file, too large, a Git LFS pointer, or not UTF-8 text.
    """
    return as_text(read_content(path), str(path))


def read_content(path: Path) -> bytes:
    """Reads a text file as it is, for `as_text`.

    Raises UserError: it is missing, no file, too large, a Git LFS pointer, or UTF-16.
    """
    if regular_size(path) > TEXT_LIMIT:
        raise UserError(f'{path} should be text of at most {TEXT_LIMIT} bytes and is larger; check which file it is')
    with os_errors(path, 'read'):
        content = path.read_bytes()
    if content.startswith(_LFS_START):
        raise UserError(f'{path} holds a Git LFS pointer instead of a recording; run `git lfs pull` where it is from')
    if _LINE_BYTES * (content.count(b'\n') + content.count(b'\r')) > _LINES_A_BYTE * len(content) + _LINES_BESIDES:
        raise UserError(f'{path} should be the text of a recording and is nearly all empty lines; check which it is')
    if content.startswith(_UTF16_STARTS):
        raise UserError(f'{path} should be UTF-8 text and is UTF-16; save it as UTF-8')
    return content


def as_text(content: bytes, where: str) -> str:
    """Decodes UTF-8, with or without a byte-order mark; all line ends become a newline.

    `where`: the file, for the error. Raises UserError: it is not UTF-8.
    """
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(
            f'{where} should be UTF-8 text, but its byte {error.start} is none; fetch it again or save it as UTF-8'
        ) from error
    return text.replace('\r\n', '\n').replace('\r', '\n')


def coordinates(fields: list[str], scale: float = 1.0) -> np.ndarray | None:
    """Reads many numbers at once.

    `fields`: their texts; `scale`: metres in a unit of theirs. Returns float32 `[len(fields)]`, or None if one of them
    is no usable coordinate; `coordinate` then tells which.
    """
    # Python's own notation with underscores is not one of these files'.
    if '_' in ''.join(fields):
        return None
    try:
        values = np.array(list(map(float, fields))) * scale
    except ValueError:
        return None
    # Written so that NaN fails too.
    if not (np.abs(values) <= MAX_COORDINATE).all():
        return None
    return values.astype(np.float32)


def coordinate(field: str, where: str, scale: float = 1.0) -> float:
    """Reads one number.

    `field`: the text; `where`: file and line, for the error; `scale`: metres in a unit of the text's. Raises UserError:
    it is no finite number, or none that can be a coordinate in metres.
    """
    try:
        value = float('none' if '_' in field else field) * scale
    except ValueError:
        raise UserError(f'{where}: a number was expected, found {shown(field)}; correct or remove the file') from None
    if not abs(value) <= MAX_COORDINATE:
        raise UserError(
            f'{where}: a coordinate in metres was expected, found {shown(field)}; correct or remove the file'
        )
    return value


def shown(text: str, limit: int = 40) -> str:
    """A piece of a file for a message: quoted, control characters escaped, not too long."""
    text = text.strip()
    return repr(text if len(text) <= limit else text[:limit] + '...')


def in_order(text: str) -> tuple:
    """A key that sorts as `natural` does, and tells '007' from '7', so that no order depends on chance."""
    return natural(text), text


def alike_people(names: Iterable[str]) -> list[str]:
    """Sentences on names that differ only by case, Unicode form, spaces around them, or zeros before numbers."""
    first: dict[str, str] = {}
    found = []
    for name in sorted(set(names), key=in_order):
        folded = unicodedata.normalize('NFKC', name).strip().casefold()
        kept = first.setdefault(re.sub(r'\d+', lambda number: number[0].lstrip('0'), folded), name)
        if kept != name:
            same = unicodedata.normalize('NFC', kept) == unicodedata.normalize('NFC', name)
            spelt = f' ({kept!a} and {name!a})' if same else ''
            found.append(f"'{kept}' and '{name}'{spelt} are two people here; if they are one, give them one name")
    return found


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts text with numbers in it by the numbers, however long: 9 before 10."""
    pieces = [piece.lstrip('0') if piece.isdecimal() else piece for piece in re.split(r'(\d+)', text) if piece]
    return [(0, len(piece), piece) if piece.isdecimal() or not piece else (1, 0, piece) for piece in pieces]
