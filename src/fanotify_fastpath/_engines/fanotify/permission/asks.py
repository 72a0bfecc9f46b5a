"""Questions that the user's process was asked about: who waits, since when, and what follows when the time is up."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from fanotify_fastpath._engines.fanotify.permission.kernel import AskingGroup
from fanotify_fastpath._engines.fanotify.permission.protocol import Message
from fanotify_fastpath._engines.fanotify.permission.subject import Subject

#: each holds a descriptor; past it questions are answered as if their time were up
_MAX_ASKED = 4096


@dataclass(slots=True)
class _Ask:
    group: AskingGroup
    fd: int
    subject: Subject
    deadline_s: float


class Asks:
    """
    The questions that wait for the user's process.

    :param timeout_s: seconds that each may wait
    :param allow_late: the answer when the time is up
    :param tell: sends a message to the user's process, if it takes any
    """

    def __init__(self, timeout_s: float, allow_late: bool, tell: Callable[[Message], None]) -> None:
        self.allow_late = allow_late
        self._timeout_s = timeout_s
        self._tell = tell
        self._ids = itertools.count(1)
        self._asked: dict[int, _Ask] = {}  # oldest first: all have the same time to wait

    @property
    def next_s(self) -> float | None:
        """When the first deadline is, on the monotonic clock."""
        return next((ask.deadline_s for ask in self._asked.values()), None)

    def add(self, group: AskingGroup, fd: int, subject: Subject, to_ask: list[int]) -> None:
        """Ask the user's process."""
        ask = _Ask(group, fd, subject, time.monotonic() + self._timeout_s)
        if len(self._asked) >= _MAX_ASKED:
            self._give_up(ask)
            return
        ask_id = next(self._ids)
        self._asked[ask_id] = ask
        inside = None if subject.inside_sets is None else list(subject.inside_sets)
        self._tell(("ask", ask_id, subject.fields(undecided=False), to_ask, inside))

    def answer(self, ask_id: int, allow: bool, code: int) -> None:
        """Take an answer; late ones are of no use."""
        ask = self._asked.pop(ask_id, None)
        if ask is not None:
            ask.group.answer(ask.fd, allow, code)

    def expire(self) -> None:
        """Answer those whose time is up."""
        now = time.monotonic()
        while self._asked:
            ask_id, ask = next(iter(self._asked.items()))
            if ask.deadline_s > now:
                return
            del self._asked[ask_id]
            self._give_up(ask)

    def close(self) -> None:
        """Nobody will answer any more: allow them all, as the kernel would."""
        for ask in self._asked.values():
            ask.group.answer(ask.fd, True)
        self._asked.clear()

    def _give_up(self, ask: _Ask) -> None:
        self._tell(("event", ask.subject.fields(undecided=True)))
        ask.group.answer(ask.fd, self.allow_late)
