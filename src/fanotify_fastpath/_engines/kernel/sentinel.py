"""
The sentinel: a fanotify group that wants to hear nothing, which makes the kernel call ``fsnotify()``.

Where nobody listens, the kernel leaves that call out. A mark that only says what to ignore is enough for it to be made,
and queues nothing. One more mark, on a directory, keeps that inode until the filesystem is unmounted, and then the
kernel tells its inodes so: by this the programs hear of it. It does not keep the filesystem from being unmounted.
"""

import contextlib
import os

from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import InitFlag, MarkFlag
from fanotify_fastpath.errors import KernelRefused, NotPermitted
from fanotify_fastpath.mask import Mask

#: calls that are left out where nobody listens; those about names in a directory are always made
_LEFT_OUT = int(
    Mask.ACCESS
    | Mask.MODIFY
    | Mask.ATTRIB
    | Mask.CLOSE
    | Mask.OPEN
    | Mask.OPEN_EXEC
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
)


class Sentinel:
    """
    :raises NotPermitted: CAP_SYS_ADMIN is missing
    """

    def __init__(self) -> None:
        try:
            self._fd = syscalls.fanotify_init(InitFlag.REPORT_FID | InitFlag.CLOEXEC | InitFlag.UNLIMITED_MARKS)
        except OSError as exc:
            raise NotPermitted(f"cannot make a fanotify group: {exc.strerror}", exc.errno or 1) from None

    def set_mask(self, dir_fd: int, old: int, new: int) -> None:
        """
        Have the kernel tell of these event types, and no others, of the filesystem that a directory lies on.

        :param dir_fd: an open descriptor of the directory
        :raises KernelRefused: the kernel refuses the mark
        """
        old, new = old & _LEFT_OUT, new & _LEFT_OUT
        if new & ~old:
            self._mark(MarkFlag.ADD | MarkFlag.IGNORE_SURV | MarkFlag.FILESYSTEM, new & ~old | Mask.ONDIR, dir_fd)
        if old & ~new:
            # a mark that has this flag left would stay
            gone = old & ~new | (0 if new else Mask.ONDIR)
            with contextlib.suppress(KernelRefused):  # unmounted meanwhile
                self._mark(MarkFlag.REMOVE | MarkFlag.IGNORE_SURV | MarkFlag.FILESYSTEM, gone, dir_fd)

    def keep(self, dir_fd: int) -> None:
        """Keep the inode of a directory, so that its unmounting is heard."""
        self._mark(MarkFlag.ADD | MarkFlag.IGNORE_SURV, Mask.DELETE_SELF | Mask.ONDIR, dir_fd)

    def close(self) -> None:
        """Take all marks away."""
        os.close(self._fd)

    def _mark(self, flags: int, mask: int, dir_fd: int) -> None:
        try:
            syscalls.fanotify_mark(self._fd, flags, mask, dir_fd, b".")
        except OSError as exc:
            raise KernelRefused(f"cannot mark the filesystem: {exc.strerror}", exc.errno or 22) from None
