"""The original's variable names, with their shapes: what a checkpoint must hold and may hold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sge_la.errors import Notice, UserError
from sge_la.model.config import LINEAR_MAPS, EncoderConfig

UNITS = 256
HIDDEN = 256
ENCODER_KERNEL, MEMORY_KERNEL, OUTPUT_KERNEL = (LINEAR_MAPS[name][0] for name in ('encoder_0', 'memory', 'output'))
# Of an encoder without decoder that was trained with labels, which the original does not have.
SOFTMAX_KERNEL = 'softmax/kernel'
# Trained by the L2 term alone, read by nothing: copies of the encoder's first kernel and of its second bias.
DEAD = ('lstm_weights_layer_1', 'lstm_weights_layer_2')
RATES = ('learning_rate', 'learning_rate_1')
# Adam's first and second moments carry these endings, its powers of beta these scopes.
ENCODER_SLOTS = ('/Adam', '/Adam_1')
RECOGNITION_SLOTS = ('/Adam3', '/Adam3_1')
ENCODER_POWERS = 'optimization'
RECOGNITION_POWERS = 'new_train'
BETA_1, BETA_2 = 0.9, 0.999

Shapes = dict[str, tuple[int, ...]]


class CheckpointWarning(Notice):
    """Something in a checkpoint that was ignored."""


class AdamSlots(NamedTuple):
    """Adam's moments, each by the names of the variables."""

    first: dict[str, np.ndarray]
    second: dict[str, np.ndarray]


class Restored(NamedTuple):
    """A model from a checkpoint.

    `params`: float32 arrays by variable name; those of an encoder have a leading axis for x, y and z; `slots`: Adam's
    moments, or None if the checkpoint does not hold all of them; `step`: updates that were made, or None if it cannot
    be told (see `steps_of`).
    """

    params: dict[str, np.ndarray]
    slots: AdamSlots | None
    step: int | None


def encoder_shapes(
    joints: int, length: int, units: int = UNITS, *, contrastive: bool = True, attends: bool = True
) -> Shapes:
    """The variables of one axis' gait encoder, in the order of the model.

    `joints`: J; `length`: T; `units`: U; `contrastive`: with the contrast head (CAGE) or without (AGE); `attends`: with
    the attention mechanism; only ablations are without.
    """
    config = EncoderConfig(length, joints, units, attention='LA' if attends else 'none', contrastive=contrastive)
    shapes: Shapes = {}
    for name, (rows, columns) in config.map_shapes().items():
        kernel, bias = LINEAR_MAPS[name]
        shapes[kernel] = (rows, columns)
        if bias:
            shapes[bias] = (columns,)
    return shapes


def labelled_shapes(joints: int, classes: int, units: int = UNITS) -> Shapes:
    """The variables of one axis' encoder that was trained with labels, and of its softmax.

    `joints`, `units`: as in `encoder_shapes`; `classes`: C.
    """
    encoder = [item for item in encoder_shapes(joints, 1, units).items() if item[0].startswith('rnn/')]
    return {**dict(encoder), SOFTMAX_KERNEL: (units, classes), 'softmax/bias': (classes,)}


def recognition_shapes(inputs: int, classes: int, hidden: int = HIDDEN) -> Shapes:
    """The variables of a recognition network (`Variable` is its last bias).

    `inputs`: D, values of a feature row: 768, T·768, or 2304 for rev_rec_plus; `classes`: C; `hidden`: width of the
    hidden layer.
    """
    return {'W1': (inputs, hidden), 'b1': (hidden,), 'W': (hidden, classes), 'Variable': (classes,)}


def select_encoder(
    tensors: Mapping[str, np.ndarray],
    joints: int,
    length: int,
    units: int = UNITS,
    *,
    contrastive: bool = True,
    attends: bool = True,
    where: object = 'the checkpoint',
) -> Restored:
    """Picks one axis' gait encoder out of a checkpoint's variables.

    `tensors`: arrays by variable name; `joints`, `length`, `units`, `contrastive`, `attends`: as in `encoder_shapes`;
    `where`: the checkpoint's place, for messages. Returns parameters without a leading axis, moments and step. Other
    names are named in a `CheckpointWarning`. Raises UserError: a variable is missing, of another shape, or not finite.
    """
    shapes = encoder_shapes(joints, length, units, contrastive=contrastive, attends=attends)
    params, slots = _select(tensors, shapes, ENCODER_SLOTS, 'gait encoder', where)
    ours = [*encoder_shapes(joints, length, units), *DEAD]
    _warn_of_others(tensors, _known(ours, ENCODER_SLOTS, ENCODER_POWERS), where)
    return Restored(params, slots, steps_of(tensors, ENCODER_POWERS))


