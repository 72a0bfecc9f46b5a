"""
Where the object of a permission event lies: its directory, by identity, and its path, for people.

The path is only a way to the directory. What it leads to counts only if it is the very object that was opened, in
that directory, through the same mount; so a path that lies (renamed meanwhile, cut, of another mount namespace, a
file mounted on a file) is noticed. Where it leads nowhere, the kernel is asked for the directory by a file handle
that names it (Linux 6.13), and then the filesystem is looked into by other ways (``inner_paths``).
"""

import contextlib
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem
from fanotify_fastpath._engines.fanotify.permission.inner_paths import DELETED, Opened, inner_paths
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH, AT_FDCWD, AT_HANDLE_CONNECTABLE, AT_SYMLINK_FOLLOW

_TRIES = 3
_PATH_MAX = 4096
_HEADER = struct.Struct("=Ii")
# File handles that hold the parent too: least bytes, type without the parent, and how to take the parent out. ext4,
# xfs and others (fs/libfs.c: inode, generation, then those of the parent), xfs with 64-bit inodes
# (fs/xfs/xfs_export.h), btrfs (fs/btrfs/export.h; 0x4f adds the parent's tree).
_WITH_PARENT: dict[int, tuple[int, int, Callable[[bytes], bytes]]] = {
    0x02: (16, 0x01, lambda data: data[8:16]),
    0x82: (24, 0x81, lambda data: data[12:24]),
    0x4E: (32, 0x4D, lambda data: data[20:28] + data[8:16] + data[28:32]),
    0x4F: (40, 0x4D, lambda data: data[20:28] + data[32:40] + data[28:32]),
}
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(slots=True)
class Place:
    """
    Where an object lies.

    :ivar path: absolute path through the mount that was used; None when it is not to be had
    :ivar directory: handle of the directory that it lies in, or of itself when it is one; None when that is unknown
    :ivar handle: handle of the object itself
    """

    path: bytes | None
    directory: bytes | None
    handle: bytes

    @property
    def name(self) -> bytes | None:
        """Name of the object."""
        return None if self.path is None else self.path[self.path.rfind(b"/") + 1 :]


def locate(fd: int, status: os.stat_result, is_dir: bool, filesystem: Filesystem, tgid: int) -> Place:
    """
    Find out where the object of an event's descriptor lies.

    :param tgid: who opens it
    """
    handle, mount_id = syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)
    path: bytes | None = None
    for _ in range(_TRIES):
        path = _path_of(fd)
        if path is None:
            break
        if is_dir:
            return Place(path.removesuffix(DELETED) if status.st_nlink == 0 else path, handle, handle)
        directory = _directory_of(path, status, mount_id)
        if directory is not None:
            return Place(path, directory, handle)
        if path.endswith(DELETED) and _path_of(fd) == path:
            directory = _directory_of_removed(path.removesuffix(DELETED), mount_id)
            if directory is not None:
                return Place(path.removesuffix(DELETED), directory, handle)
    if is_dir:
        return Place(None, handle, handle)
    opened = Opened(fd, status, handle, mount_id, path, tgid)
    directory = _directory_in_handle(fd) or _directory_inside(opened, filesystem)
    if path is not None and status.st_nlink == 0:
        path = path.removesuffix(DELETED)
    return Place(path, directory, handle)


def _directory_inside(opened: Opened, filesystem: Filesystem) -> bytes | None:
    """Return the handle of the directory that an object is found in, in the filesystem's own tree."""
    for inner in itertools.chain(_connected_path(opened.fd, filesystem), inner_paths(opened, filesystem)):
        directory = _directory_below(filesystem.fd, inner, opened.status)
        if directory is not None and (not inner.endswith(DELETED) or _path_of(opened.fd) == opened.path):
            return directory
    return None


def _path_of(fd: int) -> bytes | None:
    """Return the path of an open object; None when it is longer than a path may be."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError:  # ENAMETOOLONG
        return None


def _directory_of(path: bytes, status: os.stat_result, mount_id: int) -> bytes | None:
    """Return the handle of the directory in *path*, if the object is found there under that name."""
    directory, _, name = path.rpartition(b"/")
    try:
        fd = os.open(directory or b"/", _DIRECTORY)
    except OSError:
        return None
    try:
        if not os.path.samestat(os.stat(name, dir_fd=fd, follow_symlinks=False), status):
            return None
        handle, mount_of_directory = syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)
        return handle if mount_of_directory == mount_id else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _directory_of_removed(path: bytes, mount_id: int) -> bytes | None:
    """Return the handle of the directory in *path*, if it is on that mount; the name in it is gone."""
    with contextlib.suppress(OSError):
        fd = os.open(os.path.dirname(path), _DIRECTORY)
        try:
            handle, found = syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)
        finally:
            os.close(fd)
        if mount_id == found:
            return handle
    return None


def _directory_below(top: int, path: bytes, status: os.stat_result) -> bytes | None:
    """Return the handle of the directory in *path*, which begins at *top*, if the object is there, or just was."""
    directory, _, name = path.rpartition(b"/")
    fd = os.dup(top)
    try:
        for part in _parts(directory):
            below = os.open(part, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        is_there = name.endswith(DELETED)
        with contextlib.suppress(FileNotFoundError):
            is_there = is_there or os.path.samestat(os.stat(name, dir_fd=fd, follow_symlinks=False), status)
        return syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)[0] if is_there else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _parts(path: bytes) -> Iterator[bytes]:
    """Cut a path into relative ones that are short enough to be opened."""
    rest = path.lstrip(b"/")
    while len(rest) >= _PATH_MAX:
        end = rest.rindex(b"/", 0, _PATH_MAX)
        yield rest[:end]
        rest = rest[end + 1 :]
    if rest:
        yield rest


def _connectable(fd: int) -> bytes:
    """Return a handle that names the directory too. With ``AT_EMPTY_PATH`` the kernel makes none; by this path, yes."""
    flags = AT_SYMLINK_FOLLOW | AT_HANDLE_CONNECTABLE
    return syscalls.name_to_handle_at(AT_FDCWD, b"/proc/self/fd/%d" % fd, flags)[0]


def _directory_in_handle(fd: int) -> bytes | None:
    """Return the handle of an object's directory out of a handle that names both, where its form is known."""
    try:
        both = _connectable(fd)
    except OSError:  # before Linux 6.13, or a filesystem that cannot
        return None
    handle_type = struct.unpack_from("=i", both, 4)[0] & 0xFFFF
    if handle_type not in _WITH_PARENT or len(both) < _HEADER.size + _WITH_PARENT[handle_type][0]:
        return None
    _, alone_type, take = _WITH_PARENT[handle_type]
    alone = take(both[_HEADER.size :])
    return _HEADER.pack(len(alone), alone_type) + alone


def _connected_path(fd: int, filesystem: Filesystem) -> Iterator[bytes]:
    """Yield the path of an object in the filesystem's own tree, where the kernel makes a handle that names both."""
    with contextlib.suppress(OSError):
        inner = syscalls.open_by_handle_at(filesystem.fd, _connectable(fd), os.O_PATH | os.O_CLOEXEC)
        try:
            path = _path_of(inner)
        finally:
            os.close(inner)
        if path is not None and path.startswith(b"/"):
            yield path
