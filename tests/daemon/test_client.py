"""Engine ``daemon`` with a real daemon, as ordinary users have it."""

import asyncio
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fanotify_fastpath as fan
from children import fork, wait_for
from cli.support import run_as
from fanotify_fastpath import Event, Group, Mask, Scope
from fanotify_fastpath._wire.addresses import SOCKET_VARIABLE
from fanotify_fastpath.errors import LimitReached, NotPermitted, UnsupportedFeature
from mounting import Mounter
from outcomes import wait_until

from .listening import Listener, OnlySuffixes
from .support import ENGINE, FOR_ALL, USER, Daemon, Puppet, as_user, fails_on_kernel, only_kernel, open_up

StartDaemon = Callable[..., Daemon]


@pytest.fixture
def used(start: StartDaemon, monkeypatch: pytest.MonkeyPatch) -> StartDaemon:
    """Starts a daemon that clients find, again and again at the same place."""

    def start_it(config: str = "") -> Daemon:
        daemon = start(f"{FOR_ALL}{config}", where="daemon")
        monkeypatch.setenv(SOCKET_VARIABLE, os.fspath(daemon.socket_path))
        return daemon

    return start_it


@pytest.fixture
def listener(used: StartDaemon) -> Iterator[Puppet]:
    used()
    with Puppet(Listener) as puppet:
        yield puppet


def dirs(top: Path, *names: str) -> list[Path]:
    """Make directories that everybody may use, however deep."""
    made = [top / name for name in names]
    for path in made:
        path.mkdir(parents=True, exist_ok=True)
        for each in (path, *path.parents):
            if top in each.parents:
                each.chmod(0o777)
    return made


def paths(events: list[Event], below: Path, mask: int = Mask.CREATE) -> list[str]:
    """Where the events of these types happened, in order."""
    return [os.path.relpath(event.path or "?", below) for event in events if event.mask & mask]


# --- watching ---


def test_what_happens_at_any_depth_is_told_with_who_did_it(listener: Puppet, top: Path) -> None:
    inside, outside = dirs(top, "in/deep/er", "out")
    listener.mark(top / "in")
    (outside / "file").write_text("")
    (inside / "roots").write_text("")
    script = f"echo > '{inside}/users'; read _"  # it stays while it is looked at
    with subprocess.Popen(["sh", "-c", script], user=USER, stdin=subprocess.PIPE) as process:
        wait_until((inside / "users").exists, "the user's file")
        heard = listener.hear(top / "in")
        process.communicate()
    assert paths(heard, top) == ["in/deep/er/roots", "in/deep/er/users"]
    by_root, by_user = (event for event in heard if event.mask & Mask.CREATE)
    assert (by_root.tgid, by_root.uid, by_root.comm, by_root.exe) == (0, None, None, None), "others are not told of"
    assert (by_user.uid, by_user.comm, by_user.tgid) == (USER, "sh", process.pid)
    status = (inside / "users").stat()
    assert (by_user.dev, by_user.inode, by_user.engine) == (status.st_dev, status.st_ino, "daemon")


def test_exceptions_and_single_files(listener: Puppet, top: Path) -> None:
    inside, _ = dirs(top, "in/but", "else")
    for name in ("else/one", "else/other"):
        (top / name).write_text("")
    listener.mark(top / "in", exclude=[inside])
    listener.add_root(top / "else/one")
    for name in ("in/but/x", "in/yes", "else/other", "else/one"):
        (top / name).write_text("x")
    heard = listener.hear(top / "in")
    assert {os.path.relpath(event.path, top) for event in heard if event.path} == {"in/yes", "else/one"}


def test_roots_come_and_go_while_events_flow(listener: Puppet, top: Path) -> None:
    a, b, fences = dirs(top, "a", "b", "fences")
    mark = listener.mark(a)
    listener.add_root(fences)
    for n, (change, told) in enumerate(
        [(None, "a"), (lambda: listener.add_root(b), "ab"), (lambda: listener.remove_root(a), "b")]
    ):
        if change is not None:
            change()
        for directory in (a, b):
            (directory / f"file{n}").mkdir()
        assert paths(listener.hear(fences), top) == [f"{name}/file{n}" for name in told]
    listener.unmark(mark)
    listener.mark(fences)
    (b / "unheard").mkdir()
    assert not listener.hear(fences)


