"""
The writer of a ring in shared memory, laid out as a BPF ring buffer, so that the same reader reads it.

A page with the reader's position, a page with the writer's, and room for the data twice. The reader is another process,
which may write anything anywhere in this memory: the only thing that the writer takes from it is how far the reader
says it is, and that only if it can be true.
"""

from fanotify_fastpath._closing import Closing


class MemoryRing(Closing):
    """
    A ring that this process writes and another one reads, by any number of threads.

    :ivar size_bytes: of its data
    :ivar fd: of the memory, for the reader; its length is sealed
    :ivar wake_fd: for the reader: becomes readable when a record is put that the reader may be waiting for
    """

    size_bytes: int
    fd: int
    wake_fd: int

    def __init__(self, size_bytes: int) -> None:
        """
        :param size_bytes: a power of 2, from a page to ``messages.RING_MAX_BYTES``
        :raises InvalidArgument: no ring has that size
        :raises UnsupportedFeature: the package was installed without a C compiler
        :raises KernelRefused: there is no memory, or no descriptor left
        """
        raise NotImplementedError

    def put(self, record: bytes) -> bool:
        """
        Write one record behind the others, and wake the reader if it may be waiting.

        :param record: paths and ``struct fp_event``
        :return: False if there is no room, or the reader's position cannot be right; then nothing is written
        :raises InvalidArgument: it is shorter than ``struct fp_event``, or longer than the ring
        :raises Closed: the ring was closed
        """
        raise NotImplementedError

    def close(self) -> None:
        """Unmap it and close the descriptors; the reader keeps what is in it."""
        raise NotImplementedError
