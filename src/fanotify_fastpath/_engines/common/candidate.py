"""An event before its delivery, as handlers see it."""

import os
from collections.abc import Callable

from fanotify_fastpath.events import Process
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import RootSet

#: the root sets in which an object lies, by number
Inside = frozenset[int]
_ONDIR = int(Mask.ONDIR)


class Candidate:
    """An event as handlers see it (:class:`~fanotify_fastpath.handlers.HandlerEvent`); the process is looked up on
    use."""

    __slots__ = ("_inside", "_inside2", "_lookup", "dev", "inode", "is_dir", "mask", "name", "tgid")

    def __init__(
        self,
        mask: int,
        name: bytes | None,
        tgid: int,
        lookup: Callable[[int], Process],
        inside: Inside | None,
        inside2: Inside | None = None,
        dev: int | None = None,
        inode: int | None = None,
    ) -> None:
        self.mask = mask
        self.is_dir = bool(mask & _ONDIR)
        self.name = name
        self.tgid = tgid
        self.dev = dev
        self.inode = inode
        self._inside = inside
        self._inside2 = inside2
        self._lookup = lookup

    def inside(self, roots: RootSet) -> bool | None:
        """Tell whether the object is in the subtree; a renamed one counts as inside when either side is."""
        if self._inside is None:
            return None
        return roots.set_id in self._inside or (self._inside2 is not None and roots.set_id in self._inside2)

    @property
    def uid(self) -> int | None:
        """Effective user id."""
        return self._lookup(self.tgid).uid

    @property
    def comm(self) -> bytes | None:
        """Name of the process."""
        comm = self._lookup(self.tgid).comm
        return None if comm is None else os.fsencode(comm)

    @property
    def exe(self) -> bytes | None:
        """Path of the executable."""
        exe = self._lookup(self.tgid).exe
        return None if exe is None else os.fsencode(exe)
