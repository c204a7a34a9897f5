"""Code in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def start(code: str, *arguments: object, **options) -> subprocess.Popen:
    """Starts another Python in the repository; its output is read line by line."""
    command = [sys.executable, '-c', code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
