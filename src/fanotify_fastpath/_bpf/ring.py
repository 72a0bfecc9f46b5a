"""
Events from a BPF ring buffer: read in batches, and looked at as columns or one by one.

A record is a ``struct fp_event`` (``bpf/include/fp_abi.h``) behind its paths. The reader copies many at once; nothing
is decoded before it is asked for.
"""

import os
import struct
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from fanotify_fastpath._bpf._abi import LAYOUTS, FpEvent, FpLimit
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._bpf.refusal import refused
from fanotify_fastpath._closing import Closing
from fanotify_fastpath.errors import Closed, InvalidArgument, UnsupportedFeature

if TYPE_CHECKING:
    from fanotify_fastpath._bpf._ring import Ring

_LAYOUT: Final = LAYOUTS.structs["fp_event"]
_EVENT: Final = struct.Struct(_LAYOUT.format)


class Record(NamedTuple):
    """
    One record.

    :ivar path: of the object, from the root of its filesystem, whose own path is empty; also empty when it is unknown
    :ivar old_path: for a rename the path before it; else empty
    :ivar fields: all that ``struct fp_event`` has
    """

    path: bytes
    old_path: bytes
    fields: FpEvent


class Batch:
    """
    Records that were taken from the ring together, oldest first; a sequence of :class:`Record`.

    :ivar fixed: n ``struct fp_event`` in a row, ``len(batch)`` times ``LAYOUTS.structs["fp_event"].size`` bytes
    :ivar paths_block: the old path and the path of each record, all in a row
    :ivar starts: n + 1 positions (``"I"``) in ``paths_block``: where those of each record begin, and the last one's end
    :ivar n_dropped_before: the kernel's count of records without room, as far as earlier batches of this reader told
    :ivar n_dropped: the same, as far as this one tells
    """

    __slots__ = ("_columns", "fixed", "n_dropped", "n_dropped_before", "paths_block", "starts")

    def __init__(self, fixed: bytes, paths_block: bytes, starts: bytes, n_dropped_before: int, n_dropped: int) -> None:
        self.fixed = fixed
        self.paths_block = paths_block
        self.starts = starts
        self.n_dropped_before = n_dropped_before
        self.n_dropped = n_dropped
        self._columns: dict[str, array[int]] = {}

    @property
    def n_lost(self) -> int:
        """Records lost just before or among these; the column ``n_dropped`` tells where."""
        return self.n_dropped - self.n_dropped_before

    def column(self, name: str) -> "array[int]":
        """
        One field of all records.

        :param name: a number of ``struct fp_event``: ``"mask"``, ``"tgid"``, ``"boot_ns"`` ...
        :return: n numbers, as wide as in C; the same array each time
        :raises InvalidArgument: there is no such number
        """
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = self._gathered(name)
        return found

    def paths(self) -> list[bytes]:
        """The path of each record; empty where it is unknown, and of the root of a filesystem."""
        return self._split(is_old=False)

    def old_paths(self) -> list[bytes]:
        """The path before the rename of each record; empty where it is no rename."""
        return self._split(is_old=True)

    def part(self, first: int, end: int) -> "Batch":
        """The records from *first* to before *end*, as a batch of its own; it tells of losses as this one does."""
        fixed = self.fixed[first * _LAYOUT.size : end * _LAYOUT.size]
        starts = self.starts[4 * first : 4 * (end + 1)]
        return Batch(fixed, self.paths_block, starts, self.n_dropped_before, self.n_dropped)

    def __len__(self) -> int:
        return len(self.fixed) // _LAYOUT.size

    def __getitem__(self, n: int) -> Record:
        n = range(len(self))[n]
        start, end = struct.unpack_from("=II", self.starts, 4 * n)
        return self._record(FpEvent._make(_EVENT.unpack_from(self.fixed, n * _LAYOUT.size)), start, end)

    def __iter__(self) -> Iterator[Record]:
        starts = array("I", self.starts)
        for n, fields in enumerate(_EVENT.iter_unpack(self.fixed)):
            yield self._record(FpEvent._make(fields), starts[n], starts[n + 1])

    def _record(self, fields: FpEvent, start: int, end: int) -> Record:
        block = self.paths_block
        return Record(block[end - fields.path_len : end], block[start : start + fields.old_path_len], fields)

    def _gathered(self, name: str) -> "array[int]":
        from fanotify_fastpath._bpf._columns import gather

        field = _LAYOUT.fields.get(name)
        if field is None or len(field.code) > 1:
            raise InvalidArgument(f"no number {name!r} in a record")
        return array(field.code, gather(self.fixed, field.offset, field.size))

    def _split(self, *, is_old: bool) -> list[bytes]:
        from fanotify_fastpath._bpf._columns import split

        return split(self.fixed, self.paths_block, self.starts, is_old)


