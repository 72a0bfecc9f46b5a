"""Conditions in which a handler is asked about every event and skips it; the table of what they take."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.counted.conditions import EVENTS, NOBODY, Around, Condition, plainly
from bench.counted.groups import held, nothing_came
from bench.counted.slices import DEPTHS, Found
from bench.place import Place
from bench.report import Table
from bench.stats import Spread

_N_EVENTS = 3
_MODULE = '''\
from fnmatch import fnmatchcase
from typing import Annotated

import fanotify_fastpath as fan
from fanotify_fastpath.arguments import Argument, Roots
from fanotify_fastpath.state import Counter, StateMap
from fanotify_fastpath.widths import Bytes, Items, u64


class Measured(fan.Handler):
    """Something of each kind; what a handler does not use is not in its program."""

    arguments = (Argument("roots", Roots(1), "a directory"),)
    n_seen = Counter()
    by_process = StateMap(max_entries=64)
    prefixes: Annotated[tuple[bytes, ...], Items(16), Bytes(16)]
    numbers: Annotated[frozenset[u64], Items(200)]

    def init(self, *, roots):
        self.roots = roots
        self.prefixes = tuple(b"%c-is-not-there" % n for n in range(65, 81))
        self.numbers = frozenset(range(1 << 40, (1 << 40) + 200))
'''
_HANDLER = """

class Measured{number}(Measured):
    name = {name!r}

    def handle(self, event):
        {before}
        return fan.SEND_TO_USERSPACE if {condition} else fan.SKIP_EVENT
"""
#: what a handler does → when it would send the event; never
_SENDS_IF = {
    "nothing": "False",
    "reads `inode`": "event.inode == 0",
    "reads `uid`": "event.uid == 1",
    "reads `name`": "event.name == b''",
    "reads `comm`": "event.comm == b''",
    "reads `size`": "event.size == 1 << 60",
    "reads `dir_inode`": "event.dir_inode == 0",
    "reads `cgroup_id`": "event.cgroup_id == 0",
    "reads `ancestors`": "len(event.ancestors) == 0",
    "reads `exe`": "event.exe == b''",
    "reads `depth`": "event.depth == 0",
    "`event.inside(roots)`": "not event.inside(self.roots)",
    "`name == b'…'`": "event.name == b'not-there'",
    "`name.startswith(…)`, 16 texts": (
        "event.name is not None and any(event.name.startswith(each) for each in self.prefixes)"
    ),
    "a glob, of `name`": "event.name is not None and fnmatchcase(event.name, b'*.[ch]')",
    "`inode in …`, 200 integers": "event.inode in self.numbers",
    "`Counter.add`": "False",
    "`StateMap.get`": "self.by_process.get(event.tgid) == 7",
    "`StateMap.add`": "self.by_process.add(event.tgid, 1) == 0",
}
#: what it does besides
_BEFORE = {"`Counter.add`": "self.n_seen.add(1)"}
NOTHING = "nothing"
#: one that sends, and after it one that skips
TWO = "nothing, after another handler"


def handler_conditions(engine: str) -> list[Condition]:
    """One for each thing that a handler does."""
    asked = {what: [_name(number)] for number, what in enumerate(_SENDS_IF)}
    asked[TWO] = [_PASSING, _name(0)]
    return [Condition(what, _asking(engine, handlers), ", ".join(handlers)) for what, handlers in asked.items()]


def _name(number: int) -> str:
    return f"measured-{number}"


_PASSING = _name(len(_SENDS_IF))


def module_text() -> str:
    """The source of the handlers."""
    asked = [(_BEFORE.get(what, "pass"), condition) for what, condition in _SENDS_IF.items()] + [("pass", "True")]
    handlers = (
        _HANDLER.format(number=number, name=_name(number), before=before, condition=condition)
        for number, (before, condition) in enumerate(asked)
    )
    return _MODULE + "".join(handlers)


def _asking(engine: str, handlers: Sequence[str]) -> Callable[[Place], AbstractContextManager[Around]]:
    @contextlib.contextmanager
    def start(place: Place) -> Iterator[Around]:
        with tempfile.TemporaryDirectory(prefix="fanfp-") as directory:
            path = Path(directory) / "measured.py"
            path.write_text(module_text(), encoding="utf-8")
            with held(engine, EVENTS, [[place.outside]], path=str(path), handlers=handlers) as holder:
                yield plainly
                nothing_came(holder)

    return start


def handlers_table(conditions: Sequence[Condition], found: Found) -> Table:
    """Write down what each takes of an event, beyond a handler that only skips it."""
    table = Table(
        "Instructions of an event that a handler skips, beyond those with a handler that does nothing",
        ["", *(f"depth {depth}" for depth in DEPTHS)],
    )
    for condition in conditions:
        if condition is not NOBODY and condition.name != NOTHING:
            table.lines.append([condition.name, *(_cell(found, condition.name, NOTHING, depth) for depth in DEPTHS)])
    bases = " and ".join(f"{_cell(found, NOTHING, NOBODY.name, depth)} at depth {depth}" for depth in DEPTHS)
    table.notes = [f"one that does nothing: {bases} beyond nobody watching", "medians (lowest-highest) of the rounds"]
    table.notes += [f"{name}: {reason}" for name, reason in (found.unavailable | found.wrong).items()]
    return table


def _cell(found: Found, name: str, base: str, depth: int) -> str:
    if found.is_lost(name) or found.is_lost(base):
        return "none"
    spread = Spread.of((each[name].ns - each[base].ns) / _N_EVENTS for each in found.rounds[depth])
    return f"{spread.median:.0f} ({spread.low:.0f}-{spread.high:.0f})"
