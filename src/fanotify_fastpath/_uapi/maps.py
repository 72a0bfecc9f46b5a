"""The path of an open file of any length: ``readlink`` ends at PATH_MAX, the list of memory maps does not."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os

_PROT_NONE = 0
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_mmap.restype = ctypes.c_void_p
_munmap = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def mapped_path(fd: int) -> bytes:
    """
    Tell the path of an open file, as ``/proc/self/fd`` would if it were short enough.

    The file is mapped for a moment, and neither read nor marked as read.

    :param fd: a regular file that is open for reading; it gets ``O_NOATIME`` if that is permitted
    :return: the path, with `` (deleted)`` behind it if that name is gone; of a name that has ``\\\\012`` in it, another
        one
    :raises OSError: it cannot be mapped
    :source: show_map_vma, fs/proc/task_mmu.c (v6.12)
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NOATIME)
    address = _mmap(None, mmap.PAGESIZE, _PROT_NONE, mmap.MAP_PRIVATE, fd, 0)
    if address == _FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        start = b"%08x-" % address
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                if line.startswith(start):  # address, permissions, offset, device, inode, path; newlines are escaped
                    return line.rstrip(b"\n").split(None, 5)[5].replace(b"\\012", b"\n")
    finally:
        _munmap(address, mmap.PAGESIZE)
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
