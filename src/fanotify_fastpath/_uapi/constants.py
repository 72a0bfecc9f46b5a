"""
The numbers of fanotify's system calls, under the kernel's names without ``FAN_``.

Event masks are in :class:`fanotify_fastpath.mask.Mask`.
"""

from enum import IntEnum, IntFlag
from typing import Final


class InitFlag(IntFlag):
    """
    Flags of ``fanotify_init(2)``.

    The class bits are a number, not flags; ``CLASS_NOTIF`` is zero. The content classes deliver permission events and
    exclude the ``REPORT_*FID`` and ``REPORT_NAME`` flags. Before Linux 7.2 ``REPORT_PIDFD`` and ``REPORT_TID`` exclude
    each other.

    :source: include/uapi/linux/fanotify.h (Linux 6.18)
    """

    CLASS_NOTIF = 0x0000
    CLOEXEC = 0x0001
    NONBLOCK = 0x0002
    CLASS_CONTENT = 0x0004
    CLASS_PRE_CONTENT = 0x0008
    UNLIMITED_QUEUE = 0x0010
    UNLIMITED_MARKS = 0x0020
    ENABLE_AUDIT = 0x0040
    #: Linux 5.15
    REPORT_PIDFD = 0x0080
    REPORT_TID = 0x0100
    REPORT_FID = 0x0200
    REPORT_DIR_FID = 0x0400
    #: only with ``REPORT_DIR_FID``
    REPORT_NAME = 0x0800
    #: Linux 5.17; only with ``REPORT_FID``, ``REPORT_DIR_FID`` and ``REPORT_NAME``
    REPORT_TARGET_FID = 0x1000
    #: Linux 6.13
    REPORT_FD_ERROR = 0x2000
    #: Linux 6.14; excludes all other ``REPORT`` flags that name objects
    REPORT_MNT = 0x4000

    REPORT_DFID_NAME = REPORT_DIR_FID | REPORT_NAME
    REPORT_DFID_NAME_TARGET = REPORT_DFID_NAME | REPORT_FID | REPORT_TARGET_FID


class MarkFlag(IntFlag):
    """
    Flags of ``fanotify_mark(2)``: one command, one kind of mark, and modifiers.

    The kind of mark is a number, not flags: ``INODE`` is zero and ``MNTNS`` is ``FILESYSTEM | MOUNT``.

    :source: include/uapi/linux/fanotify.h (Linux 6.18)
    """

    INODE = 0x000
    ADD = 0x001
    REMOVE = 0x002
    DONT_FOLLOW = 0x004
    ONLYDIR = 0x008
    MOUNT = 0x010
    IGNORED_MASK = 0x020
    IGNORED_SURV_MODIFY = 0x040
    FLUSH = 0x080
    FILESYSTEM = 0x100
    #: Linux 5.19; for inode marks only
    EVICTABLE = 0x200
    #: Linux 6.0; on directories, mounts and filesystems only as ``IGNORE_SURV``
    IGNORE = 0x400

    IGNORE_SURV = IGNORE | IGNORED_SURV_MODIFY
    #: Linux 6.14
    MNTNS = 0x110


class InfoType(IntEnum):
    """
    Kinds of information records that follow an event's metadata.

    :source: include/uapi/linux/fanotify.h (Linux 6.18)
    """

    FID = 1
    DFID_NAME = 2
    DFID = 3
    PIDFD = 4
    ERROR = 5
    RANGE = 6
    MNT = 7
    OLD_DFID_NAME = 10
    NEW_DFID_NAME = 12


class Response(IntFlag):
    """
    Answers to a permission event: ``ALLOW`` or ``DENY``, with modifiers.

    :source: include/uapi/linux/fanotify.h (Linux 6.18)
    """

    ALLOW = 0x01
    DENY = 0x02
    #: record the decision in the audit log; only in groups made with ``InitFlag.ENABLE_AUDIT``
    AUDIT = 0x10
    #: an information record follows the answer (Linux 6.3)
    INFO = 0x20


#: a denial carries its error number in the top bits of the answer (Linux 6.13)
ERRNO_BITS = 8
ERRNO_SHIFT = 32 - ERRNO_BITS
ERRNO_MASK = (1 << ERRNO_BITS) - 1

RESPONSE_INFO_NONE = 0
RESPONSE_INFO_AUDIT_RULE = 1

METADATA_VERSION: Final = 3
#: bytes of ``struct fanotify_event_metadata``
METADATA_LEN: Final = 24

#: ``fd`` of an event that has none
NOFD = -1
#: ``pidfd`` when the process had ended
NOPIDFD = -1
#: ``pidfd`` when making it failed
EPIDFD = -2

AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
#: ``name_to_handle_at``: the handle need not be openable (Linux 6.5), as in fanotify's own records
AT_HANDLE_FID = 0x200
#: ``name_to_handle_at``: return the 64-bit unique mount id (Linux 6.12)
AT_HANDLE_MNT_ID_UNIQUE = 0x001
#: ``name_to_handle_at``: the handle can be opened with its path known (Linux 6.13)
AT_HANDLE_CONNECTABLE = 0x002

#: largest ``f_handle`` that the kernel makes or takes
MAX_HANDLE_BYTES = 128
#: ``struct file_handle`` before ``f_handle``: its length (u32) and its type (i32)
HANDLE_HEADER_BYTES: Final = 8


def deny_errno(code: int) -> int:
    """
    The answer that makes the refused system call fail with *code* (``FAN_DENY_ERRNO``).

    :param code: error number, up to 255; the kernel takes a few of them only, from pre-content groups only
    :return: ``Response.DENY`` with the number in its top byte
    """
    return int(Response.DENY) | (code & ERRNO_MASK) << ERRNO_SHIFT
