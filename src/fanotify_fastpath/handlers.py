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
    #: the directory that the object lies in, and where that directory lies
    DIRECTORY = auto()
    #: the name of the object
    NAME = auto()
    #: the object itself: inode, size, owner
    OBJECT = auto()
    #: who did it
    PROCESS = auto()
    #: the event type
    MASK = auto()
    ALL = DIRECTORY | NAME | OBJECT | PROCESS | MASK


class HandlerEvent(Protocol):
    """
    What a handler is shown of an event. Unknown values are None.

    :ivar mask: event types and flags (``ONDIR``), reduced to what the group asked for
    :ivar is_dir: the object is a directory
    :ivar name: file name as bytes, without its directory
    :ivar dev: device number of the filesystem
    :ivar inode: inode number of the object
    :ivar tgid: process id, 0 when the kernel does not tell
    :ivar uid: effective user id of the process
    :ivar comm: name of the process, at most 15 bytes
    :ivar exe: path of the executable
    """

    @property
    def mask(self) -> int: ...
    @property
    def is_dir(self) -> bool: ...
    @property
    def name(self) -> bytes | None: ...
    @property
    def dev(self) -> int | None: ...
    @property
    def inode(self) -> int | None: ...
    @property
    def tgid(self) -> int: ...
    @property
    def uid(self) -> int | None: ...
    @property
    def comm(self) -> bytes | None: ...
    @property
    def exe(self) -> bytes | None: ...

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
