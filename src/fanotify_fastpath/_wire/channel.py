"""
One end of a connection: messages with their descriptors, one in each packet.

Nothing that the other side sends does more than end the connection: each packet is bounded, each descriptor that nobody
asked for is closed.
"""

import socket
from typing import Final, Generic, NamedTuple, TypeVar

from collections.abc import Callable, Sequence

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._wire.messages import Answer, Request

#: how long a message may wait for room, before the other side is taken for dead
SEND_TIMEOUT_S: Final = 5.0

M = TypeVar("M", bound=Request | Answer)


class Received(NamedTuple, Generic[M]):
    """
    A message that came.

    :ivar message: the message
    :ivar fds: its descriptors, ``message.n_fds`` of them; they are the receiver's, who closes them
    """

    message: M
    fds: tuple[int, ...]


class Channel(Closing, Generic[M]):
    """
    Sends messages, and receives those of the other side.

    Any thread may send. One thread at a time receives.
    """

    def __init__(self, connection: socket.socket, decode: Callable[[bytes], M]) -> None:
        """
        :param connection: of type SOCK_SEQPACKET; it is the channel's from now on, which closes it
        :param decode: ``messages.decode_request`` in the daemon, ``messages.decode_answer`` in a client
        """
        raise NotImplementedError

    def fileno(self) -> int:
        """
        The descriptor to wait on; readable also at the end of the connection.

        :raises Closed: the channel was closed
        """
        raise NotImplementedError

    def send(self, message: Request | Answer, fds: Sequence[int] = (), timeout_s: float = SEND_TIMEOUT_S) -> None:
        """
        Send a message.

        :param fds: ``message.n_fds`` descriptors; they stay the caller's
        :param timeout_s: how long to wait for room
        :raises InvalidArgument: a field is not within its bounds, or these are not its descriptors
        :raises TimeoutError: the other side does not read; nothing was sent
        :raises ConnectionError: the other side has closed the connection
        :raises Closed: the channel was closed
        """
        raise NotImplementedError

    def receive(self, timeout_s: float | None = None) -> Received[M] | None:
        """
        Wait for the next message.

        :param timeout_s: how long; None: for ever, 0: not at all
        :return: None at the end of the connection
        :raises TimeoutError: none came
        :raises ProtocolError: what came is no message of the other side, or lacks descriptors: close the connection
        :raises Closed: the channel was closed
        """
        raise NotImplementedError

    def shutdown(self) -> None:
        """End the connection for both sides, from any thread: whoever waits to receive sees the end."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection; only when no other thread is using it (see :meth:`shutdown`)."""
        raise NotImplementedError
