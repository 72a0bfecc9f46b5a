"""
The engine of users without privilege: one group that the daemon serves.

The daemon watches, decides what lies where and what this user may see, and fills the ring. Handlers are asked here, for
they choose among what the user was given anyway. When the daemon goes away, that is told in the stream; when it is
back, all is said to it anew, and each root is to be read anew.
"""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from fanotify_fastpath._engines.base import KernelCounters
from fanotify_fastpath._engines.common.candidate import Inside
from fanotify_fastpath._engines.common.ring_engine import RingEngine
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.daemon.connection import Connection, ConnectionLost, Wishes
from fanotify_fastpath._engines.daemon.joining import Joining, lies_inside
from fanotify_fastpath._engines.daemon.mirror import Mirror, Refusal
from fanotify_fastpath._engines.daemon.objects import opened
from fanotify_fastpath._engines.daemon.reading import Reading
from fanotify_fastpath._engines.daemon.resuming import Resuming
from fanotify_fastpath._uapi.mountinfo import Mount
from fanotify_fastpath._wire.addresses import CONNECT_TIMEOUT_S, socket_path
from fanotify_fastpath._wire.told import Told
from fanotify_fastpath.errors import (
    Closed,
    FastpathError,
    KernelRefused,
    LimitReached,
    PathNotFound,
    UnsupportedFeature,
)
from fanotify_fastpath.events import Crossing
from fanotify_fastpath.marks import Mark, Scope, subtree_roots
from fanotify_fastpath.mask import Mask as Types
from fanotify_fastpath.roots import Root, RootSet

#: how long what needs the daemon waits for it
_PATIENCE_S: Final = 10.0
#: a connection that is made anew waits no longer for its turn, for the group may be closed meanwhile
_RECONNECT_S: Final = 0.5
_OVERFLOW: Final = Types.Q_OVERFLOW


