"""Comparing bytes, a word at a time."""

import ast
from collections.abc import Callable

from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.memory import at_most, forgotten, load, load_within
from fanotify_fastpath._compiler.model import WORD_BYTES, round_up
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import Base, Bool, Text

#: known bytes of at most so many are compared with numbers in the program
_MAX_IMMEDIATE = 64
#: of the frame: the event; where the text is in it, and its length; what is looked for among the constants, likewise
_CONTAINS = "declare i32 @contains(ptr, i32, i32, i32, i32)\n"


def equal(scope: Scope, a: Text, b: Text) -> Bool:
    """``a == b``."""
    if a.constant is not None and b.constant is not None:
        return known(a.constant == b.constant)
    if a.constant is not None:
        a, b = b, a

    def same_length() -> str:
        return scope.code.op(f"icmp eq i64 {forgotten(scope, a)}, {forgotten(scope, b)}")

    return _all(scope, same_length, a, b, a.offset)


def starts_with(scope: Scope, a: Text, b: Text) -> Bool:
    """``a.startswith(b)``."""
    if a.constant is not None and b.constant is not None:
        return known(a.constant.startswith(b.constant))
    a = scope.placed(a)
    return _all(scope, lambda: _not_longer(scope, b, a), a, b, a.offset)


def ends_with(scope: Scope, a: Text, b: Text) -> Bool:
    """``a.endswith(b)``."""
    if a.constant is not None and b.constant is not None:
        return known(a.constant.endswith(b.constant))
    a, code = scope.placed(a), scope.code
    rest = code.op(f"sub i64 {a.length.ir}, {b.length.ir}")
    offset = code.op(f"add i64 {a.offset}, {rest}")
    return _all(scope, lambda: _not_longer(scope, b, a), a, b, offset)


def contains(scope: Scope, node: ast.expr, a: Text, b: Text) -> Bool:
    """``b in a``; the frame has the function that tells."""
    if a.constant is not None and b.constant is not None:
        return known(b.constant in a.constant)
    b, code = scope.placed(b), scope.code
    if a.base is not Base.EVENT or a.constant is not None or b.base is not Base.ATTRIBUTES:
        raise Refusal(node, "`in` is compiled for constants and attributes of the handler in bytes of the event")
    numbers = (a.offset, a.length.ir, b.offset, b.length.ir)
    words = ", ".join(f"i32 {code.op(f'trunc i64 {each} to i32')}" for each in numbers)
    scope.functions.add(_CONTAINS)
    return Bool(None, code.op(f"icmp ne i32 {code.op(f'call i32 @contains(ptr %event, {words})')}, 0"))


def known(truth: bool) -> Bool:
    """A truth that needs no code."""
    return Bool(truth, str(truth).lower())


def _not_longer(scope: Scope, a: Text, b: Text) -> str:
    return scope.code.op(f"icmp ule i64 {forgotten(scope, a)}, {forgotten(scope, b)}")


def _all(scope: Scope, fits: Callable[[], str], a: Text, b: Text, offset: str) -> Bool:
    """Whether the lengths are right, and the bytes of *a* from an offset on are those of *b*."""
    code = scope.code
    result = code.slot(code.name("same"), "i1")
    end = code.name("end")
    code.do(f"store i1 false, ptr {result}")
    is_quick = b.is_item and a.base is Base.EVENT
    if is_quick and offset == a.offset:
        _differ_in_first(scope, a, b, offset, end)
    _unless(scope, fits(), end)
    if is_quick and offset != a.offset:
        _differ_in_first(scope, a, b, offset, end)
    if is_quick and b.max_bytes <= _MAX_IMMEDIATE:
        _same_item(scope, offset, b, a, end)
    elif b.constant is not None and len(b.constant) <= _MAX_IMMEDIATE:
        for n in range(0, len(b.constant), WORD_BYTES):
            _same_constant(scope, offset, b.constant[n : n + WORD_BYTES], n, a, end)
    else:
        _same_words(scope, offset, scope.placed(b), a, end)
    code.do(f"store i1 true, ptr {result}")
    code.do(f"br label %{end}")
    code.label(end)
    return Bool(None, code.op(f"load i1, ptr {result}"))


def _differ_in_first(scope: Scope, a: Text, b: Text, offset: str, end: str) -> None:
    """Most items of a list differ in their first word already, for which there is a mask."""
    code = scope.code
    mine = _word(scope, a, offset)
    mask = load(scope, b.base, code.op(f"sub i64 {b.offset}, {WORD_BYTES}"))
    differing = code.op(f"and i64 {code.op(f'xor i64 {mine}, {load(scope, b.base, b.offset)}')}, {mask}")
    _unless(scope, code.op(f"icmp eq i64 {differing}, 0"), end)


