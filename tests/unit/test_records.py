"""Records faked in plain memory: what is well formed comes back whole, what is not is refused at the right byte."""

import struct
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath._uapi.constants import METADATA_LEN, NOFD, InfoType
from fanotify_fastpath._uapi.records import (
    DfidInfo,
    DfidNameInfo,
    ErrorInfo,
    EventRecord,
    FidInfo,
    Info,
    MalformedRecord,
    MntInfo,
    PidfdInfo,
    RangeInfo,
    UnknownInfo,
    decode,
    walk,
)
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.mask import Mask

FSID = b"fsidfsid"
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I32 = st.integers(-(2**31), 2**31 - 1)


def encode_info(info_type: int, payload: bytes) -> bytes:
    return struct.pack("=BBH", info_type, 0, 4 + len(payload)) + payload


def encode_event(mask: int, fd: int = NOFD, pid: int = 1, infos: bytes = b"", version: int = 3) -> bytes:
    return struct.pack("=IBBHQii", METADATA_LEN + len(infos), version, 0, METADATA_LEN, mask, fd, pid) + infos


def file_handle(f_handle: bytes, handle_type: int = 1) -> bytes:
    return struct.pack("=Ii", len(f_handle), handle_type) + f_handle


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


handles = st.builds(file_handle, st.binary(max_size=128), I32)
fsids = st.binary(min_size=8, max_size=8)
names = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)
unknown_types = st.integers(0, 255).filter(lambda number: number not in list(InfoType))


def encoded(info: Info) -> bytes:
    """Write an information record as the kernel would (copy_info_records_to_user)."""
    match info:
        case FidInfo() | DfidInfo() | DfidNameInfo():
            name = b"" if info.name is None else info.name + b"\0"
            return encode_info(info.info_type, padded(info.fsid + info.handle + name))
        case PidfdInfo(pidfd):
            return encode_info(InfoType.PIDFD, struct.pack("=i", pidfd))
        case ErrorInfo(error, count):
            return encode_info(InfoType.ERROR, struct.pack("=iI", error, count))
        case RangeInfo(offset, count):
            return encode_info(InfoType.RANGE, struct.pack("=4xQQ", offset, count))
        case MntInfo(mnt_id):
            return encode_info(InfoType.MNT, struct.pack("=4xQ", mnt_id))
        case UnknownInfo(info_type, payload):
            return encode_info(info_type, payload)


named_types = st.sampled_from([InfoType.DFID_NAME, InfoType.OLD_DFID_NAME, InfoType.NEW_DFID_NAME])
infos = st.one_of(
    st.builds(FidInfo, st.just(InfoType.FID), fsids, handles),
    st.builds(DfidInfo, st.just(InfoType.DFID), fsids, handles),
    st.builds(DfidNameInfo, named_types, fsids, handles, names),
    st.builds(PidfdInfo, I32),
    st.builds(ErrorInfo, I32, U32),
    st.builds(RangeInfo, U64, U64),
    st.builds(MntInfo, U64),
    st.builds(UnknownInfo, unknown_types, st.binary(max_size=64)),
)
records = st.builds(
    EventRecord, st.builds(Mask, st.integers(0, 2**32 - 1)), I32, I32, st.lists(infos, max_size=5).map(tuple)
)


def encode_record(record: EventRecord) -> bytes:
    return encode_event(record.mask, record.fd, record.pid, b"".join(map(encoded, record.infos)))


@given(st.lists(records, max_size=6))
def test_well_formed_records_come_back_as_they_were(wanted: list[EventRecord]) -> None:
    assert list(decode(b"".join(map(encode_record, wanted)))) == wanted


@given(st.lists(records, max_size=6))
def test_spans_cover_each_payload_and_stay_inside_the_buffer(wanted: list[EventRecord]) -> None:
    buffer = b"".join(map(encode_record, wanted))
    for (mask, fd, pid, spans), record in zip(walk(buffer), wanted, strict=True):
        assert (mask, fd, pid) == (record.mask, record.fd, record.pid)
        assert [buffer[start:end] for _, start, end in spans] == [encoded(info)[4:] for info in record.infos]


def assert_ends_or_is_refused(buffer: bytes) -> None:
    n_events, offset = 0, None
    try:
        for _ in decode(buffer):
            n_events += 1
    except MalformedRecord as error:
        offset = error.offset
    assert n_events * METADATA_LEN <= len(buffer)
    assert offset is None or 0 <= offset <= len(buffer)


