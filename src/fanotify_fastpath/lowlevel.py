"""
fanotify as the kernel has it: system calls, constants and records, without policy.

For those who know :manpage:`fanotify(7)` and want it typed::

    from fanotify_fastpath import Mask
    from fanotify_fastpath.lowlevel import FanotifyFile, InitFlag, MarkFlag

    with FanotifyFile.open(InitFlag.CLOEXEC | InitFlag.REPORT_DFID_NAME) as group:
        group.mark(MarkFlag.ADD | MarkFlag.FILESYSTEM, Mask.CREATE | Mask.DELETE | Mask.ONDIR, "/srv")
        for event in group.read_events():
            print(event.mask, event.dfid_name)

Errors of the kernel are plain :class:`OSError` with its error number; nothing is probed, remembered or retried.
"""

import os
import warnings
from typing import Self

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._uapi.constants import (
    AT_FDCWD,
    AT_HANDLE_CONNECTABLE,
    AT_HANDLE_FID,
    AT_HANDLE_MNT_ID_UNIQUE,
    EPIDFD,
    METADATA_VERSION,
    NOFD,
    NOPIDFD,
    InfoType,
    InitFlag,
    MarkFlag,
    Response,
    deny_errno,
)
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath._uapi.records import (
    DfidInfo,
    DfidNameInfo,
    ErrorInfo,
    EventRecord,
    FidInfo,
    HandleInfo,
    Info,
    MalformedRecord,
    MntInfo,
    PidfdInfo,
    RangeInfo,
    UnknownInfo,
    decode,
    walk,
)
from fanotify_fastpath._uapi.responses import AuditRule, encode_response
from fanotify_fastpath._uapi.syscalls import (
    EVENT_F_FLAGS,
    fanotify_init,
    fanotify_mark,
    name_to_handle_at,
    open_by_handle_at,
)
from fanotify_fastpath.errors import Closed
from fanotify_fastpath.mask import Mask

__all__ = [
    "AT_FDCWD",
    "AT_HANDLE_CONNECTABLE",
    "AT_HANDLE_FID",
    "AT_HANDLE_MNT_ID_UNIQUE",
    "EPIDFD",
    "EVENT_F_FLAGS",
    "METADATA_VERSION",
    "NOFD",
    "NOPIDFD",
    "AuditRule",
    "DfidInfo",
    "DfidNameInfo",
    "ErrorInfo",
    "EventRecord",
    "FanotifyFile",
    "FidInfo",
    "HandleInfo",
    "Info",
    "InfoType",
    "InitFlag",
    "MalformedRecord",
    "MarkFlag",
    "Mask",
    "MntInfo",
    "Mount",
    "PidfdInfo",
    "RangeInfo",
    "Response",
    "UnknownInfo",
    "decode",
    "deny_errno",
    "encode_response",
    "fanotify_init",
    "fanotify_mark",
    "name_to_handle_at",
    "open_by_handle_at",
    "read_mounts",
    "walk",
]


