"""
Which directories one user may list and search: asked of the kernel once, and kept until it tells of a change.

The kernel tells of it in the stream of events (``ATTRIB`` on the directory). So what is kept is never older than the
place of the stream at which it is used.
"""

import os
from collections.abc import Callable, Iterable
from typing import Final

from fanotify_fastpath._daemon.access import Credentials, as_user, may_enter, may_read
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath.roots import FSID_BYTES

#: answers that are kept; past it, all are asked for again
_MAX_KEPT: Final = 1 << 16
_DIR_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Rights:
    """
    The rights of one user.

    :param credentials: the user; user 0 has every right
    :ivar superblocks: the filesystems that are watched, by id
    """

    def __init__(self, credentials: Credentials) -> None:
        self.superblocks: dict[bytes, Superblock] = {}
        self._credentials = credentials
        self._kept: dict[bytes, bool] = {}

    def may_enter(self, key: bytes) -> bool | None:
        """
        Tell whether the user may list and search a directory.

        :param key: its identity
        :return: None when that cannot be told: the directory is gone, and nothing is known from when it was there
        """
        if not self._credentials.uid:
            return True
        answer = self._kept.get(key)
        if answer is None:
            answer = self._ask(key, may_enter)
            if answer is not None:
                if len(self._kept) >= _MAX_KEPT:
                    self._kept.clear()
                self._kept[key] = answer
        return answer

    def may_use(self, key: bytes, *, is_dir: bool) -> bool | None:
        """
        Tell whether the user may list and search a directory, or read a file, now. Nothing is kept.

        :return: None when it is gone
        """
        return self._ask(key, may_enter if is_dir else may_read) if self._credentials.uid else True

    def changed(self, key: bytes | None) -> bool:
        """
        The rights to an object have changed, or (None) may have to any.

        :return: whether something was known of them
        """
        if key is not None:
            return self._kept.pop(key, None) is not None
        self._kept.clear()
        return True

    def may_reach(self, path: bytes) -> bool:
        """Tell whether the user may list and search every directory above *path*, now; nothing is kept."""
        if path == b"/":
            return True
        fd = _open_directory(b"/")
        return fd is not None and self._may_walk(fd, path.split(b"/")[1:-1])

    def may_descend(self, key: bytes, names: Iterable[bytes]) -> bool:
        """Tell whether the user may list and search a directory and those below it, each in the one before, now."""
        fd = self._open(key)
        return fd is not None and self._may_walk(fd, names)

    def _may_walk(self, fd: int, names: Iterable[bytes]) -> bool:
        """As :meth:`may_descend`, from an open directory, which is closed."""
        try:
            is_allowed = self._answer(fd, may_enter)
            for name in names:
                below = _open_directory(name, fd) if is_allowed else None
                if below is None:
                    return False
                os.close(fd)
                fd = below
                is_allowed = self._answer(fd, may_enter)
            return bool(is_allowed)
        finally:
            os.close(fd)

    def _ask(self, key: bytes, question: Callable[[int], bool]) -> bool | None:
        fd = self._open(key)
        if fd is None:
            return None
        try:
            return self._answer(fd, question)
        finally:
            os.close(fd)

    def _answer(self, fd: int, question: Callable[[int], bool]) -> bool | None:
        # what goes wrong with the change of ids is not to be taken for an answer
        with as_user(self._credentials):
            try:
                return question(fd)
            except OSError:
                return None

    def _open(self, key: bytes) -> int | None:
        superblock = self.superblocks.get(key[:FSID_BYTES])
        try:
            return None if superblock is None else superblock.open_handle(key)
        except OSError:
            return None


def _open_directory(name: bytes, above_fd: int | None = None) -> int | None:
    try:
        return os.open(name, _DIR_FLAGS, dir_fd=above_fd)
    except OSError:
        return None