@given(st.binary(max_size=512))
def test_random_bytes_end_or_are_refused(buffer: bytes) -> None:
    assert_ends_or_is_refused(buffer)


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_damaged_records_end_or_are_refused(wanted: list[EventRecord], data: st.DataObject) -> None:
    buffer = bytearray(b"".join(map(encode_record, wanted)))
    for _ in range(data.draw(st.integers(1, 4))):
        buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    assert_ends_or_is_refused(bytes(buffer))


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_cut_buffer_gives_the_whole_events_and_then_refuses(wanted: list[EventRecord], data: st.DataObject) -> None:
    parts = list(map(encode_record, wanted))
    buffer = b"".join(parts)
    cut = data.draw(st.integers(0, len(buffer)))
    ends = [sum(map(len, parts[: n + 1])) for n in range(len(parts))]
    n_whole = sum(end <= cut for end in ends)
    events = decode(buffer[:cut])
    assert [next(events) for _ in range(n_whole)] == wanted[:n_whole]
    if cut in (0, *ends):
        assert list(events) == []
    else:
        with pytest.raises(MalformedRecord):
            next(events)


def test_an_empty_buffer_has_no_events() -> None:
    assert list(decode(b"")) == []


def event_with_len(event_len: int) -> bytes:
    return struct.pack("=IBBHQii", event_len, 3, 0, METADATA_LEN, 1, NOFD, 1)


def event_with_metadata_len(metadata_len: int) -> bytes:
    return struct.pack("=IBBHQii", METADATA_LEN, 3, 0, metadata_len, 1, NOFD, 1)


GOOD = encode_event(Mask.OPEN)
HOSTILE = {
    "shorter than a header": (b"\x18\0\0\0", 0),
    "event_len 0 would never advance": (event_with_len(0), 0),
    "event_len below a header": (event_with_len(23), 0),
    "event_len beyond the buffer": (event_with_len(25), 0),
    "event_len of 4 GiB": (event_with_len(2**32 - 1), 0),
    "version of another kernel": (encode_event(1, version=4), 0),
    "metadata_len too small": (event_with_metadata_len(23), 0),
    "metadata_len beyond the event": (event_with_metadata_len(25), 0),
    "info_len 0 would never advance": (encode_event(1, infos=b"\x01\0\0\0"), 24),
    "info_len below its header": (encode_event(1, infos=b"\x01\0\x03\0"), 24),
    "info_len beyond the event": (encode_event(1, infos=b"\x01\0\x05\0"), 24),
    "stray bytes after the infos": (encode_event(1, infos=encode_info(200, b"") + b"\0\0"), 28),
    "fid without a handle": (encode_event(1, infos=encode_info(InfoType.FID, FSID)), 28),
    "handle longer than its record": (
        encode_event(1, infos=encode_info(InfoType.FID, FSID + struct.pack("=Ii", 5, 1) + b"1234")),
        28,
    ),
    "handle of 4 GiB": (
        encode_event(1, infos=encode_info(InfoType.FID, FSID + struct.pack("=Ii", -1 & 2**32 - 1, 1))),
        28,
    ),
    "name without an end": (
        encode_event(1, infos=encode_info(InfoType.DFID_NAME, FSID + file_handle(b"") + b"name")),
        44,
    ),
    "no name at all": (encode_event(1, infos=encode_info(InfoType.DFID_NAME, FSID + file_handle(b""))), 44),
    "pidfd too short": (encode_event(1, infos=encode_info(InfoType.PIDFD, b"\0\0")), 28),
    "range too short": (encode_event(1, infos=encode_info(InfoType.RANGE, bytes(16))), 28),
}


