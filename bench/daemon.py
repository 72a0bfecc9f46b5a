"""
The daemon with many clients: what one that is stopped costs the others, and what an event costs at all.

Each of the clients is an ordinary user with a directory of its own; files are made in all of them in turn, and twice as
many in that of the client that is stopped, so that its ring is full. Rounds with it stopped and with it running take
turns. Needs root, gcc and mkfs.ext4; works on a filesystem of its own, and raises the kernel's limit of fanotify groups
while it runs.

    python -m bench.daemon [--rounds N] [--clients N]
"""

import argparse
import contextlib
import itertools
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import BinaryIO

from bench.outputs import parse_cpu_ticks
from bench.place import place
from bench.report import Table, Target
from bench.stats import Spread, format_ns, format_ratio, ratios
from fanotify_fastpath import Group, Mask
from fanotify_fastpath._wire.addresses import SOCKET_VARIABLE
from fanotify_fastpath.group import EngineName

FIRST_UID = 20_000
SMALL_RING = '[limits]\nring_bytes = "64 KiB"\n'
MAX_RISE = 1.10
_N_STEPS, _STEP_S = 1000, 0.006
_N_STORM = 20_000
_N_ATTEMPTS, _ATTEMPT_S = 20, 10.0
_GROUPS_PATH = Path("/proc/sys/fs/fanotify/max_user_groups")
_N_FILES = 1 << 17
#: where this machine does not allow so many descriptors, fewer are promised to each client: it does not need them here
_DAEMON = f"""
import sys, resource
from fanotify_fastpath._daemon import descriptors, main
if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < {_N_FILES}:
    descriptors.PER_GROUP = 48
sys.exit(main.main())
"""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Heard:
    """What a client has heard in one round: delays in nanoseconds, and how often it was told of losses."""

    delays_ns: list[int] = field(default_factory=list)
    n_overflows: int = 0
    cpu_s: float = 0.0


