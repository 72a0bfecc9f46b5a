"""State in maps: counters and tables, by the kernel's helper functions."""

import ast
from collections.abc import Callable, Iterator

from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.memory import at_most, load_within
from fanotify_fastpath._compiler.model import WORD_BYTES, TableKind
from fanotify_fastpath._compiler.ranges import U64
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import Bool, Int, Items, Maybe, Text, Value, describe

#: numbers of the kernel's functions
_LOOKUP, _UPDATE, _DELETE = 1, 2, 3
_NO_EXIST = 1


def counter_value(scope: Scope, name: str) -> Int:
    """``self.n.value``."""
    return Int(U64, _if_there(scope, _counter(scope, name), lambda at: scope.code.op(f"load i64, ptr {at}")))


def counter_add(scope: Scope, name: str, amount: Int) -> None:
    """``self.n.add(amount)``."""
    _if_there(scope, _counter(scope, name), lambda at: _added(scope, at, amount.ir))


def has(scope: Scope, node: ast.expr, name: str, key: Value) -> Bool:
    """``key in self.t``."""
    at = _entry(scope, name, _key(scope, node, name, key))
    return Bool(None, scope.code.op(f"xor i1 {_is_missing(scope, at)}, true"))


def get(scope: Scope, node: ast.expr, name: str, key: Value) -> Maybe:
    """``self.t.get(key)``."""
    code = scope.code
    at = _entry(scope, name, _key(scope, node, name, key))
    value = _if_there(scope, at, lambda at: code.op(f"load i64, ptr {at}"))
    return Maybe(Int(U64, value), _is_missing(scope, at))


def get_or(scope: Scope, node: ast.expr, name: str, key: Value, default: Int) -> Int:
    """``self.t.get(key, default)``."""
    found = get(scope, node, name, key)
    value = found.value
    assert isinstance(value, Int)
    if not default.range.is_unsigned:
        raise Refusal(node, f"the default may be as small as {default.range.lo}: wrap it, u64(...)")
    return Int(U64, scope.code.op(f"select i1 {found.is_none}, i64 {default.ir}, i64 {value.ir}"))


def put(scope: Scope, node: ast.expr, name: str, key: Value, value: Int) -> Bool:
    """``self.t.put(key, value)``."""
    result = _update(scope, name, _key(scope, node, name, key), value.ir, 0)
    return Bool(None, scope.code.op(f"icmp eq i64 {result}, 0"))


def add(scope: Scope, node: ast.expr, name: str, key: Value, amount: Int) -> Maybe:
    """``self.t.add(key, n)``: atomic; the entry is made with 0 if it is not there, and then found."""
    code = scope.code
    where = _key(scope, node, name, key)
    first = _entry(scope, name, where)
    missing, known = code.name("missing"), code.name("there")
    code.do(f"br i1 {code.op(f'icmp eq ptr {first}, null')}, label %{missing}, label %{known}")
    code.label(missing)
    _update(scope, name, where, "0", _NO_EXIST)
    code.do(f"br label %{known}")
    code.label(known)
    at = _entry(scope, name, where)
    value = _if_there(scope, at, lambda at: _added(scope, at, amount.ir))
    return Maybe(Int(U64, value), _is_missing(scope, at))


def discard(scope: Scope, node: ast.expr, name: str, key: Value) -> None:
    """``self.t.discard(key)``."""
    where = _key(scope, node, name, key)
    scope.code.op(f"call i64 inttoptr (i64 {_DELETE} to ptr)(ptr {_map(scope, name)}, ptr {where})")


def _map(scope: Scope, name: str) -> str:
    if name not in scope.state:
        scope.state.append(name)
    return f"@state_{scope.state.index(name)}"


def _counter(scope: Scope, name: str) -> str:
    key = scope.code.slot("#key", "i32")
    scope.code.do(f"store i32 0, ptr {key}")
    return _entry(scope, name, key)


def _entry(scope: Scope, name: str, key: str) -> str:
    return scope.code.op(f"call ptr inttoptr (i64 {_LOOKUP} to ptr)(ptr {_map(scope, name)}, ptr {key})")


def _update(scope: Scope, name: str, key: str, value: str, flags: int) -> str:
    code = scope.code
    slot = code.slot("#value", "i64")
    code.do(f"store i64 {value}, ptr {slot}")
    update = f"inttoptr (i64 {_UPDATE} to ptr)"
    return code.op(f"call i64 {update}(ptr {_map(scope, name)}, ptr {key}, ptr {slot}, i64 {flags})")


