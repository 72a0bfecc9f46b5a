"""Answering permission events in a thread, with a deadline after which all is allowed."""

import faulthandler
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from fanotify_fastpath.lowlevel import AuditRule, EventRecord, FanotifyFile, Mask

from .support import DEADLINE_S, Seen


@dataclass(frozen=True)
class Answer:
    """What is written back; with a rule it is audited."""

    allow: bool
    errno: int = 0
    audit_rule: AuditRule | None = None


ALLOW = Answer(True)
DENY = Answer(False)


class Answering:
    """
    Answers a group's permission events in a thread, as long as the block runs.

    At the deadline, and when anything goes wrong, the group is closed, which allows whatever waits; then the test
    fails. The thread touches the events' own descriptors only, which make no events.

    The block must not do what asks for permission while it holds the interpreter lock (mmap, subprocess's vfork, page
    faults): neither thread could run then. Should one do so, faulthandler's thread, which needs no lock, ends the
    process.
    """

    def __init__(self, group: FanotifyFile, decide: Callable[[Seen], Answer] = lambda _: ALLOW) -> None:
        assert not os.get_blocking(group.fileno()), "a thread blocked in read keeps a closed group alive"
        self.seen: list[Seen] = []
        self.on_event: Callable[[], None] = lambda: None
        self._group = group
        self._decide = decide
        self._error: BaseException | None = None
        self._expired = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="answering")
        self._watchdog = threading.Timer(DEADLINE_S, self._expire)

    def _expire(self) -> None:
        self._expired = True
        os.eventfd_write(self._wake, 1)
        self._group.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._group.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while not any(fd == self._wake for fd, _ in poll.poll()):
                for record in self._group.read_events():
                    self._answer(record)
        except BaseException as error:
            self._error = error
            self._group.close()

    def _answer(self, record: EventRecord) -> None:
        path = os.readlink(f"/proc/self/fd/{record.fd}")
        event = Seen(record, path)
        self.seen.append(event)
        self.on_event()
        try:
            if record.mask & Mask.ALL_PERM:
                answer = self._decide(event)
                audit, rule = answer.audit_rule is not None, answer.audit_rule
                self._group.respond(record, answer.allow, errno=answer.errno, audit=audit, audit_rule=rule)
        finally:
            os.close(record.fd)

    def __enter__(self) -> Self:
        faulthandler.dump_traceback_later(DEADLINE_S + 5, exit=True, file=2)
        self._watchdog.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._watchdog.cancel()
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._watchdog.join()
        os.close(self._wake)
        if self._error is not None and not self._expired:
            raise self._error
        assert not self._expired, "a permission event was not answered before the deadline"

    def masks(self) -> list[tuple[Mask, str | None]]:
        return [(event.mask, event.name) for event in self.seen]
