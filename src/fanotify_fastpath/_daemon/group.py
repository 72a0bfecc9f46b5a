"""One client's group: an engine that watches for it, as far as it may see, the ring that it reads, and its marks."""

import contextlib
import dataclasses
from typing import Final

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._daemon.account import ConnectionAccount, Resource
from fanotify_fastpath._daemon.holdings import Holdings
from fanotify_fastpath._daemon.namespaces import shares_pids
from fanotify_fastpath._daemon.peer import Peer
from fanotify_fastpath._daemon.seeing import Sight
from fanotify_fastpath._daemon.supply import STORE_MAX, Supply
from fanotify_fastpath._engines.base import Engine
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath._wire.memory import MemoryRing
from fanotify_fastpath._wire.messages import Open
from fanotify_fastpath.errors import UnsupportedFeature
from fanotify_fastpath.roots import Root

#: counters that say nothing of what others do
_OWN_COUNTERS: Final = ("n_delivered", "n_lost", "n_overflows", "n_rescans")


class ClientGroup(Closing):
    """
    Engine, ring, and what is between them.

    :param engine: it is the group's from now on, and so is *ring*
    :param sight: what the client sees of the engine's events
    :ivar holdings: sets and marks
    :ivar supply: fills the ring
    """

    engine_name = "fanotify"

    def __init__(self, engine: Engine, ring: MemoryRing, sight: Sight, account: ConnectionAccount) -> None:
        self.ring = ring
        self._engine = engine
        self._sight = sight
        self.holdings = Holdings(engine, account, sight.unname)
        self.supply = Supply(engine, ring, self.holdings)

    def include(self, number: int, root_number: int, root: Root, path: bytes, *, included: bool) -> None:
        """
        Put a root or an exception into a set; see :meth:`Holdings.include`.

        :param path: what the client calls it
        """
        root = self._sight.name(root, path) if included else dataclasses.replace(root, path=path)
        try:
            self.holdings.include(number, root_number, root, included=included)
        except BaseException:
            self.holdings.forget_name(root.key)
            raise

    def mark_object(self, mark_number: int, mask: int, root: Root, path: bytes) -> None:
        """
        Mark one object; see :meth:`Holdings.mark_object`.

        :param path: what the client calls it
        """
        root = self._sight.name(root, path)
        try:
            self.holdings.mark_object(mark_number, mask, root)
        except BaseException:
            self.holdings.forget_name(root.key)
            raise

    def sets_changed(self) -> None:
        """Sets have come or gone."""
        self.supply.records.forget_sets()

    def fileno(self) -> int:
        """A descriptor that is readable when the engine has events."""
        return self._engine.fileno()

    def sync(self) -> dict[str, int]:
        """
        Have everything that has happened so far in the ring, or counted.

        :return: the counters, as :meth:`counters` has them for everybody
        """
        self.supply.catch_up()
        return self.counters(with_others=False)

    def counters(self, *, with_others: bool) -> dict[str, int]:
        """
        What became of the events, from any thread.

        :param with_others: also what tells how busy others are
        """
        counted = {name: max(0, n) for name, n in dataclasses.asdict(self._engine.counters).items()}
        if with_others:
            counted["n_withheld"] = self._sight.n_withheld
        else:
            counted = {name: counted[name] for name in _OWN_COUNTERS}
        return counted | {"n_put": self.supply.n_put, "n_dropped": self.supply.n_dropped}

    def discard(self) -> None:
        """The client has gone, or is to: what is in the ring is nobody's. One that kept it could have any number."""
        self.ring.discard()

    def close(self) -> None:
        """Let the kernel take all marks away; what is in the ring stays for the client, unless it was discarded."""
        try:
            self._engine.close()
        finally:
            self.ring.close()


def open_group(request: Open, peer: Peer, account: ConnectionAccount) -> ClientGroup:
    """
    Make the group that a client asks for.

    :raises UnsupportedFeature: nothing here can do that
    :raises LimitReached: the client has too many groups, or too large rings
    """
    if not request.merge:
        raise UnsupportedFeature("merge=False: engine fanotify, which serves here, merges equal events as it likes")
    ring_bytes = min(request.ring_bytes, 1 << account.limits.ring_bytes.bit_length() - 1)
    with contextlib.ExitStack() as undo:
        for resource, n in ((Resource.GROUPS, 1), (Resource.RING_BYTES, ring_bytes)):
            account.take(resource, n)
            undo.callback(account.give, resource, n)
        ring = MemoryRing(ring_bytes)
        undo.callback(ring.close)
        sight = Sight(peer.credentials, peer.tgid, tells_processes=shares_pids(peer.tgid))
        engine = FanotifyEngine(
            include_self=request.include_self,
            follow_submounts=request.follow_submounts,
            max_queued=STORE_MAX,
            with_tid=request.with_tid,
            viewer=sight,
        )
        group = ClientGroup(engine, ring, sight, account)
        undo.pop_all()
    return group
