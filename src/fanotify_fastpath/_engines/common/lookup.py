"""What is looked up about one event, and only when a handler asks for it."""

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Protocol

from fanotify_fastpath._engines.common import procfs
from fanotify_fastpath.events import Event, Process
from fanotify_fastpath.roots import Root


class Lookup(Protocol):
    """Looks at the object and the process of one event, as they are now."""

    def process(self) -> Process:
        """Who did it."""
        ...

    def gid(self) -> int | None:
        """Effective group id of the process."""
        ...

    def cgroup_id(self) -> int | None:
        """Id of the process's cgroup."""
        ...

    def ancestors(self) -> tuple[int, ...]:
        """Process ids from the parent upwards."""
        ...

    def status(self) -> os.stat_result | None:
        """The object; None when it is gone or cannot be found."""
        ...

    def mode(self) -> int | None:
        """Type and permissions of the object."""
        ...

    def dir_inode(self) -> int | None:
        """Inode number of the directory that the object lies in."""
        ...

    def depth(self) -> int | None:
        """How far the object lies below the nearest root of a mark."""
        ...


class PathLookup:
    """
    Looks by path, where the object's file handle is not known. What stands there now counts only if it is the object.

    :param event: what is known of it
    :param roots: tells the roots of the group's marks of scope subtree
    """

    __slots__ = ("_event", "_roots")

    def __init__(self, event: Event, roots: Callable[[], Iterable[Root]]) -> None:
        self._event = event
        self._roots = roots

    def process(self) -> Process:
        """Who did it."""
        return self._event.process

    def gid(self) -> int | None:
        """Effective group id of the process."""
        return procfs.effective_gid(procfs.read(self._event.tgid, "status"))

    def cgroup_id(self) -> int | None:
        """Id of the process's cgroup."""
        return procfs.cgroup_id(procfs.read(self._event.tgid, "cgroup"))

    def ancestors(self) -> tuple[int, ...]:
        """Process ids from the parent upwards."""
        return procfs.ancestors(procfs.read(self._event.tgid, "status"))

    def status(self) -> os.stat_result | None:
        """The object; None when it is gone, or not at its path any more."""
        path = self._path()
        if path is not None:
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                return status if (status.st_dev, status.st_ino) == self._identity() else None
        return None

    def mode(self) -> int | None:
        """Type and permissions of the object."""
        status = self.status()
        return None if status is None else status.st_mode

    def dir_inode(self) -> int | None:
        """Inode number of the directory; None when the object is not in it any more, or is the top of a mount."""
        path = self._path()
        if path is None or self.status() is None:
            return None
        with contextlib.suppress(OSError):
            directory = os.stat(os.path.dirname(path))
            return directory.st_ino if directory.st_dev == self._event.dev else None
        return None

    def depth(self) -> int | None:
        """How far the object lies below the nearest root: what stands on the way now is compared with the roots."""
        roots = {(root.dev, root.inode) for root in self._roots()}
        at, n = self._path(), 0
        if self._identity() in roots:
            return 0
        while roots and at is not None and at != b"/":
            at, n = os.path.dirname(at), n + 1
            with contextlib.suppress(OSError):
                status = os.stat(at)
                if (status.st_dev, status.st_ino) in roots:
                    return n
        return None

    def _path(self) -> bytes | None:
        # one that lacks its beginning leads elsewhere
        return None if self._event.is_truncated else self._event.raw_path

    def _identity(self) -> tuple[int | None, int | None]:
        return self._event.dev, self._event.inode
