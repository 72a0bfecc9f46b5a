"""What handlers ask about a record: the object by its file handle, the process by what is kept of it."""

import contextlib
import os
from typing import Final

from fanotify_fastpath._engines.common import procfs
from fanotify_fastpath._engines.common.processes import Processes
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.fanotify.interest import Interest
from fanotify_fastpath._engines.fanotify.raw import Raw
from fanotify_fastpath._engines.fanotify.tree import Tree
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_FDCWD
from fanotify_fastpath.events import Process
from fanotify_fastpath.marks import Scope
from fanotify_fastpath.roots import FSID_BYTES

_SELF: Final = b"."


class Sources:
    """Where answers come from, for all events of one engine."""

    def __init__(
        self, processes: Processes, superblocks: dict[bytes, Superblock], tree: Tree, interest: Interest
    ) -> None:
        self.processes = processes
        self.superblocks = superblocks
        self.tree = tree
        self.interest = interest


class RawLookup:
    """
    Answers about one record (:class:`~fanotify_fastpath._engines.common.lookup.Lookup`).

    :param key: identity of the object
    :param path: where handles may not be opened, the object is looked for here
    """

    __slots__ = ("_key", "_path", "_raw", "_sources")

    def __init__(self, sources: Sources, raw: Raw, key: bytes | None, path: bytes | None) -> None:
        self._sources = sources
        self._raw = raw
        self._key = key
        self._path = path

    def process(self) -> Process:
        """Who did it."""
        return self._sources.processes.get(self._raw.pid)

    def gid(self) -> int | None:
        """Effective group id of the process."""
        return procfs.effective_gid(self._sources.processes.read(self._raw.pid, "status"))

    def cgroup_id(self) -> int | None:
        """Id of the process's cgroup."""
        return procfs.cgroup_id(self._sources.processes.read(self._raw.pid, "cgroup"))

    def ancestors(self) -> tuple[int, ...]:
        """Process ids from the parent upwards."""
        return procfs.ancestors(self._sources.processes.read(self._raw.pid, "status"))

    def status(self) -> os.stat_result | None:
        """The object; None when it is gone."""
        try:
            fd = self._open(self._key)
        except PermissionError:
            return self._status_by_path()
        except OSError:
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def mode(self) -> int | None:
        """Type and permissions of the object."""
        status = self.status()
        return None if status is None else status.st_mode

    def dir_inode(self) -> int | None:
        """Inode number of the directory; for a rename, of the new one."""
        raw = self._raw
        if raw.name == _SELF:
            return self._inode_above()
        key = raw.dir if raw.dir2 is None else raw.dir2
        if key is None:
            return None
        superblock = self._sources.superblocks.get(key[:FSID_BYTES])
        inode = None if superblock is None else superblock.inode_of(key)
        return self._inode_by_handle(key) if inode is None else inode

    def depth(self) -> int | None:
        """How far the object lies below the nearest root of a mark; for a rename, in its new place."""
        raw = self._raw
        if self._is_root(self._key):
            return 0
        key = raw.dir if raw.dir2 is None else raw.dir2
        at = None if key is None else self._sources.tree.get(key)
        n = 0 if raw.name == _SELF else 1
        while at is not None and not self._is_root(at.key):
            at, n = at.parent, n + 1
        return None if at is None else n

    def _is_root(self, key: bytes | None) -> bool:
        for mark in self._sources.interest.marks:
            if mark.scope is Scope.SUBTREE and key is not None and mark.roots.points.get(key, (None, False))[1]:
                return True
        return False

    def _open(self, key: bytes | None) -> int:
        superblock = None if key is None else self._sources.superblocks.get(key[:FSID_BYTES])
        if key is None or superblock is None:
            raise FileNotFoundError
        return superblock.open_handle(key)

    def _status_by_path(self) -> os.stat_result | None:
        if self._path is not None and self._key is not None:
            with contextlib.suppress(OSError):
                status = os.lstat(self._path)
                handle, _ = syscalls.name_to_handle_at(AT_FDCWD, self._path, 0)
                return status if handle == self._key[FSID_BYTES:] else None
        return None

    def _inode_by_handle(self, key: bytes) -> int | None:
        with contextlib.suppress(OSError):
            fd = self._open(key)
            try:
                return os.fstat(fd).st_ino
            finally:
                os.close(fd)
        return None

    def _inode_above(self) -> int | None:
        """Inode number of the directory above one that is itself the object; None at the top of its mount."""
        with contextlib.suppress(OSError):
            fd = self._open(self._key)
            try:
                own, above = os.fstat(fd), os.stat("..", dir_fd=fd)
            finally:
                os.close(fd)
            if above.st_dev == own.st_dev and above.st_ino != own.st_ino:
                return above.st_ino
        return None
