"""
A group on the kernel engine that is held for another process: that one reads the ring, and nothing is done here when
something happens.

What is done here is what changes seldom: marks, roots, mounts. Whatever the other process may not see, the programs do
not put into the ring.
"""

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from fanotify_fastpath._bpf._abi import FpKey, FpViewCounters
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._engines.kernel import dispatcher as dispatchers
from fanotify_fastpath._engines.kernel.dispatcher import Dispatcher, Inspection
from fanotify_fastpath._engines.kernel.engine import KernelEngine
from fanotify_fastpath._engines.kernel.links import Links
from fanotify_fastpath._engines.kernel.viewers import View, Viewers, check_views
from fanotify_fastpath._programs.code import Code
from fanotify_fastpath._uapi.mountinfo import read_mounts
from fanotify_fastpath.errors import PathNotFound, UnsupportedFeature, UnsupportedFilesystem
from fanotify_fastpath.events import Event
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import FSID_BYTES, Root, RootSet

#: filesystems on which rights are what mode and access control lists say, and inodes have generations
FILESYSTEMS: Final = frozenset(("btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"))


class Name(NamedTuple):
    """
    What the other process calls an object.

    :ivar number: its number
    :ivar of_mark: it is the number of a mark, not of a root
    """

    number: int
    of_mark: bool


class ViewedEngine(KernelEngine):
    """
    One group that is held for another process.

    :param view: for whom
    :param ring_bytes: of its ring
    :param merge: an event that says the same as one that waits unread is left out
    :ivar numbers: tells the other process's numbers of root sets, by ours
    :raises UnsupportedFeature: that cannot be done here
    """

    def __init__(self, view: View, ring_bytes: int, *, merge: bool) -> None:
        self._view = view
        self._ring_bytes = ring_bytes
        self.numbers: Callable[[], dict[int, int]] = dict
        self._names: dict[bytes, Name] = {}
        self._keys: dict[bytes, FpKey] = {}
        super().__init__(include_self=False, follow_submounts=False, max_queued=1, with_tid=view.with_tid, merge=merge)
        self._links = Links(self._dispatcher, self._group, self._ring_map, _no_code)

    def _acquire(self) -> Dispatcher:
        check_views()
        return dispatchers.acquire(with_views=True)

    def _open_group(self, *, include_self: bool, merge: bool, with_tid: bool) -> tuple[int, Map]:
        return self._dispatcher.open_group(
            self._ring_bytes, include_self=include_self, merge=merge, with_tid=with_tid, view=self._view
        )

    @property
    def ring_fd(self) -> int:
        """Descriptor of the ring, for the other process."""
        return self._ring_map.fd

    @property
    def ring_id(self) -> int:
        """The kernel's number of the ring."""
        return self._ring_map.map_id

    @property
    def view_counters(self) -> FpViewCounters:
        """How many events were not shown."""
        return self._viewers.counters(self._group)

    @property
    def _viewers(self) -> Viewers:
        assert self._dispatcher.viewers is not None
        return self._dispatcher.viewers

    # --- names ---

    def set_name(self, key: bytes, name: Name | None) -> None:
        """
        Have paths begin at an object that the other process has shown.

        :param key: its identity
        :param name: what it calls it; None: nothing any more
        """
        if name is not None:
            self._names[key] = name
            self._publish_name(key)
        elif self._names.pop(key, None) is not None and key in self._keys:
            self._viewers.unname(self._group, self._keys.pop(key))

    def _publish_name(self, key: bytes) -> None:
        name, kernel_key = self._names.get(key), self._keys.get(key)
        if name is not None and kernel_key is not None:
            self._viewers.name(self._group, kernel_key, name.number, of_mark=name.of_mark)

    def _root_installed(self, root: Root, key: FpKey, path: bytes) -> None:
        self._keys[root.key] = key
        self._publish_name(root.key)

    def _inspect_marked(self, mark: Mark) -> Inspection:
        # by identity: at the path there may be another object by now
        superblock = self.superblocks[mark.root.key[:FSID_BYTES]]
        try:
            fd = superblock.open_handle(mark.root.key)
        except OSError:
            path = mark.root.path
            raise PathNotFound(f"cannot watch {os.fsdecode(path)!r}: it is gone", path=path) from None
        try:
            found = self._dispatcher.inspect(fd)
        finally:
            os.close(fd)
            superblock.release()
        self._keys[mark.root.key] = found.key
        self._publish_name(mark.root.key)
        return found

    # --- sets ---

    def _slot_claimed(self, roots: RootSet, slot: int) -> None:
        self._number_slots({roots.set_id: slot})

    def refresh(self) -> None:
        """Marks, handlers or root sets have changed: the programs are to know."""
        super().refresh()
        with self._turns.urgent():
            if not self._is_closed:
                self._number_slots({})

    def _number_slots(self, more: dict[int, int]) -> None:
        slots = {set_id: installed.slot for set_id, installed in self._plan.sets.items()} | more
        numbers = self.numbers()
        self._viewers.set_slots(
            self._group, {slot: numbers[set_id] for set_id, slot in slots.items() if set_id in numbers}
        )

    def watch_filesystem(self, root: Root, mask: int) -> None:
        """See to it that the filesystem of *root* is known."""
        mount = read_mounts().get(root.mount_id)
        if mount is not None:
            what = f"cannot watch {os.fsdecode(root.path)!r}"
            if mount.fs_type not in FILESYSTEMS:
                raise UnsupportedFilesystem(
                    f"{what}: engine kernel, which serves here, cannot tell who may see what on a filesystem of type "
                    f"{mount.fs_type}, only on {', '.join(sorted(FILESYSTEMS))}",
                    path=root.path,
                )
            if "idmapped" in mount.options:
                raise UnsupportedFilesystem(
                    f"{what}: engine kernel, which serves here, cannot tell who may see what through a mount that maps "
                    "ids",
                    path=root.path,
                )
        super().watch_filesystem(root, mask)

    # --- nothing is read here, and nobody asked ---

    def put(self, events: list[Event]) -> None:
        """Nobody here waits for events."""

    def group_fds(self) -> list[int]:
        """No descriptor here tells that something has happened."""
        return []

    def _drain(self) -> None:
        """The other process does that."""


def _no_code(handler: type[Handler]) -> Code:
    """A handler here only names sets of roots; the other process asks its own ones."""
    raise UnsupportedFeature(
        f"handler {handler.name} is not asked in the kernel: its group is held for another process"
    )
