"""The training sequences of a run, and those that are held out to choose its epoch by."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from sge_la.data import Dataset, Split
from sge_la.data.holdout import hold_out
from sge_la.errors import UserError

# Sequences whose checksum is taken at once.
_ROWS = 8192


@dataclass(frozen=True)
class TrainingData:
    """The training sequences of a run.

    `split`: skeletons, ids and recordings as loaded; `ids`: identity → sequences to train on; `held`: identity →
    sequences held out to choose the epoch by (`--select val`), else empty; `classes`: the class of each sequence `[N]`,
    -1 for one that belongs to nobody; `num_classes`: C; `fingerprint`: changes with the data.
    """

    split: Split
    ids: dict[int, np.ndarray]
    held: dict[int, np.ndarray]
    classes: np.ndarray
    num_classes: int
    fingerprint: str


def training_data(dataset: Dataset, select: str) -> TrainingData:
    """Chooses the training sequences, holding some out for `--select val`."""
    split = dataset.train
    ids: dict[int, np.ndarray] = split.ids
    held: dict[int, np.ndarray] = {}
    if select == 'val':
        ids, held = hold_out(split.skeletons, split.ids, split.recordings)
        if not any(len(rows) for rows in held.values()):
            raise UserError(
                '--select val needs training sequences that share no frame with the others, but there are none: '
                'use --select last'
            )
    classes, num_classes = dataset.classes(split), len(dataset.identities)
    return TrainingData(split, ids, held, classes, num_classes, fingerprint(split.skeletons, ids))


def fingerprint(skeletons: np.ndarray, ids: dict[int, np.ndarray]) -> str:
    """Words that change with the sequences or with who is in them."""
    checksum = 0
    for start in range(0, len(skeletons), _ROWS):
        checksum = zlib.crc32(np.ascontiguousarray(skeletons[start : start + _ROWS]).data, checksum)
    for identity in sorted(ids):
        checksum = zlib.crc32(np.concatenate([[identity], ids[identity]]).tobytes(), checksum)
    return f'{len(skeletons)} sequences, {checksum:08x}'
