"""Runs a reader on damaged files: it must give a right result or a `UserError`, in bounded memory and time."""

from __future__ import annotations

import contextlib
import faulthandler
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sge_la.errors import UserError

# What SECURITY.md promises of every reader: memory beyond what the process has, and processor time.
MEMORY_A_BYTE, MEMORY_BESIDES = 10, 64 * 2**20
SECONDS_A_BYTE, SECONDS_BESIDES = 5e-6, 1.0


@contextlib.contextmanager
def memory_limit(above: int) -> Iterator[None]:
    """Refuses the process more than `above` bytes of address space beyond what it has (on Linux); asking fails."""
    if not Path('/proc/self/statm').exists():
        yield
        return
    with open('/proc/self/statm') as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + above, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def hold_to_its_word(
    damaged: Iterable[tuple[int, bytes]],
    path: Path,
    read: Callable[[Path], Any],
    check: Callable[[Any, bytes], None],
    seconds: float = 20.0,
) -> tuple[int, int]:
    """Reads each damaged file.

    Args:
        damaged: (number, bytes) of each case.
        path: the file that the bytes are written to.
        read: the reader.
        check: raises AssertionError unless the result is right for these bytes.
        seconds: a case that takes longer ends the run with a traceback, as a hang.

    Returns:
        How many were read, and how many were refused.

    Raises:
        AssertionError: another exception came, more memory or processor time was taken than SECURITY.md promises, or a
            result was wrong; the case's number and bytes are in the message.
    """
    read_well = refused = 0
    for number, content in damaged:
        # ext4 flushes a file that is emptied and written again to the disk, which takes ten times as long.
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            start = time.process_time()
            with memory_limit(MEMORY_A_BYTE * len(content) + MEMORY_BESIDES):
                result = read(path)
            taken = time.process_time() - start
            assert taken <= SECONDS_A_BYTE * len(content) + SECONDS_BESIDES, f'{taken:.1f} s of processor time'
            check(result, content)
            read_well += 1
        except UserError as error:
            text = str(error)
            assert text.isprintable() and len(text) < 1500, f'case {number}: not one clear sentence: {text!r}'
            refused += 1
        except Exception as error:
            raise AssertionError(f'case {number} ({len(content)} bytes, {content[:300]!r}): {error!r}') from error
        finally:
            faulthandler.cancel_dump_traceback_later()
    return read_well, refused
