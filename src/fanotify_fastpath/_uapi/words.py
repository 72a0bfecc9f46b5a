"""
Integers in a record, in the machine's byte order; an IndexError where the buffer ends before.

Compiled to C each is a few instructions; ``struct`` makes a tuple of objects. The annotations in quotes are C integers;
only the compiler reads them.
"""

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

_IS_LITTLE: Final = sys.byteorder == "little"


def u16(buffer: bytes, at: "i64") -> "i64":
    """Read ``__u16``."""
    a: i64 = buffer[at]
    b: i64 = buffer[at + 1]
    return a | b << 8 if _IS_LITTLE else a << 8 | b


def u32(buffer: bytes, at: "i64") -> "i64":
    """Read ``__u32``."""
    a: i64 = buffer[at]
    b: i64 = buffer[at + 1]
    c: i64 = buffer[at + 2]
    d: i64 = buffer[at + 3]
    return a | b << 8 | c << 16 | d << 24 if _IS_LITTLE else a << 24 | b << 16 | c << 8 | d


def s32(buffer: bytes, at: "i64") -> "i64":
    """Read ``__s32``."""
    value = u32(buffer, at)
    return value if value < 1 << 31 else value - (1 << 32)


def u64(buffer: bytes, at: "i64") -> int:
    """Read ``__u64``."""
    first: int = u32(buffer, at)
    second: int = u32(buffer, at + 4)
    return first | second << 32 if _IS_LITTLE else first << 32 | second
