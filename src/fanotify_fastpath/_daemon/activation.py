"""
What systemd and the daemon say to each other: a socket that was opened for us, and how we are.

:source: sd_listen_fds(3), sd_notify(3); nothing is done where the variables are not set
"""

import contextlib
import os
import socket
import time

from fanotify_fastpath.errors import InvalidArgument

#: the first of the descriptors that are handed over
LISTEN_FDS_START = 3


def take_socket() -> socket.socket | None:
    """
    Take the listening socket that the service manager has opened.

    :return: None when it has opened none
    :raises InvalidArgument: it is not one of the kind that is served here, or not the only one
    """
    n_fds, tgid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if tgid != str(os.getpid()) or n_fds in ("", "0"):
        return None
    if n_fds != "1":
        raise InvalidArgument(f"{n_fds} sockets were handed over (LISTEN_FDS); one is served")
    try:
        listener = socket.socket(fileno=LISTEN_FDS_START)
    except OSError as exc:
        raise InvalidArgument(f"descriptor {LISTEN_FDS_START}, handed over, is no socket: {exc.strerror}") from None
    is_listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if (listener.family, listener.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET) or not is_listening:
        listener.close()
        raise InvalidArgument("the socket handed over is of another kind: use ListenSequentialPacket= with a path")
    listener.set_inheritable(False)
    return listener


class Notifier:
    """
    Tells the service manager how the daemon is, if there is one that wants to know.

    :ivar watchdog_s: it wants to hear from us at least this often; None: it does not wait for that
    """

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        interval_us, tgid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        is_ours = interval_us.isdigit() and int(interval_us) > 0 and tgid in ("", str(os.getpid()))
        self.watchdog_s = int(interval_us) / 1_000_000 if is_ours else None

    def ready(self, status: str) -> None:
        """The daemon serves, for the first time or again."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read anew; :meth:`ready` ends that."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def alive(self) -> None:
        """The watchdog need not bite."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        """That nobody listens, or not now, is no reason to fail."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(self._address)
            sender.send("\n".join(lines).encode("utf-8", "replace"))
