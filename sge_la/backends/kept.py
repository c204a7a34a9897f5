"""Where JAX keeps compiled programs, so that the next run need not compile them again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path

_VARIABLE = 'JAX_COMPILATION_CACHE_DIR'
# A run has some ten programs of at most a few MiB.
_MOST = 512 * 2**20


def keep_programs() -> None:
    """Has JAX keep its compiled programs in the user's cache folder; to be called before JAX is imported.

    JAX_COMPILATION_CACHE_DIR names another folder, or, if it is empty, none. Nothing is kept where the folder cannot be
    written: that costs time and nothing else.
    """
    if 'jax' in sys.modules or _VARIABLE in os.environ:
        return
    try:
        folder = _cache() / 'sge-la' / f'jax-{_machine()}'
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # programs are run, so that nobody else may write here
        with tempfile.TemporaryFile(dir=folder):
            pass
        _trim(folder)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return
    os.environ[_VARIABLE] = str(folder)
    warnings.filterwarnings('ignore', message='Error (reading|writing) persistent compilation cache entry')


def _cache() -> Path:
    """The user's folder for what can be made again."""
    named = Path(os.environ.get('XDG_CACHE_HOME', ''))
    return named if named.is_absolute() else Path.home() / '.cache'


def _machine() -> str:
    """Names the kind of CPU: one program may not run on another, and homes are shared between machines."""
    features = f'{platform.machine()} {platform.processor()}'
    with contextlib.suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        features += next((line for line in lines if line.startswith(('flags', 'Features'))), '')
    return hashlib.sha256(features.encode()).hexdigest()[:12]


def _trim(folder: Path) -> None:
    """Removes the oldest programs where there are more than enough."""
    files = [(file.stat(), file) for file in folder.iterdir() if file.is_file()]
    total = sum(found.st_size for found, _ in files)
    for found, file in sorted(files, key=lambda pair: pair[0].st_mtime):
        if total <= _MOST:
            break
        file.unlink(missing_ok=True)
        total -= found.st_size
