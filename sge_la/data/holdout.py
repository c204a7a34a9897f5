"""Holding out training sequences, so that an epoch can be chosen without the test set."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

TENTH = 0.1
Ids = dict[int, np.ndarray]


def frame_hashes(skeletons: np.ndarray) -> np.ndarray:
    """A number for each frame that equal frames share: uint64 `[N, T]` for float32 `[N, T, J, 3]`.

    Equal means equal bits. Unequal frames share a number with a chance of about 2^-64 a pair.
    """
    count, length = skeletons.shape[:2]
    size = math.prod(skeletons.shape[2:])
    words = np.ascontiguousarray(skeletons, np.float32).view(np.uint32).reshape(count * length, size)
    weights = np.random.default_rng(0).integers(1, 2**63, words.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(words), np.uint64)
    for start in range(0, len(words), 65536):
        mixed = (words[start : start + 65536].astype(np.uint64) + 1) * weights
        hashes[start : start + 65536] = (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
    return hashes.reshape(count, length)


def hold_out(skeletons: np.ndarray, ids: Mapping[int, np.ndarray], recordings: np.ndarray | None) -> tuple[Ids, Ids]:
    """Splits training sequences into those to train on and those to choose the epoch by.

    A person with two or more known recordings gives the last one; any other person gives the last tenth of its
    sequences (at least one, of two or more). Then every training sequence that shares a frame with a held-out one is
    left out of both.

    `skeletons`: float32 `[N, T, J, 3]`; `ids`: identity → sequence indices; `recordings`: the recording of each
    sequence `[N]`, or None where unknown. Returns (training ids, held-out ids). An identity whose sequences all share
    frames keeps its first ones for training and has none held out.
    """
    training, held = {}, {}
    for identity in sorted(ids):
        rows = np.asarray(ids[identity], np.int64)
        chosen = _last_part(rows, None if recordings is None else recordings[rows])
        hashes = frame_hashes(skeletons[rows])
        shares = np.isin(hashes, hashes[chosen]).any(axis=1)
        if shares.all():
            training[identity], held[identity] = rows, rows[:0]
        else:
            training[identity], held[identity] = rows[~shares], rows[chosen]
    return _without_shared_frames(skeletons, training, held)


def _last_part(rows: np.ndarray, recordings: np.ndarray | None) -> np.ndarray:
    """Which of a person's sequences to hold out: bool `[n]`."""
    if recordings is not None and len(np.unique(recordings)) > 1:
        return recordings == recordings.max()
    chosen = np.zeros(len(rows), bool)
    if len(rows) > 1:
        chosen[-max(1, round(TENTH * len(rows))) :] = True
    return chosen


def _without_shared_frames(skeletons: np.ndarray, training: Ids, held: Ids) -> tuple[Ids, Ids]:
    """Drops training sequences that share a frame with a held-out sequence of anybody.

    Where that would leave a person without any, the held-out sequences in question are dropped instead.
    """
    everyone = np.concatenate([np.empty(0, np.int64), *held.values()])
    hashes = frame_hashes(skeletons[everyone])
    seen, dropped, kept = np.unique(hashes), np.zeros(len(everyone), bool), {}
    for identity, rows in training.items():
        own = frame_hashes(skeletons[rows])
        free = ~np.any(np.isin(own, seen), axis=1)
        if not free.any():
            dropped |= np.isin(hashes, own).any(axis=1)
            free[:] = True
        kept[identity] = rows[free]
    return kept, {identity: rows[~np.isin(rows, everyone[dropped])] for identity, rows in held.items()}
