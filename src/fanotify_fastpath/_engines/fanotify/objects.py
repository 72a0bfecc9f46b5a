"""
Marks on single objects and on mounts: a kernel group of its own, in which nothing is remembered.

It works without privilege for a directory or file that the user may read: no filesystem mark is needed, and the path
of what was marked is the one that was given. Here no renames of directories are followed, so places found are not kept.
A viewer's right to each object is looked at again when the kernel tells that it has changed.
"""

import contextlib
import errno
import os
from collections.abc import Callable

from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.common.viewer import RIGHTS
from fanotify_fastpath._engines.fanotify.discovery import Discovery
from fanotify_fastpath._engines.fanotify.doers import Doers
from fanotify_fastpath._engines.fanotify.kernel_group import KernelGroup
from fanotify_fastpath._engines.fanotify.raw import Raw
from fanotify_fastpath._engines.fanotify.sender import Finding, Sender
from fanotify_fastpath._engines.fanotify.sequence import Sequence
from fanotify_fastpath._engines.fanotify.tree import NOWHERE, Directory, Tree
from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath._uapi.constants import MarkFlag
from fanotify_fastpath.errors import FastpathError, PathNotFound
from fanotify_fastpath.events import Event
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import FSID_BYTES, RootSet

_FLAGS = {Scope.INODE: MarkFlag.INODE, Scope.MOUNT: MarkFlag.MOUNT}


