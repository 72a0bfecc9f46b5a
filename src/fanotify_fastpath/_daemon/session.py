"""
One connection: a thread that answers the client's requests in order, and hands on the events of its group.

What goes wrong here ends this connection and no other: a request that waits for ever in a filesystem of the client's
own keeps only this thread.
"""

import contextlib
import itertools
import logging
import os
import select
import threading
import time
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from fanotify_fastpath._daemon.access import check_root
from fanotify_fastpath._daemon.account import ConnectionAccount
from fanotify_fastpath._daemon.descriptors import Descriptors
from fanotify_fastpath._daemon.group import ClientGroup, open_group
from fanotify_fastpath._daemon.kernel_group import KernelGroup, open_kernel_group
from fanotify_fastpath._daemon.logs import log_bounded, log_failure
from fanotify_fastpath._daemon.namespaces import as_mounted_here
from fanotify_fastpath._daemon.peer import Peer
from fanotify_fastpath._daemon.policy import Rights
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath.errors import FastpathError, InvalidArgument, LimitReached, ProtocolError, UnsupportedFeature
from fanotify_fastpath.marks import Scope, check_mask
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root, identify

#: a client that has not said which version it speaks by then is none
HELLO_TIMEOUT_S: Final = 5.0
#: after a request too many, none is read for so long
_DEAF_S: Final = 0.02

_numbers = itertools.count(1)


class Host(Protocol):
    """What a session needs of the server."""

    server_name: str
    engine_name: str
    descriptors: Descriptors

    def statuses(self, uid: int, after: int) -> tuple[list[messages.GroupStatus], bool]: ...
    def ended(self, session: "Session") -> None: ...


class _End(Exception):
    """The connection is over, for a reason that needs no more words."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why the connection is ended from outside."""

    reason: str


