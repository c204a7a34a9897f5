"""Reads many recordings, on all processor cores where that is worth it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, resource_tracker
from pathlib import Path

from sge_la.backends.runtime import available_cores
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.errors import UserError, bar
from sge_la.files.atomic import refuse_way_out

# Starting the processes takes about as long as reading this many bytes of text.
_WORTH_PROCESSES = 24 * 2**20


def refuse_links_out(recordings: Iterable[RawRecording], folder: Path | str) -> None:
    """Refuses recordings that are links to something outside their folder, which others may have packed.

    `recordings`: what was found there; `folder`: the folder of the raw data; may be a link itself. Raises UserError:
    names the first.
    """
    for raw in recordings:
        refuse_way_out(raw.path, folder)
        for name in raw.files:  # there may be hundreds of thousands, and links are few
            if os.path.islink(raw.path / name):
                refuse_way_out(raw.path / name, folder)


def read_all(
    read: Callable[[RawRecording], Recording], recordings: Sequence[RawRecording], processes: int | None = None
) -> list[Recording]:
    """Reads recordings, showing a bar with the time left on a terminal.

    `read`: reads one; a function that other processes can import; `recordings`: what is to be read; `processes`: how
    many read at the same time; None: one a core if there is much to read, else this one alone. Returns what was read,
    in the order given. Raises UserError: one of them is bad, the first in the order given.
    """
    if processes is None:
        total = sum(raw.size for raw in recordings)
        processes = min(available_cores(), len(recordings)) if total > _WORTH_PROCESSES else 1
    # Bytes, because recordings differ in length: the time left is told better by them.
    total = sum(max(1, raw.size) for raw in recordings)
    with bar(total=total, unit='B', unit_scale=True, desc='reading') as done:
        result = []
        for recording in _in_processes(read, recordings, processes) if processes > 1 else map(read, recordings):
            result.append(recording)
            done.update(max(1, recording.raw.size))
    return result


def _in_processes(
    read: Callable[[RawRecording], Recording], recordings: Iterable[RawRecording], processes: int
) -> Iterator[Recording]:
    # Fresh processes: copies of one that runs threads (NumPy's, a bar's, TensorFlow's) can hang.
    executor = ProcessPoolExecutor(processes, get_context('spawn'))
    try:
        with _interrupts_held_back():
            futures = [executor.submit(read, raw) for raw in recordings]
        for at, future in enumerate(futures):
            yield future.result()
            # The array belongs to the caller now; a second reference would keep it alive.
            futures[at] = None
    except BrokenProcessPool as error:
        raise UserError(
            'a process that read recordings was killed, most likely because memory ran out; close other programs '
            'and start again'
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes started in the body never see Ctrl-C; this one gets it afterwards and stops them in good order."""
    if not hasattr(signal, 'pthread_sigmask') or threading.current_thread() is not threading.main_thread():
        yield
        return
    # Starting it later would lift the block.
    resource_tracker.ensure_running()
    came = []
    # The block is what the processes inherit. Here another thread may still take the signal, hence a handler.
    handler = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)
