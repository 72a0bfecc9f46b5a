"""
Verdicts: what a handler decides about one event.

A verdict is :data:`SEND_TO_USERSPACE`, :data:`SKIP_EVENT`, or :func:`deny` with an error number. It is never a bare
integer: version 2 and version 3 of the RFC number the same words the other way round.
"""

import enum
import errno
from dataclasses import dataclass

from fanotify_fastpath.errors import InvalidArgument


class VerdictKind(enum.Enum):
    """The three things that a handler can decide."""

    SEND_TO_USERSPACE = "send"
    SKIP_EVENT = "skip"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    One decision about one event.

    :ivar kind: deliver, drop, or refuse the operation
    :ivar errno: what the refused operation returns; 0 unless *kind* is ``DENY``
    """

    kind: VerdictKind
    errno: int = 0

    def __repr__(self) -> str:
        if self.kind is VerdictKind.DENY:
            return f"deny({errno.errorcode.get(self.errno, self.errno)})"
        return self.kind.name


#: deliver the event to the listener
SEND_TO_USERSPACE = Verdict(VerdictKind.SEND_TO_USERSPACE)
#: drop the event; a permission event is allowed
SKIP_EVENT = Verdict(VerdictKind.SKIP_EVENT)

#: the error numbers that the kernel lets a listener answer with (FAN_DENY_ERRNO, Linux 6.13, pre-content groups)
DENY_ERRNOS = frozenset({errno.EPERM, errno.EIO, errno.EBUSY, errno.ETXTBSY, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT})


def deny(code: int = errno.EPERM) -> Verdict:
    """
    Refuse the operation (permission events only).

    :param code: the error that the refused system call returns; one of :data:`DENY_ERRNOS`. Other than ``EPERM``
        needs a pre-content event
    :return: the verdict
    :raises InvalidArgument: *code* is not an error number that the kernel accepts
    """
    if code not in DENY_ERRNOS:
        allowed = ", ".join(sorted(errno.errorcode[number] for number in DENY_ERRNOS))
        raise InvalidArgument(f"cannot deny with error number {code}; the kernel accepts {allowed}")
    return Verdict(VerdictKind.DENY, code)
