"""
The kernel engine: one group on it.

The programs have decided everything by the time that a record is in the ring buffer: what lies where, and how its path
reads. What is left is to call things as the user knows them, and to ask the handlers.
"""

import contextlib
import os
import select
import time
from typing import Final

from fanotify_fastpath._bpf._abi import FpKey
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._bpf.ring import RingReader
from fanotify_fastpath._engines.base import KernelCounters
from fanotify_fastpath._engines.common.candidate import Inside
from fanotify_fastpath._engines.common.devices import kernel_dev
from fanotify_fastpath._engines.common.mounts import MountFollower
from fanotify_fastpath._engines.common.ring_engine import RingEngine
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.kernel import dispatcher as dispatchers
from fanotify_fastpath._engines.kernel.dispatcher import Dispatcher, Inspection
from fanotify_fastpath._engines.kernel.forbidder import Forbidder
from fanotify_fastpath._engines.kernel.links import Links
from fanotify_fastpath._engines.kernel.plan import Plan
from fanotify_fastpath._engines.kernel.reading import Reading
from fanotify_fastpath._engines.kernel.views import Views
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.compiling import code_of
from fanotify_fastpath.errors import PathNotFound
from fanotify_fastpath.events import Crossing
from fanotify_fastpath.marks import Mark, Scope, subtree_roots
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, Root, RootSet

#: of each group's ring buffer
RING_BYTES: Final = 1 << 22
#: records taken at once
_TAKE_MAX: Final = 4096
#: how often the number of missed runs is looked at
_MISSED_EVERY_S: Final = 0.1


