"""Skeletons that stay in their files: what is asked for is read, and nothing else is in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sge_la.files.arrays import Header, read_npy, release_pages, sequence_shape

# Bytes that are read before the pages that they came from are given back.
_READ_BYTES = 64 << 20


class MappedSkeletons:
    """`[N, T, J, 3]` in the files of x, y and z, in place of an array; what is taken out is float32, in memory.

    Indices are those of whole sequences (a number, a slice or an array), or `[..., axis]`: one axis as it lies in its
    file, `[N, T, J]`.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, headers: Sequence[Header], length: int):
        """`headers`: of x, y and z, checked, in C order; `length`: T."""
        self.shape = (*sequence_shape(headers[0], length), len(headers))
        self._maps = [read_npy(header.path, mmap=True) for header in headers]
        self._axes = [array.reshape(self.shape[:-1]) for array in self._maps]
        self._read = 0

    @property
    def nbytes(self) -> int:
        """What all of it would take in memory."""
        return self.dtype.itemsize * math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):
            _, axis = index
            return self._axes[axis]
        found = np.stack([axis[index].astype(np.float32, copy=False) for axis in self._axes], axis=-1)
        self._read += found.nbytes
        if self._read > _READ_BYTES:
            self._read = 0
            for array in self._maps:
                release_pages(array)
        return found
