"""
One end of a connection: messages with their descriptors, one in each packet.

Nothing that the other side sends does more than end the connection: each packet is bounded, and each descriptor that
nobody asked for is closed.
"""

import array
import math
import os
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._wire.messages import FDS_MAX, MESSAGE_MAX_BYTES, Answer, Request, encode
from fanotify_fastpath.errors import Closed, InvalidArgument, ProtocolError

#: how long a message may wait for room, before the other side is taken for dead
SEND_TIMEOUT_S: Final = 5.0

M = TypeVar("M", bound=Request | Answer)

_FD_BYTES: Final = array.array("i").itemsize
_CONTROL_BYTES: Final = socket.CMSG_SPACE(FDS_MAX * _FD_BYTES)
_SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_RECEIVE_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC


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
        self._socket = connection
        self._decode = decode

    def fileno(self) -> int:
        """
        The descriptor to wait on; readable also at the end of the connection.

        :raises Closed: the channel was closed
        """
        fd = self._socket.fileno()
        if fd < 0:
            raise Closed("the channel is closed")
        return fd

    def send(self, message: Request | Answer, fds: Sequence[int] = (), timeout_s: float = SEND_TIMEOUT_S) -> None:
        """
        Send a message.

        :param fds: ``message.n_fds`` descriptors; they stay the caller's
        :param timeout_s: how long to wait for room
        :raises InvalidArgument: a field is not within its bounds, or these are not its descriptors
        :raises TimeoutError: the other side does not read; nothing was sent
        :raises ConnectionError: the other side has closed the connection
        :raises OSError: the kernel does not pass these descriptors
        :raises Closed: the channel was closed
        """
        if len(fds) != message.n_fds:
            raise InvalidArgument(f"{type(message).__name__} goes with {message.n_fds} descriptors, not {len(fds)}")
        packet = encode(message)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        deadline = time.monotonic() + timeout_s
        while True:
            self.fileno()
            try:
                self._socket.sendmsg([packet], control, _SEND_FLAGS)
                return
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline, "the other side does not read what is sent to it")

    def receive(self, timeout_s: float | None = None) -> Received[M] | None:
        """
        Wait for the next message.

        :param timeout_s: how long; None: for ever, 0: not at all
        :return: None at the end of the connection
        :raises TimeoutError: none came
        :raises ProtocolError: what came is no message of the other side, or lacks descriptors: close the connection
        :raises Closed: the channel was closed
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self.fileno()
            try:
                packet, control, flags, _ = self._socket.recvmsg(MESSAGE_MAX_BYTES, _CONTROL_BYTES, _RECEIVE_FLAGS)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline, "no message came")
            except ConnectionResetError:
                # the other side has closed without having read all; said once, before what it had sent itself
                continue
            else:
                return self._received(packet, _descriptors(control), flags)

    def shutdown(self) -> None:
        """End the connection for both sides, from any thread: whoever waits to receive sees the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended, or is closed
            pass

    def close(self) -> None:
        """Close the connection; only when no other thread is using it (see :meth:`shutdown`)."""
        self._socket.close()

    def _received(self, packet: bytes, fds: list[int], flags: int) -> Received[M] | None:
        n_kept = 0
        try:
            if flags & socket.MSG_TRUNC:
                raise ProtocolError(f"a packet of more than {MESSAGE_MAX_BYTES} bytes")
            if flags & socket.MSG_CTRUNC:
                raise ProtocolError(f"more than {FDS_MAX} descriptors in a packet, or than this process may have open")
            # a packet may be empty, which the kernel does not tell from the end
            if not packet:
                return None
            message = self._decode(packet)
            if len(fds) < message.n_fds:
                raise ProtocolError(
                    f"{type(message).__name__} came with {len(fds)} descriptors, but goes with {message.n_fds}"
                )
            n_kept = message.n_fds
            return Received(message, tuple(fds[:n_kept]))
        finally:
            for fd in fds[n_kept:]:
                os.close(fd)

    def _wait(self, event: int, deadline: float, what: str) -> None:
        left_s = deadline - time.monotonic()
        poll = select.poll()
        poll.register(self.fileno(), event)
        if not poll.poll(None if left_s == math.inf else max(0.0, left_s) * 1000) and left_s <= 0:
            raise TimeoutError(what)


def _descriptors(control: Iterable[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) // _FD_BYTES * _FD_BYTES])
    return list(found)
