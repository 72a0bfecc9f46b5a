"""
Where the object of a permission event lies: its directory, by identity, and its path, for people.

The path is only a way to the directory. What it leads to counts only if it is the very object that was opened, in
that directory, through the same mount; so a path that lies (renamed meanwhile, cut, of another mount namespace, a
file mounted on a file) is noticed. Where it leads nowhere, the kernel is asked for the directory by a file handle
that names it (Linux 6.13).
"""

import contextlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH, AT_FDCWD, AT_HANDLE_CONNECTABLE, AT_SYMLINK_FOLLOW

_DELETED = b" (deleted)"
_TRIES = 3
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


def locate(fd: int, status: os.stat_result, is_dir: bool, filesystem: Filesystem) -> Place:
    """Find out where the object of an event's descriptor lies."""
    handle, mount_id = syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)
    link = b"/proc/self/fd/%d" % fd
    path: bytes | None = None
    for _ in range(_TRIES):
        try:
            path = os.readlink(link)
        except OSError:  # ENAMETOOLONG
            break
        if is_dir:
            return Place(path.removesuffix(_DELETED) if status.st_nlink == 0 else path, handle, handle)
        directory = _directory_of(path, status, mount_id)
        if directory is not None:
            return Place(path, directory, handle)
        if path.endswith(_DELETED) and os.readlink(link) == path:
            path = path.removesuffix(_DELETED)
            return Place(path, _handle_of_directory(os.path.dirname(path), None, mount_id), handle)
    if is_dir:
        return Place(None, handle, handle)
    directory = _directory_in_handle(fd)
    if directory is not None:
        return Place(path, directory, handle)
    inner = _path_inside(fd, filesystem)
    if inner is None:
        return Place(path, None, handle)
    return Place(path or inner, _handle_of_directory(os.path.dirname(inner), filesystem.fd, None), handle)


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


def _handle_of_directory(path: bytes, top: int | None, mount_id: int | None) -> bytes | None:
    """Return the handle of a directory: on the mount *mount_id*, or below the descriptor *top*."""
    with contextlib.suppress(OSError):
        fd = (
            os.open(path or b"/", _DIRECTORY)
            if top is None
            else os.open(path.lstrip(b"/") or b".", _DIRECTORY, dir_fd=top)
        )
        try:
            handle, found = syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)
        finally:
            os.close(fd)
        if mount_id in (None, found):
            return handle
    return None


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


def _path_inside(fd: int, filesystem: Filesystem) -> bytes | None:
    """Return the path of an object in the filesystem's own tree, where the kernel can tell it."""
    with contextlib.suppress(OSError):
        inner = syscalls.open_by_handle_at(filesystem.fd, _connectable(fd), os.O_PATH | os.O_CLOEXEC)
        try:
            path = os.readlink(b"/proc/self/fd/%d" % inner)
            if path.startswith(b"/") and os.path.samestat(
                os.stat(path[1:], dir_fd=filesystem.fd, follow_symlinks=False), os.fstat(inner)
            ):
                return path
        finally:
            os.close(inner)
    return None
