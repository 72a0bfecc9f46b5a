"""
Hostile packets, and what takes them: each is refused as a whole or is a message within its bounds, and leaves nothing.

The packets are drawn from choices, which may come from a seed (the tests) or from a fuzzer that looks for new ways
through the code (tools/fuzz.py).
"""

import array
import os
import random
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath._wire.messages import (
    FDS_MAX,
    MESSAGE_MAX_BYTES,
    Answer,
    Request,
    decode_answer,
    decode_request,
    encode,
)
from fanotify_fastpath.errors import ProtocolError
from wire_samples import ANSWERS, REQUESTS

PACKETS: Final = [encode(message) for message in [*REQUESTS, *ANSWERS]]
#: as maps of MessagePack
MAPS: Final[list[dict[str, Any]]] = [msgspec.msgpack.decode(packet) for packet in PACKETS]
#: the first bytes of what has a length of 32, 16 or 8 bits: strings, bytes, extensions, arrays and maps
LONG: Final = [
    b"\xdb",
    b"\xc6",
    b"\xc9",
    b"\xdd",
    b"\xdf",
    b"\xda",
    b"\xc5",
    b"\xc8",
    b"\xdc",
    b"\xde",
    b"\xd9",
    b"\xc4",
]
#: as many as the kernel passes at once
N_FDS: Final = [0, 0, 0, 0, 1, 1, 2, 3, FDS_MAX, FDS_MAX + 1, 253]
VALUES: Final[list[Any]] = [
    *(sign * 2**bits + less for bits in (0, 8, 12, 31, 32, 62) for sign in (1, -1) for less in (-1, 0, 1)),
    *(
        2**63 - 1,
        2**63,
        2**64 - 1,
        -(2**63),
        1.5,
        float("nan"),
        float("inf"),
        None,
        True,
        False,
        "",
        "x" * 65,
        "\U0001f600" * 5000,
        b"",
        b"/",
        b"//",
    ),
    *(b"/a\0b", b"/" * 4097, b"\xff" * 300, [], [0] * 300, [[]], [None], {}, {"a": {}}, {1: 2}, {"x" * 70: -1}),
    *({str(n): n for n in range(40)}, msgspec.msgpack.Ext(-1, b"\xff" * 12), msgspec.msgpack.Ext(5, b"")),
]


class Choices(Protocol):
    """What decides how a packet looks."""

    def below(self, n: int) -> int:
        """A number from 0 to before *n*."""
        ...

    def bytes(self, n: int) -> bytes:
        """At most *n* bytes of any kind."""
        ...


