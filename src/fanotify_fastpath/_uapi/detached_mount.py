"""
Mounts of one's own that nobody else sees: the top level of a btrfs filesystem of which only a subvolume is mounted, or
a copy of a mount over which nothing is mounted.
"""

import ctypes
import os

from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH

# Numbers common to all architectures since Linux 5.2 (include/uapi/asm-generic/unistd.h); this C library has no names
# for them.
_SYS_OPEN_TREE = 428
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def mount_detached(fs_type: str, source: bytes, options: dict[str, str]) -> int:
    """
    Mount a filesystem without attaching it anywhere.

    :param fs_type: filesystem type
    :param source: device
    :param options: mount options
    :return: a descriptor of its root directory, like one opened with ``O_PATH``; the mount lives as long as it is open
    :raises OSError: the kernel refuses
    """
    context = _call(_SYS_FSOPEN, fs_type.encode(), _FSOPEN_CLOEXEC)
    try:
        for name, value in {"source": os.fsdecode(source), **options}.items():
            _call(_SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, name.encode(), os.fsencode(value), 0)
        _call(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)


def clone_mount(fd: int, path: bytes = b"") -> int:
    """
    Copy a mount, without what is mounted on it.

    :param fd: its root directory; or what *path* is relative to
    :return: a descriptor of the copy's root, like one opened with ``O_PATH``; the copy lives as long as it is open
    :raises OSError: the kernel refuses
    """
    return _call(_SYS_OPEN_TREE, fd, path, _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)


def _call(number: int, *arguments: bytes | int | None) -> int:
    result = _syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
