"""What Keras' operations do not offer on every backend: compilation, and loops on the device.

Each backend's file has the same functions; `current()` gives the one that Keras runs on.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType


def current() -> ModuleType:
    """The module for Keras' backend: `sge_la.backends.tensorflow` or `sge_la.backends.jax`."""
    import keras  # takes seconds, and starts the backend

    return importlib.import_module(f'sge_la.backends.{keras.backend.backend()}')


def spread(matrices):
    """Matrices `[A, K, M]` with some columns of zeros behind them where products with them are faster then, else as is.

    Rows of 4 KiB, as the kernels of 256 units have them, all begin at the same place of a page: on TensorFlow's CPU a
    product of 128 rows then takes up to twice as long.
    """
    return current().spread(matrices)


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
