"""The file of a gallery: one `.npz` of the vectors, with all else as JSON beside them, written whole or not at all.

What is kept of a person is their name, and of each recording the name of its file, a digest of its frames and the
vectors of its sequences; no frames. Nothing in a file is run or followed: the run is a folder's name.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.skeletons import from_json, to_json
from sge_la.enrol.gallery import EnrolledRecording, Gallery
from sge_la.errors import UserError, plain
from sge_la.evaluation.enrolled import RECORDING, SEQUENCE
from sge_la.evaluation.threshold import UNKNOWN, Threshold, checked_number
from sge_la.files.locks import claim_file
from sge_la.files.npz import MAX_META_BYTES, read_npz, write_npz

FORMAT = 'SGE-LA gallery 1'
# Farther apart than two vectors of unit length can be.
_FARTHEST = 2.001
# Some 2.7 million sequences.
_MAX_BYTES = 8 << 30
_MAX_NAME, _MAX_FRAMES, _MAX_JOINTS = 200, 1000, 1000


def write(path: str | Path, gallery: Gallery) -> None:
    """Writes a gallery, whole or not at all; whoever changes one holds it by `changing`.

    Raises UserError: it cannot be written, or names so many recordings that nobody could read it.
    """
    meta = {
        'format': FORMAT,
        'encoder': {name: getattr(gallery, name) for name in ('digest', 'run', 'length', 'joints')},
        'skeleton': None if gallery.skeleton is None else to_json(gallery.skeleton),
        'far': gallery.far,
        'recordings': [[one.person, one.name, one.digest, one.sequences] for one in gallery.recordings],
        'thresholds': {level: asdict(found) for level, found in gallery.thresholds.items()},
    }
    try:  # what could not be read again is not written
        _check_run(gallery.run)
        _check_names(gallery.recordings)
    except ValueError as error:
        raise UserError(f'{path} cannot be written: {error}; choose another name') from error
    # JSON escapes a character by twelve at most.
    letters = sum(len(one.person + one.name) for one in gallery.recordings)
    if 64 * len(gallery.recordings) + 12 * letters > MAX_META_BYTES:
        raise UserError(f'{path} would name more recordings than one gallery can; make several')
    if gallery.vectors.nbytes + 2 * MAX_META_BYTES > _MAX_BYTES:
        raise UserError(
            f'{path} would have more than {_MAX_BYTES} bytes, which is the most for a gallery; make several'
        )
    write_npz(path, {'vectors': gallery.vectors}, meta)


def read(path: str | Path) -> Gallery:
    """Reads a gallery, without its encoder.

    Raises UserError: it is missing or damaged, or no gallery.
    """
    arrays, meta = read_npz(path, lambda name: name == 'vectors', _MAX_BYTES)
    if meta.get('format') != FORMAT:
        found = repr(meta.get('format'))[:80]
        raise UserError(f'{path} should be a gallery ({FORMAT}), and its format is {found}; check which file it is')
    try:
        return _checked(arrays.get('vectors'), meta, str(path))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(f'{path} is a damaged gallery ({error}); get it again, or make a new one') from error


@contextlib.contextmanager
def changing(path: str | Path, *, new: bool = False) -> Iterator[Callable[[Gallery], None]]:
    """Holds a gallery for one writer; gives the function that writes it. Read it inside, or changes get lost.

    `new`: there must be none yet. Raises UserError: there is one, or none where one was expected, or another writer
    holds it for a minute.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise UserError(f'{path} should lie in a folder that is there, and there is none; make {path.parent} first')
    with claim_file(path):
        if new and path.exists():
            raise UserError(f'{path} is there already; add people to it, or choose another name')
        yield lambda gallery: write(path, gallery)


def recording_name(path: Path) -> str:
    """What a recording is called in a gallery: its file's name, in letters that can be kept and shown."""
    name = plain(path.name)
    return name if len(name) <= _MAX_NAME else f'{name[: _MAX_NAME - 4]} ...'


def checked_name(name: str, what: str) -> str:
    """A name that can be kept and shown.

    Raises ValueError: it is empty, too long, holds control characters or halves of letters, or means nobody.
    """
    if type(name) is not str or not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise ValueError(f'{what} should be of 1 to {_MAX_NAME} printable characters, found {ascii(name)[:80]}')
    if name.casefold() == UNKNOWN:
        raise ValueError(f'{what} should not be {name!r}, the answer for strangers')
    return name


def _check_run(run: str) -> None:
    if type(run) is not str or not re.fullmatch(r'[\w.+-]{1,255}', run, re.ASCII):
        raise ValueError(f'its run should have a folder of letters, digits and . _ + - in its name, found {run!a:.80}')


def _check_names(recordings: Iterable[EnrolledRecording]) -> None:
    for one in recordings:
        checked_name(one.person, 'the name of a person')
        if type(one.name) is not str or not one.name.isprintable() or len(one.name) > _MAX_NAME:
            raise ValueError('the name of a recording is none')


def _checked(vectors: np.ndarray | None, meta: dict[str, Any], where: str) -> Gallery:
    encoder, digests = meta['encoder'], set()
    recordings = tuple(EnrolledRecording(*one) for one in meta['recordings'])
    _check_names(recordings)
    for one in recordings:
        _refuse(not _is_digest(one.digest, 32) or one.digest in digests, 'the digest of a recording is none, or twice')
        _refuse(type(one.sequences) is not int or one.sequences < 1, 'a recording has no sequence')
        digests.add(one.digest)
    _refuse(not _is_digest(encoder['digest'], 64), 'the digest of its encoder is none')
    _check_run(encoder['run'])
    for name, most in (('length', _MAX_FRAMES), ('joints', _MAX_JOINTS)):
        _refuse(type(encoder[name]) is not int or not 1 <= encoder[name] <= most, f'the {name} of its encoder is none')
    skeleton = None if meta['skeleton'] is None else from_json(meta['skeleton'], where)
    _refuse(skeleton is not None and len(skeleton.joints) != encoder['joints'], 'its skeleton has other joints')
    far = checked_number(meta['far'], 0, 1)
    _check_vectors(vectors, sum(one.sequences for one in recordings))
    known = (encoder[name] for name in ('digest', 'run', 'length', 'joints'))
    found = Gallery(*known, skeleton, far, recordings, vectors)
    return replace(found, thresholds=_thresholds(meta['thresholds'], len(found.people)))


def _check_vectors(vectors: np.ndarray | None, sequences: int) -> None:
    if vectors is None or vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != sequences:
        raise ValueError('its vectors are not those of its recordings')
    squares = np.einsum('nd,nd->n', vectors, vectors)
    if not ((np.abs(squares - 1) < 1e-3) | (squares == 0)).all():
        raise ValueError('its vectors are not of unit length')


def _thresholds(found: dict[str, Any], people: int) -> dict[str, Threshold]:
    _refuse(set(found) != ({SEQUENCE, RECORDING} if people > 1 else set()), 'its thresholds are missing')
    return {level: Threshold.from_json(values, -1, _FARTHEST) for level, values in found.items()}


def _is_digest(value: Any, length: int) -> bool:
    return isinstance(value, str) and re.fullmatch(f'[0-9a-f]{{{length}}}', value) is not None


def _refuse(wrong: bool, sentence: str) -> None:
    if wrong:
        raise ValueError(sentence)