def test_what_happened_before_a_root_went_is_told(listener: Puppet, top: Path) -> None:
    a, b = dirs(top, "a", "b")
    listener.mark(a)
    listener.add_root(b)
    for n in range(200):
        (a / f"{n}").mkdir()
    listener.remove_root(a)
    (a / "after").mkdir()
    assert paths(listener.hear(b), a) == [f"{n}" for n in range(200)]


@fails_on_kernel("a mark of scope inode with EVENT_ON_CHILD is not told of directories that are made in that directory")
def test_a_single_directory_is_watched_by_scope_inode(listener: Puppet, top: Path) -> None:
    directory, _ = dirs(top, "a", "a/b")
    listener.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD | Mask.ONDIR, scope=Scope.INODE)
    (directory / "b/below").mkdir()
    (directory / "here").mkdir()
    assert paths(listener.hear(directory), directory) == ["here"]


@pytest.mark.parametrize("is_open", [True, False])
def test_renames_tell_which_border_they_cross(listener: Puppet, top: Path, is_open: bool) -> None:
    inside, outside = dirs(top, "in", "out")
    if not is_open:
        outside.chmod(0o700)
    (outside / "x").mkdir()
    listener.mark(inside)
    (outside / "x").rename(inside / "x")
    (inside / "x").rename(inside / "y")
    (inside / "y").rename(outside / "y")
    renamed = [event for event in listener.hear(inside) if event.mask & Mask.RENAME]
    relative = [
        tuple(None if path is None else os.path.relpath(path, top) for path in (event.old_path, event.path))
        for event in renamed
    ]
    assert [event.crossing for event in renamed] == ["in", None, "out"]
    hidden = None
    is_open = is_open and ENGINE != "kernel"  # which tells of no place outside the roots
    assert relative == [
        ("out/x" if is_open else hidden, "in/x"),
        ("in/x", "in/y"),
        ("in/y", "out/y" if is_open else hidden),
    ]


def test_a_root_that_is_deleted_is_told_and_is_no_root_any_more(listener: Puppet, top: Path) -> None:
    a, b = dirs(top, "a", "b")
    listener.mark(a)
    listener.add_root(b)
    a.rmdir()
    heard = listener.until(mask=int(Mask.ROOT_GONE))
    assert [event.path for event in heard if event.mask & Mask.ROOT_GONE] == [os.fspath(a)]
    assert listener.roots() == [os.fspath(b)]
    a.mkdir()
    (a / "x").mkdir()
    (b / "y").mkdir()
    assert paths(listener.hear(b), top) == ["b/y"]


def test_a_filesystem_can_be_unmounted_and_that_is_told(listener: Puppet, mounts: Mounter, top: Path) -> None:
    mountpoint = mounts.make("ext4")
    open_up(mountpoint)
    (root,) = dirs(mountpoint, "root")
    listener.mark(root)
    listener.add_root(top)
    (root / "x").mkdir()
    assert "x" in paths(listener.hear(root), root)
    mounts.umount(mountpoint)
    heard = listener.until(mask=int(Mask.UNMOUNT))
    assert [event.path for event in heard if event.mask & Mask.UNMOUNT] == [os.fspath(root)]
    assert listener.roots() == [os.fspath(top)]
    (top / "y").mkdir()
    assert paths(listener.hear(top), top) == ["y"]


def test_what_is_mounted_inside_belongs_to_it(listener: Puppet, mounts: Mounter, top: Path) -> None:
    inner, fences = dirs(top, "in/mnt", "in/fences")
    listener.mark(top / "in")
    mounts.make("tmpfs", inner)
    try:
        open_up(inner)
        heard = listener.until(mask=int(Mask.RESCAN))
        assert [event.path for event in heard if event.mask & Mask.RESCAN] == [os.fspath(inner)]
        (inner / "x").mkdir()
        assert paths(listener.hear(inner), top) == ["in/mnt/x"]
    finally:
        mounts.umount(inner)
    assert [event.path for event in listener.until(mask=int(Mask.UNMOUNT)) if event.mask & Mask.UNMOUNT] == [
        os.fspath(inner)
    ]
    (fences / "y").mkdir()
    assert paths(listener.hear(fences), top) == ["in/fences/y"]


