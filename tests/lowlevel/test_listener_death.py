"""Listeners that go away, and tasks that are killed, with answers outstanding (LTP fanotify07)."""

import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from children import fork
from fanotify_fastpath.lowlevel import EventRecord, InitFlag, Mask
from outcomes import errno_of

from .support import ADD, DEADLINE_S, FILESYSTEM, listen, new_file, touch

N_READERS = 16


class Readers:
    """Threads that read files, and how each ended."""

    def __init__(self, paths: list[Path]) -> None:
        self.results: list[str] = []
        self.threads = [threading.Thread(target=self._read, args=(path,)) for path in paths]
        for thread in self.threads:
            thread.start()

    def _read(self, path: Path) -> None:
        self.results.append(errno_of(path.read_bytes))

    def join(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.mark.parametrize("n_read", [0, 5, N_READERS])
def test_closing_the_group_allows_all_that_waits_read_or_not(ext4: Path, n_read: int) -> None:
    paths = [new_file(ext4, f"file{n}") for n in range(N_READERS)]
    with listen(InitFlag.CLASS_CONTENT) as group:
        group.mark(ADD | FILESYSTEM, Mask.ACCESS_PERM, ext4)
        watchdog = threading.Timer(DEADLINE_S, group.close)
        watchdog.start()
        readers = Readers(paths)
        held: list[EventRecord] = []
        while len(held) < n_read and select.select([group], [], [], DEADLINE_S)[0]:
            held += group.read_events(24)
        group.close()
        watchdog.cancel()
        watchdog.join()
        for event in held:
            os.close(event.fd)
        readers.join()
    assert readers.results == ["ok"] * N_READERS


def listen_and_answer(path: Path, n_answered: int, ready: int) -> None:
    """A listener process that answers some events, reads some more, and then waits to be killed."""
    signal.alarm(int(DEADLINE_S))  # kills it if nobody else does, which frees those who wait
    group = listen(InitFlag.CLASS_CONTENT)
    group.mark(ADD | FILESYSTEM, Mask.ACCESS_PERM, path)
    os.write(ready, b"1")
    n_seen = 0
    while n_seen < n_answered + 2:
        select.select([group], [], [])
        for event in group.read_events(24):
            if n_seen < n_answered:
                group.respond(event, True)
                os.close(event.fd)
            n_seen += 1
    os.write(ready, b"2")
    signal.pause()


def test_nobody_hangs_when_the_listener_is_killed_with_answers_outstanding(ext4: Path) -> None:
    paths = [new_file(ext4, f"file{n}") for n in range(N_READERS)]
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            listen_and_answer(ext4, 6, writer)
        finally:
            os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b"1"
        readers = Readers(paths)
        assert os.read(reader, 1) == b"2"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
    readers.join()
    assert readers.results == ["ok"] * N_READERS


def test_one_who_waits_can_be_killed(ext4: Path) -> None:
    path = new_file(ext4)
    gate_reader, gate_writer = os.pipe()
    pid = fork()
    if pid == 0:  # forked before the group exists, so that it holds no copy of it
        os.close(gate_writer)
        os.read(gate_reader, 1)
        touch(path)
        os._exit(0)
    with listen(InitFlag.CLASS_CONTENT) as group:
        watchdog = threading.Timer(DEADLINE_S, group.close)
        watchdog.start()
        group.mark(ADD, Mask.OPEN_PERM, path)
        os.close(gate_reader)
        os.close(gate_writer)
        assert select.select([group], [], [], DEADLINE_S)[0]
        (event,) = group.read_events()
        assert event.pid == pid
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        watchdog.cancel()
        watchdog.join()
        assert os.WTERMSIG(status) == signal.SIGKILL
        group.respond(event, True)  # too late, and harmless
        os.close(event.fd)
