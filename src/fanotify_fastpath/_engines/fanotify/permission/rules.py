"""
The rules of one group as its guardian has them: marks, root sets and handlers, and what they say about a question.

The user's process describes its state as plain values (:func:`describe`); the guardian makes :class:`Rules` of it.
Handlers that come with the package run in the guardian. Those of the user's own run in the user's process, and so
does ``decide``: there the answer is to be asked for, with a deadline.
"""

import enum
import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fanotify_fastpath._engines.fanotify.permission.membership import Inside, Points
from fanotify_fastpath._engines.fanotify.permission.rule import GuardRule
from fanotify_fastpath.builtin import BUILTIN, IgnorePrefix
from fanotify_fastpath.chain import Attachment
from fanotify_fastpath.handlers import Depends, Handler, HandlerEvent
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import FSID_BYTES, RootSet
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, VerdictKind

#: handlers that a guardian can run itself
SHIPPED: dict[str, type[Handler]] = {kind.name: kind for kind in (*BUILTIN, GuardRule)}
_HOLDS_FOR_DIRECTORY = (Depends.DIRECTORY, Depends.NOTHING)
_SET = "root set"
_INODE_IS_DIR = int(Mask.ONDIR)


class Outcome(enum.Enum):
    """What becomes of a question."""

    ALLOW = enum.auto()
    DENY = enum.auto()
    #: ask the user's process
    ASK = enum.auto()
    #: allow, and tell the user
    DELIVER = enum.auto()
    #: it cannot be told whether the object is inside: answer as if the time were up
    UNDECIDED = enum.auto()


@dataclass(slots=True)
class Decision:
    """
    What the rules say about one question.

    :ivar code: for a denial, the error number
    :ivar is_reported: the denial becomes an event
    :ivar holds_for_directory: the same would be said about every object in that directory
    :ivar to_ask: for ``ASK``: ids of the attachments still to be asked
    """

    outcome: Outcome
    code: int = errno.EPERM
    is_reported: bool = False
    holds_for_directory: bool = False
    to_ask: list[int] = field(default_factory=list)


@dataclass(slots=True)
class RuleMark:
    """A mark, as a guardian needs it; ``target`` is (key, path, mount id) of the object that was marked."""

    mark_id: int
    scope: Scope
    mask: int
    target: tuple[bytes, bytes, int]
    set_id: int

    @property
    def types(self) -> int:
        """Event types without flags."""
        return self.mask & ~int(EVENT_FLAGS)


@dataclass(slots=True)
class Link:
    """One handler of the chain; ``handler`` is None when it runs in the user's process."""

    attachment_id: int
    handler: Handler | None
    n_seen: int = 0
    n_skipped: int = 0
    n_denied: int = 0


