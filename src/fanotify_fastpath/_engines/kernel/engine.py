"""
The kernel engine: one group on it.

The programs have decided everything by the time that a record is in the ring buffer: what lies where, and how its path
reads. What is left is to call things as the user knows them, and to ask the handlers.
"""

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator
from typing import Final

from fanotify_fastpath._bpf._abi import FpFlag, FpKey, FpKind
from fanotify_fastpath._bpf._ring import Ring
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common.candidate import Candidate, Inside
from fanotify_fastpath._engines.common.housekeeper import Housekeeper
from fanotify_fastpath._engines.common.mounts import MountFollower
from fanotify_fastpath._engines.common.store import Store
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.kernel import dispatcher as dispatchers
from fanotify_fastpath._engines.kernel.plan import Plan
from fanotify_fastpath._engines.kernel.reading import Record, take
from fanotify_fastpath._engines.kernel.views import Views, kernel_dev
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.builtin.monitor_subtree import MonitorSubtree
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import Closed, PathNotFound
from fanotify_fastpath.events import Crossing, Event, Process
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, Root, RootSet
from fanotify_fastpath.verdict import VerdictKind

#: of each group's ring buffer
RING_BYTES: Final = 1 << 22
_ISDIR: Final = int(Mask.ONDIR)
_RENAME: Final = int(Mask.RENAME)
_DELETE: Final = int(Mask.DELETE)
#: how often the number of missed runs is looked at
_MISSED_EVERY_S: Final = 0.1
#: who has been woken so often after so short a wait lets a little time pass before the next one: then one waking serves
#: many events
_HURRIED_MAX: Final = 16
_HURRIED_NS: Final = 100_000
_PAUSE_S: Final = 0.0005
_COURTESY_S: Final = 0.0005


