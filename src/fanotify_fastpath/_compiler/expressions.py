"""Operators, conditional expressions and subscripts."""

import ast
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fanotify_fastpath._compiler import integers, memory
from fanotify_fastpath._compiler.conditions import condition, truth
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.equality import required
from fanotify_fastpath._compiler.names import plain, stands_for
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Scope, expression
from fanotify_fastpath._compiler.texts import known
from fanotify_fastpath._compiler.values import Base, Bool, Int, Items, Known, Sequence, Text, Unusable, Value, describe

#: of two members of enumerations, which Python is asked to combine
_OF_MEMBERS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}


@expression(ast.BinOp)
def on_binop(scope: Scope, node: ast.BinOp) -> Value:
    """A binary operator."""
    evaluate = scope.loose if integers.is_ring(node.op) else scope.value
    left, right = (
        evaluate(node.left),
        scope.value(node.right) if isinstance(node.op, ast.LShift) else evaluate(node.right),
    )
    return combine(scope, node, node.op, (node.left, left), (node.right, right))


def combine(
    scope: Scope, node: ast.expr, op: ast.operator, left: tuple[ast.expr, Value], right: tuple[ast.expr, Value]
) -> Value:
    """The result of a binary operator."""
    a, b = left[1], right[1]
    if isinstance(a, Known) and isinstance(b, Known) and type(op) in _OF_MEMBERS:
        return stands_for(scope, node, _OF_MEMBERS[type(op)](a.thing, b.thing))
    if isinstance(a, Bool) and isinstance(b, Bool) and type(op) in _OF_MEMBERS:
        name = {ast.BitOr: "or", ast.BitAnd: "and", ast.BitXor: "xor"}[type(op)]
        return Bool(None, scope.code.op(f"{name} i1 {a.ir}, {b.ir}"))
    x, y = integer(scope, left[0], a), integer(scope, right[0], b)
    found = integers.calculate(scope, node, op, x, y)
    if type(op) in _OF_MEMBERS and (x.range.of_flag or y.range.of_flag):
        if x.range.lo < 0 or y.range.lo < 0:
            raise Refusal(
                node, f"{ast.unparse(node)} joins a flag with what may be negative: write int() around the flag"
            )
        return replace(found, range=replace(found.range, of_flag=True))
    return found


@expression(ast.UnaryOp)
def on_unaryop(scope: Scope, node: ast.UnaryOp) -> Value:
    """A unary operator."""
    if isinstance(node.op, ast.Not):
        found = truth(scope, node.operand, plain(scope.value(node.operand)))
        return (
            known(not found.known) if found.known is not None else Bool(None, scope.code.op(f"xor i1 {found.ir}, true"))
        )
    value = scope.loose(node.operand)
    if isinstance(value, Known) and isinstance(node.op, ast.Invert) and isinstance(value.thing, int):
        return stands_for(scope, node, ~value.thing)
    number = integer(scope, node.operand, value)
    match node.op:
        case ast.USub():
            return integers.negate(scope, number)
        case ast.Invert() if number.range.of_flag:
            of = ast.unparse(node.operand)
            raise Refusal(node, f"~ of {of} is taken among the members of its enumeration: write ~int({of})")
        case ast.Invert():
            return integers.invert(scope, number)
    return number


@expression(ast.IfExp)
def on_ifexp(scope: Scope, node: ast.IfExp) -> Value:
    """``a if condition else b``."""
    yes, no, end = (scope.meeting(stem) for stem in ("yes", "no", "end"))
    key = f"#{end.label}"
    condition(scope, node.test, yes, no)
    for meeting, branch in ((yes, node.body), (no, node.orelse)):
        if scope.land(meeting):
            scope.store(key, scope.value(branch))
            scope.jump(end)
    scope.land(end)
    found = scope.load(key)
    if isinstance(found, Unusable):
        raise Refusal(node, f"{ast.unparse(node)} {found.reason}")
    return found


