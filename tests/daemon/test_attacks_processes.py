"""Attacks by processes: killed or stopped at any moment, and with numbers that were others' before."""

import ctypes
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._engines.fanotify.doers import PIDFDS_MAX
from fanotify_fastpath._wire import messages
from outcomes import wait_until

from .attacking import attacker_of, check_unharmed, held, innocent_of
from .client import Client, opened_as
from .reusing import end, fork_as, free_tgid
from .support import OTHER_USER, USER, Daemon, Puppet, as_user
from .test_server import paths

pytestmark = pytest.mark.attack

#: the user where none is told
UNKNOWN = (1 << 32) - 1


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    """The daemon falls behind."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def n_pidfds(daemon: Daemon) -> int:
    """Number of descriptors of processes that it has, one for each client among them."""
    return sum("pidfd" in what for what in daemon.descriptors().values())


def hide_and_remove(directory: Path) -> None:
    """What somebody does in a directory that nobody else may enter, and that is gone in the end."""
    os.mkdir(directory, 0o700)
    os.close(os.open(directory / "secret", os.O_CREAT | os.O_WRONLY, 0o600))
    os.unlink(directory / "secret")
    os.rmdir(directory)


def test_a_process_with_the_number_of_ones_own_that_has_ended_is_not_ones_own(daemon: Daemon, top: Path) -> None:
    tgid = free_tgid()
    with opened_as(daemon) as user:
        user.watch(top)
        mine = fork_as(tgid, USER, lambda: os.mkdir(top / "known"), stays=True)
        (known,) = [each for each in user.hear() if each.mask & Mask.CREATE]
        assert (known.tgid, known.uid) == (tgid, USER)
        end(mine)
        time.sleep(0.2)  # numbers need longer to go round
        with stopped(daemon):
            fork_as(tgid, OTHER_USER, lambda: hide_and_remove(top / "theirs"))
        heard = [each for each in user.hear() if "theirs" in each.path]
        assert {os.path.basename(each.path) for each in heard} == {"theirs"}
        assert {each.tgid for each in heard} == {0}


def test_ones_own_process_with_the_number_of_another_is_not_the_other(daemon: Daemon, top: Path) -> None:
    tgid = free_tgid()
    with opened_as(daemon) as user:
        user.watch(top)
        with stopped(daemon):
            fork_as(tgid, OTHER_USER, lambda: hide_and_remove(top / "theirs"))
            mine = fork_as(tgid, USER, lambda: None, stays=True)
        try:
            heard = [each for each in user.hear() if "theirs" in each.path]
        finally:
            end(mine)
        assert {os.path.basename(each.path) for each in heard} == {"theirs"}
        assert {each.tgid for each in heard} == {0}


def test_ones_own_process_with_the_number_of_anothers_thread_is_not_the_other(daemon: Daemon, top: Path) -> None:
    tgid = free_tgid()
    with opened_as(daemon) as user:
        user.watch(top, with_tid=True)
        with stopped(daemon):
            fork_as(tgid, OTHER_USER, lambda: hide_and_remove(top / "theirs"))
            mine = fork_as(tgid, USER, lambda: None, stays=True)
        try:
            names = {os.path.basename(each.path) for each in user.hear() if "theirs" in each.path}
        finally:
            end(mine)
        assert names == {"theirs"}


def test_of_a_process_that_is_gone_no_other_is_told(daemon: Daemon, top: Path) -> None:
    tgid = free_tgid()
    with opened_as(daemon, 0) as root:
        root.watch(top, Mask.CREATE)
        with stopped(daemon):
            fork_as(tgid, OTHER_USER, lambda: (top / "theirs").touch())
            mine = fork_as(tgid, USER, lambda: (top / "mine").touch(), stays=True)
        try:
            heard = {os.path.basename(each.path): (each.tgid, each.uid, each.comm != b"") for each in root.hear()}
        finally:
            end(mine)
        assert heard == {"theirs": (tgid, UNKNOWN, False), "mine": (tgid, USER, True)}


def test_thousands_of_events_leave_no_descriptors_of_processes(daemon: Daemon, top: Path) -> None:
    private = top / "private"
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other:
        user.watch(top, Mask.CREATE, ring_bytes=1 << 21)
        as_user(lambda: private.mkdir(0o700), OTHER_USER)
        user.hear()
        before = n_pidfds(daemon)
        for n in range(3):
            with stopped(daemon):
                for directory in (private, top):
                    other.make_files(directory, 1000, f"{n}-")
                    for m in range(10):
                        as_user((directory / f"gone-{n}-{m}").touch, OTHER_USER)
            most = 0
            user.begin("hear")
            while not user.has_answered():
                most = max(most, n_pidfds(daemon))
            assert len(user.finish()) == 1010
            assert n_pidfds(daemon) == before
            assert most <= before + PIDFDS_MAX


# --- ended or stopped in the middle of something ---


@pytest.mark.parametrize("seed", range(3))
def test_a_client_may_be_killed_at_any_moment(daemon: Daemon, top: Path, seed: int) -> None:
    chance = random.Random(seed)
    with innocent_of(daemon, top) as innocent:
        before = held(daemon)
        made: list[str] = []
        for n in range(12):
            with attacker_of(daemon) as attacker:
                attacker.begin("busy", top, seed)
                for _ in range(chance.randrange(30)):
                    made.append(f"{n}-{len(made)}")
                    (top / made[-1]).touch()
                time.sleep(chance.random() * 0.05)
                attacker.kill()
        check_unharmed(daemon, innocent, top, made)
        wait_until(lambda: held(daemon) == before, "nothing is left of them")


def test_a_client_may_stop_at_any_moment(daemon: Daemon, top: Path) -> None:
    chance = random.Random(1)
    with innocent_of(daemon, top) as innocent, attacker_of(daemon) as attacker:
        made: list[str] = []
        for n in range(15):
            if n == 5:
                attacker.begin("busy", top, n)
            os.kill(attacker.pid, signal.SIGSTOP)
            for _ in range(100):
                made.append(f"{len(made)}")
                (top / made[-1]).touch()
            assert paths(innocent.hear(), Mask.CREATE, top) == made[-100:]
            os.kill(attacker.pid, signal.SIGCONT)
            time.sleep(chance.random() * 0.02)
        os.kill(attacker.pid, signal.SIGSTOP)
        check_unharmed(daemon, innocent, top, [])


def test_a_user_namespace_gives_no_rights(daemon: Daemon, top: Path) -> None:
    (top / "private").mkdir(mode=0o700)
    with Puppet(lambda: Namespaced(daemon.socket_path)) as user:
        assert user.ids() == (0, 0)
        with pytest.raises(PermissionError):
            user.open_path(top / "private")
        user.watch(top)
        (status,) = user.ask(messages.Status).groups
        assert status.uid == USER
        for name in ("private/secret", "known"):
            (top / name).touch()
        assert set(paths(user.hear(), Mask.CREATE, top)) == {"known"}
        (top / "private").chmod(0o755)
        user.hear()
        (top / "private/shown").touch()
        assert paths(user.hear(), Mask.CREATE, top) == ["private/shown"]


class Namespaced(Client):
    """A client that is root, in a user namespace of its own."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: its own files in /proc are its own again
        if libc.unshare(0x10000000):  # CLONE_NEWUSER
            raise OSError(ctypes.get_errno(), "no user namespace")
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {USER} 1"), ("gid_map", f"0 {USER} 1")):
            Path("/proc/self", name).write_text(text)
        super().__init__(path)

    def ids(self) -> tuple[int, int]:
        return os.getuid(), os.getgid()