# --- handlers ---


def test_handlers_by_name_and_of_ones_own_choose(listener: Puppet, top: Path) -> None:
    (directory,) = dirs(top, "a/b")
    listener.mark(top / "a", Mask.CREATE)
    listener.attach("ignore-prefix", prefixes=["."])
    own = listener.attach(OnlySuffixes, suffixes=[".c", "-"])
    for name in ("one.c", ".two.c", "three.h", "four-"):
        (directory / name).write_text("12345")
    listener.until(os.fspath(directory / "four-"))
    assert [name for name, _, _ in listener.seen(own)] == [b"one.c", b"three.h", b"four-"]
    assert {(depth, size) for _, depth, size in listener.seen(own)} == {(2, 5)}


def test_monitor_subtree_follows_its_roots(listener: Puppet, top: Path) -> None:
    a, b, _, fences = dirs(top, "in/a", "in/b", "in/a/but", "in/fences")
    listener.mark(top / "in", Mask.CREATE | Mask.ONDIR)
    number = listener.attach("monitor-subtree", roots=[a, fences])

    def told(n: int) -> list[str]:
        for name in ("a", "b", "a/but"):
            (top / "in" / name / f"{n}").mkdir()
        return paths(listener.hear(fences), top / "in")

    assert told(1) == ["a/1", "a/but/1"]
    listener.add_to_handler(number, b)
    assert told(2) == ["a/2", "b/2", "a/but/2"]
    listener.add_to_handler(number, a / "but", exclude=True)
    assert told(3) == ["a/3", "b/3"]
    listener.remove_from_handler(number, a)
    assert told(4) == ["b/4"]
    listener.detach(number)
    assert told(5) == ["a/5", "b/5", "a/but/5"]


def test_a_rename_crosses_the_border_of_a_handlers_roots(listener: Puppet, top: Path) -> None:
    a, b = dirs(top, "in/a", "in/b")
    (b / "x").mkdir()
    listener.mark(top / "in")
    listener.attach("monitor-subtree", roots=[a])
    (b / "x").rename(a / "x")
    (a / "x").rename(a / "y")
    (a / "y").rename(b / "y")
    renamed = [event for event in listener.hear(a) if event.mask & Mask.RENAME]
    assert [event.crossing for event in renamed] == ["in", None, "out"]


@only_kernel("it loads programs")
def test_no_program_is_loaded_for_what_a_client_asks_itself(used: StartDaemon, top: Path) -> None:
    daemon = used()
    (directory,) = dirs(top, "a")
    with Puppet(Listener) as listener:
        listener.mark(top, Mask.CREATE | Mask.ONDIR)
        before = list(daemon.descriptors().values()).count("anon_inode:bpf-prog")
        assert before > 0
        listener.attach("monitor-subtree", roots=[directory])
        listener.attach("ignore-prefix", prefixes=["."])
        for name in ("outside", "a/.hidden", "a/told"):
            (top / name).mkdir()
        assert paths(listener.hear(directory), top) == ["a/told"]
        assert list(daemon.descriptors().values()).count("anon_inode:bpf-prog") == before


# --- the public face ---


def test_watch_ends_when_nothing_is_left_to_watch(used: StartDaemon, top: Path) -> None:
    used()
    (directory,) = dirs(top, "a")

    def watch() -> list[tuple[str, str | None]]:
        with fan.watch(directory, events=Mask.CREATE) as watched:
            os.system(f"mkdir {directory}/x; rmdir {directory}/x; rmdir {directory}")
            return [("|".join(event.names), event.path) for event in watched]

    top.chmod(0o777)
    assert as_user(watch) == [("create", f"{directory}/x"), ("root_gone", os.fspath(directory))]


