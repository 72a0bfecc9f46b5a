"""Reading the event and the constants, each word within its bounds."""

from dataclasses import replace

from fanotify_fastpath._compiler.layout import ITEM_HEAD, stride
from fanotify_fastpath._compiler.model import (
    WORD_BYTES,
    AttributeKind,
    BoolKind,
    EventField,
    EventFlag,
    EventInt,
    EventInts,
    EventText,
    IntKind,
    IntsKind,
    TextKind,
    TextsKind,
)
from fanotify_fastpath._compiler.ranges import Range, width
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import Base, Bool, Int, Lookup, Maybe, Plain, Sequence, Text, Value


def load(scope: Scope, base: Base, offset: str | int, size: int = WORD_BYTES) -> str:
    """
    Read an integer of *size* bytes without sign, at an offset that is known to be within the bounds.

    A word may be anywhere, but if LLVM knew it would read single bytes; the machines that have the engine read any.
    """
    code = scope.code
    at = code.op(f"getelementptr i8, ptr {base.value}, i64 {offset}")
    value = code.op(f"load i{8 * size}, ptr {at}, align {size}")
    return value if size == WORD_BYTES else code.op(f"zext i{8 * size} {value} to i64")


def load_within(scope: Scope, base: Base, offset: str, top: int) -> str:
    """Read a word at an offset that is *top* at most, as the verifier is to see."""
    code = scope.code
    index = code.opaque(offset)
    code.fail_if(code.op(f"icmp ugt i64 {index}, {top}"))
    return load(scope, base, index)


def forgotten(scope: Scope, text: Text) -> str:
    """
    The length of bytes, of which the verifier knows nothing.

    What it learns by comparing the length it keeps on each way that follows, and then goes each of these ways to the
    end instead of finding that they meet again. What is read from the event it does not know.
    """
    # of constants it is to know everything: then loops over them have as many turns as they take
    if text.length.range.known is not None or text.base is Base.ATTRIBUTES:
        return text.length.ir
    if text.length_home < 0:
        return unknown(scope, text.length.ir)
    at = scope.code.op(f"getelementptr i8, ptr %event, i64 {text.length_home}")
    return scope.code.op(f"zext i32 {scope.code.op(f'load volatile i32, ptr {at}')} to i64")


def unknown(scope: Scope, value: str) -> str:
    """An integer of which the verifier knows nothing: changed by another one of that kind, and changed back."""
    other = load(scope, Base.EVENT, scope.layout.unknown)
    hidden = scope.code.opaque(scope.code.op(f"xor i64 {value}, {other}"))
    return scope.code.op(f"xor i64 {hidden}, {other}")


def at_most(scope: Scope, value: str, most: int) -> str:
    """The lesser of two."""
    return scope.code.op(f"call i64 @llvm.umin.i64(i64 {value}, i64 {most})")


def event_field(scope: Scope, name: str, field: EventField) -> Value:
    """An attribute of the event."""
    match field:
        case EventFlag(offset, bits):
            word = load(scope, Base.EVENT, offset, 4)
            found = scope.code.op(f"and i64 {word}, {bits}")
            return Bool(None, scope.code.op(f"icmp ne i64 {found}, 0"))
        case EventInts(offset, count_offset, max_items, bit):
            scope.needs |= bit
            found = load(scope, Base.EVENT, count_offset, 4)
            count = scope.code.op(f"select i1 {is_unknown(scope, bit)}, i64 0, i64 {found}")
            kind = IntsKind(max_items, width(32, signed=False))
            return Sequence(Base.EVENT, offset, kind, 4, Int(Range(0, max_items), count), name)
        case EventInt(offset, size, bit):
            value: Plain = Int(width(8 * size, signed=False), load(scope, Base.EVENT, offset, size))
        case EventText(offset, length_offset, max_bytes, bit):
            # the verifier is to know a bound, without a branch: it would follow both ways to the end
            bits = (1 << max_bytes.bit_length()) - 1
            bounded = scope.code.op(f"and i64 {load(scope, Base.EVENT, length_offset, 4)}, {bits}")
            length = Int(Range(0, max_bytes), bounded)
            value = Text(Base.EVENT, offset + max_bytes, length, length_home=length_offset, offset=str(offset))
    scope.needs |= bit
    return Maybe(value, is_unknown(scope, bit)) if bit else value


def is_unknown(scope: Scope, bit: int) -> str:
    """Whether what has a bit is not known of this event."""
    known = load(scope, Base.EVENT, scope.layout.known, 4)
    return scope.code.op(f"icmp eq i64 {scope.code.op(f'and i64 {known}, {bit}')}, 0")


def attribute(scope: Scope, name: str, kind: AttributeKind) -> Value:
    """An attribute of the instance."""
    offset = scope.constants.place(name, kind)
    match kind:
        case BoolKind():
            return Bool(None, scope.code.op(f"icmp ne i64 {load(scope, Base.ATTRIBUTES, offset)}, 0"))
        case IntKind(found):
            return Int(found, load(scope, Base.ATTRIBUTES, offset))
        case TextKind(max_bytes):
            length = Int(Range(0, max_bytes), load(scope, Base.ATTRIBUTES, offset))
            begin = offset + WORD_BYTES
            return Text(Base.ATTRIBUTES, begin + max_bytes, length, offset=str(begin))
        case TextsKind(max_items) | IntsKind(max_items):
            count = Int(Range(0, max_items), load(scope, Base.ATTRIBUTES, offset))
            step = stride(kind) if isinstance(kind, TextsKind) else WORD_BYTES
            return Sequence(Base.ATTRIBUTES, offset + WORD_BYTES, kind, step, count, name)
        case _:
            return Lookup(kind, offset)  # type: ignore[arg-type]


def item(scope: Scope, of: Sequence, index: str) -> Int | Text:
    """One item, whose index is known to be less than the maximum."""
    code = scope.code
    begin = code.op(f"add i64 {code.op(f'mul i64 {index}, {of.stride}')}, {of.offset}")
    if isinstance(of.kind, IntsKind):
        return Int(of.kind.range, load(scope, of.base, begin, of.stride))
    length = Int(Range(0, of.kind.max_bytes), load(scope, of.base, begin))
    text = code.op(f"add i64 {begin}, {ITEM_HEAD}")
    end = of.offset + of.stride * (of.kind.max_items - 1) + ITEM_HEAD + of.kind.max_bytes
    return Text(of.base, end, length, is_item=True, origin=of.name, index=index, offset=text)


def without_item(text: Text) -> Text:
    """The same bytes, no longer known as an item of a list."""
    return replace(text, is_item=False, origin="", index="", length_home=-1)
