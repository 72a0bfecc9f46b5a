"""Many clients at once: some are stopped, or the daemon is killed under load, and the others lose nothing."""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fanotify_fastpath import Event, Mask
from fanotify_fastpath._wire.addresses import SOCKET_VARIABLE
from outcomes import wait_until

from .client import Client
from .listening import Listener
from .support import Daemon, Puppet
from .test_server import open_up_new, paths

N_CLIENTS, N_STOPPED, N_ROUNDS = 50, 3, 6
FIRST_UID = 20_000
_GROUPS_PATH = Path("/proc/sys/fs/fanotify/max_user_groups")
Start = Callable[..., Daemon]


@pytest.fixture
def _many_groups() -> Iterator[None]:
    """Have the kernel allow so many groups; its default is for fewer."""
    before = _GROUPS_PATH.read_text()
    _GROUPS_PATH.write_text(str(max(int(before), 1024)))
    yield
    _GROUPS_PATH.write_text(before)


# --- clients that are stopped ---


@pytest.mark.attack
@pytest.mark.usefixtures("_many_groups")
def test_fifty_clients_lose_nothing_though_some_are_stopped(start: Start, top: Path) -> None:
    daemon = start()
    shared = open_up_new(top / "shared")
    with ExitStack() as exits:
        clients = [
            exits.enter_context(Puppet(lambda: Client(daemon.socket_path), FIRST_UID + n)) for n in range(N_CLIENTS)
        ]
        for n, client in enumerate(clients):
            assert client.watch(open_up_new(top / f"{n}"), Mask.CREATE | Mask.ONDIR, ring_bytes=1 << 16)[-1] == "Done"
            client.include(0, 2, shared)
        stopped, others = clients[:N_STOPPED], list(enumerate(clients))[N_STOPPED:]
        for client in stopped:
            os.kill(client.pid, signal.SIGSTOP)
        for number in range(N_ROUNDS):
            made = make_round(top, number)
            for _, client in others:
                client.begin("hear")
            for n, client in others:  # each has its turn, in each round
                assert paths(client.finish(), Mask.CREATE, top) == [f"shared/{each}" for each in made] + [
                    f"{n}/{each}" for each in made
                ]
        for client in stopped:
            os.kill(client.pid, signal.SIGCONT)
        for n, client in enumerate(stopped):
            counters, heard = client.sync(), client.read()
            n_made = N_ROUNDS * len(made) * 2
            assert counters["n_put"] + counters["n_dropped"] == n_made
            assert counters["n_dropped"] > 0
            told = paths(heard, Mask.CREATE, top)
            assert len(told) == n_made - counters["n_dropped"]
            assert all(path.startswith(("shared/", f"{n}/")) for path in told)
        assert daemon.process.poll() is None


def make_round(top: Path, number: int) -> list[str]:
    """Make files in each client's directory and in the one that all watch; their names."""
    names = [f"{number}-{n}" for n in range(40)]
    for directory in ("shared", *(str(n) for n in range(N_CLIENTS))):
        for name in names:
            os.mkdir(top / directory / name) if directory == "shared" else (top / directory / name).touch()
    return names


# --- a daemon that is killed ---


def marks_on(device: int) -> list[str]:
    """All fanotify marks on a filesystem, or on what is in it, of any process."""
    found = []
    pattern = re.compile(rf"^fanotify .*sdev:{os.major(device) << 20 | os.minor(device):x} .*$", re.MULTILINE)
    for path in Path("/proc").glob("[0-9]*/fdinfo/*"):
        try:
            found += pattern.findall(path.read_text())
        except OSError:
            continue
    return found


class Load:
    """Directories that are made in several places, in turn, without end; and files that are written and read."""

    def __init__(self, places: list[Path]) -> None:
        self.places = places
        self.made: list[str] = []
        self.is_over = False
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            while not self.is_over:
                name = f"{len(self.made)}"
                for place in self.places:
                    (place / name).mkdir()
                    (place / "file").write_text(name)
                    assert (place / "file").read_text() == name
                self.made.append(name)
        except OSError as exc:
            self.error = exc

    @contextmanager
    def running(self) -> Iterator["Load"]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self.is_over = True
            thread.join()
        assert self.error is None, "something was denied"

    def more(self, n: int) -> None:
        """Wait until so much more was made."""
        before = len(self.made)
        wait_until(lambda: len(self.made) >= before + n, "more load")


def test_a_daemon_that_is_killed_under_load_leaves_nothing_and_is_missed_by_nobody(
    start: Start, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = start(where="daemon")
    monkeypatch.setenv(SOCKET_VARIABLE, os.fspath(daemon.socket_path))
    places = [open_up_new(top / f"{n}") for n in range(4)]
    device = top.stat().st_dev
    with ExitStack() as exits:
        listeners = [exits.enter_context(Puppet(Listener, FIRST_UID + n)) for n in range(len(places))]
        for listener, place in zip(listeners, places, strict=True):
            listener.mark(place, Mask.CREATE | Mask.ONDIR)
        heard: list[list[Event]] = [[] for _ in listeners]
        with Load(places).running() as load:
            for _ in range(2):
                load.more(50)
                assert marks_on(device)
                daemon.stop(signal.SIGKILL)
                assert not marks_on(device), "the kernel has taken all away"
                load.more(20)
                for at, listener in enumerate(listeners):
                    heard[at] += listener.until(mask=int(Mask.Q_OVERFLOW))
                daemon = start(where="daemon")
                for at, listener in enumerate(listeners):
                    heard[at] += listener.until(mask=int(Mask.RESCAN))
            load.more(50)
        for at, (listener, place) in enumerate(zip(listeners, places, strict=True)):
            heard[at] += listener.hear(place)
            check_gaps(heard[at], place, load.made)
        assert marks_on(device)
    daemon.stop()
    assert not marks_on(device)


def check_gaps(heard: list[Event], place: Path, made: list[str]) -> None:
    """See that each gap is told, that nothing is missing elsewhere, and that nothing is told twice."""
    news = [event for event in heard if not event.mask & Mask.CREATE]
    assert [event.mask for event in news] == [Mask.Q_OVERFLOW, Mask.RESCAN] * 2
    assert {event.path for event in news} == {None, os.fspath(place)}
    parts: list[list[int]] = [[]]
    for event in heard:
        if event.mask & Mask.RESCAN:
            parts.append([])
        elif event.path and os.path.basename(event.path).isdigit():
            parts[-1].append(int(os.path.basename(event.path)))
    for part in parts:
        assert part == list(range(part[0], part[0] + len(part))), "something is missing between two gaps"
        assert len(part) >= 20
    assert [part[0] for part in parts] == sorted(part[0] for part in parts)
    assert parts[0][0] == 0
    assert parts[-1][-1] == len(made) - 1