def test_awatch_and_batches(used: StartDaemon, top: Path) -> None:
    used()
    top.chmod(0o777)

    def batch() -> list[str | None]:
        with Group(engine="auto") as group:
            group.mark(top, Mask.CREATE | Mask.ONDIR)
            os.system(f"mkdir {top}/1 {top}/2")
            return [group.engine, *(event.path for event in next(group.batches(quiet_ms=200)))]

    assert as_user(batch) == ["daemon", f"{top}/1", f"{top}/2"]

    async def first() -> str | None:
        async for event in fan.awatch(top, events=Mask.CREATE, engine="daemon"):
            return event.path
        return None

    async def both() -> str | None:
        task = asyncio.ensure_future(first())
        await asyncio.sleep(0.3)
        await asyncio.to_thread(os.system, f"mkdir {top}/3")
        return await asyncio.wait_for(task, 10)

    assert as_user(lambda: asyncio.run(both())) == f"{top}/3"


def test_auto_takes_the_daemon_for_those_who_may_not_watch_by_themselves(used: StartDaemon, top: Path) -> None:
    used()

    def name_of(engine: str) -> str:
        with Group(engine=engine) as group:  # type: ignore[arg-type]
            return group.engine

    assert as_user(lambda: name_of("auto")) == "daemon"
    assert as_user(lambda: name_of("fanotify")) == "fanotify"
    assert name_of("auto") in ("kernel", "fanotify")
    assert name_of("daemon") == "daemon"


def test_fanfp_watches_through_it(used: StartDaemon, top: Path) -> None:
    used()
    (directory,) = dirs(top, "a")
    threading.Timer(1.0, lambda: os.mkdir(directory / "x")).start()
    code, out, err = run_as(USER, ["watch", os.fspath(directory), "--engine", "daemon", "--count", "1", "--json"])
    assert (code, err.splitlines()[0]) == (0, f"watching {directory} (engine daemon)")
    assert f'"path":"{directory}/x"' in out
    assert run_as(USER, ["watch", os.fspath(directory), "-e", "open", "--scope", "mount", "--engine", "daemon"])[0] == 4


# --- who may not, and what is too much ---


def test_without_a_daemon_the_error_says_what_is_missing(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SOCKET_VARIABLE, f"{tmp_path}/none")
    with pytest.raises(NotPermitted) as caught:
        as_user(lambda: fan.watch(top))
    assert str(caught.value) == (
        f"cannot watch '{top.parent}': marking a whole filesystem or mount needs CAP_SYS_ADMIN, or the daemon fanfpd, "
        f"which is not at {tmp_path}/none (root starts it: 'systemctl start fanfpd.socket'); without either a single "
        "directory that you may read can be watched (scope inode)"
    )


