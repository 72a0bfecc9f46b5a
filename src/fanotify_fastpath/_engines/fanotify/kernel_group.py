"""fanotify's own group: one descriptor, its marks, and the directories remembered with ignore marks."""

import contextlib
import errno
import fcntl
import os
import sys
import termios
import time
from typing import Final

from fanotify_fastpath._engines.fanotify.cookie import Cookie
from fanotify_fastpath._uapi import capabilities, syscalls
from fanotify_fastpath._uapi.constants import AT_FDCWD, METADATA_LEN, InitFlag, MarkFlag
from fanotify_fastpath._wire.addresses import socket_path
from fanotify_fastpath.errors import (
    KernelRefused,
    NotPermitted,
    UnsupportedFeature,
    UnsupportedFilesystem,
)
from fanotify_fastpath.mask import Mask

_FIRST_READ_BYTES: Final = 8192
_READ_BYTES: Final = 1 << 18
#: an event with two names and three handles is shorter than this
_EVENT_MAX_BYTES: Final = 2048
#: bytes to take at once before the engine looks at them
_FILL_MAX_BYTES: Final = 1 << 22

_REMEMBER: Final = MarkFlag.ADD | MarkFlag.IGNORE_SURV | MarkFlag.EVICTABLE
#: never remembered: a rename concerns two directories, and the ignore mark of either would hide it
NEVER_IGNORED: Final = int(Mask.RENAME)


