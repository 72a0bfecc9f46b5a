"""
The messages between a client and the daemon, as types: each field with its bounds.

One message is one packet, a MessagePack map whose ``type`` is the name of the class. What is not exactly one of these,
within these bounds, is a :class:`ProtocolError`. The descriptors that come with a packet are in ``n_fds``.
"""

import errno
from collections.abc import Callable
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from fanotify_fastpath import errors
from fanotify_fastpath.errors import FastpathError, InvalidArgument, KernelRefused, ProtocolError

VERSION: Final = 1
MESSAGE_MAX_BYTES: Final = 64 * 1024
FDS_MAX: Final = 64
#: groups in one answer to :class:`Status`
GROUPS_MAX: Final = 16
#: root sets of one group: a record has a bit for each
SETS_MAX: Final = 256
PATH_MAX_BYTES: Final = 4096
#: a page of any machine, and enough for any record
RING_MIN_BYTES: Final = 1 << 16
RING_MAX_BYTES: Final = 1 << 30
#: characters of a text that explains; what is longer is cut
TEXT_MAX: Final = 4096
NAME_MAX: Final = 64
#: the highest error number of Linux
ERRNO_MAX: Final = 4095

RequestId: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
AnswerId: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
#: 0 is no root, in the records
RootNumber: TypeAlias = Annotated[int, Meta(ge=1, le=2**32 - 1)]
SetNumber: TypeAlias = Annotated[int, Meta(ge=0, le=SETS_MAX - 1)]
EventMask: TypeAlias = Annotated[int, Meta(ge=1, le=2**32 - 1)]
RingBytes: TypeAlias = Annotated[int, Meta(ge=RING_MIN_BYTES, le=RING_MAX_BYTES)]
Path: TypeAlias = Annotated[bytes, Meta(min_length=1, max_length=PATH_MAX_BYTES)]
Name: TypeAlias = Annotated[str, Meta(max_length=NAME_MAX)]
Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_MAX)]
Counts: TypeAlias = Annotated[dict[Name, Count], Meta(max_length=32)]


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="type", forbid_unknown_fields=True):
    """
    What all messages are.

    :cvar n_fds: descriptors that come with it
    """

    n_fds: ClassVar[int] = 0


# ---- what a client asks: each is answered once, in order, under the number that it carries


class Hello(Message, frozen=True):
    """
    The first message; it stays as it is in all versions. Answered by :class:`Welcome`.

    :ivar version: of the protocol that the client speaks
    :ivar client: what it is, for people
    """

    id: RequestId
    version: Number
    client: Name


class Open(Message, frozen=True):
    """
    Open the connection's group; once. Answered by :class:`Opened`.

    :ivar include_self: events of the client's own process too
    :ivar follow_submounts: what is mounted below a root belongs to it
    :ivar with_tid: events tell the thread, as far as the client may know it
    :ivar merge: of events that say the same, one that waits unread is enough
    :ivar ring_bytes: size of the ring that is wished for, a power of 2
    """

    id: RequestId
    include_self: bool
    follow_submounts: bool
    with_tid: bool
    merge: bool
    ring_bytes: RingBytes

    def __post_init__(self) -> None:
        _check_power_of_2(self.ring_bytes)


class Include(Message, frozen=True):
    """
    Put a root, or an exception, into a root set, which comes into being by this. Answered by :class:`Done`.

    With the descriptor of the root, opened for reading; that of an exception may be an ``O_PATH`` one.

    :ivar set: the client's number of the set; also of its bit in the records
    :ivar root: the client's number of the root, by which it is taken out again, and by which the daemon tells that it
        is gone; the same root has the same number in all sets
    :ivar included: a root; else an exception
    :ivar path: absolute name by which the client calls it; it stands at the front of the paths of events
    """

    n_fds: ClassVar[int] = 1
    id: RequestId
    set: SetNumber
    root: RootNumber
    included: bool
    path: Path

    def __post_init__(self) -> None:
        _check_absolute(self.path)


class Discard(Message, frozen=True):
    """Take a root or an exception out of a set. Answered by :class:`Done`."""

    id: RequestId
    set: SetNumber
    root: RootNumber


