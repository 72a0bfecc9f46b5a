"""``for``: walked until nothing new comes, then written once."""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass

from fanotify_fastpath._compiler import integers, memory
from fanotify_fastpath._compiler.code import FAILED
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.equality import required
from fanotify_fastpath._compiler.expressions import byte_at
from fanotify_fastpath._compiler.flow import Facts, Meeting, join_facts
from fanotify_fastpath._compiler.names import items_of
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Loop, Scope, statement
from fanotify_fastpath._compiler.statements import assign
from fanotify_fastpath._compiler.values import Base, Int, Items, Known, Lookup, Sequence, Text, Value

#: of loops in loops, together
MAX_TURNS = 1 << 16


@dataclass(frozen=True)
class Turns:
    """
    What a loop goes through.

    :ivar most: turns at most
    :ivar count: writes how many; None: always as many as possible
    :ivar make: the loop's value, from a turn's number
    """

    most: int
    count: Callable[[], str] | None
    make: Callable[[Int], Value]


@statement(ast.For)
def on_for(scope: Scope, node: ast.For) -> None:
    """A loop over something bounded."""
    found = _iterated(scope, node.iter)
    end = scope.meeting("end")
    if isinstance(found, Items):
        _each_item(scope, node, found, end)
    else:
        _turns(scope, node, found, end)
    scope.run(node.orelse)
    scope.jump(end)
    scope.land(end)


def _each_item(scope: Scope, node: ast.For, items: Items, end: Meeting) -> None:
    """A tuple of the program: the body once for each item."""
    for value in items.values:
        following = scope.meeting("next")
        scope.frame.loops.append(Loop(following, end))
        assign(scope, node.target, value)
        scope.run(node.body)
        scope.frame.loops.pop()
        scope.jump(following)
        if not scope.land(following):
            return


def _turns(scope: Scope, node: ast.For, turns: Turns, end: Meeting) -> None:
    code = scope.code
    _check_turns(scope, node, turns.most)
    index = code.slot(code.name("turn"), "i64")
    code.do(f"store i64 0, ptr {index}")
    begin, after, learnt = _learn(scope, node, turns)
    head, body, following, done = (scope.meeting(stem) for stem in ("for", "turn", "next", "done"))
    code.do(f"br label %{head.label}")
    code.label(head.label)
    n = code.opaque(code.op(f"load i64, ptr {index}"))
    goes_on = code.op(f"icmp ult i64 {n}, {turns.most}")
    if turns.count is not None:
        goes_on = code.op(f"and i1 {goes_on}, {code.op(f'icmp ult i64 {n}, {turns.count()}')}")
    code.do(f"br i1 {goes_on}, label %{body.label}, label %{done.label}")
    scope.facts = begin
    if turns.most:
        code.label(body.label)
        _turn(scope, node, turns, Int(Range(0, turns.most - 1), n), Loop(following, end, turns.most))
        if scope.land(following):
            code.do(f"store i64 {code.op(f'add i64 {n}, 1')}, ptr {index}")
            code.do(f"br label %{head.label}")
    else:
        code.label(body.label)
        code.do(f"br label %{done.label}")
    # what is known afterwards was learnt turn by turn, which is more exact than all turns at once
    end.facts = learnt or end.facts
    scope.facts = after
    code.label(done.label)
    if after is None:
        code.do(f"br label %{FAILED}")


def _check_turns(scope: Scope, node: ast.For, most: int) -> None:
    """Refuse loops in loops that the verifier would not follow to their end."""
    together = most * math.prod(loop.turns for frame in scope.frames for loop in frame.loops)
    if together > MAX_TURNS:
        raise Refusal(node, f"this loop may have {together:,} turns with those around it; {MAX_TURNS:,} are possible")


def _learn(scope: Scope, node: ast.For, turns: Turns) -> tuple[Facts, Facts | None, Facts | None]:
    """
    Walk turn by turn.

    :return: what is known at the beginning of any turn, after the last one, and where the loop was left by ``break``
    """
    facts: Facts | None = scope.here
    anywhere, after = scope.here, None if turns.count is None and turns.most else scope.here
    left = Meeting("")
    for turn in range(turns.most):
        if facts is None:
            break
        anywhere = join_facts(anywhere, facts)
        rest = _dry_turn(scope, node, turns, Range(turn, turns.most - 1), anywhere, Meeting(""))
        if rest is not _REFUSED and (rest is None or join_facts(anywhere, rest) == anywhere):
            _dry_turn(scope, node, turns, Range(turn, turns.most - 1), anywhere, left)
            after = rest if turns.count is None else anywhere
            break
        facts = _dry_turn(scope, node, turns, Range(turn, turn), facts, left, is_exact=True)
        if facts is not None and (turns.count is not None or turn == turns.most - 1):
            after = facts if after is None else join_facts(after, facts)
    return anywhere, after, left.facts


