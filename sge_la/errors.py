"""Errors that a user can cause, how a command reports them, and the one place where text reaches a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

# The commands, and how they are called in a clone of the repository, where nothing need be installed.
PROGRAMS = {
    'demo': 'python -m sge_la demo',
    'train': 'python train.py',
    'evaluate': 'python evaluate.py',
    'sweep': 'python -m sge_la.sweep',
    'prepare': 'python -m sge_la.data.prepare',
    'check': 'python -m sge_la.data.check',
    'audit': 'python -m sge_la.reporting.audit',
    'convert': 'python -m sge_la.data.convert',
    'identify': 'python -m sge_la.identify',
    'gallery': 'python -m sge_la.enrol',
    'export': 'python -m sge_la.export',
    'checkpoints': 'python -m sge_la.checkpoints',
    'compare': 'python -m sge_la.compare',
    'ablation': 'python -m sge_la.ablation',
    'cost': 'python -m sge_la.cost',
}


def program(command: str) -> str:
    """How a command is called, in the words that called this one: `sge-la check`, or as in a clone."""
    called = Path(sys.argv[0])
    if called.stem == 'sge-la':
        return f'sge-la {command}'
    if called.parts[-2:] == ('sge_la', '__main__.py'):
        return f'python -m sge_la {command}'
    return PROGRAMS[command]


def typed(command: str, *words: str, **flags: object) -> str:
    """A command as one would type it; flags as of `words_of`."""
    return f'{program(command)} {shlex.join([*words, *words_of(flags)])}'


def words_of(flags: Mapping[str, object]) -> list[str]:
    """Flags as one would type them; one that is None is left out, True stands for one without a value."""
    given = {name: value for name, value in flags.items() if value is not None}
    pairs = ([f'--{name}'] if value is True else [f'--{name}', str(value)] for name, value in given.items())
    return [word for pair in pairs for word in pair]


# Longest value (text without a blank) and longest message that is shown.
_VALUE, _MESSAGE = 300, 2000


def plain(text: object) -> str:
    """One line that a terminal shows and does not obey: control characters escaped, long values and texts shortened."""
    line = ''.join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text))
    line = re.sub(rf'\S{{{_VALUE + 1},}}', lambda found: _shortened(found[0], _VALUE), line)
    return _shortened(line, _MESSAGE)


def _shortened(text: str, size: int) -> str:
    half = (size - 5) // 2
    return text if len(text) <= size else f'{text[:half]} ... {text[-half:]}'


def counted(number: int, one: str, more: str = '') -> str:
    """A number and its noun: `1 person`, `2 people`; `more`: the plural, by default with an s."""
    return f'{number} {one if number == 1 else more or one + "s"}'


def listed(values: Iterable[object], most: int = 5) -> str:
    """The first of some values, separated by commas; dots behind them where there are more."""
    texts = list(map(str, values))
    return ', '.join(texts[:most]) + (' ...' if len(texts) > most else '')


# Takes the lines that `say` would print, where commands are called from Python.
_listener: ContextVar[Callable[[str], None] | None] = ContextVar('listener', default=None)


@contextlib.contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Inside, `say` prints nothing but calls `listener` with each line, and no bar is shown."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def say(text: object = '', *, error: bool = False) -> None:
    """Prints lines, above a bar if there is one; to stderr with `error`. Only tables may be long."""
    lines = [
        line if line.isprintable() and max(map(len, line.split()), default=0) <= _VALUE else plain(line)
        for line in str(text).split('\n')
    ]
    if listener := _listener.get():
        for line in lines:
            listener(line)
        return
    from tqdm import tqdm  # takes a moment, and --help needs none

    tqdm.write('\n'.join(lines), file=sys.stderr if error else sys.stdout)


def bar(*items: Any, shown: bool = True, **settings: Any) -> Any:
    """A bar of tqdm that goes when it is full; on a terminal alone, and not where `heard_by` listens."""
    if not shown or _listener.get() is not None or not sys.stderr.isatty():
        return _NoBar(*items)
    from tqdm import tqdm

    return tqdm(*items, leave=False, **settings)


class _NoBar:
    """What stands for a bar where none is shown. One of tqdm's would do, but loses a Ctrl-C that meets its end."""

    def __init__(self, items: Iterable = ()):
        self._items = items

    def __iter__(self) -> Iterator:
        return iter(self._items)

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int = 1) -> None:
        pass

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        pass


class UserError(Exception):
    """A mistake in the input, told in one sentence: what was expected, what was found, what to do."""


def refuse_any(*rules: tuple[object, str]) -> None:
    """Raises UserError with the sentence of the first rule whose other part is true."""
    for wrong, sentence in rules:
        if wrong:
            raise UserError(sentence)


class Notice(UserWarning):
    """Something odd that does no harm: a command says it in one line and goes on."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which pre-empted machines send before they go: it stops a command just as Ctrl-C does."""


def run_command(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Runs a command and turns what a user or the machine can cause into one line on stderr.

    `main`: takes the arguments (None: those of the process) and returns an exit status or None for 0. Words in a
    `KeyboardInterrupt` that it lets through are added to what is said of Ctrl-C and SIGTERM. `argv`: arguments without
    the program's name. Returns the exit status: what `main` returned, 2 for a `UserError`, what the system refused or
    too little memory, 130 after Ctrl-C, 143 after SIGTERM, 141 if nobody reads the output. Other exceptions are defects
    and keep their traceback.
    """
    _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log holds every line that was said, however the run ends
    try:
        with _sigterm_raised(), _notices_as_lines():
            status = main(argv) or 0
            sys.stdout.flush()
        return status
    except UserError as error:
        print(f'error: {plain(error)}', file=sys.stderr)
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
        print(f'error: {plain(reason)}; check that it is there, may be used, and has room on its disk', file=sys.stderr)
        return 2
    except MemoryError as error:
        reason = f' ({plain(error)})' if error.args else ''
        print(
            f'error: there is not enough memory{reason}; end other programs or use a machine with more', file=sys.stderr
        )
        return 2
    except KeyboardInterrupt as stop:
        name, status = ('SIGTERM', 143) if isinstance(stop, Terminated) else ('Ctrl-C', 130)
        print(f'stopped by {name}' + (f': {plain(stop)}' if stop.args else ''), file=sys.stderr)
        return status


def _open_what_is_closed() -> None:
    """Lets standard streams that the caller closed (`>&-`) lead nowhere.

    Else the next file to be opened would have their number, and what a library prints would be written into it.
    """
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open until the process ends


@contextlib.contextmanager
def _notices_as_lines() -> Iterator[None]:
    """Inside, a `Notice` is one line on stderr, without the place in the code that Python adds to warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter('always', Notice)
        show = warnings.showwarning

        def show_line(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
            if issubclass(category, Notice):
                print(f'warning: {plain(message)}', file=sys.stderr)
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
