"""
Who is at the other end of a Unix socket: told by the kernel, as it was when the connection was made.

:source: SO_PEERCRED, SO_PEERGROUPS (Linux 4.13), SO_PEERPIDFD (Linux 6.5): net/core/sock.c
"""

import contextlib
import ctypes
import errno
import os
import select
import socket
import struct
from dataclasses import dataclass
from typing import Self

from fanotify_fastpath._closing import Closing

_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
_UCRED = struct.Struct("iII")
_GID_BYTES = ctypes.sizeof(ctypes.c_uint32)
_GROUPS_GUESS = 64

_libc = ctypes.CDLL(None, use_errno=True)
_getsockopt = _libc.getsockopt
_getsockopt.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32))
_getsockopt.restype = ctypes.c_int


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    A user, with all groups.

    :ivar uid: effective user id
    :ivar gid: effective group id
    :ivar groups: supplementary groups, as many as there are
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @property
    def all_gids(self) -> frozenset[int]:
        """Every group that it is in."""
        return frozenset((self.gid, *self.groups))


class Peer(Closing):
    """
    The process that connected.

    :ivar credentials: its user and groups
    :ivar tgid: its id; 0 when it cannot be seen from here (another pid namespace)
    :ivar pidfd: descriptor of it, which this object owns; None where there is none
    :ivar comm: its name, to be shown and for nothing else; empty when unknown
    """

    def __init__(self, credentials: Credentials, tgid: int, pidfd: int | None = None, comm: str = "") -> None:
        self.credentials = credentials
        self.tgid = tgid
        self.pidfd = pidfd
        self.comm = comm

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """
        Ask the kernel.

        :param connection: an accepted Unix socket
        :raises OSError: it is no Unix socket
        """
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        tgid, uid, gid = _UCRED.unpack(raw)
        credentials = Credentials(uid, gid, peer_groups(connection))
        return cls(credentials, tgid, _peer_pidfd(connection, tgid, uid), _comm(tgid))

    @property
    def uid(self) -> int:
        """Effective user id."""
        return self.credentials.uid

    def is_alive(self) -> bool:
        """Tell whether the process still runs; where there is no pidfd, whether one of its id does."""
        if self.pidfd is None:
            return self.tgid > 0 and os.path.exists(f"/proc/{self.tgid}")
        return not _has_ended(self.pidfd)

    def close(self) -> None:
        """Close the descriptor of the process."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def __repr__(self) -> str:
        return f"Peer(uid={self.uid}, tgid={self.tgid}, comm={self.comm!r})"


def peer_groups(connection: socket.socket) -> tuple[int, ...]:
    """
    Return the supplementary groups of the other end.

    Python's own ``getsockopt`` takes 1024 bytes at most, which is 256 groups; there may be 65,536.

    :raises OSError: as the kernel says
    """
    size = ctypes.c_uint32(_GROUPS_GUESS * _GID_BYTES)
    while True:
        gids = (ctypes.c_uint32 * (size.value // _GID_BYTES))()
        failed = _getsockopt(connection.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, gids, ctypes.byref(size))
        if not failed:
            return tuple(gids[: size.value // _GID_BYTES])
        code = ctypes.get_errno()
        if code != errno.ERANGE:  # else the kernel has put into size what it needs
            raise OSError(code, os.strerror(code))


def _peer_pidfd(connection: socket.socket, tgid: int, uid: int) -> int | None:
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)  # closed on exec
    except OSError as exc:
        # before Linux 6.5; else the process is gone already (ESRCH, EINVAL), or of another pid namespace
        return _open_checked(tgid, uid) if exc.errno == errno.ENOPROTOOPT else None


def _open_checked(tgid: int, uid: int) -> int | None:
    """
    Open a process by its number, which may be another's by now: at least it must be one of the same user.

    That is looked up between opening it and seeing that it still runs, so it was about the process that was opened.
    """
    if tgid <= 0:
        return None
    try:
        fd = os.pidfd_open(tgid)
    except OSError:
        return None
    if _effective_uid(tgid) == uid and not _has_ended(fd):
        return fd
    os.close(fd)
    return None


def _effective_uid(tgid: int) -> int | None:
    with contextlib.suppress(OSError), open(f"/proc/{tgid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"Uid:"):
                return int(line.split()[2])
    return None


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _comm(tgid: int) -> str:
    if tgid > 0:
        with contextlib.suppress(OSError), open(f"/proc/{tgid}/comm", "rb") as file:
            return os.fsdecode(file.read().removesuffix(b"\n"))
    return ""
