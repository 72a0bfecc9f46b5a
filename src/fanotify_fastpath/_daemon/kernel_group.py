"""
One client's group on engine kernel: the client is given the BPF ring buffer itself, and reads it without the daemon.

What the client may see is decided by the programs in the kernel. The daemon makes marks, and does nothing when
something happens.
"""

import contextlib
import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Final, Literal

from fanotify_fastpath._bpf._abi import FpLimit
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._daemon.account import ConnectionAccount, Resource
from fanotify_fastpath._daemon.holdings import Holdings
from fanotify_fastpath._daemon.namespaces import shares_pids
from fanotify_fastpath._daemon.peer import Peer
from fanotify_fastpath._engines.kernel import dispatcher as dispatchers
from fanotify_fastpath._engines.kernel.viewers import View, check_views
from fanotify_fastpath._engines.kernel.viewing import Name, ViewedEngine
from fanotify_fastpath._wire.messages import Open
from fanotify_fastpath.errors import KernelRefused, LimitReached
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import Root

#: the tables of roots and slots are those of all users
_SHARED: Final = MappingProxyType({Resource.ROOTS: Resource.ALL_ROOTS, Resource.SETS: Resource.SLOTS})


class KernelRing:
    """
    The ring that a client is given.

    :ivar kind: as in ``Opened``
    :ivar size_bytes: of its data
    :ivar fd: of the map
    :ivar wake_fd: what the client waits for: the map itself, which can be polled
    """

    kind: Final = "bpf"

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.fd = self.wake_fd = fd
        self.size_bytes = size_bytes


class NoSupply:
    """In the place of :class:`~fanotify_fastpath._daemon.supply.Supply`: the programs supply the ring."""

    retry_s: Final = None

    def __init__(self, engine: ViewedEngine) -> None:
        self._engine = engine

    def turn(self, *, is_ready: bool) -> Literal[False]:
        """There is nothing to be handed on; what is ready says that the engine has failed, and raises why."""
        if is_ready:
            self._engine.read(1, 0.0)
        return False


class NamingHoldings(Holdings):
    """
    The sets and marks of one client, whose names the programs are told.

    :param engine: of the client's group
    """

    def __init__(self, engine: ViewedEngine, account: ConnectionAccount) -> None:
        super().__init__(engine, account, lambda key: engine.set_name(key, None))
        account.also = _SHARED
        self._viewed = engine

    def mark_object(self, mark_number: int, mask: int, root: Root) -> None:
        """Mark one object, which takes a slot; see :meth:`Holdings.mark_object`."""
        with self._charged(Resource.SLOTS):
            super().mark_object(mark_number, mask, root)

    def ask(self, numbers: Iterable[int]) -> None:
        """Have events tell of these sets; see :meth:`Holdings.ask`."""
        with _no_room():
            super().ask(numbers)

    def _add_mark(self, mark: Mark) -> Mark:
        with _no_room():
            return super()._add_mark(mark)

    def unmark(self, mark_number: int) -> None:
        """Remove a mark; see :meth:`Holdings.unmark`."""
        has_slot = mark_number in self.objects
        super().unmark(mark_number)
        if has_slot:
            self._account.give(Resource.SLOTS)

    def forget_name(self, key: bytes) -> None:
        """An object has one name less: tell the programs which it has still, if any."""
        self.tell_name(key)

    def tell_name(self, key: bytes, new: Name | None = None) -> None:
        """
        Tell the programs the client's name of an object: a root's number before a mark's, an old one before a new one.

        :param new: one that it will have
        """
        roots = (
            Name(number, of_mark=False)
            for each in self.sets.values()
            for number, is_included in each.points.at(key).items()
            if is_included
        )
        marks = (Name(number, of_mark=True) for number, mark in self.objects.items() if mark.root.key == key)
        found = [*roots, *marks, *([] if new is None else [new])]
        self._viewed.set_name(key, min(found, key=lambda name: name.of_mark, default=None))


@contextlib.contextmanager
def _no_room() -> Iterator[None]:
    """Others have all the groups or slots that there are: no fault of this client's."""
    try:
        yield
    except KernelRefused as exc:
        if exc.errno not in (errno.EMFILE, errno.ENOSPC):
            raise
        raise LimitReached(
            f"all users together have all that engine kernel has room for: {FpLimit.N_GROUPS} groups, or "
            f"{FpLimit.N_SLOTS} sets of roots and marks of single objects; others must close some",
            errno.EDQUOT,
        ) from None


