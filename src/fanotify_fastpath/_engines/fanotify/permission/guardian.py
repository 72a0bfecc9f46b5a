"""
The guardian: the small process that alone holds the groups that are asked, and answers.

One loop, which never waits for anybody but the kernel's queues. It opens nothing on the filesystems that it guards
(``O_PATH``, handles and the events' own descriptors ask no permission), answers by itself what its rules decide, and
asks the user's process about the rest, with a deadline. If the user's process ends, so does the guardian; the kernel
then allows whatever waits. If the guardian itself stops or hangs, the dead man's switch kills it, to the same effect.
"""

import contextlib
import os
import resource
import select
import socket
import sys
import time
from collections import deque
from typing import Any

from fanotify_fastpath._engines.fanotify.permission.asks import Asks
from fanotify_fastpath._engines.fanotify.permission.deadman import DeadMan
from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystems
from fanotify_fastpath._engines.fanotify.permission.judge import Judge
from fanotify_fastpath._engines.fanotify.permission.kernel import AskingGroup, Question, StructureGroup
from fanotify_fastpath._engines.fanotify.permission.marking import Marking
from fanotify_fastpath._engines.fanotify.permission.protocol import Message, Unpacker, pack
from fanotify_fastpath._engines.fanotify.permission.rules import Decision, Outcome, Rules
from fanotify_fastpath._engines.fanotify.permission.subject import Subject
from fanotify_fastpath._engines.fanotify.permission.terrain import Terrain

_INIT_TGID = 1
#: bytes that may wait for a slow user's process; past it events are counted as lost
_MAX_WAITING_BYTES = 1 << 22
#: questions taken before the loop looks at everything else
_MAX_ROUNDS = 8
_COUNTS_EVERY_S = 0.25
#: a busy machine may keep this process waiting for so long
_LEAST_S = 0.2


