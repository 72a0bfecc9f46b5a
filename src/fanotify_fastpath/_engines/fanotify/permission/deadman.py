"""
The dead man's switch: the kernel kills this process when it has not said for a while that it is well.

A POSIX timer that sends SIGKILL works also when the process is stopped (SIGSTOP, a debugger, a frozen cgroup) or
hangs, which no thread and no handler of its own could do; and whoever might look after it from outside may be stopped
as well.
"""

import ctypes
import os
import signal
from ctypes import POINTER, byref, c_char, c_int, c_long, c_void_p

_CLOCK_MONOTONIC = 1
_SIGEV_SIGNAL = 0
_NS_PER_S = 1_000_000_000


class _Sigevent(ctypes.Structure):
    # struct sigevent has 64 bytes on every 64-bit Linux (include/uapi/asm-generic/siginfo.h, SIGEV_MAX_SIZE)
    _fields_ = [("value", c_void_p), ("signo", c_int), ("notify", c_int), ("rest", c_char * 48)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", c_long * 2), ("value", c_long * 2)]


class DeadMan:
    """Kills the calling process unless :meth:`arm` is called again in time."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "timer_create"):  # before glibc 2.34
            libc = ctypes.CDLL("librt.so.1", use_errno=True)
        self._settime = libc.timer_settime
        self._settime.argtypes = (c_void_p, c_int, POINTER(_Itimerspec), c_void_p)
        self._timer = c_void_p()
        event = _Sigevent(None, signal.SIGKILL, _SIGEV_SIGNAL, b"")
        if libc.timer_create(_CLOCK_MONOTONIC, byref(event), byref(self._timer)) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._value = _Itimerspec()

    def arm(self, seconds: float) -> None:
        """Kill this process so many seconds from now, unless called again before; 0 disarms."""
        ns = int(seconds * _NS_PER_S)
        self._value.value[0], self._value.value[1] = divmod(ns, _NS_PER_S)
        self._settime(self._timer, 0, byref(self._value), None)
