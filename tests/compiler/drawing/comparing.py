"""One program and its events, by CPython and compiled: what both say, and what both remember."""

import contextlib
import json
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from compiler.making import make
from compiler.native import event_bytes, number_of, python_event
from fanotify_fastpath._bpf._abi import FpVerdict
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.state import StateKey

from . import states
from .events import Event, draw_events
from .program import Program, draw_program

#: seeds of programs that failed once
SEEDS = Path(__file__).with_name("seeds.json")
N_EVENTS = 100
_RAISED = (ZeroDivisionError, ValueError, IndexError, AssertionError)
#: of each table, by its name: values by packed keys
Memory = dict[str, dict[bytes, int]]


class Compiled(Protocol):
    """A compiled handler that runs."""

    def run(self, event: bytes) -> int:
        """What it says of an event."""
        ...

    def remembered(self) -> Memory:
        """What it keeps, of that state which it uses."""
        ...


#: how a handler is compiled; of a class and an instance
Start = Callable[[type[Handler], Handler], AbstractContextManager[Compiled]]


def kept_seeds() -> list[str]:
    """Seeds of programs that failed once."""
    return [str(seed) for seed in json.loads(SEEDS.read_text())]


@dataclass(frozen=True)
class Case:
    """
    A program and its events, and what is to come of it.

    :ivar seed: of the program and the events
    :ivar packed: the events, as compiled code reads them
    :ivar said: of each, by CPython
    :ivar remembered: after all of them, by CPython
    """

    seed: str
    program: Program
    events: list[Event]
    packed: list[bytes]
    said: list[int]
    remembered: Memory


def draw_case(seed: str, n_events: int = N_EVENTS) -> Case:
    """Draw the program of a seed and its events, and have CPython do it."""
    program = draw_program(seed)
    return expect(seed, program, draw_events(program, seed, n_events))


def expect(seed: str, program: Program, events: list[Event]) -> Case:
    """Have CPython do it."""
    _, instance = make_handler(program)
    said = [_by_python(instance, python_event(inside, **fields)) for inside, fields in events]
    packed = [event_bytes(inside, **fields) for inside, fields in events]
    return Case(seed, program, events, packed, said, _memory(instance, program.has_state))


def make_handler(program: Program) -> tuple[type[Handler], Handler]:
    """Make the class of a program, and an instance with its attributes."""
    body, members, globals_ = ("\n".join(part) for part in (program.body, program.members, program.globals_))
    kind = make(body, members=members, globals_=globals_)
    instance = kind()
    vars(instance).update(program.attributes)
    return kind, instance


def compare(seed: str, start: Start) -> Program:
    """
    Draw the program of a seed, and compare what is said of its events.

    :raises CompileError: the program is refused
    :raises AssertionError: something differs; the seed is kept
    """
    return check(draw_case(seed), start)


def check(case: Case, start: Start) -> Program:
    """
    Compare what is said of the events of a program; return the program.

    :raises CompileError: the program is refused
    :raises AssertionError: something differs; the seed is kept
    """
    found = difference(case, start)
    if found is not None:
        with contextlib.suppress(OSError):  # in a machine nothing can be written
            SEEDS.write_text(json.dumps(sorted({*kept_seeds(), case.seed}), indent=1) + "\n")
        raise AssertionError(f"program {case.seed!r}: {found}\n\n{source(case.program)}")
    return case.program


def difference(case: Case, start: Start) -> str | None:
    """What differs first; None if nothing does."""
    with start(*make_handler(case.program)) as compiled:
        for (inside, fields), packed, expected in zip(case.events, case.packed, case.said, strict=True):
            said = compiled.run(packed)
            if said != expected:
                return f"compiled says {said}, CPython {expected}, of {fields}, inside {inside}"
        kept = compiled.remembered()
    wrong = {name: (table, case.remembered[name]) for name, table in kept.items() if table != case.remembered[name]}
    return f"compiled and CPython remember {wrong}" if wrong else None


def source(program: Program) -> str:
    """The program as people read it."""
    body = (f"    {line}" for line in program.body)
    lines = [*program.globals_, "", *program.members, "def handle(self, event):", *body, "", repr(program.attributes)]
    return "\n".join(lines)


def _by_python(instance: Handler, event: Any) -> int:
    """What CPython says; what a program that can be compiled does not raise is a mistake of what draws it."""
    try:
        return number_of(instance.handle(event))
    except _RAISED:
        return int(FpVerdict.FAILED)


def _memory(instance: Any, has_state: bool) -> Memory:
    """What an instance keeps in this process."""
    if not has_state:
        return {}
    tables = {name: getattr(instance, name) for name in states.NAMES if name != "hits"}
    found = {name: {_packed(key): value for key, value in table.items()} for name, table in tables.items()}
    return {**found, "hits": {bytes(4): instance.hits.value}}


def _packed(key: StateKey) -> bytes:
    if isinstance(key, bytes):
        return struct.pack("=Q", len(key)) + key.ljust(24, b"\0")
    words = key if isinstance(key, tuple) else (key,)
    return struct.pack(f"={len(words)}Q", *words)