class Client:
    """
    A process that watches one directory.

    :param uid: the user that it is; 0: it stays root
    """

    def __init__(self, directory: str, engine: EngineName, uid: int) -> None:
        self.directory = directory
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _listen(directory, engine, uid, os.fdopen(writer, "wb"))
        os.close(writer)
        self._results = open(reader, "rb")  # noqa: SIM115
        self.take()  # it listens

    def end_round(self, number: int) -> Heard:
        """Return what it has heard in this round, when it has come to its end, which is told again if that is lost."""
        for attempt in range(_N_ATTEMPTS):
            make(self.directory, f"end-{number}-{attempt}")
            if select.select([self._results], [], [], _ATTEMPT_S)[0]:
                return self.take()
        raise TimeoutError(f"a client has not heard of the end of its round: {self.directory}")

    def take(self) -> Heard:
        """Wait for what it hands out."""
        heard = pickle.load(self._results)
        if isinstance(heard, BaseException):
            raise heard
        assert isinstance(heard, Heard)
        return heard

    def close(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._results.close()


def _listen(directory: str, engine: EngineName, uid: int, results: BinaryIO) -> None:
    """In the child, which never returns."""

    def tell(what: object) -> None:
        pickle.dump(what, results)
        results.flush()

    try:
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        with Group(engine=engine) as group:
            group.mark(directory, Mask.CREATE)
            heard, number = Heard(), 0
            tell(heard)
            while True:
                for event in group.read():
                    now_ns = time.monotonic_ns()
                    name = os.path.basename(event.path or "")
                    if event.mask & Mask.Q_OVERFLOW:
                        heard.n_overflows += 1
                    elif name.startswith("end-"):
                        if int(name.split("-")[1]) == number:
                            heard.cpu_s = time.process_time()
                            tell(heard)
                            heard, number = Heard(), number + 1
                    elif name:
                        heard.delays_ns.append(now_ns - int(name.split("-")[0]))
    except BaseException as exc:
        with contextlib.suppress(OSError):
            tell(exc)
    finally:
        os._exit(1)


class Daemon:
    """A ``fanfpd`` of the benchmark's own."""

    def __init__(self, directory: str, config: str = "") -> None:
        os.makedirs(directory)
        socket, config_path = f"{directory}/socket", f"{directory}/config"
        Path(config_path).write_text(f"[daemon]\nmode = 0o666\n{config}", encoding="utf-8")
        command = [sys.executable, "-c", _DAEMON, "--socket", socket, "--config", config_path]
        self.process = subprocess.Popen([*command, "--log-level", "warning"])
        while not os.path.exists(socket):
            if self.process.poll() is not None:
                raise RuntimeError("the daemon did not start")
            time.sleep(0.05)
        os.environ[SOCKET_VARIABLE] = socket

    def cpu_s(self) -> float:
        """Processor time so far."""
        return parse_cpu_ticks(Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")) / _TICKS

    def settle(self) -> None:
        """Wait until it has nothing to do."""
        before = -1.0
        while self.cpu_s() - before > 1 / _TICKS:
            before = self.cpu_s()
            time.sleep(0.5)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def make(directory: str, name: str) -> None:
    """Make a file."""
    os.close(os.open(f"{directory}/{name}", os.O_CREAT | os.O_WRONLY, 0o644))


# --- one that is stopped ---


def play(clients: list[Client], number: int, *, is_stopped: bool) -> tuple[float, int]:
    """
    Play one round.

    :return: median delay of the clients that were not stopped, and how many events they have missed
    """
    first, others = clients[0], clients[1:]
    n_made = dict.fromkeys(range(len(others)), 0)
    if is_stopped:
        os.kill(first.pid, signal.SIGSTOP)
    next_s = time.monotonic()
    for step in range(_N_STEPS):
        at = step % len(others)
        make(first.directory, f"{time.monotonic_ns()}-{step}")
        make(others[at].directory, f"{time.monotonic_ns()}-{step}")
        n_made[at] += 1
        next_s += _STEP_S
        time.sleep(max(0.0, next_s - time.monotonic()))
    if is_stopped:
        os.kill(first.pid, signal.SIGCONT)
        time.sleep(0.5)  # there must be room for the end in its ring
    found = [client.end_round(number) for client in clients]
    if is_stopped and not found[0].n_overflows:
        raise RuntimeError("the ring of the client that was stopped was not full")
    n_lost = sum(n_made[at] - len(heard.delays_ns) for at, heard in enumerate(found[1:]))
    return median(delay for heard in found[1:] for delay in heard.delays_ns), n_lost


def stopped(inside: str, work: str, n_rounds: int, n_clients: int) -> Table:
    """One of many clients is stopped."""
    rounds: list[dict[str, float]] = []
    n_lost = 0
    with contextlib.ExitStack() as exits:
        daemon = Daemon(f"{work}/crowd", SMALL_RING)
        exits.callback(daemon.close)
        clients = []
        for n in range(n_clients):
            directory = f"{inside}/{n}"
            os.mkdir(directory)
            clients.append(Client(directory, "daemon", FIRST_UID + n))
            exits.callback(clients[-1].close)
        numbers = itertools.count()
        for is_stopped in (False, True):  # each group learns which directories are not its own
            play(clients, next(numbers), is_stopped=is_stopped)
            daemon.settle()
        for number in range(1, n_rounds + 1):
            one: dict[str, float] = {}
            for is_stopped in (False, True) if number % 2 else (True, False):
                delay_ns, n = play(clients, next(numbers), is_stopped=is_stopped)
                one["stopped" if is_stopped else "running"] = delay_ns
                n_lost += n
            rounds.append(one)
    rise = Spread.of(ratios(rounds, "stopped", "running"))
    table = Table(f"{n_clients} clients, one of them stopped", ("", "median delay", "lowest - highest"))
    for name in ("running", "stopped"):
        spread = Spread.of(one[name] for one in rounds)
        table.lines.append([name, format_ns(spread.median), f"{format_ns(spread.low)} - {format_ns(spread.high)}"])
    table.notes += [
        "delay of the others: from just before a file is made until its event is there, in Python",
        "half of the events are those of the one that is stopped, which then takes no processor time for them",
    ]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < _N_FILES:
        table.notes.append(f"with {limit} descriptors, fewer of them are promised to each client than usually")
    table.targets = [
        Target("the others lose nothing", f"{n_lost} lost", n_lost == 0),
        Target("their median delay rises by less than 10 %", format_ratio(rise), rise.median < MAX_RISE),
    ]
    table.figures = {"rounds": rounds, "n_lost": n_lost}
    return table


# --- what an event costs ---


@dataclass(frozen=True)
class Cost:
    """Of one storm: events in a second, processor time for each, and how many were lost."""

    per_s: float
    listener_ns: float
    daemon_ns: float
    n_lost: int


def storm(inside: str, name: str, engine: EngineName, daemon: Daemon | None) -> Cost:
    """Make files as fast as possible, and wait until the one listener has heard of the last."""
    directory = f"{inside}/{name}"
    os.mkdir(directory)
    client = Client(directory, engine, FIRST_UID if engine == "daemon" else 0)
    try:
        before = client.end_round(0)
        daemon_s = daemon.cpu_s() if daemon else 0.0
        begin_s = time.monotonic()
        for n in range(_N_STORM):
            make(directory, f"{time.monotonic_ns()}-{n}")
        heard = client.end_round(1)
        took_s = time.monotonic() - begin_s
        n_heard = len(heard.delays_ns)
        daemon_s = (daemon.cpu_s() if daemon else 0.0) - daemon_s
        listener_s = heard.cpu_s - before.cpu_s
        return Cost(n_heard / took_s, listener_s * 1e9 / n_heard, daemon_s * 1e9 / n_heard, _N_STORM - n_heard)
    finally:
        client.close()


def costs(inside: str, work: str, n_rounds: int) -> Table:
    """The daemon against engine fanotify in the listener's own process."""
    found: dict[EngineName, list[Cost]] = {"daemon": [], "fanotify": []}
    with contextlib.closing(Daemon(f"{work}/alone")) as daemon:
        for number in range(n_rounds):
            for engine in sorted(found, reverse=bool(number % 2)):
                serving = daemon if engine == "daemon" else None
                found[engine].append(storm(inside, f"{engine}{number}", engine, serving))
    columns: list[tuple[str, Callable[[Cost], float], Callable[[float], str]]] = [
        ("events in a second", lambda cost: cost.per_s, lambda value: f"{value:,.0f}"),
        ("listener, for each", lambda cost: cost.listener_ns, format_ns),
        ("daemon, for each", lambda cost: cost.daemon_ns, format_ns),
        ("lost", lambda cost: cost.n_lost, lambda value: f"{value:.0f}"),
    ]
    table = Table("what an event costs, in processor time", ("engine", *(name for name, _, _ in columns)))
    for engine, all_costs in found.items():
        cells = []
        for _, get, show in columns:
            spread = Spread.of(get(cost) for cost in all_costs)
            cells.append(f"{show(spread.median)} ({show(spread.low)}-{show(spread.high)})")
        table.lines.append([engine, *cells])
    table.notes.append(f"one listener, {_N_STORM} files made by one process as fast as it can; no target")
    table.figures = {engine: [vars(cost) for cost in all_costs] for engine, all_costs in found.items()}
    return table


@contextlib.contextmanager
def many_groups(n_clients: int) -> Iterator[None]:
    """Have the kernel allow enough groups, and put back what was."""
    before = _GROUPS_PATH.read_text(encoding="ascii")
    _GROUPS_PATH.write_text(str(max(int(before), 4 * n_clients)), encoding="ascii")
    try:
        yield
    finally:
        _GROUPS_PATH.write_text(before, encoding="ascii")


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.daemon", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds of each table (default 7)")
    parser.add_argument("--clients", type=int, default=200, metavar="N", help="clients at once (default 200)")
    options = parser.parse_args()
    with contextlib.suppress(ValueError):  # as the service's unit does, for the daemon
        resource.setrlimit(resource.RLIMIT_NOFILE, (_N_FILES, _N_FILES))
    print(f"Linux {os.uname().release}, {os.cpu_count()} cores; load before: {os.getloadavg()[0]:.2f}", flush=True)
    with place(None) as here, many_groups(options.clients):
        for path in (here.work, here.mount, here.inside):
            os.chmod(path, 0o755)
        for table in (
            stopped(here.inside, here.work, options.rounds, options.clients),
            costs(here.inside, here.work, options.rounds),
        ):
            table.notes.append(f"{options.rounds} rounds")
            print(table, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