def select_recognition(
    tensors: Mapping[str, np.ndarray],
    inputs: int,
    classes: int,
    hidden: int = HIDDEN,
    *,
    where: object = 'the checkpoint',
) -> Restored:
    """Picks a recognition network out of a checkpoint's variables; arguments and errors as in `select_encoder`."""
    shapes = recognition_shapes(inputs, classes, hidden)
    params, slots = _select(tensors, shapes, RECOGNITION_SLOTS, 'recognition network', where)
    _warn_of_others(tensors, _known([*shapes], RECOGNITION_SLOTS, RECOGNITION_POWERS), where)
    return Restored(params, slots, steps_of(tensors, RECOGNITION_POWERS))


def _select(tensors, shapes: Shapes, endings, model: str, where) -> tuple[dict[str, np.ndarray], AdamSlots | None]:
    found_shapes = {name: value.shape for name, value in tensors.items()}
    wrong = [name for name, shape in shapes.items() if found_shapes.get(name) != shape]
    if wrong:
        expected = some_shapes({name: shapes[name] for name in wrong})
        there = {name: found_shapes[name] for name in wrong if name in found_shapes}
        missing = [name for name in wrong if name not in found_shapes]
        found = ', '.join(filter(None, [there and some_shapes(there), missing and 'no ' + ', no '.join(missing)]))
        if len(missing) == len(shapes):
            found = some_shapes(found_shapes)
        raise UserError(
            f'{where} does not fit this {model}: expected {expected}; found {found}; '
            'is it a checkpoint of another data set, length, class count or kind?'
        )
    params = {name: _finite(name, tensors[name], where) for name in shapes}
    moments = [{name: tensors.get(name + ending) for name in shapes} for ending in endings]
    if any(value is None or value.shape != shapes[name] for moment in moments for name, value in moment.items()):
        return params, None
    first, second = ({name: _finite(name, value, where) for name, value in moment.items()} for moment in moments)
    return params, AdamSlots(first, second)


def _finite(name: str, tensor: np.ndarray, where: object) -> np.ndarray:
    with np.errstate(all='ignore'):  # float64 beyond float32 becomes infinite, and is refused below
        tensor = np.asarray(tensor, np.float32)
    if bad := int((~np.isfinite(tensor)).sum()):
        raise UserError(
            f'{where} holds {bad} values in {name!r} that are NaN or infinite; the training that wrote it had failed'
        )
    return tensor


def _known(names: list[str], endings: tuple[str, str], powers: str) -> set[str]:
    slots = {name + ending for name in names for ending in endings}
    return {*names, *slots, *RATES, f'{powers}/beta1_power', f'{powers}/beta2_power'}


def _warn_of_others(tensors: Mapping[str, np.ndarray], known: set[str], where: object) -> None:
    others = [name for name in tensors if name not in known]
    if others:
        shown = ', '.join(others[:5]) + (f' and {len(others) - 5} more' if len(others) > 5 else '')
        warnings.warn(f'{where} also holds {shown}: ignored', CheckpointWarning, stacklevel=4)


def beta_powers(step: int, scope: str) -> dict[str, np.ndarray]:
    """TensorFlow 1's two scalars after `step` updates: beta to the power of step + 1, multiplied up in float32."""
    powers = {}
    for name, beta in (('beta1_power', BETA_1), ('beta2_power', BETA_2)):
        power = np.multiply.accumulate(np.full(step + 1, beta, np.float32))[-1]
        # TensorFlow flushes denormal numbers to 0.
        powers[f'{scope}/{name}'] = power if power >= np.finfo(np.float32).tiny else np.float32(0)
    return powers


def steps_of(tensors: Mapping[str, np.ndarray], scope: str) -> int | None:
    """The number of updates that Adam's powers of beta tell.

    Returns none if they are not there, are no powers, or have reached 0, which beta2's does after some 87,000 updates.
    """
    for name, beta in (('beta1_power', BETA_1), ('beta2_power', BETA_2)):
        power = tensors.get(f'{scope}/{name}')
        # Above this the power is exact enough to tell one update from the next.
        if power is not None and power.size == 1 and np.finfo(np.float32).tiny <= power.item() <= np.float32(beta):
            return round(math.log(power.item()) / math.log(np.float32(beta))) - 1
    return None


def some_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The first few variables of a checkpoint with their shapes, for a message."""
    listed = [f'{name} {list(shape)}' for name, shape in list(shapes.items())[:8]]
    return ', '.join(listed) + (f' and {len(shapes) - 8} more' if len(shapes) > 8 else '') or 'nothing'
