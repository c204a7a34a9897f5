"""What the modern recipe gives to the encoders: centred coordinates and bone lengths, standardised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.backends import ops
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError
from sge_la.files.text import read_json, write_json

FILE = 'inputs.json'
_ROWS = 8192
# A coordinate that hardly varies is not blown up: one millimetre.
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Inputs:
    """From skeletons to the inputs of the encoders.

    `joints`: J of the skeletons; `centred`: the mean place of all joints and frames of a sequence is taken from x and
    z; y, the height, stays; `bones`: pairs of joints (outer, inner) whose distance is a further input, the same for x,
    y and z; `mean`, `deviation`: float32 `[J + bones, 3]`, taken off and divided by.
    """

    joints: int
    centred: bool
    bones: tuple[tuple[int, int], ...]
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def width(self) -> int:
        """What an encoder of one axis is given a frame: joints and bones."""
        return self.joints + len(self.bones)

    @classmethod
    def fit(
        cls, skeletons: np.ndarray, rows: np.ndarray, skeleton: Skeleton | None, *, centred: bool, standardised: bool
    ) -> Inputs:
        """Measures mean and standard deviation of the training sequences.

        `skeletons`: float32 `[N, T, J, 3]`, metres; `rows`: the training sequences; `skeleton`: its bones are measured;
        None: no bone lengths; `centred`, `standardised`: pieces that are in.
        """
        joints = skeletons.shape[2]
        bones = () if skeleton is None else tuple(zip(*(part.tolist() for part in skeleton.bones), strict=True))
        shape = (joints + len(bones), 3)
        plain = cls(joints, centred, bones, np.zeros(shape, np.float32), np.ones(shape, np.float32))
        if not standardised:
            return plain
        total, squares, count = np.zeros(shape), np.zeros(shape), 0
        for start in range(0, len(rows), _ROWS):
            values = plain.of(skeletons[rows[start : start + _ROWS]]).astype(np.float64)
            total += values.sum(axis=(0, 1))
            squares += np.square(values).sum(axis=(0, 1))
            count += values.shape[0] * values.shape[1]
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        deviation = np.maximum(deviation, _LEAST_DEVIATION)
        return cls(joints, centred, bones, mean.astype(np.float32), deviation.astype(np.float32))

    def of(self, skeletons: np.ndarray) -> np.ndarray:
        """The inputs of sequences: float32 `[B, T, J, 3]` to `[B, T, J + bones, 3]`."""
        if skeletons.shape[2] != self.joints:
            raise UserError(
                f'sequences of {self.joints} joints were expected, as the encoders were trained on, found '
                f'{skeletons.shape[2]}: check the data set'
            )
        found = np.array(skeletons, np.float32)
        if self.centred:
            found[..., ::2] -= found[..., ::2].mean(axis=(1, 2), keepdims=True)
        if self.bones:
            found = np.concatenate([found, np.repeat(self.lengths(skeletons)[..., None], 3, axis=-1)], axis=2)
        return (found - self.mean) / self.deviation

    def of_tensor(self, skeletons):
        """`of` in Keras operations, for exported models: a tensor `[B, T, J, 3]`, any B."""
        found = skeletons
        if self.centred:
            on_the_floor = np.float32([1, 0, 1])
            found = found - ops.mean(skeletons, axis=(1, 2), keepdims=True) * on_the_floor
        if self.bones:
            outer, inner = np.array(self.bones).T
            bones = ops.take(skeletons, outer, axis=2) - ops.take(skeletons, inner, axis=2)
            lengths = ops.sqrt(ops.sum(ops.square(bones), axis=-1, keepdims=True))
            found = ops.concatenate([found, ops.tile(lengths, (1, 1, 1, 3))], axis=2)
        return (found - self.mean) / self.deviation

    def skeletons(self, inputs: np.ndarray) -> np.ndarray:
        """The coordinates in inputs, metres `[B, T, J, 3]`; what was taken off to centre them is not known any more."""
        return (inputs * self.deviation + self.mean)[:, :, : self.joints]

    def lengths(self, skeletons: np.ndarray) -> np.ndarray:
        """Bone lengths `[B, T, bones]`, metres."""
        outer, inner = np.array(self.bones).T
        return np.linalg.norm(skeletons[:, :, outer] - skeletons[:, :, inner], axis=-1).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Writes inputs.json into an encoder's folder.

        Raises UserError: it cannot be written.
        """
        write_json(folder / FILE, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The form in which files keep it."""
        arrays = {'mean': self.mean.tolist(), 'deviation': self.deviation.tolist()}
        return {'joints': self.joints, 'centred': self.centred, 'bones': self.bones, **arrays}

    @classmethod
    def load(cls, folder: Path) -> Inputs:
        """Reads inputs.json back.

        Raises UserError: it is missing or damaged.
        """
        return cls.from_json(read_json(folder / FILE), folder / FILE)

    @classmethod
    def from_json(cls, content: Any, where: object) -> Inputs:
        """Of what `to_json` gave.

        Raises UserError: it is no such thing; `where` names the file.
        """
        try:
            return cls._checked(content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f'{where} should say how skeletons become inputs and is damaged: train the run again with --overwrite'
            ) from error

    @classmethod
    def _checked(cls, content: Mapping[str, Any]) -> Inputs:
        joints, centred = content['joints'], content['centred']
        bones = tuple((int(outer), int(inner)) for outer, inner in content['bones'])
        arrays = [np.array(content[name], np.float32) for name in ('mean', 'deviation')]
        ends = {end for bone in bones for end in bone}
        sound = type(joints) is int and type(centred) is bool and all(0 <= end < joints for end in ends)
        if not sound or any(array.shape != (joints + len(bones), 3) for array in arrays):
            raise ValueError('shapes')
        if not all(np.isfinite(array).all() for array in arrays) or (arrays[1] <= 0).any():
            raise ValueError('numbers')
        return cls(joints, centred, bones, *arrays)


@dataclass(frozen=True)
class InputView:
    """Sequences as the encoders see them, in the place of `sge_la.model.pretext.Pretext`."""

    made: Inputs
    skeletons: np.ndarray

    def inputs(self, rows: np.ndarray | slice) -> np.ndarray:
        """`[B, T, J + bones, 3]`."""
        return self.made.of(self.skeletons[rows])

    def targets(self, rows: np.ndarray | slice) -> np.ndarray:
        """The same in reverse, which the decoder must produce."""
        return self.inputs(rows)[:, ::-1]
