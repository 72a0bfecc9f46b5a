"""
Locks on a file that end with the process that has them, however it ends.

They belong to the open file (``F_OFD_SETLK``). Unlike those of ``flock``, an exclusive one needs the right to write, so
a user who may only read cannot keep others out. Each shared one takes a byte of its own, so they can be counted.
"""

import errno
import fcntl
import os
import struct

#: struct flock: type, whence, start, length, process
_FLOCK = struct.Struct("hhqqi0q")
_LAST = (1 << 63) - 1


def share(fd: int) -> bool:
    """
    Take a shared lock, for as long as the open file lives.

    :param fd: readable
    :return: whether it was taken; else somebody has the exclusive one
    """
    return _lock(fd, fcntl.F_RDLCK, int.from_bytes(os.urandom(8), "little") >> 2, 1)


def take(fd: int) -> bool:
    """
    Take the exclusive lock, without waiting.

    :param fd: writable
    :return: whether it was taken; else somebody has a lock
    """
    return _lock(fd, fcntl.F_WRLCK, 0, 0)


def wait(fd: int) -> None:
    """
    Take the exclusive lock when it is free.

    :param fd: writable
    """
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def release(fd: int) -> None:
    """Let a lock go, also where a process that was forked meanwhile has the file open too."""
    _lock(fd, fcntl.F_UNLCK, 0, 0)


def count(fd: int) -> int:
    """
    Count the locks that others have.

    :param fd: any descriptor of the file
    """
    n, ranges = 0, [(0, _LAST)]
    while ranges:
        start, end = ranges.pop()
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, 0 if end == _LAST else end - start + 1, 0)
        kind, _, first, length, _ = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
        if kind == fcntl.F_UNLCK:
            continue
        n += 1
        last = _LAST if length == 0 else first + length - 1
        # the kernel tells any one of them
        ranges += [(a, b) for a, b in ((start, first - 1), (last + 1, end)) if a <= b]
    return n


def _lock(fd: int, kind: int, start: int, length: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except OSError as exc:
        if exc.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True
