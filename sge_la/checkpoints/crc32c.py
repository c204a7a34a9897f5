"""CRC-32C (Castagnoli), vectorised over a whole array, and TensorFlow's masked form of it.

Python's standard library has only the other CRC-32. A checksum without its two inversions is linear: appending n zero
bytes is a linear map of 32 bits, and a message is the sum of its parts shifted into place. So the words of a message
are folded, the first half shifted onto the second, until one word is left: about 20 passes of NumPy, 0.1 s for 34 MB.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_POLYNOMIAL = 0x82F63B78  # bits in reversed order
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | np.ndarray) -> int:
    """CRC-32C of `data`, or of the bytes of a C-contiguous array."""
    octets = data.reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    # Zeros in front do not change the linear part, so the length may be rounded up to whole words there.
    head = octets.size % 4
    words = np.frombuffer(octets[head:], '<u4')
    if head:
        words = np.concatenate([np.frombuffer(octets[:head].tobytes().rjust(4, b'\0'), '<u4'), words])
    while words.size > 1:
        exponent = (words.size - 1).bit_length() - 1  # the last 2**exponent words stay, the others are folded onto them
        kept, moved = words[-(1 << exponent) :].copy(), words[: -(1 << exponent)]
        kept[-moved.size :] ^= _apply(_zeros_map(exponent + 2), moved)
        words = kept
    linear = _append_zeros(int(words[0]), 4) if words.size else 0
    return linear ^ _append_zeros(_ONES, octets.size) ^ _ONES


def masked_crc32c(data: bytes | np.ndarray) -> int:
    """CRC-32C as TensorFlow stores it: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ONES


def _append_zeros(crc: int, count: int) -> int:
    word = np.array([crc], '<u4')
    for exponent in range(count.bit_length()):
        if count >> exponent & 1:
            word = _apply(_zeros_map(exponent), word)
    return int(word[0])


def _apply(table: np.ndarray, words: np.ndarray) -> np.ndarray:
    octets = words.view(np.uint8).reshape(-1, 4)
    out = table[0].take(octets[:, 0])
    for position in range(1, 4):
        out ^= table[position].take(octets[:, position])
    return out


@lru_cache(maxsize=64)
def _zeros_map(exponent: int) -> np.ndarray:
    """What 2**exponent zero bytes do to a checksum: uint32 [4, 256], the image of each value of each of its bytes."""
    if exponent:
        images = _apply(_zeros_map(exponent - 1), _apply(_zeros_map(exponent - 1), _bits()))
    else:
        images = _bits()
        for _ in range(8):
            images = images >> 1 ^ np.where(images & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    table = np.zeros((4, 256), '<u4')
    for bit, image in enumerate(images):
        position, low = divmod(bit, 8)
        table[position, 1 << low : 2 << low] = table[position, : 1 << low] ^ image
    return table


def _bits() -> np.ndarray:
    return np.uint32(1) << np.arange(32, dtype='<u4')
