"""
The programs, their tables, and what all groups of this process share of them.

A *slot* is a bit: one root set as one group uses it, or one mark of another scope. The programs find out in which slots
an object lies by one climb, whatever their number, and tell the groups that own them.
"""

import errno
import os
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from fanotify_fastpath._bpf._abi import (
    LAYOUTS,
    FpCounters,
    FpFlag,
    FpGroupFlag,
    FpInspection,
    FpKey,
    FpLimit,
    FpSuperblockFlag,
)
from fanotify_fastpath._bpf.maps import ANY, EXIST, Map, MapType
from fanotify_fastpath._engines.base import KernelCounters
from fanotify_fastpath._engines.kernel.denials import Denials
from fanotify_fastpath._engines.kernel.hooks import Hooks
from fanotify_fastpath._engines.kernel.objects import Attached, attach_best
from fanotify_fastpath._engines.kernel.programs import Programs
from fanotify_fastpath._engines.kernel.sentinel import Sentinel
from fanotify_fastpath._engines.kernel.tables import Tables, pack_slots
from fanotify_fastpath._engines.kernel.viewers import View, Viewers
from fanotify_fastpath.errors import FastpathError, KernelRefused
from fanotify_fastpath.mask import Mask

_INSPECTION = struct.Struct(LAYOUTS.structs["fp_inspection"].format)
_KEY = struct.Struct(LAYOUTS.structs["fp_key"].format)
_COUNTERS = struct.Struct(LAYOUTS.structs["fp_counters"].format)
_GROUP_COUNTERS = ("n_sent", "n_skipped", "n_undecided", "n_merged", "n_dropped")
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
    :ivar tgid: of this process, in the first namespace
    :ivar pid_level: how deep this process's namespace of processes lies; 0: it is the first
    :ivar pid_namespace: number of that namespace
    """

    key: FpKey
    path: bytes
    inside: int
    is_decided: bool
    tgid: int
    mount_id: int
    pid_level: int
    pid_namespace: int


@dataclass(slots=True)
class _Wants:
    """
    What one slot wants of one filesystem.

    :ivar flags: for each of :class:`FpSuperblockFlag`, the number of roots or marks that need it
    """

    mask: int = 0
    is_whole: bool = False
    n_roots: int = 0
    flags: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class _Filesystem:
    """What is wanted of one filesystem, by slot."""

    place: int
    wants: dict[int, _Wants] = field(default_factory=dict)
    sentinel_mask: int = 0
    deny: int = 0


@dataclass(slots=True)
class _Slot:
    """
    Who has a slot, and where it stands in the tables.

    :ivar points: its roots and exceptions, and whether each is a file
    """

    group: int
    points: dict[FpKey, bool] = field(default_factory=dict)
    marked: set[FpKey] = field(default_factory=set)
    devs: set[int] = field(default_factory=set)


class Dispatcher:
    """
    One for each process, while it has groups; see :func:`acquire`.

    :param with_views: groups can be held for others
    :ivar viewers: for whom they are held, if that can be
    """

    def __init__(self, *, with_views: bool = False) -> None:
        self.lock = threading.RLock()
        self._attached: Attached = attach_best(with_views=with_views)
        found = self._attached.object
        self.viewers = Viewers(found) if with_views else None
        with found.map(".bss").open() as variables:
            self._tables = Tables(variables)
        self._roots = found.map("roots").open()
        self._marked = found.map("marked").open()
        self._rings = found.map("rings").open()
        self._counters = found.map("counters").open()
        table, handled = found.map("handlers").open(), found.map("handled").open()
        self.programs = Programs(self._tables, table, handled, self._attached.handler_program)
        self._inspect = found.program("inspect").attach_iterator(tgid=os.getpid())
        self._sentinel = Sentinel()
        self._filesystems: dict[int, _Filesystem] = {}
        self._points: dict[FpKey, tuple[int, int]] = {}
        self._free_slots = list(range(FpLimit.N_SLOTS - 1, -1, -1))
        self._free_groups = list(range(FpLimit.N_GROUPS - 1, -1, -1))
        self._slots: dict[int, _Slot] = {}
        self.denials = Denials(self.lock, self._load_hooks, self._tables, self._publish_all)
        with open(os.devnull, "rb") as file:
            own = self.inspect(file.fileno())
            self._tables.set_own(own.tgid, own.pid_level, own.pid_namespace)

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
        self.denials.close()
        if self.viewers is not None:
            self.viewers.close()
        self._sentinel.close()
        self._inspect.close()
        self.programs.close()
        self._tables.close()
        for table in (self._roots, self._marked, self._rings, self._counters):
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
            told.pid_level,
            told.pid_namespace,
        )

    # --- groups ---

    def open_group(
        self, ring_bytes: int, *, include_self: bool, merge: bool, with_tid: bool, view: View | None = None
    ) -> tuple[int, Map]:
        """
        Begin a group.

        :param view: for whom it is held, if for another process
        :return: its number, and its ring buffer
        :raises KernelRefused: there are too many, or no memory
        """
        with self.lock:
            if not self._free_groups:
                raise KernelRefused(f"this process has {FpLimit.N_GROUPS} groups; close some", errno.EMFILE)
            number = self._free_groups.pop()
        try:
            ring = Map.create(MapType.RINGBUF, "fanfp_ring", max_entries=ring_bytes)
            flags = (
                FpGroupFlag.INCLUDE_SELF * include_self | FpGroupFlag.MERGE * merge | FpGroupFlag.WITH_TID * with_tid
            )
            self._tables.clear_group(number, flags)
            if self.viewers is not None and view is not None:
                self.viewers.open(number, view)
            # without the lock: the kernel waits until no program uses the old entry, which takes long on a busy machine
            self._rings.update(_u32(number), _u32(ring.fd))
        except BaseException:
            self._free_group(number)
            raise
        return number, ring

    def close_group(self, number: int) -> None:
        """End a group; its slots must be gone."""
        self._rings.delete(_u32(number))  # without the lock: this waits too
        self._free_group(number)

    def _free_group(self, number: int) -> None:
        if self.viewers is not None:
            self.viewers.close_view(number)
        with self.lock:
            self._free_groups.append(number)

    def set_chain(self, group: int, links: list[int], needs: int, counted: int) -> int:
        """Have other handlers of a group asked; see :meth:`Tables.set_chain`."""
        return self._tables.set_chain(group, links, needs, counted)

    def wait_for_programs(self, group: int, ring: Map) -> None:
        """Wait until all that began before has ended: some milliseconds, more on a busy machine."""
        # whoever changes such a table waits for that (maybe_wait_bpf_programs in kernel/bpf/syscall.c)
        self._rings.update(_u32(group), _u32(ring.fd))

    def n_dropped(self, group: int) -> int:
        """How many records have found no room in the group's ring buffer."""
        return self._tables.group_counter(group, "n_dropped")

    def counters(self, group: int) -> KernelCounters:
        """What the programs have counted up to now."""
        cpus = [_COUNTERS.unpack(value) for value in self._counters.lookup_per_cpu(_u32(0))]
        common = FpCounters._make(map(sum, zip(*cpus, strict=True)))
        own = {name: self._tables.group_counter(group, name) for name in _GROUP_COUNTERS}
        return KernelCounters(
            n_seen=common.n_seen, n_cached=common.n_cached, n_walked=common.n_walked, n_missed=self.n_missed, **own
        )

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
            self._slots[slot] = _Slot(group)
            self._tables.set_slot(slot, 0, group)
            return slot

    def release_slot(self, slot: int) -> None:
        """Give a slot back, with all that it wanted."""
        with self.lock:
            self.denials.allow(slot)
            gone = self._slots.pop(slot)
            self._tables.set_slot(slot, 0, gone.group)
            for key in gone.points:
                included, excluded = self._points[key]
                self._set_point(key, included & ~(1 << slot), excluded & ~(1 << slot))
            for key in gone.marked:
                self._set_marked_bits(key, self._marked_bits(key) & ~(1 << slot))
            for dev in gone.devs & self._filesystems.keys():
                self._filesystems[dev].wants.pop(slot, None)
                self._publish(dev, None)
            self._tables.void_answers()
            self._free_slots.append(slot)

    def set_slot_mask(self, slot: int, mask: int) -> None:
        """Say which event types the owner of a slot wants."""
        self._tables.set_slot(slot, mask, self._slots[slot].group)

    def knows(self, dev: int) -> bool:
        """Tell whether a filesystem has a table entry, and is still the one that it was made for."""
        filesystem = self._filesystems.get(dev)
        return filesystem is not None and not self._is_gone(filesystem)

    def know(self, dev: int, dir_fd: int) -> None:
        """
        Have a table entry for a filesystem.

        :param dir_fd: a directory there
        :raises KernelRefused: there is no room for it, or it cannot be marked
        """
        with self.lock:
            if dev in self._filesystems and self._is_gone(self._filesystems[dev]):
                self.lose_filesystem(dev)
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
            wants = self._wants(slot, dev)
            if wants is not None:  # else it is unmounted
                wants.mask, wants.is_whole = mask, is_whole
                self._publish(dev, dir_fd)

    def lose_filesystem(self, dev: int) -> None:
        """A filesystem is gone: its device may stand for another one from now on."""
        with self.lock:
            filesystem = self._filesystems.get(dev)
            if filesystem is not None and filesystem.deny and not self._is_gone(filesystem):
                return  # that was another one, which had the device before
            if filesystem is not None:
                del self._filesystems[dev]
                self._tables.set_guarded(filesystem.place, 0)
                self._tables.set_superblock(filesystem.place, dev, 0, 0, 0, 0)
                for slot in filesystem.wants:
                    self._forget_filesystem(self._slots[slot], dev)
                self._tables.void_answers()

    def set_root(self, slot: int, key: FpKey, *, is_included: bool, is_file: bool) -> None:
        """Make an object a root of a slot, or an exception."""
        bit = 1 << slot
        with self.lock:
            wants = self._wants(slot, key.dev)
            if wants is None:  # unmounted
                return
            included, excluded = self._points.get(key, (0, 0))
            included, excluded = included & ~bit, excluded & ~bit
            self._set_point(key, included | bit * is_included, excluded | bit * (not is_included), is_new=True)
            if key not in self._slots[slot].points:
                self._slots[slot].points[key] = is_file
                wants.n_roots += 1
                wants.flags[FpSuperblockFlag.HAS_FILE_ROOTS] += is_file
                self._publish(key.dev, None)
            self._tables.void_answers()

    def unset_root(self, slot: int, key: FpKey) -> None:
        """The opposite of :meth:`set_root`."""
        with self.lock:
            wants, is_file = self._wants(slot, key.dev), self._slots[slot].points.pop(key, None)
            if wants is None or is_file is None:  # unmounted
                return
            included, excluded = self._points[key]
            self._set_point(key, included & ~(1 << slot), excluded & ~(1 << slot))
            wants.n_roots -= 1
            wants.flags[FpSuperblockFlag.HAS_FILE_ROOTS] -= is_file
            self._publish(key.dev, None)
            self._tables.void_answers()

    def set_marked(self, slot: int, dev: int, key: FpKey, *, on_child: bool = False, is_mount: bool = False) -> None:
        """Have an object, what lies in a directory, or a mount belong to a slot."""
        bit = 1 << slot
        if on_child:
            key = key._replace(dev=key.dev | _ON_CHILD)
        with self.lock:
            wants = self._wants(slot, dev)
            if wants is None:  # unmounted
                return
            self._set_marked_bits(key, self._marked_bits(key) | bit)
            self._slots[slot].marked.add(key)
            wants.flags[FpSuperblockFlag.HAS_MOUNT_MARKS if is_mount else FpSuperblockFlag.HAS_OBJECT_MARKS] += 1
            self._publish(dev, None)

    def _marked_bits(self, key: FpKey) -> int:
        return int.from_bytes(self._marked.lookup(_KEY.pack(*key)) or b"", "little")

    def _set_marked_bits(self, key: FpKey, bits: int) -> None:
        if bits:
            self._marked.update(_KEY.pack(*key), pack_slots(bits))
        else:
            self._marked.delete(_KEY.pack(*key))

    def _wants(self, slot: int, dev: int) -> _Wants | None:
        """What a slot wants of a filesystem; None if that is not known, or no more."""
        filesystem = self._filesystems.get(dev)
        if filesystem is None:
            return None
        self._slots[slot].devs.add(dev)
        return filesystem.wants.setdefault(slot, _Wants())

    def _forget_filesystem(self, slot: _Slot, dev: int) -> None:
        """What a slot has in a filesystem that is gone means nothing any more."""
        slot.devs.discard(dev)
        for key in [key for key in slot.points if key.dev == dev]:
            self._set_point(key, 0, 0)
            del slot.points[key]
        for key in [key for key in slot.marked if key.dev & ~_ON_CHILD == dev]:
            self._set_marked_bits(key, 0)
            slot.marked.discard(key)

    def _load_hooks(self) -> Hooks:
        with self._attached.object.map(".bss").open() as variables:
            return Hooks({"roots": self._roots, ".bss": variables})

    def _set_point(self, key: FpKey, included: int, excluded: int, *, is_new: bool = False) -> None:
        if included | excluded:
            self._points[key] = (included, excluded)
            try:
                value = pack_slots(included) + pack_slots(excluded)
                self._roots.update(_KEY.pack(*key), value, ANY if is_new else EXIST)
            except KernelRefused as exc:
                if exc.errno != errno.ENOENT:  # deleted, and the programs have noticed that already
                    raise
        elif self._points.pop(key, None) is not None:
            self._roots.delete(_KEY.pack(*key))

    def _add_filesystem(self, dev: int, dir_fd: int) -> None:
        place = self._tables.find_place(dev)
        if place is None:
            raise KernelRefused(f"no room for one more filesystem among {FpLimit.N_SUPERBLOCKS}", errno.ENOSPC)
        self._sentinel.keep(dir_fd)
        self._tables.set_user_dev(place, os.fstat(dir_fd).st_dev)
        self._filesystems[dev] = _Filesystem(place)

    def _publish(self, dev: int, dir_fd: int | None) -> None:
        """Tell the programs, and the sentinel, what is wanted of a filesystem by now."""
        filesystem = self._filesystems[dev]
        mask = whole = subtrees = flags = 0
        for slot, wants in filesystem.wants.items():
            mask |= wants.mask
            whole |= wants.is_whole << slot
            subtrees |= (wants.n_roots > 0) << slot
            flags |= sum(flag for flag, n in wants.flags.items() if n > 0)
        if dir_fd is not None:
            self._sentinel.set_mask(dir_fd, filesystem.sentinel_mask, mask)
            filesystem.sentinel_mask = mask
        if self._is_gone(filesystem):
            deny = 0
        else:
            deny = filesystem.deny = self._deny_of(filesystem)
        wanted = mask & ~int(Mask.ONDIR | Mask.EVENT_ON_CHILD) | _STRUCTURE if mask or deny else 0
        self._tables.set_superblock(filesystem.place, dev, wanted, flags, whole, subtrees)
        if deny != self._tables.guarded(filesystem.place):
            self._tables.set_guarded(filesystem.place, deny)

    def _publish_all(self) -> None:
        for dev in self._filesystems:
            self._publish(dev, None)

    def _is_gone(self, filesystem: _Filesystem) -> bool:
        """Whether it was unmounted, where something was denied: the programs know first."""
        return bool(filesystem.deny) and not self._tables.guarded(filesystem.place)

    def _deny_of(self, filesystem: _Filesystem) -> int:
        deny = 0
        for slot, operations in self.denials.denied.items():
            wants = filesystem.wants.get(slot)
            if wants is not None and wants.n_roots > 0:
                deny |= operations
        return deny


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


