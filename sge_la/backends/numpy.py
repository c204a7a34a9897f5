"""Trained models on NumPy: nothing is compiled, and neither TensorFlow nor Keras is imported."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from sge_la.backends.runtime import available_cores

# Sequences that are encoded at once: what a step makes of so few stays in the caches of a core.
BLOCK = 32
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


class _OneThread:
    """Inside, matrix products have one thread, until the last of several threads of the user's leaves."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.limit = _libraries().limit(limits=1, user_api='blas')
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.limit.restore_original_limits()


_ONE_THREAD = _OneThread()


def each(function: Callable, items: Iterable) -> Iterator[Any]:
    """See `sge_la.backends.each`: items side by side on the cores, each with one thread for its products.

    Small products gain little from a second core, and their threads would wait for each other busily. A single item is
    worked on where it stands: a thread of its own takes as long as a fifth of a sequence's encoding.
    """
    cores, results = available_cores(), deque[Future]()
    items = list(items)
    if len(items) == 1:
        with _ONE_THREAD:
            yield function(items[0])
        return
    with _ONE_THREAD, ThreadPoolExecutor(cores) as pool:
        for item in items:
            results.append(pool.submit(contextvars.copy_context().run, function, item))
            if len(results) > cores:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()


@functools.cache
def _libraries() -> ThreadpoolController:
    """What has threads of its own in this process, such as OpenBLAS."""
    return ThreadpoolController()


def activated(
    parts: Sequence[np.ndarray], units: int, slopes: tuple[float, ...], shifts: tuple[float, ...]
) -> list[np.ndarray]:
    """See `sge_la.backends.activated`: the same operations in the same order, on all gates at once."""
    width = units * len(slopes)
    slope, shift, rest = _of_columns(units, slopes, shifts)
    z = parts[0][..., :width] + (parts[1][..., :width] if len(parts) > 1 else np.float32(0))
    for part in parts[2:]:
        z += part[..., :width]
    z *= slope
    z += shift
    np.tanh(z, out=z)
    z *= slope
    z += rest
    return [z[..., start : start + units] for start in range(0, width, units)]


@functools.cache
def _of_columns(units: int, slopes: tuple[float, ...], shifts: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    columns = (slopes, shifts, [1 - slope for slope in slopes])
    return tuple(np.repeat(np.array(values, np.float32), units) for values in columns)


def with_gradient(forward: Callable, backward: Callable) -> Callable:
    """The function without its gradient, since nothing is trained."""
    return lambda *arrays: forward(*arrays)[0]


def spread(matrices: np.ndarray) -> np.ndarray:
    """The matrices themselves: NumPy's products copy into blocks of their own."""
    return matrices
