"""Statements, apart from loops."""

import ast

from fanotify_fastpath._compiler.code import FAILED
from fanotify_fastpath._compiler.conditions import condition
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.equality import equal, is_constant
from fanotify_fastpath._compiler.expressions import combine
from fanotify_fastpath._compiler.flow import Meeting
from fanotify_fastpath._compiler.integers import is_ring
from fanotify_fastpath._compiler.memory import unknown
from fanotify_fastpath._compiler.names import plain
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Scope, statement
from fanotify_fastpath._compiler.values import Bool, Int, Items, Known, Myself, Nothing, Value, Verdict, describe


@statement(ast.Pass)
def on_pass(scope: Scope, node: ast.Pass) -> None:
    """Nothing."""


@statement(ast.Expr)
def on_expr(scope: Scope, node: ast.Expr) -> None:
    """A docstring, or a call for what it does."""
    if not isinstance(node.value, ast.Constant):
        scope.value(node.value)


@statement(ast.Return)
def on_return(scope: Scope, node: ast.Return) -> None:
    """Give the caller a value."""
    value = Nothing() if node.value is None else scope.value(node.value)
    if len(scope.frames) == 1 and not isinstance(value, Verdict):
        said = scope.vocabulary.verdict_names
        raise Refusal(node.value or node, f"handle() returns a verdict, not {describe(value)}: return {said}")
    scope.store(scope.frame.key + "return", value)
    scope.jump(scope.frame.end)


@statement(ast.If)
def on_if(scope: Scope, node: ast.If) -> None:
    """One of two ways."""
    yes, no, end = (scope.meeting(stem) for stem in ("if", "else", "end"))
    condition(scope, node.test, yes, no)
    for meeting, body in ((yes, node.body), (no, node.orelse)):
        if scope.land(meeting):
            scope.run(body)
            scope.jump(end)
    scope.land(end)


@statement(ast.Assert)
def on_assert(scope: Scope, node: ast.Assert) -> None:
    """Go on only if it holds."""
    yes, no = scope.meeting("holds"), scope.meeting("fails")
    condition(scope, node.test, yes, no)
    if scope.land(no):
        scope.code.do(f"br label %{FAILED}")
    scope.land(yes)


@statement(ast.Break)
def on_break(scope: Scope, node: ast.Break) -> None:
    """Leave the loop."""
    scope.jump(scope.frame.loops[-1].end)


@statement(ast.Continue)
def on_continue(scope: Scope, node: ast.Continue) -> None:
    """The next turn."""
    scope.jump(scope.frame.loops[-1].following)


@statement(ast.Assign)
def on_assign(scope: Scope, node: ast.Assign) -> None:
    """Give names a value."""
    value = _blurred(scope, scope.value(node.value))
    for target in node.targets:
        assign(scope, target, value, node.value)


@statement(ast.AugAssign)
def on_augassign(scope: Scope, node: ast.AugAssign) -> None:
    """Change a name's value."""
    _check_target(scope, node.target)
    as_value = ast.copy_location(ast.Name(getattr(node.target, "id", ""), ast.Load()), node.target)
    is_loose = is_ring(node.op) and not isinstance(node.op, ast.LShift)
    left, right = scope.value(as_value), (scope.loose if is_loose else scope.value)(node.value)
    whole = ast.copy_location(ast.BinOp(as_value, node.op, node.value), node)
    found = combine(scope, whole, node.op, (as_value, left), (node.value, right))
    if isinstance(found, Int) and not (found.range.is_signed or found.range.is_unsigned):
        scope.refuse_range(whole, found)
    assign(scope, node.target, _blurred(scope, found), whole)


def _blurred(scope: Scope, value: Value) -> Value:
    """
    A value that is assigned in a loop.

    The verifier follows a loop turn by turn. If it knew what a sum is on each way, no two ways would ever meet.
    """
    if isinstance(value, Int) and value.range.known is None and any(frame.loops for frame in scope.frames):
        return Int(value.range, unknown(scope, value.ir))
    return value


@statement(ast.AnnAssign)
def on_annassign(scope: Scope, node: ast.AnnAssign) -> None:
    """Declare a name, and what it may be."""
    _check_target(scope, node.target)
    assert isinstance(node.target, ast.Name)
    bounds = declared_range(scope, node.annotation)
    if bounds is not None:
        scope.frame.declared[node.target.id] = (ast.unparse(node.annotation), bounds)
    if node.value is not None:
        assign(scope, node.target, scope.value(node.value), node.value)


