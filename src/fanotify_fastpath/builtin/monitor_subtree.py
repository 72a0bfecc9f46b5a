"""``monitor-subtree``: only what happens below given directories; or nothing may happen there."""

from fanotify_fastpath.arguments import Argument, Choice, Roots
from fanotify_fastpath.handlers import Depends, Handler, HandlerEvent
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import RootSet
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict, deny


class MonitorSubtree(Handler):
    """
    Send events inside the roots and skip all others; in mode ``block``, deny operations inside them.

    Both root sets are live: ``attachment.handler.roots.add(path)``.
    """

    name = "monitor-subtree"
    desc = "send events below the roots and skip all others, or deny operations there"
    arguments = (
        Argument("roots", Roots(400), "directories or files"),
        Argument("exclude", Roots(400), "exceptions below the roots", ()),
        Argument("mode", Choice(("filter", "block")), "filter events, or block operations", "filter"),
    )
    depends = Depends.DIRECTORY
    block: bool

    def init(self, *, roots: RootSet, exclude: RootSet, mode: str) -> None:
        for root in exclude.roots:
            roots.exclude(root)
        self.roots = roots
        self.block = mode == "block"

    def handle(self, event: HandlerEvent) -> Verdict:
        inside = event.inside(self.roots)
        if inside is None:
            return SEND_TO_USERSPACE
        if not inside:
            return SKIP_EVENT
        if self.block and event.mask & Mask.ALL_PERM:
            return deny()
        return SEND_TO_USERSPACE
