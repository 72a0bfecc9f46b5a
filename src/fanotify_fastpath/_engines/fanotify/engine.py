"""
The fanotify engine: all of it together.

Two threads may read: the user's, while it waits for events; and the housekeeper, while the user's is away handling
them. So an event goes straight to a user who waits, and a user who is slow neither loses events nor keeps the kernel
from being told what to drop. The housekeeper also watches the mounts.
"""

import contextlib
import os
import select
import time
from typing import Final

from fanotify_fastpath._engines.base import Counters, KernelCounters
from fanotify_fastpath._engines.common.housekeeper import Housekeeper
from fanotify_fastpath._engines.common.mounts import MountFollower
from fanotify_fastpath._engines.common.processes import Processes
from fanotify_fastpath._engines.common.store import Store
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.common.turns import Turns
from fanotify_fastpath._engines.common.viewer import Viewer
from fanotify_fastpath._engines.fanotify.discovery import Discovery
from fanotify_fastpath._engines.fanotify.doers import Doers
from fanotify_fastpath._engines.fanotify.interest import Interest
from fanotify_fastpath._engines.fanotify.judge import Judge
from fanotify_fastpath._engines.fanotify.kernel_group import KernelGroup
from fanotify_fastpath._engines.fanotify.lookup import Sources
from fanotify_fastpath._engines.fanotify.objects import Objects
from fanotify_fastpath._engines.fanotify.sender import Sender
from fanotify_fastpath._engines.fanotify.sequence import MAX_RECORDS, Sequence
from fanotify_fastpath._engines.fanotify.tree import Directory, Tree
from fanotify_fastpath._uapi.constants import MarkFlag
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import Closed, FastpathError, PathNotFound
from fanotify_fastpath.events import Event
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, Root, identify

#: one turn of deciding takes no longer, unless reading did; the clock is looked at after so many records
_DRAIN_MAX_NS: Final = 20_000_000
_RECORDS_PER_LOOK: Final = 64
_CLOCK: Final = time.CLOCK_BOOTTIME
#: a group with a viewer is one of many in a daemon: processes that it keeps open, records that it has read and not
#: decided about, directories that it knows
VIEWED_PROCESSES_MAX: Final = 64
_VIEWED_RECORDS_MAX: Final = 1 << 16
_VIEWED_DIRECTORIES_MAX: Final = 1 << 16
#: what is known of one that has ended never holds by its id: descriptors tell (``doers``)
_NEVER_S: Final = -1.0


