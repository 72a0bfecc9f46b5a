"""What the parts of the compiler share: the code that is written, what is known, whose function it is."""

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any, TypeVar

from fanotify_fastpath._compiler.code import Code
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.flow import Facts, Meeting
from fanotify_fastpath._compiler.layout import Constants
from fanotify_fastpath._compiler.model import EventLayout, Vocabulary
from fanotify_fastpath._compiler.ranges import I64, U64
from fanotify_fastpath._compiler.refused import not_compiled
from fanotify_fastpath._compiler.source import Source
from fanotify_fastpath._compiler.values import (
    Base,
    Bool,
    Int,
    Items,
    Maybe,
    Nothing,
    Plain,
    Text,
    Value,
    Verdict,
    without_ir,
)

N = TypeVar("N", bound=ast.AST)
#: statements that are walked for one handler, those in loops many times
BUDGET = 100_000

EXPRESSIONS: dict[type[ast.AST], Callable[["Scope", Any], Value]] = {}
STATEMENTS: dict[type[ast.AST], Callable[["Scope", Any], None]] = {}


def expression(*kinds: type[ast.AST]) -> Callable[[Callable[["Scope", N], Value]], Callable[["Scope", N], Value]]:
    """Register what evaluates a kind of expression."""

    def register(function: Callable[["Scope", N], Value]) -> Callable[["Scope", N], Value]:
        EXPRESSIONS.update(dict.fromkeys(kinds, function))
        return function

    return register


def statement(*kinds: type[ast.AST]) -> Callable[[Callable[["Scope", N], None]], Callable[["Scope", N], None]]:
    """Register what executes a kind of statement."""

    def register(function: Callable[["Scope", N], None]) -> Callable[["Scope", N], None]:
        STATEMENTS.update(dict.fromkeys(kinds, function))
        return function

    return register


@dataclass
class Loop:
    """
    A loop around what is walked.

    :ivar following: where ``continue`` goes
    :ivar end: where ``break`` goes
    :ivar turns: at most
    """

    following: Meeting
    end: Meeting
    turns: int = 1


@dataclass
class Frame:
    """
    One call of a function, inlined.

    :ivar key: what the keys of its variables begin with
    :ivar source: where it is written
    :ivar names: its global names
    :ivar end: where ``return`` goes
    :ivar declared: annotations of local variables
    :ivar locals: names that are assigned somewhere in it
    """

    key: str
    source: Source
    names: Mapping[str, object]
    function: FunctionType
    end: Meeting
    locals: frozenset[str]
    declared: dict[str, tuple[str, Any]] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)


