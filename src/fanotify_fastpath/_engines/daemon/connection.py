"""
One connection to the daemon: requests and their answers, and the ring that the daemon fills.

A connection that has ended does not come back; another one takes its place (``engine``).
"""

import contextlib
import errno
import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fanotify_fastpath._bpf.ring import Batch, RingReader
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._wire.addresses import connect
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath._wire.messages import (
    VERSION,
    Answer,
    Done,
    Failed,
    Gone,
    Hello,
    Open,
    Opened,
    Request,
    Sync,
    Synced,
    Welcome,
    decode_answer,
    exception_of,
)
from fanotify_fastpath.errors import Closed, InvalidArgument, LimitReached, ProtocolError

#: of the ring that is wished for
RING_BYTES: Final = 1 << 22
#: a daemon that answers no request for so long is taken for dead
ANSWER_TIMEOUT_S: Final = 10.0
#: when this user makes more requests than the daemon takes from it in a second
_TOO_FAST_S: Final = 0.03
#: records taken at once
_TAKE_MAX: Final = 4096
_WAKE_BYTES: Final = 1 << 16

A = TypeVar("A", bound=Answer)


class ConnectionLost(Exception):
    """The daemon has ended the connection, or does not answer."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a group is to be like (:class:`~fanotify_fastpath._wire.messages.Open`)."""

    include_self: bool
    follow_submounts: bool
    with_tid: bool
    merge: bool


class Connection(Closing):
    """
    Connects when it is made; :meth:`open` does the rest. One thread at a time uses it.

    :param timeout_s: how long to wait while others are connecting
    :ivar is_over: it has ended, and is to be closed
    :ivar is_bpf: programs in the kernel fill the ring, not the daemon: once :meth:`open` has returned
    :raises UnsupportedFeature: no daemon is there
    :raises NotPermitted: this user may not connect
    :raises KernelRefused: it cannot be connected to
    """

    def __init__(self, timeout_s: float) -> None:
        self.is_over = self.is_bpf = False
        self._channel: Channel[Answer] = Channel(connect(timeout_s=timeout_s), decode_answer)
        self._poll = select.poll()
        self._poll.register(self._channel.fileno(), select.POLLIN)
        self._ring: RingReader | None = None
        self._wake_fd = -1
        self._n_requests = 0

    def open(self, wishes: Wishes) -> None:
        """
        Open the group of this connection.

        :raises FastpathError: the daemon refuses
        :raises ConnectionLost: it went away
        """
        welcome, _ = self._ask(Welcome, Hello, version=VERSION, client=_own_name())
        ring_bytes = min(RING_BYTES, welcome.limits.get("ring_bytes", RING_BYTES))
        opened, (ring_fd, self._wake_fd) = self._ask(
            Opened,
            Open,
            include_self=wishes.include_self,
            follow_submounts=wishes.follow_submounts,
            with_tid=wishes.with_tid,
            merge=wishes.merge,
            ring_bytes=1 << ring_bytes.bit_length() - 1,
        )
        self.is_bpf = opened.ring == "bpf"
        try:
            self._ring = RingReader(ring_fd, opened.ring_bytes)
        finally:
            os.close(ring_fd)

    def ask(self, kind: Callable[..., Request], fds: Sequence[int] = (), **fields: Any) -> None:
        """
        Have something done.

        :param kind: class of the request; its number is made here
        :param fds: its descriptors; they stay the caller's
        :raises FastpathError: the daemon refuses; nothing has changed
        :raises ConnectionLost: it went away
        """
        self._ask(Done, kind, fds, **fields)

    def sync(self) -> dict[str, int]:
        """
        Wait until all that has happened is in the ring.

        :return: what was counted for this group
        :raises ConnectionLost: it went away
        """
        return self._ask(Synced, Sync)[0].counters

    def fds(self) -> list[int]:
        """Descriptors that are readable when there is something in the ring, or the connection is at its end."""
        return [self._wake_fd, self._channel.fileno()]

    def look(self) -> None:
        """See whether the daemon has ended the connection. What it did before is in the ring by then."""
        if not self._poll.poll(0):  # as nearly always, and to try to receive would cost more
            return
        try:
            while (received := self._channel.receive(0)) is not None:
                _close_all(received.fds)
            self.is_over = True
        except TimeoutError:
            pass
        except (ProtocolError, OSError):
            self.is_over = True

    def drain(self, handle: Callable[[Batch], None]) -> bool:
        """
        Hand on what is in the ring up to now; more may come for ever.

        :return: whether there is more
        """
        assert self._ring is not None
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        # before the ring is looked at: what comes from now on makes it readable again
        if not self.is_bpf:
            with contextlib.suppress(BlockingIOError):
                if not os.read(self._wake_fd, _WAKE_BYTES):  # nobody is left who could write
                    self.is_over = True
        while len(batch := self._take()):
            handle(batch)
            if not self.is_over and batch.column("boot_ns")[-1] > now_ns:
                return True
        return False

    def _take(self) -> Batch:
        assert self._ring is not None
        try:
            return self._ring.read_batch(_TAKE_MAX)
        except InvalidArgument:  # whoever wrote that is not to be believed any more
            self.is_over = True
            return Batch(b"", b"", bytes(4), 0, 0)

    def _ask(
        self, expected: type[A], kind: Callable[..., Request], fds: Sequence[int] = (), **fields: Any
    ) -> tuple[A, tuple[int, ...]]:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return self._ask_once(expected, kind, fds, fields)
            except LimitReached as exc:
                if exc.errno != errno.EAGAIN or time.monotonic() >= deadline:
                    raise
                time.sleep(_TOO_FAST_S)

    def _ask_once(
        self, expected: type[A], kind: Callable[..., Request], fds: Sequence[int], fields: dict[str, Any]
    ) -> tuple[A, tuple[int, ...]]:
        if self.is_over:
            raise ConnectionLost
        self._n_requests += 1
        try:
            with contextlib.suppress(ConnectionError):  # perhaps it has said why it ended the connection
                self._channel.send(kind(id=self._n_requests, **fields), fds)
            answer, answer_fds = self._answer(self._n_requests)
        except InvalidArgument:  # it was not sent
            raise
        except (ProtocolError, Closed, OSError) as exc:  # TimeoutError and ConnectionError are OSErrors
            self.is_over = True
            raise ConnectionLost from exc
        if isinstance(answer, expected):
            return answer, answer_fds
        _close_all(answer_fds)
        if isinstance(answer, Failed):
            raise exception_of(answer)
        self.is_over = True
        raise ConnectionLost

    def _answer(self, request_id: int) -> tuple[Answer, tuple[int, ...]]:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while (received := self._channel.receive(max(0.0, deadline - time.monotonic()))) is not None:
            message = received.message
            if message.id == request_id or (isinstance(message, Failed) and not message.id):
                return received.message, received.fds
            _close_all(received.fds)
            if not isinstance(message, Gone):
                raise ProtocolError(f"the daemon answers request {message.id}, and was asked {request_id}")
        raise ConnectionResetError

    def interrupt(self) -> None:
        """End it from another thread: whoever waits for an answer waits no longer."""
        with contextlib.suppress(Closed, OSError):
            self._channel.shutdown()

    def close(self) -> None:
        """Close the descriptors; the daemon sees that it is the end."""
        self._channel.close()
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _own_name() -> str:
    """What this process is, for people who look at the daemon."""
    with contextlib.suppress(OSError), open("/proc/self/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "?"
