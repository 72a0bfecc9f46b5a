"""
What a user may do, asked of the kernel: for a moment a thread takes the user's ids, and none of its own rights.

The ids are those for filesystems (``fsuid``, ``fsgid``), which each thread has for itself. The C library has no such
calls, or changes all threads at once (``setgroups``), so they are made by number.

:source: setfsuid, setfsgid: kernel/sys.c; setgroups: kernel/groups.c; faccessat2: fs/open.c (v6.12)
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import stat
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from fanotify_fastpath._daemon.peer import Credentials
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH
from fanotify_fastpath.errors import InvalidArgument, KernelRefused, NotPermitted, UnsupportedFeature

__all__ = ["Credentials", "as_user", "check_root", "may_enter", "may_read"]


class _Numbers(NamedTuple):
    """Numbers of system calls."""

    setgroups: int
    setfsuid: int
    setfsgid: int
    capget: int
    capset: int


# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
_GENERIC: Final = _Numbers(159, 151, 152, 90, 91)
_NUMBERS: Final = {
    "x86_64": _Numbers(116, 122, 123, 125, 126),
    "aarch64": _GENERIC,
    "loongarch64": _GENERIC,
    "riscv64": _GENERIC,
}
_SYS_FACCESSAT2: Final = 439  # everywhere, since Linux 5.8
_AT_EACCESS: Final = 0x200
_UNCHANGED: Final = 0xFFFFFFFF

_CAP_VERSION_3: Final = 0x20080522
#: effective, permitted, inheritable: of capabilities 0 to 31, then of the others
_CAP_DATA: Final = struct.Struct("=6I")
#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: with them everything may be done
_CAP_DAC: Final = 1 << 1 | 1 << 2

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def may_enter(fd: int) -> bool:
    """
    Tell whether the calling thread may list a directory and use the names in it. Called within :func:`as_user`.

    :param fd: the directory; ``O_PATH`` will do
    :raises OSError: the kernel cannot tell, because the directory was removed, for example
    """
    return _may(fd, os.R_OK | os.X_OK)


def may_read(fd: int) -> bool:
    """Tell whether the calling thread may open a file for reading; as :func:`may_enter`."""
    return _may(fd, os.R_OK)


def _may(fd: int, mode: int) -> bool:
    try:
        _call(_SYS_FACCESSAT2, fd, b"", mode, AT_EMPTY_PATH | _AT_EACCESS)
    except OSError as exc:
        if exc.errno in (errno.EACCES, errno.EPERM):
            return False
        raise
    return True


def check_root(fd: int, credentials: Credentials) -> None:
    """
    Check that a user may watch what was opened: that it is a directory that the user may list and search, or a file
    that the user may read, and that it was opened for reading, as a proof that the user could get there.

    :param fd: what a client sent
    :raises InvalidArgument: it is no such descriptor, or neither a directory nor a regular file
    :raises NotPermitted: the user may not
    """
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if flags & os.O_PATH or flags & os.O_ACCMODE == os.O_WRONLY:
        raise InvalidArgument(
            "cannot watch what was not opened for reading: the descriptor shows that its user may; open it with "
            "O_RDONLY, not with O_PATH or O_WRONLY"
        )
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise InvalidArgument("cannot watch this: it is neither a directory nor a regular file")
    with as_user(credentials):
        is_allowed = may_enter(fd) if stat.S_ISDIR(mode) else may_read(fd)
    if not is_allowed and stat.S_ISDIR(mode):
        raise NotPermitted(
            f"user {credentials.uid} may not watch this directory: that needs the right to list and to search it (r-x)",
            errno.EACCES,
        )
    if not is_allowed:
        raise NotPermitted(
            f"user {credentials.uid} may not watch this file: that needs the right to read it", errno.EACCES
        )


@contextlib.contextmanager
def as_user(credentials: Credentials) -> Iterator[None]:
    """
    Let the calling thread act with a user's ids and groups, and without the right to pass over permissions.

    No other thread is changed. For user 0 the right stays.

    :raises NotPermitted: CAP_SETUID or CAP_SETGID is missing
    :raises KernelRefused: the ids could not be taken, or not be given back; in the second case the thread still has the
        user's rights, and should end
    """
    numbers = _numbers()
    own_groups = os.getgroups()
    own_uid, own_gid = _fs_ids(numbers)
    own_caps = _capabilities(numbers)
    try:
        _switch(numbers, credentials)
        yield
    finally:
        _switch_back(numbers, own_uid, own_gid, own_groups, own_caps)


def _switch(numbers: _Numbers, credentials: Credentials) -> None:
    """Take the user's ids; whatever is not so in the end is an error."""
    try:
        _set_groups(numbers, credentials.groups)
    except PermissionError:
        raise NotPermitted("cannot check a user's rights: the capability CAP_SETGID is missing") from None
    _set_fs_ids(numbers, credentials.uid, credentials.gid)
    if credentials.uid:
        caps = _capabilities(numbers)  # a change from user 0 has taken them away; not so from another one
        if caps[0] & _CAP_DAC:
            _set_capabilities(numbers, (caps[0] & ~_CAP_DAC, *caps[1:]))
            caps = _capabilities(numbers)
        if caps[0] & _CAP_DAC:
            raise KernelRefused("cannot check a user's rights: the capabilities to pass over permissions stay")


