"""Gait encoders and recognition networks in their folders, as TensorFlow bundles or as `.npz` under the same names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sge_la.checkpoints.bundle import index_file, read_bundle, write_bundle
from sge_la.checkpoints.describe import CheckpointFacts, describe
from sge_la.checkpoints.names import (
    ENCODER_POWERS,
    ENCODER_SLOTS,
    RECOGNITION_POWERS,
    RECOGNITION_SLOTS,
    AdamSlots,
    Restored,
    beta_powers,
    select_encoder,
    select_recognition,
)
from sge_la.data.layout import AXES
from sge_la.errors import UserError
from sge_la.files.atomic import make_folder
from sge_la.files.npz import read_npz, write_npz

CHECKPOINT_STEM = 'trained_model.ckpt'
# What the original keeps: the rate of its updates, and in the encoder's variable `learning_rate`, which none reads.
_LEARNING_RATE, _UNUSED_RATE = 0.0005, 0.001


def read_checkpoint(folder: Path | str, stem: str = CHECKPOINT_STEM, *, slots: bool = True) -> dict[str, np.ndarray]:
    """Reads all variables of a checkpoint, from the bundle or, where there is none, from `<stem>.npz`.

    `folder`: the checkpoint's folder; `stem`: the files' common name; `slots`: whether to read Adam's moments too, two
    thirds of the file. Raises UserError: there is no checkpoint, or it is damaged.
    """
    prefix = Path(folder) / stem
    wanted = None if slots else _is_no_slot
    if not index_file(prefix).is_file() and npz_file(prefix).is_file():
        return read_npz(npz_file(prefix), wanted)[0]
    return read_bundle(prefix, wanted)


def checkpoint_facts(folder: Path | str, stem: str = CHECKPOINT_STEM) -> CheckpointFacts:
    """Tells what a checkpoint holds, after all of it was read and its checksums were compared.

    Raises UserError: there is no checkpoint, it is damaged, or it is none of ours.
    """
    return describe(read_checkpoint(folder, stem), Path(folder) / stem)


def npz_file(prefix: Path | str) -> Path:
    return Path(f'{prefix}.npz')


def has_checkpoint(folder: Path | str, stem: str = CHECKPOINT_STEM) -> bool:
    """Whether a checkpoint, as a bundle or as `.npz`, lies in the folder."""
    prefix = Path(folder) / stem
    return index_file(prefix).is_file() or npz_file(prefix).is_file()


def load_encoder(
    folders: Mapping[str, Path | str] | Sequence[Path | str],
    joints: int | None = None,
    length: int | None = None,
    units: int | None = None,
    *,
    contrastive: bool = True,
    attends: bool = True,
    slots: bool = True,
) -> Restored:
    """Loads the gait encoders of x, y and z into arrays with a leading axis.

    `folders`: the folder of each axis, by 'x', 'y', 'z' or in this order; for one axis alone, a single one; `slots`:
    whether Adam's moments are wanted; all else, and the result: as of `stack_encoder`. Raises UserError: a checkpoint
    is missing, damaged, or does not fit.
    """
    read = ((read_checkpoint(folder, slots=slots), Path(folder) / CHECKPOINT_STEM) for folder in _in_order(folders))
    return stack_encoder(read, joints, length, units, contrastive=contrastive, attends=attends)


def stack_encoder(
    variables: Iterable[tuple[Mapping[str, np.ndarray], object]],
    joints: int | None = None,
    length: int | None = None,
    units: int | None = None,
    *,
    contrastive: bool = True,
    attends: bool = True,
) -> Restored:
    """The gait encoders of x, y and z from the variables of each.

    `variables`: of each axis, and their place for messages; `joints`, `length`, `units`: J, T and U that the model has;
    None: as in the first checkpoint; `contrastive`: it has the contrast head (CAGE); `attends`: it has the attention
    mechanism. Returns parameters and moments `[A, ...]`; the moments are None if an axis lacks them, the step if axes
    differ. Raises UserError: a checkpoint does not fit.
    """
    parts = []
    for tensors, where in variables:
        if None in (joints, length, units):
            facts = describe(tensors, where)
            if facts.kind != 'encoder':
                what = (
                    'an encoder that was trained with labels' if facts.kind == 'labelled' else 'a recognition network'
                )
                raise UserError(f'{where} should hold a gait encoder and holds {what}; check the folder')
            # Without a contrast head the length does not show, and any will do.
            joints, length, units = joints or facts.joints, length or facts.length or 1, units or facts.units
        options = {'contrastive': contrastive, 'attends': attends, 'where': where}
        parts.append(select_encoder(tensors, joints, length, units, **options))
    params = {name: np.stack([part.params[name] for part in parts]) for name in parts[0].params}
    steps = {part.step for part in parts}
    step = steps.pop() if len(steps) == 1 else None
    if any(part.slots is None for part in parts):
        return Restored(params, None, step)
    moments = ({name: np.stack([part.slots[moment][name] for part in parts]) for name in params} for moment in (0, 1))
    return Restored(params, AdamSlots(*moments), step)


def save_encoder(
    folders: Mapping[str, Path | str] | Sequence[Path | str],
    params: Mapping[str, np.ndarray],
    slots: AdamSlots | tuple[Mapping, Mapping] | None = None,
    step: int | None = None,
    *,
    as_npz: bool = False,
) -> None:
    """Saves the gait encoders of x, y and z, each in its folder under the original's variable names.

    `folders`: the folder of each axis, by 'x', 'y', 'z' or in this order; they are made; `params`: float32 `[A, ...]`
    by variable name; `slots`: Adam's first and second moments, shaped as `params`; None leaves them out; `step`:
    updates that were made; None leaves the powers of beta out; `as_npz`: write `trained_model.ckpt.npz` instead of a
    TensorFlow bundle. Raises UserError: a file cannot be written.
    """
    rates = {'learning_rate': np.float32(_UNUSED_RATE), 'learning_rate_1': np.float32(_LEARNING_RATE)}
    for axis, folder in enumerate(_in_order(folders)):
        variables = _variables({name: value[axis] for name, value in params.items()}, ENCODER_SLOTS, slots, axis)
        powers = {} if step is None else beta_powers(step, ENCODER_POWERS)
        _write(folder, CHECKPOINT_STEM, {**variables, **rates, **powers}, as_npz)


def load_recognition(
    folder: Path | str,
    inputs: int | None = None,
    classes: int | None = None,
    *,
    slots: bool = True,
    stem: str = CHECKPOINT_STEM,
) -> Restored:
    """Loads a recognition network.

    `folder`: its folder; `inputs`: D, values of a feature row; None: as in the checkpoint; `classes`: C; None: as in
    the checkpoint; `slots`: whether Adam's moments are wanted; `stem`: the files' common name, for IAS also
    `A_trained_model.ckpt` and `B_trained_model.ckpt`. Raises UserError: the checkpoint is missing, damaged, or does not
    fit.
    """
    return recognition_of(read_checkpoint(folder, stem, slots=slots), Path(folder) / stem, inputs, classes)


def recognition_of(
    tensors: Mapping[str, np.ndarray], where: object, inputs: int | None = None, classes: int | None = None
) -> Restored:
    """A recognition network from its variables; `where`: their place for messages; see `load_recognition`."""
    facts = describe(tensors, where)
    if facts.kind != 'recognition':
        raise UserError(f'{where} should hold a recognition network and holds a gait encoder; check the folder')
    inputs, classes = inputs or facts.inputs, classes or facts.classes
    return select_recognition(tensors, inputs, classes, facts.units, where=where)


def save_recognition(
    folder: Path | str,
    params: Mapping[str, np.ndarray],
    slots: AdamSlots | tuple[Mapping, Mapping] | None = None,
    step: int | None = None,
    *,
    stem: str = CHECKPOINT_STEM,
    as_npz: bool = False,
) -> None:
    """Saves a recognition network under the original's variable names; arguments as in `save_encoder`, no axis."""
    variables = _variables(params, RECOGNITION_SLOTS, slots)
    powers = {} if step is None else beta_powers(step, RECOGNITION_POWERS)
    _write(folder, stem, {**variables, 'learning_rate': np.float32(_LEARNING_RATE), **powers}, as_npz)


def _in_order(folders: Mapping[str, Path | str] | Sequence[Path | str]) -> list[Path | str]:
    return [folders[axis] for axis in AXES if axis in folders] if isinstance(folders, Mapping) else list(folders)


def _is_no_slot(name: str) -> bool:
    return not name.endswith((*ENCODER_SLOTS, *RECOGNITION_SLOTS))


def _variables(params, endings: tuple[str, str], slots, axis: int | None = None) -> dict[str, np.ndarray]:
    variables = {name: np.asarray(value, np.float32) for name, value in params.items()}
    for ending, moment in zip(endings, slots or (), strict=False):
        for name in params:
            value = moment[name] if axis is None else moment[name][axis]
            variables[name + ending] = np.asarray(value, np.float32)
    return variables


def _write(folder: Path | str, stem: str, tensors: Mapping[str, np.ndarray], as_npz: bool) -> None:
    prefix = make_folder(folder) / stem
    if as_npz:
        write_npz(npz_file(prefix), tensors)
    else:
        write_bundle(prefix, tensors)
