"""Keeps two runs out of one folder.

The operating system's lock (`flock`) on a file in the folder does it where it can be had: it ends with its process,
however that ends, and works across containers. On file systems without it (some network ones, Windows) the file's
content decides: which process, started when, on which boot of which host. No wall time is read, so clocks may jump.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from sge_la.errors import UserError
from sge_la.files.atomic import make_folder, os_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_NAME = 'run.lock'
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_MAX_BYTES = 4096


class InUse(UserError):
    """Somebody else holds the lock."""


class RunLock:
    """The claim on a folder or file; a context manager, or call `release`.

    `path`: the lock file; `note`: a sentence if the lock of a run that has ended was taken over, else ''.
    """

    def __init__(self, path: Path, descriptor: int, note: str) -> None:
        self.path, self.note = path, note
        self._descriptor: int | None = descriptor

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Gives the folder back; a second call does nothing."""
        if self._descriptor is None:
            return
        # The name goes first: whoever opened this file and waits for nothing would otherwise hold a file without name.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._descriptor)):
                os.unlink(self.path)
        os.close(self._descriptor)
        self._descriptor = None


def claim(folder: Path | str) -> RunLock:
    """Takes a folder for this run, and clears away what a killed run left half-written there.

    `folder`: the run's folder; made if it is not there. Returns the lock, to be released at the end; it ends with the
    process anyway. Raises UserError: another run holds the folder (names its process and host), or it cannot be
    written.
    """
    return _claim(make_folder(folder) / LOCK_NAME, Path(folder), '.*.partial')


def claim_file(path: Path | str, seconds: float = 60.0) -> RunLock:
    """Takes one file for reading, changing and writing it, and clears away what a killed writer left half-written.

    Its folder must be there; others may take other files in it. Whoever else holds it is waited for so many seconds.
    Raises UserError: they still hold it then (`InUse`), or nothing can be written there.
    """
    path, end = Path(path), time.monotonic() + seconds
    while True:
        try:
            return _claim(
                path.with_name(f'.{path.name[:200]}.lock'), path, f'.{glob.escape(path.name[:200])}.????????.partial'
            )
        except InUse:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _claim(path: Path, what: Path, partial: str) -> RunLock:
    """`path`: the lock; `what`: what it stands for; `partial`: which files beside it are of killed writers."""
    while True:
        with os_errors(path, 'lock'):
            descriptor, fresh = _open(path)
            try:
                note = _take(path, descriptor, fresh, what)
            except BaseException:
                os.close(descriptor)
                raise
        if note is not None:
            _remove_files(path.parent, partial)
            return RunLock(path, descriptor, note)
        os.close(descriptor)  # released, and so removed, between our opening and locking it


def _open(path: Path) -> tuple[int, bool]:
    flags = os.O_RDWR | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, 0o644), False


def _take(path: Path, descriptor: int, fresh: bool, what: Path) -> str | None:
    """Locks an open lock file and writes our name into it: the note, or None if the file has lost its name."""
    try:
        locked = _flock(descriptor)
    except BlockingIOError:
        raise InUse(_refusal(path, what, _read_owner(descriptor))) from None
    try:
        if not os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return None
    except FileNotFoundError:
        return None
    owner = _read_owner(descriptor)
    if not locked and not fresh and _is_alive(owner) is not False:
        raise InUse(_refusal(path, what, owner))
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(_ourselves()).encode())
    os.fsync(descriptor)
    if fresh or owner is None:
        return ''
    return f'took over {path} of process {owner["pid"]} on {owner["host"]}, which ended without removing it'


def _flock(descriptor: int) -> bool:
    """Whether the lock was taken (True) or cannot be had on this file system (False); BlockingIOError: it is held."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _refusal(path: Path, what: Path, owner: dict[str, Any] | None) -> str:
    if owner is None:
        return f'{what} is in use by another run; wait for it, or delete {path.name} there if no run is alive'
    return (
        f'{what} is in use by process {owner["pid"]} on {owner["host"]}; wait for that run or stop it '
        f'(if it is no run of this program, delete {path.name} there)'
    )


def _read_owner(descriptor: int) -> dict[str, Any] | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        owner = json.loads(os.read(descriptor, _MAX_BYTES))
    except (ValueError, RecursionError):
        return None
    valid = isinstance(owner, dict) and isinstance(owner.get('pid'), int) and isinstance(owner.get('host'), str)
    return owner if valid and 0 < owner['pid'] < 1 << 31 else None


def _ourselves() -> dict[str, Any]:
    return {'pid': os.getpid(), 'host': socket.gethostname(), 'boot': _boot(), 'started': _start_time(os.getpid())}


def _is_alive(owner: dict[str, Any] | None) -> bool | None:
    """Whether the process that wrote a lock is alive; None if that cannot be told from here."""
    if owner is None or owner['host'] != socket.gethostname() or os.name == 'nt':
        return None
    if owner.get('boot') and _boot() and owner['boot'] != _boot():
        return False
    try:
        os.kill(owner['pid'], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # alive, and someone else's
    started = _start_time(owner['pid'])
    return not (started and owner.get('started') and started != owner['started'])  # else the number was given anew


def _boot() -> str | None:
    """An identifier that is new after every start of the machine, where the system has one."""
    try:
        return Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    except OSError:
        return None


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did, where the system tells."""
    try:
        # The second field, the program's name in brackets, may hold anything; 19 fields follow up to ours.
        return int(Path(f'/proc/{pid}/stat').read_text(errors='replace').rpartition(')')[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _remove_files(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            path.unlink()
