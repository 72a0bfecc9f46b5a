"""The bounded store between reading and the user: past its bound events are counted, and the count becomes an event."""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import Mask

_OVERFLOW: Final = int(Mask.Q_OVERFLOW)


class Store:
    """
    Events that were decided and not yet taken. One thread puts, one takes (under the engine's lock for both counters).

    :param max_events: bound; past it, events are dropped and counted
    :param on_lost: told of each event dropped
    """

    def __init__(self, max_events: int, on_lost: Callable[[int], None]) -> None:
        self._events: deque[Event] = deque()
        self._max = max_events
        self._n_lost = 0
        self._on_lost = on_lost
        self._ready_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_signalled = False

    def put(self, event: Event) -> None:
        """Store one event; when full, count it as lost, unless it is itself about the stream."""
        if len(self._events) >= self._max and not int(event.mask) & _OVERFLOW:
            self._n_lost += 1
            self._on_lost(1)
            return
        if self._n_lost:
            self._say_lost()
        self._events.append(event)

    def extend(self, events: list[Event]) -> None:
        """Store many, as by :meth:`put` for each."""
        if self._n_lost or len(self._events) + len(events) > self._max:
            for event in events:
                self.put(event)
        else:
            self._events.extend(events)

    def take(self, max_events: int) -> list[Event]:
        """Take up to *max_events*, oldest first."""
        events = self._events
        if len(events) <= max_events:
            taken = list(events)
            events.clear()
            if self._n_lost:
                self._say_lost()
            return taken
        return [events.popleft() for _ in range(max_events)]

    def signal(self, *, is_more_coming: bool) -> None:
        """
        Make the descriptor readable while there is something to take, and only then.

        :param is_more_coming: there is something to read that no other descriptor tells of
        """
        is_ready = bool(self._events) or is_more_coming
        if is_ready and not self._is_signalled:
            self._is_signalled = True
            os.eventfd_write(self._ready_fd, 1)
        elif not is_ready and self._is_signalled:
            self._is_signalled = False
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._ready_fd)

    def quiet(self) -> None:
        """
        While nothing is stored, make the descriptor unreadable: what it told of was read, and came to nothing.

        Who waits asks for what is left by other means, and would else wait no more until the next event.
        """
        if self._is_signalled and not self._events:
            self.signal(is_more_coming=False)

    def wake(self) -> None:
        """Make the descriptor readable for good: the end is near."""
        self._is_signalled = True
        os.eventfd_write(self._ready_fd, 1)

    def fileno(self) -> int:
        """A descriptor that is readable while events are stored."""
        return self._ready_fd

    def close(self) -> None:
        """Close the descriptor; what is stored can still be taken."""
        os.close(self._ready_fd)

    def __len__(self) -> int:
        return len(self._events)

    def _say_lost(self) -> None:
        overflow = Event(Mask.Q_OVERFLOW, None, lost=self._n_lost)
        overflow.time_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._n_lost = 0
        self._events.append(overflow)
