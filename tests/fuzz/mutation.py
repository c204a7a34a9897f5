"""Damages files at random: for any kind of file, and repeatable from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Damages bytes in one to four ways: flips, cuts, swaps, repeats, and numbers that are often trouble.

    Args:
        content: a valid file.
        rng: decides everything.

    Returns:
        Other bytes (in rare cases the same).
    """
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_WAYS)(damaged, rng)
    return bytes(damaged)


def cases(
    seeds: Sequence[bytes], numbers: range, seed: int = 0, focus: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Damaged variants of valid files.

    Args:
        seeds: valid files; each is used in turn.
        numbers: of the variants; variant k is the same in every run.
        seed: of the random numbers.
        focus: damage only the first so many bytes in every second case (a header, where the rest is data).

    Yields:
        (number of the case, bytes).
    """
    for number in numbers:
        rng = random.Random(f'{seed} {number}')
        content = seeds[number % len(seeds)]
        if focus is not None and rng.random() < 0.5:
            yield number, mutate(content[:focus], rng) + content[focus:]
        else:
            yield number, mutate(content, rng)


def _place(damaged: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(damaged)) if damaged else 0


def _span(damaged: bytearray, rng: random.Random) -> slice:
    start = _place(damaged, rng)
    return slice(start, start + rng.choice((1, 2, 4, 8, rng.randint(1, 100))))


def _flip_bit(damaged: bytearray, rng: random.Random) -> None:
    if damaged:
        damaged[_place(damaged, rng)] ^= 1 << rng.randrange(8)


def _set_byte(damaged: bytearray, rng: random.Random) -> None:
    if damaged:
        damaged[_place(damaged, rng)] = rng.randrange(256)


def _cut_end(damaged: bytearray, rng: random.Random) -> None:
    del damaged[_place(damaged, rng) :]


def _cut_out(damaged: bytearray, rng: random.Random) -> None:
    del damaged[_span(damaged, rng)]


def _swap(damaged: bytearray, rng: random.Random) -> None:
    one, other = _span(damaged, rng), _place(damaged, rng)
    piece = damaged[one]
    other = slice(other, other + len(piece))
    damaged[one], damaged[other] = damaged[other], piece


def _repeat(damaged: bytearray, rng: random.Random) -> None:
    piece = damaged[_span(damaged, rng)]
    place = _place(damaged, rng)
    damaged[place:place] = piece * rng.choice((1, 1, 2, 50))


def _add(damaged: bytearray, rng: random.Random) -> None:
    place = rng.choice((_place(damaged, rng), len(damaged)))
    damaged[place:place] = rng.randbytes(rng.randint(1, 40))


def _extreme_number(damaged: bytearray, rng: random.Random) -> None:
    width = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1))
    place = _place(damaged, rng)
    damaged[place : place + width] = value.to_bytes(width, rng.choice(('little', 'big')))


def _change_digit(damaged: bytearray, rng: random.Random) -> None:
    """Digits are what sizes are written in, in text headers and tables."""
    digits = [place for place, byte in enumerate(damaged) if chr(byte).isdigit() and byte < 128]
    if digits:
        place = rng.choice(digits)
        damaged[place : place + 1] = rng.choice((b'0', b'9', b'-1', b'1e9', b'99999999999999999999', b'', b'nan'))


_WAYS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bit,
    _set_byte,
    _cut_end,
    _cut_out,
    _swap,
    _repeat,
    _add,
    _extreme_number,
    _change_digit,
)
