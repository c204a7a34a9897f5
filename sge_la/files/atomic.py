"""Writes files whole or not at all.

Everything goes into a file beside the target, is flushed to the disk and then renamed, so that Ctrl-C, a full disk or a
power cut leaves either the old file or the new one. What the operating system refuses becomes a `UserError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sge_la.errors import UserError

_CAUSES = {
    errno.ENOSPC: 'there is no room left on the disk; free some or choose another folder',
    errno.EDQUOT: 'the disk quota is used up; free some room or choose another folder',
    errno.EFBIG: 'the file would be larger than is allowed here; choose another folder',
    errno.EROFS: 'the disk is read-only; choose another folder',
    errno.EACCES: 'there is no permission for it; change the permissions or choose another folder',
    errno.EPERM: 'there is no permission for it; change the permissions or choose another folder',
    errno.ENOENT: 'it, or its folder, does not exist (any more); check the path',
    errno.ENOTDIR: 'a part of its path is a file and not a folder; choose another path',
    errno.EEXIST: 'something of that name exists already; choose another path',
    errno.EISDIR: 'it is a folder and not a file; choose another path',
    errno.ENOTEMPTY: 'a folder with other files is in its place; choose another path',
    errno.ENAMETOOLONG: 'its name is too long; choose a shorter one',
}
LFS_START = b'version https://git-lfs'


@contextlib.contextmanager
def os_errors(path: Path | str, action: str) -> Iterator[None]:
    """Turns every `OSError` of its body into a `UserError` of one sentence.

    `path`: the file or folder that the sentence names; `action`: what was tried, e.g. 'write' or 'read'.
    """
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno, error.strerror or str(error))
        raise UserError(f'cannot {action} {path}: {cause}') from error
    except RuntimeError as error:  # what Path.resolve makes of links that lead in a circle, before Python 3.13
        if 'loop' not in str(error):
            raise
        raise UserError(f'cannot {action} {path}: its links lead in a circle; put the file itself there') from error


def regular_size(path: Path | str) -> int:
    """The size of a file in bytes.

    Raises UserError: it is missing, or it is a folder, a pipe or a device (which could block, or never end).
    """
    with os_errors(path, 'read'):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = 'a folder' if stat.S_ISDIR(status.st_mode) else 'a pipe or a device'
        raise UserError(f'cannot read {path}: a file was expected, found {kind}; check the path')
    return status.st_size


def refuse_way_out(path: Path | str, folder: Path | str) -> None:
    """Refuses a path that leads out of a folder, by `..` or by a link: others may have made the folder.

    Raises UserError: it does, or cannot be followed.
    """
    with os_errors(path, 'read'):
        target, inside = Path(path).resolve(), Path(folder).resolve()
    if not target.is_relative_to(inside):
        raise UserError(f'{path} should lie in {folder}, but leads to {target}; put the file itself there')


def make_folder(path: Path | str) -> Path:
    """Makes a folder and those above it; one that exists is good.

    Raises UserError: it cannot be made.
    """
    with os_errors(path, 'make the folder'):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def sync_folder(path: Path | str) -> None:
    """Flushes a folder's list of names to the disk, where the system can do that (Windows cannot)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[BinaryIO]:
    """Opens a file beside `path` for writing, and puts it in `path`'s place if the body comes to its end.

    Yields a binary file that can be written, sought and read back. Raises UserError: it cannot be written (no room,
    read-only, no permission, the folder has vanished). The body should do nothing but write, since every `OSError` in
    it is told as one of this file.
    """
    with os_errors(path, 'write'), beside(Path(path)) as file:
        yield file


@contextlib.contextmanager
def beside(path: Path) -> Iterator[BinaryIO]:
    """As `replacing`, but exceptions of the body stay what they are."""
    refuse_no_plain_file(path)
    partial = path.with_name(f'.{path.name[:200]}.{secrets.token_hex(4)}.partial')
    with os_errors(path, 'write'):
        file = open(partial, 'x+b')  # noqa: SIM115 - closed below; errors of the body are not ours to tell
    try:
        yield file
        with os_errors(path, 'write'):
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    sync_folder(path.parent)


def refuse_no_plain_file(path: Path) -> None:
    """Raises a `UserError` if something that is no plain file is in the place that is to be written or removed."""
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = 'a link' if stat.S_ISLNK(mode) else 'a pipe or a device'
            raise UserError(f'cannot write {path}: a plain file was expected there, found {kind}; choose another path')


def refuse_lfs_pointer(path: Path, content: bytes) -> None:
    """Raises a `UserError` if `content`, the first bytes of a file, is the text that Git LFS leaves in its place."""
    if content.startswith(LFS_START):
        raise UserError(f'{path} is a Git LFS pointer and not the file itself; run `git lfs pull` where it came from')
