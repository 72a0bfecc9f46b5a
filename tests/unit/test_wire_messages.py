"""The messages between client and daemon: what is sent is what is read, and nothing else is."""

from typing import get_args

import msgspec
import pytest

from fanotify_fastpath import errors
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.messages import (
    MESSAGE_MAX_BYTES,
    TEXT_MAX,
    Answer,
    Ask,
    Done,
    Failed,
    GroupStatus,
    Hello,
    Include,
    Mark,
    MarkObject,
    Message,
    Open,
    Request,
    Statuses,
    Sync,
    Synced,
    decode_answer,
    decode_request,
    encode,
    exception_of,
    failure,
)
from fanotify_fastpath.errors import FastpathError, InvalidArgument, KernelRefused, LimitReached, ProtocolError
from wire_samples import ANSWERS, GROUP, REQUESTS


def name_of(message: Message) -> str:
    return type(message).__name__


def packed(**fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


def changed(message: Message, **fields: object) -> bytes:
    """A packet that differs from a good one in these fields."""
    return packed(**{**msgspec.to_builtins(message, builtin_types=[bytes]), **fields})


def test_there_is_a_sample_of_each_kind() -> None:
    assert {type(one) for one in REQUESTS} == set(get_args(Request))
    assert {type(one) for one in ANSWERS} == set(get_args(Answer))


@pytest.mark.parametrize("message", REQUESTS, ids=name_of)
def test_request_is_read_as_it_was_sent_and_by_the_daemon_only(message: Request) -> None:
    assert decode_request(encode(message)) == message
    with pytest.raises(ProtocolError):
        decode_answer(encode(message))


@pytest.mark.parametrize("message", ANSWERS, ids=name_of)
def test_answer_is_read_as_it_was_sent_and_by_the_client_only(message: Answer) -> None:
    assert decode_answer(encode(message)) == message
    with pytest.raises(ProtocolError):
        decode_request(encode(message))


@pytest.mark.parametrize("message", REQUESTS, ids=name_of)
def test_a_field_too_many_or_one_that_is_missing_is_refused(message: Request) -> None:
    with pytest.raises(ProtocolError, match="unknown field"):
        decode_request(changed(message, more=1))
    fields = msgspec.to_builtins(message, builtin_types=[bytes])
    for name in fields.keys() - {"after"}:
        with pytest.raises(ProtocolError):
            decode_request(packed(**{key: value for key, value in fields.items() if key != name}))


@pytest.mark.parametrize("message", REQUESTS, ids=name_of)
def test_a_packet_with_an_end_that_lacks_or_that_goes_on_is_refused(message: Request) -> None:
    packet = encode(message)
    for length in range(len(packet)):
        with pytest.raises(ProtocolError):
            decode_request(packet[:length])
    with pytest.raises(ProtocolError):
        decode_request(packet + b"\0")
    with pytest.raises(ProtocolError):
        decode_request(packet + packet)


OPEN, INCLUDE, MARK, ASK, SYNC = (
    next(one for one in REQUESTS if isinstance(one, kind)) for kind in (Open, Include, Mark, Ask, Sync)
)
BEYOND = [
    (SYNC, {"id": 0}),
    (SYNC, {"id": 2**63}),
    (SYNC, {"id": -1}),
    (SYNC, {"id": True}),
    (SYNC, {"id": 1.0}),
    (SYNC, {"id": "1"}),
    (SYNC, {"id": None}),
    (SYNC, {"type": "Message"}),
    (SYNC, {"type": "sync"}),
    (SYNC, {"type": 1}),
    (OPEN, {"ring_bytes": 1 << 15}),
    (OPEN, {"ring_bytes": 100_000}),
    (OPEN, {"ring_bytes": 2 << 30}),
    (OPEN, {"merge": 1}),
    (INCLUDE, {"set": 256}),
    (INCLUDE, {"set": -1}),
    (INCLUDE, {"root": 0}),
    (INCLUDE, {"root": 2**32}),
    (INCLUDE, {"path": b""}),
    (INCLUDE, {"path": b"srv"}),
    (INCLUDE, {"path": b"/a\0b"}),
    (INCLUDE, {"path": "/srv"}),
    (INCLUDE, {"path": b"/" * 4097}),
    (MARK, {"mask": 0}),
    (MARK, {"mask": 2**32}),
    (ASK, {"sets": [256]}),
    (ASK, {"sets": [0] * 257}),
    (ASK, {"sets": None}),
    (ASK, {"sets": {}}),
]


@pytest.mark.parametrize(("message", "fields"), BEYOND, ids=str)
def test_what_is_beyond_the_bounds_is_refused(message: Request, fields: dict[str, object]) -> None:
    assert decode_request(changed(message)) == message
    with pytest.raises(ProtocolError):
        decode_request(changed(message, **fields))


def test_a_name_that_is_no_utf_8_is_a_path_but_no_text() -> None:
    packet = encode(Hello(1, 1, "client"))
    with pytest.raises(ProtocolError):
        decode_request(packet.replace(b"client", b"\xff\xfe\xff\xfe\xff\xfe"))


def test_an_array_in_place_of_the_map_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode_request(msgspec.msgpack.encode(["Sync", 1]))


def test_a_packet_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(ProtocolError, match="limit 65536"):
        decode_request(b"\xc0" * (MESSAGE_MAX_BYTES + 1))


TOO_MUCH = [
    Ask(1, [256]),
    Mark(1, 1, 2**32, 0),
    Hello(1, 1, "x" * 65),
    Hello(1, 1, "\udcff"),
    Hello(2**64, 1, ""),
    Hello(2**70, 1, ""),
    Done(-1),
    Failed(1, "KernelRefused", 0, ""),
    Synced(1, {str(n): n for n in range(33)}),
    Statuses(1, [GROUP] * 17, more=False),
]


@pytest.mark.parametrize("message", TOO_MUCH, ids=str)
def test_what_the_other_side_would_refuse_is_not_sent(message: Request | Answer) -> None:
    with pytest.raises(InvalidArgument, match=f"cannot send {type(message).__name__}: "):
        encode(message)


def test_what_makes_too_long_a_packet_is_not_sent() -> None:
    counters = {f"{n:02}" + "\U0001f600" * 62: n for n in range(32)}
    group = GroupStatus(1, 2, 3, "", "", 4, 5, 6, 7, 8, counters)
    with pytest.raises(InvalidArgument, match="limit 65536"):
        encode(Statuses(1, [group] * 16, more=False))


@pytest.mark.parametrize("path", [b"relative", b"", b"/a\0b"])
def test_a_path_that_cannot_be_is_refused_where_it_is_made(path: bytes) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        Include(1, 0, 1, True, path)
    with pytest.raises(ValueError, match="not an absolute path"):
        MarkObject(1, 1, 1, path)


ALL_ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, FastpathError) and not kind.__name__.startswith("_")
]


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_each_error_is_raised_again_as_what_it_is(kind: type[FastpathError]) -> None:
    again = exception_of(Failed(1, kind.__name__, 28, "no room for it"))
    assert (str(again), again.errno) == ("no room for it", 28)
    own_text = {errors.CompileError: InvalidArgument, errors.VerifierError: KernelRefused}
    assert type(again) is own_text.get(kind, KernelRefused if kind is FastpathError else kind)


