"""What tests of disturbed runs share: signals and accidents at a chosen moment, small disks, and what a run leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sge_la.runs import records


@contextlib.contextmanager
def doing(action: Callable[[], None], when: Callable[[], bool]) -> Iterator[None]:
    """Does something from another thread, once, as soon as `when` is true."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            if when():
                action()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def stopping(number: int, when: Callable[[], bool]) -> contextlib.AbstractContextManager[None]:
    """Sends this process a signal, a real one, as soon as `when` is true."""
    heed_interrupts()
    return doing(lambda: os.kill(os.getpid(), number), when)


def heed_interrupts() -> None:
    """Lets Ctrl-C interrupt this process and its children, also when a shell started them to run behind (`&`)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def mount(*arguments: str | Path) -> None:
    """Mounts something; skips the test where this may not be done."""
    made = subprocess.run(['mount', *arguments], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f'nothing can be mounted here: {made.stderr.strip()}')


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of its own, in memory, at `place`, such as '4m'; yields a function that mounts it with other options."""
    place.mkdir(parents=True)
    mount('-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', place)
    try:
        yield lambda options: mount('-o', f'remount,{options}', place)
    finally:
        subprocess.run(['umount', place], check=True)


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Gives up the rights of root, whom permissions do not bind, for a while."""
    import concurrent.futures.process  # noqa: F401 - loaded lazily else, from where only root may read

    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def outcome(models: Path) -> dict[str, object]:
    """Every file that training leaves, without what differs between two runs in any case: times and paths."""
    found: dict[str, object] = {}
    for path in sorted(models.rglob('*')):
        name = str(path.relative_to(models))
        if path.name == 'config.json':
            found[name] = {key: json.loads(path.read_text())[key] for key in ('record', 'finished')}
        elif path.name == 'results.json':
            found[name] = json.loads(path.read_text())['test_sets']
        elif path.name == 'history.csv':
            lines = records.read_history(path.parent)
            found[name] = [{key: value for key, value in line.items() if key != 'seconds'} for line in lines]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found
