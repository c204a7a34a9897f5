"""The two ways in which the original brings CASIA-B's coordinates into one place, before anything is learnt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def head_at_origin(skeletons: np.ndarray) -> np.ndarray:
    """Subtracts joint 0, the head, from all joints of its frame (`--norm 1`); the head is then 0 everywhere.

    Args:
        skeletons: float32 `[N, T, J, 3]`, metres.

    Returns:
        The same shape and type, metres.
    """
    return skeletons - skeletons[:, :, :1]


@dataclass(frozen=True)
class CellScale:
    """The range of each cell (frame of the sequence, joint, axis) over a set of sequences (`--norm 0`).

    Attributes:
        low, high: float32 `[T, J, 3]`, metres.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, skeletons: np.ndarray) -> CellScale:
        """The range over `[N, T, J, 3]`, N > 0."""
        return cls(skeletons.min(axis=0), skeletons.max(axis=0))

    def __call__(self, skeletons: np.ndarray) -> np.ndarray:
        """(x − low) / (high − low + 1), `[N, T, J, 3]`; the original adds 1 so that nothing is divided by 0.

        A sequence reversed in time and scaled by the range of reversed sequences, as the original scales targets, is
        the scaled sequence reversed: a frame's range goes with the frame.
        """
        return (skeletons - self.low) / (self.high - self.low + 1)