def _switch_back(numbers: _Numbers, uid: int, gid: int, groups: list[int], caps: tuple[int, ...]) -> None:
    try:
        _set_fs_ids(numbers, uid, gid)
        if os.getgroups() != groups:
            _set_groups(numbers, groups)
        if _capabilities(numbers) != caps:
            _set_capabilities(numbers, caps)
    except OSError as exc:
        raise KernelRefused(f"cannot give a user's ids back: {exc.strerror}", exc.errno) from None


def _fs_ids(numbers: _Numbers) -> tuple[int, int]:
    """The user and group for filesystems; an id that cannot be tells the present one."""
    return _call(numbers.setfsuid, _UNCHANGED), _call(numbers.setfsgid, _UNCHANGED)


def _set_fs_ids(numbers: _Numbers, uid: int, gid: int) -> None:
    """Both calls return the previous id, whether they worked or not."""
    # the user last: it takes capabilities away, or gives them back
    _call(numbers.setfsgid, gid)
    _call(numbers.setfsuid, uid)
    if _fs_ids(numbers) != (uid, gid):
        raise NotPermitted("cannot check a user's rights: the capability CAP_SETUID or CAP_SETGID is missing")


def _set_groups(numbers: _Numbers, groups: "tuple[int, ...] | list[int]") -> None:
    _call(numbers.setgroups, len(groups), (ctypes.c_uint32 * len(groups))(*groups))


def _capabilities(numbers: _Numbers) -> tuple[int, ...]:
    """Six words: effective, permitted, inheritable, and again for the higher ones."""
    data = ctypes.create_string_buffer(_CAP_DATA.size)
    _call(numbers.capget, struct.pack("=Ii", _CAP_VERSION_3, 0), data)
    return _CAP_DATA.unpack(data.raw)


def _set_capabilities(numbers: _Numbers, caps: tuple[int, ...]) -> None:
    _call(numbers.capset, struct.pack("=Ii", _CAP_VERSION_3, 0), _CAP_DATA.pack(*caps))


def _numbers() -> _Numbers:
    numbers = _NUMBERS.get(platform.machine()) if ctypes.sizeof(ctypes.c_void_p) == 8 else None
    if numbers is None:
        raise UnsupportedFeature(
            f"cannot check a user's rights on this machine ({platform.machine()}): its system calls are not known here"
        )
    return numbers


def _call(number: int, *arguments: object) -> int:
    result = _syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
