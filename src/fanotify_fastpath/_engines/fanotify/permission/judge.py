"""Decides about questions: where the object lies, what the rules say, what the kernel need not ask again."""

import contextlib
import os

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem, Filesystems
from fanotify_fastpath._engines.fanotify.permission.kernel import AskingGroup, Change, Question, StructureGroup
from fanotify_fastpath._engines.fanotify.permission.membership import Inside, Membership
from fanotify_fastpath._engines.fanotify.permission.places import Place, locate
from fanotify_fastpath._engines.fanotify.permission.rules import Decision, Outcome, Rules
from fanotify_fastpath._engines.fanotify.permission.subject import Subject
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import FSID_BYTES

_TYPES = ~int(EVENT_FLAGS)
_ON_CHILD, _ONDIR = int(Mask.EVENT_ON_CHILD), int(Mask.ONDIR)
_FILE_CHANGES = int(Mask.ATTRIB | Mask.MOVE_SELF | Mask.DELETE_SELF)


class Judge:
    """
    Decides about the questions of one guardian.

    :ivar rules: what it was told
    :ivar gone: keys of roots that were deleted, to be told to the user
    """

    def __init__(self, filesystems: Filesystems, structure: StructureGroup) -> None:
        self.rules = Rules()
        self.gone: list[bytes] = []
        self._filesystems = filesystems
        self._structure = structure
        self._membership = Membership()
        self._above_points: set[bytes] = set()
        self._above_files: set[bytes] = set()

    def use(self, rules: Rules) -> None:
        """Take over new rules; nothing decided before holds."""
        self.rules = rules
        self._membership.use(rules.points())
        self._find_above_points()

    def forget(self) -> None:
        """Nothing that was found out about directories holds."""
        self._membership.forget()
        self._find_above_points()

    # --- questions ---

    def decide(self, question: Question, group: AskingGroup, *, is_tree: bool) -> tuple[Decision, Subject]:
        """
        Decide about one question.

        :param is_tree: it comes from the mark of a filesystem, so most objects are of no concern
        """
        status = os.fstat(question.fd)
        is_dir = (status.st_mode & 0o170000) == 0o040000
        filesystem = self._filesystems.of(question.fd, status.st_dev)
        if filesystem is None:
            place, inside = Place(_path(question.fd), None, b""), None
        else:
            place = locate(question.fd, status, is_dir, filesystem)
            inside = self._inside(filesystem, place)
        types = question.mask & _TYPES
        if is_tree and filesystem is not None:
            types &= self.rules.wanted(inside, filesystem.fsid, is_dir)
        subject = Subject(types, status, place.path, question.tgid, inside, is_dir)
        decision = self.rules.judge(subject) if types else Decision(Outcome.ALLOW)
        if is_tree and filesystem is not None and inside is not None:
            # What no mark wants there, and everything if a handler lets the whole directory pass.
            unwanted = filesystem.mask & _TYPES
            if not decision.holds_for_directory:
                unwanted &= ~self.rules.wanted(inside, filesystem.fsid, False)
            if unwanted:
                self._remember(group, filesystem, place, is_dir, unwanted)
        return decision, subject

    def _inside(self, filesystem: Filesystem, place: Place) -> Inside | None:
        if place.directory is None:
            return None
        inside = self._membership.of_directory(filesystem, place.directory)
        if inside is None or place.directory == place.handle:
            return inside
        return self._membership.of_object(inside, filesystem.fsid + place.handle)

    def _remember(self, group: AskingGroup, filesystem: Filesystem, place: Place, is_dir: bool, mask: int) -> None:
        """The kernel need not ask about what lies in this directory; nor about itself, if no root lies in it."""
        assert place.directory is not None
        key = filesystem.fsid + place.directory
        if not filesystem.may_remember or (filesystem.fsid + place.handle in self._membership.points and not is_dir):
            return
        if key not in self._above_points:
            mask |= _ON_CHILD | filesystem.mask & _ONDIR
        elif is_dir or key in self._above_files:
            return
        else:
            mask |= _ON_CHILD
        with contextlib.suppress(OSError):
            fd = syscalls.open_by_handle_at(filesystem.fd, place.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                group.remember(fd, mask)
            finally:
                os.close(fd)

    # --- changes of the tree ---

    def drain_structure(self) -> bool:
        """
        Take note of the directories that moved since the last time.

        :return: True when what the kernel remembers may be wrong now
        """
        is_stale = False
        changes = self._structure.read()
        if any(change.mask & (Mask.RENAME | Mask.Q_OVERFLOW) for change in changes):
            self.forget()
        for change in changes:
            if change.mask & Mask.Q_OVERFLOW:
                is_stale = True
            elif change.mask & Mask.RENAME:
                is_stale = is_stale or self._may_change_an_answer(change)
            elif change.key is not None:
                is_stale = self._touched(change, change.key) or is_stale
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
        is_point = change.key in self._membership.points
        return before is None or after is None or before != after or is_point

    def _touched(self, change: Change, key: bytes) -> bool:
        is_point = key in self._membership.points
        if change.mask & Mask.DELETE:
            self._membership.drop(key)
            if is_point:
                self.gone.append(key)
        elif change.mask & _FILE_CHANGES and is_point:
            filesystem = self._filesystems.by_fsid.get(key[:FSID_BYTES])
            if filesystem is not None and filesystem.may_remember:
                filesystem.may_remember = self._has_one_name(filesystem, key) and not change.mask & Mask.MOVE_SELF
                return not filesystem.may_remember
        return False

    # --- roots and what lies above them ---

    def _find_above_points(self) -> None:
        """
        Find the directories that roots and exceptions lie in.

        About what lies there the kernel must not be told more than holds for the root too. A root that is a file may be in
        several: with more than one name, or after it was moved, nothing is remembered on its filesystem.
        """
        self._above_points.clear()
        self._above_files.clear()
        for guarded in self._filesystems.by_fsid.values():
            guarded.may_remember = True
        for roots in self.rules.sets.values():
            for key, path, _, is_dir, _ in roots:
                filesystem = self._filesystems.by_fsid.get(key[:FSID_BYTES])
                if filesystem is not None:
                    self._find_above(filesystem, key, path, is_dir)

    def _find_above(self, filesystem: Filesystem, key: bytes, path: bytes, is_dir: bool) -> None:
        try:
            fd = syscalls.open_by_handle_at(filesystem.fd, key[FSID_BYTES:], os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        above = -1
        try:
            if is_dir:
                above = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=fd)
            else:
                self._structure.follow_file(fd)
                above = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
                found = os.stat(os.path.basename(path), dir_fd=above, follow_symlinks=False)
                if not os.path.samestat(found, os.fstat(fd)) or found.st_nlink > 1:
                    filesystem.may_remember = False
            above_key = filesystem.fsid + syscalls.name_to_handle_at(above, b"", AT_EMPTY_PATH)[0]
            self._above_points.add(above_key)
            if not is_dir:
                self._above_files.add(above_key)
        except OSError:
            filesystem.may_remember = False
        finally:
            os.close(fd)
            if above >= 0:
                os.close(above)

    def _has_one_name(self, filesystem: Filesystem, key: bytes) -> bool:
        with contextlib.suppress(OSError):
            fd = syscalls.open_by_handle_at(filesystem.fd, key[FSID_BYTES:], os.O_PATH | os.O_CLOEXEC)
            try:
                return os.fstat(fd).st_nlink <= 1
            finally:
                os.close(fd)
        return True


def _path(fd: int) -> bytes | None:
    with contextlib.suppress(OSError):
        return os.readlink(b"/proc/self/fd/%d" % fd)
    return None
