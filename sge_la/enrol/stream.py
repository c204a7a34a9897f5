"""Frames as they come, a line each: an answer after each full sequence, and the vote of all sequences so far."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sge_la.api import Recogniser
from sge_la.data.raw import table
from sge_la.data.raw.recording import RawRecording
from sge_la.enrol.recordings import sequences_in
from sge_la.errors import Notice, UserError

NAME = 'standard input'
_MAX_LINE_BYTES = 1 << 20


def answers(
    source: BinaryIO, run: Recogniser, answer: Callable[[np.ndarray], tuple[str, str]], accept: bool = False
) -> Iterator[str]:
    """A line after each T frames: which lines they stood in, the answer, and the vote.

    `source`: lines as of a `.csv` recording, the first a header or, without one, x, y and z of the joints in the run's
    order; an empty line ends a recording, and with it the vote. `answer`: from one sequence [1, T, J, 3] to a name and
    further words. A sequence that cannot be answered (joints were lost, frames are missing, a line is no frame, unit or
    upright direction are wrong) is told with the reason, and does not vote. Raises UserError: the first sequence cannot
    be read, or there is none.
    """
    header, window, first, votes, told = '', [], 0, Counter(), False
    for number, line in _lines(source):
        if not line.strip():
            window, votes = [], Counter()
            continue
        if not header:
            header = line
            if not _is_frame(line):
                continue
        window.append(line)
        first = number if len(window) == 1 else first
        if len(window) < run.encoder.length:
            continue
        text, window = '\n'.join(window if _is_frame(header) else [header, *window]), []
        where = f'{NAME}, lines {first} to {number}'
        with warnings.catch_warnings():
            if told:  # what is odd about every sequence is told once
                warnings.simplefilter('ignore', Notice)
            try:
                name, further = answer(_sequence(text, where, run, accept))
            except UserError as error:
                if not told:
                    raise
                yield f'lines {first} to {number}: not answered: {error}'
                continue
        told, votes[name] = True, votes[name] + 1
        winner, count = votes.most_common(1)[0]
        yield f'lines {first} to {number}: {name} ({further}); vote: {winner}, {count} of {votes.total()} sequences'
    if not told:
        raise UserError(
            f'{NAME} should have {run.encoder.length} frames or more, a line each, found {len(window)}: send more'
        )


def _sequence(text: str, where: str, run: Recogniser, accept: bool) -> np.ndarray:
    """One sequence `[1, T, J, 3]` from the lines of its frames, behind a header if there is one."""
    if run.skeleton is None:
        raise UserError(f'{where}: the joints that the model was trained on are not known: give --data_dir')
    recording = table.parse(text, RawRecording(where, Path(where), '', 0), run.skeleton)
    for note in recording.notes:
        warnings.warn(Notice(f'{NAME}: {note}'), stacklevel=2)
    axes = run.trained_on.way.axes if run.trained_on else None
    return sequences_in(recording.frames, recording.numbers, run, where, accept, axes)


def _is_frame(line: str) -> bool:
    """Whether a line holds numbers alone."""
    return not any(letter.isalpha() for letter in line.casefold().replace('nan', '').replace('e', ''))


def _lines(source: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := source.readline(_MAX_LINE_BYTES):
        number += 1
        if len(line) == _MAX_LINE_BYTES:
            raise UserError(f'{NAME}, line {number}: a frame was expected, found more than {_MAX_LINE_BYTES} bytes')
        try:
            yield number, line.decode('utf-8-sig' if number == 1 else 'utf-8').rstrip('\r\n')
        except UnicodeDecodeError as error:
            raise UserError(f'{NAME}, line {number}: text (UTF-8) was expected, and this is none') from error