class Objects:
    """
    The marks of scope inode and mount of one group.

    :param covered: tells which event types the filesystem marks deliver of a directory already
    :param doers: tells who did it, where the group reports descriptors of processes
    """

    def __init__(
        self,
        group: KernelGroup,
        superblock_of: Callable[[bytes], Superblock | None],
        sender: Sender,
        covered: Callable[[bytes, bool], int],
        doers: Doers | None = None,
    ) -> None:
        self.group = group
        self.marks: list[Mark] = []
        self._sender = sender
        self._covered = covered
        self.sequence = Sequence(group.read_all, doers=doers)
        self._tree = Tree()
        self._discovery = Discovery(self._tree, self.sequence, superblock_of)
        self._superblock_of = superblock_of
        self._viewer = sender.viewer
        # a viewer need not know where else an object lies
        self._can_open = self._viewer is None and capabilities.has("CAP_DAC_READ_SEARCH")
        #: by identity of a marked object: whether the viewer may watch it; None: that cannot be told any more
        self._is_allowed: dict[bytes, bool | None] = {}

    def add(self, mark: Mark) -> None:
        """Add a mark to the kernel group."""
        if self._viewer is None:
            self.group.mark(_FLAGS[mark.scope], int(mark.mask), mark.root.path)
        else:
            self._add_viewed(mark)
        self.marks.append(mark)

    def _add_viewed(self, mark: Mark) -> None:
        """Mark the very object that was shown, whatever its path leads to here."""
        path = mark.root.path
        superblock = self._superblock_of(mark.root.key[:FSID_BYTES])
        try:
            if superblock is None:
                raise FileNotFoundError(errno.ENOENT, "its filesystem is not mounted any more")
            fd = superblock.open_handle(mark.root.key)
        except OSError as exc:
            raise PathNotFound(f"cannot watch {os.fsdecode(path)!r}: {exc.strerror}", path=path) from None
        try:
            self.group.mark(_FLAGS[mark.scope], int(mark.mask) | _rights(mark), path, fd)
        finally:
            os.close(fd)
            superblock.release()
        self._is_allowed.pop(mark.root.key, None)

    def remove(self, mark: Mark) -> None:
        """Take a mark off again, unless another one still wants its event types."""
        self.marks.remove(mark)
        others = 0
        for other in self.marks:
            if (other.scope, other.root.key) == (mark.scope, mark.root.key):
                others |= int(other.mask)
        mask = int(mark.mask) & ~others
        with contextlib.suppress(FastpathError, OSError):
            if self._viewer is None:
                self.group.unmark(_FLAGS[mark.scope], mask, mark.root.path)
            else:
                self._remove_viewed(mark, mask & ~_rights(mark) if others else mask | _rights(mark))

    def _remove_viewed(self, mark: Mark, mask: int) -> None:
        superblock = self._superblock_of(mark.root.key[:FSID_BYTES])
        if superblock is None:
            return
        fd = superblock.open_handle(mark.root.key)
        try:
            self.group.unmark(_FLAGS[mark.scope], mask, mark.root.path, fd)
        finally:
            os.close(fd)
            superblock.release()

    def drain(self, sets: list[RootSet]) -> None:
        """
        Take what the kernel has and decide about it.

        :param sets: the root sets in use
        """
        self.sequence.fill()
        if not self.sequence.n_pending:
            return
        self._begin(sets)
        raw = self.sequence.next()
        while raw is not None:
            self._judge(raw)
            raw = self.sequence.next()
        self.sequence.take_doubtful()

    def _begin(self, sets: list[RootSet]) -> None:
        """What was found before may be elsewhere by now."""
        self._tree = self._discovery.use(Tree())
        self._tree.use_sets(sets)
        for mark in self.marks:
            if mark.scope is Scope.INODE and mark.root.is_dir:
                self._tree.add_top(mark.root.key, mark.root.path)

    def _judge(self, raw: Raw) -> None:
        if raw.mask & Mask.Q_OVERFLOW:
            self._is_allowed.clear()
            self._sender.counters.n_overflows += 1
            self._sender.counters.n_lost += 1
            self._sender.emit(Event(Mask.Q_OVERFLOW, None, lost=None), 0)
            return
        if raw.mask & Mask.ATTRIB:
            for key in (raw.dir, raw.obj):
                self._is_allowed.pop(key or b"", None)
        if not self._sender.is_own(raw):
            self._judge_entry(raw)

    def _judge_entry(self, raw: Raw) -> None:
        is_dir = bool(raw.mask & Mask.ONDIR)
        marks, is_unproven = self._allowed([mark for mark in self.marks if self._concerns(mark, raw)])
        types = raw.mask & self._wanted(marks, is_dir) & ~EVENT_FLAGS
        if raw.dir is not None:
            types &= ~self._covered(raw.dir, is_dir)
        if not types:
            self._sender.counters.n_skipped += 1
            return
        node = self._directory(raw.dir, marks)
        path = self._path(node, raw.name) or self._path_of_object(raw.obj)
        inside = None if node is None else self._tree.inside_of(node.inside, raw.obj)
        if inside is None and path is not None:
            inside = self._tree.inside_of(NOWHERE, raw.obj)
        found = Finding(int(types), None if raw.name == b"." else raw.name, path, inside)
        found.is_by_object, found.is_unproven = True, is_unproven
        if raw.mask & Mask.RENAME:
            new = self._directory(raw.dir2, marks)
            found.old_path, found.path = path, self._path(new, raw.name2)
            found.inside2 = None if new is None else self._tree.inside_of(new.inside, raw.obj)
            if found.inside is None:
                found.inside = found.inside2
        self._sender.send(raw, found)

    def _path(self, node: Directory | None, name: bytes | None) -> bytes | None:
        if node is None or name is None:
            return None
        return node.path if name == b"." else node.child_path(name)

    def _directory(self, key: bytes | None, marks: list[Mark]) -> Directory | None:
        """Find a directory; without privilege only one that was marked, with a viewer only by one of *marks*."""
        if key is None or (self._viewer is not None and all(mark.root.key != key for mark in marks)):
            return None
        node = self._tree.get(key)
        if node is None and self._can_open:
            node = self._discovery.directory(key)
        return None if node is None else self._tree.settle(node)

    def _concerns(self, mark: Mark, raw: Raw) -> bool:
        if mark.scope is Scope.MOUNT:
            return mark.root.key[:FSID_BYTES] == (raw.dir or raw.dir2 or raw.obj or b"")[:FSID_BYTES]
        return mark.root.key in (raw.dir, raw.dir2, raw.obj)

    def _allowed(self, marks: list[Mark]) -> tuple[list[Mark], bool]:
        """
        Leave out the marks whose objects the viewer may not watch now.

        :return: the others; or, where there is none, those of which that cannot be told, and True
        """
        if self._viewer is None:
            return marks, False
        for mark in marks:
            if mark.root.key not in self._is_allowed:
                self._is_allowed[mark.root.key] = self._viewer.may_watch(mark.root)
        allowed = [mark for mark in marks if self._is_allowed[mark.root.key]]
        return (allowed, False) if allowed else ([m for m in marks if self._is_allowed[m.root.key] is None], True)

    def _wanted(self, marks: list[Mark], is_dir: bool) -> int:
        """Return the event types that these marks want of a record."""
        want = 0
        for mark in marks:
            if mark.mask & Mask.ONDIR or not is_dir:
                want |= mark.types
        return want

    def _path_of_object(self, key: bytes | None) -> bytes | None:
        """Path of a single file that was marked, as it was given."""
        for mark in self.marks:
            if mark.scope is Scope.INODE and mark.root.key == key:
                return mark.root.path
        return None


def _rights(mark: Mark) -> int:
    """What tells of changes of the rights to a marked object; the kernel refuses flags for directories on files."""
    return RIGHTS if mark.root.is_dir else RIGHTS & ~int(Mask.ONDIR)
