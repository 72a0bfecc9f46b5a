"""One program and its events, by CPython and compiled: what both say, and what both remember."""

import json
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
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


def compare(seed: str, start: Start, n_events: int = N_EVENTS) -> Program:
    """
    Draw the program of a seed, and compare what is said of its events.

    :raises CompileError: the program is refused
    :raises AssertionError: something differs; the seed is kept
    """
    program = draw_program(seed)
    found = difference(program, draw_events(program, seed, n_events), start)
    if found is not None:
        SEEDS.write_text(json.dumps(sorted({*kept_seeds(), seed}), indent=1) + "\n")
        raise AssertionError(f"program {seed!r}: {found}\n\n{source(program)}")
    return program


def difference(program: Program, events: list[Event], start: Start) -> str | None:
    """What differs first; None if nothing does."""
    body, members, globals_ = ("\n".join(part) for part in (program.body, program.members, program.globals_))
    kind = make(body, members=members, globals_=globals_)
    interpreted, instance = kind(), kind()
    for each in (interpreted, instance):
        vars(each).update(program.attributes)
    with start(kind, instance) as compiled:
        for inside, fields in events:
            expected = _by_python(interpreted, python_event(inside, **fields))
            said = compiled.run(event_bytes(inside, **fields))
            if said != expected:
                return f"compiled says {said}, CPython {expected}, of {fields}, inside {inside}"
        kept = compiled.remembered()
    expected_memory = _memory(interpreted, program.has_state)
    wrong = {name: (table, expected_memory[name]) for name, table in kept.items() if table != expected_memory[name]}
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
