"""The producer of a ring in shared memory that is laid out as a BPF ring buffer; in C."""

from typing import Final, final

from _typeshed import ReadableBuffer

#: size of ``struct fp_event``, and its version, in the header that this was compiled with
EVENT_BYTES: Final[int]
VERSION: Final[int]

@final
class Writer:
    """
    The only producer of a ring: it keeps its own position, and believes the consumer's only if it can be right.

    :source: ring layout, kernel/bpf/ringbuf.c (v6.12)
    """

    def __new__(cls, fd: int, wake_fd: int, size_bytes: int, /) -> Writer:
        """
        Map a ring that is empty; *fd* is not needed afterwards.

        :param fd: of a file with two pages and twice the data, which can't become shorter
        :param wake_fd: not blocking; 8 bytes are written to it when the consumer may be waiting. It stays the caller's
        :param size_bytes: of the data
        :raises InvalidArgument: no ring has that size
        :raises OSError: it cannot be mapped
        """

    def put(self, record: ReadableBuffer, /) -> bool:
        """
        Write one record behind the others, and wake the consumer if it may be waiting.

        :return: False if there is no room, or the consumer's position cannot be right; then nothing is written
        :raises InvalidArgument: it is shorter than ``struct fp_event``, or longer than the ring
        :raises Closed: the ring was closed
        """

    def close(self) -> None:
        """Unmap; closing twice is fine. The descriptor to wake by is not used afterwards."""
