"""
From a group's records to its events.

Events are made many at once, in C. What does not happen to a file (a root or a filesystem is gone) and, where it
matters, a directory's rename stand between them: what comes before is done with first.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from fanotify_fastpath._bpf._abi import LAYOUTS, FpFlag, FpKey, FpKind, FpLink
from fanotify_fastpath._bpf.decoding import Decoder, Remembered
from fanotify_fastpath._bpf.ring import Batch, Record
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common.candidate import Candidate, Inside
from fanotify_fastpath._engines.common.lookup import PathLookup
from fanotify_fastpath._engines.kernel.links import Applied
from fanotify_fastpath._engines.kernel.views import Views
from fanotify_fastpath.chain import Attachment, Chain
from fanotify_fastpath.events import Crossing, Event, Process
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root
from fanotify_fastpath.verdict import VerdictKind

_DELETE: Final = int(Mask.DELETE)
_OVERFLOW: Final = int(Mask.Q_OVERFLOW)
_RENAME: Final = int(Mask.RENAME)
_LAYOUT: Final = LAYOUTS.structs["fp_event"]
_INSIDE: Final = _LAYOUT.fields["inside"]
_OLD_INSIDE: Final = _LAYOUT.fields["old_inside"]
_HALF: Final = 1 << 31
#: of a group's chains, those that records may still tell of
_CHAINS_MAX: Final = 8


class Listener(Protocol):
    """What is asked of the engine."""

    def put(self, events: list[Event]) -> None: ...
    def overflow(self, n_events: int) -> Event: ...
    def crossing(self, dev: int, before: Inside, after: Inside) -> Crossing | None: ...
    def directories_moved(self) -> None: ...
    def root_gone(self, key: FpKey, path: bytes | None) -> None: ...
    def filesystem_gone(self, dev: int) -> None: ...
    def roots(self) -> list[Root]: ...


class Reading:
    """
    Makes events of one group's records.

    :param listener: the engine
    :param engine: what events give as their engine
    :param with_tid: events tell the thread
    :ivar n_dropped: records without room in the ring, as far as that was told
    """

    def __init__(self, listener: Listener, views: Views, counters: Counters, engine: str, *, with_tid: bool) -> None:
        self.n_dropped = 0
        self._listener = listener
        self._views = views
        self._counters = counters
        self._chain: Chain | None = None
        self._applied = Applied()
        self._chains: dict[int, tuple[Attachment, ...]] = {0: ()}
        self._slots: dict[int, int] = {}
        self._epochs: dict[int, int] = {}
        self._insides: dict[bytes, Inside] = Remembered(self._find_inside)
        self._before: Batch | None = None
        self._decoder: Decoder[Event] = Decoder(
            Event,
            engine,
            find_mask=Mask,
            find_place=lambda dev, mount_id, directory: views.place(dev, directory),
            find_process=_find_process,
            find_dev=views.dev,
            find_crossing=lambda dev, old, new: listener.crossing(dev, self._insides[old], self._insides[new]),
            make_special=self._make_special,
            undecided_flags=FpFlag.UNDECIDED | FpFlag.HANDLER_FAILED,
            with_tid=with_tid,
        )

    def use(self, chain: Chain | None, applied: Applied, slots: dict[int, int]) -> None:
        """
        Marks, handlers or root sets have changed.

        :param applied: handlers that are asked in the kernel
        :param slots: where the programs keep each root set, by its number
        """
        self._chain = chain
        self._applied = applied
        self._chains[applied.number] = applied.attachments
        while len(self._chains) > _CHAINS_MAX:
            del self._chains[next(iter(self._chains))]
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
        kinds, devs, epochs = (batch.column(name) for name in ("kind", "dev", "epoch"))
        if kinds.count(FpKind.EVENT) == len(kinds) and not self._is_moved(devs, epochs):
            self._give(batch)
        else:
            self._handle_parts(batch)
        self._before = batch

    def _is_moved(self, devs: Sequence[int], epochs: Sequence[int]) -> bool:
        return self._views.may_move and not self._epochs.items() >= set(zip(devs, epochs, strict=True))

    def _handle_parts(self, batch: Batch) -> None:
        first = 0
        for n, (kind, dev, epoch) in enumerate(zip(*map(batch.column, ("kind", "dev", "epoch")), strict=True)):
            if kind == FpKind.EVENT and not self._is_new_epoch(dev, epoch):
                continue
            self._give(batch.part(first, n))
            first = n
            if kind == FpKind.EVENT:
                self._listener.directories_moved()
            else:
                first += 1
                self._handle_end(batch, n)
        self._give(batch.part(first, len(batch)))

    def _is_new_epoch(self, dev: int, epoch: int) -> bool:
        """Tell whether directories were renamed since; records of several processors may come out of order."""
        known = self._epochs.setdefault(dev, epoch)
        is_new = 0 < (epoch - known & 0xFFFFFFFF) < _HALF
        if is_new:
            self._epochs[dev] = epoch
        return is_new

    def _give(self, batch: Batch) -> None:
        """Hand on the events of a batch that has nothing else."""
        if not len(batch):
            return
        batch.n_dropped_before = self.n_dropped
        events = self._decoder.decode(batch)
        for attachment in self._applied.filters:
            attachment.tally.n_seen += len(batch)
        if not self._is_all_passed(batch):
            events = self._judged(batch, events)
        self._listener.put(events)

    def _is_all_passed(self, batch: Batch) -> bool:
        """Tell whether all handlers that there are have let all these events pass."""
        attachments = self._chain.attachments if self._chain is not None else ()
        if not attachments:
            return True
        number, n = self._applied.number, len(self._applied.attachments)
        if n < len(attachments) or batch.column("chain").count(number) != len(batch):
            return False
        return batch.column("n_passed").count(n) == len(batch)

    def _unasked(self, number: int, n_passed: int) -> tuple[Attachment, ...]:
        """
        The handlers that are still to be asked about an event.

        :param number: of the chain that the programs went by
        :param n_passed: how many of its handlers they have asked
        """
        assert self._chain is not None
        if n_passed == FpLink.PASSED_ALL:
            return ()
        asked = self._chains.get(number, ())[:n_passed]
        return tuple(attachment for attachment in self._chain.attachments if attachment not in asked)

    def _judged(self, batch: Batch, events: list[Event]) -> list[Event]:
        """Leave out what a handler skips. Each record has one event; those that tell of losses have no record."""
        assert self._chain is not None
        masks, flags, chains, n_passed = (batch.column(name) for name in ("mask", "flags", "chain", "n_passed"))
        roots, kept, n = self._listener.roots, [], 0
        for event in events:
            if int(event.mask) & _OVERFLOW:
                kept.append(event)
                continue
            path, mask, at = event.raw_path, masks[n], n * _LAYOUT.size
            unasked, is_decided = self._unasked(chains[n], n_passed[n]), not flags[n] & FpFlag.UNDECIDED
            n += 1
            if not unasked:
                kept.append(event)
                continue
            candidate = Candidate(
                mask,
                path.rpartition(b"/")[2] if path else None,
                event.tgid,
                event.time_ns,
                _RecordLookup(event, batch, n - 1, roots),
                self._inside_at(batch, at + _INSIDE.offset) if is_decided else None,
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

    def _handle_end(self, batch: Batch, n: int) -> None:
        """Something is gone."""
        record = batch[n]
        fields = record.fields
        if fields.n_dropped > self.n_dropped:
            n_lost, self.n_dropped = fields.n_dropped - self.n_dropped, fields.n_dropped
            self._listener.put([self._listener.overflow(n_lost)])
        if fields.kind == FpKind.ROOT_GONE:
            key = FpKey(fields.inode, fields.dev, fields.generation)
            self._listener.root_gone(key, self._deleted_path(key, batch, n))
        elif fields.kind == FpKind.UNMOUNT:
            self._listener.filesystem_gone(fields.dev)

    def _deleted_path(self, key: FpKey, batch: Batch, end: int) -> bytes | None:
        """The path of what was deleted last before record *end*, if that is the object of this key."""
        for records, n in ((batch, end), (self._before, len(self._before or ()))):
            if records is None:
                continue
            masks = records.column("mask")
            for i in range(n - 1, -1, -1):
                if masks[i] & _DELETE:
                    record = records[i]
                    fields = record.fields
                    if FpKey(fields.inode, fields.dev, fields.generation) == key:
                        return self._views.path(fields.dev, record.path)
        return None


class _RecordLookup(PathLookup):
    """What the record tells was so when it happened; the rest is looked up."""

    __slots__ = ("_batch", "_n")

    def __init__(self, event: Event, batch: Batch, n: int, roots: Callable[[], Iterable[Root]]) -> None:
        super().__init__(event, roots)
        self._batch = batch
        self._n = n

    def gid(self) -> int:
        return self._batch.column("gid")[self._n]

    def cgroup_id(self) -> int | None:
        return self._batch.column("cgroup_id")[self._n] or None

    def mode(self) -> int | None:
        return self._batch.column("mode")[self._n] or None


def _find_process(tgid: int, uid: int, comm: bytes) -> Process:
    exe = None
    with contextlib.suppress(OSError):
        exe = os.fsdecode(os.readlink(f"/proc/{tgid}/exe"))
    return Process(uid, os.fsdecode(comm), exe)
