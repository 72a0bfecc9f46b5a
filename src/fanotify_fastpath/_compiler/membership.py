"""``in``: bytes in bytes, values in tuples, lists and sets."""

import ast
from collections.abc import Callable

from fanotify_fastpath._compiler import equality, integers, memory, tables, texts
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.layout import N_PROBES, n_slots
from fanotify_fastpath._compiler.model import WORD_BYTES, IntsKind, SetKind
from fanotify_fastpath._compiler.names import plain
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import (
    Base,
    Bool,
    Int,
    Items,
    Lookup,
    Maybe,
    Nothing,
    Sequence,
    State,
    Text,
    Value,
    describe,
)


def is_member(scope: Scope, node: ast.Compare, a: Value, b: Value) -> Bool:
    """``a in b``."""
    code = scope.code
    if isinstance(b, Items):
        found = texts.known(False)
        for each in b.values:
            same = equality.equal(scope, node, a, plain(each))
            both_known = found.known is not None and same.known is not None
            is_known = (found.known or same.known) if both_known else None
            found = Bool(is_known, code.op(f"or i1 {found.ir}, {same.ir}"))
        return found
    equality.required(node.comparators[0], b)
    if isinstance(b, Text | State):
        equality.required(node.left, a)
    if isinstance(a, Nothing):
        return texts.known(False)
    if isinstance(a, Maybe):
        is_some = code.op(f"xor i1 {a.is_none}, true")
        return Bool(None, code.op(f"and i1 {is_some}, {is_member(scope, node, a.value, b).ir}"))
    match a, b:
        case (Text(), Text()):
            return texts.contains(scope, node, b, a)
        case (Int(), Lookup(SetKind())):
            return _in_set(scope, a, b)
        case (_, Sequence()) if isinstance(a, Int if isinstance(b.kind, IntsKind) else Text):
            return any_item(scope, b, lambda each: equality.equal(scope, node, a, each))
        case (_, State(name)):
            return tables.has(scope, node, name, a)
    raise Refusal(node, f"{describe(a)} in {describe(b)} cannot be compiled")


def any_item(scope: Scope, items: Sequence, test: Callable[[Int | Text], Bool]) -> Bool:
    """Whether something holds for an item of a list: a loop that ends with the first."""
    code = scope.code
    result, index = code.slot(code.name("found"), "i1"), code.slot(code.name("n"), "i64")
    head, body, end = (code.name(stem) for stem in ("head", "item", "end"))
    code.do(f"store i1 false, ptr {result}")
    code.do(f"store i64 0, ptr {index}")
    code.do(f"br label %{head}")
    code.label(head)
    n = code.opaque(code.op(f"load i64, ptr {index}"))
    count = memory.unknown(scope, items.count.ir) if items.base is Base.EVENT else items.count.ir
    more = code.op(f"icmp ult i64 {n}, {count}")
    within = code.op(f"icmp ult i64 {n}, {items.count.range.hi}")
    code.do(f"br i1 {code.op(f'and i1 {more}, {within}')}, label %{body}, label %{end}")
    code.label(body)
    holds = test(memory.item(scope, items, n)).ir
    code.do(f"store i1 {holds}, ptr {result}")
    code.do(f"store i64 {code.op(f'add i64 {n}, 1')}, ptr {index}")
    code.do(f"br i1 {holds}, label %{end}, label %{head}")
    code.label(end)
    return Bool(None, code.op(f"load i1, ptr {result}"))


def _in_set(scope: Scope, a: Int, b: Lookup) -> Bool:
    """Look at a few places from the one that the number is hashed to; a place holds the number and one."""
    assert isinstance(b.kind, SetKind)
    code, n = scope.code, n_slots(b.kind)
    multiplier = memory.load(scope, Base.ATTRIBUTES, b.offset + WORD_BYTES)
    hashed = code.op(f"lshr i64 {code.op(f'mul i64 {a.ir}, {multiplier}')}, {64 - (n.bit_length() - 1)}")
    wanted = code.op(f"add i64 {a.ir}, 1")
    place = code.op(f"shl i64 {hashed}, 3")
    found = "false"
    for probe in range(N_PROBES):
        begin = b.offset + WORD_BYTES * (2 + probe)
        at = code.op(f"add i64 {place}, {begin}")
        slot = memory.load_within(scope, Base.ATTRIBUTES, at, begin + WORD_BYTES * (n - 1))
        found = code.op(f"or i1 {found}, {code.op(f'icmp eq i64 {slot}, {wanted}')}")
    # an empty place is 0, and a number that the set cannot have may look like one that it has
    bounds = Range(b.kind.range.lo, b.kind.range.hi)
    is_full = code.op(f"icmp ne i64 {wanted}, 0")
    for operator, bound in ((ast.GtE(), bounds.lo), (ast.LtE(), bounds.hi)):
        within = integers.compare(scope, operator, a, integers.constant(bound))
        is_full = code.op(f"and i1 {is_full}, {within.ir}")
    return Bool(None, code.op(f"and i1 {found}, {is_full}"))
