"""Integers read byte by byte: as ``struct`` reads them, and never past the end."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath._uapi.words import s32, u16, u32, u64

WORDS: list[tuple[Callable[[bytes, int], int], str]] = [(u16, "=H"), (u32, "=I"), (s32, "=i"), (u64, "=Q")]


@pytest.mark.parametrize(("read", "layout"), WORDS)
@given(st.data())
def test_a_word_is_what_struct_reads(read: Callable[[bytes, int], int], layout: str, data: st.DataObject) -> None:
    size = struct.calcsize(layout)
    buffer = data.draw(st.binary(min_size=size, max_size=size + 8))
    at = data.draw(st.integers(0, len(buffer) - size))
    assert read(buffer, at) == struct.unpack_from(layout, buffer, at)[0]


@pytest.mark.parametrize(("read", "layout"), WORDS)
def test_the_largest_and_the_smallest_are_whole(read: Callable[[bytes, int], int], layout: str) -> None:
    for pattern in (b"\xff", b"\x00", b"\x80", b"\x7f"):
        buffer = pattern * 8
        assert read(buffer, 0) == struct.unpack_from(layout, buffer)[0]


@pytest.mark.parametrize(("read", "layout"), WORDS)
def test_past_the_end_is_an_index_error(read: Callable[[bytes, int], int], layout: str) -> None:
    size = struct.calcsize(layout)
    for length in range(size):
        with pytest.raises(IndexError):
            read(bytes(length), 0)
    with pytest.raises(IndexError):
        read(bytes(size), 1)