class KernelEngine(RingEngine):
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
        self._dispatcher = self._acquire()
        try:
            self._group, self._ring_map = self._open_group(include_self=include_self, merge=merge, with_tid=with_tid)
        except BaseException:
            dispatchers.release()
            raise
        super().__init__(max_queued)
        self.superblocks: dict[bytes, Superblock] = {}
        self._ring = RingReader.of_map(self._ring_map)
        self._views = Views()
        self._devs: dict[bytes, int] = {}
        self._reading = Reading(self, self._views, self.counters, self.name, with_tid=with_tid)
        self._is_draining = False
        known = (self.superblocks.get, self._views.superblock)
        about = (self._dispatcher, self._group, *known, self._root_installed, self._slot_claimed)
        self._plan = Plan(*about)
        self.forbidder = Forbidder(self._dispatcher, Plan(*about), self.watch_filesystem, self._turns.urgent, self._arm)
        self._links = Links(self._dispatcher, self._group, self._ring_map, code_of)
        self._marks: list[Mark] = []
        self._slots: dict[Mark, int] = {}
        self._follower = MountFollower(self, follow=follow_submounts)
        for fd in self.group_fds():
            self._epoll.register(fd, select.EPOLLIN)
        self._n_missed = self._dispatcher.n_missed
        self._missed_at = time.monotonic()
        self._sets: dict[int, int] = {}
        self._handler_sets: list[int] = []
        self._last_counters: KernelCounters | None = None

    def _acquire(self) -> Dispatcher:
        return dispatchers.acquire()

    def _open_group(self, *, include_self: bool, merge: bool, with_tid: bool) -> tuple[int, Map]:
        return self._dispatcher.open_group(RING_BYTES, include_self=include_self, merge=merge, with_tid=with_tid)

    # --- marks and handlers ---

    def add_mark(self, mark: Mark) -> None:
        """Begin to deliver events for *mark*."""
        with self._turns.urgent():
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
            self._signal()  # it may have told something
            self._arm()

    def _add_slot(self, mark: Mark) -> None:
        """A mark of another scope than a subtree has a slot of its own."""
        dev = self._devs[mark.root.key[:FSID_BYTES]]
        superblock = self.superblocks[mark.root.key[:FSID_BYTES]]
        slot = self._slots[mark] = self._dispatcher.claim_slot(self._group)
        found = self._inspect_marked(mark)
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

    def _inspect_marked(self, mark: Mark) -> Inspection:
        """Find out what the kernel calls a marked object."""
        fd = os.open(mark.root.path, os.O_PATH | os.O_CLOEXEC)
        try:
            return self._dispatcher.inspect(fd)
        finally:
            os.close(fd)

    def _release_slot(self, mark: Mark) -> None:
        slot, dev = self._slots.pop(mark), self._devs.get(mark.root.key[:FSID_BYTES])
        if dev is not None:
            self._plan.ask_no_more(slot, dev)
        self._dispatcher.release_slot(slot)

    def remove_mark(self, mark: Mark) -> None:
        """Stop delivering events for *mark*."""
        with self._turns.urgent():
            self._check_open()
            if mark in self._marks:
                self.catch_up()
                self._marks.remove(mark)
                mark.roots.off_change(self.refresh)
                if mark in self._slots:
                    self._release_slot(mark)
                self.refresh()

    def add_root(self, mark: Mark, root: Root) -> None:
        """Add one more root to a mark of scope subtree, from when this returns."""
        with self._turns.urgent():
            self._check_open()
            self.watch_filesystem(root, int(mark.mask))
            mark.roots.include(root)
            self._follower.join(mark, root)
            self._signal()

    def catch_up(self) -> None:
        """Something is about to change: ask the handlers as they are now about what has happened so far."""
        if not self._is_closed:
            with self._turns.urgent():
                self._drain()
                self._store.signal(is_more_coming=False)

    def refresh(self) -> None:
        """Marks, handlers or root sets have changed: the programs are to know."""
        if self._is_closed:
            return
        with self._turns.urgent():
            wanted: dict[RootSet, int] = {}
            for mark in self._marks:
                if mark.scope is Scope.SUBTREE:
                    wanted[mark.roots] = wanted.get(mark.roots, 0) | int(mark.mask)
            attachments = self._chain.attachments if self._chain is not None else ()
            for attachment in attachments:
                for roots in attachment.handler.root_sets():
                    if not roots.filesystems() <= self.superblocks.keys():
                        for root in roots.roots:
                            with contextlib.suppress(OSError):
                                self.watch_filesystem(root, 0)
                    wanted.setdefault(roots, 0)
            self._handler_sets = [roots.set_id for a in attachments for roots in a.handler.root_sets()]
            self._links.keep(attachments)
            self._plan.update(wanted)
            self._sets = {set_id: installed.slot for set_id, installed in self._plan.sets.items()}
            counted = sum(1 << self._sets[roots.set_id] for roots, mask in wanted.items() if mask)
            # a slot that comes holds its roots before it counts
            self._links.update(attachments, self._sets, counted)
            self._reading.use(self._chain, self._links.applied, self._sets)

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
            self._reading.forget_places()

    def _root_installed(self, root: Root, key: FpKey, path: bytes) -> None:
        self._views.give(key.dev, path, root.path)
        self._reading.forget_places()

    def _slot_claimed(self, roots: RootSet, slot: int) -> None:
        """A root set has got a slot."""

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
        self._reading.forget_places()
        self.tell(Mask.UNMOUNT, superblock.mount.mountpoint)
        for mark in list(self._marks):
            for root in mark.roots.roots:
                if root.key[:FSID_BYTES] == superblock.fsid:
                    mark.roots.discard(root.key)
        self.forbidder.lose_filesystem(superblock.fsid)
        superblock.release()

    def move_filesystem(self, superblock: Superblock, mount: Mount) -> None:
        """The mount through which a filesystem is seen was moved, or another one takes its place."""
        superblock.mount = mount
        self._refresh_views()

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

    def kernel_counters(self) -> KernelCounters:
        """What was counted in the kernel; after closing, up to then."""
        with self._turns.urgent():
            return self._last_counters or self._dispatcher.counters(self._group)

    def anchor(self, root: Root) -> None:
        """A root stands where it stands now: that was noted when it was installed."""

    # --- records ---

    def _drain(self) -> None:
        """Take what has happened up to now; more may come for ever."""
        if self._is_draining:  # something that was read changes marks or roots: what is behind it comes after that
            return
        self._is_draining = True
        try:
            self._reading.forget_processes()
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            while len(batch := self._ring.read_batch(_TAKE_MAX)):
                self._reading.handle(batch)
                if batch.column("boot_ns")[-1] > now_ns:
                    break
            self._count_losses()
        finally:
            self._is_draining = False

    def _count_losses(self) -> None:
        """Tell of losses that no record has told of yet."""
        n_dropped = self._dispatcher.n_dropped(self._group)
        if n_dropped > self._reading.n_dropped:
            self.put([self.overflow(n_dropped - self._reading.n_dropped)])
            self._reading.n_dropped = n_dropped
        if time.monotonic() - self._missed_at > _MISSED_EVERY_S:
            self._missed_at = time.monotonic()
            n_missed = self._dispatcher.n_missed
            if n_missed > self._n_missed:
                self.put([self.overflow(n_missed - self._n_missed)])
                self._n_missed = n_missed

    def crossing(self, dev: int, before: Inside, after: Inside) -> Crossing | None:
        """The border that a rename crosses."""
        was, is_now = self._is_watched(dev, before), self._is_watched(dev, after)
        return None if was == is_now else "in" if is_now else "out"

    def roots(self) -> list[Root]:
        """The roots of the group's subtrees."""
        return subtree_roots(self._marks)

    def _is_watched(self, dev: int, inside: Inside) -> bool:
        is_marked = any(
            mark.roots.set_id in inside
            if mark.scope is Scope.SUBTREE
            else mark.scope is Scope.FILESYSTEM and self._devs.get(mark.root.key[:FSID_BYTES]) == dev
            for mark in self._marks
        )
        return is_marked and all(set_id in inside for set_id in self._handler_sets)

    def root_gone(self, key: FpKey, path: bytes | None) -> None:
        """
        A root was deleted.

        :param path: where it stood in the end, if that is known
        """
        gone = None
        for installed in [*self._plan.sets.values(), *self.forbidder.sets]:
            for root_key in [known for known, (kernel_key, _) in installed.points.items() if kernel_key == key]:
                gone = path or installed.roots.points[root_key][0].path
                installed.roots.discard(root_key)
        if gone is not None:
            self.tell(Mask.ROOT_GONE, gone)

    def filesystem_gone(self, dev: int) -> None:
        """A filesystem is being unmounted for good."""
        superblock = self._views.superblock(dev)
        if superblock is not None:
            self.lose_filesystem(superblock)

    def directories_moved(self) -> None:
        """Directories were renamed: what was given by another path, or is mounted below them, may have another one."""
        mounts = read_mounts()
        for superblock in self.superblocks.values():
            superblock.mount = mounts.get(superblock.mount.mount_id, superblock.mount)
        self._refresh_views()

    def _refresh_views(self) -> None:
        self._views.refresh()
        self._reading.forget_places()

    # --- for the housekeeper ---

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved."""
        with self._turns.urgent():
            if not self._is_closed:
                self._drain()
                self._refresh_views()
                self._follower.refresh(self._marks)
        self._signal()

    def group_fds(self) -> list[int]:
        """Descriptors that are readable when the kernel has something."""
        return [self._ring_map.fd]

    def _close_parts(self) -> None:
        self._last_counters = self._dispatcher.counters(self._group)
        self.forbidder.close()
        self._links.close()
        self._plan.update({})
        for mark in list(self._slots):
            self._release_slot(mark)
        self._dispatcher.close_group(self._group)
        for superblock in self.superblocks.values():
            superblock.release()
        self._ring.close()

    def _after_close(self) -> None:
        dispatchers.release()

    def _close_descriptors(self) -> None:
        if self._is_closed and not self._n_readers and not self._epoll.closed:
            self._ring_map.close()
        super()._close_descriptors()
