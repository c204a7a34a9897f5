"""CRC-32C as TensorFlow stores it."""

from __future__ import annotations

import google_crc32c
import numpy as np

_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | np.ndarray) -> int:
    """CRC-32C of `data`, or of the bytes of a C-contiguous array."""
    return google_crc32c.value(data if isinstance(data, bytes) else data.reshape(-1).view(np.uint8).tobytes())


def masked_crc32c(data: bytes | np.ndarray) -> int:
    """CRC-32C rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
