"""
Integers of a machine's width, for handlers that are compiled: ``u32(n)`` is ``n`` modulo 2^32, ``i8(200)`` is
-56.

They are functions, and annotations too: ``n: u32 = 0`` declares a variable, ``limit: u32`` an attribute of a handler.
What has a bound besides is annotated with :class:`Bytes` or :class:`Items`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING


@dataclass(frozen=True, slots=True)
class Width:
    """
    A function that wraps an integer.

    :ivar name: as it is written
    :ivar bits: how many it keeps
    :ivar signed: the highest is a sign
    """

    name: str
    bits: int
    signed: bool

    def __call__(self, value: int, /) -> int:
        wrapped = int(value) % (1 << self.bits)
        return wrapped - (1 << self.bits) if self.signed and wrapped >> self.bits - 1 else wrapped


@dataclass(frozen=True, slots=True)
class Bytes:
    """
    A bound of bytes: ``Annotated[bytes, Bytes(60)]``, ``Annotated[tuple[bytes, ...], Items(10), Bytes(60)]``.

    :ivar maximum: most bytes
    """

    maximum: int


@dataclass(frozen=True, slots=True)
class Items:
    """
    A bound of a tuple or a frozenset: ``Annotated[frozenset[int], Items(32)]``.

    :ivar maximum: most items
    """

    maximum: int


if TYPE_CHECKING:
    u8 = u16 = u32 = u64 = i8 = i16 = i32 = i64 = int
else:
    u8, u16, u32, u64 = (Width(f"u{bits}", bits, False) for bits in (8, 16, 32, 64))
    i8, i16, i32, i64 = (Width(f"i{bits}", bits, True) for bits in (8, 16, 32, 64))

WIDTHS: tuple[Width, ...] = (u8, u16, u32, u64, i8, i16, i32, i64)  # type: ignore[assignment]
