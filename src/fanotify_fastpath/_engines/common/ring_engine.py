"""
What engines that read a ring have in common: the stream, the two threads that read, and the end.

Two threads may read: the user's, while it waits for events; and the housekeeper, while the user's is away handling
them.
"""

import os
import select
import time
from abc import ABC, abstractmethod

from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common.housekeeper import Errand, Housekeeper
from fanotify_fastpath._engines.common.store import Store
from fanotify_fastpath._engines.common.turns import Turns
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import Closed
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import Mask


class RingEngine(ABC):
    """
    The half of an engine (:class:`~fanotify_fastpath._engines.base.Engine`) that its user reads.

    :param max_queued: events kept for a slow user before they are counted as lost
    """

    name: str

    def __init__(self, max_queued: int) -> None:
        self.counters = Counters()
        self._turns = Turns()
        self._lock = self._turns.lock
        self._store = Store(max_queued, self._count_lost)
        try:
            self._epoll = select.epoll()
        except BaseException:
            self._store.close()
            raise
        self._epoll.register(self._store.fileno(), select.EPOLLIN)
        self._chain: Chain | None = None
        self._housekeeper: Housekeeper | None = None
        self._errand: Errand | None = None
        self._is_away = True
        self._is_closed = False
        self._n_readers = 0
        self._n_reads = 0
        self._pid = os.getpid()
        self._failure: Exception | None = None

    @abstractmethod
    def _drain(self) -> None:
        """Take what has happened up to now."""

    @abstractmethod
    def group_fds(self) -> list[int]:
        """Descriptors that are readable when there is something to take."""

    @abstractmethod
    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved."""

    @abstractmethod
    def _close_parts(self) -> None:
        """Let go of all but what a waiting read needs; both threads are through."""

    def _after_close(self) -> None:  # noqa: B027 (nothing is left for most)
        """All is closed, and the lock is free."""

    def has_backlog(self) -> bool:
        """Tell whether there is something to take of which no descriptor tells."""
        return False

    # --- the stream ---

    def use_chain(self, chain: Chain) -> None:
        """Send every event through *chain*."""
        self._chain = chain

    def put(self, events: list[Event]) -> None:
        """Put events into the stream."""
        self.counters.n_delivered += len(events)
        self._store.extend(events)

    def inject(self, event: Event) -> None:
        """Put an event that was made elsewhere into the stream."""
        with self._turns.urgent():
            self.put([event])
            self._signal()

    def tell(self, mask: Mask, path: bytes | None) -> None:
        """Put an event about the stream itself into it."""
        self.counters.n_rescans += 1 if mask & Mask.RESCAN else 0
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.put([Event(mask, path, is_dir=True, time_ns=now_ns, engine=self.name)])

    def overflow(self, n_events: int | None) -> Event:
        """
        Make the event for a loss, and count it.

        :param n_events: None: nobody knows
        """
        self.counters.n_overflows += 1
        self.counters.n_lost += 1 if n_events is None else n_events
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return Event(Mask.Q_OVERFLOW, None, lost=n_events, time_ns=now_ns, engine=self.name)

    def _count_lost(self, n_events: int) -> None:
        self.counters.n_lost += n_events
        self.counters.n_delivered -= n_events

    # --- reading ---

    def read(self, max_events: int, timeout_s: float | None) -> list[Event]:
        """Wait for events, at most *timeout_s* (None: for ever), and return up to *max_events*, oldest first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            self._n_readers += 1
            self._n_reads += 1
            self._is_away = False
        try:
            while not self._store and not self._is_closed:
                if self._failure is not None:
                    raise self._failure
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._turns.pause(left)
                since_ns = time.monotonic_ns()
                if self.has_backlog() or self._epoll.poll(left, 1):
                    self._turns.note_wait(time.monotonic_ns() - since_ns)
                    self._pump()
                if deadline is not None and time.monotonic() >= deadline:
                    break
        except BaseException:
            with self._lock:
                self._leave()
            raise
        with self._lock:
            events = self._store.take(max_events)
            self._leave()
        return events

    def _pump(self) -> None:
        self._turns.let_others_in()
        with self._lock:
            if not self._is_closed:
                self._drain()
                self._store.quiet()

    def hold(self) -> None:
        """Somebody polls :meth:`fileno` from now on: it stays open, also past :meth:`close`, until :meth:`release`."""
        with self._lock:
            self._n_readers += 1

    def release(self) -> None:
        """The opposite of :meth:`hold`."""
        with self._lock:
            self._n_readers -= 1
            if self._is_closed:
                self._close_descriptors()

    def _leave(self) -> None:
        self._n_readers -= 1
        self._is_away = True
        if self._is_closed:
            self._close_descriptors()
        else:
            self._signal()
            self._arm()

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`read` would not wait."""
        return self._epoll.fileno()

    # --- for the housekeeper ---

    def _arm(self) -> None:
        if self._housekeeper is None:
            self._housekeeper = Housekeeper(self, self._errand)
            self._housekeeper.start()
        self._housekeeper.arm()

    def is_user_away(self) -> bool:
        """Tell whether no thread waits for events."""
        return self._is_away

    def n_user_reads(self) -> int:
        """Tell how often somebody has read."""
        return self._n_reads

    def relieve(self) -> None:
        """Read in the place of a user who is away."""
        self._pump()
        self._signal()

    def fail(self, error: Exception) -> None:
        """The housekeeper has failed: the next read says so."""
        self._failure = error
        self._store.wake()

    def _signal(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._store.signal(is_more_coming=self.has_backlog())

    # --- life ---

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("the group is closed")

    def close(self) -> None:
        """Undo everything; a :meth:`read` that waits in another thread ends."""
        if os.getpid() != self._pid:
            self._close_after_fork()
            return
        with self._turns.urgent():
            if self._is_closed:
                return
            self._is_closed = True
            # like a reader: what is waited for below stays open, though those who read leave meanwhile
            self._n_readers += 1
            self._store.wake()
        if self._housekeeper is not None:
            self._housekeeper.stop()
        with self._lock:
            self._close_parts()
            self._n_readers -= 1
            self._close_descriptors()
        self._after_close()

    def _close_after_fork(self) -> None:
        """In a child that inherited the group: touch neither locks nor what is shared."""
        self._is_closed = True

    def _close_descriptors(self) -> None:
        """Close what a waiting read polls, once nobody waits."""
        if self._is_closed and not self._n_readers and not self._epoll.closed:
            self._epoll.close()
            self._store.close()
