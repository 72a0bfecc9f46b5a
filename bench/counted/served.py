"""
Engine kernel behind the daemon: what an event takes of a client, against reading it in a process of one's own.

The client is an ordinary user and reads the ring buffer by itself; what it may see is decided in the kernel, while the
event is made. So three things are counted: the instructions of each reader, those of the daemon meanwhile, and those of
the workload, which runs the programs. While readers are counted both groups are there, and one reader runs: it is told
of as many events in the same time as the other. The workload is the user's too, so that both are told of its process.
"""

import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.counted.conditions import EVENTS, NOBODY, Unavailable, Wrong
from bench.counted.groups import Holder, as_user, held
from bench.counted.slices import DEPTHS, wait_until_quiet
from bench.daemon import Daemon
from bench.place import Place, Took, parse_workload
from bench.stats import rotate
from fanotify_fastpath import Mask

USER = 12345
IN_PROCESS, SERVED = "own process", "through daemon"
CONDITIONS = (NOBODY.name, IN_PROCESS, SERVED)
BOTH = "both readers"
#: how events are read: as they come, or when all have happened
OBJECTS, BATCHES, WAITING = "objects", "batches", "batches, later"

_N_OPERATIONS = 1000
_N_FIRST = 100
_N_FILES = 500
_N_WARM_UP, _N_PASSES = 1, 3
_SETTLE_S = 0.3
_EVENTS = EVENTS | Mask.CREATE | Mask.MODIFY | Mask.DELETE
#: of the kernel's clocks those of processes: all threads, by the scheduler's count
_CPUCLOCK_SCHED = 2
_COUNT = itertools.count()


@dataclass(frozen=True, slots=True)
class Task:
    """
    A workload.

    :ivar name: its label
    :ivar types: event types; each operation makes one event of each
    :ivar n_operations: of one pass, those before the clock starts included
    :ivar below: where it works, from the directory that is watched
    :ivar arguments: of the workload's program, with that directory as ``{top}``
    """

    name: str
    types: tuple[str, ...]
    n_operations: int
    below: str
    arguments: tuple[str, ...]

    @property
    def n_events(self) -> int:
        """Events of one pass."""
        return len(self.types) * self.n_operations

    def expected(self, top: str) -> Counter[str]:
        """The events of one pass, by type and directory."""
        return Counter({f"{name} {top}{self.below}": self.n_operations for name in self.types})


def _reading(depth: int) -> Task:
    n_levels = depth - 2
    numbers = (str(n_levels), str(_N_OPERATIONS), str(_N_FIRST))
    return Task(
        f"open, read, close at depth {depth}",
        ("open", "access", "close_nowrite"),
        _N_OPERATIONS + _N_FIRST,
        "/d" * n_levels,
        ("read-deep", "{top}", *numbers),
    )


READ, READ_DEEP = map(_reading, DEPTHS)
FILES = Task(
    "create, write, close, unlink",
    ("create", "open", "modify", "close_write", "delete"),
    _N_FILES,
    "/made",
    ("files", "{top}/made", str(_N_FILES)),
)
TASKS = (READ, READ_DEEP, FILES)
#: what is read as it comes; at another depth only the paths are longer
_LIVE_TASKS = (READ, FILES)


@dataclass(slots=True)
class DaemonTook:
    """
    What the daemon took.

    :ivar n_events: that its client was told
    :ivar busy_ns: meanwhile
    :ivar idle_ns: in a time as long, in which nothing happened
    """

    n_events: int
    busy_ns: float
    idle_ns: float


@dataclass(slots=True)
class Round:
    """
    The figures of a round.

    :ivar reading: workload and way → condition → of the reader, for an event
    :ivar working: workload → condition → of the workload, for an operation
    """

    reading: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    working: dict[str, dict[str, float]] = field(default_factory=dict)
    daemon: DaemonTook | None = None


@dataclass(slots=True)
class Served:
    """
    All figures.

    :ivar unavailable: condition, or :data:`BOTH` → why it could not be had
    :ivar wrong: likewise → what was told instead of all events
    """

    rounds: list[Round]
    unavailable: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def is_lost(self, name: str) -> bool:
        """Whether there is nothing to be had from that condition."""
        return name in self.unavailable or name in self.wrong


def measure_reading(here: Place, found: Served) -> None:
    """Count what an event takes of the readers and of the daemon, after a round that is not counted."""
    _open_up(here)
    wait_until_quiet(here)
    print(BOTH, file=sys.stderr, flush=True)
    with _noting(found, BOTH), _in_process(here) as first, _served(here) as (second, daemon):
        time.sleep(_SETTLE_S)
        holders = {IN_PROCESS: first, SERVED: second}
        for holder in holders.values():
            holder.take()  # the client has opened the root
        for task in TASKS:
            _check(here, task, holders)
        for number, one in enumerate([Round(), *found.rounds]):
            _read_round(here, holders, daemon, one, number)


def measure_working(here: Place, found: Served) -> None:
    """Let every condition have its slice of each round, to count what an operation takes of the workload."""
    for number, one in enumerate(found.rounds):
        for name in rotate(CONDITIONS, number):
            print(f"round {number + 1} of {len(found.rounds)}: {name}", file=sys.stderr, flush=True)
            if not found.is_lost(name):
                with _noting(found, name):
                    _work_slice(here, name, one)
                time.sleep(_SETTLE_S)