class FanotifyEngine:
    """
    One group on the fanotify engine (:class:`~fanotify_fastpath._engines.base.Engine`).

    :param include_self: deliver this process's own events too
    :param follow_submounts: what is mounted inside a subtree belongs to it
    :param max_queued: events kept for a slow user before they are counted as lost
    :param with_tid: events carry the thread, and the process as far as it can be found
    :param viewer: decides what is delivered, and how
    """

    name = "fanotify"

    def __init__(
        self,
        *,
        include_self: bool,
        follow_submounts: bool,
        max_queued: int,
        with_tid: bool = False,
        viewer: Viewer | None = None,
    ) -> None:
        self.counters = Counters()
        self.superblocks: dict[bytes, Superblock] = {}
        self._turns = Turns()
        self._lock = self._turns.lock
        self._store = Store(max_queued, self._count_lost)
        self._viewer = viewer
        # descriptors of processes cost something, and a viewer's rights may depend on them; threads have none
        self._has_doers = viewer is not None and not with_tid
        self._interest = Interest(is_viewed=viewer is not None)
        self._tree = Tree() if viewer is None else Tree(_VIEWED_DIRECTORIES_MAX)
        processes = Processes() if viewer is None else Processes(VIEWED_PROCESSES_MAX, _NEVER_S)
        sources = Sources(processes, self.superblocks, self._tree, self._interest)
        self._sender = Sender(sources, self.counters, self._store, include_self, with_tid, viewer)
        self._group: KernelGroup | None = None
        self._objects: Objects | None = None
        self._kernel_masks: dict[bytes, int] = {}
        self._follower = MountFollower(self, follow=follow_submounts)
        self._epoll = select.epoll()
        self._epoll.register(self._store.fileno(), select.EPOLLIN)
        self._housekeeper: Housekeeper | None = None
        self._is_away = True
        self._is_closed = False
        self._n_readers = 0
        self._n_reads = 0
        self._pid = os.getpid()
        self._failure: Exception | None = None
        if viewer is not None:
            viewer.attach(self._tree, self._interest, self.superblocks, self._find)

    # --- marks and handlers ---

    def add_mark(self, mark: Mark) -> None:
        """Begin to deliver events for *mark*."""
        with self._turns.urgent():
            self._check_open()
            if mark.scope in (Scope.INODE, Scope.MOUNT):
                self._add_object(mark)
            else:
                self._add_tree(mark)
            self._arm()
            self._signal()  # it may have told something

    def _add_object(self, mark: Mark) -> None:
        if self._objects is None:
            group = self._new_group()
            self._objects = Objects(group, self.superblocks.get, self._sender, self._covered, self._doers(group))
        self._superblock(mark.root)
        self._objects.add(mark)

    def _add_tree(self, mark: Mark) -> None:
        if self._group is None:
            self._make_judge()
        self.catch_up()
        for root in [mark.root, *mark.roots.roots]:
            self.watch_filesystem(root, int(mark.mask))
        self._interest.marks.append(mark)
        mark.roots.on_change(self.refresh, self.catch_up)
        self.refresh()
        for root in mark.roots.roots:
            self._settle_root(mark, root)

    def _settle_root(self, mark: Mark, root: Root) -> None:
        """Find out where a new root stands, and what is mounted inside it."""
        self.anchor(root)
        self._follower.join(mark, root)

    def _make_judge(self) -> None:
        self._group = self._new_group()
        max_records = MAX_RECORDS if self._viewer is None else _VIEWED_RECORDS_MAX
        self._sequence = Sequence(
            self._group.read_all,
            self._group.add_cookie(),
            self._group.n_queued,
            max_records,
            self._doers(self._group),
        )
        self._discovery = Discovery(self._tree, self._sequence, self.superblocks.get)
        self._judge = Judge(self._group, self._sequence, self._tree, self._discovery, self._interest, self._sender)
        self._sequence.held.directory_at = self._tree.directory_at
        self._judge.on_root_gone = self._root_gone

    def _find(self, key: bytes) -> Directory | None:
        """Find the directory of that identity, for the viewer."""
        return None if self._group is None else self._discovery.directory(key)

    def _new_group(self) -> KernelGroup:
        group = KernelGroup(
            with_tid=self._sender.with_tid,
            with_pidfd=self._has_doers,
            is_bounded=self._viewer is not None,
        )
        self._epoll.register(group.fd, select.EPOLLIN)
        return group

    def _doers(self, group: KernelGroup) -> Doers | None:
        return Doers(group.read, group.n_queued, self._sender.processes) if self._has_doers else None

    def remove_mark(self, mark: Mark) -> None:
        """Stop delivering events for *mark*."""
        with self._turns.urgent():
            self._check_open()
            if mark in self._interest.marks:
                self.catch_up()
                self._interest.marks.remove(mark)
                mark.roots.off_change(self.refresh)
                self.refresh()
            elif self._objects is not None and mark in self._objects.marks:
                self._objects.remove(mark)

    def add_root(self, mark: Mark, root: Root) -> None:
        """Add one more root to a mark of scope subtree, from when this returns."""
        with self._turns.urgent():
            self._check_open()
            self.watch_filesystem(root, int(mark.mask))
            mark.roots.include(root)
            self._settle_root(mark, root)
            self._signal()

    def use_chain(self, chain: Chain) -> None:
        """Send every event through *chain*."""
        self._interest.chain = self._sender.chain = chain

    def catch_up(self) -> None:
        """Something is about to change: decide about what has happened so far as things are now."""
        if self._is_closed or self._group is None:
            return
        with self._turns.urgent():
            self._begin_batch()
            self._sequence.catch_up()
            end = self._sequence.n_given + self._sequence.n_pending
            while self._sequence.n_given < end or self._sequence.is_overdue:
                raw = self._sequence.next()
                if raw is None:
                    break
                self._judge.judge(raw)
            self._judge.settle_doubts(self._sequence.take_doubtful())
            self._release()
            self._store.signal(is_more_coming=self.has_backlog())

    def _begin_batch(self) -> None:
        self._sender.now_ns = time.clock_gettime_ns(_CLOCK)
        self._sender.processes.begin()

    def refresh(self) -> None:
        """Marks, handlers or root sets have changed: nothing decided before holds."""
        if self._is_closed:
            return
        with self._turns.urgent():
            self._interest.rebuild()
            self._tree.use_sets(self._interest.sets)
            for fsid in list(self._kernel_masks):
                superblock = self.superblocks.get(fsid)
                if superblock is not None:
                    self._set_kernel_mask(superblock, self._interest.kernel_mask(fsid))
            if self._group is not None:
                self._group.forget()

    def watch_filesystem(self, root: Root, mask: int) -> None:
        """See to it that the kernel reports at least *mask* for the filesystem of *root*."""
        superblock = self._superblock(root)
        wanted = self._kernel_masks.get(superblock.fsid, 0) | mask | self._interest.structure
        self._set_kernel_mask(superblock, wanted)

    def _superblock(self, root: Root) -> Superblock:
        fsid = root.key[:FSID_BYTES]
        superblock = self.superblocks.get(fsid)
        if superblock is None:
            mount = read_mounts().get(root.mount_id)
            if mount is None:
                raise PathNotFound(f"the mount of {os.fsdecode(root.path)!r} is not visible here", path=root.path)
            superblock = self.superblocks[fsid] = Superblock(root, mount)
            self._tree.add_top(superblock.top_key, mount.mountpoint)
        return superblock

    def _set_kernel_mask(self, superblock: Superblock, mask: int) -> None:
        """Ask the kernel for what is wanted of a filesystem, no more and no less."""
        assert self._group is not None
        old = self._kernel_masks.get(superblock.fsid, 0)
        path = superblock.mount.mountpoint
        try:
            if mask & ~old:
                with superblock.whole() as fd:
                    self._group.mark(MarkFlag.FILESYSTEM, mask & ~old, path, fd)
            if old & ~mask:  # unmounted, or mounted over? its mark went with it, or does no harm
                with contextlib.suppress(OSError), superblock.whole() as fd:
                    self._group.unmark(MarkFlag.FILESYSTEM, old & ~mask, path, fd)
        except FastpathError:
            if not old:
                del self.superblocks[superblock.fsid]
            raise
        self._kernel_masks[superblock.fsid] = mask
        if self._viewer is not None and mask & ~old & Mask.ATTRIB:  # until now no change of rights was told
            self._viewer.rights_changed(None)

    def _covered(self, dir_key: bytes, is_dir: bool) -> int:
        """Return the event types that the filesystem marks deliver of a directory."""
        node = self._tree.get(dir_key)
        if node is None or not self._interest.marks:
            return 0
        return self._interest.wanted(self._tree.settle(node).inside, dir_key[:FSID_BYTES])[1 if is_dir else 0]

    # --- mounts ---

    def lose_filesystem(self, superblock: Superblock) -> None:
        """A filesystem was unmounted: its roots are gone."""
        self.catch_up()  # of what happened there nothing can be placed afterwards, and one turn may not be enough
        self._drain()
        self._kernel_masks.pop(superblock.fsid, None)
        self.superblocks.pop(superblock.fsid, None)
        self._tree.drop_top(superblock.top_key)
        self.tell(Mask.UNMOUNT, superblock.mount.mountpoint, superblock.top_key)
        for mark in list(self._interest.marks):
            for root in mark.roots.roots:
                if root.key[:FSID_BYTES] == superblock.fsid:
                    mark.roots.discard(root.key)
        superblock.release()

    def move_filesystem(self, superblock: Superblock, mount: Mount) -> None:
        """The mount through which a filesystem is seen was moved, or another one takes its place."""
        old, superblock.mount = superblock.mount.mountpoint, mount
        if old == mount.mountpoint:
            return
        self._tree.add_top(superblock.top_key, mount.mountpoint)

    def is_inside(self, mark: Mark, path: bytes) -> bool:
        """Tell whether the directory at *path* is in the subtree of *mark*."""
        with contextlib.suppress(OSError):
            node = self._discovery.directory(identify(path).key)
            return node is not None and mark.roots.set_id in self._tree.settle(node).inside
        return False

    def inject(self, event: Event) -> None:
        """Put an event that was made elsewhere into the stream."""
        with self._turns.urgent():
            self.counters.n_delivered += 1
            self._store.put(event)
            if not self._is_closed:
                self._store.signal(is_more_coming=self.has_backlog())

    def kernel_counters(self) -> KernelCounters | None:
        """Nothing: the kernel does not count what it drops by ignore marks."""
        return None

    def anchor(self, root: Root) -> None:
        """A root stands where it stands now: its path is the one that its owner gave, until it moves."""
        node = self._discovery.directory(root.key) if root.is_dir else None
        if node is not None:
            self._tree.anchor(node)
        if self._viewer is not None:
            self._viewer.stands(root)
            self._release()

    def tell(self, mask: Mask, path: bytes | None, key: bytes | None = None) -> None:
        """
        Put an event about the stream itself into it.

        :param key: identity of what is at *path*, if that is not the path of a root with what is mounted below
        """
        self.counters.n_rescans += 1 if mask & Mask.RESCAN else 0
        self._sender.emit(Event(mask, path, is_dir=True), 0, key)

    def _root_gone(self, key: bytes, path: bytes | None) -> None:
        is_root = False
        for roots in list(self._interest.sets):
            if roots.points.get(key, (None, False))[1]:
                is_root = True
            roots.discard(key)
        if is_root:
            self.tell(Mask.ROOT_GONE, path, key)

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
                self._sender.processes.settle()  # while there is nothing better to do
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._turns.pause(left)
                since_ns = time.clock_gettime_ns(_CLOCK)
                if self.has_backlog() or self._epoll.poll(left, 1):  # with room for one: it is asked whether, not which
                    self._pump()
                    self._turns.note_wait(self._sender.now_ns - since_ns)
                if deadline is not None and time.monotonic() >= deadline:
                    break
        except BaseException:
            with self._lock:
                self._leave()
            raise
        with self._lock:
            events = self._store.take(max_events)
            self._leave()
        return events

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
        self._n_readers -= 1
        self._is_away = True
        if self._is_closed:
            self._close_descriptors()
        else:
            self._store.signal(is_more_coming=self.has_backlog())
            self._arm()

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`read` would not wait."""
        return self._epoll.fileno()

    def _pump(self) -> None:
        """Take what the kernel has and decide about it."""
        self._turns.let_others_in()
        with self._lock:
            if self._is_closed:
                return
            self._drain()
            self._store.quiet()

    def _drain(self) -> None:
        self._begin_batch()
        if self._group is not None:
            is_behind = self._sequence.n_pending > 0
            self._sequence.fill()
            # Reading what happened since the last turn may take longer than a turn, where the machine is slow or others
            # keep it busy. Then as long again is for deciding: else more and more would be read, and less and less
            # decided.
            self._drain_sequence(time.clock_gettime_ns(_CLOCK) - self._sender.now_ns if is_behind else 0)
            self._tree.bury()
        if self._objects is not None:
            self._objects.drain(self._interest.sets)
        self._release()

    def _release(self) -> None:
        """Let go of the mounts: what was looked at while deciding keeps nothing from being unmounted."""
        for superblock in self.superblocks.values():
            superblock.release()

    def _drain_sequence(self, at_least_ns: int) -> None:
        """Decide about what was read; when that takes long, leave the rest for the next time, and let others in."""
        n = 0
        end_ns = 0
        while True:
            raw = self._sequence.next()
            if raw is not None:
                n += 1
                self._judge.judge(raw)
                if n % _RECORDS_PER_LOOK:
                    continue
            doubtful = self._sequence.take_doubtful()
            if doubtful:
                self._judge.settle_doubts(doubtful)  # this may read more
            if raw is None:
                if not doubtful:
                    return
                continue
            now_ns = time.clock_gettime_ns(_CLOCK)
            if not end_ns:
                end_ns = now_ns + max(_DRAIN_MAX_NS, at_least_ns)
            elif now_ns > end_ns:
                return

    def has_backlog(self) -> bool:
        """Tell whether there are records that were read and not yet decided about."""
        return self._group is not None and (self._sequence.n_pending > 0 or self._sequence.is_overdue)

    # --- for the housekeeper ---

    def _arm(self) -> None:
        """The user goes away: have the housekeeper look whether it stays away."""
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

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved."""
        with self._lock:
            if not self._is_closed:
                self._sender.now_ns = time.clock_gettime_ns(_CLOCK)
                if self._viewer is not None:
                    self._viewer.mounts_changed()
                self._follower.refresh(self._interest.marks)
                self._release()
        self._signal()

    def group_fds(self) -> list[int]:
        """Descriptors that are readable when the kernel has something."""
        return [group.fd for group in self._groups()]

    def fail(self, error: Exception) -> None:
        """The housekeeper has failed: the next read says so."""
        self._failure = error
        self._store.wake()

    def _signal(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._store.signal(is_more_coming=self.has_backlog())

    def _groups(self) -> list[KernelGroup]:
        groups = [self._group, self._objects.group if self._objects is not None else None]
        return [group for group in groups if group is not None]

    def _count_lost(self, n_events: int) -> None:
        self.counters.n_lost += n_events
        self.counters.n_delivered -= n_events

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("the group is closed")

    def close(self) -> None:
        """Undo everything; a :meth:`read` that waits in another thread ends."""
        if os.getpid() != self._pid:
            self._close_after_fork()
            return
        with self._turns.urgent():
            if self._is_closed:
                return
            self._is_closed = True
            self._store.wake()
        if self._housekeeper is not None:
            self._housekeeper.stop()
        with self._lock:
            for group in self._groups():
                group.close()
            for superblock in self.superblocks.values():
                superblock.release()
            self._sender.processes.close()
            self._close_descriptors()

    def _close_after_fork(self) -> None:
        """In a child that inherited the group: let go of the descriptors, touch neither locks nor what is shared."""
        if not self._is_closed:
            self._is_closed = True
            for group in self._groups():
                group.close()
            if self._housekeeper is not None:
                self._housekeeper.let_go()
            self._epoll.close()
            self._store.close()

    def _close_descriptors(self) -> None:
        """Close what a waiting read polls, once nobody waits."""
        if self._is_closed and not self._n_readers and not self._epoll.closed:
            self._epoll.close()
            self._store.close()
