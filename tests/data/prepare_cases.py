"""Preparing in this process and in others, and reading what came of it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sge_la.data.layout import AXES, SplitFiles
from sge_la.data.prepare import main

REPOSITORY = Path(__file__).parents[2]


def prepare(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def prepared(files) -> dict:
    return json.loads((files.train.folder / 'prepare.json').read_text(encoding='utf-8'))


def stored(files: SplitFiles, length: int) -> np.ndarray:
    """The arrays as the original reads them, put together: `[N, T, J, 3]`."""
    axes = [np.load(files.source(axis)) for axis in AXES]
    assert all(axis.dtype == np.float64 for axis in axes)
    return np.stack([axis.reshape(-1, length, axis.shape[1]) for axis in axes], axis=-1)


def command(*arguments: object, python: Sequence[str] = ('-m', 'sge_la.data.prepare'), **options) -> subprocess.Popen:
    """The command in a process of its own; `python`: how it is called there."""
    return subprocess.Popen(
        [sys.executable, *python, *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
