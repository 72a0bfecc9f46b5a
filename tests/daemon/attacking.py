"""A client who wishes the daemon ill, and what shows that nobody else has suffered."""

import errno
import fcntl
import mmap
import os
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.messages import encode
from outcomes import errno_of

from .client import Client
from .support import NAME, OTHER_USER, USER, Daemon, Puppet
from .test_server import paths

PAGE: Final = mmap.PAGESIZE
_WORD: Final = struct.Struct("=Q")
#: what a position may be set to, besides numbers near the true one
_POSITIONS: Final = [0, 8, 2**63, 2**64 - 8, 2**64 - 1, 2**32, 1, 7]
_FALLOC_PUNCH_HOLE: Final = 3


class Attacker(Client):
    """One connection of somebody who keeps what the daemon gave, and does with it whatever can be done."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._scribbler: threading.Thread | None = None
        self._is_over = threading.Event()
        self._n_written = 0
        self._kept: list[int] = []

    def take_ring(self, ring_fd: int, wake_fd: int, ring_bytes: int) -> None:
        """Keep both descriptors."""
        self._ring_fd, self._wake_fd, self._ring_bytes = os.dup(ring_fd), os.dup(wake_fd), ring_bytes
        self._kept += [self._ring_fd, self._wake_fd]
        super().take_ring(ring_fd, wake_fd, ring_bytes)

    def let_go(self) -> None:
        """Close all descriptors that were kept, and what is mapped of them."""
        while self._kept:
            os.close(self._kept.pop())
        if self._ring is not None:
            self._ring.close()

    # --- the ring ---

    def begin_scribbling(self, seed: int, *, only_positions: bool) -> None:
        """Write into the ring's memory from a thread, until :meth:`end_scribbling`."""
        self._is_over.clear()
        self._scribbler = threading.Thread(target=self._scribble, args=(seed, only_positions), daemon=True)
        self._scribbler.start()

    def end_scribbling(self) -> int:
        """Stop that; the number of words written."""
        self._is_over.set()
        assert self._scribbler is not None
        self._scribbler.join()
        return self._n_written

    def _scribble(self, seed: int, only_positions: bool) -> None:
        chance = random.Random(seed)
        # of a map the kernel lets the first page be written, and no other (tests/kernel/test_views.py)
        length = PAGE if NAME == "kernel" else 2 * PAGE + 2 * self._ring_bytes
        with (
            mmap.mmap(self._ring_fd, length) as memory,
            mmap.mmap(self._ring_fd, PAGE, prot=mmap.PROT_READ, offset=PAGE) as writers,
        ):
            while not self._is_over.is_set():
                for at in range(0, min(2 * PAGE, length), PAGE) if only_positions else range(0, length, 8):
                    (true,) = _WORD.unpack_from(writers, 0)
                    near = (true + 8 * chance.randrange(-600, 600)) % 2**64
                    value = chance.choice([near, chance.choice(_POSITIONS), chance.getrandbits(64)])
                    _WORD.pack_into(memory, at, value)
                    self._n_written += 1

    def try_to_spoil(self) -> dict[str, str]:
        """All that could be done to the memory and the pipe besides; the names of the errors."""
        length = os.fstat(self._ring_fd).st_size
        fallocate = f"/proc/self/fd/{self._ring_fd}"
        return {
            "shorten": errno_of(os.ftruncate, self._ring_fd, 0),
            "lengthen": errno_of(os.ftruncate, self._ring_fd, length + PAGE),
            "append": errno_of(os.pwrite, self._ring_fd, b"x", length),
            "reopen and shorten": errno_of(os.truncate, fallocate, 0),
            "seal": errno_of(fcntl.fcntl, self._ring_fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
            "write to the pipe": errno_of(os.write, self._wake_fd, b"x"),
            "reopen the pipe": errno_of(_open_and_close, f"/proc/self/fd/{self._wake_fd}", os.O_WRONLY | os.O_NONBLOCK),
        }

    def punch(self) -> None:
        """Give all the ring's memory back, which leaves zeros."""
        with mmap.mmap(self._ring_fd, os.fstat(self._ring_fd).st_size) as memory:
            memory.madvise(mmap.MADV_REMOVE)

    def block_on_pipe(self) -> None:
        """Have the open file of the pipe's reading end wait."""
        flags = fcntl.fcntl(self._wake_fd, fcntl.F_GETFL)
        fcntl.fcntl(self._wake_fd, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)

    def ring_content(self) -> bytes:
        """All that is in the ring's memory."""
        if NAME == "kernel":
            length = PAGE + 2 * self._ring_bytes
            with mmap.mmap(self._ring_fd, length, prot=mmap.PROT_READ, offset=PAGE) as memory:
                return memory[:]
        return os.pread(self._ring_fd, os.fstat(self._ring_fd).st_size, 0)

    def ring_memory_bytes(self) -> int:
        """The memory that the ring takes."""
        return os.fstat(self._ring_fd).st_blocks * 512

    # --- messages ---

    def send_packets(self, packets: list[bytes]) -> list[messages.Answer | None]:
        """Send packets as they are, each when the one before is answered."""
        raw = socket.socket(fileno=os.dup(self._channels[-1].fileno()))
        try:
            answers = []
            for packet in packets:
                raw.send(packet)
                answers.append(self.answer())
            return answers
        finally:
            raw.close()

    def flood_with_descriptors(self, n_packets: int, n_fds: int) -> tuple[int, str]:
        """Send packets with descriptors until the kernel takes no more; how many went, and why it ended."""
        raw = socket.socket(fileno=os.dup(self._channels[-1].fileno()))
        raw.setblocking(False)
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(n_fds)]
        try:
            for n_sent in range(n_packets):
                try:
                    socket.send_fds(raw, [encode(messages.Status(1))], fds)
                except OSError as exc:
                    return n_sent, errno.errorcode[exc.errno or 0]
            return n_packets, "ok"
        finally:
            raw.close()
            for fd in fds:
                os.close(fd)

    def take_all(self, directories: list[Path]) -> dict[str, int]:
        """Take roots, sets and marks up to the limits; how many there are then."""
        self._until_refused(lambda n: self.mark(100 + n, Mask.ALL_EVENTS, n % 8))
        self._until_refused(lambda n: self.include(n % 200, 1000 + n, directories[n % len(directories)]))
        self._until_refused(lambda n: self.include(0, 10_000 + n, directories[n % len(directories)]))
        answer = self.ask(messages.Status)
        assert isinstance(answer, messages.Statuses)
        (status,) = answer.groups
        return {"roots": status.n_roots, "sets": status.n_sets, "marks": status.n_marks}

    def _until_refused(self, ask: Callable[[int], messages.Answer | None]) -> None:
        for n in range(5000):
            answer = ask(n)
            if isinstance(answer, messages.Failed):
                assert answer.error == "LimitReached", answer
                return
        raise AssertionError("no limit was reached")

    def many_requests(self, top: Path, n: int, seed: int) -> None:
        """Make so many requests, good and bad ones, on a new connection for each few hundred."""
        chance = random.Random(seed)
        for at in range(n):
            if at % 500 == 0:
                if at:
                    self.hang_up()
                self.connect()
                self.watch(top, Mask.ALL_CHANGES)
            number = chance.randrange(2, 6)
            match chance.randrange(10):
                case 0:
                    self.include(number, number, top / "below", called=b"/" + b"x" * chance.randrange(1, 4000))
                case 1:
                    self.ask(messages.Discard, set=number, root=number)
                case 2:
                    self.mark(number, Mask.CREATE, chance.randrange(6))
                case 3:
                    self.ask(messages.Unmark, mark=number)
                case 4:
                    self.ask(messages.Ask, sets=[number])
                case 5:
                    self.mark_object(number, Mask.CREATE | Mask.EVENT_ON_CHILD, top / "below")
                case 6:
                    self.hear()
                case _:
                    self.ask(messages.Status)
        self.hang_up()

    def busy(self, top: Path, seed: int) -> None:
        """Connect and ask for this and that, without end."""
        chance = random.Random(seed)
        self.watch(top, Mask.ALL_CHANGES)
        while True:
            match chance.randrange(6):
                case 0:
                    self.hang_up()
                    self.connect()
                    self.watch(top, Mask.ALL_CHANGES)
                case 1:
                    self.include(chance.randrange(3), 2 + chance.randrange(4), top)
                case 2:
                    self.ask(messages.Discard, set=chance.randrange(3), root=2 + chance.randrange(4))
                case 3:
                    self.mark(2, Mask.CREATE, 1)
                    self.ask(messages.Unmark, mark=2)
                case 4:
                    self.ask(messages.Ask, sets=[chance.randrange(3)])
                case _:
                    self.hear()


