"""Truth: comparisons, ``and``, ``or``, ``not``, and what is known on each way that follows."""

import ast

from fanotify_fastpath._compiler import integers, texts
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.equality import equal, is_constant, required
from fanotify_fastpath._compiler.flow import EVENT, Facts, Meeting
from fanotify_fastpath._compiler.membership import is_member
from fanotify_fastpath._compiler.model import EventInts, WordKind
from fanotify_fastpath._compiler.names import plain
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Scope, expression
from fanotify_fastpath._compiler.values import (
    Bool,
    Event,
    Int,
    Items,
    Lookup,
    Maybe,
    Nothing,
    Sequence,
    Text,
    Value,
    describe,
)

_MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}


def condition(scope: Scope, node: ast.expr, yes: Meeting, no: Meeting, *, is_value: bool = False) -> None:
    """
    Go to *yes* if an expression is true, else to *no*.

    :param is_value: it must be a truth, because Python would give the operand itself
    """
    match node:
        case ast.BoolOp():
            _connected(scope, node, yes, no, is_value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            condition(scope, operand, no, yes)
        case ast.Compare():
            _compared(scope, node, yes, no)
        case _:
            value = plain(scope.value(node))
            if is_value and not isinstance(value, Bool):
                text = ast.unparse(node)
                raise Refusal(
                    node, f"{text} is {describe(value)}, and `and` and `or` would give it: write bool({text})"
                )
            found = truth(scope, node, value)
            scope.branch(found, yes, no, _if_true(scope, node, value), _if_false(scope, node, value))


@expression(ast.Compare)
def on_compare(scope: Scope, node: ast.Compare) -> Value:
    """A comparison as a value."""
    if len(node.ops) == 1:
        left, right = scope.value(node.left), scope.value(node.comparators[0])
        return compare(scope, node, node.ops[0], (node.left, left), (node.comparators[0], right))
    return as_value(scope, node)


@expression(ast.BoolOp)
def on_boolop(scope: Scope, node: ast.BoolOp) -> Value:
    """``and`` and ``or`` as values: only of truths, because of others they give one of the operands."""
    return as_value(scope, node, is_value=True)


def as_value(scope: Scope, node: ast.expr, *, is_value: bool = False) -> Bool:
    """The truth of a condition."""
    yes, no, end = (scope.meeting(stem) for stem in ("yes", "no", "end"))
    key = f"#{end.label}"
    condition(scope, node, yes, no, is_value=is_value)
    for meeting, found in ((yes, True), (no, False)):
        if scope.land(meeting):
            scope.store(key, texts.known(found))
            scope.jump(end)
    scope.land(end)
    value = scope.load(key)
    assert isinstance(value, Bool)
    return value


def truth(scope: Scope, node: ast.expr, value: Value) -> Bool:
    """``bool(value)``."""
    code = scope.code
    match value:
        case Bool():
            return value
        case Int():
            return integers.truth(scope, value)
        case Text(length=length) | Sequence(count=length):
            return integers.truth(scope, length)
        case Lookup(offset=offset):
            if not isinstance(value.kind, WordKind):
                count = code.op(f"load i64, ptr {code.op(f'getelementptr i8, ptr @attributes, i64 {offset}')}")
                return Bool(None, code.op(f"icmp ne i64 {count}, 0"))
        case Nothing():
            return texts.known(False)
        case Items(values):
            return texts.known(bool(values))
        case Maybe(inner, is_none):
            found = truth(scope, node, inner)
            is_some = code.op(f"xor i1 {is_none}, true")
            return Bool(None, code.op(f"and i1 {is_some}, {found.ir}"))
    raise Refusal(node, f"{ast.unparse(node)} is {describe(value)}: compare it with something")


def compare(
    scope: Scope, node: ast.Compare, operator: ast.cmpop, left: tuple[ast.expr, Value], right: tuple[ast.expr, Value]
) -> Bool:
    """The result of one operator."""
    a, b = plain(left[1]), plain(right[1])
    match operator:
        case ast.Is() | ast.IsNot():
            return _flip(scope, _is(scope, node, a, b), isinstance(operator, ast.IsNot))
        case ast.In() | ast.NotIn():
            return _flip(scope, is_member(scope, node, a, b), isinstance(operator, ast.NotIn))
        case ast.Eq() | ast.NotEq():
            return _flip(scope, equal(scope, node, a, b), isinstance(operator, ast.NotEq))
    a, b = (integers.of_bool(scope, each) if isinstance(each, Bool) else each for each in (a, b))
    for one, value in ((left[0], a), (right[0], b)):
        required(one, value)
        if isinstance(value, Text):
            raise Refusal(node, "bytes cannot be ordered in the kernel: compare with == or startswith()")
    if isinstance(a, Int) and isinstance(b, Int):
        return integers.compare(scope, operator, a, b)
    raise Refusal(node, f"{describe(a)} and {describe(b)} cannot be ordered")


def _is(scope: Scope, node: ast.Compare, a: Value, b: Value) -> Bool:
    if not isinstance(b, Bool | Nothing):
        raise Refusal(node, "`is` is compiled for None, True and False: write ==")
    return is_constant(scope, a, b)


def _flip(scope: Scope, found: Bool, is_flipped: bool) -> Bool:
    if not is_flipped:
        return found
    if found.known is not None:
        return texts.known(not found.known)
    return Bool(None, scope.code.op(f"xor i1 {found.ir}, true"))


def _connected(scope: Scope, node: ast.BoolOp, yes: Meeting, no: Meeting, is_value: bool) -> None:
    *others, last = node.values
    for each in others:
        following = scope.meeting("and" if isinstance(node.op, ast.And) else "or")
        if isinstance(node.op, ast.And):
            condition(scope, each, following, no, is_value=is_value)
        else:
            condition(scope, each, yes, following, is_value=is_value)
        if not scope.land(following):
            return
    condition(scope, last, yes, no, is_value=is_value)


def _compared(scope: Scope, node: ast.Compare, yes: Meeting, no: Meeting) -> None:
    left = (node.left, scope.value(node.left))
    for n, (operator, comparator) in enumerate(zip(node.ops, node.comparators, strict=True)):
        right = (comparator, scope.value(comparator))
        found = compare(scope, node, operator, left, right)
        following = yes if n == len(node.ops) - 1 else scope.meeting("and")
        if_yes, if_no = _after_compare(scope, operator, left, right)
        scope.branch(found, following, no, if_yes, if_no)
        if following is not yes and not scope.land(following):
            return
        left = right


def _after_compare(
    scope: Scope, operator: ast.cmpop, left: tuple[ast.expr, Value], right: tuple[ast.expr, Value]
) -> tuple[Facts | None, Facts | None]:
    """What is known where a comparison holds, and where not."""
    here: Facts = scope.here
    a, b = plain(left[1]), plain(right[1])
    if isinstance(operator, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) and isinstance(b, Nothing):
        is_none, is_some = _with(scope, left[0], Nothing()), _with(scope, left[0], _inner(a))
        return (is_none, is_some) if isinstance(operator, ast.Is | ast.Eq) else (is_some, is_none)
    if isinstance(operator, ast.Eq | ast.NotEq) and isinstance(a, Maybe) and not isinstance(b, Maybe):
        same = _with(scope, left[0], a.value)
        return (same, here) if isinstance(operator, ast.Eq) else (here, same)
    has_none = isinstance(b, Items) and any(isinstance(each, Maybe | Nothing) for each in b.values)
    if isinstance(operator, ast.In) and isinstance(a, Maybe) and not has_none:
        return _with(scope, left[0], a.value), here
    if isinstance(a, Int) and isinstance(b, Int) and not isinstance(operator, ast.In | ast.NotIn | ast.Is | ast.IsNot):
        return _ordered(scope, operator, (left[0], a.range), (right[0], b.range))
    return here, here


def _ordered(
    scope: Scope, operator: ast.cmpop, left: tuple[ast.expr, Range], right: tuple[ast.expr, Range]
) -> tuple[Facts | None, Facts | None]:
    found: list[Facts | None] = []
    for each in (operator, integers.OPPOSITE[type(operator)]()):
        a = integers.narrowed(each, left[1], right[1])
        b = integers.narrowed(_MIRRORED.get(type(each), type(each))(), right[1], left[1])
        if a is None or b is None:
            found.append(None)
            continue
        before = scope.facts
        scope.facts = _with(scope, left[0], Int(a))
        found.append(_with(scope, right[0], Int(b)))
        scope.facts = before
    return found[0], found[1]


def _inner(value: Value) -> Value | None:
    """What is left of a value that is not None; None if nothing is."""
    if isinstance(value, Maybe):
        return value.value
    return None if isinstance(value, Nothing) else value


def _if_true(scope: Scope, node: ast.expr, value: Value) -> Facts | None:
    """A truth that is known is not stored as one: what is in memory stays what it was."""
    if isinstance(value, Maybe):
        return _with(scope, node, value.value)
    if isinstance(value, Int):
        found = integers.narrowed(ast.NotEq(), value.range, Range(0, 0))
        return None if found is None else _with(scope, node, Int(found))
    return scope.here


def _if_false(scope: Scope, node: ast.expr, value: Value) -> Facts | None:
    if isinstance(value, Int):
        return None if value.range.meet(0, 0) is None else _with(scope, node, Int(Range(0, 0)))
    return scope.here


def _with(scope: Scope, node: ast.expr, value: Value | None) -> Facts | None:
    """The facts with one more about what *node* names, if it names something."""
    if value is None:
        return None
    match node:
        case ast.Name(id=name) if scope.frame.key + name in scope.here:
            key = scope.frame.key + name
        case ast.Attribute(value=ast.Name() as owner, attr=name) if isinstance(
            scope.here.get(scope.frame.key + owner.id), Event
        ):
            if isinstance(scope.layout.fields.get(name), EventInts):
                return scope.here
            key = EVENT + name
        case _:
            return scope.here
    before = scope.facts
    scope.know(key, value)
    after, scope.facts = scope.here, before
    return after
