"""A ring buffer in plain memory, written as the kernel writes one (kernel/bpf/ringbuf.c)."""

import mmap
import os
import struct
from typing import Any

from fanotify_fastpath._bpf._abi import LAYOUTS, FpEvent, FpKind, FpLimit
from fanotify_fastpath._bpf.ring import Batch

EVENT = struct.Struct(LAYOUTS.structs["fp_event"].format)
PAGE = mmap.PAGESIZE
BUSY, DISCARD = 1 << 31, 1 << 30
U64 = 1 << 64

_FIELDS = LAYOUTS.structs["fp_event"].fields.values()
_NOTHING = FpEvent._make(bytes(field.size) if "s" in field.code else 0 for field in _FIELDS)


def record(path: bytes = b"", old_path: bytes = b"", n_padding: int = 0, **fields: Any) -> bytes:
    """The bytes of one record; what is not given is 0."""
    given = {"version": FpLimit.VERSION, "kind": FpKind.EVENT, "path_len": len(path), "old_path_len": len(old_path)}
    return bytes(n_padding) + old_path + path + EVENT.pack(*_NOTHING._replace(**{**given, **fields}))


def batch_of(*records: bytes, n_dropped_before: int = 0) -> Batch:
    """A batch as the ring gives it."""
    fixed, paths, starts = b"", b"", [0]
    for one in records:
        fields = FpEvent._make(EVENT.unpack(one[-EVENT.size :]))
        fixed += one[-EVENT.size :]
        paths += one[len(one) - EVENT.size - fields.path_len - fields.old_path_len : -EVENT.size]
        starts.append(len(paths))
    n_dropped = max([n_dropped_before, *(FpEvent._make(EVENT.unpack(one[-EVENT.size :])).n_dropped for one in records)])
    return Batch(fixed, paths, struct.pack(f"={len(starts)}I", *starts), n_dropped_before, n_dropped)


class FakeRing:
    """
    A file in memory that looks like the map of a ring buffer.

    :ivar fd: of the file
    """

    def __init__(self, size_bytes: int = PAGE, position: int = 0) -> None:
        """
        :param position: of producer and consumer in the beginning
        """
        self.size_bytes = size_bytes
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * size_bytes)
        self._memory = mmap.mmap(self.fd, 0)
        self.consumer = self.producer = position

    @property
    def consumer(self) -> int:
        """Position up to which the reader is done."""
        return int(struct.unpack_from("=Q", self._memory)[0])

    @consumer.setter
    def consumer(self, position: int) -> None:
        struct.pack_into("=Q", self._memory, 0, position % U64)

    @property
    def producer(self) -> int:
        """Position up to which there are records."""
        return int(struct.unpack_from("=Q", self._memory, PAGE)[0])

    @producer.setter
    def producer(self, position: int) -> None:
        struct.pack_into("=Q", self._memory, PAGE, position % U64)

    def put(self, position: int, data: bytes) -> None:
        """Write into the data, as both of its mappings show it."""
        at = position % self.size_bytes
        n_before_end = min(len(data), self.size_bytes - at)
        for mapping in (2 * PAGE, 2 * PAGE + self.size_bytes):
            self._memory[mapping + at : mapping + at + n_before_end] = data[:n_before_end]
            self._memory[mapping : mapping + len(data) - n_before_end] = data[n_before_end:]

    def send(self, data: bytes, flags: int = 0, length: int | None = None) -> bool:
        """
        Write a record, if there is room.

        :param flags: ``BUSY``, ``DISCARD``
        :param length: what the header says, when that is not the truth
        """
        position = self.producer
        step = 8 + -(-len(data) // 8) * 8
        if (position - self.consumer) % U64 + step > self.size_bytes:
            return False
        self.put(position, struct.pack("=II", (len(data) if length is None else length) | flags, 0) + data)
        self.producer = position + step
        return True

    def commit(self, position: int, length: int, flags: int = 0) -> None:
        """Set the header of a record that was busy."""
        self.put(position, struct.pack("=I", length | flags))

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()
        os.close(self.fd)
