"""Marks: what a group wants events for — an object, a scope and an event mask."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.mask import EVENT_FLAGS, STREAM_EVENTS, Mask
from fanotify_fastpath.roots import Root, RootSet
from fanotify_fastpath.state import MapStorage

#: event types about an object itself, without the directory that it lies in: of no use to tell a subtree
_SELF_EVENTS = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.FS_ERROR
#: event types that fanotify refuses on mount marks (Linux 6.12, fanotify_mark: EINVAL)
_NAME_EVENTS = Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.RENAME | Mask.ATTRIB | _SELF_EVENTS


class Scope(enum.Enum):
    """How far a mark reaches."""

    #: a file; or a directory and, with ``EVENT_ON_CHILD``, what lies directly in it
    INODE = "inode"
    #: everything reached through one mount; no creation, deletion or renames
    MOUNT = "mount"
    #: a whole filesystem
    FILESYSTEM = "filesystem"
    #: a directory and all below it, at any depth
    SUBTREE = "subtree"


@dataclass(eq=False, slots=True)
class Mark:
    """
    One mark of a group.

    :ivar scope: how far it reaches
    :ivar mask: event types, and ``ONDIR`` when events on directories are wanted too
    :ivar root: the object that was marked
    :ivar roots: for scope subtree: its roots and exceptions, which may change while events flow
    """

    scope: Scope
    mask: Mask
    root: Root
    roots: RootSet = field(default_factory=RootSet)

    @property
    def types(self) -> int:
        """The event types as an integer, without flags."""
        return int(self.mask & ~EVENT_FLAGS)


@dataclass(eq=False, slots=True)
class DenyingMark(Mark):
    """
    A subtree in which operations are denied in the kernel.

    :ivar uids: effective user ids of those who may nevertheless
    :ivar executables: paths of programs that may
    :ivar denies_undecided: what may lie inside or not is denied too
    :ivar processes: state with the processes to whom it is denied only; None: to all
    :ivar objects: state with the objects for which it is denied only
    """

    uids: frozenset[int] = frozenset()
    executables: tuple[bytes, ...] = ()
    denies_undecided: bool = False
    processes: MapStorage | None = None
    objects: MapStorage | None = None


def subtree_roots(marks: Iterable[Mark]) -> list[Root]:
    """The roots of those marks whose scope is a subtree."""
    return [root for mark in marks if mark.scope is Scope.SUBTREE for root in mark.roots.roots]


def check_mask(mask: Mask, scope: Scope) -> None:
    """
    Check that *mask* can be asked for in *scope*.

    :raises InvalidArgument: it names no event type, one that nobody can ask for, or one that this scope does not have
    """
    types = mask & ~EVENT_FLAGS
    if not types:
        raise InvalidArgument("the event mask names no event type; give at least one, CREATE for example")
    if types & STREAM_EVENTS:
        raise InvalidArgument(f"{types & STREAM_EVENTS!r} comes by itself and cannot be asked for")
    if types & Mask.ALL_CHANGES_PERM:
        raise InvalidArgument(f"{types & Mask.ALL_CHANGES_PERM!r} is no event; guard() denies it, on engine kernel")
    if types & (Mask.MNT_ATTACH | Mask.MNT_DETACH):
        raise InvalidArgument("mount events need a group of their own; see the low-level layer")
    if scope is Scope.SUBTREE and types & _SELF_EVENTS:
        raise InvalidArgument(
            f"{types & _SELF_EVENTS!r} names no directory, so no subtree can be told; ask for DELETE or RENAME"
        )
    if scope is Scope.MOUNT and types & _NAME_EVENTS:
        raise InvalidArgument(f"{types & _NAME_EVENTS!r} cannot be had for a mount; use scope filesystem or subtree")
