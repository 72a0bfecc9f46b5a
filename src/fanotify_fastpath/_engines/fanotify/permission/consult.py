"""What only the user's own code can decide: handlers of their own, and ``decide``."""

import errno
import os
from collections.abc import Callable, Iterable
from typing import Any

from fanotify_fastpath._engines.common.candidate import Candidate
from fanotify_fastpath._engines.common.lookup import PathLookup
from fanotify_fastpath.chain import Attachment
from fanotify_fastpath.events import Event, Process
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, Verdict, VerdictKind

_ONDIR = int(Mask.ONDIR)
Fields = dict[str, Any]


def _text(value: bytes | None) -> str | None:
    return None if value is None else os.fsdecode(value)


def make_event(fields: Fields) -> Event:
    """Make the event that a guardian describes."""
    return Event(
        Mask(fields["mask"]),
        fields["path"],
        is_dir=fields["is_dir"],
        tgid=fields["tgid"],
        process=Process(fields["uid"], _text(fields["comm"]), _text(fields["exe"])),
        dev=fields["dev"],
        inode=fields["inode"],
        time_ns=fields["time_ns"],
        undecided=fields["undecided"],
    )


class Consultant:
    """
    Runs the user's code for one question at a time and thread.

    :param decide: the user's callback
    :param allow_undecided: the answer when the user's code raises
    :param emit: takes events for the stream
    :param roots: tells the roots of the group's marks of scope subtree
    :ivar attachments: handlers by the number that the guardian knows them by
    """

    def __init__(
        self,
        decide: "Callable[[Event], Verdict | bool] | None",
        allow_undecided: bool,
        emit: Callable[[Event], None],
        roots: Callable[[], Iterable[Root]] = tuple,
    ) -> None:
        self._decide = decide
        self._allow_undecided = allow_undecided
        self._emit = emit
        self._roots = roots
        self.attachments: dict[int, Attachment] = {}

    def consult(self, fields: Fields, to_ask: list[int], inside: list[int] | None) -> tuple[bool, int]:
        """
        Ask the rest of the chain, then the callback.

        :param fields: what the event tells
        :param to_ask: numbers of the attachments that were not asked yet
        :param inside: ids of the root sets that the object is in; None when that is unknown
        :return: is it allowed, and the error number if not
        """
        event = make_event(fields)
        candidate = self._candidate(event, inside)
        for number in to_ask:
            attachment = self.attachments.get(number)
            if attachment is None:  # detached meanwhile
                continue
            verdict = self._ask_handler(attachment, candidate, event)
            if verdict.kind is not VerdictKind.SEND_TO_USERSPACE:
                if verdict.kind is VerdictKind.DENY and getattr(attachment.handler, "reports_denied", False):
                    self._emit(event)
                return verdict.kind is VerdictKind.SKIP_EVENT, verdict.errno
        return self._ask_user(event)

    def count(self, counts: dict[int, tuple[int, int, int]]) -> None:
        """Add what handlers counted in the guardian."""
        for number, (n_seen, n_skipped, n_denied) in counts.items():
            attachment = self.attachments.get(number)
            if attachment is not None:
                attachment.tally.n_seen += n_seen
                attachment.tally.n_skipped += n_skipped
                attachment.tally.n_denied += n_denied

    def _candidate(self, event: Event, inside: list[int] | None) -> Candidate:
        path = event.raw_path
        return Candidate(
            int(event.mask) | (_ONDIR if event.is_dir else 0),
            None if path is None else os.path.basename(path),
            event.tgid,
            event.time_ns,
            PathLookup(event, self._roots),
            None if inside is None else frozenset(inside),
            dev=event.dev,
            inode=event.inode,
        )

    def _ask_handler(self, attachment: Attachment, candidate: Candidate, event: Event) -> Verdict:
        attachment.tally.n_seen += 1
        try:
            verdict = attachment.handler.handle(candidate)
        except Exception as exc:  # as in Chain.judge: a handler's bug is sent, said, counted
            attachment.tally.n_failed += 1
            attachment.error = exc
            event.undecided = True
            return SEND_TO_USERSPACE
        attachment.tally.n_skipped += verdict.kind is VerdictKind.SKIP_EVENT
        attachment.tally.n_denied += verdict.kind is VerdictKind.DENY
        return verdict

    def _ask_user(self, event: Event) -> tuple[bool, int]:
        if self._decide is None:
            self._emit(event)
            return True, 0
        try:
            answer = self._decide(event)
        except Exception:
            event.undecided = True
            self._emit(event)
            return self._allow_undecided, errno.EPERM
        if isinstance(answer, Verdict):
            is_allowed, code = answer.kind is not VerdictKind.DENY, answer.errno
            is_told = answer.kind is VerdictKind.SEND_TO_USERSPACE
        else:
            is_allowed, code, is_told = bool(answer), errno.EPERM, False
        if is_told or (not is_allowed and self._reports_denied()):
            self._emit(event)
        return is_allowed, code

    def _reports_denied(self) -> bool:
        return any(getattr(a.handler, "reports_denied", False) for a in list(self.attachments.values()))
