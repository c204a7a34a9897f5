"""Skeleton data sets: reading, checking, preparing.

`load` reads a data set and gives a `Dataset` of `Split`s:

    from sge_la.data import load

    dataset = load('BIWI', length=6, data_dir='Datasets')
    print(dataset.train.skeletons.shape, len(dataset.identities))
    for label, indices in dataset.tests['Walking'].ids.items():
        print(label, dataset.tests['Walking'].skeletons[indices].mean(axis=(0, 1)))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sge_la.data.dataset import Dataset, Split
    from sge_la.data.loading import load

__all__ = ['Dataset', 'Split', 'load']


def __getattr__(name: str) -> Any:
    """Imports on first use, so that a command's `--help` need not wait for NumPy."""
    if name == 'Split':
        from sge_la.data import dataset

        return dataset.Split
    if name in __all__:
        from sge_la.data import loading

        return getattr(loading, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
