"""The engine's decoder: it says what the typed decoder says, and refuses what that refuses."""

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath._engines.common.processes import Processes
from fanotify_fastpath._engines.fanotify.doers import Doer, Doers, find_pidfds
from fanotify_fastpath._engines.fanotify.raw import Raw, decode
from fanotify_fastpath._uapi import records
from fanotify_fastpath._uapi.constants import METADATA_LEN, NOPIDFD, InfoType
from fanotify_fastpath._uapi.records import EventRecord, HandleInfo, MalformedRecord, PidfdInfo

Fields = tuple[int, int, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]
HANDLES = (InfoType.FID, InfoType.DFID, InfoType.DFID_NAME, InfoType.OLD_DFID_NAME, InfoType.NEW_DFID_NAME)
NAMED = (InfoType.DFID_NAME, InfoType.OLD_DFID_NAME, InfoType.NEW_DFID_NAME)
FSID = b"fsidfsid"


def fields(raw: Raw) -> Fields:
    return raw.mask, raw.pid, raw.dir, raw.name, raw.obj, raw.dir2, raw.name2


def expected(record: EventRecord) -> Fields:
    """What the engine takes of a record; of several for the same place the last."""
    raw = Raw(int(record.mask), record.pid)
    for info in record.infos:
        if isinstance(info, HandleInfo):
            key = info.fsid + info.handle
            if info.info_type == InfoType.FID:
                raw.obj = key
            elif info.info_type == InfoType.DFID:
                raw.dir = key
            elif info.info_type == InfoType.NEW_DFID_NAME:
                raw.dir2, raw.name2 = key, info.name
            else:
                raw.dir, raw.name = key, info.name
    return fields(raw)


def encode_info(info_type: int, payload: bytes) -> bytes:
    return struct.pack("=BBH", info_type, 0, 4 + len(payload)) + payload


def encode_handle(info_type: int, handle: bytes, name: bytes) -> bytes:
    payload = FSID + struct.pack("=Ii", len(handle), 1) + handle + (name + b"\0" if info_type in NAMED else b"")
    return encode_info(info_type, payload + bytes(-len(payload) % 4))


def encode_event(mask: int, pid: int, infos: list[bytes], more_header: bytes = b"") -> bytes:
    body = more_header + b"".join(infos)
    head = METADATA_LEN + len(more_header)
    return struct.pack("=IBBHQii", METADATA_LEN + len(body), 3, 0, head, mask, -1, pid) + body


names = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)
infos = st.one_of(
    st.builds(encode_handle, st.sampled_from(HANDLES), st.binary(max_size=128), names),
    st.builds(encode_info, st.sampled_from([InfoType.PIDFD, InfoType.ERROR]), st.just(bytes(8))),
    st.builds(encode_info, st.just(InfoType.PIDFD), st.binary(min_size=4, max_size=4)),
    st.builds(encode_info, st.integers(100, 255), st.binary(max_size=32)),
)
events = st.builds(
    encode_event,
    st.integers(0, 2**64 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.lists(infos, max_size=5),
    st.binary(max_size=8),
)


@given(st.lists(events, max_size=6))
def test_both_decoders_agree_on_well_formed_records(parts: list[bytes]) -> None:
    buffer = b"".join(parts)
    assert [fields(raw) for raw in decode(buffer)] == [expected(record) for record in records.decode(buffer)]


@given(st.lists(events, max_size=6))
def test_descriptors_of_processes_are_found_as_the_typed_decoder_finds_them(parts: list[bytes]) -> None:
    buffer = b"".join(parts)
    wanted = [
        (record.pid, [NOPIDFD, *(info.pidfd for info in record.infos if isinstance(info, PidfdInfo))][-1])
        for record in records.decode(buffer)
    ]
    assert find_pidfds(buffer) == wanted


def outcome(told: Iterator[Fields]) -> tuple[list[Fields], MalformedRecord | None]:
    """What a decoder gives, and how it ends."""
    given: list[Fields] = []
    try:
        for each in told:
            given.append(each)
    except MalformedRecord as error:
        return given, error
    return given, None


def engines(buffer: bytes) -> Iterator[Raw]:
    """The engine's decoder as an iterator: it decodes all or nothing."""
    yield from decode(buffer)


def assert_decoders_agree(buffer: bytes) -> None:
    """Either both give the same, or the engine's refuses with the typed one's words; it may ignore what it skips."""
    given, error = outcome(map(fields, engines(buffer)))
    typed, typed_error = outcome(expected(record) for record in records.decode(buffer))
    if error is not None:
        assert typed_error is not None
        assert (str(error), error.offset) == (str(typed_error), typed_error.offset)
    else:
        assert typed_error is None or "too few for record type" in str(typed_error)
        assert given[: len(typed)] == typed


@given(st.binary(max_size=512))
def test_random_bytes_are_read_alike_or_refused_alike(buffer: bytes) -> None:
    assert_decoders_agree(buffer)


@given(st.lists(events, min_size=1, max_size=4), st.data())
def test_damaged_records_are_read_alike_or_refused_alike(parts: list[bytes], data: st.DataObject) -> None:
    buffer = bytearray(b"".join(parts))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(buffer) - 1))
        buffer[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 3, 4, 23, 24, 25, 254, 255])))
    assert_decoders_agree(bytes(buffer))
    assert len(find_pidfds(bytes(buffer))) >= len(outcome(map(fields, engines(bytes(buffer))))[0])


