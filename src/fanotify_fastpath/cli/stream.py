"""From a source of events to the output: waiting, batches, and every way to end."""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from fanotify_fastpath.cli.exits import ReaderGone
from fanotify_fastpath.cli.signals import Stop
from fanotify_fastpath.events import Event

_READ_MAX = 4096
#: after a signal, what waits is written out for at most so long: a storm must not keep us
_DRAIN_S = 2.0
#: poll(2) takes an int
_POLL_MAX_MS = 1 << 30


class Source(Protocol):
    """What events are read from: a group or a guard."""

    def fileno(self) -> int: ...
    def read(self, max_events: int = ..., timeout_s: float | None = ...) -> list[Event]: ...


class Ending(Enum):
    """Why a stream ended."""

    COUNT = auto()
    TIMEOUT = auto()
    SIGNAL = auto()
    NOTHING_LEFT = auto()
    READER_GONE = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """
    When to stop, and what makes a batch.

    :ivar count: events after which it ends
    :ivar timeout_s: seconds after which it ends
    :ivar quiet_s: a batch ends when nothing came for so long; None: no batches, every event at once
    :ivar max_wait_s: a batch ends so long after its first event at the latest
    :ivar settle_s: after a signal, the source is empty when nothing came for so long
    """

    count: int | None = None
    timeout_s: float | None = None
    quiet_s: float | None = None
    max_wait_s: float = 1.0
    settle_s: float = 0.0


class Stream:
    """
    Moves events until something ends it.

    :param emit: writes a list of events
    :param is_over: told of each list after it was written; True when nothing more will come
    :param output_fd: watched for its reader to go away; None: not watched
    :ivar n_events: events written
    :ivar was_cut: the drain after a signal had to stop before the source was empty
    """

    def __init__(
        self,
        source: Source,
        emit: Callable[[list[Event]], None],
        limits: Limits,
        stop: Stop,
        *,
        is_over: Callable[[list[Event]], bool] = lambda events: False,
        output_fd: int | None = None,
    ) -> None:
        self._source = source
        self._emit = emit
        self._limits = limits
        self._stop = stop
        self._is_over = is_over
        self._ending: Ending | None = None
        self._output_fd = output_fd
        self._poll = select.poll()
        self._poll.register(source.fileno(), select.POLLIN)
        self._poll.register(stop.fileno(), select.POLLIN)
        if output_fd is not None:
            self._poll.register(output_fd, 0)  # errors come without being asked for: POLLERR when no reader is left
        self.n_events = 0
        self.was_cut = False

    def run(self) -> Ending:
        """Move events until the end; say which."""
        timeout_s = self._limits.timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while self._ending is None:
                if self._limits.quiet_s is None:
                    self._write(self._read(deadline))
                else:
                    self._write(self._read_batch(deadline, self._limits.quiet_s))
                if self._ending is None and deadline is not None and time.monotonic() >= deadline:
                    self._ending = Ending.TIMEOUT
        except ReaderGone:
            self._ending = Ending.READER_GONE
        return self._ending

    def _write(self, events: list[Event]) -> None:
        if not events:
            return
        self._emit(events)
        self.n_events += len(events)
        if self.n_events == self._limits.count:
            self._ending = Ending.COUNT
        elif self._ending is None and self._is_over(events):
            self._ending = Ending.NOTHING_LEFT

    def _room(self, n_taken: int = 0) -> int:
        if self._limits.count is None:
            return _READ_MAX
        return min(_READ_MAX, self._limits.count - self.n_events - n_taken)

    def _read(self, deadline: float | None, n_taken: int = 0) -> list[Event]:
        """Wait for events; an empty list when the deadline passed or the end was found (then ``_ending`` says so)."""
        while True:
            if self._stop.is_requested:
                return self._drain(n_taken)
            events = self._source.read(self._room(n_taken), 0)
            if events:
                return events
            left_ms = None if deadline is None else min(max(0.0, deadline - time.monotonic()) * 1000, _POLL_MAX_MS)
            ready = self._poll.poll(left_ms)
            if not ready and left_ms is not None:
                return []
            if any(fd == self._output_fd for fd, _ in ready):
                raise ReaderGone
            if any(mask & select.POLLNVAL for _, mask in ready):
                self._ending = Ending.NOTHING_LEFT
                return []

    def _read_batch(self, deadline: float | None, quiet_s: float) -> list[Event]:
        batch = self._read(deadline)
        end = time.monotonic() + self._limits.max_wait_s
        if deadline is not None:
            end = min(end, deadline)
        while batch and self._ending is None and self._room(len(batch)) > 0 and (now := time.monotonic()) < end:
            more = self._read(min(end, now + quiet_s), len(batch))
            if not more:
                break
            batch += more
        return batch

    def _drain(self, n_taken: int) -> list[Event]:
        """A signal came: take what waits."""
        self._ending = Ending.SIGNAL
        drained: list[Event] = []
        end = time.monotonic() + _DRAIN_S
        while (room := self._room(n_taken + len(drained))) > 0:
            events = self._source.read(room, self._limits.settle_s)
            if not events:
                break
            drained += events
            if time.monotonic() >= end:
                self.was_cut = True
                break
        return drained
