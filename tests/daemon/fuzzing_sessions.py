"""
Whole connections with somebody who wishes the daemon ill, while things happen: what each request is answered with.

The session is the daemon's own, in this process; what it would log as a failure of its own is a failure here.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest import mock

from fanotify_fastpath._bpf.ring import RingReader
from fanotify_fastpath._daemon import session as session_module
from fanotify_fastpath._daemon.account import Accounts
from fanotify_fastpath._daemon.config import Limits
from fanotify_fastpath._daemon.descriptors import Descriptors
from fanotify_fastpath._daemon.peer import Credentials, Peer
from fanotify_fastpath._daemon.policy import Rights
from fanotify_fastpath._daemon.session import Session
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath._wire.messages import Answer, Request

from .fuzzing import Choices, draw_n_fds, draw_packet

UID: Final = 65534
#: few, so that they are reached
LIMITS: Final = Limits(
    connections_per_user=2,
    groups_per_user=1,
    roots_per_group=6,
    sets_per_group=4,
    marks_per_group=4,
    ring_bytes=1 << 16,
    ring_bytes_per_user=1 << 16,
    requests_per_second=1 << 20,
    requests_burst=1 << 20,
)
ANSWER_S: Final = 20.0
_MASKS: Final = [0x40000FC2, 0x10000302, 0x2, 0x8, 0x100, 0x40000FFF, 0x10000, 1 << 31, 2**32 - 1, 1]


#: a process that does what it is told, in bytes of two: where and what
_ACTOR: Final = """
import os, shutil, sys
from pathlib import Path
top, n = Path(sys.argv[1]), 0
while order := sys.stdin.buffer.read(2):
    n += 1
    place = top / ("open", "open/below", "other", "closed")[order[0]]
    if order[1] == 0:
        (place / f"new{n}").write_bytes(b"x")
    elif order[1] == 1:
        (place / f"directory{n}").mkdir()
        (place / f"directory{n}" / "new").touch()
    elif order[1] == 2:
        for path in [*place.glob("new*")][:2]:
            path.rename(top / "open" / f"renamed{n}{path.name}")
    else:
        for path in [*place.glob("*new*")]:
            path.unlink()
        for path in [*place.glob("directory*")]:
            shutil.rmtree(path)
    os.write(1, b".")
"""


class Ground:
    """
    Directories and files of which descriptors are sent, and where something happens.

    :param top: on a filesystem of the test's own
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        os.chmod(top, 0o755)
        for name, mode in (("open", 0o755), ("open/below", 0o755), ("other", 0o755), ("closed", 0o700)):
            (top / name).mkdir()
            (top / name).chmod(mode)
        (top / "open/file").write_bytes(b"x")
        os.mkfifo(top / "fifo")
        directories = [b"", b"/open", b"/open/below", b"/other", b"/closed"]
        base, readable = os.fsencode(top), os.O_RDONLY | os.O_NONBLOCK
        # more of those that may be watched
        self.fds = [os.open(base + name, readable) for name in [*directories, b"/open", b"/open/below", b"/open/file"]]
        self.fds += [os.open(base + name, os.O_PATH) for name in (b"/open", b"/closed", b"/open/file", b"/fifo")]
        self.fds += [os.open(base + b"/fifo", readable), os.open(b"/dev/null", readable), os.open(b"/proc", readable)]
        self.fds += [os.open(base + b"/open/file", os.O_WRONLY), os.eventfd(0), os.eventfd(1)]
        # the daemon does not tell what its own process does, and that is this one
        command = [sys.executable, "-c", _ACTOR, str(top)]
        self._actor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def act(self, choices: Choices) -> None:
        """Do something there that somebody may watch."""
        assert self._actor.stdin is not None
        assert self._actor.stdout is not None
        self._actor.stdin.write(bytes([choices.below(4), choices.below(4)]))
        self._actor.stdin.flush()
        assert self._actor.stdout.read(1) == b"."

    def close(self) -> None:
        """Close what is open."""
        self._actor.communicate()
        for fd in self.fds:
            os.close(fd)


class Host:
    """What a session needs of its server."""

    server_name = "a test"
    engine_name = "fanotify"

    def __init__(self) -> None:
        self.descriptors = Descriptors(1 << 10)
        self.has_ended = threading.Event()
        self.session: Session | None = None

    def statuses(self, uid: int, after: int) -> tuple[list[messages.GroupStatus], bool]:
        """See the server's."""
        found = self.session.status(with_others=uid == 0) if self.session else None
        return ([found] if found else []), False

    def ended(self, session: Session) -> None:
        """See the server's."""
        self.has_ended.set()


@contextmanager
def failures() -> Iterator[list[str]]:
    """What sessions would log as failures of their own, meanwhile."""
    found: list[str] = []

    def note(what: str, error: BaseException, **fields: object) -> None:
        found.append(f"{what}: {error!r} {fields}")

    with mock.patch.object(session_module, "log_failure", note):
        yield found


