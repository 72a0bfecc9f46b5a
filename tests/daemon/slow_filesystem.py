"""A filesystem in user space whose server answers, until it is told not to: whoever asks for something then waits."""

import ctypes
import errno
import os
import select
import stat
import struct
import threading
from pathlib import Path

from fanotify_fastpath._closing import Closing

_MNT_FORCE = 1
_BUFFER_BYTES = 1 << 17
_IN = struct.Struct("=IIQQIIII")
_OUT = struct.Struct("=IiQ")
_INIT_OUT = struct.Struct("=IIIIHHIIHH8I")
_ATTR_OUT = struct.Struct("=QII6Q10I")
_STATFS_OUT = struct.Struct("=5Q4I6I")
#: include/uapi/linux/fuse.h
_FORGET, _GETATTR, _STATFS, _INIT, _OPENDIR, _RELEASEDIR, _ACCESS, _INTERRUPT = 2, 3, 17, 26, 27, 29, 34, 36

_libc = ctypes.CDLL(None, use_errno=True)


class SlowFilesystem(Closing):
    """
    Mounted when it is made: one empty directory, which everybody may use.

    :param mountpoint: an empty directory
    """

    def __init__(self, mountpoint: Path) -> None:
        self._mountpoint = os.fsencode(mountpoint)
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        options = f"fd={self._fd},rootmode={stat.S_IFDIR:o},user_id=0,group_id=0,allow_other".encode()
        if _libc.mount(b"slow", self._mountpoint, b"fuse.slow", 0, options):
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "cannot mount a filesystem in user space")
        self._is_hanging = self._is_taking = self._is_closed = False
        self._n_taken = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def hang(self, *, taking: bool = False) -> None:
        """
        Answer nothing any more.

        :param taking: still take requests; then not even a fatal signal ends the wait for an answer
        """
        self._is_taking, self._is_hanging = taking, True

    def is_waited_for(self) -> bool:
        """Tell whether somebody waits for an answer."""
        return self._is_hanging and (self._n_taken > 0 or bool(select.select([self._fd], [], [], 0)[0]))

    def abort(self) -> None:
        """Whoever waits is told that it is over."""
        _libc.umount2(self._mountpoint, _MNT_FORCE)
        _libc.umount2(self._mountpoint, 2)  # MNT_DETACH

    def close(self) -> None:
        """Unmount it."""
        self._is_closed = True
        self.abort()
        self._thread.join()
        os.close(self._fd)

    def _serve(self) -> None:
        while not self._is_closed:
            if self._is_hanging and not self._is_taking:
                select.select([], [], [], 0.01)
                continue
            if not select.select([self._fd], [], [], 0.01)[0]:
                continue
            try:
                request = os.read(self._fd, _BUFFER_BYTES)
            except BlockingIOError:
                continue
            except OSError:  # ENODEV: it was unmounted
                return
            if self._is_hanging:
                self._n_taken += 1
            else:
                self._answer(request)

    def _answer(self, request: bytes) -> None:
        _, code, unique, *_ = _IN.unpack_from(request)
        body, error = b"", 0
        if code in (_FORGET, _INTERRUPT):
            return
        if code == _INIT:
            body = _INIT_OUT.pack(7, 31, 0, 0, 8, 8, 4096, 1, 1, 0, *[0] * 8)
        elif code == _GETATTR:
            body = _ATTR_OUT.pack(0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o777, 2, 0, 0, 0, 4096, 0)
        elif code == _STATFS:
            body = _STATFS_OUT.pack(*[0] * 15)
        elif code == _OPENDIR:
            body = bytes(16)
        elif code not in (_RELEASEDIR, _ACCESS):
            error = -errno.ENOSYS
        os.write(self._fd, _OUT.pack(_OUT.size + len(body), error, unique) + body)
