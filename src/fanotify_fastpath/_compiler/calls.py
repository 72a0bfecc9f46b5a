"""Calls: of what the language knows, of state, and of functions in Python, which are inlined."""

import ast
import inspect
import stat
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import FunctionType

from fanotify_fastpath._compiler import globbing, integers, memory, tables, texts
from fanotify_fastpath._compiler.conditions import as_value
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.equality import required
from fanotify_fastpath._compiler.expressions import integer
from fanotify_fastpath._compiler.inlining import inline
from fanotify_fastpath._compiler.membership import any_item
from fanotify_fastpath._compiler.model import CounterKind, RootsKind
from fanotify_fastpath._compiler.names import plain
from fanotify_fastpath._compiler.quantifiers import quantified
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Scope, expression
from fanotify_fastpath._compiler.values import (
    Base,
    Bool,
    Event,
    Int,
    Items,
    Known,
    Lookup,
    Maybe,
    Method,
    Myself,
    Nothing,
    Sequence,
    State,
    Text,
    Value,
    Verdict,
    describe,
)

_FILE_TYPES: dict[object, int] = {
    stat.S_ISREG: stat.S_IFREG,
    stat.S_ISDIR: stat.S_IFDIR,
    stat.S_ISLNK: stat.S_IFLNK,
    stat.S_ISFIFO: stat.S_IFIFO,
    stat.S_ISSOCK: stat.S_IFSOCK,
    stat.S_ISBLK: stat.S_IFBLK,
    stat.S_ISCHR: stat.S_IFCHR,
}
_TYPE_BITS = 0o170000


@expression(ast.Call)
def on_call(scope: Scope, node: ast.Call) -> Value:
    """A call."""
    function = scope.value(node.func)
    match function:
        case Known(thing):
            return _of_known(scope, node, thing)
        case Method(Myself(), name):
            return _of_handler(scope, node, name)
        case Method(Event(), _):
            return _inside(scope, node)
        case Method(State(name), method):
            return _of_state(scope, node, name, method)
        case Method(owner, method):
            return _of_text(scope, node, owner, method)
    raise Refusal(node, f"{ast.unparse(node.func)} is {describe(function)}, which cannot be called")


def _of_known(scope: Scope, node: ast.Call, thing: object) -> Value:
    vocabulary = scope.vocabulary
    if thing is vocabulary.deny:
        return _deny(scope, node)
    for name, bounds in vocabulary.casts:
        if thing is name:
            (argument,) = _arguments(node, 1)
            return integers.cast(scope, integer(scope, argument, scope.loose(argument)), bounds)
    if thing is fnmatchcase:
        return globbing.matches(scope, node, *(_text(scope, each) for each in _arguments(node, 2)))
    if getattr(thing, "__name__", "").startswith("S_IS") and thing in _FILE_TYPES:
        (argument,) = _arguments(node, 1)
        mode = integer(scope, argument, scope.value(argument))
        kind = integers.calculate(scope, node, ast.BitAnd(), mode, integers.constant(_TYPE_BITS))
        return integers.compare(scope, ast.Eq(), kind, integers.constant(_FILE_TYPES[thing]))
    if isinstance(thing, type | type(len)) and thing in _BUILTINS:
        return _BUILTINS[thing](scope, node)
    if isinstance(thing, FunctionType):
        return inline(scope, node, thing, None)
    name_of = getattr(thing, "__name__", ast.unparse(node.func))
    raise Refusal(node, f"{name_of}() cannot be compiled")


def _of_handler(scope: Scope, node: ast.Call, name: str) -> Value:
    thing = inspect.getattr_static(scope.handler, name)
    if isinstance(thing, staticmethod):
        return inline(scope, node, thing.__func__, None)
    return inline(scope, node, thing, Myself())


def _arguments(node: ast.Call, *numbers: int) -> list[ast.expr]:
    """The arguments of a call, which has one of these numbers of them and no keywords."""
    text = ast.unparse(node.func)
    if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
        raise Refusal(node, f"{text}() is compiled with plain arguments only")
    if len(node.args) not in numbers:
        said = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
        raise Refusal(node, f"{text}() is compiled with {said} argument(s), not {len(node.args)}")
    return node.args


def _deny(scope: Scope, node: ast.Call) -> Value:
    arguments = _arguments(node, 0, 1)
    code = scope.vocabulary.default_errno
    if arguments:
        value = plain(scope.value(arguments[0]))
        if not isinstance(value, Int) or value.range.known is None:
            raise Refusal(arguments[0], "the error number of deny() must be a constant")
        code = value.range.lo
    if code not in scope.vocabulary.deny_errnos:
        raise Refusal(arguments[0], f"deny() does not take error number {code}")
    return Verdict(str(-code))


