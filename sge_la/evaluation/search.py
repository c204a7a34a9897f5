"""An index of a very large gallery, by Faiss: the rows that are probably the nearest, without a look at all of them.

Rows are sorted into cells around centres (k-means), and a search looks into the nearest cells alone, at rows of a byte
a value (Faiss' `IVF` with `SQ8`, about a quarter of the gallery's memory). It only proposes rows: distances are
computed exactly afterwards (`evaluation.enrolled`). Faiss' own exact search is not used, since a float32 product is
faster (benchmarks/README.md).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np

# Rows from which an index is made: below, looking at all of them takes a few tenths of a second.
FROM_ROWS = 1_000_000
# Rows to a centre that k-means looks at, and cells that a search looks into.
_TRAINED_ON, _CELLS = 50, 16


def is_there() -> bool:
    """Whether the package faiss is installed."""
    return find_spec('faiss') is not None


class Index:
    """An index of vectors float32 [N, D], of unit length."""

    def __init__(self, vectors: np.ndarray) -> None:
        faiss = import_module('faiss')
        cells = max(1, round(len(vectors) ** 0.5))
        chosen = np.random.default_rng(0).permutation(len(vectors))[: _TRAINED_ON * cells]
        self._index = faiss.index_factory(vectors.shape[1], f'IVF{cells},SQ8')
        self._index.cp.seed = 0
        self._index.train(vectors[np.sort(chosen)])
        self._index.add(vectors)
        self._index.nprobe = min(_CELLS, cells)

    def nearest(self, probes: np.ndarray, k: int) -> np.ndarray:
        """About the k nearest rows of each probe [n, D], nearest first: int64 [n, k], −1 where cells had fewer."""
        return self._index.search(np.ascontiguousarray(probes, np.float32), k)[1]
