"""From the records that the daemon writes to events: paths are the listener's own, and handlers are asked here."""

import os
from typing import Final, Protocol

from fanotify_fastpath._bpf.decoding import Place
from fanotify_fastpath._bpf.ring import Batch
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common import reading
from fanotify_fastpath._engines.common.devices import user_dev
from fanotify_fastpath._engines.common.reading import executable
from fanotify_fastpath._wire.told import Told, told_by
from fanotify_fastpath.events import NOBODY, Event, Process

#: instead of the user of a process of which the listener may not know
_UID_UNKNOWN: Final = (1 << 32) - 1


class Listener(reading.Listener, Protocol):
    """What is asked of the engine."""

    def told(self, told: Told, path: bytes | None) -> None: ...


class Reading(reading.Reading):
    """
    Makes events of one connection's records.

    :param listener: the engine
    :param engine: what events give as their engine
    :param with_tid: events tell the thread
    """

    _listener: Listener

    def __init__(self, listener: Listener, counters: Counters, engine: str, *, with_tid: bool) -> None:
        super().__init__(
            listener,
            counters,
            engine,
            find_place=_find_place,
            find_dev=lambda dev: user_dev(dev) if dev else None,
            find_process=_find_process,
            with_tid=with_tid,
        )

    def begin_ring(self) -> None:
        """Records come from another ring from now on."""
        self.n_dropped = 0

    def _handle_stop(self, batch: Batch, n: int) -> bool:
        record = batch[n]
        self._tell_losses(record.fields)
        self._listener.told(told_by(record.fields), record.path or None)
        return True

    def _decoded(self, batch: Batch) -> list[Event]:
        events = super()._decoded(batch)
        if 0 in batch.column("inode"):
            for event in events:
                event.inode = event.inode or None
        return events


def _find_place(dev: int, directory: bytes) -> Place:
    """A directory's path is what it is; no path at all, which is that of the root directory elsewhere, is none here."""
    return directory.rstrip(b"/") if directory else (b"", {b"": None})


def _find_process(tgid: int, uid: int, comm: bytes) -> Process:
    if not tgid and uid == _UID_UNKNOWN and not comm:
        return NOBODY
    known_uid = None if uid == _UID_UNKNOWN else uid
    return Process(known_uid, os.fsdecode(comm) if comm else None, executable(tgid) if tgid else None)
