"""The marks in the kernel, kept in step with the rules: all of a change is done, or nothing."""

import contextlib
import os
from collections.abc import Callable

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem, Filesystems
from fanotify_fastpath._engines.fanotify.permission.kernel import AskingGroup, StructureGroup
from fanotify_fastpath._engines.fanotify.permission.rules import RuleMark, Rules
from fanotify_fastpath._uapi.constants import MarkFlag
from fanotify_fastpath.marks import Scope

_KINDS = {Scope.INODE: MarkFlag.INODE, Scope.MOUNT: MarkFlag.MOUNT}
Error = tuple[int, str, bytes]


class Marking:
    """
    The marks of one guardian.

    :ivar trees: the group with the marks of whole filesystems, in which outside directories are remembered
    :ivar objects: the group with the marks of single objects and mounts
    """

    def __init__(self, filesystems: Filesystems, structure: StructureGroup) -> None:
        self._filesystems = filesystems
        self._structure = structure
        self.trees: AskingGroup | None = None
        self.objects: AskingGroup | None = None
        self._object_marks: list[RuleMark] = []

    @property
    def groups(self) -> list[AskingGroup]:
        """The groups that may be asked."""
        return [group for group in (self.trees, self.objects) if group is not None]

    def use(self, rules: Rules) -> Error | None:
        """
        Make the kernel's marks what *rules* need.

        :return: None; or error number, text and path, and then nothing has changed
        """
        undo: list[Callable[[], None]] = []
        path = b""
        try:
            self._make_groups(rules)
            for fsid, (mask, mount_id) in rules.filesystems().items():
                path = _path_of(rules, fsid)
                self._mark_filesystem(fsid, mask, mount_id, undo)
            for mark in rules.objects:
                path = mark.target[1]
                self._mark_object(mark, undo)
        except OSError as exc:
            for step in reversed(undo):
                with contextlib.suppress(OSError):
                    step()
            return exc.errno or 0, exc.strerror or str(exc), path
        self._unmark(rules)
        return None

    def forget(self) -> None:
        """What was remembered in the kernel may be wrong now."""
        if self.trees is not None:
            self.trees.forget()

    def close(self) -> None:
        """Give everything up; the kernel allows whatever waits."""
        for group in self.groups:
            group.close()

    def _make_groups(self, rules: Rules) -> None:
        with_errno = rules.may_deny_with_errno
        if with_errno and self.trees is not None and not self.trees.with_errno:
            self.trees = self._replace(self.trees)
        if self.trees is None and rules.filesystems():
            self.trees = AskingGroup(with_errno=with_errno)
        if self.objects is None and rules.objects:
            self.objects = AskingGroup(with_errno=with_errno)

    def _replace(self, old: AskingGroup) -> AskingGroup:
        """Put a group that may deny with a number in the place of one that may not; who waits there is allowed."""
        new = AskingGroup(with_errno=True)
        for filesystem in self._filesystems.by_fsid.values():
            new.add(MarkFlag.FILESYSTEM, filesystem.mask, filesystem.fd)
        old.close()
        return new

    def _mark_filesystem(self, fsid: bytes, mask: int, mount_id: int, undo: list[Callable[[], None]]) -> None:
        assert self.trees is not None
        group, is_new = self.trees, fsid not in self._filesystems.by_fsid
        filesystem = self._filesystems.open(fsid, mount_id)
        if is_new:
            undo.append(lambda: self._filesystems.drop(filesystem))
            self._structure.follow(filesystem.fd)
            undo.append(lambda: self._structure.unfollow(filesystem.fd))
        added = mask & ~filesystem.mask
        if added:
            group.add(MarkFlag.FILESYSTEM, added, filesystem.fd)
            undo.append(lambda: self._take_off(filesystem, added))
            filesystem.mask |= added

    def _take_off(self, filesystem: Filesystem, mask: int) -> None:
        assert self.trees is not None
        filesystem.mask &= ~mask
        self.trees.remove(MarkFlag.FILESYSTEM, mask, filesystem.fd)

    def _mark_object(self, mark: RuleMark, undo: list[Callable[[], None]]) -> None:
        assert self.objects is not None
        if any(old.mark_id == mark.mark_id for old in self._object_marks):
            return
        self.objects.add(_KINDS[mark.scope], mark.mask, mark.target[1])
        self._object_marks.append(mark)
        undo.append(lambda: self._unmark_object(mark))

    def _unmark_object(self, mark: RuleMark) -> None:
        assert self.objects is not None
        self._object_marks.remove(mark)
        others = 0
        for other in self._object_marks:
            if (other.scope, other.target[0]) == (mark.scope, mark.target[0]):
                others |= other.mask
        self.objects.remove(_KINDS[mark.scope], mark.mask & ~others, mark.target[1])

    def _unmark(self, rules: Rules) -> None:
        """Take off what is no longer needed."""
        needed = rules.filesystems()
        for filesystem in list(self._filesystems.by_fsid.values()):
            surplus = filesystem.mask & ~needed.get(filesystem.fsid, (0, 0))[0]
            with contextlib.suppress(OSError):
                if surplus:
                    self._take_off(filesystem, surplus)
            if filesystem.fsid not in needed:
                self._structure.unfollow(filesystem.fd)
                self._filesystems.drop(filesystem)
        kept = {mark.mark_id for mark in rules.objects}
        for mark in [mark for mark in self._object_marks if mark.mark_id not in kept]:
            with contextlib.suppress(OSError):
                self._unmark_object(mark)


def _path_of(rules: Rules, fsid: bytes) -> bytes:
    """Return a path that the user gave, on that filesystem."""
    for roots in rules.sets.values():
        for key, path, *_ in roots:
            if key.startswith(fsid):
                return path
    return next((mark.target[1] for mark in rules.marks if mark.target[0].startswith(fsid)), os.fsencode("/"))
