"""
A tmpfs that nobody else can reach: mounted nowhere, gone when its descriptor is closed.

:source: fsopen(2), fsconfig(2), fsmount(2); Linux 5.2. Their numbers are the same on every architecture but alpha.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *map(_argument, arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _argument(value: int | bytes | None) -> ctypes.c_long | ctypes.c_char_p:
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value)


@contextmanager
def private_tmpfs() -> Iterator[int]:
    """
    Make the filesystem, and give an ``O_PATH`` descriptor of its top directory.

    :raises OSError: EPERM: CAP_SYS_ADMIN is missing
    """
    context = _call(_SYS_FSOPEN, b"tmpfs", _CLOEXEC)
    try:
        _call(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _call(_SYS_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        yield mount
    finally:
        os.close(mount)
