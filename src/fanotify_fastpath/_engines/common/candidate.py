"""An event before its delivery, as handlers see it."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from fanotify_fastpath._engines.common.lookup import Lookup
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import RootSet

#: the root sets in which an object lies, by number
Inside = frozenset[int]
_ONDIR = int(Mask.ONDIR)
T = TypeVar("T")


class Candidate:
    """An event as handlers see it (:class:`~fanotify_fastpath.handlers.HandlerEvent`); what it does not hold is looked
    up on use, and once."""

    __slots__ = (
        "_found",
        "_inside",
        "_inside2",
        "_lookup",
        "dev",
        "inode",
        "is_dir",
        "mask",
        "name",
        "tgid",
        "time_ns",
    )

    def __init__(
        self,
        mask: int,
        name: bytes | None,
        tgid: int,
        time_ns: int,
        lookup: Lookup,
        inside: Inside | None,
        inside2: Inside | None = None,
        dev: int | None = None,
        inode: int | None = None,
    ) -> None:
        self.mask = mask
        self.is_dir = bool(mask & _ONDIR)
        self.name = name
        self.tgid = tgid
        self.time_ns = time_ns
        self.dev = dev
        self.inode = inode
        self._inside = inside
        self._inside2 = inside2
        self._lookup = lookup
        self._found: dict[str, Any] | None = None

    def inside(self, roots: RootSet) -> bool | None:
        """Tell whether the object is in the subtree; a renamed one counts as inside when either side is."""
        if self._inside is None:
            return None
        return roots.set_id in self._inside or (self._inside2 is not None and roots.set_id in self._inside2)

    @property
    def uid(self) -> int | None:
        """Effective user id."""
        return self._lookup.process().uid

    @property
    def comm(self) -> bytes | None:
        """Name of the process."""
        comm = self._lookup.process().comm
        return None if comm is None else os.fsencode(comm)

    @property
    def exe(self) -> bytes | None:
        """Path of the executable."""
        exe = self._lookup.process().exe
        return None if exe is None else os.fsencode(exe)

    @property
    def gid(self) -> int | None:
        """Effective group id."""
        return self._once("gid", self._lookup.gid)

    @property
    def cgroup_id(self) -> int | None:
        """Id of the process's cgroup."""
        return self._once("cgroup_id", self._lookup.cgroup_id)

    @property
    def ancestors(self) -> tuple[int, ...]:
        """Process ids from the parent upwards."""
        return self._once("ancestors", self._lookup.ancestors)

    @property
    def dir_inode(self) -> int | None:
        """Inode number of the directory."""
        return self._once("dir_inode", self._lookup.dir_inode)

    @property
    def depth(self) -> int | None:
        """Distance from the nearest root."""
        return self._once("depth", self._lookup.depth)

    @property
    def mode(self) -> int | None:
        """Type and permissions."""
        return self._once("mode", self._lookup.mode)

    @property
    def size(self) -> int | None:
        """Length in bytes."""
        status = self._status()
        return None if status is None else status.st_size

    @property
    def owner_uid(self) -> int | None:
        """User that owns the object."""
        status = self._status()
        return None if status is None else status.st_uid

    @property
    def owner_gid(self) -> int | None:
        """Group that owns the object."""
        status = self._status()
        return None if status is None else status.st_gid

    @property
    def n_links(self) -> int | None:
        """Number of names."""
        status = self._status()
        return None if status is None else status.st_nlink

    def _status(self) -> os.stat_result | None:
        return self._once("status", self._lookup.status)

    def _once(self, name: str, look: Callable[[], T]) -> T:
        """Look when it is first asked for: a handler that tests a value and then uses it is to see the same."""
        if self._found is None:
            self._found = {}
        if name not in self._found:
            self._found[name] = look()
        found: T = self._found[name]
        return found
