"""LevelDB's sorted table as TensorFlow uses it for the index of a checkpoint: byte keys to byte values.

A table is a row of blocks, each followed by a type byte (0: not compressed) and a masked CRC-32C; the last 48 bytes say
where the index block lies, and that says where the data blocks lie. Within a block a key is stored as the number of
bytes that it shares with the key before it, and the rest. Nothing is believed before it is checked, because the files
come from strangers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from sge_la.checkpoints.crc32c import masked_crc32c

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_RESTART_INTERVAL = 16
MAX_KEY_BYTES = 1024
MAX_ENTRIES = 10_000


class FormatError(ValueError):
    """Bytes that break the format; the message ends a sentence that names the file."""


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A base-128 number of up to 64 bits at `position`, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise FormatError('a number is cut off')
        octet = data[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            if value >> 64:
                break
            return value, position
    raise FormatError('a number has more than 64 bits')


def write_varint(value: int) -> bytes:
    """`value` >= 0 in base 128, low digits first."""
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def read_table(data: bytes) -> list[tuple[bytes, bytes]]:
    """All entries of a table, in the order of their keys.

    Raises FormatError: the bytes are no table, are damaged (each block carries a checksum), or are compressed.
    """
    if len(data) < _FOOTER_BYTES or struct.unpack('<Q', data[-8:])[0] != _MAGIC:
        raise FormatError('its last bytes are not those of a TensorFlow checkpoint index')
    footer = data[-_FOOTER_BYTES:]
    _, position = _read_handle(footer, 0)
    index_handle, _ = _read_handle(footer, position)
    entries: list[tuple[bytes, bytes]] = []
    free = 0  # blocks follow one another, so that no byte is read (and no time spent) twice
    for _, value in _block_entries(_read_block(data, index_handle)):
        (offset, size), _ = _read_handle(value, 0)
        if offset < free:
            raise FormatError('its blocks overlap')
        free = offset + size
        for key, content in _block_entries(_read_block(data, (offset, size))):
            if entries and key <= entries[-1][0]:
                raise FormatError('its names are not in order')
            entries.append((key, content))
            if len(entries) > MAX_ENTRIES:
                raise FormatError(f'it holds more than {MAX_ENTRIES} entries')
    return entries


def write_table(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A table of one data block, the same bytes as TensorFlow writes for fewer than 256 KiB of entries.

    `entries`: at least one, sorted by key, no key twice.
    """
    entries = list(entries)
    out = bytearray()
    data_handle = _append_block(out, entries, _RESTART_INTERVAL)
    meta_handle = _append_block(out, [], 1)
    index_handle = _append_block(out, [(_successor(entries[-1][0]), data_handle)], 1)
    footer = (meta_handle + index_handle).ljust(_FOOTER_BYTES - 8, b'\0')
    return bytes(out + footer + struct.pack('<Q', _MAGIC))


def _read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _read_block(data: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    end = offset + size
    if end + _TRAILER_BYTES > len(data) - _FOOTER_BYTES:
        raise FormatError('it is cut short or damaged: a block ends beyond the file')
    kind = data[end]
    (stored,) = struct.unpack_from('<I', data, end + 1)
    if stored != masked_crc32c(data[offset : end + 1]):
        raise FormatError('it is damaged: a checksum is wrong')
    if kind:
        raise FormatError(f'its blocks are compressed (type {kind}), which TensorFlow savers do not do')
    return data[offset:end]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 8:
        raise FormatError('a block is too small')
    (restarts,) = struct.unpack('<I', block[-4:])
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise FormatError('a block is too small')
    position, key = 0, b''
    while position < end:
        shared, position = read_varint(block, position)
        fresh, position = read_varint(block, position)
        size, position = read_varint(block, position)
        if shared > len(key) or position + fresh + size > end:
            raise FormatError('an entry does not fit into its block')
        if shared + fresh > MAX_KEY_BYTES:
            raise FormatError(f'a name is longer than {MAX_KEY_BYTES} bytes')
        key = key[:shared] + block[position : position + fresh]
        position += fresh
        yield key, block[position : position + size]
        position += size


def _append_block(out: bytearray, entries: list[tuple[bytes, bytes]], interval: int) -> bytes:
    """Appends a block with its trailer to `out`; returns its handle."""
    block, restarts, before = bytearray(), [], b''
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % interval == 0:
            restarts.append(len(block))
        else:
            while shared < min(len(before), len(key)) and before[shared] == key[shared]:
                shared += 1
        block += (
            write_varint(shared) + write_varint(len(key) - shared) + write_varint(len(value)) + key[shared:] + value
        )
        before = key
    restarts = restarts or [0]
    block += struct.pack(f'<{len(restarts) + 1}I', *restarts, len(restarts))
    handle = write_varint(len(out)) + write_varint(len(block))
    block.append(0)
    out += block + struct.pack('<I', masked_crc32c(bytes(block)))
    return handle


def _successor(key: bytes) -> bytes:
    """A short key that does not sort before `key`, as LevelDB chooses it for the index block."""
    for position, octet in enumerate(key):
        if octet != 0xFF:
            return key[:position] + bytes([octet + 1])
    return key
