"""A handler's class to intermediate code."""

import inspect
import json
from types import FunctionType

# each registers what it compiles
from fanotify_fastpath._compiler import calls, conditions, expressions, loops, names, statements  # noqa: F401
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.inlining import make_frame, walk
from fanotify_fastpath._compiler.model import WORD_BYTES, Compiled, EventLayout, Vocabulary
from fanotify_fastpath._compiler.scope import Frame, Scope
from fanotify_fastpath._compiler.values import Event, Myself, Verdict
from fanotify_fastpath.errors import CompileError, InvalidArgument

_DECLARATIONS = "declare i64 @llvm.umin.i64(i64, i64)\n"
_HEAD = "define i32 @handle(ptr %event) alwaysinline"


def compile_function(
    handler: type, layout: EventLayout, vocabulary: Vocabulary, failed: int
) -> Compiled | CompileError:
    """
    Compile ``handle`` of a class.

    :param failed: what is returned where Python would raise
    :return: what was made; or why nothing was, for the caller to raise, so that no traceback leads through the compiler
    :raises InvalidArgument: its source is not to be had
    """
    scope = Scope(handler, layout, vocabulary)
    try:
        _walk(scope, handler)
    except Refusal as exc:
        return exc.error()
    return _made(scope, failed)


def _walk(scope: Scope, handler: type) -> None:
    function = inspect.getattr_static(handler, "handle")
    if not isinstance(function, FunctionType):
        raise InvalidArgument(f"handle of {handler.__qualname__} is no plain function")
    frame = make_frame(scope, function, "")
    parameters = frame.source.tree.args.args
    if len(parameters) != 2:
        raise _refusal(frame, "handle() takes self and the event")
    scope.know(parameters[0].arg, Myself())
    scope.know(parameters[1].arg, Event())
    walk(scope, frame)
    if scope.facts is None:
        raise _refusal(frame, "handle() never returns: what it asserts never holds")
    verdict = scope.load("return")
    assert isinstance(verdict, Verdict)
    scope.code.do(f"ret i32 {verdict.ir}")


def _refusal(frame: Frame, reason: str) -> Refusal:
    """About the function as a whole."""
    refusal = Refusal(frame.source.tree, reason)
    refusal.locate(frame.source.file, frame.source.lines)
    return refusal


def _made(scope: Scope, failed: int) -> Compiled:
    # words are read beyond the end of the last item, but not used
    size = scope.constants.size + WORD_BYTES
    text = json.dumps({"needs": scope.needs, "state": scope.state}).encode()
    quoted = "".join(f"\\{byte:02x}" for byte in text)
    parts = [
        _DECLARATIONS,
        f'@attributes = weak constant [{size} x i8] zeroinitializer, section ".rodata.attributes", align 8\n',
        f"@attributes_size = constant i64 {size}\n",
        *sorted(scope.functions),
        f'@manifest = constant [{len(text)} x i8] c"{quoted}", section ".rodata.manifest", align 8\n',
        '@llvm.used = appending global [2 x ptr] [ptr @attributes, ptr @manifest], section "llvm.metadata"\n',
        *(f"@state_{n} = external global i8\n" for n in range(len(scope.state))),
        scope.code.function(_HEAD, failed),
    ]
    state, of_class = tuple(scope.state), frozenset(scope.of_class)
    return Compiled("".join(parts), scope.needs, scope.constants.attributes, size, state, of_class)
