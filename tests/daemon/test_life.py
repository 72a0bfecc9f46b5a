"""The life of the daemon: its beginning and end, clients that vanish or do not read, and configurations that change."""

import fcntl
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages
from mounting import Mounter
from outcomes import wait_until

from .client import RING_BYTES, Heard, opened_as
from .slow_filesystem import SlowFilesystem
from .support import (
    DEADLINE_S,
    FOR_ALL,
    GROUPS_EACH,
    NAME,
    OTHER_USER,
    USER,
    Daemon,
    environment,
    open_up,
)
from .test_server import failed, paths

Start = Callable[..., Daemon]


# --- beginning ---


def test_a_second_daemon_is_refused_in_one_sentence(daemon: Daemon) -> None:
    done = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=DEADLINE_S, env=environment())
    assert done.returncode == 1
    assert done.stderr == f"fanfpd: cannot listen on {str(daemon.socket_path)!r}: another fanfpd serves it already\n"
    with opened_as(daemon) as user:
        assert isinstance(user.hello(), messages.Welcome)


def test_a_socket_that_was_left_is_replaced(start: Start) -> None:
    first = start(where="one")
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    assert first.socket_path.is_socket()
    second = start(where="one")
    with opened_as(second) as user:
        assert isinstance(user.hello(), messages.Welcome)


def test_what_is_no_socket_is_not_replaced(start: Start, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "fanfpd.socket").write_text("precious")
    with pytest.raises(AssertionError, match="there is something that is no socket"):
        start(where="one")
    assert (tmp_path / "one" / "fanfpd.socket").read_text() == "precious"


def test_a_wrong_configuration_is_2(daemon: Daemon) -> None:
    daemon.configure("[daemon]\nmode = 'wrong'\n")
    for more in ((), ("--check",)):
        done = subprocess.run(
            daemon.command(*more), capture_output=True, text=True, timeout=DEADLINE_S, env=environment()
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert str(daemon.config_path) in done.stderr


def test_check_says_that_the_configuration_is_right(daemon: Daemon) -> None:
    done = subprocess.run(
        daemon.command("--check"), capture_output=True, text=True, timeout=DEADLINE_S, env=environment()
    )
    assert (done.returncode, done.stdout) == (0, f"{daemon.config_path} is right\n")


def test_without_capabilities_it_is_3(daemon: Daemon) -> None:
    command = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *daemon.command()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=environment())
    assert done.returncode == 3
    assert "CAP_SYS_ADMIN" in done.stderr


def test_the_socket_is_as_configured(start: Start) -> None:
    daemon = start("[daemon]\nmode = 0o640\ngroup = 'daemon'\n")
    status = daemon.socket_path.stat()
    assert status.st_mode & 0o777 == 0o640
    assert status.st_gid != 0
    with pytest.raises(PermissionError):
        opened_as(daemon)


