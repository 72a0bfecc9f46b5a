"""A one-shot timer that is a descriptor (timerfd); Python's own come with 3.13."""

import ctypes
import os
import time

_TFD_CLOEXEC, _TFD_NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK

_libc = ctypes.CDLL(None, use_errno=True)
_timerfd_settime = _libc.timerfd_settime
_timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _TimerSpec(ctypes.Structure):
    """struct itimerspec: interval, then first expiry, each in seconds and nanoseconds."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """
    A descriptor that becomes readable once, some time after it was started.

    :param delay_ns: that time, in nanoseconds of CLOCK_MONOTONIC
    """

    def __init__(self, delay_ns: int) -> None:
        self.fd = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_CLOEXEC | _TFD_NONBLOCK)
        if self.fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._spec = _TimerSpec()
        self._address = ctypes.addressof(self._spec)
        self.set_delay(delay_ns)

    def set_delay(self, delay_ns: int) -> None:
        """From the next start on, take that long."""
        self._spec.value_s, self._spec.value_ns = divmod(delay_ns, 1_000_000_000)

    def start(self) -> None:
        """Start it, or start it anew."""
        _timerfd_settime(self.fd, 0, self._address, None)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
