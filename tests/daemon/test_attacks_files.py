"""Attacks with files: links and swaps between what is named and what is shown, and at the daemon's own paths."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages

from .attacking import check_unharmed, innocent_of
from .client import opened_as
from .support import DEADLINE_S, FOR_ALL, OTHER_USER, USER, Daemon, as_user, environment, open_up
from .test_server import failed, open_up_new, paths

pytestmark = pytest.mark.attack


@pytest.fixture
def private(top: Path) -> Path:
    """Somebody else's directory, which nobody else may enter."""
    path = top / "private"
    path.mkdir()
    os.chown(path, OTHER_USER, OTHER_USER)
    path.chmod(0o700)
    return path


def swap(path: Path, target: Path) -> None:
    """Have a symbolic link where something else was, in one step."""
    new = path.with_name("new")
    new.symlink_to(target)
    os.rename(new, path)


@contextmanager
def flickering(path: Path, one: Path, other: Path) -> Iterator[None]:
    """A symbolic link that leads here and there, as fast as it can be changed."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            swap(path, one)
            swap(path, other)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


# --- roots ---


@pytest.mark.parametrize("is_shown", [False, True], ids=["private", "shown"])
def test_a_root_that_becomes_a_link_while_it_is_opened_leads_nowhere(
    daemon: Daemon, top: Path, private: Path, is_shown: bool
) -> None:
    """What was opened counts, whatever the name leads to; and where the user may go, it is told."""
    if is_shown:
        private.chmod(0o755)
    own, name = open_up_new(top / "own"), top / "name"
    n_refused = 0
    with opened_as(daemon) as user:
        user.hello()
        user.open()
        user.mark(1, Mask.CREATE, 0)
        with flickering(name, own, private):
            for n in range(1, 150):
                try:
                    assert isinstance(user.include(0, n, name, called=b"/name"), messages.Done)
                except (PermissionError, FileNotFoundError):
                    n_refused += 1
        (private / "secret").touch()
        (own / "known").touch()
        told = {os.path.basename(each.path) for each in user.hear()}
        assert told == ({"secret", "known"} if is_shown else {"known"})
        assert is_shown or n_refused


def test_a_root_that_is_replaced_by_a_link_stays_what_it_was(daemon: Daemon, top: Path, private: Path) -> None:
    own = open_up_new(top / "own")
    with opened_as(daemon) as user:
        user.watch(own, Mask.CREATE)
        own.rename(top / "moved")
        own.symlink_to(private)
        (own / "secret").touch()
        (top / "moved" / "known").touch()
        assert {os.path.basename(each.path) for each in user.hear()} == {"known"}


def test_a_name_that_is_a_lie_opens_nothing(daemon: Daemon, top: Path, private: Path) -> None:
    own = open_up_new(top / "own")
    with opened_as(daemon) as user:
        user.hello()
        user.open()
        for n, name in enumerate((private, Path("/"), private / "../private", Path("/proc/self/fd/3")), 1):
            assert isinstance(user.include(0, n, own, called=os.fsencode(name)), messages.Done)
            assert isinstance(user.mark_object(n, Mask.CREATE | Mask.EVENT_ON_CHILD, own), messages.Done)
        user.mark(9, Mask.CREATE, 0)
        (private / "secret").touch()
        (own / "known").touch()
        assert {os.path.basename(each.path) for each in user.hear()} == {"known"}


def test_a_link_below_a_root_leads_nowhere(daemon: Daemon, top: Path, private: Path) -> None:
    own = open_up_new(top / "own")
    (own / "link").symlink_to(private)
    with opened_as(daemon) as user:
        user.watch(own, Mask.CREATE | Mask.ATTRIB | Mask.ONDIR)
        (own / "link" / "secret").touch()
        os.utime(own / "link")
        (own / "known").touch()
        assert set(paths(user.hear(), Mask.ALL_CHANGES, own)) == {"known"}


def test_a_hard_link_tells_nothing_of_the_other_name(daemon: Daemon, top: Path, private: Path) -> None:
    own = open_up_new(top / "own")
    (private / "secret").touch()
    os.link(private / "secret", own / "linked")
    with opened_as(daemon) as user:
        user.watch(own)
        (private / "secret").write_text("hidden")
        os.rename(private / "secret", private / "secret2")
        assert user.hear() == []
        (own / "linked").write_text("shown")
        assert set(paths(user.hear(), Mask.MODIFY, own)) == {"linked"}


def test_a_file_that_may_not_be_read_is_no_root_by_its_link(daemon: Daemon, top: Path, private: Path) -> None:
    """The owner of a directory may rename and unlink what others link there, but is not told what they write."""
    own = open_up_new(top / "own")
    (private / "secret").touch(0o600)
    os.link(private / "secret", own / "linked")
    fd = os.open(own / "linked", os.O_RDONLY)
    try:
        with opened_as(daemon) as user:
            user.hello()
            user.open()
            with pytest.raises(PermissionError):
                user.open_path(own / "linked")
            fields = {"mark": 1, "mask": int(Mask.MODIFY), "path": b"/any"}
            assert failed(user.ask(messages.MarkObject, fd, **fields)) == "NotPermitted"
            (private / "secret").chmod(0o644)
            assert isinstance(user.ask(messages.MarkObject, fd, **fields), messages.Done)
    finally:
        os.close(fd)


# --- the daemon's own paths ---


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file that the daemon must not touch."""
    path = tmp_path / "precious"
    path.write_text("precious")
    path.chmod(0o600)
    return path


