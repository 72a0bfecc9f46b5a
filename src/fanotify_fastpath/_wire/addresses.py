"""Where the daemon listens, and how to connect to it."""

import errno
import os
import socket
import time
from typing import Final

from fanotify_fastpath.errors import FastpathError, InvalidArgument, KernelRefused, NotPermitted, UnsupportedFeature

SOCKET_PATH: Final = "/run/fanotify_fastpath/fanfpd.socket"
#: environment variable with another path, for clients
SOCKET_VARIABLE: Final = "FANFPD_SOCKET"
CONNECT_TIMEOUT_S: Final = 5.0
_RETRY_S: Final = 0.01


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
    path = socket_path() if path is None else path
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.setblocking(False)
        _connect(connection, path, time.monotonic() + timeout_s)
    except BaseException as exc:
        connection.close()
        if isinstance(exc, OSError):
            raise _refused(path, exc) from exc
        raise
    return connection


def _connect(connection: socket.socket, path: str, deadline: float) -> None:
    while True:
        try:
            return connection.connect(os.fsencode(path))
        except (
            BlockingIOError
        ):  # more wait to be accepted than the daemon lets wait; the kernel tells nobody when that ends
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)


def _refused(path: str, exc: OSError) -> FastpathError:
    what = f"cannot connect to fanfpd at {path}"
    if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED):
        return UnsupportedFeature(f"{what}: no daemon is there; it is started by root", exc.errno, path)
    if isinstance(exc, PermissionError):
        return NotPermitted(f"{what}: this user may not use it", exc.errno, path)
    if exc.errno == errno.EAGAIN:
        return KernelRefused(f"{what}: too many are connecting at once", exc.errno, path)
    if exc.errno is None:  # by Python, which names no number
        return InvalidArgument(f"{what}: {exc}", path=path)
    return KernelRefused(f"{what}: {exc.strerror}", exc.errno, path)
