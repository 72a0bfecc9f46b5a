"""Integers of a machine's width wrap as C's do."""

import ctypes

import pytest

from fanotify_fastpath.widths import WIDTHS, Width, i8, u8, u32

NUMBERS = (
    0,
    1,
    -1,
    127,
    128,
    200,
    255,
    256,
    -129,
    (1 << 31) - 1,
    1 << 31,
    1 << 63,
    (1 << 64) - 1,
    1 << 200,
    -(1 << 99),
)


@pytest.mark.parametrize("width", WIDTHS, ids=lambda width: width.name)
def test_they_wrap_as_in_c(width: Width) -> None:
    c_type = getattr(ctypes, f"c_{'' if width.signed else 'u'}int{width.bits}")
    for number in NUMBERS:
        assert width(number) == c_type(number).value


def test_what_they_give_is_a_plain_integer() -> None:
    assert (u32(-1), i8(200), u8(True)) == (4294967295, -56, 1)
    assert type(u8(True)) is int
