"""Sets of integers as compiled code finds what is in them."""

import random
import struct
from types import SimpleNamespace

import pytest

from fanotify_fastpath._compiler.layout import N_PROBES, n_slots, size_of
from fanotify_fastpath._compiler.model import Attribute, Compiled, SetKind
from fanotify_fastpath._compiler.packing import pack
from fanotify_fastpath._compiler.ranges import I64, U64

_WORD = 1 << 64


def _packed(kind: SetKind, numbers: set[int]) -> tuple[int, ...]:
    size = size_of(kind)
    compiled = Compiled("", 0, (Attribute("numbers", kind, 0, size),), size, ())
    found = pack(compiled, SimpleNamespace(numbers=frozenset(numbers)), lambda roots: None)
    return struct.unpack(f"={size // 8}Q", found)


def _has(kind: SetKind, words: tuple[int, ...], number: int) -> bool:
    """What the code does."""
    _, multiplier, *slots = words
    first = (number * multiplier % _WORD) >> 64 - (n_slots(kind).bit_length() - 1)
    return (number + 1) % _WORD in slots[first : first + N_PROBES]


def _full_set(kind: SetKind, choose: random.Random, bits: int, shift: int) -> set[int]:
    """As many numbers as it may have; the 64 bits of none are all ones."""
    numbers: set[int] = set()
    while len(numbers) < kind.max_items:
        number = choose.getrandbits(bits) << shift
        numbers.add(-number if kind.range.lo and number != 1 and choose.random() < 0.5 else number)
    return numbers


@pytest.mark.parametrize(("bits", "shift"), [(11, 0), (11, 40), (32, 0), (63, 0)])
@pytest.mark.parametrize("kind", [SetKind(n, bounds) for n in (1, 2, 32, 1000) for bounds in (U64, I64)], ids=str)
def test_what_is_in_a_full_set_is_found_and_nothing_else(kind: SetKind, bits: int, shift: int) -> None:
    choose = random.Random(f"{kind} {bits} {shift}")
    numbers = _full_set(kind, choose, bits, shift)
    words = _packed(kind, numbers)
    assert words[0] == len(numbers)
    near = {number + by for number in numbers for by in (-1, 0, 1)} - {-1}
    for number in near | {choose.getrandbits(63) for _ in range(1000)}:
        assert _has(kind, words, number) == (number in numbers)