@pytest.mark.parametrize("name", ["NoSuchError", "OSError", "os", "_OSFastpathError", "", "__builtins__"])
def test_an_error_that_is_none_of_ours_is_refused_by_the_kernel(name: str) -> None:
    assert type(exception_of(Failed(1, name, 5, "so it is"))) is KernelRefused


def test_errors_of_ours_and_of_the_system_are_told_and_others_are_not() -> None:
    assert failure(3, LimitReached("more than 64 marks in a group")) == Failed(
        3, "LimitReached", 122, "more than 64 marks in a group"
    )
    assert failure(4, OSError(28, "No space left on device")) == Failed(
        4, "KernelRefused", 28, "No space left on device"
    )
    assert failure(5, TimeoutError("too slow")) == Failed(5, "KernelRefused", 5, "too slow")
    hidden = failure(6, RuntimeError("what is nobody's business"))
    assert (hidden.error, hidden.errno) == ("KernelRefused", 5)
    assert "business" not in hidden.message


@pytest.mark.parametrize("text", ["\udcff" * 10, "é" * (2 * TEXT_MAX), "\udcff" * (2 * TEXT_MAX)])
def test_any_text_of_an_error_can_be_sent(text: str) -> None:
    sent = failure(1, KernelRefused(text, 10**6))
    assert decode_answer(encode(sent)) == sent
    assert sent.errno == 5


def test_the_names_in_messages_are_those_of_the_types() -> None:
    for message in [*REQUESTS, *ANSWERS]:
        assert msgspec.msgpack.decode(encode(message))["type"] == type(message).__name__
        assert message.n_fds <= messages.FDS_MAX
