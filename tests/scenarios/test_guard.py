"""Forbidding: who is refused what, by which route; and that whoever dies, hangs or stops, nobody waits for long."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fanotify_fastpath as fan
from conftest import Filesystem, Mounter, everywhere
from fanotify_fastpath import Event, Group, Guard, Mask, Scope, guard

from . import actions
from .support import Other, wait_until

SRC = Path(fan.__file__).parent.parent
#: for tests in which nobody is late
SHORT_S = 1.0
NOBODY = 65534

# A listener in its own process: it says when it is ready, then does about each question what its last argument says.
LISTENER = r"""
import ctypes, os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import fanotify_fastpath as fan
def decide(event):
    os.write(1, b"asked\n")  # print writes the line and its end apart
    if sys.argv[4] == "gil":
        ctypes.PyDLL(None).sleep(60)
    time.sleep(60)
with fan.guard(sys.argv[2], decide=None if sys.argv[4] == "deny" else decide, timeout_s=float(sys.argv[3])) as g:
    print("ready", g.group._permission._guardian.tgid, flush=True)
    time.sleep(60)
"""


class Listener:
    """A guard in a process of its own."""

    def __init__(self, path: Path, timeout_s: float, how: str) -> None:
        arguments = [sys.executable, "-c", LISTENER, str(SRC), str(path), str(timeout_s), how]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.guardian_pid = int(self.line().split()[1])

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        wait_until(lambda: not os.path.exists(f"/proc/{self.guardian_pid}"), "the guardian ends")


@contextmanager
def listening(path: Path, timeout_s: float, how: str = "sleep") -> Iterator[Listener]:
    listener = Listener(path, timeout_s, how)
    try:
        yield listener
    finally:
        listener.close()


def refusal(other: Other, function: Callable[..., object], *arguments: object) -> str:
    """Name of the error that another process gets; "ok" if none."""
    try:
        other(function, *arguments)
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]
    return "ok"


def timed_read(other: Other, path: Path) -> tuple[str, float]:
    start = time.monotonic()
    return refusal(other, actions.read, path), time.monotonic() - start


def hear(guarded: Guard, claim: Callable[[list[Event]], object], what: str) -> list[Event]:
    """Return the events up to when *claim* holds for them."""
    events: list[Event] = []

    def heard() -> object:
        events.extend(guarded.read(timeout_s=0.1))
        return claim(events)

    wait_until(heard, what)
    return events


def guardian_of(guarded: Guard) -> int:
    assert guarded.group._permission is not None
    assert guarded.group._permission._guardian is not None
    return guarded.group._permission._guardian.tgid


@pytest.fixture
def top(filesystem: Filesystem) -> Path:
    """``in/`` is for guarding, ``out/`` is not."""
    for name in ("in/deep/er", "out/deep"):
        (filesystem.dir / name).mkdir(parents=True)
    for name in ("in/f", "in/deep/er/f", "out/f", "out/deep/f"):
        (filesystem.dir / name).write_bytes(b"content")
    return filesystem.dir


def program(path: Path) -> Path:
    return Path(shutil.copy("/bin/true", path))


def execute(path: Path) -> str:
    try:
        return "ok" if subprocess.run([path], check=False).returncode == 0 else "failed"
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]


# --- what is refused ---


@everywhere
def test_block_mode_denies_below_the_root_and_nothing_else(top: Path, filesystem: Filesystem, other: Other) -> None:
    with Group(timeout_s=SHORT_S) as group:
        group.mark(filesystem.mountpoint, Mask.OPEN_PERM, scope=Scope.FILESYSTEM)
        group.attach("monitor-subtree", roots=[top / "in"], mode="block")
        for _ in range(3):
            assert refusal(other, actions.write, top / "in/xx") == "EPERM"
            assert refusal(other, actions.write, top / "in/deep/er/f") == "EPERM"
            assert refusal(other, actions.write, top / "xx") == "ok"
            assert refusal(other, actions.write, top / "out/deep/f") == "ok"
        assert group.read(timeout_s=0.1) == []
    assert refusal(other, actions.write, top / "in/xx") == "ok"


@everywhere
def test_a_guarded_file_can_be_neither_opened_nor_executed(top: Path, other: Other) -> None:
    inside, outside = program(top / "in/deep/program"), program(top / "out/program")
    with guard(top / "in", timeout_s=SHORT_S) as guarded:
        for _ in range(2):
            assert refusal(other, actions.read, top / "in/f") == "EPERM"
            assert refusal(other, actions.read, top / "out/f") == "ok"
            assert execute(inside) == "EPERM"
            assert execute(outside) == "ok"
        events = hear(guarded, lambda heard: len(heard) >= 4, "four attempts are told")
    first = events[0]
    assert (first.mask, first.path, first.tgid) == (Mask.OPEN_PERM, str(top / "in/f"), other.pid)
    assert (first.uid, first.is_dir, first.inode) == (0, False, (top / "in/f").stat().st_ino)
    assert first.dev == (top / "in/f").stat().st_dev
    assert first.exe == os.path.realpath(sys.executable)
    assert first.comm is not None
    assert {event.path for event in events} == {str(top / "in/f"), str(inside)}
    assert execute(inside) == "ok"


def test_only_execution_is_refused_when_only_that_is_asked_for(top: Path, other: Other) -> None:
    inside = program(top / "in/program")
    with guard(top / "in", deny=Mask.OPEN_EXEC_PERM, timeout_s=SHORT_S):
        assert refusal(other, actions.read, inside) == "ok"
        assert execute(inside) == "EPERM"


def open_then_reopen(path: Path, release: Path) -> bytes:
    """Open (before the guard), then open again through the descriptor."""
    return actions.read(path)


ROUTES = ["path", "relative", "symlink", "bind", "file bind", "hard link inside", "own fd", "deleted fd", "dir fd"]


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_to_a_guarded_file_is_refused(top: Path, other: Other, mounts: Mounter, route: str) -> None:
    file = top / "in/deep/er/f"
    target: str | Path = file
    if route == "relative":
        target = top / "out/../in/./deep/er/f"
    elif route == "symlink":
        (top / "out/link").symlink_to(file)
        target = top / "out/link"
    elif route == "bind":
        target = mounts.bind(top / "in/deep") / "er/f"
    elif route == "file bind":
        target = mounts.bind(file, program(top / "out/mountpoint"))
    elif route == "hard link inside":
        os.link(top / "out/f", top / "in/deep/link")
        target = top / "in/deep/link"
    fd = -1
    if route in ("own fd", "deleted fd", "dir fd"):
        fd = os.open(file.parent if route == "dir fd" else file, os.O_RDONLY)
        target = f"/proc/{os.getpid()}/fd/{fd}" + ("/f" if route == "dir fd" else "")
        if route == "deleted fd":
            file.unlink()
    try:
        with guard(top / "in", timeout_s=SHORT_S):
            assert [refusal(other, actions.read, target) for _ in range(2)] == ["EPERM", "EPERM"]
        assert refusal(other, actions.read, target) == "ok"
    finally:
        if fd >= 0:
            os.close(fd)


def test_a_hard_link_outside_is_free_whatever_its_other_name_is(top: Path, other: Other) -> None:
    os.link(top / "in/f", top / "out/link")
    with guard(top / "in", timeout_s=SHORT_S):
        for _ in range(3):
            assert refusal(other, actions.read, top / "out/link") == "ok"
            assert refusal(other, actions.read, top / "in/f") == "EPERM"


def test_a_single_file_is_guarded_by_all_its_names(top: Path, other: Other) -> None:
    with guard(top / "in/f", timeout_s=SHORT_S):
        assert refusal(other, actions.read, top / "in/deep/er/f") == "ok"
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        (top / "in/f").rename(top / "out/renamed")
        assert refusal(other, actions.read, top / "out/renamed") == "EPERM"
        os.link(top / "out/renamed", top / "out/deep/link")
        assert refusal(other, actions.read, top / "out/deep/link") == "EPERM"
        assert refusal(other, actions.read, top / "out/f") == "ok"


def test_a_tree_deeper_than_any_path_is_guarded_and_one_outside_is_not(top: Path, other: Other) -> None:
    fds = []
    for name in ("in", "out"):
        fd = os.open(top / name, os.O_RDONLY)
        for _ in range(40):
            os.mkdir("d" * 200, dir_fd=fd)
            deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = deeper
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd))
        fds.append(fd)
    try:
        with guard(top / "in", timeout_s=SHORT_S):
            inside, outside = (refusal(other, actions.read, f"/proc/{os.getpid()}/fd/{fd}/f") for fd in fds)
            assert (inside, outside) == ("EPERM", "ok")
    finally:
        for fd in fds:
            os.close(fd)


def test_reading_can_be_refused_with_the_file_open(top: Path, other: Other) -> None:
    with guard(top / "in", deny=Mask.ACCESS_PERM, timeout_s=SHORT_S):
        assert refusal(other, actions.touch, top / "in/f") == "ok"
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "out/f") == "ok"


def test_access_can_be_refused_before_there_is_content(top: Path, other: Other) -> None:
    try:
        guarded = guard(top / "in", deny=Mask.PRE_ACCESS, timeout_s=SHORT_S)
    except fan.UnsupportedFeature as exc:
        pytest.skip(str(exc))
    with guarded:
        for _ in range(2):
            assert refusal(other, actions.read, top / "in/f") == "EPERM"
            assert refusal(other, actions.read, top / "out/f") == "ok"


def test_exceptions_are_free_and_roots_below_them_are_not(top: Path, other: Other) -> None:
    with guard(top / "in", exclude=[top / "in/deep"], timeout_s=SHORT_S) as guarded:
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "in/deep/er/f") == "ok"
        guarded.add_root(top / "in/deep/er")
        assert refusal(other, actions.read, top / "in/deep/er/f") == "EPERM"


def test_directories_are_refused_only_when_asked_for(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S):
        assert refusal(other, actions.list_directory, top / "in/deep") == "ok"
    with guard(top / "in", deny=Mask.OPEN_PERM | Mask.ONDIR, timeout_s=SHORT_S):
        for _ in range(2):
            assert refusal(other, actions.list_directory, top / "out") == "ok"
            assert refusal(other, actions.list_directory, top) == "ok"
            assert refusal(other, actions.list_directory, top / "in/deep") == "EPERM"
            assert refusal(other, actions.list_directory, top / "in") == "EPERM"
            assert refusal(other, actions.read, top / "out/f") == "ok"


# --- who is excepted ---


def test_the_guards_own_process_is_never_refused(top: Path) -> None:
    with guard(top / "in", deny=Mask.OPEN_PERM | Mask.ONDIR, timeout_s=SHORT_S) as guarded:
        assert (top / "in/f").read_bytes() == b"content"
        assert os.listdir(top / "in") != []
        assert guarded.read(timeout_s=0.1) == []


def test_users_may_be_excepted(top: Path, other: Other) -> None:
    def cat(user: int) -> int:
        # the directory is entered as root: others may not search the way to it
        return subprocess.run(["cat", "f"], cwd=top / "in", user=user, capture_output=True, check=False).returncode

    (top / "in/f").chmod(0o644)
    with guard(top / "in", allow_uids=[NOBODY], timeout_s=SHORT_S):
        assert cat(NOBODY) == 0
        assert cat(0) == 1
        assert cat(NOBODY - 1) == 1


def test_executables_may_be_excepted_by_what_they_are_not_by_name(top: Path) -> None:
    trusted = Path(shutil.copy("/bin/cat", top / "out/cat"))
    other_cat = Path(shutil.copy("/bin/cat", top / "out/deep/cat"))

    def read_by(executable: Path) -> int:
        return subprocess.run([executable, top / "in/f"], capture_output=True, check=False).returncode

    with guard(top / "in", allow_exes=[trusted], timeout_s=SHORT_S):
        assert read_by(trusted) == 0
        assert read_by(other_cat) == 1
        trusted.rename(top / "out/was-trusted")
        other_cat.rename(trusted)
        assert read_by(top / "out/was-trusted") == 1
        assert read_by(trusted) == 0


# --- the user decides ---


def test_decide_is_asked_and_may_use_the_file(top: Path, other: Other) -> None:
    seen: list[tuple[str | None, bytes]] = []

    def decide(event: Event) -> bool:
        assert event.raw_path is not None
        seen.append((event.comm, Path(event.path or "").read_bytes()))
        return event.raw_path.endswith(b"deep/er/f")

    with guard(top / "in", decide=decide, timeout_s=5) as guarded:
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "in/deep/er/f") == "ok"
        assert refusal(other, actions.read, top / "out/f") == "ok"
        assert [event.path for event in guarded.read(timeout_s=1)] == [str(top / "in/f")]
    assert [data for _, data in seen] == [b"content", b"content"]


def test_decide_may_choose_the_error(top: Path, other: Other) -> None:
    with guard(top / "in", decide=lambda _: fan.deny(errno.EBUSY), timeout_s=5):
        assert refusal(other, actions.read, top / "in/f") == "EBUSY"


def test_a_decide_that_raises_leaves_it_undecided(top: Path, other: Other) -> None:
    def decide(event: Event) -> bool:
        raise RuntimeError("a bug")

    with guard(top / "in", decide=decide, timeout_s=5) as guarded:
        assert refusal(other, actions.read, top / "in/f") == "ok"
        assert [event.undecided for event in guarded.read(timeout_s=1)] == [True]


@pytest.mark.parametrize(("on_timeout", "expected"), [("allow", "ok"), ("deny", "EPERM")])
def test_a_decide_that_never_returns_delays_for_the_deadline_only(
    top: Path, other: Other, on_timeout: str, expected: str
) -> None:
    go_on = threading.Event()
    try:
        with guard(
            top / "in",
            decide=lambda _: go_on.wait(60),
            timeout_s=0.4,
            on_timeout=on_timeout,  # type: ignore[arg-type]
        ) as guarded:
            for _ in range(2):
                result, seconds = timed_read(other, top / "in/f")
                assert result == expected
                assert 0.3 < seconds < 1.0
                assert timed_read(other, top / "out/f")[0] == "ok"
            assert [event.undecided for event in guarded.read(timeout_s=1)] != []
    finally:
        go_on.set()


class OddNames(fan.Handler):
    """A handler of the user's own: it runs in the user's process."""

    name = "odd-names"

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        if event.name == b"secret":
            return fan.deny(errno.EIO)
        return fan.SKIP_EVENT if event.name == b"quiet" else fan.SEND_TO_USERSPACE


def test_handlers_of_ones_own_decide_and_what_they_send_is_delivered(top: Path, other: Other) -> None:
    for name in ("secret", "quiet", "loud"):
        (top / "in" / name).write_bytes(b"x")
    with Group(timeout_s=5) as group:
        group.mark(top / "in", Mask.OPEN_PERM)
        attachment = group.attach(OddNames)
        assert refusal(other, actions.read, top / "in/secret") == "EIO"
        assert refusal(other, actions.read, top / "in/quiet") == "ok"
        assert refusal(other, actions.read, top / "in/loud") == "ok"
        assert [event.path for event in group.read(timeout_s=1)] == [str(top / "in/loud")]
        assert (attachment.n_seen, attachment.n_skipped, attachment.n_denied) == (3, 1, 1)


def test_allow_deny_list_refuses_by_name_until_it_is_detached(top: Path, other: Other) -> None:
    with Group(timeout_s=SHORT_S) as group:
        group.mark(top / "in", Mask.OPEN_PERM)
        attachment = group.attach("allow-deny-list", globs=["*.key"])
        for name in ("a.key", "a.txt"):
            (top / "in" / name).write_bytes(b"x")
        assert refusal(other, actions.read, top / "in/a.key") == "EPERM"
        assert refusal(other, actions.read, top / "in/a.txt") == "ok"
        assert refusal(other, actions.read, top / "out/f") == "ok"
        wait_until(lambda: attachment.n_denied == 1, "what the guardian counted arrives")
        group.detach(attachment)
        assert refusal(other, actions.read, top / "in/a.key") == "ok"


# --- changes ---


def test_roots_added_and_removed_take_effect_at_once(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S) as guarded:
        for _ in range(5):
            assert refusal(other, actions.read, top / "out/f") == "ok"
            guarded.add_root(top / "out")
            assert refusal(other, actions.read, top / "out/f") == "EPERM"
            guarded.remove_root(top / "out")
            assert refusal(other, actions.read, top / "out/f") == "ok"


@everywhere
def test_what_is_moved_in_becomes_guarded_and_what_is_moved_out_is_free(top: Path, other: Other) -> None:
    def becomes(path: Path, expected: str) -> bool:
        # the guardian is told of a move when it has happened: there is a moment in between
        deadline = time.monotonic() + 2
        while (found := refusal(other, actions.read, path)) != expected and time.monotonic() < deadline:
            time.sleep(0.005)
        return found == expected

    (top / "out/single").write_bytes(b"x")
    (top / "out/linked").write_bytes(b"x")
    with guard(top / "in", timeout_s=SHORT_S):
        for path in ("deep/f", "single", "linked"):
            assert [refusal(other, actions.read, top / "out" / path) for _ in range(2)] == ["ok", "ok"]
        other(os.rename, top / "out/deep", top / "in/moved")
        assert becomes(top / "in/moved/f", "EPERM")
        other(os.rename, top / "out/single", top / "in/single")
        assert becomes(top / "in/single", "EPERM")
        other(os.link, top / "out/linked", top / "in/linked")
        assert becomes(top / "in/linked", "EPERM")
        assert becomes(top / "out/linked", "ok")
        other(os.rename, top / "in/moved", top / "out/back")
        assert becomes(top / "out/back/f", "ok")
        other(os.rename, top / "in/single", top / "out/single")
        assert becomes(top / "out/single", "ok")


def test_new_files_and_directories_are_guarded_from_the_start(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S):
        for n in range(50):
            other(os.mkdir, top / f"in/new{n}")
            os.close(os.open(top / f"in/new{n}/f", os.O_CREAT | os.O_WRONLY))
            assert refusal(other, actions.read, top / f"in/new{n}/f") == "EPERM"


# What several processes do at once: files and directories made, renamed across the border, linked, removed, opened.
STORM = r"""
import os, random, sys, time
top, end = sys.argv[1], time.time() + 2.5
pick = random.Random(int(sys.argv[2])).choice
def directory():
    return f"{top}/{pick(['in', 'out'])}/{pick(['d1', 'd2', 'd3', 'd1/e', 'd2/e'])}"
