"""TensorBoard's event files of a training: one scalar a column of `history.csv` and epoch.

Nothing of a backend is needed, only the package `tensorboard`. A file grows by an epoch at a time, so that TensorBoard
can watch; a run that goes on writes all epochs so far into a new file before it removes the old one, whose end may be
torn or of an epoch that is now computed anew.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from sge_la.data.layout import AXES
from sge_la.errors import UserError
from sge_la.files.atomic import make_folder, os_errors, replacing
from sge_la.runs import records

FOLDER = 'tensorboard'
_VERSION = 'brain.Event:2'


class EventLog:
    """The event file of one training; a context manager.

    `folder`: the run's; the file lies in its folder `tensorboard`; `history`: the epochs that are finished, one dict
    each, which are written at once; `axis`: 'x', 'y' or 'z': leaves out columns of the other axes, and the axis in the
    scalars' names, so that TensorBoard shows the three in one chart; '' writes all columns as they are called. Raises
    UserError: a file cannot be written.
    """

    def __init__(self, folder: Path, history: Iterable[Mapping], axis: str = '') -> None:
        self._suffix = f'_{axis}' if axis else ''
        self._others = tuple(f'_{other}' for other in AXES if axis and other != axis)
        home = make_folder(folder / FOLDER)
        if home.is_symlink():
            raise UserError(f'{home} should be a folder of the run, found a link; event files there may be of others')
        self._path = home / f'events.out.tfevents.{int(time.time())}.{secrets.token_hex(4)}'
        with replacing(self._path) as file:
            _write(file, [_event(file_version=_VERSION), *map(self._scalars, history)])
        for old in home.glob('*.tfevents.*'):
            if old != self._path and not old.is_symlink() and old.is_file():
                with os_errors(old, 'remove'):
                    old.unlink(missing_ok=True)
        with os_errors(self._path, 'write'):
            self._file = open(self._path, 'ab')  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with os_errors(self._path, 'write'):
            self._file.close()

    def add(self, line: Mapping) -> None:
        """Writes the scalars of an epoch; they are on the disk when this returns."""
        with os_errors(self._path, 'write'):
            _write(self._file, [self._scalars(line)])
            self._file.flush()
            os.fsync(self._file.fileno())

    def _scalars(self, line: Mapping):
        values = {
            name.removesuffix(self._suffix): value
            for name, value in line.items()
            if name != 'epoch' and isinstance(value, (int, float)) and not name.endswith(self._others)
        }
        return _event(values, step=line['epoch'])


@contextlib.contextmanager
def epoch_logs(
    wanted: bool, folders: Mapping[str, Path], history: Iterable[Mapping]
) -> Iterator[Callable[[Mapping], None]]:
    """Opens the event files of a training if they are wanted.

    `wanted`: without it nothing is done; `folders`: of the run, by axis; `{'': folder}` for one that has no axes;
    `history`: the epochs that are finished. Yields `add(line)`, to be called after every epoch with its columns.
    """
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(EventLog(folder, history, axis)) for axis, folder in folders.items() if wanted]

        def add(line: Mapping) -> None:
            for log in logs:
                log.add(line)

        yield add


def log_finished(wanted: bool, folders: Mapping[str, Path]) -> None:
    """Writes the event files of a training that is finished, from its history.csv, if they are wanted."""
    for axis, folder in folders.items():
        with epoch_logs(wanted, {axis: folder}, records.read_epochs(folder) if wanted else ()):
            pass


def _event(values: Mapping[str, float] | None = None, **fields):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    event = Event(wall_time=time.time(), **fields)
    for tag, value in (values or {}).items():
        event.summary.value.append(Summary.Value(tag=tag, simple_value=value))
    return event


def _write(file: BinaryIO, events: Iterable) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString())
