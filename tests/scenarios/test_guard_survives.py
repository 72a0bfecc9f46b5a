"""Whoever dies, hangs or stops, the listener or the guardian: nobody waits for long."""

import os
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
from fanotify_fastpath import Mask, guard
from outcomes import wait_until

from . import actions
from .support import SHORT_S, Other, guardian_of, hear, refusal, timed_read

SRC = Path(fan.__file__).parent.parent

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
        assert (result, seconds < SHORT_S) == ("EPERM", True), seconds


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