_REFUSED: Facts = {}


def _dry_turn(
    scope: Scope, node: ast.For, turns: Turns, n: Range, facts: Facts, left: Meeting, *, is_exact: bool = False
) -> Facts | None:
    """What is known after a turn that begins with *facts*; a refusal is raised if the turn is followed exactly."""
    before, depth, n_loops = scope.facts, len(scope.frames), len(scope.frame.loops)
    scope.facts = facts
    following = scope.meeting("next")
    with scope.dry():
        try:
            _turn(scope, node, turns, Int(n, "0"), Loop(following, left, turns.most))
        except Refusal:
            if is_exact:
                raise
            del scope.frames[depth:], scope.frame.loops[n_loops:]
            following.facts = _REFUSED
    scope.facts = before
    return following.facts


def _turn(scope: Scope, node: ast.For, turns: Turns, n: Int, loop: Loop) -> None:
    scope.frame.loops.append(loop)
    assign(scope, node.target, turns.make(n))
    scope.run(node.body)
    scope.frame.loops.pop()
    scope.jump(loop.following)


def _iterated(scope: Scope, node: ast.expr) -> Turns | Items:
    """What an expression is for a loop."""
    if isinstance(node, ast.Call) and not node.keywords:
        function = scope.value(node.func)
        if isinstance(function, Known) and function.thing is range:
            return _range(scope, node)
        if isinstance(function, Known) and function.thing is enumerate and len(node.args) == 1:
            return _enumerated(_iterated(scope, node.args[0]))
    value = scope.value(node)
    required(node, value)
    found = items_of(node, value)
    match found:
        case Items():
            return found
        case Sequence(count=count):
            return Turns(
                count.range.hi,
                lambda: memory.unknown(scope, count.ir) if found.base is Base.EVENT else count.ir,
                lambda n: memory.item(scope, found, n.ir),
            )
        case Text():
            text = scope.placed(found)
            length = None if text.constant is not None else lambda: memory.forgotten(scope, text)
            return Turns(text.max_bytes, length, lambda n: byte_at(scope, text, n.ir))
    assert isinstance(found, Lookup)
    raise Refusal(node, f"{ast.unparse(node)} is a set, which has no order: make it a tuple")


def _enumerated(inner: Turns | Items) -> Turns | Items:
    if isinstance(inner, Items):
        pairs = (Items((integers.constant(n), each)) for n, each in enumerate(inner.values))
        return Items(tuple(pairs))
    return Turns(inner.most, inner.count, lambda n: Items((n, inner.make(n))))


def _range(scope: Scope, node: ast.Call) -> Turns:
    bounds = []
    for each in node.args:
        value = scope.value(each)
        if not isinstance(value, Int):
            raise Refusal(each, "a bound of range() must be an integer")
        bounds.append(value)
    if len(bounds) == 1 and bounds[0].range.known is None:
        stop = bounds[0]
        if stop.range.lo < 0 or stop.range.hi > 4096:
            raise Refusal(node.args[0], f"range() may have {stop.range.hi} turns; 4096 are possible")
        return Turns(stop.range.hi, lambda: memory.unknown(scope, stop.ir), lambda n: n)
    numbers = [bound.range.known for bound in bounds]
    if None in numbers or not 1 <= len(numbers) <= 3:
        raise Refusal(node, "the bounds of range() must be constants; a single one may be len() or other integers")
    turns = range(*(number for number in numbers if number is not None))
    if len(turns) > 4096:
        raise Refusal(node, f"range() has {len(turns)} turns; 4096 are possible")
    step = integers.constant(turns.step)

    def make(n: Int) -> Value:
        scaled = integers.calculate(scope, node, ast.Mult(), n, step)
        return integers.calculate(scope, node, ast.Add(), scaled, integers.constant(turns.start))

    return Turns(len(turns), None, make)