def _same_item(scope: Scope, offset: str, b: Text, a: Text, end: str) -> None:
    """Compare the words of an item after the first, one by one."""
    code, length, done = scope.code, b.length.ir, scope.code.name("same")
    # of a word in which the item ends, the bytes that do not count are the high ones
    unused = code.op(f"and i64 {code.op(f'mul i64 {length}, -{WORD_BYTES}')}, 63")
    for n in range(WORD_BYTES, round_up(min(a.max_bytes, b.max_bytes)), WORD_BYTES):
        more, differing, last, following = (code.name(stem) for stem in ("more", "differing", "last", "word"))
        code.do(f"br i1 {code.op(f'icmp ugt i64 {length}, {n}')}, label %{more}, label %{done}")
        code.label(more)
        mine = _word(scope, a, _further(scope, offset, n))
        changed = code.op(f"xor i64 {mine}, {load(scope, b.base, _further(scope, b.offset, n))}")
        code.do(f"br i1 {code.op(f'icmp eq i64 {changed}, 0')}, label %{following}, label %{differing}")
        code.label(differing)
        code.do(f"br i1 {code.op(f'icmp ult i64 {length}, {n + WORD_BYTES}')}, label %{last}, label %{end}")
        code.label(last)
        rest = code.op(f"shl i64 {changed}, {unused}")
        code.do(f"br i1 {code.op(f'icmp eq i64 {rest}, 0')}, label %{done}, label %{end}")
        code.label(following)
    code.do(f"br label %{done}")
    code.label(done)


def _same_constant(scope: Scope, offset: str, piece: bytes, n: int, a: Text, end: str) -> None:
    code = scope.code
    word = _word(scope, a, _further(scope, offset, n))
    if len(piece) < WORD_BYTES:
        word = code.op(f"and i64 {word}, {(1 << 8 * len(piece)) - 1}")
    _unless(scope, code.op(f"icmp eq i64 {word}, {int.from_bytes(piece, 'little', signed=len(piece) == 8)}"), end)


def _same_words(scope: Scope, offset: str, b: Text, a: Text, end: str) -> None:
    """Compare words in a loop; of the last one only what belongs to *b*."""
    code = scope.code
    head, body, done = (code.name(stem) for stem in ("words", "word", "same"))
    index = code.slot(code.name("n"), "i64")
    code.do(f"store i64 0, ptr {index}")
    code.do(f"br label %{head}")
    code.label(head)
    n = code.opaque(code.op(f"load i64, ptr {index}"))
    length = forgotten(scope, b)
    more = code.op(f"icmp ult i64 {n}, {length}")
    within = code.op(f"icmp ult i64 {n}, {round_up(b.max_bytes)}")
    code.do(f"br i1 {code.op(f'and i1 {more}, {within}')}, label %{body}, label %{done}")
    code.label(body)
    mine = load_within(scope, a.base, code.op(f"add i64 {offset}, {n}"), a.end)
    other = load_within(scope, b.base, code.op(f"add i64 {b.offset}, {n}"), b.end)
    rest = at_most(scope, code.op(f"sub i64 {length}, {n}"), WORD_BYTES)
    bits = code.op(f"sub i64 64, {code.op(f'shl i64 {rest}, 3')}")
    differing = code.op(f"and i64 {code.op(f'xor i64 {mine}, {other}')}, {code.op(f'lshr i64 -1, {bits}')}")
    code.do(f"store i64 {code.op(f'add i64 {n}, {WORD_BYTES}')}, ptr {index}")
    code.do(f"br i1 {code.op(f'icmp eq i64 {differing}, 0')}, label %{head}, label %{end}")
    code.label(done)


def _further(scope: Scope, offset: str, n: int) -> str:
    if offset.isdigit():
        return str(int(offset) + n)
    return scope.code.op(f"add i64 {offset}, {n}") if n else offset


def _word(scope: Scope, text: Text, offset: str) -> str:
    if offset.isdigit() and int(offset) <= text.end:
        return load(scope, text.base, offset)
    return load_within(scope, text.base, offset, text.end)


def _unless(scope: Scope, condition: str, end: str) -> None:
    following = scope.code.name("then")
    scope.code.do(f"br i1 {condition}, label %{following}, label %{end}")
    scope.code.label(following)