class FanotifyFile(Closing):
    """
    One fanotify group: a file descriptor and what can be done with it.

    With ``InitFlag.NONBLOCK`` it suits an event loop: ``loop.add_reader(group, callback)``, and in the callback
    :meth:`read_events`, which returns an empty list when there is nothing.
    """

    def __init__(self, fd: int) -> None:
        """
        Take over the descriptor of a group, for example one that was received from another process.

        :param fd: descriptor of a group; closed by :meth:`close`
        """
        self._fd = fd

    @classmethod
    def open(cls, flags: int, event_f_flags: int = EVENT_F_FLAGS) -> Self:
        """
        Make a group.

        :param flags: bits of :class:`InitFlag`
        :param event_f_flags: open flags of the descriptors in events (``os.O_*``)
        :return: the group, without marks
        :raises OSError: EINVAL: this kernel does not know a flag, or two exclude each other; EPERM: *flags* need
            CAP_SYS_ADMIN; EMFILE: the user has too many groups (``fs.fanotify.max_user_groups``) or the process too
            many descriptors
        :source: fanotify_init, fs/notify/fanotify/fanotify_user.c (v6.12)
        """
        return cls(fanotify_init(flags, event_f_flags))

    def mark(
        self, flags: int, mask: int, path: str | bytes | os.PathLike[str] | None = None, *, dir_fd: int = AT_FDCWD
    ) -> None:
        """
        Add, change, remove or flush marks.

        :param flags: bits of :class:`MarkFlag`: one of ``ADD``, ``REMOVE`` and ``FLUSH``, the kind of mark, modifiers
        :param mask: bits of :class:`Mask`; 0 for ``FLUSH``
        :param path: the object, relative to *dir_fd*; None marks what *dir_fd* is itself
        :param dir_fd: descriptor of a directory, by default the working directory
        :raises Closed: the group was closed
        :raises OSError: EINVAL: flags and mask do not go together; ENOENT: no such path, or nothing to remove; ENODEV,
            EXDEV, EOPNOTSUPP: the filesystem has no handles to report; ENOSPC: the user has too many marks
            (``fs.fanotify.max_user_marks``); EEXIST: the mark exists with modifiers that cannot be changed
        :source: do_fanotify_mark, fs/notify/fanotify/fanotify_user.c (v6.12)
        """
        fanotify_mark(self.fileno(), flags, mask, dir_fd, None if path is None else os.fsencode(path))

    def read_events(self, max_bytes: int = 65536) -> list[EventRecord]:
        """
        Read the events that are there; wait for one if there is none, unless the group is non-blocking.

        The caller owns the descriptors in the events (``fd``, ``pidfd``) and must close them.

        :param max_bytes: size of the buffer; 4096 is enough for any one event
        :return: events, oldest first; empty only in non-blocking groups
        :raises Closed: the group was closed
        :raises OSError: EINVAL: the next event does not fit into *max_bytes*; EMFILE and others: the object of the
            next event could not be opened, and that event is lost (not so with ``REPORT_FD_ERROR``)
        :raises MalformedRecord: the kernel returned what is no record; never seen
        :source: fanotify_read, fs/notify/fanotify/fanotify_user.c (v6.12)
        """
        try:
            buffer = os.read(self.fileno(), max_bytes)
        except BlockingIOError:
            return []
        return list(decode(buffer))

    def respond(
        self,
        event: EventRecord | int,
        allow: bool,
        *,
        errno: int = 0,
        audit: bool = False,
        audit_rule: AuditRule | None = None,
    ) -> None:
        """
        Answer a permission event. The descriptor in it stays open.

        :param event: the event, or the descriptor in it
        :param allow: let the operation go on
        :param errno: what a denied operation returns, 0 for ``EPERM``; others need Linux 6.13 and a pre-content group
        :param audit: record it in the audit log; only in groups made with ``InitFlag.ENABLE_AUDIT``
        :param audit_rule: the rule that decided (Linux 6.3)
        :raises Closed: the group was closed
        :raises InvalidArgument: *errno* is out of range, or given with *allow*
        :raises OSError: ENOENT: no event with that descriptor waits for an answer; EINVAL: the kernel does not take
            this answer from this group
        :source: process_access_response, fs/notify/fanotify/fanotify_user.c (v6.12)
        """
        fd = event if isinstance(event, int) else event.fd
        os.write(self.fileno(), encode_response(fd, allow, errno=errno, audit=audit, audit_rule=audit_rule))

    def fileno(self) -> int:
        """
        Descriptor of the group, for poll and event loops.

        :return: a descriptor
        :raises Closed: the group was closed
        """
        if self._fd < 0:
            raise Closed("the fanotify group was closed")
        return self._fd

    @property
    def closed(self) -> bool:
        """Was the group closed."""
        return self._fd < 0

    def close(self) -> None:
        """
        Remove all marks and allow what waits for an answer. Closing twice is fine.

        A copy of the descriptor, in a forked child or in a thread that is blocked in :meth:`read_events`, keeps the
        group alive.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __repr__(self) -> str:
        return f"<FanotifyFile {'closed' if self.closed else f'fd={self._fd}'}>"

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()
