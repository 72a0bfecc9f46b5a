"""What one group wants of the dispatcher, and bringing the dispatcher's tables to it."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from fanotify_fastpath._bpf._abi import FpKey
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.kernel.dispatcher import Dispatcher
from fanotify_fastpath.errors import FastpathError
from fanotify_fastpath.mask import EVENT_FLAGS
from fanotify_fastpath.roots import FSID_BYTES, Root, RootSet


@dataclass(slots=True)
class Installed:
    """
    A root set, as the programs have it.

    :ivar mask: event types and flags that its owner wants; 0: it only says where an object lies
    :ivar changed: identities of those that came, went or changed since
    :ivar points: by identity: the programs' key, and whether it is a root (else an exception)
    """

    roots: RootSet
    slot: int
    changed: set[bytes]
    mask: int = 0
    points: dict[bytes, tuple[FpKey, bool]] = field(default_factory=dict)
    devs: set[int] = field(default_factory=set)
    _n_roots: Counter[int] = field(default_factory=Counter)

    def note(self, identity: bytes, key: FpKey, is_included: bool) -> None:
        """A point is installed."""
        self.points[identity] = (key, is_included)
        self._n_roots[key.dev] += is_included

    def forget(self, identity: bytes) -> None:
        """A point is no longer."""
        key, was_included = self.points.pop(identity)
        self._n_roots[key.dev] -= was_included
        if not self._n_roots[key.dev]:
            del self._n_roots[key.dev]

    def root_devs(self) -> set[int]:
        """Devices of the filesystems on which it has a root."""
        return set(self._n_roots)


class Plan:
    """
    The root sets of one group.

    :param superblock_of: finds a filesystem by its id
    :param superblock_at: finds it by the programs' number of its device
    :param on_root: told of each root that was installed, with its path inside the filesystem
    :param on_slot: told of the slot that a root set gets, before anything is in it
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        group: int,
        superblock_of: Callable[[bytes], Superblock | None],
        superblock_at: Callable[[int], Superblock | None],
        on_root: Callable[[Root, FpKey, bytes], None],
        on_slot: Callable[[RootSet, int], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._group = group
        self._superblock_of = superblock_of
        self._superblock_at = superblock_at
        self._on_root = on_root
        self._on_slot = on_slot
        self.sets: dict[int, Installed] = {}

    def update(self, wanted: dict[RootSet, int]) -> None:
        """Have the programs know these root sets, and what is wanted in each."""
        gone = self.sets.keys() - {roots.set_id for roots in wanted}
        for set_id in gone:
            installed = self.sets.pop(set_id)
            installed.roots.untrack(installed.changed)
            for dev in installed.devs if installed.mask else ():
                self.ask_no_more(installed.slot, dev)
            self._dispatcher.release_slot(installed.slot)
        for roots, mask in wanted.items():
            installed_or_none = self.sets.get(roots.set_id)
            if installed_or_none is None:
                slot = self._dispatcher.claim_slot(self._group)
                self._on_slot(roots, slot)
                installed_or_none = self.sets[roots.set_id] = Installed(roots, slot, roots.track())
            self._update_points(installed_or_none)
            self._update_mask(installed_or_none, mask)

    def _update_points(self, installed: Installed) -> None:
        """Do what has changed since; what cannot be done now is tried again the next time."""
        for key in list(installed.changed):
            installed.changed.discard(key)  # first: it may change again meanwhile
            wanted, has = installed.roots.points.get(key), installed.points.get(key)
            if has is not None and wanted is None:
                self._dispatcher.unset_root(installed.slot, has[0])
                installed.forget(key)
            elif has is not None and wanted is not None and wanted[1] != has[1]:
                self._dispatcher.set_root(installed.slot, has[0], is_included=wanted[1], is_file=not wanted[0].is_dir)
                installed.forget(key)
                installed.note(key, has[0], wanted[1])
            elif has is None and wanted is not None and not self._install(installed, *wanted):
                installed.changed.add(key)

    def _install(self, installed: Installed, root: Root, is_included: bool) -> bool:
        """Make a root or an exception known. Returns whether it could be done."""
        superblock = self._superblock_of(root.key[:FSID_BYTES])
        if superblock is None:  # nothing is wanted there
            return False
        with contextlib.suppress(OSError, FastpathError):
            fd = superblock.open_handle(root.key)
            try:
                found = self._dispatcher.inspect(fd)
            finally:
                os.close(fd)
                superblock.release()
            if not self._dispatcher.knows(found.key.dev):
                with superblock.whole() as top:
                    self._dispatcher.know(found.key.dev, top)
            is_file = not root.is_dir
            self._dispatcher.set_root(installed.slot, found.key, is_included=is_included, is_file=is_file)
            installed.note(root.key, found.key, is_included)
            if is_included:
                self._on_root(root, found.key, found.path)
            return True
        return False

    def _update_mask(self, installed: Installed, mask: int) -> None:
        devs = installed.root_devs()
        if mask == installed.mask and devs == installed.devs:
            return
        types = mask & ~int(EVENT_FLAGS)
        for dev in installed.devs - devs if types else devs | installed.devs:
            self.ask_no_more(installed.slot, dev)
        for dev in devs if types else ():
            superblock = self._superblock_at(dev)
            if superblock is not None:
                with superblock.whole() as fd:
                    self._dispatcher.ask(installed.slot, dev, types, fd)
        self._dispatcher.set_slot_mask(installed.slot, mask)
        installed.mask, installed.devs = mask, devs

    def ask_no_more(self, slot: int, dev: int) -> None:
        """A slot wants nothing of a filesystem: the kernel need not tell of it, where it can be reached still."""
        superblock = self._superblock_at(dev)
        try:
            if superblock is not None:
                with superblock.whole() as fd:
                    self._dispatcher.ask(slot, dev, 0, fd)
                return
        except OSError:  # something is mounted over it, or it is gone
            pass
        self._dispatcher.ask(slot, dev, 0, None)
