"""Matrix products in the precision of a run: float32, or bfloat16 operands (`--precision`).

Every product with a kernel goes through `matmul`, and so do the kernels' gradients. What has none stays float32:
the contrastive losses' similarities, which the temperature magnifies, and the attention's sums over frames.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

from sge_la.backends import bfloat16_product, ops
from sge_la.model.config import BFLOAT16, FLOAT32

_PRECISION = contextvars.ContextVar('precision', default=FLOAT32)


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Inside, `matmul` has the precision `name`.

    To be entered inside a function that is compiled, since it is traced later than it is made; and the function must be
    another one for each precision, since what was traced once is kept.

    Raises ValueError: there is no such precision.
    """
    if name not in (FLOAT32, BFLOAT16):
        raise ValueError(f'expected {FLOAT32} or {BFLOAT16}, found {name!r}')
    token = _PRECISION.set(name)
    try:
        yield
    finally:
        _PRECISION.reset(token)


def as_configured(function: Callable) -> Callable:
    """Decorates a function whose first argument is an `EncoderConfig`: its products have the config's precision."""

    @functools.wraps(function)
    def run(config, *args, **named):
        with precision(config.precision):
            return function(config, *args, **named)

    return run


def matmul(left, right):
    """`left @ right`, float32: as Keras has it, or with both rounded to bfloat16 (8 bits of precision).

    `left`: float32 `[..., N, K]`; `right`: float32 `[..., K, M]`. Returns float32 `[..., N, M]`; see `bfloat16_product`
    for what is rounded besides.
    """
    return ops.matmul(left, right) if _PRECISION.get() == FLOAT32 else bfloat16_product(left, right)


def rounded(kernel):
    """A kernel as products take it, so that it is rounded once for many of them and moved about in half the bytes."""
    return kernel if _PRECISION.get() == FLOAT32 else ops.cast(kernel, BFLOAT16)
