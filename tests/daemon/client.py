"""A client that speaks the protocol itself, message by message; it lives in a process of its own (``Puppet``)."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fanotify_fastpath import Mask
from fanotify_fastpath._bpf._abi import FpKind, FpShownFlag
from fanotify_fastpath._bpf.ring import Record, RingReader
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath._wire.told import told_by
from fanotify_fastpath.errors import FastpathError
from outcomes import DEADLINE_S

from .support import USER, Daemon, Puppet

RING_BYTES = 1 << 16


class Heard(NamedTuple):
    """
    A record of the ring.

    :ivar mask: event types, with ``ONDIR``; of a record about the stream all that it says
    :ivar inside: numbers of the client's sets
    """

    mask: Mask
    path: str
    old_path: str
    inside: frozenset[int]
    old_inside: frozenset[int]
    tgid: int
    uid: int
    comm: bytes
    n_dropped: int
    is_told: bool
    root: int


class Client:
    """
    One connection; a method for each request, which returns the answer.

    :param path: of the socket
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._channels: list[Channel[messages.Answer]] = []
        self._n_requests = 0
        self._ring: RingReader | None = None
        self._roots: dict[int, str] = {}
        self._objects: dict[int, str] = {}
        self.connect()

    def connect(self) -> int:
        """Connect once more; the newest connection is the one that is used."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self._path)
        self._channels.append(Channel(connection, messages.decode_answer))
        return len(self._channels)

    # --- messages ---

    def answer(self, timeout_s: float = DEADLINE_S) -> messages.Answer | None:
        """The next message of the daemon; None at the end of the connection."""
        try:
            received = self._channels[-1].receive(timeout_s)
        except ConnectionResetError:
            received = self._channels[-1].receive(timeout_s)
        if received is None:
            return None
        if isinstance(received.message, messages.Opened):
            ring_fd, wake_fd = received.fds
            self.take_ring(ring_fd, wake_fd, received.message.ring_bytes)
        return received.message

    def take_ring(self, ring_fd: int, wake_fd: int, ring_bytes: int) -> None:
        """What comes with the answer to ``Open``."""
        if self._ring is not None:
            self._ring.close()
        self._ring = RingReader(ring_fd, ring_bytes)
        os.close(ring_fd)
        os.close(wake_fd)

    def ask(self, kind: type[messages.Request], *fds: int, **fields: object) -> messages.Answer | None:
        """Make a request, and return what is answered to it."""
        self._n_requests += 1
        with contextlib.suppress(ConnectionError):  # perhaps it was said why
            self._channels[-1].send(kind(id=self._n_requests, **fields), fds)  # type: ignore[arg-type]
        answer = self.answer()
        assert answer is None or answer.id in (0, self._n_requests)
        return answer

    def send_raw(self, packet: bytes, n_fds: int = 0) -> str:
        """Send a packet of any content, with descriptors; "ok" or the name of the error."""
        raw = socket.socket(fileno=os.dup(self._channels[-1].fileno()))
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(n_fds)]
        try:
            socket.send_fds(raw, [packet], fds) if fds else raw.send(packet)
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]
        finally:
            raw.close()
            for fd in fds:
                os.close(fd)
        return "ok"

    def hello(self, version: int = messages.VERSION) -> messages.Answer | None:
        """Say which version this is."""
        return self.ask(messages.Hello, version=version, client="tests")

    def open(self, ring_bytes: int = RING_BYTES, **wishes: bool) -> messages.Answer | None:
        """Open the group."""
        given = {"include_self": True, "follow_submounts": True, "with_tid": False, "merge": True, **wishes}
        return self.ask(messages.Open, ring_bytes=ring_bytes, **given)

    def include(
        self,
        number: int,
        root: int,
        path: Path,
        *,
        included: bool = True,
        flags: int | None = None,
        called: bytes = b"",
    ) -> messages.Answer | None:
        """Put a root or an exception into a set."""
        if flags is None:
            flags = os.O_RDONLY | os.O_NONBLOCK if included else os.O_PATH
        fd = os.open(path, flags)
        try:
            fields = {"set": number, "root": root, "included": included, "path": called or os.fsencode(path)}
            self._roots[root] = os.fsdecode(called or path)
            return self.ask(messages.Include, fd, **fields)
        finally:
            os.close(fd)

    def open_path(self, path: Path) -> int:
        """Open a file or directory; the descriptor is this process's."""
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def mark_object(self, mark: int, mask: int, path: Path) -> messages.Answer | None:
        """Mark one object."""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._objects[mark] = os.fspath(path)
        try:
            return self.ask(messages.MarkObject, fd, mark=mark, mask=int(mask), path=os.fsencode(path))
        finally:
            os.close(fd)

    def mark(self, mark: int, mask: int, number: int) -> messages.Answer | None:
        """Mark a set."""
        return self.ask(messages.Mark, mark=mark, mask=int(mask), set=number)

    def watch(self, path: Path, mask: int = Mask.ALL_CHANGES | Mask.ONDIR, **wishes: object) -> list[str]:
        """Hello, open, one root and one mark; the names of the answers."""
        answers = [self.hello(), self.open(**wishes), self.include(0, 1, path), self.mark(1, mask, 0)]  # type: ignore[arg-type]
        return [type(answer).__name__ for answer in answers]

    def sync(self) -> dict[str, int]:
        """Wait until all is in the ring; return the counters."""
        answer = self.ask(messages.Sync)
        assert isinstance(answer, messages.Synced), answer
        return answer.counters

    def hear(self) -> list[Heard]:
        """All that has happened up to now."""
        self.sync()
        return self.read()

    def read(self) -> list[Heard]:
        """All that is in the ring."""
        assert self._ring is not None
        heard: list[Heard] = []
        while len(batch := self._ring.read_batch(4096)):
            heard += [self._heard(record) for record in batch]
        return heard

    def _heard(self, record: Record) -> Heard:
        fields = record.fields
        told = told_by(fields)
        mask = {FpKind.TOLD: told.mask, FpKind.ROOT_GONE: Mask.ROOT_GONE, FpKind.UNMOUNT: Mask.UNMOUNT}.get(
            FpKind(fields.kind), Mask(fields.mask)
        )
        return Heard(
            mask,
            self._named(record.path, fields.mount_id, is_mark=bool(fields.flags & FpShownFlag.PATH_OF_MARK)),
            self._named(record.old_path, fields.reserved, is_mark=bool(fields.flags & FpShownFlag.OLD_PATH_OF_MARK)),
            _numbers(fields.inside),
            _numbers(fields.old_inside),
            fields.tgid,
            fields.uid,
            fields.comm.rstrip(b"\0"),
            fields.n_dropped,
            fields.kind != FpKind.EVENT,
            {FpKind.TOLD: told.root, FpKind.ROOT_GONE: fields.mount_id}.get(FpKind(fields.kind), 0),
        )

    def _named(self, path: bytes, number: int, *, is_mark: bool) -> str:
        """A path that begins at the object of that number, if it has one."""
        above = (self._objects if is_mark else self._roots)[number] if number else ""
        return above + os.fsdecode(path)

    # --- what clients do besides ---

    def make_files(self, directory: Path, n_files: int, name: str = "file") -> None:
        """Make files, each with an event or two."""
        for n in range(n_files):
            os.close(os.open(directory / f"{name}{n}", os.O_CREAT | os.O_WRONLY, 0o644))

    def hang_up(self) -> None:
        """Close the newest connection."""
        self._channels.pop().close()

    def connect_many(self, n: int) -> list[str]:
        """Connect so often, and say hello on each; the names of the answers."""
        names = []
        for _ in range(n):
            self.connect()
            try:
                names.append(_name(self.hello()))
            except (OSError, FastpathError) as exc:
                names.append(type(exc).__name__)
        return names

    def ask_many(self, n: int) -> list[str]:
        """Make so many requests, one after the other; the names of the answers."""
        return [_name(self.ask(messages.Status)) for _ in range(n)]

    def flood(self, packets: Sequence[bytes], n: int) -> None:
        """Send packets without reading what is answered, from a thread that ends with the process."""
        raw = socket.socket(fileno=os.dup(self._channels[-1].fileno()))

        def send() -> None:
            for number in range(n):
                raw.send(packets[number % len(packets)])

        threading.Thread(target=send, daemon=True).start()


def _name(answer: messages.Answer | None) -> str:
    return answer.error if isinstance(answer, messages.Failed) else type(answer).__name__


def _numbers(slots: bytes) -> frozenset[int]:
    bits = int.from_bytes(slots, "little")
    return frozenset(n for n in range(messages.SETS_MAX) if bits >> n & 1)


def opened_as(daemon: Daemon, uid: int = USER) -> Puppet:
    """Connect a client that is an ordinary user, or root."""
    return Puppet(lambda: Client(daemon.socket_path), uid)