def draw_request(choices: Choices, number: int) -> Request:
    """A request within the bounds, of numbers that are few, so that they meet."""
    set_number, root, mark = choices.below(6), 1 + choices.below(8), choices.below(6)
    mask = _MASKS[choices.below(len(_MASKS))]
    path = (b"/a", b"/", b"/a/b/../c", b"/\xff\xfe", b"/" + b"x" * 4000)[choices.below(5)]
    match choices.below(16):
        case 0 | 1 | 2 | 3:
            return messages.Include(number, set_number, root, choices.below(4) > 0, path)
        case 4 | 5:
            return messages.Discard(number, set_number, root)
        case 6 | 7 | 8:
            return messages.Mark(number, mark, mask, set_number)
        case 9 | 10:
            return messages.MarkObject(number, mark, mask, path)
        case 11:
            return messages.Unmark(number, mark)
        case 12:
            return messages.Ask(number, [choices.below(8) for _ in range(choices.below(5))])
        case 13:
            return messages.Status(number, choices.below(3))
        case 14:
            return messages.Hello(number, messages.VERSION, "again")
        case _:
            return messages.Sync(number)


class Connection:
    """
    One connection of the attacker.

    :ivar n_done: requests that were done
    :ivar n_failed: requests that were refused
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel: Channel[Answer] = Channel(self._socket, messages.decode_answer)
        self._accounts = Accounts(4)
        self._host = Host()
        rights = Rights(UID, limits=LIMITS)
        session = Session(
            self._host,
            Channel(theirs, messages.decode_request),
            Peer(Credentials(UID, UID), os.getpid()),
            rights,
            self._accounts.connect(UID, LIMITS),
        )
        self._host.session = session
        self._reader: RingReader | None = None
        self._ring_fds: tuple[int, ...] = ()
        self._number = 0
        self.n_done = self.n_failed = self.n_events = 0
        session.start()

    def play(self, choices: Choices) -> None:
        """Say this and that, and at last something that is no message, or nothing any more."""
        if choices.below(20):
            self._ask(messages.Hello(self._next(), messages.VERSION + (choices.below(30) == 0), "attacker"), choices)
        if choices.below(4):
            self._watch(choices)
        for _ in range(choices.below(24)):
            if choices.below(4) == 0:
                self._ground.act(choices)
            elif self._reader is None and choices.below(3):
                self._ask(self._drawn_open(choices), choices)
            else:
                self._ask(draw_request(choices, self._next()), choices)
            if choices.below(2):
                self._read()
        if choices.below(2):
            self._throw(choices)

    def _watch(self, choices: Choices) -> None:
        """Ask for what an honest client would; with a name so long that the ring is soon full."""
        path = (b"/top", b"/" + b"x" * 3900)[choices.below(2)]
        self._ask(messages.Open(self._next(), False, True, False, True, messages.RING_MIN_BYTES), choices)
        self._ask(messages.Include(self._next(), 0, 1, True, path), choices, fd_at=choices.below(3))
        self._ask(messages.Mark(self._next(), 0, _MASKS[choices.below(2)], 0), choices)
        for _ in range(choices.below(8)):
            self._ground.act(choices)

    def end(self) -> None:
        """Leave, and see that nothing is left."""
        if self._reader is not None:
            self._reader.close()
        for fd in self._ring_fds:
            os.close(fd)
        self._channel.close()
        assert self._host.has_ended.wait(ANSWER_S), "the session did not end"
        assert self._accounts.n_connections == 0
        assert not any(self._accounts.used(UID).values())

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _drawn_open(self, choices: Choices) -> Request:
        include_self, follow_submounts, with_tid = (choices.below(2) == 1 for _ in range(3))
        ring_bytes = messages.RING_MIN_BYTES << choices.below(3)
        return messages.Open(self._next(), include_self, follow_submounts, with_tid, choices.below(8) > 0, ring_bytes)

    def _ask(self, request: Request, choices: Choices, fd_at: int | None = None) -> None:
        """Ask, and take the answer, which must be this one's."""
        fds = self._ground.fds
        drawn = [fds[choices.below(len(fds)) if fd_at is None else fd_at] for _ in range(request.n_fds)]
        self._channel.send(request, drawn)
        received = self._channel.receive(ANSWER_S)
        assert received is not None, f"no answer to {request}"
        answer, fds_here = received
        assert answer.id == request.id, (request, answer)
        if isinstance(answer, messages.Failed):
            assert answer.message
            self.n_failed += 1
            return
        assert type(answer) is ANSWERS_TO.get(type(request), messages.Done), (request, answer)
        if isinstance(answer, messages.Opened):
            self._ring_fds = fds_here
            self._reader = RingReader(fds_here[0], answer.ring_bytes)
        self.n_done += 1

    def _read(self) -> None:
        if self._reader is not None:
            self.n_events += len(self._reader.read_batch(1000))

    def _throw(self, choices: Choices) -> None:
        """Send any packet. It is answered, or ends the connection."""
        packet = draw_packet(choices)
        fds = [self._ground.fds[0]] * draw_n_fds(choices)
        socket.send_fds(self._socket, [packet], fds)
        received = self._channel.receive(ANSWER_S)
        for fd in received.fds if received else ():
            os.close(fd)


ANSWERS_TO: Final = {
    messages.Hello: messages.Welcome,
    messages.Open: messages.Opened,
    messages.Sync: messages.Synced,
    messages.Status: messages.Statuses,
}