def file():
    return f"{directory()}/{pick('abcd')}"
acts = {
    "mkdir": lambda: os.makedirs(directory()),
    "create": lambda: os.close(os.open(file(), os.O_CREAT | os.O_RDWR, 0o644)),
    "open": lambda: os.close(os.open(file(), os.O_RDONLY)),
    "move": lambda: os.rename(file(), file()),
    "link": lambda: os.link(file(), file()),
    "remove": lambda: os.unlink(file()),
    "move directory": lambda: os.rename(directory(), directory()),
}
while time.time() < end:
    try:
        acts[pick(["mkdir", "create", "create", "open", "open", "open", "move", "link", "remove", "move directory"])]()
    except OSError:
        pass
"""


def test_after_a_storm_across_the_border_every_file_is_judged_by_where_it_is(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S) as guarded:
        tgid = guardian_of(guarded)
        storm = [subprocess.Popen([sys.executable, "-c", STORM, str(top), str(seed)]) for seed in range(3)]
        while any(process.poll() is None for process in storm):
            guarded.add_root(top / "out/deep")
            guarded.remove_root(top / "out/deep")
            guarded.read(timeout_s=0.02)
        wait_until(lambda: refusal(other, actions.read, top / "in/f") == "EPERM", "the guardian has caught up")
        files = [path for path in top.rglob("*") if path.is_file()]
        found = {path: refusal(other, actions.read, path) for path in files}
        assert found == {path: "EPERM" if top / "in" in path.parents else "ok" for path in files}
        assert guardian_of(guarded) == tgid


def test_a_guarded_filesystem_can_be_unmounted(mounts: Mounter, other: Other) -> None:
    where = mounts.make("tmpfs")
    (where / "f").write_bytes(b"x")
    with guard(where, timeout_s=SHORT_S) as guarded:
        assert refusal(other, actions.read, where / "f") == "EPERM"
        mounts.umount(where)
        hear(guarded, lambda heard: any(event.mask & Mask.UNMOUNT for event in heard), "the end of the filesystem")


def test_a_removed_root_is_told(top: Path, other: Other) -> None:
    (top / "gone").mkdir()
    with guard(top / "in", top / "gone", timeout_s=SHORT_S) as guarded:
        other(os.rmdir, top / "gone")
        assert [(e.mask, e.path) for e in guarded.read(timeout_s=2)] == [(Mask.ROOT_GONE, str(top / "gone"))]


# --- who dies, hangs or stops ---


Readers = Callable[[Path, int], list[subprocess.Popen[bytes]]]


@pytest.fixture
def readers() -> Iterator[Readers]:
    """Starts processes that read a file and end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(path: Path, n: int) -> list[subprocess.Popen[bytes]]:
        new = [subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(n)]
        started.extend(new)
        return new

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_when_the_listener_is_killed_all_who_wait_are_free_at_once(top: Path, readers: Readers) -> None:
    with listening(top / "in", timeout_s=30) as listener:
        waiting = readers(top / "in/f", 16)
        for _ in waiting:
            assert listener.line() == "asked\n"
        assert [reader.poll() for reader in waiting] == [None] * 16
        start = time.monotonic()
        os.kill(listener.pid, signal.SIGKILL)
        assert [reader.wait(10) for reader in waiting] == [0] * 16
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("how", ["stop", "gil"])
def test_a_listener_that_stops_delays_for_the_deadline_only(top: Path, other: Other, how: str) -> None:
    with listening(top / "in", timeout_s=0.5, how=how) as listener:
        if how == "stop":
            os.kill(listener.pid, signal.SIGSTOP)
        for _ in range(2):
            result, seconds = timed_read(other, top / "in/f")
            assert (result, 0.4 < seconds < 1.5) == ("ok", True), seconds
            assert timed_read(other, top / "out/f")[0] == "ok"


