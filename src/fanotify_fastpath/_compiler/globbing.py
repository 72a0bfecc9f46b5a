"""``fnmatchcase`` of a pattern from a list, by its tables."""

import ast

from fanotify_fastpath._compiler import memory
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.globs import TABLE_WORDS
from fanotify_fastpath._compiler.model import WORD_BYTES, TextsKind
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import Base, Bool, Text

_STEP = WORD_BYTES * TABLE_WORDS
#: bytes between two looks whether it is over; each look is a fork in the way that the verifier goes
_ROUND = 16


def matches(scope: Scope, node: ast.Call, text: Text, pattern: Text) -> Bool:
    """Whether a text fits."""
    begin, index, n_items = _tables(scope, node, pattern)
    text, code = scope.placed(text), scope.code
    chosen = code.opaque(index)
    code.fail_if(code.op(f"icmp uge i64 {chosen}, {n_items}"))
    table = code.op(f"add i64 {code.op(f'mul i64 {chosen}, {_STEP}')}, {begin}")
    # did the verifier know a bit of the state, then no two of its ways would meet
    stars = memory.unknown(scope, memory.load(scope, Base.ATTRIBUTES, table))
    accept = memory.load(scope, Base.ATTRIBUTES, code.op(f"add i64 {table}, {WORD_BYTES}"))
    bytes_at = code.op(f"add i64 {table}, {2 * WORD_BYTES}")
    state, place = code.slot(code.name("state"), "i64"), code.slot(code.name("n"), "i64")
    head, look, body, end = (code.name(stem) for stem in ("glob", "look", "byte", "end"))
    code.do(f"store i64 {memory.unknown(scope, '1')}, ptr {state}")
    code.do(f"store i64 0, ptr {place}")
    code.do(f"br label %{head}")
    code.label(head)
    n = code.opaque(code.op(f"load i64, ptr {place}"))
    is_inner = code.op(f"icmp ne i64 {code.op(f'and i64 {n}, {_ROUND - 1}')}, 0")
    code.do(f"br i1 {is_inner}, label %{body}, label %{look}")
    code.label(look)
    more = code.op(f"icmp ult i64 {n}, {memory.forgotten(scope, text)}")
    within = code.op(f"icmp ult i64 {n}, {text.max_bytes}")
    alive = code.op(f"icmp ne i64 {code.op(f'load i64, ptr {state}')}, 0")
    goes_on = code.op(f"and i1 {code.op(f'and i1 {more}, {within}')}, {alive}")
    code.do(f"br i1 {goes_on}, label %{body}, label %{end}")
    code.label(body)
    _step(scope, text, n, bytes_at, stars, state)
    code.do(f"store i64 {code.op(f'add i64 {n}, 1')}, ptr {place}")
    code.do(f"br label %{head}")
    code.label(end)
    last = code.op(f"and i64 {code.op(f'load i64, ptr {state}')}, {memory.unknown(scope, accept)}")
    return Bool(None, code.op(f"icmp ne i64 {last}, 0"))


def _step(scope: Scope, text: Text, n: str, bytes_at: str, stars: str, state: str) -> None:
    """Move all places by one byte; behind the last one, without a branch, leave them."""
    code = scope.code
    at = code.opaque(code.op(f"add i64 {text.offset}, {n}"))
    code.fail_if(code.op(f"icmp ugt i64 {at}, {text.top + text.max_bytes + _ROUND}"))
    byte = memory.load(scope, text.base, at, 1)
    row = memory.load(scope, Base.ATTRIBUTES, code.op(f"add i64 {bytes_at}, {code.op(f'shl i64 {byte}, 3')}"))
    before = code.op(f"load i64, ptr {state}")
    moved = code.op(f"shl i64 {code.op(f'and i64 {before}, {row}')}, 1")
    stayed = code.op(f"and i64 {before}, {stars}")
    after = code.op(f"or i64 {moved}, {stayed}")
    is_byte = code.op(f"ashr i64 {code.op(f'sub i64 {n}, {memory.forgotten(scope, text)}')}, 63")
    changed = code.op(f"and i64 {code.op(f'xor i64 {before}, {after}')}, {code.opaque(is_byte)}")
    code.do(f"store i64 {code.op(f'xor i64 {before}, {changed}')}, ptr {state}")


def _tables(scope: Scope, node: ast.Call, pattern: Text) -> tuple[int, str, int]:
    """Where the tables are, which of them, and how many there are."""
    if pattern.constant is not None:
        return scope.constants.place_glob(pattern.constant), "0", 1
    found = scope.vocabulary.attributes.get(pattern.origin)
    if not isinstance(found, TextsKind):
        raise Refusal(node.args[1], "a pattern is a constant or an item of a list of the handler")
    return scope.constants.place(pattern.origin, found, tables=True), pattern.index, found.max_items