@contextlib.contextmanager
def _noting(found: Served, name: str) -> Iterator[None]:
    """Note why there is nothing to be had from a condition."""
    try:
        yield
    except Unavailable as error:
        found.unavailable[name] = str(error)
    except Wrong as error:
        found.wrong[name] = str(error)


def _open_up(here: Place) -> None:
    """Let the user run the workload, read what it reads and make what it makes."""
    os.chmod(here.work, 0o755)
    made = here.outside + FILES.below
    os.mkdir(made)
    os.chown(made, USER, USER)


def _work_slice(here: Place, name: str, one: Round) -> None:
    """Count what an operation takes of the workload."""
    with contextlib.ExitStack() as exits:
        holders = {}
        if name == IN_PROCESS:
            holders[name] = exits.enter_context(_in_process(here))
        elif name == SERVED:
            holders[name], _ = exits.enter_context(_served(here))
        time.sleep(_SETTLE_S)
        for task in TASKS:
            passes = [_later(here, task, holders)[0] for _ in range(_N_WARM_UP + _N_PASSES)]
            one.working.setdefault(task.name, {})[name] = _middle(passes)


def _read_round(here: Place, holders: dict[str, Holder], daemon: int, one: Round, number: int) -> None:
    """Make one pass of each kind; then let as much time go by in which nothing happens."""
    begin_s, begin_ns = time.monotonic(), _cpu_ns(daemon)
    n_events = 0
    for task in _LIVE_TASKS:
        for way in (OBJECTS, BATCHES):
            names = rotate(list(holders), number)
            one.reading[task.name, way] = {name: _live(here, task, way, holders, name) for name in names}
            n_events += len(names) * task.n_events
    for task in TASKS:
        _, one.reading[task.name, WAITING] = _later(here, task, holders)
        n_events += task.n_events
    took_s, busy_ns = time.monotonic() - begin_s, _cpu_ns(daemon) - begin_ns
    begin_ns = _cpu_ns(daemon)
    time.sleep(took_s)
    one.daemon = DaemonTook(n_events, busy_ns, _cpu_ns(daemon) - begin_ns)


@contextlib.contextmanager
def _in_process(here: Place) -> Iterator[Holder]:
    with held("kernel", _EVENTS, [[here.outside]]) as holder:
        yield holder


@contextlib.contextmanager
def _served(here: Place) -> Iterator[tuple[Holder, int]]:
    """Have a daemon and a client; return also the daemon's process."""
    with (
        contextlib.closing(Daemon(f"{here.work}/daemon{next(_COUNT)}", 'engine = "kernel"\n')) as daemon,
        held("daemon", _EVENTS, [[here.outside]], uid=USER) as holder,
    ):
        yield holder, daemon.process.pid


def _check(here: Place, task: Task, holders: dict[str, Holder]) -> None:
    """See that each event is told, by its type and its path."""
    _work(here, task)
    for holder in holders.values():
        holder.take().check(task.expected(here.outside))


def _live(here: Place, task: Task, way: str, holders: dict[str, Holder], name: str) -> float:
    """Return what one reader takes for an event that it reads as it comes; the others read afterwards."""
    with _stopped(holders) as go_on:
        holders[name].begin(f"read {way} {task.n_events}")
        go_on(name)
        _work(here, task)
        figure = _for_each(task, name, holders[name])
        for other, holder in holders.items():
            if other != name:
                _read_now(task, other, holder, go_on)
    return figure


def _later(here: Place, task: Task, holders: dict[str, Holder]) -> tuple[float, dict[str, float]]:
    """Return what the workload takes for an operation, and each reader for an event that it reads afterwards."""
    with _stopped(holders) as go_on:
        worked = _work(here, task)
        figures = {name: _read_now(task, name, holder, go_on) for name, holder in holders.items()}
    return worked.cpu_ns, figures


@contextlib.contextmanager
def _stopped(holders: dict[str, Holder]) -> Iterator[Callable[[str], None]]:
    """Let no reader run but those that are let go on, by the function that this is."""
    with contextlib.ExitStack() as exits:
        stops = {name: exits.enter_context(contextlib.ExitStack()) for name in holders}
        for name, holder in holders.items():
            stops[name].enter_context(holder.stopped())
        yield lambda name: stops[name].close()


def _read_now(task: Task, name: str, holder: Holder, go_on: Callable[[str], None]) -> float:
    """Have a reader read that is stopped."""
    holder.begin(f"read {BATCHES} {task.n_events}")
    go_on(name)
    return _for_each(task, name, holder)


def _for_each(task: Task, name: str, holder: Holder) -> float:
    answer = holder.finish()
    if answer["n_lost"] or answer["n_events"] != task.n_events:
        raise Wrong(
            f"{name}: {answer['n_events']:,} events came instead of {task.n_events:,} ({task.name}), "
            f"{answer['n_lost']:,} times or more something was lost"
        )
    took_ns: int = answer["cpu_ns"]
    return took_ns / task.n_events


def _work(here: Place, task: Task) -> Took:
    arguments = [part.format(top=here.outside) for part in task.arguments]
    command = [f"{here.work}/workload", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **as_user(USER))
    return parse_workload(done.stdout)


def _middle(passes: list[float]) -> float:
    """The median of those after warming up."""
    return statistics.median(passes[_N_WARM_UP:])


def _cpu_ns(tgid: int) -> int:
    """CPU time of a process so far, of all its threads."""
    return time.clock_gettime_ns(~tgid << 3 | _CPUCLOCK_SCHED)