class RingReader(Closing):
    """
    The only reader of a ring buffer, by any number of threads.

    What an earlier reader has left is read first. ``fileno()`` is readable while there is something to read, for
    :mod:`select` and event loops; it is also readable while the next record is still being written, and then a batch is
    empty.

    :ivar size_bytes: of the ring
    """

    def __init__(self, fd: int, size_bytes: int) -> None:
        """
        Map a ring buffer.

        :param fd: of the map; it is duplicated
        :param size_bytes: the map's max_entries
        :raises UnsupportedFeature: the package was installed without a C compiler
        :raises InvalidArgument: no ring buffer has that size
        :raises NotPermitted: the kernel does not let this process map it
        :raises KernelRefused: it cannot be mapped
        """
        ring_type = _ring_type()
        try:
            self._ring: Ring = ring_type(fd, size_bytes)
            self._fd = os.dup(fd)
        except OSError as exc:
            if isinstance(exc, InvalidArgument):
                raise
            raise refused(f"cannot map a ring buffer of {size_bytes} bytes", exc.errno or 0) from exc
        self.size_bytes = size_bytes

    @classmethod
    def of_map(cls, ring: Map) -> "RingReader":
        """Map a ring buffer, as by ``RingReader(fd, size_bytes)``."""
        return cls(ring.fd, ring.max_entries)

    @property
    def n_pending_bytes(self) -> int:
        """
        Bytes not yet read, with headers and padding; records that are still being written count.

        :raises Closed: the reader was closed
        """
        return self._ring.n_pending_bytes()

    def fileno(self) -> int:
        """
        The descriptor to wait on.

        :raises Closed: the reader was closed
        """
        if self._fd < 0:
            raise Closed("the reader of the ring buffer is closed")
        return self._fd

    def read_batch(self, max_events: int) -> Batch:
        """
        Take up to *max_events* committed records without blocking.

        The records are copied; their ring space is free on return.

        :param max_events: at least 1
        :return: n <= max_events records, oldest first
        :raises InvalidArgument: what comes next in the ring cannot be right; it stays there, and so does the error
        :raises Closed: the reader was closed, also from another thread
        :source: ring layout, kernel/bpf/ringbuf.c (v6.12)
        """
        return Batch(*self._ring.take(max_events))

    def close(self) -> None:
        """Unmap it and close the descriptor; what is left unread stays for another reader."""
        self._ring.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _ring_type() -> "type[Ring]":
    """The part in C, if it is there and fits."""
    try:
        from fanotify_fastpath._bpf import _ring
    except ImportError as exc:
        raise UnsupportedFeature(
            "the reader of ring buffers was not compiled: install a C compiler and Python's headers"
            " (Debian: gcc python3-dev), then this package anew, without FANFP_PURE"
        ) from exc
    if (_LAYOUT.size, FpLimit.VERSION) != (_ring.EVENT_BYTES, _ring.VERSION):
        raise UnsupportedFeature("the reader of ring buffers was compiled for other records: install this package anew")
    return _ring.Ring
