"""
The listening socket: one of its own with a lock beside it, so that two daemons never serve the same path, or one that
the service manager has opened.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._daemon.activation import take_socket
from fanotify_fastpath.errors import InvalidArgument, KernelRefused

_BACKLOG = 1024
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_DIR_MODE = 0o755
_LOCK_MODE = 0o600


class Listener(Closing):
    """
    A socket on which clients connect.

    :ivar socket: it does not wait
    :ivar path: where it is
    """

    def __init__(self, listener: socket.socket, path: str, lock_fd: int = -1) -> None:
        """
        :param lock_fd: keeps other daemons away; without one the socket belongs to somebody else, and stays
        """
        self.socket = listener
        self.path = path
        self._lock_fd = lock_fd
        listener.setblocking(False)

    def close(self) -> None:
        """Let nobody connect any more, and remove the socket if it is ours."""
        if self._lock_fd >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.socket.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def listen(path: str, mode: int, gid: int) -> Listener:
    """
    Listen on the socket that the service manager has opened, or else at *path*.

    :param path: the directory is made if it is missing; a socket that nobody serves any more is replaced
    :param mode: permissions of the socket
    :param gid: its group
    :raises KernelRefused: another daemon serves it, or something else is there
    :raises InvalidArgument: no socket can have that path
    """
    given = take_socket()
    if given is not None:
        return Listener(given, str(given.getsockname()))
    try:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            os.makedirs(directory)
            os.chmod(directory, _DIR_MODE)  # whatever the umask is
        lock_fd = _lock(path)
    except OSError as exc:
        if isinstance(exc, KernelRefused):
            raise
        raise KernelRefused(f"cannot listen on {path!r}: {exc.strerror}", exc.errno, path) from None
    try:
        _remove_stale(path)
        return Listener(_bind(path, mode, gid), path, lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise


def _lock(path: str) -> int:
    lock_fd = os.open(f"{path}.lock", _LOCK_FLAGS, _LOCK_MODE)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock_fd)
        reason = "another fanfpd serves it already" if exc.errno == errno.EWOULDBLOCK else exc.strerror
        raise KernelRefused(f"cannot listen on {path!r}: {reason}", errno.EADDRINUSE, path) from None
    return lock_fd


def _remove_stale(path: str) -> None:
    """Whoever made the socket that is there has ended without removing it: the lock is ours."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise KernelRefused(
                f"cannot listen on {path!r}: there is something that is no socket", errno.EADDRINUSE, path
            )
        os.unlink(path)


def _bind(path: str, mode: int, gid: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    old_umask = os.umask(0o777 & ~mode)
    try:
        listener.bind(path)
        os.chown(path, -1, gid, follow_symlinks=False)
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        if exc.errno is None:  # Python's own: the path is too long
            raise InvalidArgument(f"cannot listen on {path!r}: {exc}", errno.ENAMETOOLONG, path) from None
        raise KernelRefused(f"cannot listen on {path!r}: {exc.strerror}", exc.errno, path) from None
    finally:
        os.umask(old_umask)
    return listener