def declared_range(scope: Scope, annotation: ast.expr) -> Range | None:
    """The range of an annotation that is one of the integers of a machine."""
    if not isinstance(annotation, ast.Name | ast.Attribute):
        return None
    found = scope.value(annotation)
    return next((bounds for name, bounds in scope.vocabulary.casts if found == Known(name)), None)


def assign(scope: Scope, target: ast.expr, value: Value, source: ast.expr | None = None) -> None:
    """Give a name a value, or the names of a tuple."""
    if isinstance(target, ast.Tuple):
        if not isinstance(value, Items) or len(value.values) != len(target.elts):
            raise Refusal(target, f"{describe(value)} cannot be taken apart into {len(target.elts)} names")
        for each, item in zip(target.elts, value.values, strict=True):
            assign(scope, each, item)
        return
    _check_target(scope, target)
    assert isinstance(target, ast.Name)
    declared = scope.frame.declared.get(target.id)
    if declared is not None:
        value = _as_declared(target, value, source, declared)
    scope.store(scope.frame.key + target.id, value)


def _as_declared(target: ast.Name, value: Value, source: ast.expr | None, declared: tuple[str, Range]) -> Value:
    name, bounds = declared
    if isinstance(value, Bool):
        return value
    if isinstance(value, Int) and value.range not in bounds:
        text = "it" if source is None else ast.unparse(source)
        said = f"as large as {value.range.hi}" if value.range.hi > bounds.hi else f"as small as {value.range.lo}"
        wrapped = "" if source is None else f": wrap it, {name}({text})"
        raise Refusal(source or target, f"{text} may be {said}, but {target.id} is {name}{wrapped}")
    return value


def _check_target(scope: Scope, target: ast.expr) -> None:
    if isinstance(target, ast.Name):
        return
    if isinstance(target, ast.Attribute) and isinstance(scope.value(target.value), Myself):
        raise Refusal(
            target,
            f"self.{target.attr} cannot be assigned: attributes are constants after init(); what changes is state",
        )
    raise Refusal(target, f"{ast.unparse(target)} cannot be assigned: only local names can")


@statement(ast.Match)
def on_match(scope: Scope, node: ast.Match) -> None:
    """The first case that fits."""
    subject = f"#{scope.code.name('match')}"
    scope.store(subject, scope.value(node.subject))
    end = scope.meeting("end")
    for case in node.cases:
        following, fits = scope.meeting("case"), scope.meeting("fits")
        _pattern(scope, case.pattern, subject, fits, following)
        if scope.land(fits):
            _guarded(scope, case, following)
            scope.jump(end)
        if not scope.land(following):
            break
    scope.jump(end)
    scope.land(end)


def _guarded(scope: Scope, case: ast.match_case, following: Meeting) -> None:
    if case.guard is not None:
        holds = scope.meeting("guard")
        condition(scope, case.guard, holds, following)
        if not scope.land(holds):
            return
    scope.run(case.body)


def _pattern(scope: Scope, pattern: ast.pattern, subject: str, fits: Meeting, following: Meeting) -> None:
    """Go to *fits* if a pattern fits, else to *following*."""
    match pattern:
        case ast.MatchValue(value=node):
            same = equal(scope, node, plain(scope.load(subject)), plain(scope.value(node)))
            scope.branch(same, fits, following, scope.here, scope.here)
        case ast.MatchSingleton(value=thing):
            constant = ast.copy_location(ast.Constant(thing), pattern)
            same = is_constant(scope, scope.load(subject), scope.value(constant))
            scope.branch(same, fits, following, scope.here, scope.here)
        case ast.MatchOr(patterns=patterns):
            for each in patterns[:-1]:
                other = scope.meeting("or")
                _pattern(scope, each, subject, fits, other)
                if not scope.land(other):
                    return
            _pattern(scope, patterns[-1], subject, fits, following)
        case ast.MatchAs(pattern=None, name=name):
            if name is not None:
                scope.store(scope.frame.key + name, scope.load(subject))
            scope.jump(fits)
        case ast.MatchAs(pattern=inner, name=str() as name):
            bound = scope.meeting("bind")
            _pattern(scope, inner, subject, bound, following)  # type: ignore[arg-type]
            if scope.land(bound):
                scope.store(scope.frame.key + name, scope.load(subject))
                scope.jump(fits)
        case _:
            raise Refusal(pattern, "only values, |, _ and names can be compiled as patterns")
