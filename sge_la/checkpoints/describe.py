"""What a checkpoint tells about its model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sge_la.checkpoints.names import (
    ENCODER_KERNEL,
    ENCODER_POWERS,
    ENCODER_SLOTS,
    MEMORY_KERNEL,
    OUTPUT_KERNEL,
    RECOGNITION_POWERS,
    RECOGNITION_SLOTS,
    SOFTMAX_KERNEL,
    Shapes,
    encoder_shapes,
    labelled_shapes,
    recognition_shapes,
    some_shapes,
    steps_of,
)
from sge_la.errors import UserError


@dataclass(frozen=True)
class CheckpointFacts:
    """What the variables of a checkpoint tell about its model; None where they do not tell.

    Attributes:
        kind: 'encoder' (one axis), 'labelled' (an encoder of one axis that was trained with labels) or 'recognition'.
        joints: J of an encoder.
        length: T of an encoder; only the contrast head tells it.
        units: U of an encoder, or the width of a recognition network's hidden layer.
        contrastive: whether an encoder has the contrast head (CAGE) or not (AGE).
        attends: whether an encoder has the attention mechanism.
        inputs: D, values of a feature row of a recognition network.
        classes: C of a recognition network, or of the softmax of an encoder that was trained with labels.
        parameters: values in the model's variables, without the optimizer's and the dead ones.
        has_optimizer: whether all of Adam's moments are there.
        step: updates that were made; None where that cannot be told.
    """

    kind: str
    joints: int | None = None
    length: int | None = None
    units: int | None = None
    contrastive: bool | None = None
    attends: bool | None = None
    inputs: int | None = None
    classes: int | None = None
    parameters: int = 0
    has_optimizer: bool = False
    step: int | None = None


def describe(tensors: Mapping[str, np.ndarray], where: object = 'the checkpoint') -> CheckpointFacts:
    """Tells what model a checkpoint holds, from the shapes of its variables.

    `tensors`: arrays by variable name; `where`: the checkpoint's place, for messages. Raises UserError: it is neither a
    gait encoder nor a recognition network, or its shapes contradict one another.
    """
    shapes = {name: value.shape for name, value in tensors.items()}
    matrix = {name: shape for name, shape in shapes.items() if len(shape) == 2 and 0 not in shape}
    if ENCODER_KERNEL in matrix and OUTPUT_KERNEL in matrix:
        facts, expected = _encoder_facts(shapes, matrix)
        endings, powers = ENCODER_SLOTS, ENCODER_POWERS
    elif ENCODER_KERNEL in matrix and SOFTMAX_KERNEL in matrix:
        units, classes = matrix[SOFTMAX_KERNEL]
        joints = matrix[ENCODER_KERNEL][0] - units
        facts = {'kind': 'labelled', 'joints': joints, 'units': units, 'classes': classes}
        expected = labelled_shapes(joints, classes, units)
        endings, powers = ENCODER_SLOTS, ENCODER_POWERS
    elif 'W1' in matrix and 'W' in matrix:
        inputs, units = matrix['W1']
        classes = matrix['W'][1]
        facts = {'kind': 'recognition', 'inputs': inputs, 'classes': classes, 'units': units}
        expected = recognition_shapes(inputs, classes, units)
        endings, powers = RECOGNITION_SLOTS, RECOGNITION_POWERS
    else:
        raise UserError(
            f'{where} should hold a gait encoder or a recognition network and holds {some_shapes(shapes)}; '
            'check the folder'
        )
    if wrong := {name: shape for name, shape in expected.items() if shapes.get(name) != shape}:
        found = {name: shapes[name] for name in wrong if name in shapes}
        raise UserError(
            f'{where} looks like a checkpoint of kind {facts["kind"]!r}, which should have {some_shapes(wrong)}, '
            f'and has {some_shapes(found)}; get the file again'
        )
    return CheckpointFacts(
        parameters=sum(math.prod(shape) for shape in expected.values()),
        has_optimizer=all(shapes.get(name + ending) == shape for name, shape in expected.items() for ending in endings),
        step=steps_of(tensors, powers),
        **facts,
    )


def _encoder_facts(shapes: Shapes, matrix: Shapes) -> tuple[dict, Shapes]:
    units, joints = matrix[OUTPUT_KERNEL]
    contrastive, attends = 'W1' in matrix, MEMORY_KERNEL in shapes
    length = matrix['W1'][0] // units if contrastive else None
    facts = {'kind': 'encoder', 'joints': joints, 'length': length, 'units': units}
    facts |= {'contrastive': contrastive, 'attends': attends}
    return facts, encoder_shapes(joints, length or 1, units, contrastive=contrastive, attends=attends)