def _if_there(scope: Scope, at: str, then: Callable[[str], str]) -> str:
    """What is made of an entry, or 0 if there is none."""
    code = scope.code
    there, end, result = code.name("there"), code.name("end"), code.slot(code.name("result"), "i64")
    code.do(f"store i64 0, ptr {result}")
    code.do(f"br i1 {code.op(f'icmp eq ptr {at}, null')}, label %{end}, label %{there}")
    code.label(there)
    code.do(f"store i64 {then(at)}, ptr {result}")
    code.do(f"br label %{end}")
    code.label(end)
    return code.op(f"load i64, ptr {result}")


def _is_missing(scope: Scope, at: str) -> str:
    """
    Whether there is no entry.

    LLVM is not to see the comparison: of two such it would make one of ``pointer | integer``, which the verifier does
    not allow.
    """
    code = scope.code
    missing = code.opaque(code.op(f"zext i1 {code.op(f'icmp eq ptr {at}, null')} to i64"))
    return code.op(f"icmp ne i64 {missing}, 0")


def _added(scope: Scope, at: str, amount: str) -> str:
    before = scope.code.op(f"atomicrmw add ptr {at}, i64 {amount} seq_cst")
    return scope.code.op(f"add i64 {before}, {amount}")


def _key(scope: Scope, node: ast.expr, name: str, key: Value) -> str:
    """Write a key on the stack, as the map has it."""
    kind = scope.vocabulary.state[name]
    if not isinstance(kind, TableKind):
        raise Refusal(node, f"self.{name} is a counter and has no keys")
    slot = scope.code.slot(f"#key{kind.key_size}", "i64", n=kind.key_size // WORD_BYTES)
    words = _text_words(scope, node, kind, key) if kind.key_bytes else _int_words(node, kind, key)
    for n, word in enumerate(words):
        at = scope.code.op(f"getelementptr i64, ptr {slot}, i64 {n}")
        scope.code.do(f"store i64 {word}, ptr {at}")
        # else LLVM reads all words first, and the stack is too small to keep them twice
        scope.code.do('call void asm sideeffect "", "~{memory}"()')
    return slot


def _int_words(node: ast.expr, kind: TableKind, key: Value) -> Iterator[str]:
    values = key.values if isinstance(key, Items) else (key,)
    if len(values) != kind.key_words:
        raise Refusal(node, f"a key of this table has {kind.key_words} integers, not {len(values)}")
    for each in values:
        if not isinstance(each, Int):
            raise Refusal(node, f"a key is made of integers, not of {describe(each)}")
        if not each.range.is_unsigned:
            raise Refusal(node, f"an integer of a key may be as small as {each.range.lo}: wrap it, u64(...)")
        yield each.ir


def _text_words(scope: Scope, node: ast.expr, kind: TableKind, key: Value) -> Iterator[str]:
    """Each word is stored before the next one is read, for want of registers."""
    if not isinstance(key, Text):
        raise Refusal(node, f"a key of this table is bytes, not {describe(key)}")
    if key.max_bytes > kind.key_bytes:
        raise Refusal(node, f"a key of this table has {kind.key_bytes} bytes; these may be {key.max_bytes}")
    text, code = scope.placed(key), scope.code
    yield text.length.ir
    for n in range(0, kind.key_size - WORD_BYTES, WORD_BYTES):
        if n >= text.max_bytes:
            yield "0"
            continue
        has_any = code.op(f"icmp ugt i64 {text.length.ir}, {n}")
        rest = at_most(scope, code.op(f"sub i64 {text.length.ir}, {n}"), WORD_BYTES)
        eights = code.op(f"shl i64 {rest}, 3")
        bits = code.op(f"and i64 {code.op(f'sub i64 64, {eights}')}, 63")
        # a word after the last byte is not read: it may lie beyond everything
        inside = code.op(f"select i1 {has_any}, i64 {n}, i64 0")
        word = load_within(scope, text.base, code.op(f"add i64 {text.offset}, {inside}"), text.end)
        masked = code.op(f"and i64 {word}, {code.op(f'lshr i64 -1, {bits}')}")
        yield code.op(f"select i1 {has_any}, i64 {masked}, i64 0")
