"""Does the daemon serve this user? It is connected to, greeted and asked; no group is opened."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._probes.report import Check, EngineReport
from fanotify_fastpath._wire import addresses, messages
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath.errors import FastpathError, KernelRefused, ProtocolError

#: a daemon that does not answer in this time is taken for one that does not work
ANSWER_TIMEOUT_S = 5.0
A = TypeVar("A", bound=messages.Answer)


class Inquiry(Closing):
    """
    A connection that only asks.

    :ivar path: of the socket
    :ivar welcome: what the daemon said first
    :raises UnsupportedFeature: no daemon is there, or it speaks another version of the protocol
    :raises NotPermitted: this user may not connect
    :raises KernelRefused: it does not answer
    :raises ProtocolError: it is no daemon that answers
    """

    def __init__(self) -> None:
        from fanotify_fastpath import __version__

        self.path = addresses.socket_path()
        self._numbers = itertools.count(1)
        self._channel: Channel[messages.Answer] = Channel(addresses.connect(self.path), messages.decode_answer)
        try:
            client = f"fanfp {__version__}"
            self.welcome = self._ask(messages.Welcome, messages.Hello, version=messages.VERSION, client=client)
        except BaseException:
            self.close()
            raise

    def groups(self) -> Iterator[messages.GroupStatus]:
        """Groups that the daemon serves: all for root, their own for others."""
        after = 0
        while True:
            answer = self._ask(messages.Statuses, messages.Status, after=after)
            yield from answer.groups
            if not answer.more or not answer.groups:
                return
            after = answer.groups[-1].group

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def _ask(self, expected: type[A], kind: Callable[..., messages.Request], **fields: Any) -> A:
        what = f"fanfpd at {self.path} does not answer"
        try:
            with contextlib.suppress(ConnectionError):  # if it has ended the connection, it has perhaps said why
                self._channel.send(kind(id=next(self._numbers), **fields), timeout_s=ANSWER_TIMEOUT_S)
            received = self._channel.receive(ANSWER_TIMEOUT_S)
        except (TimeoutError, ConnectionError) as exc:
            raise KernelRefused(f"{what}: {exc.strerror or exc}", exc.errno, self.path) from None
        if received is None:
            raise KernelRefused(f"{what}: it has ended the connection", path=self.path)
        answer = received.message
        if isinstance(answer, messages.Failed):
            raise messages.exception_of(answer)
        if isinstance(answer, messages.Gone):
            raise KernelRefused(f"{what}: {answer.reason}", path=self.path)
        if not isinstance(answer, expected):
            raise ProtocolError(f"{what} what it was asked: {type(answer).__name__}")
        return answer


def probe() -> EngineReport:
    """Try to connect, and tell what this user may use."""
    try:
        with Inquiry() as inquiry:
            n_groups = sum(1 for _ in inquiry.groups())
    except FastpathError as exc:
        return EngineReport("daemon", False, str(exc), (Check("daemon answers", False, addresses.socket_path()),))
    welcome = inquiry.welcome
    limits = ", ".join(f"{key} = {value}" for key, value in welcome.limits.items())
    checks = (
        Check("daemon answers", True, inquiry.path),
        Check("version", True, f"{welcome.server}, protocol {welcome.version}"),
        Check("engine of the daemon", True, welcome.engine),
        Check("groups that you may see", True, str(n_groups)),
        Check("your limits", True, limits),
    )
    return EngineReport("daemon", True, f"{welcome.server} serves this user, with engine {welcome.engine}", checks)
