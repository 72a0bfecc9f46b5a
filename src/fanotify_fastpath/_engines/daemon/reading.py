"""From the records that the daemon writes to events: paths are the listener's own, and handlers are asked here."""

import os
from typing import Final, Protocol

from fanotify_fastpath._bpf._abi import FpKind
from fanotify_fastpath._bpf.decoding import Place
from fanotify_fastpath._bpf.ring import Batch
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common import reading
from fanotify_fastpath._engines.common.devices import user_dev
from fanotify_fastpath._engines.common.reading import executable
from fanotify_fastpath._wire.told import Told, told_by
from fanotify_fastpath.events import NOBODY, Event, Process
from fanotify_fastpath.mask import Mask

#: instead of the user of a process of which the listener may not know
_UID_UNKNOWN: Final = (1 << 32) - 1
_RENAME: Final = int(Mask.RENAME)
_OVERFLOW: Final = int(Mask.Q_OVERFLOW)


class Listener(reading.Listener, Protocol):
    """What is asked of the engine."""

    def told(self, told: Told, path: bytes | None) -> None: ...
    def root_gone(self, number: int) -> None: ...
    def filesystem_gone(self, dev: int) -> None: ...
    def path_of(self, number: int) -> bytes | None: ...


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
            find_place=lambda dev, number, directory: self._find_place(number, directory),
            find_dev=lambda dev: user_dev(dev) if dev else None,
            find_process=_find_process,
            with_tid=with_tid,
        )
        self._is_bpf = False

    def begin_ring(self, *, is_bpf: bool) -> None:
        """
        Records come from another ring from now on.

        :param is_bpf: programs in the kernel write them
        """
        self.n_dropped = 0
        self._is_bpf = is_bpf

    def _handle_stop(self, batch: Batch, n: int) -> bool:
        record = batch[n]
        fields = record.fields
        self._tell_losses(fields)
        if fields.kind == FpKind.ROOT_GONE:
            self._listener.root_gone(fields.mount_id)
        elif fields.kind == FpKind.UNMOUNT:
            self._listener.filesystem_gone(fields.dev)
        elif fields.kind == FpKind.TOLD:
            self._listener.told(told_by(fields), record.path or None)
        return True

    def _decoded(self, batch: Batch) -> list[Event]:
        events = super()._decoded(batch)
        if not self._is_bpf and 0 in batch.column("inode"):  # programs know every object
            for event in events:
                event.inode = event.inode or None
        # few masks differ: where none is that of a rename, nothing is done for each event
        if any(mask & _RENAME for mask in set(batch.column("mask"))):
            self._find_old_paths(batch, events)
        return events

    def _find_place(self, number: int, directory: bytes) -> Place:
        """
        Tell what the paths of a directory's files begin with.

        :param number: of the root at which the paths in the records begin; 0: they are whole. No path at all, which is
            that of the root directory elsewhere, is none then
        """
        root = self._listener.path_of(number) if number else None
        if root is None:
            return directory.rstrip(b"/") if directory else (b"", {b"": None})
        above = root.rstrip(b"/")
        return above + directory if directory else (above, {b"": root})

    def _find_old_paths(self, batch: Batch, events: list[Event]) -> None:
        """Old paths of renames begin at roots of their own, unless the paths of all records are whole."""
        masks, numbers, n = batch.column("mask"), batch.column("reserved"), -1
        if not any(numbers) and not any(batch.column("mount_id")):
            return
        for event in events:
            if int(event.mask) & _OVERFLOW:
                continue  # it has no record
            n += 1
            if masks[n] & _RENAME:
                old_path = batch[n].old_path
                root = self._listener.path_of(numbers[n]) if numbers[n] else None
                if root is not None:
                    event.raw_old_path = root.rstrip(b"/") + old_path if old_path else root
                else:  # hidden, or too long
                    event.raw_old_path = old_path.lstrip(b"/") or None


def _find_process(tgid: int, uid: int, comm: bytes) -> Process:
    if not tgid and uid == _UID_UNKNOWN and not comm:
        return NOBODY
    known_uid = None if uid == _UID_UNKNOWN else uid
    return Process(known_uid, os.fsdecode(comm) if comm else None, executable(tgid) if tgid else None)
