"""
The programs, their tables, and what all groups of this process share of them.

A *slot* is a bit: one root set as one group uses it, or one mark of another scope. The programs find out in which slots
an object lies by one climb, whatever their number, and tell the groups that own them.
"""

import errno
import os
import struct
import threading
from dataclasses import dataclass, field
from typing import Final

from fanotify_fastpath._bpf._abi import LAYOUTS, FpFlag, FpGroupFlag, FpInspection, FpKey, FpLimit, FpSuperblockFlag
from fanotify_fastpath._bpf.maps import Map, MapType
from fanotify_fastpath._engines.kernel.objects import Attached, attach_best
from fanotify_fastpath._engines.kernel.sentinel import Sentinel
from fanotify_fastpath._engines.kernel.tables import Tables, pack_slots
from fanotify_fastpath.errors import FastpathError, KernelRefused
from fanotify_fastpath.mask import Mask

_INSPECTION = struct.Struct(LAYOUTS.structs["fp_inspection"].format)
_KEY = struct.Struct(LAYOUTS.structs["fp_key"].format)
_READ_BYTES = 1 << 16
_ON_CHILD = 1 << 31
_UNMOUNT = 0x2000
#: always looked at: renames void answers, deletions end roots
_STRUCTURE: Final = int(Mask.RENAME | Mask.DELETE | Mask.ATTRIB) | _UNMOUNT


@dataclass(frozen=True, slots=True)
class Inspection:
    """
    What the kernel calls an open file.

    :ivar key: device, inode, generation, as the programs know it
    :ivar path: below the top of its filesystem; empty for the top itself
    :ivar inside: one bit for each slot in which it lies
    :ivar is_decided: whether *inside* can be told
    """

    key: FpKey
    path: bytes
    inside: int
    is_decided: bool
    tgid: int
    mount_id: int


@dataclass(slots=True)
class _Filesystem:
    """What the slots want of one filesystem: by slot, its event types; and the slots of each kind."""

    place: int
    masks: dict[int, int] = field(default_factory=dict)
    whole: int = 0
    n_roots: dict[int, int] = field(default_factory=dict)
    n_flags: dict[int, int] = field(default_factory=dict)
    sentinel_mask: int = 0