def test_a_daemon_that_refuses_is_named_in_the_error(
    used: StartDaemon, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used("[[rule]]\nallow = false\n")
    with pytest.raises(NotPermitted, match="CAP_SYS_ADMIN, or the daemon fanfpd, by engine='daemon'; without either"):
        as_user(lambda: fan.watch(top))
    with pytest.raises(NotPermitted, match=f"user {USER} may not use the daemon"):
        as_user(lambda: fan.watch(top, engine="daemon"))


def test_what_the_user_may_not_read_is_no_root(listener: Puppet, top: Path) -> None:
    closed, good, search_only = dirs(top, "closed", "good", "search-only")
    (good / "file").write_text("")
    (good / "file").chmod(0o600)
    closed.chmod(0o700)
    search_only.chmod(0o711)
    for path in (closed, search_only, good / "file"):
        with pytest.raises(NotPermitted, match=f"cannot watch '{path}': user {USER} may not read it"):
            listener.mark(path)
    number = listener.mark(good)
    with pytest.raises(NotPermitted):
        listener.add_root(closed)
    with pytest.raises(NotPermitted):
        listener.attach("monitor-subtree", roots=[closed])
    assert (listener.roots(), listener.n_attachments()) == ([os.fspath(good)], 0)
    listener.unmark(number)


def test_what_the_daemon_does_for_nobody_is_refused(listener: Puppet, top: Path) -> None:
    with pytest.raises(NotPermitted, match="permission events"):
        listener.mark(top, Mask.OPEN_PERM)
    for scope in (Scope.MOUNT, Scope.FILESYSTEM):
        with pytest.raises(UnsupportedFeature, match="takes CAP_SYS_ADMIN"):
            listener.mark(top, Mask.OPEN, scope=scope)
    if ENGINE != "kernel":  # which can
        with pytest.raises(UnsupportedFeature, match="merge=False"):
            as_user(lambda: Group(engine="daemon", merge=False))
    with pytest.raises(NotPermitted, match="denies nothing"):
        as_user(lambda: fan.guard(top, engine="daemon"))


def test_a_limit_is_named_and_what_was_there_stays(used: StartDaemon, top: Path) -> None:
    used("[limits]\nroots_per_group = 2\n")
    a, b, c = dirs(top, "a", "b", "c")
    with Puppet(Listener) as listener:
        listener.mark(a)
        listener.add_root(b)
        with pytest.raises(LimitReached, match="roots_per_group"):
            listener.add_root(c)
        assert listener.roots() == [os.fspath(a), os.fspath(b)]
        with pytest.raises(LimitReached, match="roots_per_group"):
            listener.attach("monitor-subtree", roots=[a])
        listener.remove_root(b)
        listener.add_root(c)
        (c / "x").mkdir()
        assert paths(listener.hear(a), top) == ["c/x"]


def test_who_asks_faster_than_is_allowed_only_takes_longer(used: StartDaemon, top: Path) -> None:
    used("[limits]\nrequests_per_second = 100\nrequests_burst = 5\n")
    (fences, *many) = dirs(top, "fences", *(f"d{n}" for n in range(40)))
    with Puppet(Listener) as listener:
        listener.mark(fences)
        for each in many:
            listener.add_root(each)
        (many[-1] / "x").mkdir()
        assert paths(listener.hear(fences), top) == ["d39/x"]


def test_what_finds_no_room_is_told_by_its_number(used: StartDaemon, top: Path) -> None:
    used('[limits]\nring_bytes = "64 KiB"\n')
    n_files = 5000
    with Puppet(Listener) as listener:
        listener.mark(top, Mask.CREATE)
        os.kill(listener.pid, signal.SIGSTOP)
        try:
            for n in range(n_files):
                os.close(os.open(top / f"{n}", os.O_CREAT | os.O_WRONLY))
            time.sleep(0.5)
        finally:
            os.kill(listener.pid, signal.SIGCONT)
        heard = listener.hear(top)
        n_lost = sum(event.lost or 0 for event in heard if event.mask & Mask.Q_OVERFLOW)
        told = paths(heard, top)
        assert all(event.lost for event in heard if event.mask & Mask.Q_OVERFLOW)
        assert n_lost > 0
        assert len(told) + n_lost == n_files
        assert told[:10] == [f"{n}" for n in range(10)]
        (top / "dir").mkdir()
        (top / "after").write_text("")
        assert paths(listener.hear(top), top) == ["after"]


# --- the daemon dies ---


def test_the_death_of_the_daemon_is_told_and_events_go_on_with_the_next(used: StartDaemon, top: Path) -> None:
    daemon = used()
    a, b, gone = dirs(top, "a", "b", "gone")
    with Puppet(Listener) as listener:
        listener.mark(a, Mask.CREATE | Mask.ONDIR)
        listener.add_root(b)
        listener.add_root(gone)
        listener.attach("ignore-prefix", prefixes=["."])
        is_over = threading.Event()
        made: list[str] = []

        def work() -> None:
            while not is_over.is_set():
                made.append(f"{len(made)}")
                (a / made[-1]).mkdir()
                (a / f".{made[-1]}").mkdir()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            wait_until(lambda: len(made) > 300, "some load")
            daemon.stop(signal.SIGKILL)
            heard = listener.until(mask=int(Mask.Q_OVERFLOW))
            gone.rmdir()
            time.sleep(0.3)
            used()
            heard += listener.until(mask=int(Mask.RESCAN))
            n_made = len(made)
            wait_until(lambda: len(made) > n_made + 300, "more load")
        finally:
            is_over.set()
            thread.join()
        heard += listener.hear(b)
        about = [(event.mask, event.path, event.lost) for event in heard if not event.mask & Mask.CREATE]
        assert about == [
            (Mask.Q_OVERFLOW, None, None),
            (Mask.ROOT_GONE, os.fspath(gone), 0),
            (Mask.RESCAN, os.fspath(a), 0),
            (Mask.RESCAN, os.fspath(b), 0),
        ]
        told = paths(heard, a)
        (n_overflow,) = (n for n, event in enumerate(heard) if event.mask & Mask.Q_OVERFLOW)
        before = paths(heard[:n_overflow], a)
        assert before == made[: len(before)], "nothing is missing before it was told"
        after = paths(heard[n_overflow:], a)
        assert after == made[-len(after) :], "nothing is missing after it was back"
        assert len(after) >= 300
        assert not [name for name in told if name.startswith(".")]
        assert listener.roots() == [os.fspath(a), os.fspath(b)]


def test_a_daemon_that_is_stopped_and_started_anew(used: StartDaemon, top: Path) -> None:
    daemon = used()
    with Puppet(Listener) as listener:
        for _ in range(3):
            listener.end()
            listener.call(reopen, top)
        assert daemon.stop() == 0
        assert [event.lost for event in listener.until(mask=int(Mask.Q_OVERFLOW))] == [None]
        daemon = used()
        listener.until(mask=int(Mask.RESCAN))
        (top / "x").mkdir()
        assert paths(listener.hear(top), top) == ["x"]


def reopen(listener: Listener, path: Path) -> None:
    """Have another group."""
    listener.group = Group(engine="daemon")
    listener._marks.clear()
    listener.mark(path)


# --- opening, closing, forking ---


def test_closing_lets_go_of_everything(used: StartDaemon, top: Path) -> None:
    daemon = used()

    def open_and_close() -> list[int]:
        counts = []
        for _ in range(4):
            with Group(engine="daemon") as group:
                group.mark(top)
                group.attach("monitor-subtree", roots=[top])
                os.system(f"touch {top}/x")
                group.read(timeout_s=5)
            counts.append(len(os.listdir("/proc/self/fd")))
            assert threading.active_count() == 1
        return counts

    top.chmod(0o777)
    counts = as_user(open_and_close)
    assert len(set(counts)) == 1
    wait_until(lambda: daemon.n_groups() == 0, "the daemon lets go, too")


def test_closing_ends_a_read_that_waits(listener: Puppet, top: Path) -> None:
    listener.mark(top)
    assert listener.close_while_reading() == []
    assert listener.timed_close() < 2


def test_closing_while_the_daemon_is_away_is_at_once(used: StartDaemon, top: Path) -> None:
    daemon = used()
    with Puppet(Listener) as listener:
        listener.mark(top)
        daemon.stop(signal.SIGKILL)
        listener.until(mask=int(Mask.Q_OVERFLOW))
        assert listener.timed_close() < 2


def test_a_child_that_ends_takes_nothing_away(listener: Puppet, top: Path) -> None:
    listener.mark(top)
    assert listener.call(fork_and_close) == 0
    (top / "x").mkdir()
    assert paths(listener.hear(top), top) == ["x"]


def fork_and_close(listener: Listener) -> int:
    """The exit code of a child that closes what it inherited."""
    child = fork()
    if child == 0:
        listener.group.close()
        os._exit(0)
    return wait_for(child)


def test_without_descriptors_it_is_an_error_and_nothing_is_left(used: StartDaemon, top: Path) -> None:
    daemon = used()

    def starve() -> int:
        Group(engine="daemon").close()  # what it loads it loads once
        in_use = len(os.listdir("/proc/self/fd"))
        n_refused = 0
        for n_left in range(12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + n_left, 4096))
            try:
                Group(engine="daemon").close()
            except OSError:
                n_refused += 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
            assert len(os.listdir("/proc/self/fd")) == in_use, n_left
        return n_refused

    assert 2 < as_user(starve) < 12
    wait_until(lambda: daemon.n_groups() == 0, "the daemon lets go, too")