@pytest.mark.parametrize(("buffer", "offset"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_buffers_are_refused_at_the_bad_byte(buffer: bytes, offset: int) -> None:
    events = decode(GOOD + buffer)
    assert next(events) == EventRecord(Mask.OPEN, NOFD, 1)
    with pytest.raises(MalformedRecord, match="malformed fanotify record") as caught:
        next(events)
    assert caught.value.offset == len(GOOD) + offset


def test_a_malformed_record_is_an_invalid_argument() -> None:
    with pytest.raises(InvalidArgument):
        list(walk(b"?"))


def test_a_longer_header_of_a_later_kernel_is_skipped() -> None:
    info = encode_info(InfoType.PIDFD, struct.pack("=i", 7))
    longer = struct.pack("=IBBHQii8x", METADATA_LEN + 8 + len(info), 3, 0, METADATA_LEN + 8, Mask.OPEN, 5, 6) + info
    assert list(decode(longer + GOOD)) == [
        EventRecord(Mask.OPEN, 5, 6, (PidfdInfo(7),)),
        EventRecord(Mask.OPEN, NOFD, 1),
    ]


def test_a_longer_record_of_a_later_kernel_is_read_as_far_as_known() -> None:
    buffer = encode_event(Mask.OPEN, infos=encode_info(InfoType.PIDFD, struct.pack("=iQ", 7, 8)))
    assert next(decode(buffer)).pidfd == 7


def test_a_name_that_is_no_utf8_survives() -> None:
    info = DfidNameInfo(InfoType.DFID_NAME, FSID, file_handle(b"12345678"), b"\xff\xfe name")
    event = next(decode(encode_event(Mask.CREATE, infos=encoded(info))))
    assert event.dfid_name == info
    assert event.dfid_name.name == b"\xff\xfe name"


def test_a_rename_has_both_places_and_no_plain_one() -> None:
    old = DfidNameInfo(InfoType.OLD_DFID_NAME, FSID, file_handle(b"1234"), b"old")
    new = DfidNameInfo(InfoType.NEW_DFID_NAME, FSID, file_handle(b"5678"), b"new")
    fid = FidInfo(InfoType.FID, FSID, file_handle(b"9abc"))
    event = next(decode(encode_event(Mask.RENAME, infos=encoded(old) + encoded(new) + encoded(fid))))
    assert (event.old_dfid_name, event.new_dfid_name, event.fid, event.dfid_name) == (old, new, fid, None)


PROPERTIES: list[tuple[Info, Callable[[EventRecord], object], object]] = [
    (FidInfo(1, FSID, file_handle(b"12")), lambda event: event.fid, FidInfo(1, FSID, file_handle(b"12"))),
    (DfidInfo(3, FSID, file_handle(b"12")), lambda event: event.dfid, DfidInfo(3, FSID, file_handle(b"12"))),
    (PidfdInfo(-2), lambda event: event.pidfd, -2),
    (ErrorInfo(117, 2), lambda event: event.error, ErrorInfo(117, 2)),
    (RangeInfo(4096, 8192), lambda event: event.range, RangeInfo(4096, 8192)),
    (MntInfo(2**40), lambda event: event.mnt, 2**40),
]


@pytest.mark.parametrize(("info", "get", "wanted"), PROPERTIES)
def test_each_property_finds_its_record_after_others(
    info: Info, get: Callable[[EventRecord], object], wanted: object
) -> None:
    buffer = encode_event(Mask.OPEN, infos=encode_info(99, b"new") + encoded(info))
    assert get(next(decode(buffer))) == wanted
    assert get(EventRecord(Mask.OPEN, NOFD, 1)) is None


@pytest.mark.parametrize(("fd", "error"), [(0, None), (3, None), (NOFD, None), (-6, 6), (-9, 9)])
def test_a_negative_fd_other_than_nofd_is_an_error_number(fd: int, error: int | None) -> None:
    assert EventRecord(Mask.OPEN, fd, 1).fd_error == error


REAL_CREATE = (
    "54000000030018000001000000000000ffffffff5d0b0000"
    "020020002b223367c285f2740800000001000000020000000000000061000000"
    "01001c002b223367c285f27408000000010000000c00000091893c96"
)


@pytest.mark.skipif(sys.byteorder != "little", reason="the bytes are from a little-endian machine")
def test_a_record_from_a_real_kernel_decodes() -> None:
    # Linux 6.18, ext4, CREATE of "a" with REPORT_DFID_NAME_TARGET, copied from a read
    buffer = bytes.fromhex(REAL_CREATE)
    (event,) = decode(buffer)
    assert event.mask == Mask.CREATE
    assert event.fd == NOFD
    assert event.dfid_name is not None
    assert event.fid is not None
    assert event.dfid_name.name == b"a"
    assert event.dfid_name.fsid == event.fid.fsid
    assert event.dfid_name.handle[:8] == event.fid.handle[:8] == struct.pack("=Ii", 8, 1)