class Session:
    """
    A connection, from :meth:`start` until the client or the server ends it.

    :param connection: it is the session's from now on, and so are *peer* and *account*
    :ivar number: of this connection, never used again
    :raises LimitReached: there are too many for the descriptors that there are
    """

    def __init__(
        self,
        host: Host,
        channel: "Channel[messages.Request]",
        peer: Peer,
        rights: Rights,
        account: ConnectionAccount,
    ) -> None:
        self.number = next(_numbers)
        self.peer = peer
        self.rights = rights
        self._host = host
        self._channel = channel
        self._account = account
        self._group: ClientGroup | KernelGroup | None = None
        self._client = ""
        self._is_greeted = False
        self._stop: _Stop | None = None
        self._deaf_until_s = 0.0
        self._began_s = time.monotonic()
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            host.descriptors.take(1, 0)
        except LimitReached:
            os.close(self._wake_fd)
            raise

    def start(self) -> None:
        """
        Begin to serve, in a thread of its own.

        :raises RuntimeError: there can be no more threads
        """
        threading.Thread(target=self._run, name=f"fanfp-session-{self.number}", daemon=True).start()

    def stop(self, reason: str) -> None:
        """Have the connection end, from any thread; the client is told why."""
        with self._wake_lock:
            self._stop = self._stop or _Stop(reason)
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def use_rights(self, rights: Rights) -> None:
        """The configuration has changed: what is asked for from now on is held to this, from any thread."""
        self.rights = rights
        self._account.limits = rights.limits
        if not rights.allowed:
            self.stop(f"user {rights.uid} may no longer use the daemon")

    def close(self) -> None:
        """Close everything; for a session that runs only from its own thread."""
        with contextlib.ExitStack() as exits:
            exits.callback(self._host.descriptors.take, -1, -1 if self._group is not None else 0)
            exits.callback(self._account.close)
            exits.callback(self.peer.close)
            exits.callback(self._close_wake)
            exits.callback(self._channel.close)
            if self._group is not None:
                exits.callback(self._group.close)
                if self._stop is None:
                    exits.callback(self._group.discard)

    def _close_wake(self) -> None:
        with self._wake_lock:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def status(self, *, with_others: bool) -> messages.GroupStatus | None:
        """
        Tell about the group, from any thread; None: there is none.

        :param with_others: also what tells how busy others are
        """
        group = self._group
        if group is None:
            return None
        return messages.GroupStatus(
            group=self.number,
            uid=self.peer.uid,
            tgid=self.peer.tgid,
            client=self._client,
            engine=group.engine_name,
            age_s=int(time.monotonic() - self._began_s),
            n_sets=len(group.holdings.sets),
            n_roots=group.holdings.n_roots,
            n_marks=group.holdings.n_marks,
            ring_bytes=group.ring.size_bytes,
            counters=group.counters(with_others=with_others),
        )

    # --- the thread ---

    def _run(self) -> None:
        try:
            self._serve()
        except _End:
            pass
        except ProtocolError as exc:
            log_bounded(logging.INFO, "broken protocol", **self._who(), error=exc)
            self._say_end(exc)
        except Exception as exc:
            log_failure("a session failed", exc, **self._who())
            self._say_end(exc)
        finally:
            try:
                self.close()
            except Exception as exc:
                log_failure("a session failed at its end", exc, **self._who())
            self._host.ended(self)
            log_bounded(logging.DEBUG, "ended", **self._who())

    def _who(self) -> dict[str, object]:
        return {"session": self.number, "uid": self.peer.uid, "tgid": self.peer.tgid, "comm": self.peer.comm}

    def _say_end(self, exc: Exception) -> None:
        with contextlib.suppress(FastpathError, OSError):
            self._channel.send(messages.failure(0, exc), timeout_s=0.0)

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        poller.register(self._channel.fileno(), select.POLLIN)
        is_more_coming = False
        while True:
            ready = dict(poller.poll(0 if is_more_coming else self._patience_ms()))
            if self._stop is not None:
                self._say_gone(self._stop.reason)
                return
            self._check_greeting()
            now_s = time.monotonic()
            had_group = self._group is not None
            if self._channel.fileno() in ready and now_s >= self._deaf_until_s:
                self._take_request()
            if self._group is not None:
                if not had_group:
                    poller.register(self._group.fileno(), select.POLLIN)
                is_more_coming = self._group.supply.turn(is_ready=is_more_coming or self._group.fileno() in ready)
            is_deaf = time.monotonic() < self._deaf_until_s
            poller.modify(self._channel.fileno(), 0 if is_deaf else select.POLLIN)

    def _patience_ms(self) -> float | None:
        """How long nothing need happen."""
        now_s = time.monotonic()
        ends_s = []
        if not self._is_greeted:
            ends_s.append(self._began_s + HELLO_TIMEOUT_S)
        if now_s < self._deaf_until_s:
            ends_s.append(self._deaf_until_s)
        if self._group is not None and self._group.supply.retry_s is not None:
            ends_s.append(now_s + self._group.supply.retry_s)
        return max(0.0, min(ends_s) - now_s) * 1000 + 1 if ends_s else None

    def _check_greeting(self) -> None:
        if not self._is_greeted and time.monotonic() > self._began_s + HELLO_TIMEOUT_S:
            raise ProtocolError(f"nothing was said for {HELLO_TIMEOUT_S:.0f} s; the first message is Hello")

    def _say_gone(self, reason: str) -> None:
        with contextlib.suppress(FastpathError, OSError):
            self._channel.send(messages.Gone(0, reason), timeout_s=0.0)

    # --- requests ---

    def _take_request(self) -> None:
        try:
            received = self._channel.receive(0)
        except TimeoutError:
            return
        if received is None:
            raise _End
        fds = list(received.fds)
        try:
            self._answer(received.message, fds)
        finally:
            _close_all(fds)

    def _send(self, message: messages.Answer, fds: tuple[int, ...] = ()) -> None:
        """Send an answer; a client that does not take it is sent away."""
        try:
            self._channel.send(message, fds)
        except (ConnectionError, TimeoutError) as exc:
            log_bounded(logging.INFO, "lost", **self._who(), error=exc)
            raise _End from None

    def _answer(self, request: messages.Request, fds: list[int]) -> None:
        """Do what is asked for; what fails is the answer, and what nobody has foreseen is the end as well."""
        try:
            self._account.request()
            self._handle(request, fds)
        except _End:
            raise
        except LimitReached as exc:
            self._send(messages.failure(request.id, exc))
            self._deaf_until_s = time.monotonic() + _DEAF_S
        except (FastpathError, OSError) as exc:
            log_bounded(logging.DEBUG, "refused", **self._who(), request=type(request).__name__, error=exc)
            self._send(messages.failure(request.id, exc))
        except Exception as exc:
            log_failure("a request failed", exc, **self._who(), request=type(request).__name__)
            self._send(messages.failure(request.id, exc))
            raise _End from None

    def _handle(self, request: messages.Request, fds: list[int]) -> None:
        if isinstance(request, messages.Hello):
            self._greet(request)
            return
        if not self._is_greeted:
            raise ProtocolError("the first message must be Hello")
        if isinstance(request, messages.Status):
            groups, more = self._host.statuses(self.peer.uid, request.after)
            self._send(messages.Statuses(request.id, groups, more))
        elif isinstance(request, messages.Open):
            self._open(request)
        elif self._group is None:
            raise InvalidArgument(f"{type(request).__name__} comes after Open: the connection has no group yet")
        elif isinstance(request, messages.Sync):
            self._send(messages.Synced(request.id, self._group.sync()))
        else:
            try:
                self._change(self._group, request, fds)
            finally:
                _close_all(fds)  # before the answer: who has that may unmount
            self._send(messages.Done(request.id))

    def _greet(self, request: messages.Hello) -> None:
        if self._is_greeted:
            raise InvalidArgument("Hello was said before")
        if request.version != messages.VERSION:
            raise UnsupportedFeature(
                f"this daemon speaks version {messages.VERSION} of the protocol, and not {request.version}"
            )
        self._is_greeted, self._client = True, request.client
        limits = msgspec.structs.asdict(self.rights.limits)
        host = self._host
        self._send(messages.Welcome(request.id, messages.VERSION, host.server_name, host.engine_name, limits))

    def _open(self, request: messages.Open) -> None:
        if self._group is not None:
            raise InvalidArgument("the connection has a group; connect once more for another one")
        self._host.descriptors.take(0, 1)
        try:
            open_there = open_kernel_group if self._host.engine_name == KernelGroup.engine_name else open_group
            group = self._group = open_there(request, self.peer, self._account)
        except BaseException:
            self._host.descriptors.take(0, -1)
            raise
        ring = group.ring
        self._send(messages.Opened(request.id, group.engine_name, ring.kind, ring.size_bytes), (ring.fd, ring.wake_fd))
        log_bounded(logging.INFO, "opened", **self._who(), client=self._client)

    def _change(self, group: ClientGroup | KernelGroup, request: messages.Request, fds: list[int]) -> None:
        """Do what changes the group; what fails changes nothing."""
        holdings = group.holdings
        match request:
            case messages.Include(set=number, root=root_number, included=included, path=path):
                root = self._prove(fds[0]) if included else as_mounted_here(identify(fds[0]))
                group.include(number, root_number, root, path, included=included)
            case messages.Discard(set=number, root=root_number):
                holdings.discard(number, root_number)
            case messages.Mark(mark=mark, mask=mask, set=number):
                self._check_mask(mask, Scope.SUBTREE)
                holdings.mark(mark, mask, number)
            case messages.MarkObject(mark=mark, mask=mask, path=path):
                self._check_mask(mask, Scope.INODE)
                group.mark_object(mark, mask, self._prove(fds[0]), path)
            case messages.Unmark(mark=mark):
                holdings.unmark(mark)
            case messages.Ask(sets=numbers):
                holdings.ask(numbers)
        group.sets_changed()

    def _prove(self, fd: int) -> Root:
        """The identity of an object of which the client has shown that it may watch it."""
        check_root(fd, self.peer.credentials)
        self.rights.check_root(fd)
        return as_mounted_here(identify(fd))

    def _check_mask(self, mask: int, scope: Scope) -> None:
        self.rights.check_mark(mask, scope)
        check_mask(Mask(mask), scope)


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