class KeptRings:
    """Rings of which the group has ended: somebody may have them still, and then they take memory. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rings: dict[int, tuple[int, int]] = {}

    def note(self, uid: int, map_id: int, size_bytes: int) -> None:
        """The group of a ring ends."""
        with self._lock:
            self._rings[map_id] = (uid, size_bytes)

    def check(self, uid: int, size_bytes: int, max_bytes: int) -> None:
        """
        Check that a user may have one more ring.

        :raises LimitReached: too much memory is kept
        """
        with self._lock:
            self._rings = {map_id: ring for map_id, ring in self._rings.items() if ring[0] != uid or _is_alive(map_id)}
            kept_bytes = sum(ring[1] for ring in self._rings.values() if ring[0] == uid)
        if kept_bytes and kept_bytes + size_bytes > max_bytes:
            raise LimitReached(
                f"user {uid} has kept rings of {kept_bytes} bytes from groups that have ended; with one more of "
                f"{size_bytes} bytes that would be more than {max_bytes}: close their descriptors",
                errno.EDQUOT,
            )


def _is_alive(map_id: int) -> bool:
    try:
        Map.by_id(map_id).close()
    except KernelRefused:
        return False
    return True


_kept = KeptRings()


class KernelGroup(Closing):
    """
    A group as :class:`~fanotify_fastpath._daemon.group.ClientGroup` is one.

    :param engine: it is the group's from now on
    :ivar ring: what the client is given
    :ivar holdings: sets and marks
    :ivar supply: nothing
    """

    engine_name = "kernel"

    def __init__(self, engine: ViewedEngine, ring_bytes: int, account: ConnectionAccount, uid: int) -> None:
        self._engine = engine
        self._uid = uid
        self.ring = KernelRing(engine.ring_fd, ring_bytes)
        self.holdings = NamingHoldings(engine, account)
        engine.numbers = self.holdings.numbers
        self.supply = NoSupply(engine)

    def include(self, number: int, root_number: int, root: Root, path: bytes, *, included: bool) -> None:
        """Put a root or an exception into a set; see :meth:`ClientGroup.include`."""
        self._naming(
            root,
            Name(root_number, of_mark=False) if included else None,
            lambda: self.holdings.include(number, root_number, root, included=included),
        )

    def mark_object(self, mark_number: int, mask: int, root: Root, path: bytes) -> None:
        """Mark one object; see :meth:`ClientGroup.mark_object`."""
        self._naming(
            root,
            Name(mark_number, of_mark=True),
            lambda: self.holdings.mark_object(mark_number, mask, root),
        )

    def _naming(self, root: Root, name: Name | None, work: Callable[[], None]) -> None:
        self.holdings.take_gone()
        self.holdings.tell_name(root.key, name)
        try:
            work()
        finally:
            self.holdings.tell_name(root.key)

    def sets_changed(self) -> None:
        """The client's numbers of sets are looked up when they are told to the programs."""

    def fileno(self) -> int:
        """A descriptor that never becomes readable."""
        return self._engine.fileno()

    def sync(self) -> dict[str, int]:
        """
        Everything that has happened so far is in the ring, or counted, anyway.

        :return: the counters, as :meth:`counters` has them for everybody
        """
        self.holdings.take_gone()
        return self.counters(with_others=False)

    def counters(self, *, with_others: bool) -> dict[str, int]:
        """
        What became of the events, from any thread.

        :param with_others: also what tells how busy others are
        """
        counted = self._engine.kernel_counters()
        counters = {
            "n_delivered": counted.n_sent,
            "n_lost": 0,
            "n_overflows": 0,
            "n_rescans": 0,
            "n_put": counted.n_sent,
            "n_dropped": counted.n_dropped,
        }
        if with_others:
            hidden = self._engine.view_counters
            counters |= {"n_withheld": hidden.n_withheld, "n_unsure": hidden.n_unsure, "n_missed": counted.n_missed}
        return counters

    def discard(self) -> None:
        """The client has gone, or is to: its ring lives as long as somebody has it, and is counted for as long."""

    def close(self) -> None:
        """Let the kernel take all marks away; what is in the ring stays for the client."""
        _kept.note(self._uid, self._engine.ring_id, self.ring.size_bytes)
        self._engine.close()


def open_kernel_group(request: Open, peer: Peer, account: ConnectionAccount) -> KernelGroup:
    """
    Make the group that a client asks for.

    :raises UnsupportedFeature: engine kernel cannot serve this client
    :raises LimitReached: the client has too many groups, or too large rings
    """
    ring_bytes = min(request.ring_bytes, 1 << account.limits.ring_bytes.bit_length() - 1)
    user = peer.credentials
    view = View(
        user.uid,
        user.gid,
        user.groups,
        tgid=peer.tgid,
        include_self=request.include_self,
        with_tid=request.with_tid,
        tells_processes=shares_pids(peer.tgid),
    )
    _kept.check(user.uid, ring_bytes, account.limits.ring_bytes_per_user)
    with contextlib.ExitStack() as undo:
        for resource, n in ((Resource.GROUPS, 1), (Resource.RING_BYTES, ring_bytes)):
            account.take(resource, n)
            undo.callback(account.give, resource, n)
        with _no_room():
            engine = ViewedEngine(view, ring_bytes, merge=request.merge)
        undo.callback(engine.close)
        group = KernelGroup(engine, ring_bytes, account, user.uid)
        undo.pop_all()
    return group


@contextlib.contextmanager
def kernel_engine() -> Iterator[None]:
    """
    Have the programs loaded: to load them takes longer than to open a group.

    :raises FastpathError: engine kernel cannot serve here
    """
    check_views()
    dispatchers.acquire(with_views=True)
    try:
        yield
    finally:
        dispatchers.release()
