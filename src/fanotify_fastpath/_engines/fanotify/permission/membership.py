"""Which root sets a directory is in: a walk up the filesystem's own tree, and what earlier walks found."""

import contextlib
import os
from collections.abc import Iterable

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH

Inside = frozenset[int]
#: root sets by id: (key, is it included) of each root and exception
Points = dict[bytes, list[tuple[int, bool]]]

NOWHERE: Inside = frozenset()
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
#: steps up before a walk gives up: more than PATH_MAX allows a path to have
_MAX_STEPS = 4096
_MAX_KNOWN = 1 << 16


class Membership:
    """
    Answers "which root sets is this directory in"; the nearest root or exception above it decides for each set.

    :ivar points: roots and exceptions by identity
    :ivar epoch: grows whenever what was found before may hold no more
    """

    def __init__(self) -> None:
        self.points: Points = {}
        self.epoch = 0
        self._known: dict[bytes, Inside] = {}

    def use(self, points: Points) -> None:
        """Take over the roots and exceptions of all root sets."""
        self.points = points
        self.forget()

    def forget(self) -> None:
        """A directory was moved, or the roots have changed."""
        self._known.clear()
        self.epoch += 1

    def drop(self, key: bytes) -> None:
        """A directory was removed; another may get its identity on filesystems without generations."""
        self._known.pop(key, None)

    def of_object(self, inside: Inside, key: bytes) -> Inside:
        """Return which sets the object *key* is in, given which its directory is in."""
        points = self.points.get(key)
        if points is None:
            return inside
        sets = set(inside)
        for set_id, included in points:
            (sets.add if included else sets.discard)(set_id)
        return frozenset(sets)

    def of_directory(self, filesystem: Filesystem, handle: bytes) -> Inside | None:
        """
        Return which sets a directory is in.

        :param handle: its file handle
        :return: None when it is gone, or too deep down
        """
        known = self._known.get(filesystem.fsid + handle)
        return known if known is not None else self._walk(filesystem, handle)

    def _walk(self, filesystem: Filesystem, handle: bytes) -> Inside | None:
        steps: list[bytes] = []
        inside: Inside | None = None
        with contextlib.suppress(OSError):
            fd = syscalls.open_by_handle_at(filesystem.fd, handle, _DIRECTORY)
            try:
                while inside is None and len(steps) < _MAX_STEPS:
                    key = filesystem.fsid + syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)[0]
                    inside = self._known.get(key)
                    if inside is None:
                        if steps and steps[-1] == key:  # the top is its own parent
                            inside = NOWHERE
                        else:
                            steps.append(key)
                            fd = _step_up(fd)
            except FileNotFoundError:  # above what the view shows; no root is there
                inside = NOWHERE
            finally:
                os.close(fd)
        return None if inside is None else self._learn(inside, reversed(steps))

    def _learn(self, inside: Inside, downwards: Iterable[bytes]) -> Inside:
        for key in downwards:
            inside = self._known[key] = self.of_object(inside, key)
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        return inside


def _step_up(fd: int) -> int:
    up = os.open("..", _DIRECTORY, dir_fd=fd)
    os.close(fd)
    return up
