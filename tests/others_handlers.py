"""Handlers as others would write them: the tests load this file, and a package made of it."""

from typing import Any

import fanotify_fastpath as fan
from fanotify_fastpath.arguments import Argument, BytesList, Choice, Roots


class OthersMonitorSubtree(fan.Handler):
    """The RFC's first sample."""

    name = "others-monitor-subtree"
    desc = "send events below the roots, or deny operations there"
    arguments = (
        Argument("roots", Roots(16), "directories or files"),
        Argument("mode", Choice(("filter", "block")), "what to do", "filter"),
    )
    depends = fan.Depends.DIRECTORY
    block: bool

    def init(self, *, roots: fan.RootSet, mode: str, **_: Any) -> None:
        self.roots = roots
        self.block = mode == "block"

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        inside = event.inside(self.roots)
        if inside is None:
            return fan.SEND_TO_USERSPACE
        if not inside:
            return fan.SKIP_EVENT
        if self.block and event.mask & fan.Mask.ALL_PERM:
            return fan.deny()
        return fan.SEND_TO_USERSPACE


class OthersIgnorePrefix(fan.Handler):
    """The RFC's second sample."""

    name = "others-ignore-prefix"
    desc = "skip events on names that begin with one of the prefixes"
    flags = fan.HandlerFlags.UNPRIVILEGED
    arguments = (Argument("prefixes", BytesList(16, 16), "prefixes of file names"),)
    depends = fan.Depends.NAME

    def init(self, *, prefixes: tuple[bytes, ...], **_: Any) -> None:
        self.prefixes = prefixes

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        if event.name is not None and event.name.startswith(self.prefixes):
            return fan.SKIP_EVENT
        return fan.SEND_TO_USERSPACE


class Base(fan.Handler):
    """Has no name, so it is not meant."""
