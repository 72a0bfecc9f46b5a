"""``fnmatchcase`` of a pattern from a list, by its tables."""

import ast

from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.globs import TABLE_WORDS
from fanotify_fastpath._compiler.model import WORD_BYTES, TextsKind
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import Base, Bool, Text

_STEP = WORD_BYTES * TABLE_WORDS
#: of the frame: the event, where the text is in it, how long it is, where the tables are among the constants
DECLARATION = "declare i32 @fits_glob(ptr, i32, i32, i32)\n"


def matches(scope: Scope, node: ast.Call, text: Text, pattern: Text) -> Bool:
    """Whether a text fits; the frame has the function that tells."""
    if text.base is not Base.EVENT or text.constant is not None:
        raise Refusal(
            node.args[0], f"fnmatchcase() is compiled for bytes of the event, not for {ast.unparse(node.args[0])}"
        )
    begin, index = _tables(scope, node, pattern)
    code = scope.code
    table = code.op(f"add i64 {code.op(f'mul i64 {index}, {_STEP}')}, {begin}")
    words = [code.op(f"trunc i64 {each} to i32") for each in (text.offset, text.length.ir, table)]
    scope.functions.add(DECLARATION)
    found = code.op(f"call i32 @fits_glob(ptr %event, {', '.join(f'i32 {each}' for each in words)})")
    return Bool(None, code.op(f"icmp ne i32 {found}, 0"))


def _tables(scope: Scope, node: ast.Call, pattern: Text) -> tuple[int, str]:
    """Where the tables are, and which of them."""
    if pattern.constant is not None:
        return scope.constants.place_glob(pattern.constant), "0"
    found = scope.vocabulary.attributes.get(pattern.origin)
    if not isinstance(found, TextsKind):
        raise Refusal(node.args[1], "a pattern is a constant or an item of a list of the handler")
    return scope.constants.place(pattern.origin, found, tables=True), pattern.index