class Mark(Message, frozen=True):
    """
    Mark a root set with scope subtree. Answered by :class:`Done`.

    :ivar mark: the client's number, by which it is removed again
    :ivar mask: the kernel's event types, with ``FS_ISDIR`` for events on directories
    :ivar set: whose roots, as they are and will be
    """

    id: RequestId
    mark: Number
    mask: EventMask
    set: SetNumber


class MarkObject(Message, frozen=True):
    """
    Mark one object with scope inode: a file, or a directory and its children. Answered by :class:`Done`.

    With the descriptor of the object, opened for reading.
    """

    n_fds: ClassVar[int] = 1
    id: RequestId
    mark: Number
    mask: EventMask
    path: Path

    def __post_init__(self) -> None:
        _check_absolute(self.path)


class Unmark(Message, frozen=True):
    """Remove a mark of either scope. Answered by :class:`Done`."""

    id: RequestId
    mark: Number


class Ask(Message, frozen=True):
    """
    Say of which sets, beside the marked ones, events must tell whether they lie inside. Answered by :class:`Done`.

    :ivar sets: all of them: this replaces what was asked before
    """

    id: RequestId
    sets: Annotated[list[SetNumber], Meta(max_length=SETS_MAX)]


class Sync(Message, frozen=True):
    """Wait until what happened so far is in the ring, or counted as dropped. Answered by :class:`Synced`."""

    id: RequestId


class Status(Message, frozen=True):
    """
    Ask who uses the daemon: uid 0 is told all groups, others their own. Answered by :class:`Statuses`.

    :ivar after: only groups with a greater number, to go on after an answer that was not all
    """

    id: RequestId
    after: Number = 0


# ---- what the daemon answers


class Welcome(Message, frozen=True):
    """
    The daemon speaks this version.

    :ivar version: of the protocol, the same as asked for
    :ivar server: what it is, for people
    :ivar engine: what makes the events
    :ivar limits: what this client may have, by name
    """

    id: AnswerId
    version: Number
    server: Name
    engine: Name
    limits: Counts


class Opened(Message, frozen=True):
    """
    The group is there.

    With the descriptors of the ring, and of the reading end of a pipe, not blocking, which becomes readable when a
    record is put into a ring that was empty. What is read from it says nothing. It is emptied, and then the ring is
    looked at once more, before anybody waits.

    :ivar ring: ``"memory"``: a file in memory; ``"bpf"``: a BPF map. Both have the same layout
    :ivar ring_bytes: size of its data
    """

    n_fds: ClassVar[int] = 2
    id: AnswerId
    engine: Name
    ring: Literal["memory", "bpf"]
    ring_bytes: RingBytes

    def __post_init__(self) -> None:
        _check_power_of_2(self.ring_bytes)


class Done(Message, frozen=True):
    """What was asked for holds from now on."""

    id: AnswerId


class Synced(Message, frozen=True):
    """
    All that happened before the request is in the ring, or counted.

    :ivar counters: of the group, by name
    """

    id: AnswerId
    counters: Counts


class GroupStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    One group, in :class:`Statuses`.

    :ivar group: the daemon's number of it, never used again
    :ivar uid: whose it is
    :ivar tgid: process that connected
    :ivar client: as it called itself
    :ivar age_s: seconds since it was opened
    :ivar counters: of the group, by name
    """

    group: Number
    uid: Number
    tgid: Number
    client: Name
    engine: Name
    age_s: Count
    n_sets: Number
    n_roots: Number
    n_marks: Number
    ring_bytes: Count
    counters: Counts


class Statuses(Message, frozen=True):
    """
    Groups, by their numbers.

    :ivar more: there are more, after the last of these
    """

    id: AnswerId
    groups: Annotated[list[GroupStatus], Meta(max_length=GROUPS_MAX)]
    more: bool


class Failed(Message, frozen=True):
    """
    A request was refused, and has changed nothing. With id 0: no request, but the connection is at its end.

    :ivar error: name of the class in ``fanotify_fastpath.errors`` that the client raises
    :ivar errno: its error number
    :ivar message: why
    """

    id: AnswerId
    error: Name
    errno: Annotated[int, Meta(ge=1, le=ERRNO_MAX)]
    message: Text


class Gone(Message, frozen=True):
    """No answer: the daemon is stopping, and the connection's end is near."""

    id: Literal[0]
    reason: Text


