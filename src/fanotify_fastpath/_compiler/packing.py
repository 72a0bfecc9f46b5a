"""The values of attributes as they lie among the constants."""

import struct
from collections.abc import Callable, Iterable
from typing import Any

from fanotify_fastpath._compiler.globs import tabulate
from fanotify_fastpath._compiler.layout import N_PROBES, n_slots, stride
from fanotify_fastpath._compiler.model import (
    WORD_BYTES,
    Attribute,
    BoolKind,
    Compiled,
    ConstantKind,
    IntKind,
    IntsKind,
    RootsKind,
    SetKind,
    TextKind,
    TextsKind,
    WordKind,
    round_up,
)
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath.errors import InvalidArgument

_WORD = 1 << 64
#: of the slot of a root set that has none
_NO_SLOT = 1 << 63
_N_MULTIPLIERS = 10_000
#: odd, with its bits spread: 2^64 divided by the golden ratio
_MULTIPLIER = 0x9E3779B97F4A7C15


def pack(compiled: Compiled, instance: object, slot_of: Callable[[Any], int | None]) -> bytes:
    """
    Give the constants their values.

    :param compiled: what reads them
    :param instance: whose attributes they are
    :param slot_of: number of a root set's slot; None if it has none
    :raises InvalidArgument: an attribute is not there, or not what it was declared to be
    """
    changed = sorted(compiled.of_class & vars(instance).keys())
    if changed:
        raise InvalidArgument(
            f"attribute {changed[0]!r} was compiled with the value of the class, but init() gave it another one: "
            "annotate it on the class instead"
        )
    found = bytearray(compiled.attributes_size)
    for attribute in compiled.attributes:
        packed = _packed(attribute, instance, slot_of)
        found[attribute.offset : attribute.offset + len(packed)] = packed
    return bytes(found)


def _packed(attribute: Attribute, instance: object, slot_of: Callable[[Any], int | None]) -> bytes:
    kind = attribute.kind
    if isinstance(kind, ConstantKind):
        return tabulate(kind.value).pack() if attribute.has_tables else kind.value
    try:
        value = getattr(instance, attribute.name)
    except AttributeError:
        raise InvalidArgument(f"attribute {attribute.name!r} has no value after init()") from None
    if attribute.has_tables:
        return b"".join(tabulate(each).pack() for each in value)
    if isinstance(kind, RootsKind):
        slot = slot_of(value)
        return _words(_NO_SLOT if slot is None else slot)
    try:
        return _value(attribute, value)
    except (TypeError, ValueError) as exc:
        if isinstance(exc, InvalidArgument):
            raise
        raise _wrong(attribute, value) from None


def _value(attribute: Attribute, value: Any) -> bytes:
    match attribute.kind:
        case BoolKind() if isinstance(value, bool):
            return _words(value)
        case IntKind(bounds) if isinstance(value, int):
            return _words(*_within(attribute, [value], bounds))
        case WordKind(words):
            return _words(words.index(value))
        case TextKind(max_bytes) if isinstance(value, bytes) and len(value) <= max_bytes:
            return _words(len(value)) + value
        case TextsKind(max_items, max_bytes) if len(value) <= max_items:
            if all(isinstance(each, bytes) and len(each) <= max_bytes for each in value):
                return _words(len(value)) + b"".join(_item(each, attribute.kind) for each in value)
        case IntsKind(max_items, bounds) if len(value) <= max_items:
            return _words(len(value), *_within(attribute, value, bounds))
        case SetKind(max_items, bounds) if len(value) <= max_items:
            return _set(attribute.kind, _within(attribute, value, bounds))
    raise _wrong(attribute, value)


def _within(attribute: Attribute, values: Iterable[int], bounds: Range) -> list[int]:
    found = list(values)
    if not all(isinstance(each, int) and bounds.lo <= each <= bounds.hi for each in found):
        raise _wrong(attribute, values)
    return found


def _wrong(attribute: Attribute, value: object) -> InvalidArgument:
    return InvalidArgument(f"attribute {attribute.name!r} is {value!r:.80}, but it was declared as {attribute.kind}")


def _words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *(number % _WORD for number in numbers))


def _item(value: bytes, kind: TextsKind) -> bytes:
    mask = (1 << 8 * min(len(value), WORD_BYTES)) - 1
    return (_words(len(value), mask) + value.ljust(round_up(kind.max_bytes), b"\0")).ljust(stride(kind), b"\0")


def _set(kind: SetKind, numbers: list[int]) -> bytes:
    """Numbers where compiled code looks for them; the multiplier is the first with which all find a place."""
    if any((number + 1) % _WORD == 0 for number in numbers):
        raise InvalidArgument("a set cannot have -1 or 2^64 - 1")
    for n in range(_N_MULTIPLIERS):
        multiplier = _MULTIPLIER * (2 * n + 1) % _WORD
        slots = _placed(kind, numbers, multiplier)
        if slots is not None:
            return _words(len(numbers), multiplier, *slots)
    raise InvalidArgument(f"no table was found for these {len(numbers)} numbers")


def _placed(kind: SetKind, numbers: list[int], multiplier: int) -> list[int] | None:
    n = n_slots(kind)
    slots = [0] * (n + N_PROBES)
    for number in numbers:
        first = (number * multiplier % _WORD) >> 64 - (n.bit_length() - 1)
        place = next((at for at in range(first, first + N_PROBES) if not slots[at]), None)
        if place is None:
            return None
        slots[place] = (number + 1) % _WORD
    return slots