def _inside(scope: Scope, node: ast.Call) -> Value:
    (argument,) = _arguments(node, 1)
    roots = scope.value(argument)
    if not isinstance(roots, Lookup) or not isinstance(roots.kind, RootsKind):
        raise Refusal(argument, f"inside() takes a root set, not {describe(roots)}")
    code, layout = scope.code, scope.layout
    scope.needs |= layout.place_bit
    slot = memory.load(scope, Base.ATTRIBUTES, roots.offset)
    word = code.op(f"and i64 {code.op(f'lshr i64 {slot}, 6')}, 3")
    at = code.op(f"add i64 {code.op(f'shl i64 {word}, 3')}, {layout.inside}")
    bits = memory.load_within(scope, Base.EVENT, at, layout.inside + 24)
    shift = code.op(f"and i64 {slot}, 63")
    bit = code.op(f"and i64 {code.op(f'lshr i64 {bits}, {shift}')}, 1")
    has_slot = code.op(f"icmp sge i64 {slot}, 0")
    found = code.op(f"and i1 {has_slot}, {code.op(f'icmp ne i64 {bit}, 0')}")
    return Maybe(Bool(None, found), memory.is_unknown(scope, layout.place_bit))


def _of_text(scope: Scope, node: ast.Call, owner: Value, method: str) -> Value:
    assert isinstance(node.func, ast.Attribute)
    required(node.func.value, owner)
    compare = {"startswith": texts.starts_with, "endswith": texts.ends_with}.get(method)
    if compare is None or not isinstance(owner, Text):
        raise Refusal(node, f"{method}() of bytes cannot be compiled; startswith() and endswith() can")
    (argument,) = _arguments(node, 1)
    value = scope.value(argument)
    required(argument, value)

    def test(each: Value) -> Bool:
        if not isinstance(each, Text):
            raise Refusal(argument, f"{method}() takes bytes, not {describe(each)}")
        return compare(scope, owner, each)

    if isinstance(value, Sequence):
        return any_item(scope, value, test)
    found = texts.known(False)
    for each in value.values if isinstance(value, Items) else (value,):
        found = Bool(None, scope.code.op(f"or i1 {found.ir}, {test(each).ir}"))
    return found


def _of_state(scope: Scope, node: ast.Call, name: str, method: str) -> Value:
    arguments = [(each, scope.value(each)) for each in _arguments(node, 1, 2)]
    for each, value in arguments:
        required(each, value)
    key = arguments[0][1]
    is_counter = isinstance(scope.vocabulary.state[name], CounterKind)
    number = integer(scope, *arguments[-1]) if len(arguments) == 2 or is_counter else None
    match method, number:
        case ("add", Int()) if is_counter and len(arguments) == 1:
            tables.counter_add(scope, name, number)
            return Nothing()
        case ("get", None):
            return tables.get(scope, node, name, key)
        case ("get", Int()):
            return tables.get_or(scope, node, name, key, number)
        case ("put", Int()):
            if not number.range.is_unsigned:
                scope.refuse_range(arguments[-1][0], number)
            return tables.put(scope, node, name, key, number)
        case ("add", Int()) if not is_counter:
            return tables.add(scope, node, name, key, number)
        case ("discard", None):
            tables.discard(scope, node, name, key)
            return Nothing()
    raise Refusal(node, f"{ast.unparse(node)} cannot be compiled")


def _text(scope: Scope, node: ast.expr) -> Text:
    value = scope.value(node)
    required(node, value)
    if not isinstance(value, Text):
        raise Refusal(node, f"{ast.unparse(node)} is {describe(value)}, not bytes")
    return value


def _len(scope: Scope, node: ast.Call) -> Value:
    (argument,) = _arguments(node, 1)
    value = scope.value(argument)
    required(argument, value)
    match value:
        case Text(length=length) | Sequence(count=length):
            return length
        case Items(values):
            return integers.constant(len(values))
        case Lookup(offset=offset, kind=kind) if not isinstance(kind, RootsKind):
            most = getattr(kind, "max_items", None)
            if most is not None:
                return Int(Range(0, most), memory.load(scope, Base.ATTRIBUTES, offset))
    raise Refusal(node, f"{describe(value)} has no length that can be compiled")


def _extreme(scope: Scope, node: ast.Call) -> Value:
    values = [integer(scope, each, scope.value(each)) for each in _arguments(node, *range(2, 17))]
    found, *others = values
    for each in others:
        found = integers.extreme(scope, found, each, least=ast.unparse(node.func) == "min")
    return found


def _abs(scope: Scope, node: ast.Call) -> Value:
    (argument,) = _arguments(node, 1)
    return integers.absolute(scope, integer(scope, argument, scope.value(argument)))


def _bool(scope: Scope, node: ast.Call) -> Value:
    (argument,) = _arguments(node, 1)
    return as_value(scope, argument)


def _int(scope: Scope, node: ast.Call) -> Value:
    (argument,) = _arguments(node, 1)
    return integers.plain(integer(scope, argument, scope.value(argument)))


_BUILTINS: dict[object, Callable[[Scope, ast.Call], Value]] = {
    len: _len,
    min: _extreme,
    max: _extreme,
    abs: _abs,
    bool: _bool,
    int: _int,
    any: lambda scope, node: quantified(scope, node, is_any=True),
    all: lambda scope, node: quantified(scope, node, is_any=False),
}