_lock = threading.Lock()
_shared: Dispatcher | None = None
_n_users = 0
#: without views, with views
_refused: dict[bool, FastpathError] = {}


#: what a child of a fork has of its parent's: kept, for its groups use it until they are closed
_inherited: list[Dispatcher] = []


def _begin_anew() -> None:
    """In a child: the programs that it inherits look at its parent's descriptors, and leave out its parent."""
    global _lock, _shared, _n_users
    if _shared is not None:
        _inherited.append(_shared)
    _lock, _shared, _n_users = threading.Lock(), None, 0


os.register_at_fork(after_in_child=_begin_anew)


def acquire(*, with_views: bool = False) -> Dispatcher:
    """
    Take the dispatcher of this process; :func:`release` it in the end.

    :param with_views: groups are held for others
    :raises UnsupportedFeature: the programs cannot be loaded or attached here
    :raises KernelRefused: the programs that this process uses already have no views
    """
    global _shared, _n_users
    with _lock:
        if _shared is None:
            if with_views in _refused:
                raise _refused[with_views]
            try:
                _shared = Dispatcher(with_views=with_views)
            except FastpathError as exc:
                _refused[with_views] = exc
                raise
        if with_views and _shared.viewers is None:
            raise KernelRefused("this process has groups of its own on engine kernel: none can be held for others")
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