def test_a_socket_of_the_service_manager_is_taken_and_stays(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "given.socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as given:
        given.bind(os.fspath(path))
        given.listen()
        path.chmod(0o666)
        # what the service manager does between fork and exec
        script = 'exec 3<&"$1"; shift; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        daemon = start(before=["bash", "-c", script, "bash", str(given.fileno())], pass_fds=(given.fileno(),))
        assert not daemon.socket_path.exists()
        daemon.socket_path = path
        with opened_as(daemon) as user:
            assert isinstance(user.hello(), messages.Welcome)
        assert daemon.stop() == 0
    assert path.is_socket()


def test_it_tells_the_watchdog_that_it_lives(start: Start) -> None:
    daemon = start(WATCHDOG_USEC="300000")
    for _ in range(3):
        daemon.await_notice("WATCHDOG=1")


def test_every_descriptor_is_closed_on_exec(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top)
        user.mark_object(2, Mask.CREATE | Mask.EVENT_ON_CHILD, top)
        user.make_files(top, 1)
        user.sync()
        for fd in set(daemon.descriptors()) - {"0", "1", "2"}:
            info = Path(f"/proc/{daemon.pid}/fdinfo/{fd}").read_text()
            flags = next(line.split()[1] for line in info.splitlines() if line.startswith("flags:"))
            assert int(flags, 8) & os.O_CLOEXEC, daemon.descriptors()[fd]


# --- clients that vanish ---


def test_killed_clients_leave_nothing(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top)
    wait_until(lambda: daemon.n_threads() == 1, "the first one is gone")
    before = daemon.descriptors()
    for _ in range(3):
        users = [opened_as(daemon, uid) for uid in (USER, OTHER_USER, 0)]
        for user in users:
            assert user.watch(top)[-1] == "Done"
            user.mark_object(2, Mask.CREATE | Mask.EVENT_ON_CHILD, top)
        assert daemon.n_groups() == 3 * GROUPS_EACH
        for user in users:
            user.kill()
        wait_until(lambda: daemon.n_threads() == 1, "their threads are gone")
        assert daemon.descriptors() == before


def test_the_end_of_a_connection_gives_back_what_it_had(start: Start, top: Path) -> None:
    daemon = start(FOR_ALL + "[limits]\ngroups_per_user = 1\nconnections_per_user = 1\n")
    for _ in range(3):
        with opened_as(daemon) as user:
            assert user.watch(top)[-1] == "Done"
        wait_until(lambda: daemon.n_threads() == 1, "it is gone")


# --- clients that do not read ---


def test_a_client_that_does_not_read_loses_alone_and_is_told(daemon: Daemon, top: Path) -> None:
    n_files = 4000
    with opened_as(daemon) as lazy, opened_as(daemon, OTHER_USER) as other:
        lazy.watch(top, Mask.CREATE)
        other.watch(top, Mask.CREATE, ring_bytes=1 << 22)
        other.make_files(top, n_files)
        assert len(paths(other.hear(), Mask.CREATE, top)) == n_files
        counters = lazy.sync()
        assert counters["n_dropped"] > 0
        if NAME == "kernel":  # where that answer tells it, and no record
            assert len(lazy.read()) + counters["n_dropped"] == n_files
            return
        heard: list[Heard] = []

        def is_told() -> bool:
            heard.extend(lazy.read())
            return heard[-1].is_told

        wait_until(is_told, "the loss is told, though nothing more happens")
        assert not any(each.is_told or each.n_dropped for each in heard[:-1])
        assert (heard[-1].mask, heard[-1].n_dropped) == (Mask.Q_OVERFLOW, counters["n_dropped"])
        assert len(heard) - 1 + counters["n_dropped"] == n_files
        lazy.make_files(top, 1, "last")
        assert [(each.path, each.n_dropped) for each in lazy.hear()] == [(str(top / "last0"), counters["n_dropped"])]


def test_a_full_ring_costs_no_time(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as lazy:
        lazy.watch(top, Mask.CREATE)
        lazy.make_files(top, 2000)
        assert lazy.sync()["n_dropped"] > 0
        before = cpu_s(daemon)
        time.sleep(1)
        assert cpu_s(daemon) - before < 0.25


def test_requests_are_answered_while_much_happens(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as busy, opened_as(daemon, OTHER_USER) as maker, opened_as(daemon, OTHER_USER) as other:
        busy.watch(top, Mask.ALL_EVENTS | Mask.ONDIR, ring_bytes=RING_BYTES)
        other.hello()
        maker.begin("make_files", top, 20_000)
        for n in range(20):
            assert failed(busy.mark(1, Mask.CREATE, 0)) == "InvalidArgument"
            assert other.ask_many(1) == ["Statuses"], n
        maker.finish()
        assert busy.sync()["n_dropped"] > 0


def cpu_s(daemon: Daemon) -> float:
    """Time that the daemon has used."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- too many of them ---


@pytest.mark.parametrize("n_left", [0, 1, 2])
def test_it_survives_having_no_descriptor_left(daemon: Daemon, top: Path, n_left: int) -> None:
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (len(daemon.descriptors()) + n_left, limits[1]))
        with opened_as(daemon, OTHER_USER) as other:
            other.begin("connect_many", 6)
            wait_until(lambda: "cannot accept" in daemon.log() or "refused" in daemon.log(), "it has none left")
            before = cpu_s(daemon)
            time.sleep(1)
            assert cpu_s(daemon) - before < 0.25
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
            other.finish()
            other.connect()
            other.watch(top, Mask.CREATE)
            other.make_files(top, 1)
            assert paths(other.hear(), Mask.CREATE, top) == ["file0"]
        assert daemon.log().count("\n") < 200


def test_groups_are_refused_before_there_is_no_descriptor_left(start: Start, top: Path) -> None:
    daemon = start(FOR_ALL, before=["prlimit", "--nofile=1000:1000"])
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other:
        other.watch(top, Mask.CREATE)
        user.hello()
        answers = []
        while isinstance(answer := user.open(), messages.Opened):
            answers.append(answer)
            user.connect()
            user.hello()
        assert failed(answer) == "LimitReached"
        assert "LimitNOFILE" in answer.message
        assert len(answers) > 1
        other.make_files(top, 1)
        assert paths(other.hear(), Mask.CREATE, top) == ["file0"]


# --- configurations that change ---


def test_a_reload_holds_from_then_on_and_drops_nothing(daemon: Daemon, top: Path) -> None:
    open_up_new(top / "a")
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        user.make_files(top, 1)
        daemon.configure(FOR_ALL + "[limits]\nroots_per_group = 1\n")
        daemon.reload()
        user.make_files(top, 2)
        assert paths(user.hear(), Mask.CREATE, top) == ["file0", "file1"]
        assert failed(user.include(0, 2, top / "a")) == "LimitReached"
        daemon.configure(FOR_ALL)
        daemon.reload()
        assert isinstance(user.include(0, 2, top / "a"), messages.Done)


def test_a_wrong_configuration_is_not_taken(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        daemon.configure("[daemon]\nmode = 'wrong'\n")
        daemon.reload()
        assert "the configuration is not taken" in daemon.log()
        user.make_files(top, 1)
        assert paths(user.hear(), Mask.CREATE, top) == ["file0"]
        with opened_as(daemon) as another:
            assert isinstance(another.hello(), messages.Welcome)


def test_users_who_may_no_longer_are_sent_away(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other:
        user.watch(top, Mask.CREATE)
        other.watch(top, Mask.CREATE)
        daemon.configure(FOR_ALL + f"[[rule]]\nusers = [{USER}]\nallow = false\n")
        daemon.reload()
        assert isinstance(user.answer(), messages.Gone)
        assert user.answer() is None
        user.connect()
        assert failed(user.hello()) == "NotPermitted"
        other.make_files(top, 1)
        assert paths(other.hear(), Mask.CREATE, top) == ["file0"]


# --- end ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_clients_are_told(daemon: Daemon, top: Path, number: int) -> None:
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other:
        user.watch(top)
        other.hello()
        assert daemon.stop(number) == 0
        for each in (user, other):
            assert isinstance(each.answer(), messages.Gone)
            assert each.answer() is None
    assert not daemon.socket_path.exists()
    assert daemon.await_notice("STOPPING=1")


def test_what_happened_before_the_end_can_still_be_read(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        user.make_files(top, 3)
        user.sync()
        daemon.stop()
        assert paths(user.read(), Mask.CREATE, top) == ["file0", "file1", "file2"]


def test_a_client_that_reads_nothing_delays_no_end(daemon: Daemon) -> None:
    with opened_as(daemon) as user:
        user.hello()
        user.flood([messages.encode(messages.Status(1))], 100_000)
        wait_until(lambda: sleeping_threads(daemon) == 2, "the session waits for room")
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 4


@pytest.fixture
def slow(mounts: Mounter) -> Iterator[tuple[SlowFilesystem, Path]]:
    """A filesystem that can be told to hang, and where it is."""
    mountpoint = mounts.new_dir("slow")
    with SlowFilesystem(mountpoint) as filesystem:
        yield filesystem, mountpoint


@pytest.mark.parametrize("taking", [False, True])
def test_a_request_that_hangs_holds_up_nobody_else(
    daemon: Daemon, top: Path, slow: tuple[SlowFilesystem, Path], taking: bool
) -> None:
    filesystem, mountpoint = slow
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other:
        user.watch(top, Mask.CREATE)
        fd = user.open_path(mountpoint)
        filesystem.hang(taking=taking)
        user.begin("ask", messages.Include, fd, set=0, root=2, included=True, path=b"/slow")
        other.watch(top, Mask.CREATE)
        other.make_files(top, 100)
        assert len(other.hear()) == 100
        assert len(other.ask_many(20)) == 20
        wait_until(filesystem.is_waited_for, "the session waits for the filesystem")
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        assert isinstance(other.answer(), messages.Gone)
        wait_until(lambda: not daemon.socket_path.exists(), "the socket is gone")
        # without an answer the kernel itself cannot end that thread; but nothing is kept open by it
        wait_until(lambda: daemon.n_groups() == 0, "the groups are closed")
        assert time.monotonic() - began < 4
        filesystem.abort()
        assert daemon.process.wait(DEADLINE_S) == 0
        assert user.finish() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_marked_afterwards(daemon: Daemon, top: Path, number: int) -> None:
    """A mark would keep what it is on: a directory in memory that somebody else watches is counted by the kernel."""
    with opened_as(daemon) as user:
        user.watch(top)
        user.mark_object(2, Mask.CREATE | Mask.EVENT_ON_CHILD, top)
        marked = Path(f"/proc/{daemon.pid}/fdinfo")
        assert any(
            "fanotify sdev" in each.read_text() or "fanotify ino" in each.read_text() for each in marked.iterdir()
        )
        daemon.stop(number)
        assert not marked.exists()
        assert not others_with_its_groups(daemon)


def others_with_its_groups(daemon: Daemon) -> list[str]:
    """Processes that have inherited fanotify groups of a daemon that is gone."""
    found = []
    for directory in Path("/proc").glob("[0-9]*/fd"):
        try:
            links = [os.readlink(fd) for fd in directory.iterdir()]
            command = (directory.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if "anon_inode:[fanotify]" in links and os.fsencode(daemon.socket_path) in command:
            found.append(str(directory))
    return found


def sleeping_threads(daemon: Daemon) -> int:
    """Number of its threads, if all of them sleep."""
    tasks = list(Path(f"/proc/{daemon.pid}/task").iterdir())
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks]
    return len(states) if set(states) == {"S"} else 0


def open_up_new(path: Path) -> Path:
    path.mkdir()
    return open_up(path)


def test_locks_end_with_the_daemon(start: Start) -> None:
    daemon = start()
    lock = Path(f"{daemon.socket_path}.lock")
    with lock.open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        daemon.stop()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