class Dispatcher:
    """One for each process, while it has groups; see :func:`dispatcher`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._attached: Attached = attach_best()
        found = self._attached.object
        with found.map(".bss").open() as variables:
            self._tables = Tables(variables)
        self._roots = found.map("roots").open()
        self._marked = found.map("marked").open()
        self._rings = found.map("rings").open()
        self._inspect = found.program("inspect").attach_iterator(tgid=os.getpid())
        self._sentinel = Sentinel()
        self._filesystems: dict[int, _Filesystem] = {}
        self._points: dict[FpKey, tuple[int, int]] = {}
        self._free_slots = list(range(FpLimit.N_SLOTS - 1, -1, -1))
        self._free_groups = list(range(FpLimit.N_GROUPS - 1, -1, -1))
        self._owners: dict[int, int] = {}
        with open(os.devnull, "rb") as file:
            self._tables.set_own(self.inspect(file.fileno()).tgid)

    @property
    def way(self) -> str:
        """How the programs are attached."""
        return self._attached.way

    @property
    def n_missed(self) -> int:
        """Calls for which the program was not run, because it was just running on that CPU."""
        return self._attached.program.info().n_recursion_misses

    def close(self) -> None:
        """Detach everything."""
        self._sentinel.close()
        self._inspect.close()
        self._tables.close()
        for table in (self._roots, self._marked, self._rings):
            table.close()
        self._attached.close()

    # --- objects ---

    def inspect(self, fd: int) -> Inspection:
        """
        Ask what the kernel calls an open file.

        :raises KernelRefused: it could not be told
        """
        with self.lock:
            self._tables.set_inspected(fd)
            reader = self._inspect.create_iterator()
            try:
                data = b"".join(iter(lambda: os.read(reader, _READ_BYTES), b""))
            finally:
                os.close(reader)
        if len(data) < _INSPECTION.size:
            raise KernelRefused(f"the kernel tells nothing of file descriptor {fd}", errno.EBADF)
        told = FpInspection._make(_INSPECTION.unpack_from(data))
        return Inspection(
            FpKey(told.inode, told.dev, told.generation),
            data[_INSPECTION.size : _INSPECTION.size + told.path_len],
            int.from_bytes(told.inside, "little"),
            not told.flags & FpFlag.UNDECIDED,
            told.tgid,
            told.mount_id,
        )

    # --- groups ---

    def open_group(self, ring_bytes: int, *, include_self: bool, merge: bool, with_tid: bool) -> tuple[int, Map]:
        """
        Begin a group.

        :return: its number, and its ring buffer
        :raises KernelRefused: there are too many, or no memory
        """
        with self.lock:
            if not self._free_groups:
                raise KernelRefused(f"this process has {FpLimit.N_GROUPS} groups; close some", errno.EMFILE)
            ring = Map.create(MapType.RINGBUF, "fanfp_ring", max_entries=ring_bytes)
            number = self._free_groups.pop()
            flags = (
                FpGroupFlag.INCLUDE_SELF * include_self | FpGroupFlag.MERGE * merge | FpGroupFlag.WITH_TID * with_tid
            )
            self._tables.clear_group(number, flags)
            self._rings.update(_u32(number), _u32(ring.fd))
            return number, ring

    def close_group(self, number: int) -> None:
        """End a group; its slots must be gone."""
        with self.lock:
            self._rings.delete(_u32(number))
            self._free_groups.append(number)

    def set_filters(self, group: int, slots: list[int]) -> None:
        """Say in which slots an event must lie to be sent."""
        self._tables.set_filters(group, slots[: FpLimit.N_FILTERS])

    def n_dropped(self, group: int) -> int:
        """How many records have found no room in the group's ring buffer."""
        return self._tables.group_counter(group, "n_dropped")

    def n_merged(self, group: int) -> int:
        """How many events were left out because an equal one was waiting."""
        return self._tables.group_counter(group, "n_merged")

    def n_skipped(self, group: int) -> int:
        """How many events the group's filters have kept back in the kernel."""
        return self._tables.group_counter(group, "n_skipped")

    # --- slots ---

    def claim_slot(self, group: int) -> int:
        """
        Take a slot that wants nothing yet.

        :raises KernelRefused: there is none left
        """
        with self.lock:
            if not self._free_slots:
                raise KernelRefused(
                    f"the groups of this process have {FpLimit.N_SLOTS} root sets and marks already", 28
                )
            slot = self._free_slots.pop()
            self._owners[slot] = group
            self._tables.set_slot(slot, 0, group)
            return slot

    def release_slot(self, slot: int) -> None:
        """Give a slot back, with all that it wanted."""
        with self.lock:
            self._tables.set_slot(slot, 0, self._owners.pop(slot))
            for key, (included, excluded) in list(self._points.items()):
                if (included | excluded) >> slot & 1:
                    self._set_point(key, included & ~(1 << slot), excluded & ~(1 << slot))
            for dev, filesystem in list(self._filesystems.items()):
                filesystem.masks.pop(slot, None)
                filesystem.n_roots.pop(slot, None)
                filesystem.whole &= ~(1 << slot)
                self._publish(dev, None)
            self._tables.void_answers()
            self._free_slots.append(slot)

    def set_slot_mask(self, slot: int, mask: int) -> None:
        """Say which event types the owner of a slot wants."""
        self._tables.set_slot(slot, mask, self._owners[slot])

    def know(self, dev: int, dir_fd: int) -> None:
        """
        Have a table entry for a filesystem.

        :param dir_fd: a directory there
        :raises KernelRefused: there is no room for it, or it cannot be marked
        """
        with self.lock:
            if dev not in self._filesystems:
                self._add_filesystem(dev, dir_fd)

    def ask(self, slot: int, dev: int, mask: int, dir_fd: int | None, *, is_whole: bool = False) -> None:
        """
        Have the kernel tell of these event types of a filesystem that is known, for a slot.

        :param mask: 0: none
        :param dir_fd: a directory there; None: it is not reachable, and nothing more is asked of it
        :param is_whole: the slot wants all of the filesystem
        :raises KernelRefused: it cannot be marked
        """
        with self.lock:
            filesystem = self._filesystems.get(dev)
            if filesystem is None:  # unmounted
                return
            if mask:
                filesystem.masks[slot] = mask
            else:
                filesystem.masks.pop(slot, None)
            filesystem.whole = filesystem.whole & ~(1 << slot) | (is_whole << slot)
            self._publish(dev, dir_fd)

    def lose_filesystem(self, dev: int) -> None:
        """A filesystem is gone: its device may stand for another one from now on."""
        with self.lock:
            filesystem = self._filesystems.pop(dev, None)
            if filesystem is not None:
                self._tables.set_superblock(filesystem.place, dev, 0, 0, 0, 0)
                for key in [key for key in self._points if key.dev == dev]:
                    self._set_point(key, 0, 0)
                self._tables.void_answers()

    def set_root(self, slot: int, key: FpKey, is_included: bool | None, *, is_file: bool) -> None:
        """
        Make an object a root or an exception of a slot.

        :param is_included: None: neither
        """
        bit = 1 << slot
        with self.lock:
            included, excluded = self._points.get(key, (0, 0))
            had = bool((included | excluded) & bit)
            included, excluded = included & ~bit, excluded & ~bit
            if is_included is not None:
                included, excluded = (included | bit, excluded) if is_included else (included, excluded | bit)
            self._set_point(key, included, excluded)
            filesystem = self._filesystems.get(key.dev)
            if filesystem is not None:
                change = (is_included is not None) - had
                filesystem.n_roots[slot] = filesystem.n_roots.get(slot, 0) + change
                if is_file:
                    flags = filesystem.n_flags
                    flags[FpSuperblockFlag.HAS_FILE_ROOTS] = flags.get(FpSuperblockFlag.HAS_FILE_ROOTS, 0) + change
                self._publish(key.dev, None)
            self._tables.void_answers()

    def set_marked(self, slot: int, dev: int, key: FpKey, *, on_child: bool = False, is_mount: bool = False) -> None:
        """Have an object, what lies in a directory, or a mount belong to a slot."""
        bit = 1 << slot
        if on_child:
            key = key._replace(dev=key.dev | _ON_CHILD)
        with self.lock:
            found = self._marked.lookup(_KEY.pack(*key))
            bits = int.from_bytes(found or b"", "little") | bit
            self._marked.update(_KEY.pack(*key), pack_slots(bits))
            flag = FpSuperblockFlag.HAS_MOUNT_MARKS if is_mount else FpSuperblockFlag.HAS_OBJECT_MARKS
            flags = self._filesystems[dev].n_flags
            flags[flag] = flags.get(flag, 0) + 1
            self._publish(dev, None)

    def unset_marked(self, slot: int, key: FpKey, *, on_child: bool = False) -> None:
        """The opposite of :meth:`set_marked`."""
        if on_child:
            key = key._replace(dev=key.dev | _ON_CHILD)
        with self.lock:
            bits = int.from_bytes(self._marked.lookup(_KEY.pack(*key)) or b"", "little") & ~(1 << slot)
            if bits:
                self._marked.update(_KEY.pack(*key), pack_slots(bits))
            else:
                self._marked.delete(_KEY.pack(*key))

    def _set_point(self, key: FpKey, included: int, excluded: int) -> None:
        if included | excluded:
            self._points[key] = (included, excluded)
            self._roots.update(_KEY.pack(*key), pack_slots(included) + pack_slots(excluded))
        elif self._points.pop(key, None) is not None:
            self._roots.delete(_KEY.pack(*key))

    def _add_filesystem(self, dev: int, dir_fd: int) -> None:
        place = self._tables.find_place(dev)
        if place is None:
            raise KernelRefused(f"no room for one more filesystem among {FpLimit.N_SUPERBLOCKS}", errno.ENOSPC)
        self._sentinel.keep(dir_fd)
        self._filesystems[dev] = _Filesystem(place)

    def _publish(self, dev: int, dir_fd: int | None) -> None:
        """Tell the programs, and the sentinel, what is wanted of a filesystem by now."""
        filesystem = self._filesystems[dev]
        mask = 0
        for one in filesystem.masks.values():
            mask |= one
        if dir_fd is not None:
            self._sentinel.set_mask(dir_fd, filesystem.sentinel_mask, mask)
            filesystem.sentinel_mask = mask
        subtrees = sum(1 << slot for slot, n in filesystem.n_roots.items() if n > 0)
        flags = sum(flag for flag, n in filesystem.n_flags.items() if n > 0)
        wanted = mask & ~int(Mask.ONDIR | Mask.EVENT_ON_CHILD) | _STRUCTURE if mask else 0
        self._tables.set_superblock(filesystem.place, dev, wanted, flags, filesystem.whole, subtrees)


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


_lock = threading.Lock()
_shared: Dispatcher | None = None
_n_users = 0
_refused: FastpathError | None = None


def acquire() -> Dispatcher:
    """
    Take the dispatcher of this process; :func:`release` it in the end.

    :raises UnsupportedFeature: the programs cannot be loaded or attached here
    """
    global _shared, _n_users, _refused
    with _lock:
        if _shared is None:
            if _refused is not None:
                raise _refused
            try:
                _shared = Dispatcher()
            except FastpathError as exc:
                _refused = exc
                raise
        _n_users += 1
        return _shared


def release() -> None:
    """Let go of it; the last one takes the programs away."""
    global _shared, _n_users
    with _lock:
        _n_users -= 1
        if not _n_users and _shared is not None:
            _shared.close()
            _shared = None
