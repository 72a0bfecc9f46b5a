"""Conditions in which a handler is asked about every event of the workload, and skips it; the table of what they take."""

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
    name = "measured-{number}"

    def handle(self, event):
        {statement}
        return {asked}
"""
_SKIP = "fan.SKIP_EVENT"
_SEND_IF = "fan.SEND_TO_USERSPACE if {} else fan.SKIP_EVENT"

#: what a handler does → a statement, and what it returns: of these, never to send
_DOES = {
    "nothing": ("pass", _SKIP),
    "reads `inode`": ("pass", _SEND_IF.format("event.inode == 0")),
    "reads `uid`": ("pass", _SEND_IF.format("event.uid == 1")),
    "reads `name`": ("pass", _SEND_IF.format("event.name == b''")),
    "reads `comm`": ("pass", _SEND_IF.format("event.comm == b''")),
    "reads `size`": ("pass", _SEND_IF.format("event.size == 1 << 60")),
    "reads `dir_inode`": ("pass", _SEND_IF.format("event.dir_inode == 0")),
    "reads `cgroup_id`": ("pass", _SEND_IF.format("event.cgroup_id == 0")),
    "reads `ancestors`": ("pass", _SEND_IF.format("len(event.ancestors) == 0")),
    "reads `exe`": ("pass", _SEND_IF.format("event.exe == b''")),
    "reads `depth`": ("pass", _SEND_IF.format("event.depth == 0")),
    "`event.inside(roots)`": ("pass", _SEND_IF.format("not event.inside(self.roots)")),
    "`name == b'…'`": ("pass", _SEND_IF.format("event.name == b'not-there'")),
    "`name.startswith(…)`, 16 texts": (
        "pass",
        _SEND_IF.format("event.name is not None and any(event.name.startswith(each) for each in self.prefixes)"),
    ),
    "a glob, of `name`": ("pass", _SEND_IF.format("event.name is not None and fnmatchcase(event.name, b'*.[ch]')")),
    "`inode in …`, 200 integers": ("pass", _SEND_IF.format("event.inode in self.numbers")),
    "`Counter.add`": ("self.n_seen.add(1)", _SKIP),
    "`StateMap.get`": ("pass", _SEND_IF.format("self.by_process.get(event.tgid) == 7")),
    "`StateMap.add`": ("self.by_process.add(event.tgid, 1)", _SKIP),
}
_PASSES = ("pass", "fan.SEND_TO_USERSPACE")
NOTHING = "nothing"
#: one that sends, and after it one that skips
TWO = "nothing, after another handler"


def _module() -> str:
    handlers = (
        _HANDLER.format(number=number, statement=statement, asked=asked)
        for number, (statement, asked) in enumerate((*_DOES.values(), _PASSES))
    )
    return _MODULE + "".join(handlers)


def handler_conditions(engine: str) -> list[Condition]:
    """One for each thing that a handler does."""
    names = [f"measured-{number}" for number in range(len(_DOES) + 1)]
    asked = {what: names[number : number + 1] for number, what in enumerate(_DOES)}
    asked[TWO] = [names[-1], names[0]]
    return [Condition(what, _asking(engine, handlers), ", ".join(handlers)) for what, handlers in asked.items()]


def _asking(engine: str, handlers: Sequence[str]) -> Callable[[Place], AbstractContextManager[Around]]:
    @contextlib.contextmanager
    def start(place: Place) -> Iterator[Around]:
        with tempfile.TemporaryDirectory(prefix="fanfp-") as directory:
            path = Path(directory) / "measured.py"
            path.write_text(_module(), encoding="utf-8")
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
