"""
Typed arguments of handlers: what an attach may be given, checked before ``init`` sees it.

Each argument has a fixed place and size in a packed blob, so that the same declaration serves keyword arguments from
Python and the RFC's argument blob (``init_args``), and a handler's declared size can be compared with the size given.
"""

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.roots import RootSet

#: the largest argument blob (the RFC has 64 bytes in v2, 1024 in v1)
ARGS_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of one argument: how a value is checked, packed and unpacked."""

    def check(self, name: str, value: Any) -> Any:
        """Return *value* in its normal form, or raise :exc:`InvalidArgument`."""
        raise NotImplementedError

    @property
    def size_bytes(self) -> int:
        """Number of bytes of this argument in the blob."""
        raise NotImplementedError

    def unpack(self, blob: bytes) -> Any:
        """Return the value that *blob* (of ``size_bytes``) holds."""
        raise NotImplementedError

    def describe(self) -> str:
        """Say in a few words what is accepted."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """
    A signed 64-bit integer between two bounds; packed as ``<q``.

    :ivar minimum: least value accepted
    :ivar maximum: greatest value accepted
    """

    minimum: int = -(1 << 63)
    maximum: int = (1 << 63) - 1

    size_bytes: ClassVar[int] = 8

    def check(self, name: str, value: Any) -> int:
        number = _integer(value)
        if number is None or not self.minimum <= number <= self.maximum:
            raise InvalidArgument(f"argument {name!r} is {value!r}, not {self.describe()}")
        return number

    def unpack(self, blob: bytes) -> int:
        return int(struct.unpack("<q", blob)[0])

    def describe(self) -> str:
        return f"an integer from {self.minimum} to {self.maximum}"


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """
    One of a few words; packed as the ``<I`` index of the word.

    :ivar words: the words accepted, the default first
    """

    words: tuple[str, ...]

    size_bytes: ClassVar[int] = 4

    def check(self, name: str, value: Any) -> str:
        if value not in self.words:
            raise InvalidArgument(f"argument {name!r} is {value!r}, not {self.describe()}")
        return str(value)

    def unpack(self, blob: bytes) -> str:
        (index,) = struct.unpack("<I", blob)
        if index >= len(self.words):
            raise InvalidArgument(f"choice number {index} is over the last, {len(self.words) - 1}")
        return str(self.words[index])

    def describe(self) -> str:
        return "one of " + ", ".join(self.words)


@dataclass(frozen=True, slots=True)
class BytesList(Kind):
    """
    Byte strings of bounded number and length; packed as ``<I`` count, then per item ``<I`` length and the padded bytes.

    :ivar max_items: most strings accepted
    :ivar max_bytes: longest string accepted, in bytes
    """

    max_items: int
    max_bytes: int

    def check(self, name: str, value: Any) -> tuple[bytes, ...]:
        items = _items(value, (str, bytes))
        if items is None or len(items) > self.max_items or not all(isinstance(item, (str, bytes)) for item in items):
            raise InvalidArgument(f"argument {name!r} is not {self.describe()}: {value!r:.80}")
        normal = tuple(os.fsencode(item) for item in items)
        if not all(0 < len(item) <= self.max_bytes for item in normal):
            raise InvalidArgument(f"argument {name!r} is not {self.describe()}: {value!r:.80}")
        return normal

    @property
    def size_bytes(self) -> int:
        return 4 + self.max_items * (4 + self.max_bytes)

    def unpack(self, blob: bytes) -> tuple[bytes, ...]:
        (count,) = struct.unpack_from("<I", blob)
        if count > self.max_items:
            raise InvalidArgument(f"{count} items are more than {self.max_items}")
        items = []
        for n in range(count):
            start = 4 + n * (4 + self.max_bytes)
            (length,) = struct.unpack_from("<I", blob, start)
            if length > self.max_bytes:
                raise InvalidArgument(f"item {n} has {length} bytes, more than {self.max_bytes}")
            items.append(blob[start + 4 : start + 4 + length])
        return tuple(items)

    def describe(self) -> str:
        return f"a list of at most {self.max_items} non-empty strings of at most {self.max_bytes} bytes"


@dataclass(frozen=True, slots=True)
class IntegerSet(Kind):
    """
    Unsigned 32-bit integers; packed as ``<I`` count, then ``<I`` each.

    :ivar max_items: most integers accepted
    """

    max_items: int

    def check(self, name: str, value: Any) -> frozenset[int]:
        items = _items(value, (str, int))
        normal = {_integer(item) for item in items or ()}
        if items is None or len(items) > self.max_items or not all(n is not None and 0 <= n < 1 << 32 for n in normal):
            raise InvalidArgument(f"argument {name!r} is not {self.describe()}: {value!r:.80}")
        return frozenset(n for n in normal if n is not None)

    @property
    def size_bytes(self) -> int:
        return 4 + 4 * self.max_items

    def unpack(self, blob: bytes) -> frozenset[int]:
        (count,) = struct.unpack_from("<I", blob)
        if count > self.max_items:
            raise InvalidArgument(f"{count} items are more than {self.max_items}")
        return frozenset(struct.unpack_from(f"<{count}I", blob, 4))

    def describe(self) -> str:
        return f"at most {self.max_items} integers from 0 to {(1 << 32) - 1}"


@dataclass(frozen=True, slots=True)
class Roots(Kind):
    """
    Files or directories, by path or by open descriptor (``O_PATH`` too); packed as ``<I`` count, then ``<i``
    descriptors.

    :ivar max_items: most roots accepted at attach; more can be added live to the :class:`RootSet`
    """

    max_items: int

    def check(self, name: str, value: Any) -> RootSet:
        if isinstance(value, RootSet):
            return value
        items = _items(value, (str, bytes, int, os.PathLike))
        if items is None or len(items) > self.max_items:
            raise InvalidArgument(f"argument {name!r} is not {self.describe()}: {value!r:.80}")
        return RootSet(items)

    @property
    def size_bytes(self) -> int:
        return 4 + 4 * self.max_items

    def unpack(self, blob: bytes) -> tuple[int, ...]:
        (count,) = struct.unpack_from("<I", blob)
        if count > self.max_items:
            raise InvalidArgument(f"{count} roots are more than {self.max_items}")
        return struct.unpack_from(f"<{count}i", blob, 4)

    def describe(self) -> str:
        return f"at most {self.max_items} paths or file descriptors"


def _integer(value: Any) -> int | None:
    """Return *value* as an integer; None when it is none."""
    if isinstance(value, int):
        return int(value)
    try:
        return int(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _items(value: Any, single: tuple[type, ...]) -> list[Any] | None:
    """Return the items of a list argument, of which one may stand alone; None when it is no list."""
    if isinstance(value, single):
        return [value]
    return list(value) if isinstance(value, Iterable) else None


@dataclass(frozen=True, slots=True)
class Argument:
    """
    One declared argument.

    :ivar name: keyword of the attach call
    :ivar kind: its type
    :ivar desc: one line for people
    :ivar default: value when it is not given; ``...`` means that it must be given
    """

    name: str
    kind: Kind
    desc: str
    default: Any = ...


def args_size_bytes(arguments: Sequence[Argument]) -> int:
    """Size of the packed blob of *arguments*, in bytes."""
    return sum(argument.kind.size_bytes for argument in arguments)


def check_arguments(arguments: Sequence[Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Check keyword arguments against their declaration.

    :param arguments: the declaration
    :param given: what the caller gave
    :return: every declared argument with its checked or default value
    :raises InvalidArgument: one is unknown, missing, or of the wrong type or size
    """
    known = {argument.name for argument in arguments}
    for name in given:
        if name not in known:
            raise InvalidArgument(f"unknown argument {name!r}; known are {', '.join(sorted(known)) or 'none'}")
    values = {}
    for argument in arguments:
        value = given.get(argument.name, argument.default)
        if value is ...:
            raise InvalidArgument(f"argument {argument.name!r} is missing: {argument.desc}")
        values[argument.name] = argument.kind.check(argument.name, value)
    return values


def unpack_arguments(arguments: Iterable[Argument], blob: bytes) -> dict[str, Any]:
    """
    Turn a packed blob into keyword arguments.

    :param arguments: the declaration
    :param blob: exactly ``args_size_bytes(arguments)`` bytes
    :return: the values by name
    :raises InvalidArgument: the size is not the declared one, or a count or length in it is over its limit
    """
    declared = tuple(arguments)
    size = args_size_bytes(declared)
    if len(blob) != size:
        raise InvalidArgument(f"the arguments have {len(blob)} bytes; the handler declares {size}")
    values, start = {}, 0
    for argument in declared:
        end = start + argument.kind.size_bytes
        values[argument.name] = argument.kind.unpack(blob[start:end])
        start = end
    return values
