"""
How a directory that the model does not know is found.

The kernel reports directories by file handle. A handle is opened, its path read, and its parents' handles are taken
until a known one is met. That tells where the directory is *now*; the stream may be behind. So afterwards the queue
is read once more: a rename or removal that had happened by then is in it, and tells where the directory stood before
(:meth:`Sequence.position`). A rename is visible a moment before its event is queued, but it holds the locks of both
parents for that moment: listing the parent (one ``getdents``) waits for it.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable
from typing import Final

from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.fanotify.raw import Place
from fanotify_fastpath._engines.fanotify.sequence import Sequence
from fanotify_fastpath._engines.fanotify.tree import Directory, Tree
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH
from fanotify_fastpath.roots import FSID_BYTES

_PATH_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LIST_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
#: a removed directory cannot be opened a moment before its DELETE event is queued; wait that long for it
_REMOVAL_TRIES: Final = 20
_REMOVAL_WAIT_S: Final = 0.0005
_CLIMB_TRIES: Final = 10
#: a rename sets the change time of what it moves, so an older one cannot be in progress
_RENAME_RECENT_S: Final = 2.0

Link = tuple[bytes, bytes, bytes]


class _MountedOver(Exception):
    """The way up leads onto another mount."""


class Discovery:
    """
    Finds directories by identity and adds them to the model.

    :param tree: the model
    :param sequence: the records, read or still to be read
    :param superblock_of: finds the watched filesystem by its id
    """

    def __init__(self, tree: Tree, sequence: Sequence, superblock_of: Callable[[bytes], Superblock | None]) -> None:
        self._tree = tree
        self._sequence = sequence
        self._superblock_of = superblock_of
        self.n_found = 0
        self.n_not_found = 0

    def use(self, tree: Tree) -> Tree:
        """Add to another model from now on."""
        self._tree = tree
        return tree

    def directory(self, key: bytes) -> Directory | None:
        """
        Return the directory of that identity, where it stood at this place of the stream.

        :return: None when it is gone and nothing tells where it was, or may not be opened
        """
        node = self._tree.get(key)
        if node is not None:
            return node
        node = self._find(key)
        if node is None:
            self.n_not_found += 1
        else:
            self.n_found += 1
        return node

    def place(self, key: bytes, places: Iterable[Place]) -> Place | None:
        """
        Tell at which of *places* an object stands at this point of the stream.

        :param places: directory and name of each
        :return: None when it stands at none of them, or that cannot be found out
        """
        now = next((place for place in places if self._stands_at(key, *place)), None)
        self._sequence.catch_up()
        return self._sequence.position(key) or now

    def _stands_at(self, key: bytes, dir_key: bytes | None, name: bytes | None) -> bool:
        superblock = self._superblock_of(key[:FSID_BYTES])
        if superblock is None or dir_key is None or name is None:
            return False
        try:
            dir_fd = superblock.open_handle(dir_key)
        except OSError:
            return False
        try:
            is_there = syscalls.name_to_handle_at(dir_fd, name, 0)[0] == key[FSID_BYTES:]
            _wait_for_rename(dir_fd)
            return is_there
        except OSError:
            return False
        finally:
            os.close(dir_fd)

    def _find(self, key: bytes) -> Directory | None:
        """Find the lowest known directory above *key*, then add the ones between from the top down."""
        below: list[tuple[bytes, bytes]] = []
        node: Directory | None = None
        seen = set()
        while node is None:
            if key in seen:
                return None
            seen.add(key)
            parent_key, name, node = self._parent(key)
            if parent_key is None:
                break
            below.append((key, name))
            key = parent_key
            node = self._tree.get(key)
        for child_key, name in reversed(below):
            if node is None:
                return None
            known = self._tree.get(child_key)
            node = known if known is not None else self._tree.add(child_key, node, name)
        return node

    def _parent(self, key: bytes) -> tuple[bytes | None, bytes, Directory | None]:
        """
        Tell the parent and name of *key* at this place of the stream; or, for the top of a mount, its directory.

        What a climb finds beyond the parent is used only if no record to come says otherwise.
        """
        place = self._sequence.position(key)
        if place is not None:
            return place[0], place[1], None
        links, top = self._climb(key)
        self._sequence.catch_up()
        for _ in range(_REMOVAL_TRIES):
            if links or top is not None or self._sequence.position(key) is not None:
                break
            time.sleep(_REMOVAL_WAIT_S)
            self._sequence.catch_up()
        place = self._sequence.position(key)
        if place is not None:
            return place[0], place[1], None
        if top is not None:
            self._add_links(links, top)
        if links:
            _, name, parent_key = links[0]
            return parent_key, name, None
        return None, b"", top

    def _add_links(self, links: list[Link], top: Directory) -> None:
        """Add what a climb found above the first link, from the top down, up to where a record to come disagrees."""
        parent = top
        for key, name, _ in reversed(links[1:]):
            known = self._tree.get(key)
            if known is None:
                if self._sequence.position(key) is not None:
                    return
                known = self._tree.add(key, parent, name)
            parent = known

    def _climb(self, key: bytes) -> tuple[list[Link], Directory | None]:
        """
        Follow the parents of *key*, on the filesystem as it is now, up to a known directory or the top.

        :return: links ``(key, name, parent key)`` from *key* upwards, and the known directory above them
        """
        superblock = self._superblock_of(key[:FSID_BYTES])
        if superblock is None:
            return [], None
        for _ in range(_CLIMB_TRIES):
            try:
                fd = superblock.open_handle(key)
            except OSError:
                return [], None
            try:
                links, top, is_whole = self._climb_from(fd, key, superblock)
            except _MountedOver:
                links, top, is_whole = [], None, False
                with contextlib.suppress(OSError):
                    superblock.look_beneath()
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR):
                    return [], None
                links, top, is_whole = [], None, False
            finally:
                os.close(fd)
            if is_whole:
                return links, top
        return [], None

    def _climb_from(self, fd: int, key: bytes, superblock: Superblock) -> tuple[list[Link], Directory | None, bool]:
        links: list[Link] = []
        path = _path_of(fd)
        if path is not None and path.endswith(b" (deleted)") and os.fstat(fd).st_nlink == 0:
            return [], None, True
        names = path[1:].split(b"/") if path else []
        fsid = key[:FSID_BYTES]
        view = syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)[1]
        at, at_key = fd, key
        try:
            while True:
                known = self._tree.get(at_key) if at != fd else None
                if at_key == superblock.top_key:
                    known = self._tree.add_top(at_key, superblock.mount.mountpoint)
                if known is not None:
                    return links, known, path is None or _path_of(fd) == path
                parent = os.open(b"..", _PATH_FLAGS, dir_fd=at)
                handle, mount_id = syscalls.name_to_handle_at(parent, b"", AT_EMPTY_PATH)
                if mount_id != view:
                    os.close(parent)
                    raise _MountedOver
                parent_key = fsid + handle
                if parent_key == at_key:
                    os.close(parent)
                    return [], None, False
                name = names.pop() if names else _name_in(parent, at)
                if time.time() - os.fstat(at).st_ctime < _RENAME_RECENT_S:
                    _wait_for_rename(parent)
                links.append((at_key, name, parent_key))
                if at != fd:
                    os.close(at)
                at, at_key = parent, parent_key
        finally:
            if at != fd:
                os.close(at)


def _path_of(fd: int) -> bytes | None:
    """Path of an open descriptor; None when it is longer than PATH_MAX."""
    try:
        path = os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            return None
        raise
    return path if path.startswith(b"/") else None


def _name_in(parent_fd: int, fd: int) -> bytes:
    """Name of an open directory in its parent, by listing the parent."""
    status = os.fstat(fd)
    listing = os.open(b".", _LIST_FLAGS, dir_fd=parent_fd)
    try:
        with os.scandir(listing) as entries:
            for entry in entries:
                if entry.inode() == status.st_ino:
                    with contextlib.suppress(OSError):
                        found = os.stat(entry.name, dir_fd=listing, follow_symlinks=False)
                        if (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino):
                            return os.fsencode(entry.name)
    finally:
        os.close(listing)
    raise OSError(errno.ENOENT, "the directory left its parent meanwhile")


def _wait_for_rename(parent_fd: int) -> None:
    """Wait for a rename that is just now changing this directory (it holds the lock that a listing takes)."""
    with contextlib.suppress(OSError):
        listing = os.open(b".", _LIST_FLAGS, dir_fd=parent_fd)
        try:
            with os.scandir(listing) as entries:
                next(entries, None)
        finally:
            os.close(listing)
