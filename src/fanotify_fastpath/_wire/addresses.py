"""Where the daemon listens, and how to connect to it."""

import os
import socket
from typing import Final

SOCKET_PATH: Final = "/run/fanotify_fastpath/fanfpd.socket"
#: environment variable with another path, for clients
SOCKET_VARIABLE: Final = "FANFPD_SOCKET"
CONNECT_TIMEOUT_S: Final = 5.0


def socket_path() -> str:
    """The path of the daemon's socket, as a client of this environment sees it."""
    return os.environ.get(SOCKET_VARIABLE) or SOCKET_PATH


def connect(path: str | None = None, timeout_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
    """
    Connect to the daemon.

    :param path: of its socket; None: :func:`socket_path`
    :param timeout_s: how long to wait while others are connecting
    :return: a connected socket of type SOCK_SEQPACKET
    :raises UnsupportedFeature: no daemon is there
    :raises NotPermitted: this user may not connect
    :raises InvalidArgument: no socket can have that path
    :raises KernelRefused: it cannot be connected to, or not in time
    """
    raise NotImplementedError
