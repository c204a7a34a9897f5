"""Trained models on NumPy: nothing is compiled, and neither TensorFlow nor Keras is imported."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

# Sequences that are encoded at once: what a step makes of so few stays in the caches of a core.
BLOCK = 64
# There is nothing to compile, so that a batch may have any size.
COMPILED_SIZES = ()
_ALIKE = (
    *('concatenate', 'exp', 'expand_dims', 'matmul', 'max', 'mean', 'reshape', 'sqrt', 'square', 'stack', 'sum'),
    *('swapaxes', 'take', 'tanh', 'tile', 'transpose', 'zeros_like'),
)


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _unstack(values: np.ndarray, axis: int = 0) -> list[np.ndarray]:
    return list(np.moveaxis(values, axis, 0))


def _scan(step: Callable, carry: tuple, frames: tuple, reverse: bool = False) -> tuple[tuple, tuple]:
    """`keras.ops.scan` of tuples of arrays."""
    outputs = []
    for frame in list(zip(*frames, strict=True))[:: -1 if reverse else 1]:
        carry, output = step(carry, frame)
        outputs.append(output)
    return carry, tuple(np.stack(part) for part in zip(*outputs[:: -1 if reverse else 1], strict=True))


def _is_tensor(value: object) -> bool:
    """As in Keras, where no array of NumPy's is one."""
    return False


# Keras' operations as far as inference goes.
ops = SimpleNamespace(
    **{name: getattr(np, name) for name in _ALIKE},
    convert_to_numpy=np.asarray,
    convert_to_tensor=np.asarray,
    is_tensor=_is_tensor,
    relu=_relu,
    scan=_scan,
    unstack=_unstack,
)


def compiled(function: Callable) -> Callable:
    """The function itself."""
    return function


def fused(function: Callable) -> Callable:
    """The function itself."""
    return function


def spread(matrices: np.ndarray) -> np.ndarray:
    """The matrices themselves: NumPy's products copy into blocks of their own."""
    return matrices
