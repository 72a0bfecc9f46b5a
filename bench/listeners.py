"""Listeners as processes: started, waited for, stopped, asked what they saw."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.outputs import Seen, made_at_in_line, parse_cpu_ticks, parse_plain
from bench.place import Place

_READY_WITHIN_S = 120.0
_QUIET_S = 0.4
_SETTLE_WITHIN_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Running:
    """
    A listener that is ready.

    :ivar setup_ns: how long its own set-up took, without starting an interpreter
    :ivar start_ns: how long it took from starting the process until it was ready
    """

    def __init__(self, process: subprocess.Popen[str], start_ns: int, setup_ns: int) -> None:
        self.process = process
        self.start_ns = start_ns
        self.setup_ns = setup_ns
        self.take: Callable[[], Seen] = Seen

    def cpu_s(self) -> float:
        """User and system time of the process so far, in seconds."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as stat:
            return parse_cpu_ticks(stat.read()) / _TICKS

    def rss_bytes(self) -> int:
        """Resident memory of the process."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def settle(self, quiet_s: float = _QUIET_S) -> None:
        """Wait until it has nothing to do any more: until it used no CPU time for a while."""
        end = time.monotonic() + _SETTLE_WITHIN_S
        while time.monotonic() < end:
            before = self.cpu_s()
            time.sleep(quiet_s)
            if self.cpu_s() - before <= 1 / _TICKS:
                return

    def suspend(self) -> None:
        """Stop the process; the kernel queues for it."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self.process.send_signal(signal.SIGCONT)


Start = Callable[[Place, str, str], contextlib.AbstractContextManager[Running | None]]


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One way to watch, or not to.

    :ivar name: as in the tables
    :ivar start: starts it with ``(place, root, mode)``; a context manager
    :ivar version: None if it is not installed
    """

    name: str
    start: Start
    version: str | None


@contextlib.contextmanager
def nobody(place: Place, root: str, mode: str) -> Iterator[Running | None]:
    """Nobody watches."""
    yield None


def python(peer: str) -> Start:
    """A Python peer, in :mod:`bench.driver`."""

    @contextlib.contextmanager
    def start(place: Place, root: str, mode: str) -> Iterator[Running | None]:
        start_ns = time.monotonic_ns()
        with ended(
            subprocess.Popen(
                [sys.executable, "-m", "bench.driver", peer, mode, root],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_REPOSITORY,
            )
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            setup_ns = json.loads(process.stdout.readline())["setup_ns"]
            running = Running(process, time.monotonic_ns() - start_ns, setup_ns)

            def take() -> Seen:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.close()
                return Seen(**json.loads(process.stdout.readline()))

            running.take = take
            yield running

    return start


def command(arguments: list[str], says_ready: str | None, count: Callable[[Iterator[str], Seen], None]) -> Start:
    """A command that prints a line an event; its output goes to a file, and for latencies to a pipe that we read."""

    @contextlib.contextmanager
    def start(place: Place, root: str, mode: str) -> Iterator[Running | None]:
        output = f"{place.work}/output"
        is_latency = mode == "latency"
        start_ns = time.monotonic_ns()
        with (
            open(output, "wb") as file,
            ended(
                subprocess.Popen(
                    [part.format(root=root, mount=place.mount) for part in arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if is_latency else file if mode != "discard" else subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="surrogateescape",
                    cwd=place.mount,
                )
            ) as process,
        ):
            _wait_ready(process, says_ready)
            took_ns = time.monotonic_ns() - start_ns
            running = Running(process, took_ns, took_ns)
            reader = _LatencyReader(process) if is_latency else None

            def take() -> Seen:
                if reader is not None:
                    return Seen(latencies_ns=reader.latencies_ns)
                process.terminate()
                process.wait()
                seen = Seen()
                with open(output, encoding="utf-8", errors="surrogateescape") as lines:
                    count(lines, seen)
                if mode == "paths":
                    with open(output, "rb") as raw_lines:
                        seen.paths = [line.rstrip(b"\n").hex() for line in raw_lines]
                return seen

            running.take = take
            yield running

    return start


class _LatencyReader(threading.Thread):
    """Python code that reads a command's output, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.latencies_ns: list[int] = []
        self._seen: set[int] = set()
        self.start()

    def run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now_ns = time.monotonic_ns()
            made_ns = made_at_in_line(line)
            if made_ns is not None and made_ns not in self._seen:
                self._seen.add(made_ns)
                self.latencies_ns.append(now_ns - made_ns)


def plain(event_types: str, *, is_ignoring: bool = False) -> Start:
    """The C listener, asking for ``changes`` or ``all``, and perhaps ignoring all of that outside the subtree."""

    @contextlib.contextmanager
    def start(place: Place, root: str, mode: str) -> Iterator[Running | None]:
        arguments = [place.listener, place.mount, "latency" if mode == "latency" else event_types]
        arguments += [place.outside] if is_ignoring else []
        start_ns = time.monotonic_ns()
        pipe = subprocess.PIPE
        with ended(subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            took_ns = time.monotonic_ns() - start_ns
            running = Running(process, took_ns, took_ns)
            reader = _LatencyReader(process) if mode == "latency" else None

            def take() -> Seen:
                assert process.stdin is not None
                assert process.stdout is not None
                if reader is not None:
                    return Seen(latencies_ns=reader.latencies_ns)
                process.stdin.close()
                return parse_plain(process.stdout.read())

            running.take = take
            yield running

    return start


def _wait_ready(process: subprocess.Popen[str], says: str | None) -> None:
    """Wait for a line on standard error, or else for the command's fanotify mark."""
    end = time.monotonic() + _READY_WITHIN_S
    assert process.stderr is not None
    if says is not None:
        for line in process.stderr:
            if says in line:
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return
    while time.monotonic() < end and process.poll() is None:
        if _has_mark(process.pid):
            return
        time.sleep(0.001)
    raise RuntimeError(f"{process.args!r} did not become ready")


def _has_mark(tgid: int) -> bool:
    directory = f"/proc/{tgid}/fdinfo"
    for fd in os.listdir(directory):
        with contextlib.suppress(OSError), open(f"{directory}/{fd}", encoding="ascii") as info:
            if "fanotify sdev" in (text := info.read()) or "fanotify mnt_id" in text:
                return True
    return False


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End the process at the end, whatever happens."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
