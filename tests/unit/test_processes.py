"""Who did it: when a process is looked at, and what is told of one that has changed or ended."""

import copy
import os
import pickle
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from children import DEADLINE_S
from fanotify_fastpath._engines.common.processes import Processes
from fanotify_fastpath.events import NOBODY, Process


class Child:
    """A process that takes another name with each line that it is given."""

    def __init__(self) -> None:
        code = (
            "import sys\n"
            "for line in sys.stdin:\n"
            "    open('/proc/self/comm', 'w').write(line.strip())\n"
            "    print(flush=True)\n"
        )
        self.process = subprocess.Popen(
            ["python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.tgid = self.process.pid

    def rename(self, comm: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(comm + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)


@contextmanager
def started() -> Iterator[Child]:
    child = Child()
    try:
        yield child
    finally:
        child.end()
        for pipe in (child.process.stdin, child.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def child() -> Iterator[Child]:
    with started() as found:
        found.rename("first")
        yield found


@pytest.fixture
def processes() -> Iterator[Processes]:
    table = Processes()
    yield table
    table.close()


def test_a_new_process_is_looked_at_at_once(processes: Processes, child: Child) -> None:
    met = processes.get(child.tgid)
    child.rename("second")
    assert met.comm == "first"
    assert met.uid == os.geteuid()
    assert met.exe == os.path.realpath(f"/proc/{child.tgid}/exe")


def test_a_known_process_is_looked_at_on_first_use_and_only_then(processes: Processes, child: Child) -> None:
    processes.get(child.tgid)
    processes.begin()
    later = processes.get(child.tgid)
    child.rename("second")
    assert later.comm == "second"
    child.rename("third")
    assert later.comm == "second"
    assert processes.get(child.tgid) is later


@pytest.mark.parametrize("end", ["settle", "begin", "close"])
def test_what_nobody_has_asked_for_is_settled_in_the_end(processes: Processes, child: Child, end: str) -> None:
    processes.get(child.tgid)
    processes.begin()
    later = processes.get(child.tgid)
    getattr(processes, end)()
    child.rename("second")
    assert later.comm == "first"


def test_of_a_known_process_that_has_ended_what_was_known_holds(processes: Processes, child: Child) -> None:
    exe = processes.get(child.tgid).exe
    processes.begin()
    later = processes.get(child.tgid)
    child.end()
    assert (later.comm, later.uid, later.exe) == ("first", os.geteuid(), exe)
    processes.begin()
    assert processes.get(child.tgid) is NOBODY


def test_files_of_a_process_are_read_as_long_as_it_lives(processes: Processes, child: Child) -> None:
    assert f"\nPid:\t{child.tgid}\n".encode() in processes.read(child.tgid, "status")
    processes.begin()
    child.rename("second")
    assert processes.read(child.tgid, "comm") == b"second\n"
    child.end()
    assert processes.read(child.tgid, "comm") == b""
    assert (processes.read(0, "comm"), processes.read(os.getpid(), "no such file")) == (b"", b"")


def test_an_event_after_another_program_was_executed_tells_its_name(processes: Processes) -> None:
    with subprocess.Popen(
        ["sh", "-c", "echo; read line; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdout.readline()
        assert processes.get(shell.pid).comm == "sh"
        processes.begin()
        later = processes.get(shell.pid)
        shell.stdin.write(b"go\n")
        shell.stdin.flush()
        shell.stdin.write(b"echo\n")
        shell.stdin.flush()
        assert shell.stdout.read(5) == b"echo\n"
        assert later.comm == "cat"
        assert later.exe == os.path.realpath(f"/proc/{shell.pid}/exe")
        shell.stdin.close()


def test_it_can_be_copied_and_pickled_before_it_was_looked_at(processes: Processes, child: Child) -> None:
    processes.get(child.tgid)
    for is_pickled in (False, True):
        processes.begin()
        later = processes.get(child.tgid)
        copied = pickle.loads(pickle.dumps(later)) if is_pickled else copy.copy(later)
        assert type(copied) is Process
        assert (copied.comm, copied.uid) == ("first", os.geteuid())


def test_it_has_no_other_attributes(processes: Processes, child: Child) -> None:
    processes.get(child.tgid)
    processes.begin()
    with pytest.raises(AttributeError, match="surname"):
        _ = processes.get(child.tgid).surname  # type: ignore[attr-defined]


def test_threads_may_ask_while_batches_begin_and_others_are_met(processes: Processes, child: Child) -> None:
    """Descriptors that are in use by one thread are not closed by another."""
    wrong: list[str | None] = []
    shown: list[Process] = []
    is_done = threading.Event()

    def ask() -> None:
        while not is_done.is_set():
            wrong.extend(process.comm for process in shown[-3:] if process.comm not in ("first", None))

    processes.get(child.tgid)
    others = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for n in range(500):
            processes.begin()
            processes.get(others[n % len(others)])
            shown.append(processes.get(child.tgid))
    finally:
        is_done.set()
        thread.join(DEADLINE_S)
    assert not wrong
    assert {process.comm for process in shown} == {"first"}


def test_no_more_than_some_are_kept_open(processes: Processes, monkeypatch: pytest.MonkeyPatch, child: Child) -> None:
    monkeypatch.setattr(processes, "_max_open", 2)
    n_before = len(os.listdir("/proc/self/fd"))
    processes.get(child.tgid)
    processes.begin()
    later = processes.get(child.tgid)
    with started() as second, started() as third:
        n_with_children = len(os.listdir("/proc/self/fd"))
        for other in (second, third):
            assert processes.get(other.tgid).comm is not None
        assert len(os.listdir("/proc/self/fd")) - n_with_children == 2
    assert later.comm == "first"
    assert len(os.listdir("/proc/self/fd")) - n_before <= 4
