"""Errors that a user can cause, and how a command reports them."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence


class UserError(Exception):
    """A mistake in the input, told in one sentence: what was expected, what was found, what to do."""


class Notice(UserWarning):
    """Something odd that does no harm: a command says it in one line and goes on."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which pre-empted machines send before they go: it stops a command just as Ctrl-C does."""


def run_command(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Runs a command and turns what a user or the machine can cause into one line on stderr.

    `main`: takes the arguments (None: those of the process) and returns an exit status or None for 0. Words in a
    `KeyboardInterrupt` that it lets through are added to what is said of Ctrl-C and SIGTERM. `argv`: arguments without
    the program's name. Returns the exit status: what `main` returned, 2 for a `UserError` or what the system refused,
    130 after Ctrl-C, 143 after SIGTERM, 141 if nobody reads the output. Other exceptions are defects and keep their
    traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log holds every line that was said, however the run ends
    try:
        with _sigterm_raised(), _notices_as_lines():
            status = main(argv) or 0
            sys.stdout.flush()
        return status
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); what is still buffered has nowhere to go.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # What files, folders and locks refuse is told where they are used. This is the rest, such as a full disk
        # behind `> log`.
        what = error.filename or 'reading or writing'
        reason = f'the system refused {what} ({error.strerror or error})'
        print(f'error: {reason}; check that it is there, may be used, and has room on its disk', file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        name, status = ('SIGTERM', 143) if isinstance(stop, Terminated) else ('Ctrl-C', 130)
        print(f'stopped by {name}' + (f': {stop}' if stop.args else ''), file=sys.stderr)
        return status


@contextlib.contextmanager
def _notices_as_lines() -> Iterator[None]:
    """Inside, a `Notice` is one line on stderr, without the place in the code that Python adds to warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter('always', Notice)
        show = warnings.showwarning

        def show_line(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
            if issubclass(category, Notice):
                print(f'warning: {message}', file=sys.stderr)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_line
        yield


@contextlib.contextmanager
def _sigterm_raised() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`, unless somebody else has a use for it."""

    def stop(number: int, frame: object) -> None:
        raise Terminated

    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