class Scope:
    """
    The walk through one handler.

    :ivar code: what is written
    :ivar handler: the class
    :ivar facts: what is known here; None where nothing leads to
    :ivar needs: bits of fields of the event that were asked for
    :ivar state: names of the state that was asked for
    :ivar functions: declarations of what is called of the frame
    :ivar of_class: attributes of the class that are constants
    """

    def __init__(self, handler: type, layout: EventLayout, vocabulary: Vocabulary) -> None:
        self.handler = handler
        self.layout = layout
        self.vocabulary = vocabulary
        self.code = Code()
        self.constants = Constants()
        self.facts: Facts | None = {}
        self.needs = 0
        self.state: list[str] = []
        self.functions: set[str] = set()
        self.of_class: set[str] = set()
        self.frames: list[Frame] = []
        self._n_walked = 0

    @property
    def frame(self) -> Frame:
        """The innermost call."""
        return self.frames[-1]

    @property
    def here(self) -> Facts:
        """What is known at a point that is reached."""
        return {} if self.facts is None else self.facts

    def value(self, node: ast.expr) -> Value:
        """Evaluate; integers exactly."""
        found = self.loose(node)
        if isinstance(found, Int) and not (found.range.is_signed or found.range.is_unsigned):
            self.refuse_range(node, found)
        return found

    def loose(self, node: ast.expr) -> Value:
        """Evaluate; integers modulo 2^64."""
        evaluate = EXPRESSIONS.get(type(node))
        if evaluate is None:
            raise Refusal(node, not_compiled(node))
        return evaluate(self, node)

    def refuse_range(self, node: ast.expr, value: Int) -> None:
        """Say that an integer does not fit."""
        text, found = ast.unparse(node), value.range
        is_large = found.hi > U64.hi or found.lo >= I64.lo
        said = f"as large as {found.hi}" if found.hi > I64.hi else f"as small as {found.lo}"
        wrap = "u64" if is_large else "i64"
        raise Refusal(node, f"{text} may be {said}: wrap it, {wrap}({text})")

    def run(self, body: list[ast.stmt]) -> None:
        """Execute statements; what nothing leads to is left out."""
        for node in body:
            if self.facts is None:
                return
            self._n_walked += 1
            if self._n_walked > BUDGET:
                raise Refusal(node, f"the loops around this take more than {BUDGET:,} steps to follow: shorten them")
            execute = STATEMENTS.get(type(node))
            if execute is None:
                raise Refusal(node, not_compiled(node))
            execute(self, node)

    # --- ways ---

    def meeting(self, stem: str) -> Meeting:
        """A block to come."""
        return Meeting(self.code.name(stem))

    def jump(self, to: Meeting) -> None:
        """Go there, if anything leads here."""
        if self.facts is not None:
            self.code.do(f"br label %{to.label}")
            to.add(self.facts)
            self.facts = None

    def branch(self, condition: Bool, yes: Meeting, no: Meeting, if_yes: Facts | None, if_no: Facts | None) -> None:
        """Go to one of two; None for facts: that way is impossible."""
        if condition.known is not None or if_yes is None or if_no is None:
            goes = condition.known if condition.known is not None else if_yes is not None
            self.facts = (if_yes if goes else if_no) or self.here
            self.jump(yes if goes else no)
            return
        self.code.do(f"br i1 {condition.ir}, label %{yes.label}, label %{no.label}")
        yes.add(if_yes)
        no.add(if_no)
        self.facts = None

    def land(self, at: Meeting) -> bool:
        """Go on there; tell whether any way leads there."""
        self.facts = at.facts
        if at.facts is None:
            return False
        self.code.label(at.label)
        return True

    # --- variables ---

    def know(self, key: str, value: Value) -> None:
        """Add a fact."""
        self.facts = {**self.here, key: without_ir(value)}

    def store(self, key: str, value: Value) -> None:
        """Give a variable a value."""
        placed = self._at_home(value)
        self._write(key, placed)
        self.know(key, placed)

    def load(self, key: str) -> Value:
        """The value of a variable."""
        return self._read(key, self.here[key])

    def _write(self, key: str, value: Value) -> None:
        code = self.code
        if isinstance(value, Plain | Nothing):
            code.do(f"store i1 {str(isinstance(value, Nothing)).lower()}, ptr {code.slot(key, 'i1')}")
        match value:
            case Int(ir=ir):
                code.do(f"store i64 {ir}, ptr {code.slot(key + '.int', 'i64')}")
            case Bool(ir=ir):
                code.do(f"store i1 {ir}, ptr {code.slot(key + '.bool', 'i1')}")
            case Verdict(ir=ir):
                code.do(f"store i32 {ir}, ptr {code.slot(key + '.verdict', 'i32')}")
            case Text():
                code.do(f"store i64 {value.offset}, ptr {code.slot(key + '.offset', 'i64')}")
                code.do(f"store i64 {value.length.ir}, ptr {code.slot(key + '.length', 'i64')}")
                if value.origin:
                    code.do(f"store i64 {value.index}, ptr {code.slot(key + '.index', 'i64')}")
            case Maybe(value=inner, is_none=is_none):
                self._write(key, inner)
                code.do(f"store i1 {is_none}, ptr {code.slot(key, 'i1')}")
            case Items(values=values):
                for n, each in enumerate(values):
                    self._write(f"{key}[{n}]", each)

    def _read(self, key: str, known: Value) -> Value:
        code = self.code
        match known:
            case Int(range=found):
                slot = code.slot(key + ".int", "i64")
                return Int(
                    found, str(_signed(found.lo)) if found.known is not None else code.op(f"load i64, ptr {slot}")
                )
            case Bool(known=truth):
                slot = code.slot(key + ".bool", "i1")
                return Bool(truth, code.op(f"load i1, ptr {slot}") if truth is None else str(truth).lower())
            case Verdict():
                return Verdict(code.op(f"load i32, ptr {code.slot(key + '.verdict', 'i32')}"))
            case Text(constant=None):
                offset = code.op(f"load i64, ptr {code.slot(key + '.offset', 'i64')}")
                length = code.op(f"load i64, ptr {code.slot(key + '.length', 'i64')}")
                index = code.op(f"load i64, ptr {code.slot(key + '.index', 'i64')}") if known.origin else ""
                return replace(known, offset=offset, length=replace(known.length, ir=length), index=index)
            case Maybe(value=inner):
                is_none = code.op(f"load i1, ptr {code.slot(key, 'i1')}")
                value = self._read(key, inner)
                return Maybe(value, is_none) if isinstance(value, Plain) else value
            case Items(values=values):
                return Items(tuple(self._read(f"{key}[{n}]", each) for n, each in enumerate(values)))
            case _:
                return known

    def placed(self, text: Text) -> Text:
        """Bytes that are in memory: what is known is put among the constants."""
        if text.constant is None or text.offset:
            return text
        offset = self.constants.place_bytes(text.constant)
        return replace(text, base=Base.ATTRIBUTES, end=offset + len(text.constant), offset=str(offset))

    def _at_home(self, value: Value) -> Value:
        match value:
            case Text():
                return self.placed(value)
            case Maybe(value=Text() as text):
                return replace(value, value=self.placed(text))
            case Items(values=values):
                return Items(tuple(self._at_home(each) for each in values))
            case _:
                return value

    @contextmanager
    def dry(self) -> Iterator[None]:
        """Only learn, and write nothing."""
        with self.code.discarded():
            yield


def _signed(number: int) -> int:
    """As intermediate code writes 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
