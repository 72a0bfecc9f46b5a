"""
From a group's records to its events, as the programs in the kernel write them.

What does not happen to a file (a root or a filesystem is gone) and, where it matters, a directory's rename stand
between the events. Handlers that the programs have asked are not asked again.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from fanotify_fastpath._bpf._abi import FpKey, FpKind, FpLink
from fanotify_fastpath._bpf.ring import Batch
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common import reading
from fanotify_fastpath._engines.common.lookup import Lookup, PathLookup
from fanotify_fastpath._engines.common.reading import executable
from fanotify_fastpath._engines.kernel.links import Applied
from fanotify_fastpath._engines.kernel.views import Views
from fanotify_fastpath.chain import Attachment, Chain
from fanotify_fastpath.events import Event, Process
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root

_DELETE: Final = int(Mask.DELETE)
_HALF: Final = 1 << 31
#: of a group's chains, those that records may still tell of
_CHAINS_MAX: Final = 8


class Listener(reading.Listener, Protocol):
    """What is asked of the engine."""

    def directories_moved(self) -> None: ...
    def root_gone(self, key: FpKey, path: bytes | None) -> None: ...
    def filesystem_gone(self, dev: int) -> None: ...


class Reading(reading.Reading):
    """
    Makes events of one group's records.

    :param listener: the engine
    :param views: where the user sees the filesystems
    :param engine: what events give as their engine
    :param with_tid: events tell the thread
    """

    _listener: Listener

    def __init__(self, listener: Listener, views: Views, counters: Counters, engine: str, *, with_tid: bool) -> None:
        super().__init__(
            listener,
            counters,
            engine,
            find_place=lambda dev, mount_id, directory: views.place(dev, directory),
            find_dev=views.dev,
            find_process=_find_process,
            with_tid=with_tid,
        )
        self._views = views
        self._applied = Applied()
        self._chains: dict[int, tuple[Attachment, ...]] = {0: ()}
        self._epochs: dict[int, int] = {}
        self._before: Batch | None = None

    def use(self, chain: Chain | None, applied: Applied, slots: dict[int, int]) -> None:
        """
        Marks, handlers or root sets have changed.

        :param applied: handlers that are asked in the kernel
        :param slots: where the programs keep each root set, by its number
        """
        self._applied = applied
        self._chains[applied.number] = applied.attachments
        while len(self._chains) > _CHAINS_MAX:
            del self._chains[next(iter(self._chains))]
        self.use_sets(chain, slots)

    def handle(self, batch: Batch) -> None:
        """Hand on what a batch tells, in order."""
        super().handle(batch)
        self._before = batch

    def _is_plain(self, batch: Batch) -> bool:
        return super()._is_plain(batch) and not self._is_moved(batch.column("dev"), batch.column("epoch"))

    def _is_moved(self, devs: Sequence[int], epochs: Sequence[int]) -> bool:
        return self._views.may_move and not self._epochs.items() >= set(zip(devs, epochs, strict=True))

    def _stops(self, batch: Batch) -> Iterator[int]:
        for n, (kind, dev, epoch) in enumerate(zip(*map(batch.column, ("kind", "dev", "epoch")), strict=True)):
            if kind != FpKind.EVENT or self._is_new_epoch(dev, epoch):
                yield n

    def _is_new_epoch(self, dev: int, epoch: int) -> bool:
        """Tell whether directories were renamed since; records of several processors may come out of order."""
        known = self._epochs.setdefault(dev, epoch)
        is_new = 0 < (epoch - known & 0xFFFFFFFF) < _HALF
        if is_new:
            self._epochs[dev] = epoch
        return is_new

    def _handle_stop(self, batch: Batch, n: int) -> bool:
        if batch.column("kind")[n] == FpKind.EVENT:
            self._listener.directories_moved()
            return False
        self._handle_end(batch, n)
        return True

    def _give(self, batch: Batch) -> None:
        for attachment in self._applied.filters:
            attachment.tally.n_seen += len(batch)
        super()._give(batch)

    def _is_all_passed(self, batch: Batch) -> bool:
        """Tell whether all handlers that there are have let all these events pass."""
        attachments = self._chain.attachments if self._chain is not None else ()
        if not attachments:
            return True
        number, n = self._applied.number, len(self._applied.attachments)
        if n < len(attachments) or batch.column("chain").count(number) != len(batch):
            return False
        return batch.column("n_passed").count(n) == len(batch)

    def _unasked(self, batch: Batch, n: int) -> tuple[Attachment, ...]:
        """The handlers that are still to be asked: those behind the ones that the programs have asked."""
        assert self._chain is not None
        number, n_passed = batch.column("chain")[n], batch.column("n_passed")[n]
        if n_passed == FpLink.PASSED_ALL:
            return ()
        asked = self._chains.get(number, ())[:n_passed]
        return tuple(attachment for attachment in self._chain.attachments if attachment not in asked)

    def _lookup(self, event: Event, batch: Batch, n: int) -> Lookup:
        return _RecordLookup(event, batch, n, self._listener.roots)

    def _handle_end(self, batch: Batch, n: int) -> None:
        """Something is gone."""
        fields = batch[n].fields
        self._tell_losses(fields)
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
    return Process(uid, os.fsdecode(comm), executable(tgid))
