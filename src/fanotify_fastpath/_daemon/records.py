"""From a client's events to records, ``struct fp_event`` behind its paths, as the client's ring has them."""

import os
import struct
import time
from collections.abc import Callable
from typing import Final

from fanotify_fastpath._bpf._abi import LAYOUTS, FpEvent, FpFlag, FpKind, FpLimit
from fanotify_fastpath._engines.common.devices import kernel_dev
from fanotify_fastpath._engines.common.viewer import NOWHERE, Inside, Seen
from fanotify_fastpath._wire.told import Told, as_in_record, fields_of
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import STREAM_EVENTS, Mask

_LAYOUT: Final = LAYOUTS.structs["fp_event"]
_EVENT: Final = struct.Struct(_LAYOUT.format)
_SLOTS_BYTES: Final = _LAYOUT.fields["inside"].size
_COMM_BYTES: Final = _LAYOUT.fields["comm"].size - 1
_NOTHING: Final = FpEvent._make(bytes(f.size) if "s" in f.code else 0 for f in _LAYOUT.fields.values())
_STREAM: Final = int(STREAM_EVENTS)
_ONDIR: Final = int(Mask.ONDIR)
_UNKNOWN_ID: Final = (1 << 32) - 1
_INSIDES_MAX: Final = 4096


class Records:
    """
    Makes the records of one group.

    :param numbers: tells the client's numbers of its sets, by those of the engine
    """

    def __init__(self, numbers: Callable[[], dict[int, int]]) -> None:
        self._numbers = numbers
        self._slots: dict[Inside, bytes] = {}

    def forget_sets(self) -> None:
        """Sets have come or gone."""
        self._slots.clear()

    def of_event(self, event: Event, n_dropped: int) -> bytes:
        """
        Make the record of an event, of a file or of the stream.

        :param n_dropped: records that found no room so far
        """
        path, is_path_cut = shortened(as_in_record(event.raw_path))
        old_path, is_old_path_cut = shortened(as_in_record(event.raw_old_path))
        flags = FpFlag.UNDECIDED if event.undecided else 0
        if is_path_cut or is_old_path_cut:
            flags |= FpFlag.TRUNCATED
        is_stream = int(event.mask) & _STREAM
        fields = fields_of(Told(event.mask, event.lost)) if is_stream else self._about_file(event)
        return _packed(path, old_path, boot_ns=event.time_ns, n_dropped=n_dropped, flags=flags, **fields)

    def of_stream(self, told: Told, n_dropped: int) -> bytes:
        """Make a record about the stream that is of no event."""
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return _packed(b"", b"", boot_ns=boot_ns, n_dropped=n_dropped, **fields_of(told))

    def _about_file(self, event: Event) -> dict[str, object]:
        inside, old_inside = (event.inside, event.old_inside) if isinstance(event, Seen) else (NOWHERE, NOWHERE)
        process = event.process
        uid, comm = process.uid, process.comm
        return {
            "kind": FpKind.EVENT,
            "mask": int(event.mask) | (_ONDIR if event.is_dir else 0),
            "inode": event.inode or 0,
            "dev": kernel_dev(event.dev) if event.dev else 0,
            "inside": self._slots_of(inside),
            "old_inside": self._slots_of(old_inside),
            "tgid": event.tgid,
            "tid": event.tid or 0,
            "uid": _UNKNOWN_ID if uid is None else uid,
            "gid": _UNKNOWN_ID,
            "comm": b"" if comm is None else os.fsencode(comm)[:_COMM_BYTES],
        }

    def _slots_of(self, inside: Inside) -> bytes:
        """One bit for each of the client's sets."""
        slots = self._slots.get(inside)
        if slots is None:
            numbers = self._numbers()
            bits = sum(1 << numbers[set_id] for set_id in inside if set_id in numbers)
            if len(self._slots) >= _INSIDES_MAX:
                self._slots.clear()
            slots = self._slots[inside] = bits.to_bytes(_SLOTS_BYTES, "little")
        return slots


def shortened(path: bytes) -> tuple[bytes, bool]:
    """Leave out what does not fit of a path: names at its beginning. Tells whether that was necessary."""
    if len(path) <= FpLimit.PATH_MAX:
        return path, False
    end = path[-FpLimit.PATH_MAX :]
    return end[1:] if end.startswith(b"/") else end.partition(b"/")[2], True


def _packed(path: bytes, old_path: bytes, **fields: object) -> bytes:
    lengths = {"version": FpLimit.VERSION, "path_len": len(path), "old_path_len": len(old_path)}
    return old_path + path + _EVENT.pack(*_NOTHING._replace(**lengths, **fields))  # type: ignore[arg-type]
