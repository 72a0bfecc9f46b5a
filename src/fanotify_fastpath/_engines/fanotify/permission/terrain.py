"""
What lies where, as far as the rules care, and what is noticed of its changing.

Directories that move may take all below them in or out of a root: then nothing that the kernel remembers holds. Files
that come into a directory, by renaming or linking, may bring a mark along that was right where they were before: it
is taken off.
"""

import contextlib
import os
from collections.abc import Iterator

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem, Filesystems
from fanotify_fastpath._engines.fanotify.permission.kernel import Change, StructureGroup
from fanotify_fastpath._engines.fanotify.permission.marking import Marking
from fanotify_fastpath._engines.fanotify.permission.membership import NOWHERE, Inside, Membership, Points
from fanotify_fastpath._engines.fanotify.permission.rules import Rules
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import FSID_BYTES

__all__ = ["NOWHERE", "Inside", "Terrain"]

_TYPES = ~int(EVENT_FLAGS)
_MOVES = int(Mask.RENAME | Mask.Q_OVERFLOW)
_ARRIVALS = int(Mask.MOVED_TO | Mask.CREATE)
_FILE_CHANGES = int(Mask.ATTRIB | Mask.MOVE_SELF | Mask.DELETE_SELF)


class Terrain:
    """
    The directory trees of the guarded filesystems.

    :ivar rules: what the guardian was told
    :ivar gone: keys of roots that were deleted, to be told to the user
    :ivar quiet_outside: filesystems on which nobody wants anything of what is in no root set
    """

    def __init__(self, filesystems: Filesystems, structure: StructureGroup, marking: Marking) -> None:
        self.rules = Rules()
        self.gone: list[bytes] = []
        self.quiet_outside: set[bytes] = set()
        self._filesystems = filesystems
        self._structure = structure
        self._marking = marking
        self._membership = Membership()
        self._above_roots: set[bytes] = set()
        self._above_files: set[bytes] = set()

    @property
    def points(self) -> Points:
        """Roots and exceptions by identity."""
        return self._membership.points

    def use(self, rules: Rules) -> None:
        """Take over new rules; nothing decided before holds."""
        self.rules = rules
        self.quiet_outside.clear()
        self._membership.use(rules.points())
        self.forget()

    def forget(self) -> None:
        """Nothing that was found out holds, neither here nor in the kernel."""
        self._membership.forget()
        self._marking.forget()
        self._structure.forget()
        self._find_above_points()

    def inside(self, filesystem: Filesystem, handle: bytes) -> Inside | None:
        """Return which root sets a directory is in; None when that cannot be found out."""
        return self._membership.of_directory(filesystem, handle)

    def inside_of_object(self, inside: Inside, key: bytes) -> Inside:
        """Return which root sets an object is in, given which its directory is in."""
        return self._membership.of_object(inside, key)

    def may_remember_directory(self, filesystem: Filesystem, handle: bytes) -> bool:
        """Tell whether the same holds for all that lies in a directory: not so beside a root."""
        key = filesystem.fsid + handle
        if key in self._above_files or not filesystem.may_remember:
            return False
        return not (filesystem.mask & Mask.ONDIR and key in self._above_roots)

    @contextlib.contextmanager
    def opened(self, filesystem: Filesystem, handle: bytes) -> Iterator[int]:
        """Open an object with ``O_PATH``; -1 when it is gone."""
        try:
            fd = syscalls.open_by_handle_at(filesystem.fd, handle, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            fd = -1
        try:
            yield fd
        finally:
            if fd >= 0:
                os.close(fd)

    # --- changes ---

    def drain(self) -> None:
        """Take note of what has changed since the last time."""
        changes = self._structure.read()
        if not changes:
            return
        if any(change.mask & _MOVES for change in changes):
            self._membership.forget()
        is_stale = False
        for change in changes:
            is_stale = self._note(change) or is_stale
        if is_stale:
            self.forget()

    def _note(self, change: Change) -> bool:
        """Take note of one change; return True when nothing that is remembered holds."""
        if change.mask & Mask.Q_OVERFLOW or change.key is None:
            return True
        is_stale = bool(change.mask & Mask.RENAME) and self._may_change_an_answer(change)
        if change.mask & Mask.DELETE:
            self._membership.drop(change.key)
            if change.key in self.points:
                self.gone.append(change.key)
        if change.mask & _ARRIVALS:
            self._arrived(change, change.key)
        if change.mask & _FILE_CHANGES and change.key in self.points:
            is_stale = self._point_changed(change, change.key) or is_stale
        return is_stale

    def _may_change_an_answer(self, change: Change) -> bool:
        """Tell whether a moved directory is in other root sets than before, going by its old and its new parent."""
        if change.key is None or change.old is None or change.new is None:
            return True
        filesystem = self._filesystems.by_fsid.get(change.new[:FSID_BYTES])
        if filesystem is None:
            return True
        before = self._membership.of_directory(filesystem, change.old[FSID_BYTES:])
        after = self._membership.of_directory(filesystem, change.new[FSID_BYTES:])
        return before is None or after is None or before != after or change.key in self.points

    def _arrived(self, change: Change, key: bytes) -> None:
        """An object came into a directory, perhaps with a mark from where it, or another name of it, was before."""
        filesystem = self._filesystems.by_fsid.get(key[:FSID_BYTES])
        if filesystem is None or change.old is None:
            return
        directory = change.old[FSID_BYTES:]
        if self.inside(filesystem, directory) == NOWHERE and filesystem.fsid in self.quiet_outside:
            with self.opened(filesystem, directory) as fd:
                self._structure.ignore_arrivals(fd)
        elif not change.is_dir and self._marking.trees is not None:
            with self.opened(filesystem, key[FSID_BYTES:]) as fd:
                self._marking.trees.forget_object(fd, filesystem.mask & _TYPES)

    def _point_changed(self, change: Change, key: bytes) -> bool:
        """A root that is a file was moved or got another name: no directory's files can be remembered as one."""
        filesystem = self._filesystems.by_fsid.get(key[:FSID_BYTES])
        if change.mask & Mask.DELETE_SELF:
            self.gone.append(key)
        if filesystem is None or not filesystem.may_remember:
            return False
        with self.opened(filesystem, key[FSID_BYTES:]) as fd:
            has_one_name = fd >= 0 and os.fstat(fd).st_nlink <= 1
        return change.mask & Mask.MOVE_SELF != 0 or not has_one_name

    # --- roots and what lies above them ---

    def _find_above_points(self) -> None:
        """
        Find the directories that roots and exceptions lie in.

        What lies there cannot be remembered as one. A root that is a file may be in several: when it has more than
        one name, or is not where it was when it was made a root, no directory is remembered on its filesystem.
        """
        self._above_roots.clear()
        self._above_files.clear()
        for guarded in self._filesystems.by_fsid.values():
            guarded.may_remember = True
        for roots in self.rules.sets.values():
            for key, path, _, is_dir, _ in roots:
                filesystem = self._filesystems.by_fsid.get(key[:FSID_BYTES])
                if filesystem is None:
                    continue
                with self.opened(filesystem, key[FSID_BYTES:]) as fd, contextlib.suppress(OSError):
                    above = self._above_root(fd) if is_dir else self._above_file(fd, path)
                    if above is None:
                        filesystem.may_remember = False
                    else:
                        (self._above_roots if is_dir else self._above_files).add(filesystem.fsid + above)

    def _above_root(self, fd: int) -> bytes:
        return syscalls.name_to_handle_at(fd, b"..", 0)[0]

    def _above_file(self, fd: int, path: bytes) -> bytes | None:
        """Return the handle of the one directory that a file lies in; None if there are more, or it is not known."""
        self._structure.follow_file(fd)
        status = os.fstat(fd)
        with contextlib.suppress(OSError):
            above = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
            try:
                found = os.stat(os.path.basename(path), dir_fd=above, follow_symlinks=False)
                if os.path.samestat(found, status) and status.st_nlink == 1:
                    return syscalls.name_to_handle_at(above, b"", AT_EMPTY_PATH)[0]
            finally:
                os.close(above)
        return None
