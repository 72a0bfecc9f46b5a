"""
Roots: the directories (or single files) that a subtree is made of, known by identity, never by path.

A root is its filesystem and its file handle, so it stays the same root when it is renamed, and nothing is held open:
a watched filesystem can be unmounted.
"""

import contextlib
import errno
import itertools
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH
from fanotify_fastpath._uapi.mountinfo import read_mounts
from fanotify_fastpath.errors import (
    FastpathError,
    InvalidArgument,
    KernelRefused,
    NotPermitted,
    PathNotFound,
    UnsupportedFilesystem,
)

#: length of the filesystem id at the front of an identity
FSID_BYTES: Final = 8
_FILEID_BTRFS = 0x4D
_BTRFS_FS_TREE = 5
PathOrFd = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int


@dataclass(frozen=True, slots=True)
class Root:
    """
    The identity of one file or directory, and how its owner called it.

    :ivar key: filesystem id (8 bytes) and file handle, as fanotify reports them
    :ivar path: absolute path as bytes, as it was given
    :ivar dev: ``st_dev``
    :ivar inode: ``st_ino``
    :ivar is_dir: a directory; else the root is that one file
    :ivar mount_id: mount through which it was found (first field of ``/proc/self/mountinfo``)
    :ivar parent_key: for a file: identity of the directory in which it was found
    """

    key: bytes
    path: bytes
    dev: int
    inode: int
    is_dir: bool
    mount_id: int
    parent_key: bytes | None = None


def identify(target: PathOrFd) -> Root:
    """
    Find out which object *target* names.

    :param target: a path (symbolic links are followed), or an open file descriptor, ``O_PATH`` too
    :return: its identity
    :raises PathNotFound: no such path
    :raises NotPermitted: a directory on the way may not be searched
    :raises InvalidArgument: *target* is a bad descriptor (``errno`` is EBADF)
    :raises UnsupportedFilesystem: the filesystem gives no file handles or no filesystem id
    """
    if isinstance(target, int):
        return _identify_fd(target, None)
    path = os.path.abspath(os.fsencode(target))
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PathNotFound(
            f"cannot use {os.fsdecode(path)!r}: no such file or directory; check the spelling", path=path
        ) from None
    except PermissionError:
        raise NotPermitted(
            f"cannot use {os.fsdecode(path)!r}: a directory on the way may not be searched by user {os.geteuid()}",
            errno.EACCES,
            path,
        ) from None
    except OSError as exc:
        raise KernelRefused(f"cannot use {os.fsdecode(path)!r}: {exc.strerror}", exc.errno, path) from None
    try:
        return _identify_fd(fd, path)
    finally:
        os.close(fd)


def _identify_fd(fd: int, path: bytes | None) -> Root:
    try:
        status = os.fstat(fd)
    except OSError as exc:
        raise InvalidArgument(f"file descriptor {fd} is not open", exc.errno) from None
    if path is None:
        path = _path_of(fd)
    fsid = filesystem_id(fd)
    if not any(fsid):
        reason = "has no id, so events there cannot be told apart"
        raise UnsupportedFilesystem(_no_root(path, fd, reason), errno.ENODEV, path)
    try:
        handle, mount_id = syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)
    except OSError as exc:
        reason = f"gives no file handles ({exc.strerror})"
        raise UnsupportedFilesystem(_no_root(path, fd, reason), exc.errno, path) from None
    is_dir = stat.S_ISDIR(status.st_mode)
    parent_key = None if is_dir else _key_of(os.path.dirname(path))
    key = superblock_id(fsid, handle) + handle
    return Root(key, path, status.st_dev, status.st_ino, is_dir, mount_id, parent_key)


def _path_of(fd: int) -> bytes:
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError as exc:
        raise KernelRefused(f"cannot tell the path of file descriptor {fd}: {exc.strerror}", exc.errno) from None


def _no_root(path: bytes, fd: int, reason: str) -> str:
    """Say why there can be no root on the filesystem of *fd*, by its name, and what helps."""
    fs_type = "?"
    with contextlib.suppress(OSError, StopIteration), open(f"/proc/self/fdinfo/{fd}") as fdinfo:
        mount_id = int(next(line for line in fdinfo if line.startswith("mnt_id:")).split()[1])
        mount = read_mounts().get(mount_id)
        fs_type = fs_type if mount is None else mount.fs_type
    advice = "; mount it with index=on,nfs_export=on" if fs_type == "overlay" else "; choose a directory on another one"
    return f"cannot watch {os.fsdecode(path)!r}: its filesystem ({fs_type}) {reason}{advice}"


def _key_of(path: bytes) -> bytes | None:
    try:
        return identify(path).key
    except FastpathError:
        return None


def filesystem_id(fd: int) -> bytes:
    """Return the 8 bytes of ``statfs.f_fsid`` of the filesystem that *fd* lies on."""
    return struct.pack("=Q", os.fstatvfs(fd).f_fsid)


def superblock_id(fsid: bytes, handle: bytes) -> bytes:
    """
    Return the id that events carry: that of the whole filesystem.

    A btrfs subvolume has an id of its own, made by xor with the number of its tree; the top level is tree 5
    (fs/btrfs/super.c, btrfs_statfs; the handle holds object, tree, generation: fs/btrfs/export.h; v6.12).
    """
    (handle_type,) = struct.unpack_from("=i", handle, 4)
    if handle_type != _FILEID_BTRFS:
        return fsid
    (tree,) = struct.unpack_from("=Q", handle, 16)
    high, low = struct.unpack("=II", fsid)
    tree ^= _BTRFS_FS_TREE
    return struct.pack("=II", high ^ tree >> 32, low ^ tree & 0xFFFFFFFF)


