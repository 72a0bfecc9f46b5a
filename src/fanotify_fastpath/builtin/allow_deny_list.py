"""``allow-deny-list``: choose events, or permit operations, by name, suffix, glob, user and executable."""

from fnmatch import fnmatchcase

from fanotify_fastpath.arguments import Argument, BytesList, Choice, IntegerSet
from fanotify_fastpath.handlers import Depends, Handler, HandlerEvent, HandlerFlags
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict, deny


class AllowDenyList(Handler):
    """
    Match events against lists; any entry that fits is a match.

    ``mode="allow"``: matches pass, the rest is skipped, or denied when it is a permission event. ``mode="deny"``:
    matches are skipped, or denied, and the rest passes. When no entry fits but something asked about is unknown (no
    name, a process that is gone), the event is sent.
    """

    name = "allow-deny-list"
    flags = HandlerFlags.UNPRIVILEGED
    desc = "pass or stop events by name, suffix, glob, user or executable"
    arguments = (
        Argument("mode", Choice(("deny", "allow")), "what happens to a match", "deny"),
        Argument("names", BytesList(10, 60), "whole file names", ()),
        Argument("suffixes", BytesList(16, 28), "endings of file names", ()),
        Argument("globs", BytesList(10, 60), "shell patterns for file names", ()),
        Argument("uids", IntegerSet(32), "effective user ids", ()),
        Argument("executables", BytesList(6, 252), "absolute paths of executables", ()),
    )
    depends = Depends.NAME | Depends.PROCESS | Depends.MASK
    allow: bool
    needs_name: bool

    def init(
        self,
        *,
        mode: str,
        names: tuple[bytes, ...],
        suffixes: tuple[bytes, ...],
        globs: tuple[bytes, ...],
        uids: frozenset[int],
        executables: tuple[bytes, ...],
    ) -> None:
        self.allow = mode == "allow"
        self.names = names
        self.suffixes = suffixes
        self.globs = globs
        self.uids = uids
        self.executables = executables
        self.needs_name = bool(names or suffixes or globs)

    def handle(self, event: HandlerEvent) -> Verdict:
        matched = self._matches(event)
        if matched is None:
            return SEND_TO_USERSPACE
        if matched == self.allow:
            return SEND_TO_USERSPACE
        if event.mask & Mask.ALL_PERM:
            return deny()
        return SKIP_EVENT

    def _matches(self, event: HandlerEvent) -> bool | None:
        """Tell whether an entry fits; None when none does and something that was asked about is unknown."""
        unknown = False
        if self.needs_name:
            if event.name is None:
                unknown = True
            elif self._name_matches(event.name):
                return True
        if self.uids:
            if event.uid is None:
                unknown = True
            elif event.uid in self.uids:
                return True
        if self.executables:
            if event.exe is None:
                unknown = True
            elif event.exe in self.executables:
                return True
        return None if unknown else False

    def _name_matches(self, name: bytes) -> bool:
        for whole in self.names:
            if name == whole:
                return True
        for suffix in self.suffixes:
            if name.endswith(suffix):
                return True
        for glob in self.globs:  # noqa: SIM110 (a handler is written in loops that can be compiled)
            if fnmatchcase(name, glob):
                return True
        return False