def test_a_listener_that_stops_does_not_end_what_needs_no_asking(top: Path, other: Other) -> None:
    with listening(top / "in", timeout_s=SHORT_S, how="deny") as listener:
        os.kill(listener.pid, signal.SIGSTOP)
        result, seconds = timed_read(other, top / "in/f")
        assert (result, seconds < 0.5) == ("EPERM", True)


@pytest.mark.parametrize("who", ["guardian", "both"])
@pytest.mark.parametrize("what", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("when", ["before", "while asked"])
def test_a_guardian_that_stops_or_dies_blocks_nobody(
    top: Path, readers: Readers, who: str, what: signal.Signals, when: str
) -> None:
    with listening(top / "in", timeout_s=SHORT_S) as listener:
        waiting = readers(top / "in/f", 4) if when == "while asked" else []
        for _ in waiting:
            assert listener.line() == "asked\n"
        if who == "both":
            os.kill(listener.pid, what)
        os.kill(listener.guardian_pid, what)
        start = time.monotonic()
        waiting += readers(top / "in/f", 4)
        assert [reader.wait(10) for reader in waiting] == [0] * len(waiting)
        # with a new guardian the listener may be asked, and be late, once more
        assert time.monotonic() - start < SHORT_S * 2 + 1


@pytest.mark.parametrize("what", [signal.SIGSTOP, signal.SIGKILL])
def test_an_ended_guardian_is_told_and_replaced(top: Path, other: Other, what: signal.Signals) -> None:
    with guard(top / "in", timeout_s=0.3) as guarded:
        os.kill(guardian_of(guarded), what)
        events = hear(guarded, lambda heard: len(heard) >= 2, "the end and the return are told")
        assert [(e.mask, e.path) for e in events] == [
            (Mask.UNWATCHED, str(top / "in")),
            (Mask.RESCAN, str(top / "in")),
        ]
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "out/f") == "ok"