@given(st.lists(events, min_size=1, max_size=4), st.data())
def test_a_cut_buffer_is_refused(parts: list[bytes], data: st.DataObject) -> None:
    buffer = b"".join(parts)
    cut = data.draw(st.integers(0, len(buffer)))
    ends = {sum(map(len, parts[:n])) for n in range(len(parts) + 1)}
    if cut in ends:
        assert len(decode(buffer[:cut])) == sorted(ends).index(cut)
    else:
        with pytest.raises(MalformedRecord):
            decode(buffer[:cut])


HOSTILE = {
    "shorter than a header": b"\x18\0\0\0",
    "event_len 0 would never advance": struct.pack("=IBBHQii", 0, 3, 0, 24, 1, -1, 1),
    "event_len of 4 GiB": struct.pack("=IBBHQii", 2**32 - 1, 3, 0, 24, 1, -1, 1),
    "version of another kernel": struct.pack("=IBBHQii", 24, 4, 0, 24, 1, -1, 1),
    "metadata_len too small": struct.pack("=IBBHQii", 24, 3, 0, 23, 1, -1, 1),
    "metadata_len beyond the event": struct.pack("=IBBHQii", 24, 3, 0, 25, 1, -1, 1),
    "info_len 0 would never advance": encode_event(1, 1, [b"\x01\0\0\0"]),
    "info_len beyond the event": encode_event(1, 1, [b"\x01\0\x05\0"]),
    "stray bytes after the infos": encode_event(1, 1, [encode_info(200, b""), b"\0\0"]),
    "fid without a handle": encode_event(1, 1, [encode_info(InfoType.FID, FSID)]),
    "handle longer than its record": encode_event(
        1, 1, [encode_info(InfoType.FID, FSID + struct.pack("=Ii", 5, 1) + b"1234")]
    ),
    "handle of 4 GiB": encode_event(1, 1, [encode_info(InfoType.FID, FSID + struct.pack("=Ii", -1 & 2**32 - 1, 1))]),
    "name without an end": encode_event(
        1, 1, [encode_info(InfoType.DFID_NAME, FSID + struct.pack("=Ii", 0, 1) + b"name")]
    ),
    "no name at all": encode_event(1, 1, [encode_info(InfoType.NEW_DFID_NAME, FSID + struct.pack("=Ii", 0, 1))]),
}


@pytest.mark.parametrize("buffer", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_buffers_are_refused_as_the_typed_decoder_does(buffer: bytes) -> None:
    good = encode_event(1, 1, [])
    with pytest.raises(MalformedRecord) as wanted:
        list(records.decode(good + buffer))
    with pytest.raises(MalformedRecord) as caught:
        decode(good + buffer)
    assert (str(caught.value), caught.value.offset) == (str(wanted.value), wanted.value.offset)


def test_an_event_of_a_whole_filesystem_has_an_empty_handle() -> None:
    info = encode_info(InfoType.FID, FSID + struct.pack("=Ii", 0, 0))
    error = encode_info(InfoType.ERROR, struct.pack("=iI", 117, 2))
    (raw,) = decode(encode_event(0x8000, 0, [info, error]))
    assert (raw.mask, raw.pid, raw.obj) == (0x8000, 0, FSID + bytes(8))


def test_what_happened_again_was_done_by_the_same_process() -> None:
    raw = Raw(0x10000000, 7)
    raw.doer = Doer(Doers(lambda _: b"", int, Processes()), 7, 0.0, had_ended=True)
    assert raw.again().doer is raw.doer
