"""Names, attributes and constants: what they stand for."""

import ast
import builtins
import enum
import inspect
from types import FunctionType, ModuleType

from fanotify_fastpath._compiler import memory, tables
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.flow import EVENT
from fanotify_fastpath._compiler.integers import constant
from fanotify_fastpath._compiler.model import CounterKind
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Scope, expression
from fanotify_fastpath._compiler.texts import known
from fanotify_fastpath._compiler.values import (
    Base,
    Event,
    Int,
    Items,
    Known,
    Lookup,
    Maybe,
    Method,
    Myself,
    Nothing,
    Plain,
    Sequence,
    State,
    Text,
    Unusable,
    Value,
    Verdict,
    describe,
)

#: of a longer tuple of the program each item would be a piece of the program
MAX_ITEMS = 256


@expression(ast.Constant)
def on_constant(scope: Scope, node: ast.Constant) -> Value:
    """A literal."""
    return stands_for(scope, node, node.value)


@expression(ast.Tuple)
def on_tuple(scope: Scope, node: ast.Tuple) -> Value:
    """A tuple."""
    return Items(tuple(scope.value(each) for each in node.elts))


@expression(ast.Name)
def on_name(scope: Scope, node: ast.Name) -> Value:
    """A local variable, else a global name."""
    key = scope.frame.key + node.id
    if key in scope.here:
        found = scope.load(key)
        if isinstance(found, Unusable):
            raise Refusal(node, f"{node.id} {found.reason}")
        return found
    if node.id in scope.frame.locals:
        raise Refusal(node, f"{node.id} has no value here: assign one before")
    closure = inspect.getclosurevars(scope.frame.function).nonlocals
    for names in (closure, scope.frame.names, vars(builtins)):
        if node.id in names:
            return stands_for(scope, node, names[node.id])
    raise Refusal(node, f"{node.id} is not defined")


@expression(ast.Attribute)
def on_attribute(scope: Scope, node: ast.Attribute) -> Value:
    """An attribute of the event, of the handler, or of something known."""
    owner = scope.value(node.value)
    match owner:
        case Event():
            return _of_event(scope, node)
        case Myself():
            return _of_handler(scope, node)
        case Known(thing):
            return _of_known(scope, node, thing)
        case State(name) if node.attr == "value" and isinstance(scope.vocabulary.state[name], CounterKind):
            return tables.counter_value(scope, name)
        case State() | Text() | Maybe(value=Text()):
            return Method(owner, node.attr)
    raise Refusal(node, f"{describe(owner)} has no attribute {node.attr} that can be compiled")


def stands_for(scope: Scope, node: ast.expr, thing: object) -> Value:
    """What an object of Python's is for compiled code."""
    number = scope.vocabulary.number_of(thing)
    if number is not None:
        return Verdict(str(number))
    match thing:
        case None:
            return Nothing()
        case bool():
            return known(thing)
        case enum.Enum():
            return Known(thing)
        case int():
            return constant(thing)
        case bytes():
            return Text(Base.ATTRIBUTES, 0, Int(Range(len(thing), len(thing)), str(len(thing))), thing)
        case tuple():
            return Items(tuple(stands_for(scope, node, each) for each in thing))
        case str() | ModuleType() | FunctionType() | type():
            return Known(thing)
        case float() | complex():
            raise Refusal(node, f"{thing!r} is a {type(thing).__name__}, which the kernel has not: use integers")
    if callable(thing):
        return Known(thing)
    raise Refusal(node, f"{ast.unparse(node)} is of type {type(thing).__name__}, which cannot be compiled")


def plain(value: Value) -> Value:
    """A member of an enumeration of integers as the integer that it is."""
    if isinstance(value, Known) and isinstance(value.thing, int):
        return constant(int(value.thing))
    return value


def _of_event(scope: Scope, node: ast.Attribute) -> Value:
    field = scope.layout.fields.get(node.attr)
    if field is None:
        if node.attr == "inside":
            return Method(Event(), node.attr)
        raise Refusal(
            node, f"the event has no attribute {node.attr}; it has {', '.join(scope.layout.fields)}, inside()"
        )
    found = memory.event_field(scope, node.attr, field)
    return narrow(found, scope.here.get(EVENT + node.attr))


def narrow(found: Value, fact: Value | None) -> Value:
    """A value that may be None where it is known what it is."""
    if isinstance(fact, Nothing):
        return fact
    if isinstance(found, Maybe) and isinstance(fact, Plain):
        found = found.value
    if isinstance(found, Int) and isinstance(fact, Int):
        return Int(fact.range, found.ir)
    return found


def _of_handler(scope: Scope, node: ast.Attribute) -> Value:
    vocabulary, name = scope.vocabulary, node.attr
    if name in vocabulary.state:
        return State(name)
    if name in vocabulary.attributes:
        return memory.attribute(scope, name, vocabulary.attributes[name])
    try:
        thing = inspect.getattr_static(scope.handler, name)
    except AttributeError:
        raise Refusal(
            node, f"the type of self.{name} is not known: annotate it on the class, {name}: bool for example"
        ) from None
    if isinstance(thing, FunctionType | staticmethod):
        return Method(Myself(), name)
    scope.of_class.add(name)
    return stands_for(scope, node, thing)


def _of_known(scope: Scope, node: ast.Attribute, thing: object) -> Value:
    if isinstance(thing, ModuleType | type) and hasattr(thing, node.attr):
        return stands_for(scope, node, getattr(thing, node.attr))
    if isinstance(thing, enum.Enum) and node.attr in ("value", "name"):
        return stands_for(scope, node, getattr(thing, node.attr))
    raise Refusal(node, f"{ast.unparse(node)} cannot be compiled")


def items_of(node: ast.expr, value: Value) -> Value:
    """What can be gone through."""
    if isinstance(value, Items) and len(value.values) > MAX_ITEMS:
        raise Refusal(node, f"a tuple of more than {MAX_ITEMS} items: make it an attribute")
    if isinstance(value, Items | Sequence | Text | Lookup):
        return value
    raise Refusal(node, f"{ast.unparse(node)} is {describe(value)}, which cannot be gone through")
