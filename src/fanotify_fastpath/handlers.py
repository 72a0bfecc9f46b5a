"""
Handlers: named code that turns an event into a verdict.

A handler is a class. It is registered once, under a unique name, and attached to any number of groups; each attach
makes an instance of its own: ``init`` takes that attach's arguments, ``handle`` decides about one event, ``free``
lets go.

Write ``handle`` as plain arithmetic and comparison over the event's fields. It is called for every event that comes
near it, so it must neither block nor raise; an event about which it cannot decide is answered with
``SEND_TO_USERSPACE``.
"""

from collections.abc import Sequence
from enum import Flag, IntFlag, auto
from typing import Any, ClassVar, Protocol

from fanotify_fastpath.arguments import ARGS_MAX_BYTES, Argument, args_size_bytes
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.roots import RootSet
from fanotify_fastpath.verdict import Verdict

#: longest name of a handler in bytes (FAN_FP_NAME_MAX is 64 with the terminating NUL)
NAME_MAX_BYTES = 63


class HandlerFlags(IntFlag):
    """
    Properties of a handler.

    :source: asked for by reviewers of the RFC: attach without privilege is opt-in, and unknown bits are refused
    """

    #: users without CAP_SYS_ADMIN may attach it to their own groups
    UNPRIVILEGED = 1


class Depends(Flag):
    """
    What a verdict depends on, besides the attach's arguments.

    A ``SKIP_EVENT`` that depends on nothing but the directory holds for every file in it, so an engine may remember it
    in the kernel and not ask again.
    """

    NOTHING = 0
    #: the directory that the object lies in, and where that directory lies: depth, root sets
    DIRECTORY = auto()
    #: the name of the object
    NAME = auto()
    #: the object itself: inode, size, type and permissions, owner, number of names
    OBJECT = auto()
    #: who did it: process, user, group, name, executable, cgroup, ancestors
    PROCESS = auto()
    #: the event type
    MASK = auto()
    ALL = DIRECTORY | NAME | OBJECT | PROCESS | MASK


class HandlerEvent(Protocol):
    """
    What a handler is shown of an event. Unknown values are None.

    What the event does not hold is looked up when it is first asked for, and is the same from then on: ask for it while
    ``handle`` runs. It is as it is then, and None when object or process are gone. For a rename, name, directory and
    depth are the new ones.

    :ivar mask: event types and flags (``ONDIR``), reduced to what the group asked for
    :ivar is_dir: the object is a directory
    :ivar time_ns: nanoseconds of CLOCK_BOOTTIME; engine ``fanotify`` reads it when it reads the event
    :ivar name: file name as bytes, without its directory
    :ivar dev: device number of the filesystem
    :ivar inode: inode number of the object
    :ivar dir_inode: inode number of the directory that the object lies in; None at the top of a mount
    :ivar depth: directories from the nearest root of the group's marks of scope subtree down to the object: 0 for the
        root itself, 1 for what lies directly in it; None when it lies below none
    :ivar size: length of the object in bytes, as ``st_size``
    :ivar mode: its type and permissions, as ``st_mode``
    :ivar owner_uid: user id of its owner
    :ivar owner_gid: group id of its owner
    :ivar n_links: number of its names, as ``st_nlink``
    :ivar tgid: process id, 0 when the kernel does not tell
    :ivar uid: effective user id of the process
    :ivar gid: effective group id of the process
    :ivar comm: name of the process, at most 15 bytes
    :ivar exe: path of the executable
    :ivar cgroup_id: id of the process's cgroup: the inode number of its directory in the unified hierarchy; None where
        that cannot be told
    :ivar ancestors: process ids of the parent, its parent and so on, at most 16; empty when unknown
    """

    @property
    def mask(self) -> int: ...
    @property
    def is_dir(self) -> bool: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def name(self) -> bytes | None: ...
    @property
    def dev(self) -> int | None: ...
    @property
    def inode(self) -> int | None: ...
    @property
    def dir_inode(self) -> int | None: ...
    @property
    def depth(self) -> int | None: ...
    @property
    def size(self) -> int | None: ...
    @property
    def mode(self) -> int | None: ...
    @property
    def owner_uid(self) -> int | None: ...
    @property
    def owner_gid(self) -> int | None: ...
    @property
    def n_links(self) -> int | None: ...
    @property
    def tgid(self) -> int: ...
    @property
    def uid(self) -> int | None: ...
    @property
    def gid(self) -> int | None: ...
    @property
    def comm(self) -> bytes | None: ...
    @property
    def exe(self) -> bytes | None: ...
    @property
    def cgroup_id(self) -> int | None: ...
    @property
    def ancestors(self) -> tuple[int, ...]: ...

    def inside(self, roots: RootSet) -> bool | None:
        """
        Tell whether the object lies in the subtree of *roots*; the nearest root or exception above it decides.

        :return: None when that cannot be decided (directory unknown)
        """
        ...


class Handler:
    """
    Base of all handlers. Subclasses set the class attributes and override what they need.

    :cvar name: unique name, at most 63 bytes
    :cvar flags: properties
    :cvar desc: one line for people
    :cvar arguments: the arguments of an attach, in order
    :cvar depends: what the verdict depends on
    """

    name: ClassVar[str] = ""
    flags: ClassVar[HandlerFlags] = HandlerFlags(0)
    desc: ClassVar[str] = ""
    arguments: ClassVar[Sequence[Argument]] = ()
    depends: ClassVar[Depends] = Depends.ALL

    def init(self, *args: Any, **arguments: Any) -> None:
        """
        Take one attach's arguments, already checked.

        :raises OSError: to refuse; its ``errno`` is what the attach fails with
        """

    def handle(self, event: HandlerEvent) -> Verdict:
        """
        Decide about one event.

        :return: ``SEND_TO_USERSPACE``, ``SKIP_EVENT``, or ``deny(errno)`` for a permission event
        """
        raise NotImplementedError

    def free(self) -> None:
        """Let go of what ``init`` made. Called once, after the last ``handle``."""

    def root_sets(self) -> Sequence[RootSet]:
        """The root sets that ``handle`` asks about; an engine watches them for changes."""
        return [value for value in vars(self).values() if isinstance(value, RootSet)]


def check_handler(handler: type[Handler]) -> None:
    """
    Check that a handler's declaration can be registered.

    :raises InvalidArgument: its name is empty, too long or has odd bytes, a flag is unknown, or its arguments are
        too large
    """
    name = handler.name.encode("utf-8", "surrogateescape")
    if not name or len(name) > NAME_MAX_BYTES:
        raise InvalidArgument(
            f"handler name {handler.name!r} has {len(name)} bytes; 1 to {NAME_MAX_BYTES} are possible"
        )
    if b"/" in name or b"\0" in name or name.startswith(b"."):
        raise InvalidArgument(f"handler name {handler.name!r} cannot be a file name, which it must be in the listing")
    unknown = int(handler.flags) & ~int(HandlerFlags.UNPRIVILEGED)
    if unknown:
        raise InvalidArgument(f"handler {handler.name!r} has unknown flag bits {unknown:#x}")
    size = args_size_bytes(handler.arguments)
    if size > ARGS_MAX_BYTES:
        raise InvalidArgument(
            f"handler {handler.name!r} declares {size} bytes of arguments; the limit is {ARGS_MAX_BYTES}"
        )
    if not isinstance(handler.depends, Depends):
        raise InvalidArgument(f"handler {handler.name!r} does not say what its verdict depends on")
