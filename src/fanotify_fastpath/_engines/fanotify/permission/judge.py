"""Decides about questions: where the object lies, what the rules say, and whether the kernel need ask again."""

import contextlib
import os
import stat

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem, Filesystems
from fanotify_fastpath._engines.fanotify.permission.kernel import AskingGroup, Question
from fanotify_fastpath._engines.fanotify.permission.memory import Memory
from fanotify_fastpath._engines.fanotify.permission.places import Place, locate
from fanotify_fastpath._engines.fanotify.permission.rules import Decision, Outcome
from fanotify_fastpath._engines.fanotify.permission.subject import Subject
from fanotify_fastpath._engines.fanotify.permission.terrain import NOWHERE, Inside, Terrain
from fanotify_fastpath.mask import EVENT_FLAGS, Mask

_TYPES = ~int(EVENT_FLAGS)
_ONDIR = int(Mask.ONDIR)


class Judge:
    """
    Decides about the questions of one guardian.

    :param terrain: what lies where
    """

    def __init__(self, filesystems: Filesystems, terrain: Terrain) -> None:
        self._filesystems = filesystems
        self._terrain = terrain
        self._memory = Memory()

    def decide(self, question: Question, group: AskingGroup, *, is_tree: bool) -> tuple[Decision, Subject]:
        """
        Decide about one question.

        :param is_tree: it comes from the mark of a filesystem, so most objects are of no concern
        """
        status = os.fstat(question.fd)
        is_dir = stat.S_ISDIR(status.st_mode)
        filesystem = self._filesystems.of(question.fd, status.st_dev)
        types = question.mask & _TYPES
        if filesystem is None or not is_tree:
            return self._decide_object(question, types, status, filesystem)
        place = locate(question.fd, status, is_dir, filesystem, question.tgid)
        inside = self._inside(filesystem, place)
        types &= self._terrain.rules.wanted(inside, filesystem.fsid, is_dir)
        subject = Subject(types, status, place.path, question.tgid, inside, is_dir)
        if types and inside is None and not self._terrain.rules.is_surely_wanted(filesystem.fsid):
            return Decision(Outcome.UNDECIDED), subject
        decision = self._terrain.rules.judge(subject) if types else Decision(Outcome.ALLOW)
        if inside is not None:
            # What no mark wants there; and everything, if a handler lets the whole directory pass.
            unwanted = filesystem.mask & _TYPES
            if not decision.holds_for_directory:
                unwanted &= ~self._terrain.rules.wanted(inside, filesystem.fsid, False)
            if unwanted and not (filesystem.fsid + place.handle in self._terrain.points and not is_dir):
                self._note_quiet(filesystem, inside, unwanted)
                self._remember(group, question.fd, status, filesystem, place, unwanted)
        return decision, subject

    def _decide_object(
        self, question: Question, types: int, status: os.stat_result, filesystem: Filesystem | None
    ) -> tuple[Decision, Subject]:
        """Decide about what was marked by itself, or through its mount: nothing is remembered there."""
        is_dir = stat.S_ISDIR(status.st_mode)
        path, inside = _path(question.fd), None
        if filesystem is not None:
            place = locate(question.fd, status, is_dir, filesystem, question.tgid)
            path, inside = place.path, self._inside(filesystem, place)
        subject = Subject(types, status, path, question.tgid, inside, is_dir)
        return self._terrain.rules.judge(subject), subject

    def _inside(self, filesystem: Filesystem, place: Place) -> Inside | None:
        if place.directory is None:
            return None
        inside = self._terrain.inside(filesystem, place.directory)
        if inside is None or place.directory == place.handle:
            return inside
        return self._terrain.inside_of_object(inside, filesystem.fsid + place.handle)

    def _note_quiet(self, filesystem: Filesystem, inside: Inside, unwanted: int) -> None:
        if inside == NOWHERE and unwanted == filesystem.mask & _TYPES:
            self._terrain.quiet_outside.add(filesystem.fsid)

    def _remember(
        self,
        group: AskingGroup,
        fd: int,
        status: os.stat_result,
        filesystem: Filesystem,
        place: Place,
        mask: int,
    ) -> None:
        """The kernel need not ask about this object again; or about none in its directory."""
        self._memory.make_room(group)
        if stat.S_ISDIR(status.st_mode):
            group.remember(fd, mask | _ONDIR)
        elif status.st_nlink == 1 and self._memory.prefers_object():
            group.remember(fd, mask)
        elif place.directory is not None and self._terrain.may_remember_directory(filesystem, place.directory):
            with self._terrain.opened(filesystem, place.directory) as dir_fd:
                group.remember_directory(dir_fd, mask)


def _path(fd: int) -> bytes | None:
    with contextlib.suppress(OSError):
        return os.readlink(b"/proc/self/fd/%d" % fd)
    return None
