"""``ignore-prefix``: nothing about files whose names begin in given ways."""

from fanotify_fastpath.arguments import Argument, BytesList
from fanotify_fastpath.handlers import Depends, Handler, HandlerEvent, HandlerFlags
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict


class IgnorePrefix(Handler):
    """Skip events on names that begin with one of the prefixes; an event without a name is sent."""

    name = "ignore-prefix"
    flags = HandlerFlags.UNPRIVILEGED
    desc = "skip events on names that begin with one of the prefixes"
    arguments = (Argument("prefixes", BytesList(60, 60), "prefixes of file names"),)
    depends = Depends.NAME

    def init(self, *, prefixes: tuple[bytes, ...]) -> None:
        self.prefixes = prefixes

    def handle(self, event: HandlerEvent) -> Verdict:
        if event.name is not None:
            for prefix in self.prefixes:
                if event.name.startswith(prefix):
                    return SKIP_EVENT
        return SEND_TO_USERSPACE
