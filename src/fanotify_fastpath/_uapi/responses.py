"""Answers to permission events, in the kernel's layout."""

import errno as errnos
import struct
from dataclasses import dataclass

from fanotify_fastpath._uapi.constants import ERRNO_MASK, RESPONSE_INFO_AUDIT_RULE, Response, deny_errno
from fanotify_fastpath.errors import InvalidArgument

#: struct fanotify_response: fd, response
RESPONSE = struct.Struct("=iI")
#: struct fanotify_response_info_audit_rule: type, pad, len, rule_number, subj_trust, obj_trust
AUDIT_RULE = struct.Struct("=BBHIII")


@dataclass(frozen=True, slots=True)
class AuditRule:
    """
    Which rule decided, for the audit log.

    :ivar rule_number: number of the rule
    :ivar subj_trust: is the process trusted: 0 no, 1 yes, 2 unknown
    :ivar obj_trust: is the object trusted: 0 no, 1 yes, 2 unknown
    """

    rule_number: int
    subj_trust: int = 2
    obj_trust: int = 2


_ALLOW = int(Response.ALLOW)
_DENY = int(Response.DENY)


def _response(allow: bool, errno: int) -> int:
    if allow:
        if errno:
            raise InvalidArgument(f"an answer that allows has no error number, got {errno}")
        return _ALLOW
    if not 0 <= errno <= ERRNO_MASK:
        raise InvalidArgument(f"error number {errno} is not in 0 to {ERRNO_MASK}")
    # EPERM is what a plain denial gives, and kernels and groups that take no number know that one too.
    return _DENY if errno in (0, errnos.EPERM) else deny_errno(errno)


def encode_response(
    fd: int, allow: bool, *, errno: int = 0, audit: bool = False, audit_rule: AuditRule | None = None
) -> bytes:
    """
    Encode the answer to one permission event; write it to the group in one ``write(2)``.

    :param fd: descriptor in the event, which stays open; ``NOFD`` with *audit_rule* asks the kernel whether it takes
        audit rules, and answers nothing
    :param allow: let the operation go on
    :param errno: what a denied operation returns, 0 for ``EPERM``; others need Linux 6.13 and a pre-content group
    :param audit: record it in the audit log; only in groups made with ``ENABLE_AUDIT``
    :param audit_rule: the rule that decided (Linux 6.3); shows in the log only together with *audit*
    :return: 8 bytes, or 24 with *audit_rule*
    :raises InvalidArgument: *errno* is out of range, or given with *allow*
    :source: process_access_response, fs/notify/fanotify/fanotify_user.c (v6.12)
    """
    response = _response(allow, errno)
    if audit:
        response |= Response.AUDIT
    if audit_rule is None:
        return RESPONSE.pack(fd, response)
    rule = AUDIT_RULE.pack(
        RESPONSE_INFO_AUDIT_RULE,
        0,
        AUDIT_RULE.size,
        audit_rule.rule_number,
        audit_rule.subj_trust,
        audit_rule.obj_trust,
    )
    return RESPONSE.pack(fd, response | Response.INFO) + rule
