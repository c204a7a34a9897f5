"""Pretext tasks: what an encoder is given and what it must produce."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rows = np.ndarray | slice


def permutations(seed: int, count: int, length: int, *, axes: int = 1) -> np.ndarray:
    """Random orders of the frames of each sequence, for `sorting`.

    `seed`: same seed, same orders; `count`: N; `length`: T; `axes`: 1 permutes x, y and z alike; 3 draws them apart, as
    the original does. Returns int64 `[N, T, axes]`.
    """
    ordered = np.broadcast_to(np.arange(length)[None, :, None], (count, length, axes))
    return np.random.default_rng([seed, count, length]).permuted(ordered, axis=1)


@dataclass(frozen=True)
class Pretext:
    """Inputs and targets of one pretext task over one array of sequences.

    `task`: 'rev_rec' (target: the frames in reverse), 'prediction' (target: the next sequence in the file, across
    people; the last one's is itself) or 'sorting' (input: frames permuted, target: in order), or 'rec' (target: the
    input itself; for the ablation without reversal); `skeletons`: float32 `[N, T, J, 3]`, kept as it is: pairs are made
    batch by batch; `orders`: frame orders `[N, T, 1 or 3]` for 'sorting', else None.
    """

    task: str
    skeletons: np.ndarray
    orders: np.ndarray | None = None

    def inputs(self, rows: Rows) -> np.ndarray:
        """What the encoder sees of the given sequences: `[B, T, J, 3]`."""
        chosen = self.skeletons[rows]
        if self.task != 'sorting' or self.orders is None:
            return chosen
        return np.take_along_axis(chosen, self.orders[rows][:, :, None, :], axis=1)

    def targets(self, rows: Rows) -> np.ndarray:
        """What the decoder must produce for the given sequences: `[B, T, J, 3]`."""
        if self.task == 'rev_rec':
            return self.skeletons[rows][:, ::-1]
        if self.task == 'prediction':
            numbers = np.arange(len(self.skeletons))[rows]
            return self.skeletons[np.minimum(numbers + 1, len(self.skeletons) - 1)]
        return self.skeletons[rows]


def pretext(task: str, skeletons: np.ndarray, *, seed: int = 0, shared_order: bool = True) -> Pretext:
    """Sets up a pretext task.

    `task`: 'rev_rec', 'prediction', 'sorting' or 'rec'; `skeletons`: float32 `[N, T, J, 3]`; `seed`: of the
    permutations of 'sorting'; `shared_order`: one permutation for x, y and z (ours), or one each (the original).
    """
    orders = None
    if task == 'sorting':
        count, length = skeletons.shape[:2]
        orders = permutations(seed, count, length, axes=1 if shared_order else 3)
    return Pretext(task, skeletons, orders)