class Guardian:
    """
    The loop and what it looks at.

    :param sock: to the user's process
    :param user_tgid: the user's process
    :param timeout_s: seconds after which a question is answered anyway
    :param allow_late: how
    """

    def __init__(self, sock: socket.socket, user_tgid: int, timeout_s: float, allow_late: bool) -> None:
        self._sock = sock
        self._timeout_s = timeout_s
        self._exempt = (user_tgid, os.getpid(), _INIT_TGID)
        self._switch = DeadMan()
        self._filesystems = Filesystems()
        self._structure = StructureGroup()
        self._marking = Marking(self._filesystems, self._structure)
        self._terrain = Terrain(self._filesystems, self._structure, self._marking)
        self._judge = Judge(self._filesystems, self._terrain)
        self._asks = Asks(timeout_s, allow_late, self._tell)
        self._unpacker = Unpacker()
        self._outgoing: deque[bytes] = deque()
        self._n_waiting_bytes = 0
        self._n_lost = 0
        self._counts_at = 0.0
        self._is_closing = False
        self._mountinfo = open("/proc/self/mountinfo", "rb")  # noqa: SIM115
        self._pidfd = os.pidfd_open(user_tgid)
        if os.getppid() != user_tgid:
            raise ProcessLookupError("the user's process has ended")
        self._poll = select.poll()
        for fd in (sock.fileno(), self._structure.fd, self._pidfd):
            self._poll.register(fd, select.POLLIN)
        self._poll.register(self._mountinfo, select.POLLPRI | select.POLLERR)

    def run(self) -> None:
        """Answer until the user's process ends, or says so."""
        try:
            while not self._is_closing or self._outgoing:
                self._arm()
                ready = dict(self._poll.poll(self._wait_ms()))
                self._turn(ready)
        finally:
            self._marking.close()

    def _arm(self) -> None:
        """Stay alive for one more deadline, and hardly longer than the first question that waits for the user."""
        if self._asks.next_s is None:
            self._switch.arm(max(self._timeout_s, _LEAST_S))
        else:
            left = max(self._asks.next_s - time.monotonic(), 0.0)
            self._switch.arm(min(left, self._timeout_s) + max(self._timeout_s / 8, _LEAST_S))

    def _wait_ms(self) -> float:
        wake = self._timeout_s / 4
        if self._asks.next_s is not None:
            wake = min(wake, max(0.0, self._asks.next_s - time.monotonic()))
        return wake * 1000 + 1

    def _turn(self, ready: dict[int, int]) -> None:
        if self._pidfd in ready:
            self._is_closing = True
            self._outgoing.clear()
            return
        if self._mountinfo.fileno() in ready:
            self._mounts_changed()
        if self._sock.fileno() in ready:
            self._receive()
        for group in self._marking.groups:
            self._answer_all(group)
        self._drain_structure()
        self._asks.expire()
        self._tell_counts()
        self._send()

    # --- questions ---

    def _answer_all(self, group: AskingGroup) -> None:
        for _ in range(_MAX_ROUNDS):
            questions = group.read()
            if not questions:
                return
            # After the reading: whatever moved before the questions came is known now.
            self._drain_structure()
            for question in questions:
                self._answer(group, question)

    def _answer(self, group: AskingGroup, question: Question) -> None:
        if question.tgid in self._exempt:
            group.answer(question.fd, True)
            return
        try:
            decision, subject = self._judge.decide(question, group, is_tree=group is self._marking.trees)
        except Exception:  # it went away meanwhile; and even a bug must not end the guard
            subject = Subject(question.mask, None, None, question.tgid, None, is_dir=False)
            decision = Decision(Outcome.UNDECIDED)
        outcome = decision.outcome
        if outcome is Outcome.UNDECIDED:
            outcome = Outcome.DELIVER if self._asks.allow_late else Outcome.DENY
            decision.is_reported = True
        if outcome in (Outcome.DENY, Outcome.ASK) and subject.is_kernel_thread:
            outcome = Outcome.ALLOW
        if outcome is Outcome.ASK:
            self._asks.add(group, question.fd, subject, decision.to_ask)
            return
        if outcome is Outcome.DELIVER or (outcome is Outcome.DENY and decision.is_reported):
            self._tell(("event", subject.fields(undecided=False)))
        group.answer(question.fd, outcome is not Outcome.DENY, decision.code)

    def _drain_structure(self) -> None:
        self._terrain.drain()
        while self._terrain.gone:
            self._tell(("gone", self._terrain.gone.pop()))

    def _mounts_changed(self) -> None:
        for filesystem in self._filesystems.unmounted():
            self._tell(("unmounted", filesystem.fsid, filesystem.path))
            self._filesystems.drop(filesystem)
            self._terrain.forget()

    # --- the user's process ---

    def _receive(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._is_closing = True
            self._outgoing.clear()
            return
        for message in self._unpacker.feed(data):
            self._obey(message)

    def _obey(self, message: Message) -> None:
        kind = message[0]
        if kind == "configure":
            self._tell(("done", message[1], self._configure(message[2])), is_event=False)
        elif kind == "answer":
            self._asks.answer(*message[1:])
        elif kind == "close":
            self._asks.close()
            self._counts_at = 0.0
            self._tell_counts()
            self._is_closing = True

    def _configure(self, state: dict[str, Any]) -> tuple[int, str, bytes] | None:
        rules = Rules(state)
        error = self._marking.use(rules)
        if error is not None:
            return error
        self._counts_at = 0.0
        self._tell_counts()
        self._terrain.use(rules)
        for group in self._marking.groups:
            self._poll.register(group.fd, select.POLLIN)
        return None

    def _tell_counts(self) -> None:
        now = time.monotonic()
        if now - self._counts_at < _COUNTS_EVERY_S:
            return
        self._counts_at = now
        counts = self._terrain.rules.take_counts()
        if counts:
            self._tell(("counts", counts), is_event=False)

    def _tell(self, message: Message, is_event: bool = True) -> None:
        if is_event and self._n_waiting_bytes > _MAX_WAITING_BYTES:
            self._n_lost += message[0] == "event"
            return
        if self._n_lost:
            n_lost, self._n_lost = self._n_lost, 0
            self._tell(("lost", n_lost), is_event=False)
        data = pack(message)
        self._outgoing.append(data)
        self._n_waiting_bytes += len(data)

    def _send(self) -> None:
        """Send what the socket takes; it may be full, for the user's process may be stopped."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while self._outgoing:
                n_sent = self._sock.send(self._outgoing[0])
                self._n_waiting_bytes -= n_sent
                if n_sent == len(self._outgoing[0]):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = self._outgoing[0][n_sent:]
        self._poll.modify(self._sock.fileno(), select.POLLIN | (select.POLLOUT if self._outgoing else 0))


def main() -> None:
    """Run as ``python -c … <socket> <user's process> <timeout in seconds> <allow or deny>``."""
    fd, tgid, timeout_s, late = sys.argv[-4:]
    os.chdir("/")
    with contextlib.suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    sock = socket.socket(fileno=int(fd))
    sock.setblocking(False)
    with contextlib.suppress(ProcessLookupError, ConnectionError):
        Guardian(sock, int(tgid), float(timeout_s), late == "allow").run()
    os._exit(0)  # nothing to clean up; and no module may be looked for on the way out
