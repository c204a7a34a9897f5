"""What computes: TensorFlow or JAX under Keras, or, for trained models alone, NumPy without either.

`ops` are the operations that the equations are written in: those of Keras, or the few of them that inference needs on
NumPy. Besides these there is what Keras does not offer on every backend: compilation, gradients, and loops on the
device. Each backend's file has the same functions (NumPy's, those that train nothing); `current()` gives the one that
is in use.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sge_la.backends import parallel
from sge_la.backends.starting import KERAS_BACKENDS, NUMPY, keras_backend, refuse_missing
from sge_la.errors import UserError

if TYPE_CHECKING:
    import numpy as np  # which --help should not wait for

_CHOSEN: contextvars.ContextVar[str | None] = contextvars.ContextVar('backend', default=None)


@contextlib.contextmanager
def using(name: str | None) -> Iterator[None]:
    """Inside, everything is computed on this backend; None changes nothing: at first Keras has the choice.

    Raises UserError: its package is not there, or Keras runs on another one in this process already.
    """
    if name in KERAS_BACKENDS:
        _set_keras(name)
    token = _CHOSEN.set(name or _CHOSEN.get())
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def _set_keras(name: str) -> None:
    if 'keras' not in sys.modules:
        refuse_missing(name)
        os.environ['KERAS_BACKEND'] = name  # read when Keras is first imported
    elif (there := keras_backend()) != name:
        raise UserError(f'Keras runs on {there} in this process already, not on {name}: start another process')


def name() -> str:
    """The backend in use: 'tensorflow', 'jax' or 'numpy'."""
    return NUMPY if _CHOSEN.get() == NUMPY else keras_backend()


def current() -> ModuleType:
    """The module of the backend in use, such as `sge_la.backends.tensorflow`."""
    return _module(name())


@functools.cache
def _module(name: str) -> ModuleType:
    return importlib.import_module(f'sge_la.backends.{name}')


class _Operations:
    """The operations of the backend in use."""

    def __getattr__(self, operation: str) -> Any:
        return getattr(current().ops, operation)


ops = _Operations()


def compiled(function: Callable) -> Callable:
    """A function of arrays, compiled once for each backend that it is called on."""
    made: dict[str, Callable] = {}

    @functools.wraps(function)
    def run(*args):
        if name() not in made:
            made[name()] = current().compiled(function)
        return made[name()](*args)

    return run


def each(function: Callable, items: Iterable) -> Iterator[Any]:
    """`function` of each item, in the items' order; a few may be worked on at once."""
    return current().each(function, items)


def spread(matrices):
    """Matrices `[A, K, M]` with some columns of zeros behind them where products with them are faster then, else as is.

    Rows of 4 KiB, as the kernels of 256 units have them, all begin at the same place of a page: on TensorFlow's CPU a
    product of 128 rows then takes up to twice as long.
    """
    return current().spread(matrices)


def ahead(function: Callable, items: Iterable) -> Iterator[Any]:
    """`function` of each item, in order; the next one is worked on in a thread while one is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            following = pool.submit(contextvars.copy_context().run, function, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def as_slice(rows: np.ndarray) -> np.ndarray | slice:
    """Consecutive rows as a slice, which copies nothing."""
    if (rows[1:] == rows[:-1] + 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def frames_as_rows(frames):
    """Frames of sequences `[A, T, B, K]` as the rows of one matrix an axis, `[A, T · B, K]`.

    Where devices share a batch, the sequences come first, so that each device's rows stand together.
    """
    if parallel.splits():
        frames = ops.swapaxes(frames, 1, 2)
    return ops.reshape(frames, (frames.shape[0], -1, frames.shape[-1]))


def rows_as_frames(rows, length: int):
    """What `frames_as_rows` was given, of its rows; `length`: T."""
    axes, _, width = rows.shape  # -1 for the batch: exported models take any number of sequences
    if parallel.splits():
        return ops.swapaxes(ops.reshape(rows, (axes, -1, length, width)), 1, 2)
    return ops.reshape(rows, (axes, length, -1, width))


def whole_batch(array):
    """An array of which each sequence needs those of all others, gathered where devices share the batch."""
    return parallel.whole(array)


def at_hand(array):
    """An array that is read again and again: on the device where the backend keeps data there, else as it is."""
    return current().at_hand(array)


def bfloat16_product(left, right):
    """`left @ right` of operands rounded to bfloat16, `[..., N, K]` and `[..., K, M]`; sums and result are float32.

    TensorFlow's products round the result to bfloat16 too, before it becomes float32 (on CPUs that have no such
    products, towards zero).
    """
    return current().bfloat16_product(left, right)


def fused(function: Callable) -> Callable:
    """Decorates a function of elementwise operations and small sums: one pass over memory where that is to be had.

    It matters on TensorFlow's CPU, where `compiled` leaves the matrix products to TensorFlow's own kernels. Elsewhere,
    and outside of `compiled`, the function is what it is. A piece is compiled once for all precisions: products with
    kernels (`sge_la.model.products`) do not belong into one.
    """

    @functools.wraps(function)
    def run(*args, **settings):
        return current().fused(function)(*args, **settings)

    return run


def activated(parts: Sequence, units: int, slopes: tuple[float, ...], shifts: tuple[float, ...]) -> Sequence:
    """Gates, `slope · tanh(slope · z + shift) + 1 − slope` each, that stand side by side in the sum z of the parts.

    `parts`: arrays `[..., ≥ units · gates]`; `slopes`, `shifts`: of each gate. Returns arrays `[..., units]`: each in a
    pass of its own, which is fused, or on NumPy views of one array, since there every operation costs a call.
    """
    if own := getattr(current(), 'activated', None):
        return own(parts, units, slopes, shifts)
    starts = range(0, units * len(slopes), units)
    sums = (sum(part[..., start : start + units] for part in parts) for start in starts)
    return [
        slope * ops.tanh(slope * z + shift) + (1 - slope) for z, slope, shift in zip(sums, slopes, shifts, strict=True)
    ]


def with_gradient(forward: Callable, backward: Callable) -> Callable:
    """A function of arrays that has its own gradient, where automatic differentiation would be slow.

    `forward`: `(*arrays) -> (results, tape)`; `results` is a tuple of arrays, `tape` holds what the gradient needs;
    `backward`: `(tape, *gradients of the results) -> gradients of the arrays`, a tuple. Neither may use other arrays
    that are differentiated. Returns `(*arrays) -> results`.
    """
    return current().with_gradient(forward, backward)


def gradients(function: Callable, params: dict) -> tuple[dict, Any]:
    """Automatic differentiation.

    `function`: `params -> (cost, others)`; `cost` is a scalar. Returns the gradient of the cost with respect to every
    parameter, by name (zeros where it does not depend on one), and `others`.
    """
    return current().gradients(function, params)