class KernelEngine:
    """
    One group on the kernel engine (:class:`~fanotify_fastpath._engines.base.Engine`).

    :param include_self: deliver this process's own events too
    :param follow_submounts: what is mounted inside a subtree belongs to it
    :param max_queued: events kept for a slow user before they are counted as lost
    :param with_tid: events carry the thread
    :param merge: an event that says the same as one that waits unread is left out
    :raises UnsupportedFeature: the programs cannot be loaded or attached here
    """

    name = "kernel"

    def __init__(
        self, *, include_self: bool, follow_submounts: bool, max_queued: int, with_tid: bool = False, merge: bool = True
    ) -> None:
        self.counters = Counters()
        self.superblocks: dict[bytes, Superblock] = {}
        self._dispatcher = dispatchers.acquire()
        try:
            self._group, self._ring_map = self._dispatcher.open_group(
                RING_BYTES, include_self=include_self, merge=merge, with_tid=with_tid
            )
        except BaseException:
            dispatchers.release()
            raise
        self._ring = Ring(self._ring_map.fd, RING_BYTES)
        self._with_tid = with_tid
        self._lock = threading.RLock()
        self._waiting: set[int] = set()
        self._store = Store(max_queued, self._count_lost)
        self._views = Views()
        self._devs: dict[bytes, int] = {}
        self._epochs: dict[int, int] = {}
        self._plan = Plan(
            self._dispatcher, self._group, self.superblocks.get, self._views.superblock, self._root_installed
        )
        self._marks: list[Mark] = []
        self._slots: dict[Mark, int] = {}
        self._chain: Chain | None = None
        self._follower = MountFollower(self, follow=follow_submounts)
        self._epoll = select.epoll()
        self._epoll.register(self._store.fileno(), select.EPOLLIN)
        self._epoll.register(self._ring_map.fd, select.EPOLLIN)
        self._housekeeper: Housekeeper | None = None
        self._n_dropped = 0
        self._n_missed = self._dispatcher.n_missed
        self._missed_at = time.monotonic()
        self._processes: dict[tuple[int, int, bytes], Process] = {}
        self._sets: dict[int, int] = {}
        #: what was deleted last, and its path: a root is told as gone right after it
        self._deleted: tuple[FpKey, bytes | None] = (FpKey(0, 0, 0), None)
        self._is_away = True
        self._is_closed = False
        self._n_readers = 0
        self._n_reads = 0
        self._n_hurried = 0  # times that nothing had to be waited for, one after the other
        self._pid = os.getpid()
        self._failure: Exception | None = None

    # --- marks and handlers ---

    def add_mark(self, mark: Mark) -> None:
        """Begin to deliver events for *mark*."""
        with self._locked():
            self._check_open()
            self.catch_up()
            for root in [mark.root, *mark.roots.roots]:
                self.watch_filesystem(root, int(mark.mask))
            self._marks.append(mark)
            try:
                if mark.scope is Scope.SUBTREE:
                    mark.roots.on_change(self.refresh, self.catch_up)
                else:
                    self._add_slot(mark)
                self.refresh()
            except BaseException:
                self._marks.remove(mark)
                mark.roots.off_change(self.refresh)
                raise
            for root in mark.roots.roots:
                self._follower.join(mark, root)
            self._arm()

    def _add_slot(self, mark: Mark) -> None:
        """A mark of another scope than a subtree has a slot of its own."""
        dev = self._devs[mark.root.key[:FSID_BYTES]]
        superblock = self.superblocks[mark.root.key[:FSID_BYTES]]
        slot = self._slots[mark] = self._dispatcher.claim_slot(self._group)
        fd = os.open(mark.root.path, os.O_PATH | os.O_CLOEXEC)
        try:
            found = self._dispatcher.inspect(fd)
        finally:
            os.close(fd)
        with superblock.whole() as top:
            self._dispatcher.know(dev, top)
            is_whole = mark.scope is Scope.FILESYSTEM
            self._dispatcher.ask(slot, dev, mark.types, top, is_whole=is_whole)
        self._dispatcher.set_slot_mask(slot, int(mark.mask & ~Mask.EVENT_ON_CHILD))
        if mark.scope is Scope.INODE:
            self._dispatcher.set_marked(slot, dev, found.key)
            if mark.mask & Mask.EVENT_ON_CHILD:
                self._dispatcher.set_marked(slot, dev, found.key, on_child=True)
        elif mark.scope is Scope.MOUNT:
            self._dispatcher.set_marked(slot, dev, FpKey(found.mount_id, 0, 0), is_mount=True)

    def remove_mark(self, mark: Mark) -> None:
        """Stop delivering events for *mark*."""
        with self._locked():
            self._check_open()
            if mark in self._marks:
                self.catch_up()
                self._marks.remove(mark)
                mark.roots.off_change(self.refresh)
                if mark in self._slots:
                    self._dispatcher.release_slot(self._slots.pop(mark))
                self.refresh()

    def add_root(self, mark: Mark, root: Root) -> None:
        """Add one more root to a mark of scope subtree, from when this returns."""
        with self._locked():
            self._check_open()
            self.watch_filesystem(root, int(mark.mask))
            mark.roots.include(root)
            self._follower.join(mark, root)

    def use_chain(self, chain: Chain) -> None:
        """Send every event through *chain*."""
        self._chain = chain

    def catch_up(self) -> None:
        """Something is about to change: ask the handlers as they are now about what has happened so far."""
        if not self._is_closed:
            with self._locked():
                self._drain()
                self._store.signal(is_more_coming=False)

    def refresh(self) -> None:
        """Marks, handlers or root sets have changed: the programs are to know."""
        if self._is_closed:
            return
        with self._locked():
            wanted: dict[RootSet, int] = {}
            for mark in self._marks:
                if mark.scope is Scope.SUBTREE:
                    wanted[mark.roots] = wanted.get(mark.roots, 0) | int(mark.mask)
            attachments = self._chain.attachments if self._chain is not None else ()
            for attachment in attachments:
                for roots in attachment.handler.root_sets():
                    for root in roots.roots:
                        with contextlib.suppress(OSError):
                            self.watch_filesystem(root, 0)
                    wanted.setdefault(roots, 0)
            self._plan.update(wanted)
            self._sets = {set_id: installed.slot for set_id, installed in self._plan.sets.items()}
            filters = []
            for attachment in attachments:
                handler = attachment.handler
                if type(handler) is not MonitorSubtree or handler.block:
                    break
                filters.append(self._sets[handler.roots.set_id])
            self._dispatcher.set_filters(self._group, filters)

    def watch_filesystem(self, root: Root, mask: int) -> None:
        """See to it that the filesystem of *root* is known."""
        fsid = root.key[:FSID_BYTES]
        if fsid not in self.superblocks:
            mount = read_mounts().get(root.mount_id)
            if mount is None:
                raise PathNotFound(f"the mount of {os.fsdecode(root.path)!r} is not visible here", path=root.path)
            self.superblocks[fsid] = superblock = Superblock(root, mount)
            self._devs[fsid] = kernel_dev(mount.dev)
            self._views.add(self._devs[fsid], superblock)

    def _root_installed(self, root: Root, key: FpKey, path: bytes) -> None:
        self._views.give(key.dev, path, root.path)

    # --- mounts ---

    def lose_filesystem(self, superblock: Superblock) -> None:
        """A filesystem was unmounted: its roots are gone."""
        self._drain()
        if superblock.fsid not in self.superblocks:
            return
        dev = self._devs.pop(superblock.fsid)
        self.superblocks.pop(superblock.fsid)
        self._dispatcher.lose_filesystem(dev)
        self._views.drop(dev)
        self.tell(Mask.UNMOUNT, superblock.mount.mountpoint)
        for mark in list(self._marks):
            for root in mark.roots.roots:
                if root.key[:FSID_BYTES] == superblock.fsid:
                    mark.roots.discard(root.key)
        superblock.release()

    def move_filesystem(self, superblock: Superblock, mount: Mount) -> None:
        """The mount through which a filesystem is seen was moved, or another one takes its place."""
        superblock.mount = mount
        self._views.refresh()

    def is_inside(self, mark: Mark, path: bytes) -> bool:
        """Tell whether the directory at *path* is in the subtree of *mark*."""
        slot = self._sets.get(mark.roots.set_id)
        if slot is None:
            return False
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                return bool(self._dispatcher.inspect(fd).inside >> slot & 1)
            finally:
                os.close(fd)
        return False

    def anchor(self, root: Root) -> None:
        """A root stands where it stands now: that was noted when it was installed."""

    def inject(self, event: Event) -> None:
        """Put an event that was made elsewhere into the stream."""
        with self._locked():
            self._put(event)
            if not self._is_closed:
                self._store.signal(is_more_coming=False)

    def tell(self, mask: Mask, path: bytes | None) -> None:
        """Put an event about the stream itself into it."""
        self.counters.n_rescans += 1 if mask & Mask.RESCAN else 0
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._put(Event(mask, path, is_dir=True, time_ns=now_ns, engine=self.name))

    # --- records ---

    def _drain(self) -> None:
        """Take what has happened up to now; more may come for ever."""
        self._processes.clear()
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        while records := take(self._ring):
            for record in records:
                self._handle(record)
            if records[-1].event.boot_ns > now_ns:
                break
        self._count_dropped(self._dispatcher.n_dropped(self._group))
        if time.monotonic() - self._missed_at > _MISSED_EVERY_S:
            self._missed_at = time.monotonic()
            self._count_missed()

    def _handle(self, record: Record) -> None:
        event = record.event
        self._count_dropped(event.n_dropped)
        if event.epoch != self._epochs.get(event.dev):
            self._epochs[event.dev] = event.epoch
            self._directories_moved()
        if event.kind == FpKind.EVENT:
            self._send(record)
        elif event.kind == FpKind.ROOT_GONE:
            self._root_gone(record)
        elif event.kind == FpKind.UNMOUNT:
            superblock = self._views.superblock(event.dev)
            if superblock is not None:
                self.lose_filesystem(superblock)

    def _count_dropped(self, n_dropped: int) -> None:
        if n_dropped > self._n_dropped:
            self._lose(n_dropped - self._n_dropped)
            self._n_dropped = n_dropped

    def _count_missed(self) -> None:
        n_missed = self._dispatcher.n_missed
        if n_missed > self._n_missed:
            self._lose(n_missed - self._n_missed)
            self._n_missed = n_missed

    def _lose(self, n_events: int) -> None:
        self.counters.n_overflows += 1
        self.counters.n_lost += n_events
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._put(Event(Mask.Q_OVERFLOW, None, lost=n_events, time_ns=now_ns, engine=self.name))

    def _send(self, record: Record) -> None:
        event = record.event
        inside = int.from_bytes(event.inside, "little")
        old_inside = int.from_bytes(event.old_inside, "little")
        is_undecided = bool(event.flags & FpFlag.UNDECIDED)
        is_rename = bool(event.mask & _RENAME)
        superblock = self._views.superblock(event.dev)
        process = self._process(event.tgid, event.uid, event.comm)
        path = self._path(event.dev, record.path, event.flags)
        dev = None if superblock is None else superblock.dev
        if self._chain is not None and self._chain.attachments:
            candidate = Candidate(
                event.mask,
                path.rpartition(b"/")[2] if path else None,
                event.tgid,
                lambda tgid: process,
                None if is_undecided else self._inside(inside),
                self._inside(old_inside) if is_rename else None,
                dev,
                event.inode,
            )
            verdict, _, failed = self._chain.judge(candidate)
            is_undecided = is_undecided or failed
            if verdict.kind is VerdictKind.SKIP_EVENT:
                self.counters.n_skipped += 1
                return
        if event.mask & _DELETE:
            self._deleted = (FpKey(event.inode, event.dev, event.generation), path)
        self._put(
            Event(
                Mask(event.mask & ~_ISDIR),
                path,
                self._path(event.dev, record.old_path, event.flags) if is_rename else None,
                self._crossing(old_inside, inside) if is_rename else None,
                bool(event.mask & _ISDIR),
                event.tgid,
                event.tid if self._with_tid else None,
                process,
                dev,
                event.inode,
                event.boot_ns,
                is_undecided,
                0,
                self.name,
            )
        )

    def _path(self, dev: int, inside: bytes, flags: int) -> bytes | None:
        """The user's path; of one that is cut at its front what there is, without a slash before it."""
        if flags & FpFlag.TRUNCATED:
            return inside[1:] or None
        if not inside and flags & FpFlag.UNDECIDED:
            return None
        return self._views.path(dev, inside)

    def _inside(self, bits: int) -> Inside:
        return frozenset(set_id for set_id, slot in self._sets.items() if bits >> slot & 1)

    def _crossing(self, before: int, after: int) -> Crossing | None:
        was, is_now = self._is_watched(before), self._is_watched(after)
        return None if was == is_now else "in" if is_now else "out"

    def _is_watched(self, bits: int) -> bool:
        inside = self._inside(bits)
        is_marked = any(mark.scope is not Scope.SUBTREE or mark.roots.set_id in inside for mark in self._marks)
        marked = {mark.roots.set_id for mark in self._marks}
        return is_marked and all(set_id in inside for set_id in self._sets if set_id not in marked)

    def _process(self, tgid: int, uid: int, comm: bytes) -> Process:
        known = self._processes.get((tgid, uid, comm))
        if known is None:
            exe = None
            with contextlib.suppress(OSError):
                exe = os.fsdecode(os.readlink(f"/proc/{tgid}/exe"))
            known = Process(uid, os.fsdecode(comm.partition(b"\0")[0]), exe)
            self._processes[tgid, uid, comm] = known
        return known

    def _root_gone(self, record: Record) -> None:
        event = record.event
        key = FpKey(event.inode, event.dev, event.generation)
        path = None
        for installed in list(self._plan.sets.values()):
            for root_key, (kernel_key, _) in list(installed.points.items()):
                if kernel_key == key:
                    root = installed.roots.points[root_key][0]
                    installed.roots.discard(root_key)
                    path = self._deleted[1] if self._deleted[0] == key else root.path
        if path is not None:
            self.tell(Mask.ROOT_GONE, path)

    def _directories_moved(self) -> None:
        """Directories were renamed: what was given by another path, or is mounted below them, may have another one."""
        if len(self.superblocks) > 1 or self._views.has_given:
            mounts = read_mounts()
            for superblock in self.superblocks.values():
                superblock.mount = mounts.get(superblock.mount.mount_id, superblock.mount)
        self._views.refresh()

    def _put(self, event: Event) -> None:
        self.counters.n_delivered += 1
        self._store.put(event)

    def _count_lost(self, n_events: int) -> None:
        self.counters.n_lost += n_events
        self.counters.n_delivered -= n_events

    # --- reading ---

    def read(self, max_events: int, timeout_s: float | None) -> list[Event]:
        """Wait for events, at most *timeout_s* (None: for ever), and return up to *max_events*, oldest first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            self._n_readers += 1
            self._n_reads += 1
            self._is_away = False
        try:
            while not self._store and not self._is_closed:
                if self._failure is not None:
                    raise self._failure
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if self._n_hurried > _HURRIED_MAX and (left is None or left > _PAUSE_S):
                    time.sleep(_PAUSE_S)
                since_ns = time.monotonic_ns()
                if self._epoll.poll(left, 1):
                    is_hurried = time.monotonic_ns() - since_ns < _HURRIED_NS
                    self._n_hurried = self._n_hurried + 1 if is_hurried else 0
                    self._pump()
                if deadline is not None and time.monotonic() >= deadline:
                    break
        except BaseException:
            self._leave()
            raise
        with self._lock:
            events = self._store.take(max_events)
            self._leave()
        return events

    def _pump(self) -> None:
        if self._waiting:  # a lock that is released and taken again at once lets nobody in
            time.sleep(_COURTESY_S)
        with self._lock:
            if not self._is_closed:
                self._drain()

    def hold(self) -> None:
        """Somebody polls :meth:`fileno` from now on: it stays open, also past :meth:`close`, until :meth:`release`."""
        with self._lock:
            self._n_readers += 1

    def release(self) -> None:
        """The opposite of :meth:`hold`."""
        with self._lock:
            self._n_readers -= 1
            if self._is_closed:
                self._close_descriptors()

    def _leave(self) -> None:
        with self._lock:
            self._n_readers -= 1
            self._is_away = True
            if self._is_closed:
                self._close_descriptors()
            else:
                self._store.signal(is_more_coming=False)
                self._arm()

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`read` would not wait."""
        return self._epoll.fileno()

    # --- for the housekeeper ---

    def _arm(self) -> None:
        if self._housekeeper is None:
            self._housekeeper = Housekeeper(self)
            self._housekeeper.start()
        self._housekeeper.arm()

    def is_user_away(self) -> bool:
        """Tell whether no thread waits for events."""
        return self._is_away

    def n_user_reads(self) -> int:
        """Tell how often somebody has read."""
        return self._n_reads

    def relieve(self) -> None:
        """Read in the place of a user who is away."""
        self._pump()
        self._signal()

    def has_backlog(self) -> bool:
        """Tell whether there are records that were read and not yet decided about."""
        return False

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved."""
        with self._locked():
            if not self._is_closed:
                self._drain()
                self._views.refresh()
                self._follower.refresh(self._marks)
        self._signal()

    def group_fds(self) -> list[int]:
        """Descriptors that are readable when the kernel has something."""
        return [self._ring_map.fd]

    def fail(self, error: Exception) -> None:
        """The housekeeper has failed: the next read says so."""
        self._failure = error
        self._store.wake()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Take the lock, also from a reader that is busy without end."""
        me = threading.get_ident()
        self._waiting.add(me)
        try:
            self._lock.acquire()
        finally:
            self._waiting.discard(me)
        try:
            yield
        finally:
            self._lock.release()

    def _signal(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._store.signal(is_more_coming=False)

    # --- life ---

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("the group is closed")

    def close(self) -> None:
        """Undo everything; a :meth:`read` that waits in another thread ends."""
        if os.getpid() != self._pid:
            self._is_closed = True
            return
        with self._locked():
            if self._is_closed:
                return
            self._is_closed = True
            self._store.wake()
        if self._housekeeper is not None:
            self._housekeeper.stop()
        with self._lock:
            self._plan.update({})
            for slot in self._slots.values():
                self._dispatcher.release_slot(slot)
            self._dispatcher.close_group(self._group)
            for superblock in self.superblocks.values():
                superblock.release()
            self._ring.close()
            self._close_descriptors()
        dispatchers.release()

    def _close_descriptors(self) -> None:
        """Close what a waiting read polls, once nobody waits."""
        if self._is_closed and not self._n_readers and not self._epoll.closed:
            self._epoll.close()
            self._store.close()
            self._ring_map.close()
