"""What one group wants of the dispatcher, and bringing the dispatcher's tables to it."""

import contextlib
import os
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
    :ivar points: by identity: the programs' key, and whether it is a root (else an exception)
    """

    roots: RootSet
    slot: int
    mask: int = 0
    points: dict[bytes, tuple[FpKey, bool]] = field(default_factory=dict)
    devs: set[int] = field(default_factory=set)


class Plan:
    """
    The root sets of one group.

    :param superblock_of: finds a filesystem by its id
    :param superblock_at: finds it by the programs' number of its device
    :param on_root: told of each root that was installed, with its path inside the filesystem
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        group: int,
        superblock_of: Callable[[bytes], Superblock | None],
        superblock_at: Callable[[int], Superblock | None],
        on_root: Callable[[Root, FpKey, bytes], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._group = group
        self._superblock_of = superblock_of
        self._superblock_at = superblock_at
        self._on_root = on_root
        self.sets: dict[int, Installed] = {}

    def update(self, wanted: dict[RootSet, int]) -> None:
        """Have the programs know these root sets, and what is wanted in each."""
        gone = self.sets.keys() - {roots.set_id for roots in wanted}
        for set_id in gone:
            self._dispatcher.release_slot(self.sets.pop(set_id).slot)
        for roots, mask in wanted.items():
            installed = self.sets.get(roots.set_id)
            if installed is None:
                slot = self._dispatcher.claim_slot(self._group)
                installed = self.sets[roots.set_id] = Installed(roots, slot)
            self._update_points(installed)
            self._update_mask(installed, mask)

    def _update_points(self, installed: Installed) -> None:
        points = installed.roots.points
        for key in installed.points.keys() - points.keys():
            kernel_key, _ = installed.points.pop(key)
            self._dispatcher.set_root(installed.slot, kernel_key, None, is_file=False)
        for key in points.keys() - installed.points.keys():
            self._install(installed, *points[key])
        for key, (kernel_key, was_included) in installed.points.items():
            if points[key][1] != was_included:
                self._dispatcher.set_root(installed.slot, kernel_key, points[key][1], is_file=not points[key][0].is_dir)
                installed.points[key] = (kernel_key, points[key][1])

    def _install(self, installed: Installed, root: Root, is_included: bool) -> None:
        superblock = self._superblock_of(root.key[:FSID_BYTES])
        if superblock is None:  # nothing is wanted there
            return
        with contextlib.suppress(OSError, FastpathError):
            fd = superblock.open_handle(root.key)
            try:
                found = self._dispatcher.inspect(fd)
            finally:
                os.close(fd)
            with superblock.whole() as top:
                self._dispatcher.know(found.key.dev, top)
            self._dispatcher.set_root(installed.slot, found.key, is_included, is_file=not root.is_dir)
            installed.points[root.key] = (found.key, is_included)
            if is_included:
                self._on_root(root, found.key, found.path)

    def _update_mask(self, installed: Installed, mask: int) -> None:
        devs = {key.dev for key, is_included in installed.points.values() if is_included}
        if mask == installed.mask and devs == installed.devs:
            return
        types = mask & ~int(EVENT_FLAGS)
        for superblock_dev in devs | installed.devs:
            superblock = self._superblock_at(superblock_dev)
            if superblock is not None:
                with superblock.whole() as fd:
                    self._dispatcher.ask(installed.slot, superblock_dev, types if superblock_dev in devs else 0, fd)
            else:
                self._dispatcher.ask(installed.slot, superblock_dev, 0, None)
        self._dispatcher.set_slot_mask(installed.slot, mask)
        installed.mask, installed.devs = mask, devs
