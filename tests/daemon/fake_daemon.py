"""A daemon that watches nothing: it answers as it is told, and its ring has what is put there."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from children import DEADLINE_S
from fanotify_fastpath import Event, Group
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath._wire.memory import MemoryRing
from fanotify_fastpath._wire.messages import Answer, Request
from fanotify_fastpath.errors import Closed
from outcomes import wait_until


class FakeDaemon(Closing):
    """
    Serves one connection after the other, in a thread.

    :param path: of its socket
    :ivar asked: the requests of all connections
    :ivar answer: may give another answer than the usual one, or raise what is sent as a failure
    :ivar ring: of the group that is open
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[Request] = []
        self.answer: Callable[[Request], Answer | None] = lambda request: None
        self.limits: dict[str, int] = {}
        self.ring: MemoryRing | None = None
        self._channel: Channel[Request] | None = None
        self._is_closed = False
        self.start()

    def start(self) -> None:
        """Listen, perhaps again."""
        self._is_closed = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(os.fspath(self.path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def asked_for(self, *kinds: type[Request]) -> list[Request]:
        """The requests of these types so far."""
        return [request for request in self.asked if isinstance(request, kinds)]

    def put(self, *records: bytes) -> None:
        """Put records into the ring."""
        wait_until(lambda: self.ring is not None, "a group")
        assert self.ring is not None
        for record in records:
            assert self.ring.put(record)

    def say(self, message: Answer) -> None:
        """Send something that nobody has asked for."""
        assert self._channel is not None
        self._channel.send(message)

    def drop(self) -> None:
        """End the connection that is there."""
        channel = self._channel
        assert channel is not None
        channel.shutdown()
        wait_until(lambda: self._channel is not channel, "the end of a connection")

    def close(self) -> None:
        """Go away: nobody listens any more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._socket.shutdown(socket.SHUT_RDWR)
        if self._channel is not None:
            self._channel.shutdown()
        self._thread.join(DEADLINE_S)
        self._socket.close()
        self.path.unlink()

    def _serve(self) -> None:
        while not self._is_closed:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._channel = Channel(connection, messages.decode_request)
            try:
                self._converse(self._channel)
            except (OSError, Closed):
                pass
            finally:
                self._channel.close()
                self._channel = None
                if self.ring is not None:
                    self.ring.close()
                    self.ring = None

    def _converse(self, channel: "Channel[Request]") -> None:
        while (received := channel.receive()) is not None:
            request = received.message
            self.asked.append(request)
            try:
                answer = self.answer(request) or self._usual_answer(request)
            except OSError as exc:
                answer = messages.failure(request.id, exc)
            finally:
                for fd in received.fds:
                    os.close(fd)
            fds = (self.ring.fd, self.ring.wake_fd) if isinstance(answer, messages.Opened) and self.ring else ()
            channel.send(answer, fds)

    def _usual_answer(self, request: Request) -> Answer:
        if isinstance(request, messages.Hello):
            return messages.Welcome(request.id, request.version, "fake", "fake", self.limits)
        if isinstance(request, messages.Open):
            self.ring = MemoryRing(request.ring_bytes)
            return messages.Opened(request.id, "fake", "memory", request.ring_bytes)
        if isinstance(request, messages.Sync):
            return messages.Synced(request.id, {})
        return messages.Done(request.id)


def read(group: Group, n: int) -> list[Event]:
    """The next n events."""
    events: list[Event] = []
    while len(events) < n:
        batch = group.read(timeout_s=5)
        assert batch, f"after {events} nothing more"
        events += batch
    assert len(events) == n
    return events


def names(requests: list[Request]) -> list[str]:
    """The types of requests, without those that only wait."""
    return [type(request).__name__ for request in requests if not isinstance(request, messages.Sync)]


def included(fake: FakeDaemon) -> list[tuple[bytes, bool]]:
    """What was put into sets so far: paths, and whether they are roots."""
    return [(r.path, r.included) for r in fake.asked if isinstance(r, messages.Include)]
