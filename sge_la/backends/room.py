"""How much memory data may take: what is larger stays in its files, and is read batch by batch."""

from __future__ import annotations

import contextlib
import os

from sge_la.backends.starting import JAX
from sge_la.errors import UserError

VARIABLE = 'SGE_LA_DATA_GB'


def allowed() -> float | None:
    """Bytes that the user allows data to take, by SGE_LA_DATA_GB; None: nothing is said.

    Raises UserError: it is no such number.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        if (gigabytes := float(text)) >= 0:
            return gigabytes * 1e9
    raise UserError(
        f'{VARIABLE} should be a number of gigabytes, such as 4, found {text!r}: correct it or leave it out'
    )


def fits_memory(size: int) -> bool:
    """Whether data of so many bytes are held in memory: half of the machine's, or what is allowed."""
    limit = allowed()
    if limit is None:
        with contextlib.suppress(AttributeError, ValueError, OSError):
            limit = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2
    return limit is None or size <= limit


def fits_device(size: int) -> bool:
    """Whether JAX holds data of so many bytes on its device: half of that one's memory, or what is allowed."""
    from sge_la.backends.jax import device

    limit = allowed()
    if limit is None and (known := device().memory_stats()):
        limit = known.get('bytes_limit', 0) / 2 or None
    return fits_memory(size) if limit is None else size <= limit


def where(size: int, *, mapped: bool) -> str | None:
    """Where the training sequences are while encoders train, in words; None: in memory, as is usual on a CPU.

    `size`: their bytes; `mapped`: they stay in their files.
    """
    from sge_la import backends

    held = f'{size / 1e9:.3g} GB'
    on_device = backends.name() == JAX and backends.current().device().platform != 'cpu'
    if on_device and not mapped and fits_device(2 * size):
        return f'{held}, on the device'
    if on_device:
        return f'{held}, sent to the device batch by batch'
    return f'{held}, read from the files batch by batch' if mapped else None
