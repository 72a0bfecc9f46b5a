"""Ranges of integers, without bounds: what an expression may be, computed exactly or wider."""

from collections.abc import Callable
from dataclasses import dataclass

#: a shift by more makes any range larger than 64 bits
_MAX_SHIFT = 128


@dataclass(frozen=True, slots=True)
class Range:
    """
    All integers from one to another.

    :ivar lo: the least
    :ivar hi: the greatest
    :ivar of_flag: Python may take them for members of an enumeration of flags, which it inverts in another way
    """

    lo: int
    hi: int
    of_flag: bool = False

    def __str__(self) -> str:
        return f"from {self.lo} to {self.hi}"

    def __contains__(self, other: "Range") -> bool:
        return self.lo <= other.lo and other.hi <= self.hi

    def join(self, other: "Range") -> "Range":
        """The least range that has both."""
        return Range(min(self.lo, other.lo), max(self.hi, other.hi), self.of_flag or other.of_flag)

    def meet(self, lo: int, hi: int) -> "Range | None":
        """What lies between two bounds too; None if nothing does."""
        lo, hi = max(self.lo, lo), min(self.hi, hi)
        return Range(lo, hi, self.of_flag) if lo <= hi else None

    @property
    def known(self) -> int | None:
        """The only integer, if there is but one."""
        return self.lo if self.lo == self.hi else None

    @property
    def is_signed(self) -> bool:
        """It fits into a signed word."""
        return self in I64

    @property
    def is_unsigned(self) -> bool:
        """It fits into an unsigned word."""
        return self in U64


I64 = Range(-(1 << 63), (1 << 63) - 1)
U64 = Range(0, (1 << 64) - 1)


def width(bits: int, *, signed: bool) -> Range:
    """The range of a machine's integer."""
    return Range(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else Range(0, (1 << bits) - 1)


def add(a: Range, b: Range) -> Range:
    """Of a sum."""
    return Range(a.lo + b.lo, a.hi + b.hi)


def subtract(a: Range, b: Range) -> Range:
    """Of a difference."""
    return Range(a.lo - b.hi, a.hi - b.lo)


def multiply(a: Range, b: Range) -> Range:
    """Of a product."""
    return _corners(a, b, int.__mul__)


def shift_left(a: Range, b: Range) -> Range:
    """Of ``a << b``; of shifts over 128, only that it is larger than a word."""
    return _corners(a, Range(_shift(b.lo), _shift(b.hi)), int.__lshift__)


def shift_right(a: Range, b: Range) -> Range:
    """Of ``a >> b``."""
    return _corners(a, Range(_shift(b.lo), _shift(b.hi)), int.__rshift__)


def floor_divide(a: Range, b: Range) -> Range:
    """Of ``a // b``, for those of *b* that are not 0."""
    parts = [part for part in (b.meet(b.lo, -1), b.meet(1, b.hi)) if part]
    found = [_corners(a, part, int.__floordiv__) for part in parts] or [Range(0, 0)]
    return Range(min(each.lo for each in found), max(each.hi for each in found))


def modulo(a: Range, b: Range) -> Range:
    """Of ``a % b``, for those of *b* that are not 0."""
    if a.lo >= 0 and b.lo > a.hi:
        return a
    lo, hi = min(0, b.lo + 1), max(0, b.hi - 1)
    return Range(lo, min(hi, a.hi) if a.lo >= 0 and b.lo >= 0 else hi)


def bit_and(a: Range, b: Range) -> Range:
    """Of ``a & b``."""
    if a.lo >= 0 and b.lo >= 0:
        return Range(0, min(a.hi, b.hi))
    if a.lo >= 0 or b.lo >= 0:
        return Range(0, a.hi if a.lo >= 0 else b.hi)
    return _bits(a, b)


def bit_or(a: Range, b: Range) -> Range:
    """Of ``a | b`` and of ``a ^ b``."""
    return _bits(a, b)


def invert(a: Range) -> Range:
    """Of ``~a``."""
    return Range(~a.hi, ~a.lo)


def negate(a: Range) -> Range:
    """Of ``-a``."""
    return Range(-a.hi, -a.lo)


def absolute(a: Range) -> Range:
    """Of ``abs(a)``."""
    least = 0 if a.lo <= 0 <= a.hi else min(abs(a.lo), abs(a.hi))
    return Range(least, max(abs(a.lo), abs(a.hi)))


def _corners(a: Range, b: Range, operation: Callable[[int, int], int]) -> Range:
    values = [operation(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return Range(min(values), max(values))


def _bits(a: Range, b: Range) -> Range:
    n = max((value if value >= 0 else ~value).bit_length() for value in (a.lo, a.hi, b.lo, b.hi))
    return Range(-(1 << n) if min(a.lo, b.lo) < 0 else 0, (1 << n) - 1)


def _shift(amount: int) -> int:
    return min(max(amount, 0), _MAX_SHIFT)
