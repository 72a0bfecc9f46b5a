"""Answers to permission events, byte by byte."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath._uapi.constants import NOFD, deny_errno
from fanotify_fastpath._uapi.responses import AuditRule, encode_response
from fanotify_fastpath.errors import InvalidArgument

ALLOW, DENY, AUDIT, INFO = 1, 2, 0x10, 0x20


@pytest.mark.parametrize(
    ("response", "wanted"),
    [
        (encode_response(5, True), ALLOW),
        (encode_response(5, False), DENY),
        (encode_response(5, True, audit=True), ALLOW | AUDIT),
        (encode_response(5, False, audit=True), DENY | AUDIT),
        (encode_response(5, False, errno=errno.EIO), DENY | errno.EIO << 24),
        (encode_response(5, False, errno=errno.EDQUOT, audit=True), DENY | AUDIT | errno.EDQUOT << 24),
    ],
)
def test_an_answer_is_the_descriptor_and_the_kernels_bits(response: bytes, wanted: int) -> None:
    assert response == struct.pack("=iI", 5, wanted)


def test_denying_with_eperm_is_the_plain_denial_that_all_kernels_know() -> None:
    assert encode_response(5, False, errno=errno.EPERM) == encode_response(5, False)


@given(st.integers(2, 255))
def test_any_error_number_lies_in_the_top_byte(code: int) -> None:
    (_, response) = struct.unpack("=iI", encode_response(0, False, errno=code))
    assert (response & 0xFFFFFF, response >> 24) == (DENY, code)
    assert response == deny_errno(code)


@pytest.mark.parametrize("code", [-1, 256, 2**31])
def test_an_error_number_out_of_range_is_refused(code: int) -> None:
    with pytest.raises(InvalidArgument, match="0 to 255"):
        encode_response(5, False, errno=code)


def test_an_error_number_with_an_allowing_answer_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="allows"):
        encode_response(5, True, errno=errno.EIO)


def test_an_audit_rule_follows_the_answer() -> None:
    response = encode_response(5, False, audit=True, audit_rule=AuditRule(rule_number=7, subj_trust=1, obj_trust=0))
    assert response == struct.pack("=iI", 5, DENY | AUDIT | INFO) + struct.pack("=BBHIII", 1, 0, 16, 7, 1, 0)


def test_an_audit_rule_without_a_descriptor_asks_whether_the_kernel_takes_it() -> None:
    assert encode_response(NOFD, True, audit_rule=AuditRule(0))[:8] == struct.pack("=iI", -1, ALLOW | INFO)


def test_trust_is_unknown_unless_told() -> None:
    assert encode_response(5, True, audit_rule=AuditRule(1))[-8:] == struct.pack("=II", 2, 2)