@expression(ast.Subscript)
def on_subscript(scope: Scope, node: ast.Subscript) -> Value:
    """One item, or a part of bytes."""
    value = scope.value(node.value)
    required(node.value, value)
    if isinstance(node.slice, ast.Slice):
        if isinstance(value, Text):
            return _part(scope, node.slice, value)
        raise Refusal(node, f"a part of {describe(value)} cannot be compiled")
    index = integer(scope, node.slice, scope.value(node.slice))
    if isinstance(value, Items):
        if index.range.known is None or not -len(value.values) <= index.range.lo < len(value.values):
            raise Refusal(node, f"a tuple is subscripted by constants below {len(value.values)}")
        return value.values[index.range.lo]
    if isinstance(value, Text):
        place = _within(scope, index, value.length)
        placed = scope.placed(value)
        return byte_at(scope, placed, place)
    if isinstance(value, Sequence):
        place = scope.code.opaque(_within(scope, index, value.count))
        scope.code.fail_if(scope.code.op(f"icmp uge i64 {place}, {value.count.range.hi}"))
        return memory.item(scope, value, place)
    raise Refusal(node, f"{describe(value)} has no items")


def byte_at(scope: Scope, text: Text, place: str) -> Int:
    """One byte, at a place that is within the bytes."""
    at = scope.code.opaque(scope.code.op(f"add i64 {text.offset}, {place}"))
    scope.code.fail_if(scope.code.op(f"icmp ugt i64 {at}, {text.end}"))
    return Int(Range(0, 255), memory.load(scope, text.base, at, 1))


def integer(scope: Scope, node: ast.expr, value: Value) -> Int:
    """The value as an integer, refused if it is none."""
    required(node, value)
    value = plain(value)
    if isinstance(value, Bool):
        return integers.of_bool(scope, value)
    if not isinstance(value, Int):
        raise Refusal(node, f"{ast.unparse(node)} is {describe(value)}, not an integer")
    return value


def _within(scope: Scope, index: Int, length: Int) -> str:
    """A place counted from the beginning, where Python finds one."""
    code = scope.code
    place = index.ir
    if index.range.lo < 0:
        from_end = code.op(f"add i64 {index.ir}, {length.ir}")
        is_negative = code.op(f"icmp slt i64 {index.ir}, 0")
        place = code.op(f"select i1 {is_negative}, i64 {from_end}, i64 {index.ir}")
    bound = length.ir if length.range.known is not None else memory.unknown(scope, length.ir)
    code.fail_if(code.op(f"icmp uge i64 {place}, {bound}"))
    return place


def _part(scope: Scope, part: ast.Slice, text: Text) -> Text:
    if part.step is not None:
        raise Refusal(part.step, "a step cannot be compiled")
    bounds = [_bound(scope, each) for each in (part.lower, part.upper)]
    if text.constant is not None:
        whole = text.constant[bounds[0] : bounds[1]]
        return Text(Base.ATTRIBUTES, 0, integers.constant(len(whole)), whole)
    begin = integers.constant(0) if bounds[0] is None else _clamped(scope, bounds[0], text.length)
    end = text.length if bounds[1] is None else _clamped(scope, bounds[1], text.length)
    end = integers.extreme(scope, begin, end, least=False)
    most = max(0, end.range.hi - begin.range.lo)
    if bounds[0] is not None and bounds[0] < 0:
        most = min(most, -bounds[0])
    length = Int(Range(0, most), scope.code.op(f"sub i64 {end.ir}, {begin.ir}"))
    offset = scope.code.op(f"add i64 {text.offset}, {begin.ir}")
    return replace(memory.without_item(text), offset=offset, length=length)


def _bound(scope: Scope, node: ast.expr | None) -> int | None:
    if node is None:
        return None
    value = scope.value(node)
    if not isinstance(value, Int) or value.range.known is None:
        raise Refusal(node, "the bounds of a part must be constants")
    return value.range.lo


def _clamped(scope: Scope, bound: int, length: Int) -> Int:
    """Where a bound is, counted from the beginning."""
    if bound >= 0:
        return integers.extreme(scope, integers.constant(bound), length, least=True)
    found = integers.calculate(scope, ast.Constant(0), ast.Add(), length, integers.constant(bound))
    return integers.extreme(scope, integers.constant(0), found, least=False)
