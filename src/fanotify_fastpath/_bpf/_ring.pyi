"""The consumer of a BPF ring buffer whose records are ``struct fp_event``, each behind its paths; in C."""

from typing import Final, final

#: size of ``struct fp_event``, and its version, in the header that this was compiled with
EVENT_BYTES: Final[int]
VERSION: Final[int]

@final
class Ring:
    """
    A ring buffer, mapped: the consumer's page read-write, the producer's page and the data read-only.

    :source: ring layout, kernel/bpf/ringbuf.c (v6.12)
    """

    def __new__(cls, fd: int, size_bytes: int, /) -> Ring:
        """
        Map a ring buffer; the descriptor is not needed afterwards.

        :param fd: of a map of type ring buffer, or a file that looks like one: the page with the consumer's position,
            the page with the producer's, and the data twice
        :param size_bytes: of the data: the map's max_entries
        :raises InvalidArgument: no ring buffer has that size
        :raises OSError: it cannot be mapped
        """

    def n_pending_bytes(self) -> int:
        """
        Bytes not yet taken, with headers and padding; records that are still being written count.

        :raises InvalidArgument: the positions in the ring cannot be right
        :raises Closed: the ring was closed
        """

    def take(self, max_records: int, /) -> tuple[bytes, bytes, bytes, int, int]:
        """
        Take up to *max_records* committed records without blocking, and free their space.

        Discarded records are passed over. A record that is still being written ends the batch.

        :param max_records: at least 1
        :return: for n records: n ``struct fp_event`` in a row; their paths in a row, of each record the old path and
            then the path; n + 1 positions (``"I"``) in these bytes, where the paths of each record begin and the last
            one's end; and the highest ``n_dropped`` of all records taken before, and including these
        :raises InvalidArgument: what comes next in the ring cannot be right: a length beyond the producer's position or
            shorter than ``struct fp_event``, paths longer than their record, another version. Nothing is taken
        :raises Closed: the ring was closed
        """

    def close(self) -> None:
        """Unmap; closing twice is fine."""
