"""A record of our own, as Watchman's cookie files make them: when it comes, all that was queued before it has come."""

import os
from typing import Final

from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH, MarkFlag
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import filesystem_id

_MODE: Final = 0o600


class Cookie:
    """
    A file in memory, which only this group watches.

    One at a time may be in the queue: the kernel would merge a second one into it.

    :param group_fd: the fanotify group
    :ivar key: identity of the object in its records
    :raises OSError: the kernel marks no such file (before Linux 6.6 those have no id)
    """

    def __init__(self, group_fd: int) -> None:
        self._group_fd = group_fd
        self._fd = os.memfd_create("fanfp-cookie", os.MFD_CLOEXEC)
        try:
            self.key = filesystem_id(self._fd) + syscalls.name_to_handle_at(self._fd, b"", AT_EMPTY_PATH)[0]
            self.mark()
        except BaseException:
            self.close()
            raise

    def mark(self) -> None:
        """Have the group watch it: at first, and after each flush of the marks."""
        syscalls.fanotify_mark(self._group_fd, MarkFlag.ADD, int(Mask.ATTRIB), self._fd)

    def drop(self) -> None:
        """Put a record into the queue."""
        os.fchmod(self._fd, _MODE)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
