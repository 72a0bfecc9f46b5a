"""Functions in Python that handlers call: their bodies, in place of the call."""

import ast
from types import FunctionType

from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.flow import INNER
from fanotify_fastpath._compiler.names import stands_for
from fanotify_fastpath._compiler.scope import Frame, Scope
from fanotify_fastpath._compiler.source import find_source
from fanotify_fastpath._compiler.values import Myself, Nothing, Unusable, Value
from fanotify_fastpath.errors import InvalidArgument


def inline(scope: Scope, node: ast.Call, function: object, owner: Myself | None) -> Value:
    """The value of a call."""
    if not isinstance(function, FunctionType):
        raise Refusal(node, f"{ast.unparse(node.func)}() cannot be compiled")
    if any(frame.function is function for frame in scope.frames):
        raise Refusal(node, f"{ast.unparse(node.func)}() calls itself, which cannot be compiled: write a loop")
    try:
        frame = make_frame(scope, function, f"{INNER}{scope.code.name()}.")
    except InvalidArgument as exc:
        raise Refusal(node, str(exc)) from None
    values = _bound(scope, node, frame, function, [owner] if owner else [])
    for name, value in values.items():
        scope.store(frame.key + name, value)
    walk(scope, frame)
    key = frame.key + "return"
    found = scope.load(key) if scope.facts is not None else Nothing()
    if scope.facts is not None:
        scope.facts = {name: fact for name, fact in scope.facts.items() if not name.startswith(frame.key)}
    if isinstance(found, Unusable):
        raise Refusal(node, f"what {ast.unparse(node.func)}() returns {found.reason}")
    return found


def make_frame(scope: Scope, function: FunctionType, key: str) -> Frame:
    """
    Prepare a function.

    :raises InvalidArgument: its source is not there
    """
    source = find_source(function)
    code = function.__code__
    names = frozenset(code.co_varnames) | frozenset(code.co_cellvars)
    return Frame(key, source, function.__globals__, function, scope.meeting("return"), names)


def walk(scope: Scope, frame: Frame) -> None:
    """Execute a function whose parameters have their values."""
    scope.frames.append(frame)
    try:
        scope.run(frame.source.tree.body)
        if scope.facts is not None:
            _no_return(scope, frame)
    except Refusal as exc:
        exc.locate(frame.source.file, frame.source.lines)
        raise
    scope.frames.pop()
    scope.land(frame.end)


def _no_return(scope: Scope, frame: Frame) -> None:
    """The end of the body, which gives None."""
    if len(scope.frames) == 1:
        said = scope.vocabulary.verdict_names
        raise Refusal(frame.source.tree, f"handle() may end without a verdict: return {said} at its end")
    scope.store(frame.key + "return", Nothing())
    scope.jump(frame.end)


def _bound(
    scope: Scope, node: ast.Call, frame: Frame, function: FunctionType, first: "list[Myself]"
) -> dict[str, Value]:
    """The values of the parameters."""
    arguments = frame.source.tree.args
    if arguments.vararg or arguments.kwarg or any(isinstance(each, ast.Starred) for each in node.args):
        raise Refusal(node, "arguments with stars cannot be compiled")
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    allowed = {*names, *(each.arg for each in arguments.kwonlyargs)}
    given: dict[str, Value] = dict(zip(names, [*first, *(scope.value(each) for each in node.args)], strict=False))
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Refusal(node, "arguments with stars cannot be compiled")
        given[keyword.arg] = scope.value(keyword.value)
    defaults = dict(zip(names[::-1], (function.__defaults__ or ())[::-1], strict=False)) | (
        function.__kwdefaults__ or {}
    )
    for name, value in defaults.items():
        if name not in given:
            given[name] = stands_for(scope, node, value)
    if given.keys() != allowed or len(first) + len(node.args) > len(names):
        raise Refusal(node, f"{ast.unparse(node.func)}() takes {', '.join(sorted(allowed)) or 'nothing'}")
    return given