Request: TypeAlias = Hello | Open | Include | Discard | Mark | MarkObject | Unmark | Ask | Sync | Status
Answer: TypeAlias = Welcome | Opened | Done | Synced | Statuses | Failed | Gone

_ENCODER: Final = msgspec.msgpack.Encoder()
_WHY_MAX: Final = 200
_REQUESTS: "Final[msgspec.msgpack.Decoder[Request]]" = msgspec.msgpack.Decoder(Request)
_ANSWERS: "Final[msgspec.msgpack.Decoder[Answer]]" = msgspec.msgpack.Decoder(Answer)

M = TypeVar("M")

#: errors by the names that go over the wire; two that need more than a text are what they are besides
_ERRORS: Final[dict[str, Callable[[str, int], FastpathError]]] = {
    **{
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, FastpathError) and issubclass(kind, OSError) and name[0] != "_"
    },
    "CompileError": InvalidArgument,
    "VerifierError": KernelRefused,
}


def encode(message: Request | Answer) -> bytes:
    """
    Make the packet of a message.

    :return: at most ``MESSAGE_MAX_BYTES``
    :raises InvalidArgument: a field is not within its bounds
    """
    kind = type(message).__name__
    try:
        packet = _ENCODER.encode(message)
        # bounds are checked only by reading; messages are few, and events are none
        (_REQUESTS if isinstance(message, Request) else _ANSWERS).decode(packet)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as exc:
        raise InvalidArgument(f"cannot send {kind}: {exc}") from exc
    if len(packet) > MESSAGE_MAX_BYTES:
        raise InvalidArgument(f"cannot send {kind}: {len(packet)} bytes, limit {MESSAGE_MAX_BYTES}")
    return packet


def decode_request(packet: bytes) -> Request:
    """
    Read a packet that a client sent.

    :raises ProtocolError: it is no request
    """
    return _decoded(packet, _REQUESTS)


def decode_answer(packet: bytes) -> Answer:
    """
    Read a packet that the daemon sent.

    :raises ProtocolError: it is none of the daemon's messages
    """
    return _decoded(packet, _ANSWERS)


def failure(request_id: int, exc: Exception) -> Failed:
    """
    Make of an exception the answer to a request.

    What is no error of this package nor of the system is told without its text.

    :param request_id: of the request that failed; 0: the connection is at its end
    """
    code = exc.errno if isinstance(exc, FastpathError | OSError) else None
    if not isinstance(exc, FastpathError | OSError):
        name, text = KernelRefused.__name__, "the daemon failed; its log says why"
    elif isinstance(exc, FastpathError):
        name, text = type(exc).__name__, str(exc)
    else:
        name, text = KernelRefused.__name__, exc.strerror or str(exc)
    # names of files that are no UTF-8 are in the text as lone surrogates
    text = text.encode("utf-8", "backslashreplace").decode()[:TEXT_MAX]
    return Failed(request_id, name, code if code and 0 < code <= ERRNO_MAX else errno.EIO, text)


def exception_of(failed: Failed) -> FastpathError:
    """Make of an answer the exception to raise; an error that this client does not know is a :class:`KernelRefused`."""
    return _ERRORS.get(failed.error, KernelRefused)(failed.message, failed.errno)


def _decoded(packet: bytes, decoder: "msgspec.msgpack.Decoder[M]") -> M:
    if len(packet) > MESSAGE_MAX_BYTES:
        raise ProtocolError(f"a packet of {len(packet)} bytes, limit {MESSAGE_MAX_BYTES}")
    try:
        return decoder.decode(packet)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as exc:
        # it may repeat what somebody sent, which goes into logs and onto terminals
        why = str(exc)[:_WHY_MAX].encode("unicode_escape").decode()
        raise ProtocolError(f"a packet of {len(packet)} bytes is no message: {why}") from None


def _check_absolute(path: bytes) -> None:
    if not path.startswith(b"/") or b"\0" in path:
        raise ValueError(f"not an absolute path: {path[:64]!r}")


def _check_power_of_2(size_bytes: int) -> None:
    if size_bytes & (size_bytes - 1):
        raise ValueError(f"size of a ring, not a power of 2: {size_bytes}")