def test_close_leaves_no_process_and_allows_all(top: Path, other: Other) -> None:
    go_on = threading.Event()
    guarded = guard(top / "in", decide=lambda _: go_on.wait(60), timeout_s=30)
    tgid = guardian_of(guarded)
    other.start(actions.read, top / "in/f")
    time.sleep(0.2)
    guarded.close()
    assert other.finish() == b"content"
    assert not os.path.exists(f"/proc/{tgid}")
    assert guarded.read(timeout_s=0) == []
    go_on.set()


def test_a_mark_that_fails_changes_nothing(top: Path, other: Other) -> None:
    with Group(timeout_s=SHORT_S) as group:
        group.mark(top / "in", Mask.OPEN_PERM)
        group.attach("monitor-subtree", roots=[top / "in"], mode="block")
        with pytest.raises(fan.FastpathError):
            group.mark(top / "out", Mask.PRE_ACCESS | Mask.ONDIR)
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "out/f") == "ok"


@pytest.mark.parametrize("deny", [Mask.OPEN, Mask.OPEN_PERM | Mask.CLOSE, Mask(0), Mask.ONDIR])
def test_only_permission_events_can_be_denied(top: Path, deny: Mask) -> None:
    with pytest.raises(fan.InvalidArgument):
        guard(top / "in", deny=deny)
