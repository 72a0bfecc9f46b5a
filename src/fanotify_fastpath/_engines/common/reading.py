"""
From the records of a group's ring buffer to its events.

Events are made many at once, in C. What does not happen to a file stands between them: what comes before is done with
first. Then the handlers that nobody has asked yet are asked.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from fanotify_fastpath._bpf._abi import LAYOUTS, FpEvent, FpFlag, FpKind
from fanotify_fastpath._bpf.decoding import Decoder, Place, Remembered
from fanotify_fastpath._bpf.ring import Batch, Record
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common.candidate import Candidate, Inside
from fanotify_fastpath._engines.common.lookup import Lookup, PathLookup
from fanotify_fastpath.chain import Attachment, Chain
from fanotify_fastpath.events import Crossing, Event, Process
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root
from fanotify_fastpath.verdict import VerdictKind

_OVERFLOW: Final = int(Mask.Q_OVERFLOW)
_RENAME: Final = int(Mask.RENAME)
_LAYOUT: Final = LAYOUTS.structs["fp_event"]
_INSIDE: Final = _LAYOUT.fields["inside"]
_OLD_INSIDE: Final = _LAYOUT.fields["old_inside"]


class Listener(Protocol):
    """What is asked of the engine."""

    def put(self, events: list[Event]) -> None: ...
    def overflow(self, n_events: int) -> Event: ...
    def crossing(self, dev: int, before: Inside, after: Inside) -> Crossing | None: ...
    def roots(self) -> list[Root]: ...


class Reading:
    """
    Makes events of one group's records.

    :param listener: the engine
    :param engine: what events give as their engine
    :param find_place: what the paths of a directory's files begin with for the user, for the kernel's device number,
        the mount and the directory's path in the records
    :param find_dev: what ``stat`` calls a device, for the kernel's number of it
    :param find_process: the process for tgid, uid and comm
    :param with_tid: events tell the thread
    :ivar n_dropped: records without room in the ring, as far as that was told
    """

    def __init__(
        self,
        listener: Listener,
        counters: Counters,
        engine: str,
        *,
        find_place: Callable[[int, int, bytes], Place],
        find_dev: Callable[[int], int | None],
        find_process: Callable[[int, int, bytes], Process],
        with_tid: bool,
    ) -> None:
        self.n_dropped = 0
        self._listener = listener
        self._counters = counters
        self._chain: Chain | None = None
        self._slots: dict[int, int] = {}
        self._insides: dict[bytes, Inside] = Remembered(self._find_inside)
        self._decoder: Decoder[Event] = Decoder(
            Event,
            engine,
            find_mask=Mask,
            find_place=find_place,
            find_process=find_process,
            find_dev=find_dev,
            find_crossing=lambda dev, old, new: listener.crossing(dev, self._insides[old], self._insides[new]),
            make_special=self._make_special,
            undecided_flags=FpFlag.UNDECIDED | FpFlag.HANDLER_FAILED,
            with_tid=with_tid,
        )

    def use_sets(self, chain: Chain | None, slots: dict[int, int]) -> None:
        """
        Marks, handlers or root sets have changed.

        :param slots: which bit tells of each root set, by its number
        """
        self._chain = chain
        self._slots = slots
        self._insides.clear()
        self._decoder.forget_borders()

    def forget_places(self) -> None:
        """Mounts have changed."""
        self._decoder.forget_places()

    def forget_processes(self) -> None:
        """Some time has passed: a process may be another one by now."""
        self._decoder.forget_processes()

    def handle(self, batch: Batch) -> None:
        """Hand on what a batch tells, in order."""
        if self._is_plain(batch):
            self._give(batch)
            return
        first = 0
        for n in self._stops(batch):
            self._give(batch.part(first, n))
            first = n + (1 if self._handle_stop(batch, n) else 0)
        self._give(batch.part(first, len(batch)))

    def _is_plain(self, batch: Batch) -> bool:
        """Tell whether there is nothing but events in a batch."""
        return batch.column("kind").count(FpKind.EVENT) == len(batch)

    def _stops(self, batch: Batch) -> Iterator[int]:
        """Tell the records before which all others are to be done with."""
        return (n for n, kind in enumerate(batch.column("kind")) if kind != FpKind.EVENT)

    def _handle_stop(self, batch: Batch, n: int) -> bool:
        """Do what such a record asks for; tells whether that is all, or it is an event too."""
        return True

    def _give(self, batch: Batch) -> None:
        """Hand on the events of a batch that has nothing else."""
        if not len(batch):
            return
        events = self._decoded(batch)
        if not self._is_all_passed(batch):
            events = self._judged(batch, events)
        self._listener.put(events)

    def _decoded(self, batch: Batch) -> list[Event]:
        batch.n_dropped_before = self.n_dropped
        return self._decoder.decode(batch)

    def _is_all_passed(self, batch: Batch) -> bool:
        """Tell whether all handlers that there are have let all these events pass."""
        return self._chain is None or not self._chain.attachments

    def _unasked(self, batch: Batch, n: int) -> tuple[Attachment, ...]:
        """The handlers that are still to be asked about an event."""
        assert self._chain is not None
        return self._chain.attachments

    def _lookup(self, event: Event, batch: Batch, n: int) -> Lookup:
        """What looks at the object and the process of an event, for handlers."""
        return PathLookup(event, self._listener.roots)

    def _judged(self, batch: Batch, events: list[Event]) -> list[Event]:
        """Leave out what a handler skips. Each record has one event; those that tell of losses have no record."""
        assert self._chain is not None
        masks, flags = batch.column("mask"), batch.column("flags")
        kept, n = [], -1
        for event in events:
            if int(event.mask) & _OVERFLOW:
                kept.append(event)
                continue
            n += 1
            unasked = self._unasked(batch, n)
            if not unasked:
                kept.append(event)
                continue
            path, mask, at = event.raw_path, masks[n], n * _LAYOUT.size
            candidate = Candidate(
                mask,
                path.rpartition(b"/")[2] if path else None,
                event.tgid,
                event.time_ns,
                self._lookup(event, batch, n),
                None if flags[n] & FpFlag.UNDECIDED else self._inside_at(batch, at + _INSIDE.offset),
                self._inside_at(batch, at + _OLD_INSIDE.offset) if mask & _RENAME else None,
                event.dev,
                event.inode,
            )
            verdict, _, failed = self._chain.judge(candidate, unasked)
            if verdict.kind is VerdictKind.SKIP_EVENT:
                self._counters.n_skipped += 1
                continue
            event.undecided = event.undecided or failed
            kept.append(event)
        return kept

    def _inside_at(self, batch: Batch, at: int) -> Inside:
        return self._insides[batch.fixed[at : at + _INSIDE.size]]

    def _find_inside(self, slots: bytes) -> Inside:
        bits = int.from_bytes(slots, "little")
        return frozenset(set_id for set_id, slot in self._slots.items() if bits >> slot & 1)

    def _make_special(self, record: Record, n_lost: int) -> Event | None:
        """An event of a loss; records of other kinds do not come here."""
        self.n_dropped += n_lost
        return self._listener.overflow(n_lost)

    def _tell_losses(self, fields: FpEvent) -> None:
        """Tell what a record that is no event says about losses before it."""
        if fields.n_dropped > self.n_dropped:
            n_lost, self.n_dropped = fields.n_dropped - self.n_dropped, fields.n_dropped
            self._listener.put([self._listener.overflow(n_lost)])


def executable(tgid: int) -> str | None:
    """Return the path of a process's executable, as far as it can be had."""
    with contextlib.suppress(OSError):
        return os.fsdecode(os.readlink(f"/proc/{tgid}/exe"))
    return None
