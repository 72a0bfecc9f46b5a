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
    """Make a group and return its file descriptor. *event_f_flags* are the open flags of the events' descriptors."""
    fd: int = _fanotify_init(flags, event_f_flags)
    if fd < 0:
        _fail()
    return fd


def fanotify_mark(fd: int, flags: int, mask: int, dirfd: int = AT_FDCWD, path: bytes | None = None) -> None:
    """Add, remove or flush marks. Without *path*, *dirfd* itself is the object."""
    if _fanotify_mark(fd, flags, mask, dirfd, path) < 0:
        _fail(path)


def name_to_handle_at(dirfd: int, path: bytes, flags: int = 0) -> tuple[bytes, int]:
    """
    Return the file handle of an object and the id of its mount.

    The handle is a whole ``struct file_handle``: length (u32), type (i32), then that many bytes, and nothing more.
    Handles of one object from here and from an event's record are equal byte by byte.
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
    """Open the object of *handle* on the filesystem that *mount_fd* is any object of; ``ESTALE`` when it is gone."""
    # The kernel trusts the length inside the handle: what it would read must be there.
    if len(handle) < HANDLE_HEADER_BYTES + int.from_bytes(handle[:4], sys.byteorder):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    fd: int = _open_by_handle_at(mount_fd, handle, flags)
    if fd < 0:
        _fail()
    return fd