class KernelGroup:
    """
    One fanotify group that reports file handles and names.

    :param with_tid: report thread ids instead of process ids
    :param with_pidfd: report descriptors of processes; not together with *with_tid*
    :param is_bounded: the kernel keeps no more than ``/proc/sys/fs/fanotify/max_queued_events`` unread
    :raises NotPermitted: the limit of groups for unprivileged users, or seccomp, forbids it
    :raises UnsupportedFeature: the kernel is older than Linux 5.17
    """

    def __init__(self, *, with_tid: bool = False, with_pidfd: bool = False, is_bounded: bool = False) -> None:
        flags = InitFlag.REPORT_DFID_NAME_TARGET | InitFlag.CLOEXEC | InitFlag.NONBLOCK
        self.is_privileged = capabilities.has("CAP_SYS_ADMIN")
        if self.is_privileged:
            flags |= InitFlag.UNLIMITED_MARKS if is_bounded else InitFlag.UNLIMITED_QUEUE | InitFlag.UNLIMITED_MARKS
        if with_tid:
            flags |= InitFlag.REPORT_TID
        if with_pidfd:
            flags |= InitFlag.REPORT_PIDFD
        try:
            self.fd = syscalls.fanotify_init(flags)
        except OSError as exc:
            raise _init_error(exc) from None
        self.n_remembered = 0
        self.forgot_ns = 0
        self._cookie: Cookie | None = None

    def add_cookie(self) -> Cookie | None:
        """Make a record of our own possible in this queue; None where the kernel does not allow it."""
        with contextlib.suppress(OSError):
            self._cookie = Cookie(self.fd)
        return self._cookie

    def mark(self, flags: int, mask: int, path: bytes, fd: int = AT_FDCWD) -> None:
        """
        Add a mark that asks for events.

        :param path: the object; with *fd* only the name of it in an error
        :param fd: an open descriptor of the object, instead of the path; ``O_PATH`` will do
        :raises NotPermitted: the caller lacks CAP_SYS_ADMIN
        :raises UnsupportedFilesystem: the filesystem cannot be marked so
        """
        try:
            syscalls.fanotify_mark(self.fd, MarkFlag.ADD | flags, mask, path=_name_of(path, fd))
        except OSError as exc:
            raise _mark_error(exc, path) from None

    def unmark(self, flags: int, mask: int, path: bytes, fd: int = AT_FDCWD) -> None:
        """Take event types off a mark; nothing happens if it is gone by now."""
        try:
            syscalls.fanotify_mark(self.fd, MarkFlag.REMOVE | flags, mask, path=_name_of(path, fd))
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.EINVAL, errno.ENODEV, errno.ENOTDIR):
                raise KernelRefused(
                    f"cannot take the mark off {os.fsdecode(path)!r}: {exc.strerror}", exc.errno, path
                ) from None

    def remember(self, dir_fd: int, mask: int) -> bool:
        """
        Tell the kernel to drop events on files of a directory; it forgets that when memory is short.

        :param dir_fd: the directory; ``O_PATH`` will do
        :param mask: event types to drop
        :return: False where this filesystem does not allow it (a btrfs subvolume with another id)
        """
        try:
            syscalls.fanotify_mark(
                self.fd, _REMEMBER | MarkFlag.ONLYDIR, mask & ~NEVER_IGNORED | Mask.EVENT_ON_CHILD, dir_fd, b"."
            )
        except OSError:
            return False
        self.n_remembered += 1
        return True

    def forget(self) -> None:
        """Take all that was remembered back."""
        if self.n_remembered:
            syscalls.fanotify_mark(self.fd, MarkFlag.FLUSH, 0)
            if self._cookie is not None:
                self._cookie.mark()
            self.n_remembered = 0
            self.forgot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def read(self, n_bytes: int) -> bytes:
        """
        Read what is queued, as much of it as fits.

        :raises BlockingIOError: nothing is
        """
        return os.read(self.fd, n_bytes)

    def read_all(self) -> tuple[list[bytes], bool]:
        """
        Read what is queued, at most about 4 MiB, without waiting.

        :return: the bytes of each read, and whether the queue was emptied
        """
        buffers: list[bytes] = []
        size, total = _FIRST_READ_BYTES, 0
        while total < _FILL_MAX_BYTES:
            try:
                buffer = os.read(self.fd, size)
            except BlockingIOError:
                return buffers, True
            buffers.append(buffer)
            if len(buffer) < size - _EVENT_MAX_BYTES:
                return buffers, True
            total += len(buffer)
            size = _READ_BYTES
        return buffers, False

    def n_queued(self) -> int:
        """Count the records that are queued; the kernel walks all of them for it."""
        n_bytes = fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4))
        return int.from_bytes(n_bytes, sys.byteorder) // METADATA_LEN  # it counts no more than that of each

    def close(self) -> None:
        """Close the descriptor; the kernel takes all marks away."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            if self._cookie is not None:
                self._cookie.close()


def _name_of(path: bytes, fd: int) -> bytes:
    """What the kernel is to be given as the path of an object: a relative one of a directory would not do for files."""
    return path if fd == AT_FDCWD else b"/proc/self/fd/%d" % fd


def may_mark_filesystems() -> bool:
    """Tell whether the kernel lets this process watch more than single directories and files."""
    try:
        os.close(syscalls.fanotify_init(InitFlag.CLOEXEC | InitFlag.UNLIMITED_MARKS))
    except OSError:
        return False
    return True


def _init_error(exc: OSError) -> Exception:
    if exc.errno == errno.EMFILE:
        return KernelRefused(
            "cannot make a fanotify group: this user has as many as /proc/sys/fs/fanotify/max_user_groups allows, "
            "or no descriptor is free; close some or raise the limit",
            exc.errno,
        )
    if exc.errno == errno.EPERM:
        return NotPermitted("cannot make a fanotify group: not permitted here (a sandbox or seccomp filter?)")
    if exc.errno in (errno.EINVAL, errno.ENOSYS):
        return UnsupportedFeature(
            "cannot make a fanotify group: this kernel reports no target handles; Linux 5.17 is the first to do so",
            errno.EOPNOTSUPP,
        )
    return KernelRefused(f"cannot make a fanotify group: {exc.strerror}", exc.errno)


def _daemon() -> str:
    """The daemon that does so for others, and how it can be had."""
    if os.path.exists(socket_path()):
        return "the daemon fanfpd, by engine='daemon'"
    return f"the daemon fanfpd, which is not at {socket_path()} (root starts it: 'systemctl start fanfpd.socket')"


_UNSUPPORTED: Final = {
    errno.EXDEV: "it is a btrfs subvolume, and the top level of its filesystem cannot be reached; mount subvolid=5",
    errno.ENODEV: "its filesystem has no id, so events there cannot be told apart",
    errno.EOPNOTSUPP: "its filesystem finds no files by handle; overlayfs does with index=on,nfs_export=on",
}


def _mark_error(exc: OSError, path: bytes) -> Exception:
    what = f"cannot watch {os.fsdecode(path)!r}"
    if exc.errno in (errno.EPERM, errno.EACCES):
        return NotPermitted(
            f"{what}: marking a whole filesystem or mount needs CAP_SYS_ADMIN, or {_daemon()}; without either a single "
            "directory that you may read can be watched (scope inode)",
            exc.errno,
            path,
        )
    if exc.errno in _UNSUPPORTED:
        return UnsupportedFilesystem(f"{what}: {_UNSUPPORTED[exc.errno]}", exc.errno, path)
    if exc.errno == errno.EINVAL:
        return UnsupportedFeature(
            f"{what}: the kernel refuses these event types for this kind of mark", exc.errno, path
        )
    if exc.errno == errno.ENOSPC:
        return KernelRefused(
            f"{what}: the limit /proc/sys/fs/fanotify/max_user_marks is reached; raise it", exc.errno, path
        )
    return KernelRefused(f"{what}: {exc.strerror}", exc.errno, path)
