"""Who did it, by descriptors of processes: none is taken for another that has the same number by now."""

import contextlib
import math
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._engines.common.processes import Processes
from fanotify_fastpath._engines.fanotify.doers import Doer, Doers
from fanotify_fastpath._uapi.constants import EPIDFD, NOPIDFD, InfoType

from .client import opened_as
from .reusing import end, fork_as, free_tgid
from .support import OTHER_USER, USER, Daemon
from .test_attacks_processes import hide_and_remove, stopped

#: for numbers of processes to go round
AGES_S = 3600.0
#: when a process started is known no better
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Reader:
    """Reads what the test queued."""

    def __init__(self, processes: Processes, round_s: float) -> None:
        self.queued = b""
        self.doers = Doers(self._take, int, processes, round_s)

    def _take(self, n_bytes: int) -> bytes:
        if not self.queued:
            raise BlockingIOError
        taken, self.queued = self.queued[:n_bytes], self.queued[n_bytes:]
        return taken

    def read(self, *found: tuple[int, int]) -> list[Doer]:
        """Who did what records tell of, of each a process id and a descriptor; these must be closed then."""
        self.queued += b"".join(record(*each) for each in found)
        self.doers.read_all()
        for _, pidfd in found:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(pidfd)
        return self.doers.claim()

    def uids(self, *found: tuple[int, int]) -> list[int | None]:
        """The users that are told at once."""
        return [doer.process.uid for doer in self.read(*found)]


def is_open(path: str) -> bool:
    """Whether this process has an open descriptor of it."""
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # which read the directory
            if os.readlink(f"/proc/self/fd/{fd}") == path:
                return True
    return False


def record(tgid: int, pidfd: int) -> bytes:
    return struct.pack("=IBBHQiiBBHi", 32, 3, 0, 24, Mask.CREATE, -1, tgid, InfoType.PIDFD, 0, 8, pidfd)


@pytest.fixture
def processes() -> Iterator[Processes]:
    table = Processes(8, -1.0)
    yield table
    table.close()


@pytest.fixture
def quick(processes: Processes) -> Reader:
    """For whom it takes ages."""
    return Reader(processes, AGES_S)


@pytest.fixture
def slow(processes: Processes) -> Reader:
    """Numbers may have gone round whenever it looks."""
    return Reader(processes, -math.inf)


@pytest.fixture
def tgid() -> Iterator[int]:
    """A number; whoever has it in the end is ended."""
    number = free_tgid()
    yield number
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(number, os.WNOHANG) == (0, 0):
            end(number)


def start(tgid: int, uid: int) -> int:
    fork_as(tgid, uid, lambda: None, stays=True)
    time.sleep(2 * TICK_S)
    return tgid


def test_a_process_that_runs_is_told_however_long_it_takes(quick: Reader, slow: Reader, tgid: int) -> None:
    start(tgid, USER)
    for reader in (quick, slow):
        assert reader.uids((tgid, os.pidfd_open(tgid)), (tgid, os.pidfd_open(tgid))) == [USER, USER]
    end(tgid)


def test_one_that_is_gone_is_nobody_though_another_has_its_number(quick: Reader, slow: Reader, tgid: int) -> None:
    start(tgid, USER)
    for reader in (quick, slow):
        assert reader.uids((tgid, NOPIDFD), (tgid, EPIDFD), (0, NOPIDFD)) == [None, None, None]
    end(tgid)


def test_one_that_ended_before_it_was_looked_at_is_not_the_next_of_its_number(slow: Reader, tgid: int) -> None:
    (theirs,) = slow.read((start(tgid, OTHER_USER), os.pidfd_open(tgid)))
    end(tgid)
    start(tgid, USER)
    (mine,) = slow.read((tgid, os.pidfd_open(tgid)))
    assert (theirs.process.uid, mine.process.uid) == (None, USER)
    end(tgid)


def test_one_that_was_known_is_not_the_next_of_its_number(quick: Reader, slow: Reader, tgid: int) -> None:
    for reader in (quick, slow):
        for uid in (USER, OTHER_USER):
            start(tgid, uid)
            assert reader.uids((tgid, os.pidfd_open(tgid))) == [uid]
            end(tgid)


def test_what_was_found_holds_until_numbers_may_have_gone_round(quick: Reader, slow: Reader, tgid: int) -> None:
    start(tgid, USER)
    for reader in (quick, slow):
        reader.uids((tgid, os.pidfd_open(tgid)))
    end(tgid)
    assert quick.uids((tgid, NOPIDFD)) == [USER]
    assert slow.uids((tgid, NOPIDFD)) == [None]


def test_what_was_found_says_nothing_of_records_that_were_read_before(quick: Reader, tgid: int) -> None:
    (theirs,) = quick.read((tgid, NOPIDFD))
    start(tgid, USER)
    same_read = quick.read((tgid, os.pidfd_open(tgid)), (tgid, NOPIDFD))
    assert same_read[0].process.uid == USER
    assert (same_read[1].process.uid, theirs.process.uid) == (None, None)
    end(tgid)


def test_one_group_is_not_told_what_the_records_of_another_tell(quick: Reader, processes: Processes, tgid: int) -> None:
    start(tgid, USER)
    quick.uids((tgid, os.pidfd_open(tgid)))
    end(tgid)
    assert Reader(processes, AGES_S).uids((tgid, NOPIDFD)) == [None]


def test_of_this_process_nothing_is_told(quick: Reader) -> None:
    assert quick.uids((os.getpid(), os.pidfd_open(os.getpid()))) == [None]


def test_nobody_is_looked_at_before_somebody_asks(quick: Reader) -> None:
    pid = os.getppid()
    doers = quick.read((pid, os.pidfd_open(pid)), (pid, os.pidfd_open(pid)))
    assert not is_open(f"/proc/{pid}")
    assert doers[0].process is doers[1].process
    assert is_open(f"/proc/{pid}")


def test_what_comes_while_it_reads_is_left_for_the_next_time(processes: Processes) -> None:
    n_queued = 1000

    def read(n_bytes: int) -> bytes:
        return struct.pack("=IBBHQii", 24, 3, 0, 24, Mask.CREATE, -1, 0) * (n_bytes // 24)

    buffers, is_all = Doers(read, lambda: n_queued, processes).read_all()
    n_read = sum(len(buffer) // 24 for buffer in buffers)
    n_each = len(buffers[0]) // 24
    assert is_all
    assert n_queued + n_each <= n_read < n_queued + 2 * n_each


def test_descriptors_in_records_that_cannot_be_understood_are_closed(processes: Processes) -> None:
    pidfd = os.pidfd_open(os.getpid())
    Doers(lambda _: record(os.getpid(), pidfd) + b"broken", int, processes).read_all()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pidfd)


def test_who_did_it_is_told_where_records_are_put_in_order(daemon: Daemon, top: Path) -> None:
    def work() -> None:
        hide_and_remove(top / "mine")
        (top / "a").touch()
        for old, new in ("ab", "ba", "ab", "bc"):
            os.rename(top / old, top / new)

    with opened_as(daemon) as user:
        user.watch(top)
        with stopped(daemon):
            mine = fork_as(free_tgid(), USER, work, stays=True)
        try:
            heard = [each for each in user.hear() if not each.is_told]
        finally:
            end(mine)
    assert {"mine", "secret", "a", "b", "c"} == {os.path.basename(each.path) for each in heard}
    assert {(each.tgid, each.uid) for each in heard} == {(mine, USER)}
