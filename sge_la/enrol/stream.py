"""Frames as they come, a line each: an answer after each full sequence, and the vote of all sequences so far."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sge_la.api import Recogniser
from sge_la.data.raw import table
from sge_la.data.raw.recording import RawRecording
from sge_la.enrol.recordings import sequences_in
from sge_la.errors import Notice, UserError, counted

NAME = 'standard input'
_MAX_LINE_BYTES = 1 << 20


def answers(
    source: BinaryIO, run: Recogniser, answer: Callable[[np.ndarray], tuple[str, str]], accept: bool = False
) -> Iterator[str]:
    """A line after each T frames: which lines they stood in, the answer, and the vote.

    `source`: lines as of a `.csv` recording, the first a header or, without one, x, y and z of the joints in the run's
    order; an empty line ends a recording, and with it the vote. `answer`: from one sequence [1, T, J, 3] to a name and
    further words. A sequence that cannot be answered (joints were lost, frames are missing, a line is no frame, unit or
    upright direction are wrong) is told with the reason, and does not vote; the frames behind what was wrong with it
    begin the next. Raises UserError: the first sequence cannot be read, or there is none.
    """
    reader, window, votes, told = None, [], Counter(), False
    for number, line in _lines(source):
        if not line.strip():
            window, votes = [], Counter()
            continue
        if reader is None:
            reader, window = _Reader.opened(number, line, run, accept)
        else:
            window.append((number, line))
        if len(window) < run.encoder.length:
            continue
        place = f'lines {window[0][0]} to {number}'
        with warnings.catch_warnings():
            if told:  # what is odd about every sequence is told once
                warnings.simplefilter('ignore', Notice)
            try:
                name, further = answer(reader.sequence(window))
            except UserError as error:
                if not told:
                    raise
                window = reader.sound_end(window)
                yield f'{place}: not answered: {error}'
                continue
        told, window, votes[name] = True, [], votes[name] + 1
        winner, count = votes.most_common(1)[0]
        yield f'{place}: {name} ({further}); vote: {winner}, {count} of {counted(votes.total(), "sequence")}'
    if not told:
        raise UserError(
            f'{NAME} should have {run.encoder.length} frames or more, a line each, found {len(window)}: send more'
        )


@dataclass(frozen=True)
class _Reader:
    """Makes frames of lines, all of which have the columns that the first one tells."""

    columns: table.Columns
    separator: str
    run: Recogniser
    accept: bool

    @classmethod
    def opened(cls, number: int, line: str, run: Recogniser, accept: bool) -> tuple[_Reader, list[tuple[int, str]]]:
        """From the first line; also the line, if it is a frame and no header."""
        if run.skeleton is None:
            raise UserError(f'{NAME}: the joints that the model was trained on are not known: give --data_dir')
        columns, separator, rest = table.opened([(number, line)], run.skeleton, NAME)
        for note in columns.notes:
            warnings.warn(Notice(f'{NAME}: {note}'), stacklevel=2)
        return cls(replace(columns, notes=()), separator, run, accept), rest

    def sequence(self, lines: list[tuple[int, str]]) -> np.ndarray:
        """All of the lines as one sequence [1, lines, J, 3].

        Raises UserError: they are none.
        """
        recording = table.of_lines(lines, self.columns, self.separator, RawRecording(NAME, Path(NAME), '', 0))
        for note in recording.notes:
            warnings.warn(Notice(f'{NAME}: {note}'), stacklevel=2)
        axes = self.run.trained_on.way.axes if self.run.trained_on else None
        where = f'{NAME}, lines {lines[0][0]} to {lines[-1][0]}'
        return sequences_in(recording.frames, recording.numbers, self.run, where, self.accept, axes, len(lines))

    def sound_end(self, lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """As many of the last lines as nothing is wrong with, neither alone nor together; the first is none of them."""
        alone = [start for start in range(len(lines)) if not self._is_sound(lines[start : start + 1])]
        starts = range(max(alone, default=0) + 1, len(lines))
        return next((lines[start:] for start in starts if self._is_sound(lines[start:])), [])

    def _is_sound(self, lines: list[tuple[int, str]]) -> bool:
        try:
            self.sequence(lines)
        except UserError:
            return False
        return True


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
