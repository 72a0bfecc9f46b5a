"""From a client's events to records, ``struct fp_event`` behind its paths, as the client's ring has them."""

import os
import struct
import time
from collections.abc import Callable
from typing import Any, Final

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
_UNDECIDED: Final = int(FpFlag.UNDECIDED)
_TRUNCATED: Final = int(FpFlag.TRUNCATED)
_FILE: Final = int(FpKind.EVENT)
_VERSION: Final = int(FpLimit.VERSION)
_PATH_MAX: Final = int(FpLimit.PATH_MAX)
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
        path, old_path, flags = _paths(event)
        if int(event.mask) & _STREAM:
            told = fields_of(Told(event.mask, event.lost))
            return _told(told, path, boot_ns=event.time_ns, n_dropped=n_dropped, flags=flags)
        inside, old_inside = (event.inside, event.old_inside) if isinstance(event, Seen) else (NOWHERE, NOWHERE)
        process = event.process
        uid, comm = process.uid, process.comm
        fields = FpEvent(
            boot_ns=event.time_ns,
            n_dropped=n_dropped,
            inode=event.inode or 0,
            cgroup_id=0,
            inside=self._slots_of(inside),
            old_inside=self._slots_of(old_inside),
            mask=int(event.mask) | (_ONDIR if event.is_dir else 0),
            dev=kernel_dev(event.dev) if event.dev else 0,
            generation=0,
            epoch=0,
            tgid=event.tgid,
            tid=event.tid or 0,
            uid=_UNKNOWN_ID if uid is None else uid,
            gid=_UNKNOWN_ID,
            mount_id=0,
            version=_VERSION,
            kind=_FILE,
            flags=flags,
            mode=0,
            path_len=len(path),
            old_path_len=len(old_path),
            chain=0,
            n_passed=0,
            reserved=0,
            comm=b"" if comm is None else os.fsencode(comm)[:_COMM_BYTES],
        )
        return old_path + path + _EVENT.pack(*fields)

    def of_stream(self, told: Told, n_dropped: int) -> bytes:
        """Make a record about the stream that is of no event."""
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return _told(fields_of(told), b"", boot_ns=boot_ns, n_dropped=n_dropped)

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
    if len(path) <= _PATH_MAX:
        return path, False
    end = path[-_PATH_MAX:]
    return end[1:] if end.startswith(b"/") else end.partition(b"/")[2], True


def _paths(event: Event) -> tuple[bytes, bytes, int]:
    """The paths as a record has them, and the flags that follow."""
    path, is_cut = shortened(as_in_record(event.raw_path))
    old_path = b""
    if event.raw_old_path is not None:
        old_path, is_old_cut = shortened(as_in_record(event.raw_old_path))
        is_cut = is_cut or is_old_cut
    return path, old_path, (_UNDECIDED if event.undecided else 0) | (_TRUNCATED if is_cut else 0)


def _told(told: dict[str, Any], path: bytes, **fields: Any) -> bytes:
    return path + _EVENT.pack(*_NOTHING._replace(version=_VERSION, path_len=len(path), **told, **fields))