class RootSet:
    """
    A set of roots that may change while events flow: some included, some excluded; the nearest above an object decides.

    :param include: paths or descriptors whose subtree is inside
    :param exclude: paths or descriptors whose subtree is outside, though they lie below an included one
    """

    _ids = itertools.count(1)

    def __init__(self, include: Iterable[PathOrFd] = (), exclude: Iterable[PathOrFd] = ()) -> None:
        self.set_id = next(RootSet._ids)
        self._points: dict[bytes, tuple[Root, bool]] = {}
        self._n_on: dict[bytes, int] = {}
        self._file_dirs: dict[bytes, int] = {}
        self._listeners: dict[Callable[[], None], Callable[[], None]] = {}
        self._trackers: list[set[bytes]] = []
        for target in include:
            self._put(identify(target), True)
        for target in exclude:
            self._put(identify(target), False)

    def add(self, target: PathOrFd, *, exclude: bool = False) -> Root:
        """
        Include (or exclude) one more root; groups that use the set see it at once.

        :param target: path or descriptor
        :param exclude: make it an exception instead of a root
        :return: its identity
        :raises: as :func:`identify`, and what a group says that cannot watch it; then nothing has changed
        """
        root = identify(target)
        with self._changing(root.key):
            self._put(root, not exclude)
        return root

    def remove(self, target: PathOrFd) -> None:
        """
        Take a root or an exception away.

        :param target: path (as it was given, also when it is gone by now) or descriptor
        :raises InvalidArgument: it is not in the set
        """
        key = self._find(target)
        with self._changing(key):
            self._drop(key)

    def discard(self, key: bytes) -> None:
        """Forget the root of that identity, if it is here: it is gone, whatever is still to be told about it."""
        if key in self._points:
            self._drop(key)
            self._changed()

    def include(self, root: Root) -> None:
        """Include a root that is identified already."""
        with self._changing(root.key):
            self._put(root, True)

    def exclude(self, root: Root) -> None:
        """Make an exception of a root that is identified already."""
        with self._changing(root.key):
            self._put(root, False)

    @property
    def roots(self) -> list[Root]:
        """The included roots, in the order in which they came."""
        return [root for root, included in self._points.values() if included]

    def filesystems(self) -> set[bytes]:
        """The ids of the filesystems on which an included root lies."""
        return {fsid for fsid, n in self._n_on.items() if n > 0}

    def on_filesystem(self, fsid: bytes) -> bool:
        """Tell whether an included root lies on the filesystem of that id."""
        return self._n_on.get(fsid, 0) > 0

    def holds_file_in(self, dir_key: bytes) -> bool:
        """Tell whether a single file, found in that directory, is a root or an exception."""
        return dir_key in self._file_dirs

    @property
    def points(self) -> dict[bytes, tuple[Root, bool]]:
        """Every root and exception: identity → (root, is it included)."""
        return self._points

    def on_change(self, listener: Callable[[], None], before: Callable[[], None] = lambda: None) -> None:
        """Call *before* before each change that somebody makes, and *listener* after each."""
        self._listeners[listener] = before

    def off_change(self, listener: Callable[[], None]) -> None:
        """Stop calling *listener*, and what came with it."""
        self._listeners.pop(listener, None)

    def track(self) -> set[bytes]:
        """
        Note every change from now on.

        :return: identities of the roots and exceptions that are here, come, go or change; for the caller to empty
        """
        tracker = set(self._points)
        self._trackers.append(tracker)
        return tracker

    def untrack(self, tracker: set[bytes]) -> None:
        """The opposite of :meth:`track`."""
        self._trackers = [other for other in self._trackers if other is not tracker]

    def __len__(self) -> int:
        return len(self._points)

    def _put(self, root: Root, included: bool) -> None:
        if root.key in self._points:
            self._drop(root.key)
        self._points[root.key] = (root, included)
        self._count(root, included, +1)

    def _drop(self, key: bytes) -> None:
        root, included = self._points.pop(key)
        self._count(root, included, -1)

    def _count(self, root: Root, included: bool, change: int) -> None:
        for tracker in self._trackers:
            tracker.add(root.key)
        if included:
            fsid = root.key[:FSID_BYTES]
            self._n_on[fsid] = self._n_on.get(fsid, 0) + change
        if root.parent_key is not None:
            self._file_dirs[root.parent_key] = self._file_dirs.get(root.parent_key, 0) + change
            if not self._file_dirs[root.parent_key]:
                del self._file_dirs[root.parent_key]

    def _find(self, target: PathOrFd) -> bytes:
        if not isinstance(target, int):
            path = os.path.abspath(os.fsencode(target))
            for key, (root, _) in self._points.items():
                if root.path == path:
                    return key
        try:
            key = identify(target).key
        except PathNotFound:
            key = b""
        if key not in self._points:
            raise InvalidArgument(f"{target!r} is no root of this set")
        return key

    @contextlib.contextmanager
    def _changing(self, key: bytes) -> Iterator[None]:
        """Around a change of one root or exception."""
        for before in list(self._listeners.values()):
            before()
        old = self._points.get(key)
        yield
        try:
            self._changed()
        except FastpathError:  # somebody cannot do it: all have it as it was
            if key in self._points:
                self._drop(key)
            if old is not None:
                self._put(*old)
            with contextlib.suppress(FastpathError):
                self._changed()
            raise

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()