class DaemonEngine(RingEngine):
    """
    One group that the daemon serves (:class:`~fanotify_fastpath._engines.base.Engine`).

    :param include_self: deliver this process's own events too
    :param follow_submounts: what is mounted inside a subtree belongs to it
    :param max_queued: events kept for a slow user before they are counted as lost
    :param with_tid: events carry the thread
    :param merge: an event that says the same as one that waits unread may be left out
    :raises UnsupportedFeature: no daemon is there, or it cannot
    :raises NotPermitted: this user may not use it
    :raises LimitReached: this user uses as much of it as is allowed
    :raises KernelRefused: it went away at once
    """

    name = "daemon"

    def __init__(
        self, *, include_self: bool, follow_submounts: bool, max_queued: int, with_tid: bool = False, merge: bool = True
    ) -> None:
        self._wishes = Wishes(include_self, follow_submounts, with_tid, merge)
        connection = _first_connection(self._wishes)
        try:
            super().__init__(max_queued)
            self._errand = self._resuming = Resuming(self._resume)
        except BaseException:
            connection.close()
            if hasattr(self, "_epoll"):
                self._epoll.close()
                self._store.close()
            raise
        self._marks: list[Mark] = []
        self._mirror = Mirror()
        self.superblocks: dict[bytes, Superblock] = {}
        self._joining = Joining(self, follow=follow_submounts)
        self._handler_sets: list[int] = []
        self._reading = Reading(self, self.counters, self.name, with_tid=with_tid)
        self._is_draining = self._has_more = self._is_closing = False
        # set while nobody need wait for the daemon: it is there, or it is of no use any more
        self._is_settled = threading.Event()
        self._is_settled.set()
        self._connection: Connection | None = None
        self._coming: Connection | None = None
        self._use(connection)

    # --- marks and handlers ---

    def add_mark(self, mark: Mark) -> None:
        """Begin to deliver events for *mark*."""
        if mark.scope not in (Scope.SUBTREE, Scope.INODE):
            raise UnsupportedFeature(
                f"the daemon watches subtrees and single directories or files; scope {mark.scope.value} takes "
                "CAP_SYS_ADMIN, and engine='fanotify' or 'kernel'"
            )
        self._while_there(lambda: self._add_mark(mark))

    def _add_mark(self, mark: Mark) -> None:
        self.catch_up()
        if self._connection is None:
            raise ConnectionLost
        self._marks.append(mark)
        if mark.scope is Scope.SUBTREE:
            mark.roots.on_change(self.refresh, self.catch_up)
        try:
            self._update()
        except BaseException:
            self._forget(mark)
            self.refresh()
            raise
        self._join(mark, list(mark.roots.roots))
        self._arm()

    def remove_mark(self, mark: Mark) -> None:
        """Stop delivering events for *mark*."""
        with self._turns.urgent():
            self._check_open()
            if mark in self._marks:
                self.catch_up()
                self._forget(mark)
                self.refresh()

    def _forget(self, mark: Mark) -> None:
        self._marks.remove(mark)
        mark.roots.off_change(self.refresh)

    def add_root(self, mark: Mark, root: Root) -> None:
        """Add one more root to a mark of scope subtree, from when this returns."""
        self._while_there(lambda: mark.roots.include(root))
        with self._turns.urgent():
            self._join(mark, [root])

    def _while_there(self, work: Callable[[], None]) -> None:
        """Do what the daemon has to agree to; if it is away, wait for it."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._is_settled.wait(max(0.0, deadline - time.monotonic())):
            with self._turns.urgent():
                self._check_open()
                if self._failure is not None:
                    raise self._failure
                if self._connection is None:
                    continue
                try:
                    return work()
                except ConnectionLost:
                    self._drain()
        raise KernelRefused(
            f"the daemon at {socket_path()} went away, and was not back within {_PATIENCE_S:.0f} s; root starts it"
        )

    def catch_up(self) -> None:
        """Something is about to change: decide about what has happened so far as things are now."""
        with self._turns.urgent():
            if self._is_closed or self._is_draining:
                return
            if self._connection is not None:
                n_dropped = 0
                try:
                    n_dropped = self._connection.sync().get("n_dropped", 0)
                except ConnectionLost:
                    pass  # told behind what came before
                self._drain()
                self._tell_losses(n_dropped)
            self._signal()

    def _tell_losses(self, n_dropped: int) -> None:
        """Tell of records without room after the last one that is in the ring; else the daemon does that."""
        if self._connection is not None and self._connection.is_bpf and n_dropped > self._reading.n_dropped:
            self.put([self.overflow(n_dropped - self._reading.n_dropped)])
            self._reading.n_dropped = n_dropped

    def refresh(self) -> None:
        """Marks, handlers or root sets have changed: the daemon is to know; if it is away, when it is back."""
        with self._turns.urgent():
            if self._is_closed:
                return
            try:
                self._update()
            except ConnectionLost:
                self._drain()

    def _update(self) -> None:
        """
        Tell the daemon what has changed.

        :raises FastpathError: it refuses
        :raises ConnectionLost: it went away
        """
        asked = self._asked()
        self._handler_sets = [roots.set_id for roots in asked]
        try:
            if self._connection is not None:
                self._mirror.update(self._connection.ask, self._marks, asked)
        finally:
            self._reading.use_sets(self._chain, self._mirror.sets)

    def _asked(self) -> list[RootSet]:
        """The root sets that handlers ask about."""
        attachments = self._chain.attachments if self._chain is not None else ()
        return [roots for attachment in attachments for roots in attachment.handler.root_sets()]

    def kernel_counters(self) -> KernelCounters | None:
        """Nothing: that is the daemon's."""
        return None

    # --- records ---

    def _drain(self) -> None:
        connection = self._connection
        if self._is_draining or connection is None:
            return
        self._is_draining = True
        try:
            connection.look()
            self._reading.forget_processes()
            self._has_more = connection.drain(self._reading.handle)
        finally:
            self._is_draining = False
        if connection.is_over:
            self._lose(connection)

    def told(self, told: Told, path: bytes | None) -> None:
        """The daemon says something about the stream, or that a root is gone."""
        if told.root:
            self._mirror.root_gone(told.root)
        if told.mask & _OVERFLOW and told.n_lost != 0:
            self.put([self.overflow(told.n_lost)])
        if told.mask & ~_OVERFLOW:
            self.tell(told.mask & ~_OVERFLOW, path)

    def root_gone(self, number: int) -> None:
        """A root was deleted, as the programs in the kernel tell."""
        path = self.path_of(number)
        for each in self._mirror.same_object(number):
            self._mirror.root_gone(each, knows=False)
        if path is not None:
            self.tell(Types.ROOT_GONE, path)

    def filesystem_gone(self, dev: int) -> None:
        """A filesystem is being unmounted for good, as the programs in the kernel tell."""
        gone = self._mirror.on_filesystem(dev)
        for number in gone:
            self._mirror.root_gone(number, knows=False)
        for path in dict.fromkeys(gone.values()):
            self.tell(Types.UNMOUNT, path)

    def path_of(self, number: int) -> bytes | None:
        """What a root or a marked object was called, when the daemon was told of it."""
        return self._mirror.path_of(number)

    def crossing(self, dev: int, before: Inside, after: Inside) -> Crossing | None:
        """The border that a rename crosses."""
        was, is_now = self._is_watched(before), self._is_watched(after)
        return None if was == is_now else "in" if is_now else "out"

    def _is_watched(self, inside: Inside) -> bool:
        is_marked = any(mark.roots.set_id in inside for mark in self._marks if mark.scope is Scope.SUBTREE)
        return is_marked and all(set_id in inside for set_id in self._handler_sets)

    def roots(self) -> list[Root]:
        """The roots of the group's subtrees."""
        return subtree_roots(self._marks)

    def has_backlog(self) -> bool:
        """Tell whether something was left in the ring, of which no descriptor tells."""
        return self._has_more

    def group_fds(self) -> list[int]:
        """Descriptors that are readable when the daemon has something, or has gone."""
        with self._lock:
            return [] if self._connection is None else self._connection.fds()

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved: the daemon looks after it, unless programs fill the ring."""
        with self._turns.urgent():
            if not self._is_closed and self._connection is not None and self._connection.is_bpf:
                self._drain()
                # the daemon may have taken the marks away before the programs heard of it
                for dev in self._mirror.gone_filesystems():
                    self.filesystem_gone(dev)
                with self._telling_refusals():
                    self._joining.refresh(self._marks)
        self._signal()

    def _join(self, mark: Mark, roots: list[Root]) -> None:
        """What is mounted inside these roots belongs to them."""
        if self._connection is not None and self._connection.is_bpf and mark.scope is Scope.SUBTREE:
            with self._telling_refusals():
                for root in roots:
                    self._joining.join(mark, root)
            self._signal()  # it may have told something

    @contextlib.contextmanager
    def _telling_refusals(self) -> Iterator[None]:
        try:
            yield
        except FastpathError as exc:
            path = getattr(exc, "path", None)
            self.tell(Types.UNWATCHED, None if path is None else os.fsencode(path))
        except ConnectionLost:
            self._drain()

    def watch_filesystem(self, root: Root, mask: int) -> None:
        """What is mounted inside joins a subtree if this user may read it."""
        with opened(root, for_reading=True):
            pass

    def lose_filesystem(self, superblock: Superblock) -> None:
        """That is told in the ring."""

    def move_filesystem(self, superblock: Superblock, mount: Mount) -> None:
        """Paths are those that were given."""

    def is_inside(self, mark: Mark, path: bytes) -> bool:
        """Tell whether the directory at *path* is in the subtree of *mark*."""
        return lies_inside(mark, path)

    def anchor(self, root: Root) -> None:
        """A root stands where it stands now: paths are those that were given."""

    # --- the daemon goes and comes ---

    def _use(self, connection: Connection) -> None:
        self._connection = connection
        self._reading.begin_ring(is_bpf=connection.is_bpf)
        for fd in connection.fds():
            self._epoll.register(fd, select.EPOLLIN)

    def _lose(self, connection: Connection) -> None:
        """The daemon has gone: something may be missing from here on."""
        self._connection = None
        self._has_more = False
        for fd in connection.fds():
            self._epoll.unregister(fd)
        connection.close()
        self._mirror.forget()
        if not self._is_closing:
            self._is_settled.clear()
            self.put([self.overflow(None)])
            self._resuming.begin()
            self._arm()

    def _resume(self) -> bool:
        """Try to have the daemon serve this group again; tells whether no other attempt is needed."""
        try:
            self._coming = connection = Connection(_RECONNECT_S)
        except OSError:
            return self._is_closing
        try:
            # close() says that it closes before it looks for what is coming
            if not self._is_closing:
                connection.open(self._wishes)
            self._renew(connection)
        except (ConnectionLost, LimitReached, KernelRefused):
            connection.close()
            return self._is_closing
        except FastpathError as exc:
            connection.close()
            self.fail(exc)
        finally:
            self._coming = None
        return True

    def _renew(self, connection: Connection) -> None:
        """The daemon is back, and knows nothing."""
        with self._turns.urgent():
            if self._is_closing:
                connection.close()
                return
            self._use(connection)
            try:
                refusals = self._mirror.renew(connection.ask, self._marks, self._asked())
            except ConnectionLost:
                self._drain()
                return
            except FastpathError as exc:  # handlers would not be told what they ask
                self.fail(exc)
                return
            self._reading.use_sets(self._chain, self._mirror.sets)
            for refusal in refusals:
                self._tell_refusal(refusal)
            for root in [*self.roots(), *(mark.root for mark in self._marks if mark.scope is Scope.INODE)]:
                self.tell(Types.RESCAN, root.path)
            self._is_settled.set()
            self._signal()

    def _tell_refusal(self, refusal: Refusal) -> None:
        is_gone = isinstance(refusal.error, PathNotFound)
        if refusal.is_blind:
            self.tell(Types.ROOT_GONE if is_gone else Types.UNWATCHED, refusal.root.path)
        if is_gone and refusal.roots is not None:
            refusal.roots.discard(refusal.root.key)

    def fail(self, error: Exception) -> None:
        """The housekeeper has failed, or the daemon does not want us back: the next read says so."""
        super().fail(error)
        self._is_settled.set()

    # --- life ---

    def _check_open(self) -> None:
        if self._is_closing:
            raise Closed("the group is closed")

    def close(self) -> None:
        """Undo everything; a :meth:`read` that waits in another thread ends, and whoever waits for the daemon."""
        if os.getpid() == self._pid:
            self._is_closing = True
            for connection in (self._connection, self._coming):
                if connection is not None:
                    connection.interrupt()
        super().close()

    def _close_parts(self) -> None:
        self._is_settled.set()
        if self._connection is not None:
            self._lose(self._connection)
        self._resuming.close()

    def _close_after_fork(self) -> None:
        """In a child that inherited the group: let go of the descriptors, touch neither locks nor what is shared."""
        if not self._is_closed:
            super()._close_after_fork()
            if self._connection is not None:
                self._connection.close()
            if self._housekeeper is not None:
                self._housekeeper.let_go()
            self._resuming.close()
            self._epoll.close()
            self._store.close()


def _first_connection(wishes: Wishes) -> Connection:
    connection = Connection(CONNECT_TIMEOUT_S)
    try:
        connection.open(wishes)
    except ConnectionLost:
        connection.close()
        raise KernelRefused(f"the daemon at {socket_path()} has ended the connection; its log says why") from None
    except BaseException:
        connection.close()
        raise
    return connection
