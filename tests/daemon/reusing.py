"""Processes of a chosen number: as when numbers have gone round, which they do sooner or later."""

import ctypes
import os
import signal
import struct
from collections.abc import Callable

import pytest

from children import become, wait_for

_SYS_CLONE3 = 435
#: set_tid and set_tid_size are the ninth and tenth word; exit_signal is the fifth
_CLONE_ARGS = struct.Struct("=4QQ3QQQQ")

_libc = ctypes.CDLL(None, use_errno=True)


def fork_as(tgid: int, uid: int, work: Callable[[], object], *, stays: bool = False) -> int:
    """
    Fork a child with that number, which becomes that user and does its work.

    :param stays: it waits then until it is killed; else it has ended, and its number is free, when this returns
    :return: its number
    """
    number = ctypes.c_int32(tgid)
    done_fd, told_fd = os.pipe()
    arguments = _CLONE_ARGS.pack(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(number), 1, 0)
    pid: int = _libc.syscall(_SYS_CLONE3, arguments, len(arguments))
    if pid == 0:
        try:
            become(uid)
            work()
            os.write(told_fd, b"1")
            if stays:
                signal.pause()
        finally:
            os._exit(0)
    os.close(told_fd)
    try:
        assert pid == tgid, os.strerror(ctypes.get_errno())
        assert os.read(done_fd, 1) == b"1"
    finally:
        os.close(done_fd)
    if not stays and wait_for(pid) != 0:
        pytest.fail("the child failed")
    return pid


def end(pid: int) -> None:
    """Kill a child, so that its number is free."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def free_tgid() -> int:
    """A number that no process has, and that will not soon be given to one."""
    with open("/proc/sys/kernel/pid_max") as file:
        highest = int(file.read())
    with open("/proc/loadavg") as file:
        last = int(file.read().split()[-1])
    number: int = (last + highest // 2) % highest
    numbers = [*range(max(number, 1000), highest), *range(1000, highest)]
    found: int = next(n for n in numbers if not os.path.exists(f"/proc/{n}"))
    return found
