"""Arrays that are changed in place."""

from pathlib import Path

import numpy as np


def change(path: Path, make) -> None:
    """Replaces the array in a file by `make(array)`."""
    np.save(path, make(np.load(path)))


def put(array: np.ndarray, index: tuple, value: float) -> np.ndarray:
    array[index] = value
    return array