def check_precious(path: Path) -> None:
    assert path.read_text() == "precious"
    status = path.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o600, 0, 0)


@pytest.mark.parametrize("plant", ["symbolic", "dangling", "hard", "fifo", "directory"])
def test_what_is_planted_where_the_socket_will_be_is_not_touched(
    start: Callable[..., Daemon], tmp_path: Path, precious: Path, plant: str
) -> None:
    where = tmp_path / "one"
    where.mkdir()
    plant_at(where / "fanfpd.socket", plant, precious)
    with pytest.raises(AssertionError, match="there is something that is no socket"):
        start(where="one")
    check_precious(precious)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("plant", ["symbolic", "dangling", "hard", "fifo", "directory"])
def test_what_is_planted_where_the_lock_will_be_is_not_touched(
    start: Callable[..., Daemon], tmp_path: Path, precious: Path, plant: str
) -> None:
    where = tmp_path / "one"
    where.mkdir()
    plant_at(where / "fanfpd.socket.lock", plant, precious)
    if plant in ("hard", "fifo"):  # is locked, and nothing else
        with opened_as(start(where="one")) as user:
            assert isinstance(user.hello(), messages.Welcome)
    else:
        with pytest.raises(AssertionError, match="cannot listen on"):
            start(where="one")
    check_precious(precious)
    assert not (tmp_path / "missing").exists()


def plant_at(path: Path, plant: str, precious: Path) -> None:
    match plant:
        case "symbolic":
            path.symlink_to(precious)
        case "dangling":
            path.symlink_to(precious.with_name("missing"))
        case "hard":
            os.link(precious, path)
        case "fifo":
            os.mkfifo(path)
        case _:
            path.mkdir()


def test_the_directory_of_the_socket_is_roots_alone_to_write(tmp_path: Path) -> None:
    """Made by the daemon with a mask that would let everybody write."""
    where = tmp_path / "run" / "made"
    open_up(tmp_path, 0o755)
    with Daemon(tmp_path / "daemon", FOR_ALL) as daemon:
        command = [*daemon.command(), "--socket", os.fspath(where / "socket")]
        script = 'umask 0; exec "$@"'
        with subprocess.Popen(["sh", "-c", script, "sh", *command], env=environment(), stderr=subprocess.PIPE) as other:
            try:
                assert other.stderr is not None
                next(line for line in other.stderr if b"serving" in line)
                for path, mode in ((where, 0o755), (where / "socket", 0o666), (where / "socket.lock", 0o600)):
                    status = path.stat()
                    assert (status.st_mode & 0o777, status.st_uid) == (mode, 0), path
                for attempt in (
                    lambda: os.rename(where / "socket", where / "else"),
                    lambda: (where / "socket.lock").unlink(),
                    lambda: (where / "new").touch(),
                ):
                    with pytest.raises(PermissionError):
                        as_user(attempt)
            finally:
                other.terminate()
                other.wait(DEADLINE_S)


def test_a_socket_that_is_replaced_gets_nobody_elses_clients(daemon: Daemon, top: Path) -> None:
    """Only root can; those that are connected stay so, and the first daemon removes nothing that is not its own."""
    with innocent_of(daemon, top) as innocent:
        with pytest.raises(PermissionError):
            as_user(lambda: daemon.socket_path.unlink(), USER)
        daemon.socket_path.unlink()
        check_unharmed(daemon, innocent, top, [])