class Rules:
    """All that a guardian was told, and what follows from it."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {"marks": [], "sets": {}, "chain": [], "decides": False}
        self.marks = [RuleMark(m[0], Scope(m[1]), *m[2:]) for m in state["marks"]]
        self.sets: dict[int, list[tuple[bytes, bytes, int, bool, bool]]] = state["sets"]
        self.chain = [Link(id_, _revive(name, values)) for id_, name, values in state["chain"]]
        self.decides: bool = state["decides"]
        self._trees = [mark for mark in self.marks if mark.scope in (Scope.SUBTREE, Scope.FILESYSTEM)]
        self._wanted: dict[tuple[Inside, bytes, bool], int] = {}

    @property
    def may_deny_with_errno(self) -> bool:
        """Tell whether a denial may carry another number than EPERM, or a mark needs the pre-content class."""
        own = any(link.handler is None for link in self.chain)
        return self.decides or own or any(mark.mask & Mask.PRE_ACCESS for mark in self.marks)

    @property
    def objects(self) -> list[RuleMark]:
        """The marks on single objects and on mounts."""
        return [mark for mark in self.marks if mark.scope in (Scope.INODE, Scope.MOUNT)]

    def filesystems(self) -> dict[bytes, tuple[int, int]]:
        """Return by filesystem id the mask that its mark needs, and the id of one of its mounts."""
        needed: dict[bytes, tuple[int, int]] = {}
        for mark in self._trees:
            roots = [(mark.target[0], mark.target[2])]
            if mark.scope is Scope.SUBTREE:
                roots = [(key, mount_id) for key, _, mount_id, _, included in self.sets[mark.set_id] if included]
            for key, mount_id in roots:
                mask = needed.get(key[:FSID_BYTES], (0, 0))[0] | mark.mask & ~int(Mask.EVENT_ON_CHILD)
                needed[key[:FSID_BYTES]] = (mask, mount_id)
        return needed

    def points(self) -> Points:
        """Return the roots and exceptions of all root sets by identity."""
        points: Points = {}
        for set_id, roots in self.sets.items():
            for key, _, _, _, included in roots:
                points.setdefault(key, []).append((set_id, included))
        return points

    def wanted(self, inside: Inside | None, fsid: bytes, is_dir: bool) -> int:
        """Return the event types that marks want of an object there; with *inside* unknown, what any of them wants."""
        if inside is None:
            return self._find_wanted(None, fsid, is_dir)
        key = (inside, fsid, is_dir)
        found = self._wanted.get(key)
        if found is None:
            found = self._wanted[key] = self._find_wanted(inside, fsid, is_dir)
        return found

    def _find_wanted(self, inside: Inside | None, fsid: bytes, is_dir: bool) -> int:
        wanted = 0
        for mark in self._trees:
            if is_dir and not mark.mask & _INODE_IS_DIR:
                continue
            if mark.scope is Scope.FILESYSTEM:
                covers = mark.target[0][:FSID_BYTES] == fsid
            else:
                covers = inside is None or mark.set_id in inside
            if covers:
                wanted |= mark.types
        return wanted

    def is_surely_wanted(self, fsid: bytes) -> bool:
        """Tell whether a mark covers the whole filesystem, so that an object of it is wanted wherever it lies."""
        return any(m.scope is Scope.FILESYSTEM and m.target[0][:FSID_BYTES] == fsid for m in self._trees)

    def judge(self, event: HandlerEvent) -> Decision:
        """Let the chain decide."""
        only_directory = True
        for n, link in enumerate(self.chain):
            if link.handler is None:
                return Decision(Outcome.ASK, to_ask=[later.attachment_id for later in self.chain[n:]])
            link.n_seen += 1
            verdict = link.handler.handle(event)
            only_directory = only_directory and _may_precede(link.handler)
            if verdict is SEND_TO_USERSPACE or verdict.kind is VerdictKind.SEND_TO_USERSPACE:
                continue
            if verdict.kind is VerdictKind.DENY:
                link.n_denied += 1
                return Decision(Outcome.DENY, verdict.errno, getattr(link.handler, "reports_denied", False))
            link.n_skipped += 1
            holds = only_directory and link.handler.depends in _HOLDS_FOR_DIRECTORY
            return Decision(Outcome.ALLOW, holds_for_directory=holds)
        return Decision(Outcome.ASK if self.decides else Outcome.DELIVER)

    def take_counts(self) -> dict[int, tuple[int, int, int]]:
        """Return and clear what the handlers here counted."""
        counts = {}
        for link in self.chain:
            if link.n_seen:
                counts[link.attachment_id] = (link.n_seen, link.n_skipped, link.n_denied)
                link.n_seen = link.n_skipped = link.n_denied = 0
        return counts


def _may_precede(handler: Handler) -> bool:
    """Tell whether, whatever the object is, this one allows it or leaves it to the next."""
    return handler.depends in _HOLDS_FOR_DIRECTORY or type(handler) is IgnorePrefix


def describe(
    marks: Mapping[int, Mark], attachments: Iterable[tuple[int, Attachment]], *, decides: bool
) -> dict[str, Any]:
    """
    Turn a group's state into plain values, for :class:`Rules` in another process.

    :param marks: marks by a number of their own
    :param attachments: the chain, each with a number of its own
    """
    sets: dict[int, RootSet] = {mark.roots.set_id: mark.roots for mark in marks.values()}
    chain = []
    for attachment_id, attachment in attachments:
        handler = attachment.handler
        sets.update((roots.set_id, roots) for roots in handler.root_sets())
        is_shipped = SHIPPED.get(handler.name) is type(handler)
        values = {name: _plain(value) for name, value in vars(handler).items()} if is_shipped else {}
        chain.append((attachment_id, handler.name if is_shipped else None, values))
    return {
        "marks": [
            (n, m.scope.value, int(m.mask), (m.root.key, m.root.path, m.root.mount_id), m.roots.set_id)
            for n, m in marks.items()
        ],
        "sets": {set_id: _roots(roots) for set_id, roots in sets.items()},
        "chain": chain,
        "decides": decides,
    }


def _roots(roots: RootSet) -> list[tuple[bytes, bytes, int, bool, bool]]:
    return [(r.key, r.path, r.mount_id, r.is_dir, included) for r, included in list(roots.points.values())]


def _plain(value: Any) -> Any:
    return (_SET, value.set_id) if isinstance(value, RootSet) else value


def _revive(name: str | None, values: dict[str, Any]) -> Handler | None:
    """Make a handler again, with the state that its twin in the user's process has."""
    if name is None:
        return None
    handler = SHIPPED[name]()
    for attribute, value in values.items():
        if isinstance(value, tuple) and len(value) == 2 and value[0] == _SET:
            roots = RootSet()
            roots.set_id = value[1]
            value = roots
        setattr(handler, attribute, value)
    return handler