def _open_and_close(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def attacker_of(daemon: Daemon, uid: int = USER) -> Puppet:
    """Connect one who is an ordinary user, or root."""
    return Puppet(lambda: Attacker(daemon.socket_path), uid)


def innocent_of(daemon: Daemon, top: Path, ring_bytes: int = 1 << 22) -> Puppet:
    """Somebody else, who only wants to hear what files come into being in *top*."""
    innocent = Puppet(lambda: Client(daemon.socket_path), OTHER_USER)
    try:
        assert innocent.watch(top, Mask.CREATE, ring_bytes=ring_bytes) == ["Welcome", "Opened", "Done", "Done"]
    except BaseException:
        innocent.close()
        raise
    return innocent


def check_unharmed(daemon: Daemon, innocent: Puppet, top: Path, expected: list[str] | None = None) -> None:
    """
    See that somebody else has heard of all, and only of that, and still does; and that nothing failed in the daemon.

    :param expected: files made in *top* up to now, in order
    """
    if expected is not None:
        assert paths(innocent.hear(), Mask.CREATE, top) == expected
    else:
        innocent.hear()
    innocent.make_files(top, 1, "after-all-")
    assert paths(innocent.hear(), Mask.CREATE, top) == ["after-all-0"]
    os.unlink(top / "after-all-0")
    assert daemon.process.poll() is None
    failures = [line for line in daemon.log().splitlines() if "failed" in line or "Traceback" in line]
    assert not failures


def held(daemon: Daemon) -> Counter[str]:
    """What it has open by kind, without processes and directories, which it keeps as it likes."""
    kinds = [what.split(":[")[0] for what in daemon.descriptors().values() if not what.startswith("/proc/")]
    return Counter(kinds)