class Seeded:
    """Choices that are the same each time."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._random, self._bytes = chance.random, chance.randbytes

    def below(self, n: int) -> int:
        """See :class:`Choices`."""
        return int(self._random() * n)

    def bytes(self, n: int) -> bytes:
        """See :class:`Choices`."""
        return self._bytes(n)


def _noise(choices: Choices) -> bytes:
    return choices.bytes(choices.below(200))


def _good(choices: Choices) -> bytes:
    return PACKETS[choices.below(len(PACKETS))]


def _cut(choices: Choices) -> bytes:
    packet = _good(choices)
    return packet[: choices.below(len(packet))]


def _mutated(choices: Choices) -> bytes:
    packet = bytearray(_good(choices))
    for _ in range(1 + choices.below(4)):
        at = choices.below(len(packet))
        match choices.below(4):
            case 0:
                packet[at] ^= 1 << choices.below(8)
            case 1:
                packet[at] = choices.below(256)
            case 2:
                packet[at:at] = choices.bytes(choices.below(9))
            case _:
                del packet[at : at + 1 + choices.below(8)]
        packet = packet or bytearray(1)
    return bytes(packet)


def _spliced(choices: Choices) -> bytes:
    first, second = _good(choices), _good(choices)
    return first[: choices.below(len(first) + 1)] + second[choices.below(len(second) + 1) :]


def _wrong_fields(choices: Choices) -> bytes:
    fields = dict(MAPS[choices.below(len(MAPS))])
    for _ in range(1 + choices.below(2)):
        names = [*fields, "type", "more", "\0", "x" * 300]
        fields[names[choices.below(len(names))]] = VALUES[choices.below(len(VALUES))]
    return msgspec.msgpack.encode(fields)


def _other_type(choices: Choices) -> bytes:
    one, other = (MAPS[choices.below(len(MAPS))] for _ in "12")
    return msgspec.msgpack.encode({**one, "type": other["type"]})


def _long(choices: Choices) -> bytes:
    """Something that claims to be very long, alone or in the place of a field."""
    first = LONG[choices.below(len(LONG))]
    length = struct.pack(">I", (2**32 - 1) >> choices.below(20))
    claim = first + length + choices.bytes(choices.below(40))
    if choices.below(2):
        return claim
    packet = _good(choices)
    return packet[: choices.below(len(packet))] + claim


def _deep(choices: Choices) -> bytes:
    step = (b"\x91", b"\x81\xa1x", b"\x81\xa4type", b"\x92\xc0", b"\x81\x90")[choices.below(5)]
    depth = (1 + choices.below(50)) * (1, 20, 1000)[choices.below(3)]
    nest = (step * depth)[:MESSAGE_MAX_BYTES]
    if choices.below(2):
        return nest
    packet = _good(choices)
    return (packet[: choices.below(len(packet))] + nest)[:MESSAGE_MAX_BYTES]


def _twice(choices: Choices) -> bytes:
    """Fields that are there twice."""
    packet = _good(choices)
    return bytes([packet[0] + 1 & 0xFF]) + packet[1:] + msgspec.msgpack.encode("id") + choices.bytes(9)


def _bulky(choices: Choices) -> bytes:
    """About as long as a packet can be, or longer."""
    length = MESSAGE_MAX_BYTES - 8 + choices.below(16)
    packet = _good(choices)
    return packet + bytes([choices.below(256)]) * (length - len(packet))


#: dearer ones are drawn less often
_MAKERS: Final[list[Callable[[Choices], bytes]]] = [
    *(_noise, _good, _cut, _mutated, _mutated, _spliced, _wrong_fields, _other_type, _long, _twice) * 6,
    *(_deep, _bulky),
]


def draw_packet(choices: Choices) -> bytes:
    """Make a packet as somebody might who wishes the daemon ill."""
    return _MAKERS[choices.below(len(_MAKERS))](choices)


def draw_n_fds(choices: Choices) -> int:
    """How many descriptors come with it."""
    return N_FDS[choices.below(len(N_FDS))]


def check_text(exc: ProtocolError) -> None:
    """See that what somebody sent is not repeated at length, nor as anything but plain text."""
    assert len(str(exc)) < 2500
    assert str(exc).isascii()
    assert str(exc).isprintable()


def read(packet: bytes) -> Request | Answer | None:
    """
    Read a packet as both sides do.

    :return: None: it was refused by both
    """
    found: list[Request | Answer] = []
    for decode in (decode_request, decode_answer):
        try:
            found.append(decode(packet))
        except ProtocolError as exc:
            check_text(exc)
    assert len(found) < 2, "both sides might have sent that"
    # what was accepted is within all bounds, so that it could be sent on
    assert all(encode(message) for message in found)
    return found[0] if found else None


class Attacker:
    """A client who sends what it likes to a channel of the daemon."""

    def __init__(self) -> None:
        self._connect()
        self._null = os.open("/dev/null", os.O_RDONLY)
        self.n_accepted = self.n_refused = 0

    def _connect(self) -> None:
        self._client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = Channel(server, decode_request)

    def attack(self, packet: bytes, n_fds: int) -> None:
        """Send it, and see that the daemon gets a message with its descriptors, or nothing and no descriptor."""
        fds = array.array("i", [self._null] * n_fds)
        self._client.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if n_fds else [])
        try:
            received = self._channel.receive(0)
        except ProtocolError:
            self.n_refused += 1
            self._end()
            self._connect()
            return
        if received is None:
            assert not packet
            return
        assert len(received.fds) == received.message.n_fds
        for fd in received.fds:
            os.close(fd)
        self.n_accepted += 1

    def _end(self) -> None:
        self._channel.close()
        self._client.close()

    def close(self) -> None:
        """Leave."""
        self._end()
        os.close(self._null)
