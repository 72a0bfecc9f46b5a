"""From the bytes of a ring buffer to records."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from fanotify_fastpath._bpf._abi import LAYOUTS, FpEvent, FpKind
from fanotify_fastpath._bpf._ring import Ring

_EVENT: Final = struct.Struct(LAYOUTS.structs["fp_event"].format)
_POSITION: Final = struct.Struct("=I")
_TAKE_MAX: Final = 4096


class Record(NamedTuple):
    """
    One record.

    :ivar path: inside the filesystem
    :ivar old_path: the same, of a rename's old side; else empty
    """

    event: FpEvent
    path: bytes
    old_path: bytes


def take(ring: Ring) -> list[Record]:
    """Take committed records without blocking, oldest first, at most some thousand."""
    events, paths, positions, *_ = ring.take(_TAKE_MAX)
    return list(_records(events, paths, positions))


def _records(events: bytes, paths: bytes, positions: bytes) -> Iterator[Record]:
    begin = 0
    for fields, (end,) in zip(_EVENT.iter_unpack(events), _positions(positions), strict=True):
        event = FpEvent._make(fields)
        middle = begin + event.old_path_len
        yield Record(event, paths[middle:end], paths[begin:middle])
        begin = end


def _positions(positions: bytes) -> Iterator[tuple[int]]:
    ends = _POSITION.iter_unpack(positions)
    next(ends)
    yield from ends


__all__ = ["FpKind", "Record", "take"]
