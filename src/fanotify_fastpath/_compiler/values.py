"""What an expression may be: its type, what is known of it, and where compiled code has it."""

import enum
from dataclasses import dataclass, field, replace

from fanotify_fastpath._compiler.model import IntsKind, RootsKind, SetKind, TextsKind, WordKind
from fanotify_fastpath._compiler.ranges import Range


class Base(enum.Enum):
    """What an offset counts from."""

    EVENT = "%event"
    ATTRIBUTES = "@attributes"


@dataclass(frozen=True, slots=True)
class Int:
    """
    An integer; its range may be beyond 64 bits as long as nobody needs it exactly.

    :ivar ir: its lowest 64 bits
    """

    range: Range
    ir: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Bool:
    """A truth, known or not."""

    known: bool | None = None
    ir: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """
    Bytes in memory, or known ones that need none.

    :ivar end: an offset that none of them lies at or beyond
    :ivar length: how many
    :ivar constant: the bytes, if they are known
    :ivar is_item: a word with their number and one with the mask of their first word stand before them
    :ivar origin: name of the list that they are an item of
    :ivar index: which one
    :ivar length_home: where the event has their number, in bytes; below 0: nowhere
    """

    base: Base
    end: int
    length: Int
    constant: bytes | None = None
    is_item: bool = False
    origin: str = ""
    length_home: int = -1
    index: str = field(default="", compare=False)
    offset: str = field(default="", compare=False)

    @property
    def max_bytes(self) -> int:
        """Most of them."""
        return self.length.range.hi


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict, by its number."""

    ir: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Nothing:
    """None."""


@dataclass(frozen=True, slots=True)
class Maybe:
    """
    A value or None.

    :ivar is_none: which one
    :ivar said: what the value is of, as messages say it
    """

    value: "Int | Bool | Text | Verdict"
    is_none: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Known:
    """Something of Python's that stands for itself: a module, a function, a member of an enumeration."""

    thing: object


@dataclass(frozen=True, slots=True)
class Items:
    """A tuple."""

    values: "tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Sequence:
    """
    A sequence in memory.

    :ivar offset: of its first item
    :ivar count: of items
    :ivar kind: of items
    :ivar stride: from one item to the next, in bytes
    """

    base: Base
    offset: int
    kind: TextsKind | IntsKind
    stride: int
    count: Int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A set of integers, of roots, or a word of a few: in memory at an offset."""

    kind: SetKind | RootsKind | WordKind
    offset: int


@dataclass(frozen=True, slots=True)
class Event:
    """The event."""


@dataclass(frozen=True, slots=True)
class Myself:
    """The instance of the handler."""


@dataclass(frozen=True, slots=True)
class Method:
    """A function of an object, to be called."""

    owner: "Value"
    name: str


@dataclass(frozen=True, slots=True)
class State:
    """State of the attach, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """What must not be used, and why."""

    reason: str


Plain = Int | Bool | Text | Verdict
Value = Plain | Nothing | Maybe | Known | Items | Sequence | Lookup | Event | Myself | Method | State | Unusable


def describe(value: Value) -> str:
    """Say what a value is, as messages do."""
    match value:
        case Int():
            return "an integer"
        case Bool():
            return "a bool"
        case Text():
            return "bytes"
        case Verdict():
            return "a verdict"
        case Nothing():
            return "None"
        case Maybe():
            return f"{describe(value.value)} or None"
        case Items():
            return "a tuple"
        case Sequence():
            return "a list"
        case Lookup(kind):
            return {SetKind: "a set", RootsKind: "a root set", WordKind: "a word"}[type(kind)]
        case Event():
            return "the event"
        case Myself():
            return "the handler"
        case State():
            return "state"
        case Known(str()):
            return "a str"
        case Known(thing):
            return f"{getattr(thing, '__name__', repr(thing))}"
        case _:
            return "a function"


def join(a: Value, b: Value) -> Value:
    """What is one of two values."""
    if a == b or isinstance(a, Unusable):
        return a
    if isinstance(b, Unusable):
        return b
    if isinstance(a, Nothing) or isinstance(b, Nothing):
        other = b if isinstance(a, Nothing) else a
        if isinstance(other, Plain):
            return Maybe(other)
        if isinstance(other, Maybe):
            return other
    if isinstance(a, Maybe) or isinstance(b, Maybe):
        inner = join(a.value if isinstance(a, Maybe) else a, b.value if isinstance(b, Maybe) else b)
        return Maybe(inner) if isinstance(inner, Plain) else inner
    if isinstance(a, Items) and isinstance(b, Items) and len(a.values) == len(b.values):
        return Items(tuple(join(x, y) for x, y in zip(a.values, b.values, strict=True)))
    return _join_plain(a, b)


def _join_plain(a: Value, b: Value) -> Value:
    if isinstance(a, Int) and isinstance(b, Int):
        both = a.range.join(b.range)
        if both.is_signed or both.is_unsigned:
            return Int(both)
        return Unusable(f"may be {both}, more than 64 bits hold: wrap what is assigned, u64(...) or i64(...)")
    if isinstance(a, Bool) and isinstance(b, Bool):
        return Bool()
    if isinstance(a, Text) and isinstance(b, Text):
        if a.base is not b.base:
            return Unusable("is bytes of the event on one way and of the handler on the other: use two names")
        length = Int(a.length.range.join(b.length.range))
        return Text(a.base, max(a.end, b.end), length)
    kinds = " and ".join(describe(each) for each in (a, b))
    return Unusable(f"is {kinds}, on different ways: use two names")


def without_ir(value: Value) -> Value:
    """What is known of a value, apart from where it is."""
    match value:
        case Int() | Bool() | Verdict():
            return replace(value, ir="")
        case Text():
            length = Int(value.length.range, "" if value.constant is None else str(len(value.constant)))
            return replace(value, offset="", index="", length=length)
        case Maybe():
            inner = without_ir(value.value)
            return Maybe(inner) if isinstance(inner, Plain) else value
        case Items():
            return Items(tuple(without_ir(each) for each in value.values))
        case _:
            return value
