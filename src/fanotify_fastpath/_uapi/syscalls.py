"""
The four system calls, by ctypes.

Each raises a plain :class:`OSError` with the kernel's error number. They release the interpreter lock while they run.
"""

import ctypes
import errno
import os
import sys
from ctypes import c_char_p, c_int, c_uint, c_uint32, c_uint64, c_void_p
from typing import NoReturn

from fanotify_fastpath._uapi.constants import AT_FDCWD, AT_HANDLE_MNT_ID_UNIQUE, HANDLE_HEADER_BYTES, MAX_HANDLE_BYTES

# On 64-bit systems O_LARGEFILE is 0 here, and the kernel adds its own bit.
EVENT_F_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_LARGEFILE

_libc = ctypes.CDLL(None, use_errno=True)

_fanotify_init = _libc.fanotify_init
_fanotify_init.argtypes = (c_uint, c_uint)
_fanotify_init.restype = c_int

_fanotify_mark = _libc.fanotify_mark
_fanotify_mark.argtypes = (c_int, c_uint, c_uint64, c_int, c_char_p)
_fanotify_mark.restype = c_int

_name_to_handle_at = _libc.name_to_handle_at
_name_to_handle_at.argtypes = (c_int, c_char_p, c_void_p, c_void_p, c_int)
_name_to_handle_at.restype = c_int

_open_by_handle_at = _libc.open_by_handle_at
_open_by_handle_at.argtypes = (c_int, c_char_p, c_int)
_open_by_handle_at.restype = c_int


class _HandleBuffer:
    """Room for one ``struct file_handle`` and one mount id, with the views and pointers made once."""

    __slots__ = ("address", "data", "length", "mount_address", "mount_id", "unique_mount_id")

    def __init__(self) -> None:
        self.data = (ctypes.c_char * (HANDLE_HEADER_BYTES + MAX_HANDLE_BYTES))()
        self.length = c_uint32.from_buffer(self.data)
        # The kernel writes an int, or all 8 bytes with AT_HANDLE_MNT_ID_UNIQUE.
        self.unique_mount_id = c_uint64()
        self.mount_id = c_int.from_buffer(self.unique_mount_id)
        self.address = ctypes.addressof(self.data)
        self.mount_address = ctypes.addressof(self.unique_mount_id)


# A call takes a buffer out and puts it back, so threads (and signal handlers) never share one.
_spare_buffers = [_HandleBuffer()]


def _fail(path: bytes | None = None) -> NoReturn:
    code = ctypes.get_errno()
    if path is None:
        raise OSError(code, os.strerror(code))
    raise OSError(code, os.strerror(code), os.fsdecode(path))


def fanotify_init(flags: int, event_f_flags: int = EVENT_F_FLAGS) -> int:
    """
    Make a group.

    :param flags: bits of ``InitFlag``
    :param event_f_flags: open flags of the descriptors in events (``os.O_*``)
    :return: descriptor of the group, which the caller owns
    :raises OSError: as the kernel says
    :source: fanotify_init, fs/notify/fanotify/fanotify_user.c (v6.12)
    """
    fd: int = _fanotify_init(flags, event_f_flags)
    if fd < 0:
        _fail()
    return fd


def fanotify_mark(fd: int, flags: int, mask: int, dirfd: int = AT_FDCWD, path: bytes | None = None) -> None:
    """
    Add, remove or flush marks.

    :param fd: descriptor of the group
    :param flags: bits of ``MarkFlag``
    :param mask: bits of ``Mask``
    :param dirfd: where a relative *path* begins, or without *path* the object itself
    :param path: the object
    :raises OSError: as the kernel says, with *path* as ``filename``
    :source: do_fanotify_mark, fs/notify/fanotify/fanotify_user.c (v6.12)
    """
    if _fanotify_mark(fd, flags, mask, dirfd, path) < 0:
        _fail(path)


def name_to_handle_at(dirfd: int, path: bytes, flags: int = 0) -> tuple[bytes, int]:
    """
    Ask for the file handle of an object and the id of its mount.

    Handles of one object from here and from an event's record are equal byte by byte.

    :param dirfd: where a relative *path* begins
    :param path: the object; a symbolic link is not followed unless *flags* say so
    :param flags: ``AT_HANDLE_FID`` for a handle like those in events also where it cannot be opened (Linux 6.5),
        ``AT_HANDLE_MNT_ID_UNIQUE`` for the 64-bit mount id (Linux 6.12), ``AT_SYMLINK_FOLLOW``, ``AT_EMPTY_PATH``
    :return: a whole ``struct file_handle`` - length (u32), type (i32), then that many bytes, and nothing more - and
        the mount id
    :raises OSError: as the kernel says, with *path* as ``filename``; EOPNOTSUPP and EOVERFLOW: the filesystem has no
        handles of that kind
    :source: fs/fhandle.c (v6.12)
    """
    try:
        buffer = _spare_buffers.pop()
    except IndexError:
        buffer = _HandleBuffer()
    # The buffer is as large as the kernel allows, so EOVERFLOW is final: the filesystem makes no such handle.
    buffer.length.value = MAX_HANDLE_BYTES
    failed = _name_to_handle_at(dirfd, path, buffer.address, buffer.mount_address, flags)
    handle = buffer.data.raw[: HANDLE_HEADER_BYTES + buffer.length.value]
    mount_id = buffer.unique_mount_id.value if flags & AT_HANDLE_MNT_ID_UNIQUE else buffer.mount_id.value
    _spare_buffers.append(buffer)
    if failed:
        _fail(path)
    return handle, mount_id


def open_by_handle_at(mount_fd: int, handle: bytes, flags: int) -> int:
    """
    Open the object of a handle.

    :param mount_fd: descriptor of any object in the mount that it is to be opened through
    :param handle: a whole ``struct file_handle``
    :param flags: ``os.O_*``; without ``O_CLOEXEC`` the descriptor is inherited
    :return: a descriptor that the caller owns
    :raises OSError: ESTALE: the object is gone; EPERM: needs CAP_DAC_READ_SEARCH; EINVAL: *handle* is shorter than it
        says
    :source: fs/fhandle.c (v6.12)
    """
    # The kernel trusts the length inside the handle: what it would read must be there.
    if len(handle) < HANDLE_HEADER_BYTES + int.from_bytes(handle[:4], sys.byteorder):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    fd: int = _open_by_handle_at(mount_fd, handle, flags)
    if fd < 0:
        _fail()
    return fd
