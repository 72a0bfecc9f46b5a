"""The handler behind :func:`fanotify_fastpath.guard`: everything is refused, except to some users and programs."""

import contextlib
import os
from typing import Any

from fanotify_fastpath.arguments import Argument, BytesList, Choice, IntegerSet
from fanotify_fastpath.handlers import Depends, Handler, HandlerEvent
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict, deny


class GuardRule(Handler):
    """Deny, or in mode ``ask`` send, what is neither done by one of the users nor by one of the executables."""

    name = "guard"
    desc = "deny operations, except to some users and programs"
    arguments = (
        Argument("mode", Choice(("deny", "ask")), "what happens to those that are not excepted", "deny"),
        Argument("uids", IntegerSet(32), "effective user ids that are excepted", ()),
        Argument("executables", BytesList(15, 252), "paths of executables that are excepted", ()),
    )
    depends = Depends.PROCESS
    #: denials become events in the stream
    reports_denied = True

    def init(self, *, mode: str, uids: frozenset[int], executables: tuple[bytes, ...], **_: Any) -> None:
        self.asks = mode == "ask"
        self.uids = uids
        self.executables = executables

    def handle(self, event: HandlerEvent) -> Verdict:
        if self.uids and event.uid in self.uids:
            return SKIP_EVENT
        if self.executables and self._is_excepted(event.tgid):
            return SKIP_EVENT
        return SEND_TO_USERSPACE if self.asks else deny()

    def _is_excepted(self, tgid: int) -> bool:
        # By identity: in a mount namespace of one's own any program can be made to have the path of a trusted one.
        with contextlib.suppress(OSError):
            running = os.stat(f"/proc/{tgid}/exe")
            for path in self.executables:
                with contextlib.suppress(OSError):
                    if os.path.samestat(running, os.stat(path)):
                        return True
        return False
