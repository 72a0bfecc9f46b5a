"""``==`` of any two values, and what may not be None."""

import ast

from fanotify_fastpath._compiler import integers, texts
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.model import WordKind
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import (
    Bool,
    Int,
    Items,
    Known,
    Lookup,
    Maybe,
    Nothing,
    Plain,
    Text,
    Value,
    Verdict,
    describe,
)


def equal(scope: Scope, node: ast.expr, a: Value, b: Value) -> Bool:
    """``a == b``, of any two values."""
    code = scope.code
    if isinstance(a, Maybe) and isinstance(b, Maybe):
        both = code.op(f"and i1 {a.is_none}, {b.is_none}")
        neither = code.op(f"xor i1 {code.op(f'or i1 {a.is_none}, {b.is_none}')}, true")
        same = code.op(f"and i1 {neither}, {equal(scope, node, a.value, b.value).ir}")
        return Bool(None, code.op(f"or i1 {both}, {same}"))
    if isinstance(a, Maybe) or isinstance(b, Maybe):
        one, other = (a, b) if isinstance(a, Maybe) else (b, a)
        assert isinstance(one, Maybe)
        if isinstance(other, Nothing):
            return Bool(None, one.is_none)
        is_some = code.op(f"xor i1 {one.is_none}, true")
        return Bool(None, code.op(f"and i1 {is_some}, {equal(scope, node, one.value, other).ir}"))
    return _equal_plain(scope, node, a, b)


def is_constant(scope: Scope, a: Value, b: Value) -> Bool:
    """``a is b`` of None, True or False."""
    if isinstance(b, Nothing):
        return Bool(None, a.is_none) if isinstance(a, Maybe) else texts.known(isinstance(a, Nothing))
    inner = a.value if isinstance(a, Maybe) else a
    if not isinstance(inner, Bool):
        return texts.known(False)
    return equal(scope, ast.Constant(None), a, b)


def required(node: ast.expr, value: Value) -> None:
    """Refuse what may be None where a value is needed."""
    if isinstance(value, Maybe | Nothing):
        text = ast.unparse(node)
        may_be = "may be" if isinstance(value, Maybe) else "is"
        is_tested = isinstance(node, ast.Name | ast.Attribute)
        advice = (
            f"test `{text} is not None` first" if is_tested else "assign it to a name, and test that for None first"
        )
        raise Refusal(node, f"{text} {may_be} None: {advice}")


def _equal_plain(scope: Scope, node: ast.expr, a: Value, b: Value) -> Bool:
    code = scope.code
    match a, b:
        case (Bool(), Bool()):
            if a.known is not None and b.known is not None:
                return texts.known(a.known == b.known)
            return Bool(None, code.op(f"icmp eq i1 {a.ir}, {b.ir}"))
        case (Int() | Bool(), Int() | Bool()):
            x, y = (integers.of_bool(scope, each) if isinstance(each, Bool) else each for each in (a, b))
            assert isinstance(x, Int) and isinstance(y, Int)  # noqa: PT018
            return integers.compare(scope, ast.Eq(), x, y)
        case (Text(), Text()):
            return texts.equal(scope, a, b)
        case (Verdict(), Verdict()):
            return Bool(None, code.op(f"icmp eq i32 {a.ir}, {b.ir}"))
        case (Nothing(), Nothing()):
            return texts.known(True)
        case (Lookup(WordKind()), Known(str())) | (Known(str()), Lookup(WordKind())):
            return _is_word(scope, node, a if isinstance(a, Lookup) else b, b if isinstance(a, Lookup) else a)
        case (Items(), Items()):
            return _equal_items(scope, node, a, b)
    if all(isinstance(each, Plain | Nothing | Items) for each in (a, b)):
        return texts.known(False)
    raise Refusal(node, f"{describe(a)} and {describe(b)} cannot be compared")


def _equal_items(scope: Scope, node: ast.expr, a: Items, b: Items) -> Bool:
    if len(a.values) != len(b.values):
        return texts.known(False)
    found = texts.known(True)
    for x, y in zip(a.values, b.values, strict=True):
        found = Bool(None, scope.code.op(f"and i1 {found.ir}, {equal(scope, node, x, y).ir}"))
    return found


def _is_word(scope: Scope, node: ast.expr, choice: Value, word: Value) -> Bool:
    assert isinstance(choice, Lookup) and isinstance(choice.kind, WordKind) and isinstance(word, Known)  # noqa: PT018
    words = choice.kind.words
    if word.thing not in words:
        raise Refusal(node, f"{word.thing!r} is never true; the words are {', '.join(words)}")
    code = scope.code
    number = code.op(f"load i64, ptr {code.op(f'getelementptr i8, ptr @attributes, i64 {choice.offset}')}")
    return Bool(None, code.op(f"icmp eq i64 {number}, {words.index(str(word.thing))}"))
