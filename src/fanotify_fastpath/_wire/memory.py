"""
The writer of a ring in shared memory, laid out as a BPF ring buffer, so that the same reader reads it.

A page with the reader's position, a page with the writer's, and room for the data twice. The reader is another process,
which may write anything anywhere in this memory: the only thing that the writer takes from it is how far the reader
says it is, and that only if it can be true.
"""

import errno
import fcntl
import mmap
import os
from typing import TYPE_CHECKING, Final

from fanotify_fastpath._bpf._abi import LAYOUTS, FpLimit
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._wire.messages import RING_MAX_BYTES
from fanotify_fastpath.errors import InvalidArgument, KernelRefused, UnsupportedFeature

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from fanotify_fastpath._wire._memory import Writer

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
#: never to be executed: since Linux 6.3, where the administrator may have forbidden other files in memory
_MFD_NOEXEC_SEAL: Final = 0x8


class MemoryRing(Closing):
    """
    A ring that this process writes and another one reads, by any number of threads.

    :ivar kind: as in ``Opened``
    :ivar size_bytes: of its data
    :ivar fd: of the memory, for the reader; its length is sealed
    :ivar wake_fd: for the reader: the reading end of a pipe, which becomes readable when a record is put that the
        reader may be waiting for
    """

    kind: Final = "memory"

    def __init__(self, size_bytes: int) -> None:
        """
        :param size_bytes: a power of 2, from a page to ``messages.RING_MAX_BYTES``
        :raises InvalidArgument: no ring has that size
        :raises UnsupportedFeature: the package was installed without a C compiler
        :raises KernelRefused: there is no memory, or no descriptor left
        """
        writer_type = _writer_type()
        if size_bytes & (size_bytes - 1) or not mmap.PAGESIZE <= size_bytes <= RING_MAX_BYTES:
            raise InvalidArgument(
                f"a ring has no {size_bytes} bytes, but a power of 2, from {mmap.PAGESIZE} to {RING_MAX_BYTES}"
            )
        self.size_bytes = size_bytes
        self.fd = self.wake_fd = self._waker_fd = -1
        try:
            self.fd = _sealed_memory(2 * mmap.PAGESIZE + 2 * size_bytes)
            # no eventfd: the reader would have the same open file, and could make it one that blocks
            self.wake_fd, self._waker_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.fcntl(self._waker_fd, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
            self._writer: Writer = writer_type(self.fd, self._waker_fd, size_bytes)
        except OSError as exc:
            self._close_descriptors()
            raise KernelRefused(f"cannot make a ring of {size_bytes} bytes: {exc.strerror}", exc.errno) from exc

    def put(self, record: "Buffer") -> bool:
        """
        Write one record behind the others, and wake the reader if it may be waiting.

        :param record: paths and ``struct fp_event``
        :return: False if there is no room, or the reader's position cannot be right; then nothing is written
        :raises InvalidArgument: it is shorter than ``struct fp_event``, or longer than the ring
        :raises Closed: the ring was closed
        """
        return self._writer.put(record)

    def discard(self) -> None:
        """Give the memory back to the kernel, though the reader may have it open for as long as it likes."""
        with mmap.mmap(self.fd, 0) as memory:
            memory.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Unmap it and close the descriptors; the reader keeps what is in it, unless that was discarded."""
        self._writer.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        for fd in (self.fd, self.wake_fd, self._waker_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self.wake_fd = self._waker_fd = -1


def _sealed_memory(length: int) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("fanotify_fastpath ring", flags | _MFD_NOEXEC_SEAL)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        fd = os.memfd_create("fanotify_fastpath ring", flags)
    try:
        os.ftruncate(fd, length)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _writer_type() -> "type[Writer]":
    """The part in C, if it is there and fits."""
    try:
        from fanotify_fastpath._wire import _memory
    except ImportError as exc:
        raise UnsupportedFeature(
            "the writer of rings, which the daemon needs, was not compiled: install a C compiler and Python's headers"
            " (Debian: gcc python3-dev), then this package anew, without FANFP_PURE"
        ) from exc
    if (LAYOUTS.structs["fp_event"].size, FpLimit.VERSION) != (_memory.EVENT_BYTES, _memory.VERSION):
        raise UnsupportedFeature("the writer of rings was compiled for other records: install this package anew")
    return _memory.Writer
