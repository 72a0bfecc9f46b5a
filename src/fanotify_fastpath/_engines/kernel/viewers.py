"""
For whom groups are held, as the programs know it: the user's ids, what the other process has named, and how it numbers.

Nobody reads such a group here: the programs put into its ring what the other process may see.
"""

import struct
import threading
from dataclasses import dataclass, field
from typing import Final

from fanotify_fastpath._bpf._abi import LAYOUTS, FpKey, FpView, FpViewCounters, FpViewFlag, FpViewLimit, FpViewRootFlag
from fanotify_fastpath._bpf.btf import kernel_has_member
from fanotify_fastpath._bpf.libbpf import Object
from fanotify_fastpath._engines.kernel.tables import pack_slots
from fanotify_fastpath._uapi.kallsyms import symbol_address
from fanotify_fastpath._uapi.lsm import active_modules
from fanotify_fastpath.errors import UnsupportedFeature

_VIEW: Final = struct.Struct(LAYOUTS.structs["fp_view"].format)
_COUNTERS: Final = struct.Struct(LAYOUTS.structs["fp_view_counters"].format)
_KEY: Final = struct.Struct(LAYOUTS.structs["fp_key"].format)
_TWO: Final = struct.Struct("=II")
_U32: Final = struct.Struct("=I")
_FIRST_NAMESPACE: Final = ["0", "0", "4294967295"]
#: modules with rules of their own about who may read what, which programs cannot ask
_RULING_MODULES: Final = frozenset(("selinux", "smack"))


@dataclass(frozen=True, slots=True)
class View:
    """
    For whom a group is held.

    :ivar uid: the user; user 0 sees everything
    :ivar gid: the user's group
    :ivar groups: supplementary groups
    :ivar tgid: the process, as it is called here; 0: not visible
    :ivar include_self: what that process does itself is told too
    :ivar with_tid: threads are told
    :ivar tells_processes: processes are told; not where the other process calls them by other numbers
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    tgid: int = 0
    include_self: bool = False
    with_tid: bool = False
    tells_processes: bool = True


@dataclass(slots=True)
class _Held:
    view: View
    slots: dict[int, int] = field(default_factory=dict)
    named: set[FpKey] = field(default_factory=set)


class Viewers:
    """
    The tables of views, from any thread.

    :param found: the programs with views
    """

    def __init__(self, found: Object) -> None:
        self._views = found.map("views").open()
        self._gids = found.map("view_gids").open()
        self._roots = found.map("view_roots").open()
        self._slots = found.map("view_slots").open()
        self._counters = found.map("view_counters").open()
        self._held: dict[int, _Held] = {}
        self._lock = threading.Lock()

    def open(self, group: int, view: View) -> None:
        """
        Hold a group for somebody; called before it has a ring.

        :raises UnsupportedFeature: the user is in too many groups
        """
        if len(view.groups) > FpViewLimit.N_GIDS:
            raise UnsupportedFeature(
                f"user {view.uid} is in {len(view.groups)} groups; engine kernel looks at {FpViewLimit.N_GIDS} at most"
            )
        with self._lock:
            self._held[group] = _Held(view)
            for gid in view.groups:
                self._gids.update(_TWO.pack(group, gid), _U32.pack(1))
            self._counters.update(_U32.pack(group), bytes(_COUNTERS.size))
            self._publish(group)

    def close_view(self, group: int) -> None:
        """Hold it for nobody; called when it has no ring any more."""
        with self._lock:
            held = self._held.pop(group, None)
            if held is None:
                return
            for gid in held.view.groups:
                self._gids.delete(_TWO.pack(group, gid))
            for key in held.named:
                self._roots.delete(_root_key(group, key))
            self._views.update(_U32.pack(group), bytes(_VIEW.size))

    def set_slots(self, group: int, numbers: dict[int, int]) -> None:
        """Say by which numbers the other process calls slots; it is told of no others."""
        with self._lock:
            held = self._held[group]
            if numbers == held.slots:
                return
            for slot, number in numbers.items():
                self._slots.update(_U32.pack(slot), _U32.pack(number + 1))
            held.slots = dict(numbers)
            self._publish(group)

    def name(self, group: int, key: FpKey, number: int, *, of_mark: bool) -> None:
        """
        The other process has shown an object, and has a number for it.

        :param of_mark: the number is that of a mark, not of a root
        """
        value = _TWO.pack(number, FpViewRootFlag.OF_MARK if of_mark else 0)
        with self._lock:
            self._roots.update(_root_key(group, key), value)
            self._held[group].named.add(key)

    def unname(self, group: int, key: FpKey) -> None:
        """It has none any more."""
        with self._lock:
            self._roots.delete(_root_key(group, key))
            self._held[group].named.discard(key)

    def counters(self, group: int) -> FpViewCounters:
        """How many events were not shown."""
        value = self._counters.lookup(_U32.pack(group)) or bytes(_COUNTERS.size)
        return FpViewCounters._make(_COUNTERS.unpack(value))

    def close(self) -> None:
        """Let go of the tables."""
        for each in (self._views, self._gids, self._roots, self._slots, self._counters):
            each.close()

    def _publish(self, group: int) -> None:
        held = self._held[group]
        view, slots = held.view, sum(1 << slot for slot in held.slots)
        flags = (
            FpViewFlag.VIEWED
            | FpViewFlag.SEES_ALL * (view.uid == 0)
            | FpViewFlag.SEES_SELF * view.include_self
            | FpViewFlag.SEES_TID * view.with_tid
            | FpViewFlag.SEES_NO_PROCESSES * (not view.tells_processes)
        )
        self._views.update(
            _U32.pack(group), _VIEW.pack(*FpView(flags, view.uid, view.gid, view.tgid, pack_slots(slots)))
        )


def check_views() -> None:
    """
    See whether groups can be held for others here, as far as that is known without trying.

    :raises UnsupportedFeature: they cannot
    """
    # else who may write its consumer's page can have one record written over the head of another that is being written
    if not kernel_has_member("bpf_ringbuf", "pending_pos"):
        raise UnsupportedFeature(
            "engine kernel cannot serve others here: a reader could harm this kernel's ring buffers; "
            "Linux 6.10, 6.6.37 and 6.1.97 have the fix (cfa1a2329a69)"
        )
    # else nobody notices that a rename has led a climb astray, and all is withheld
    if symbol_address("rename_lock") is None:
        raise UnsupportedFeature(
            "engine kernel cannot serve others here: the kernel does not tell where rename_lock is; "
            "that takes CAP_SYSLOG (under systemd: fanfpd-kernel.conf), kernel.kptr_restrict below 2 and "
            "CONFIG_KALLSYMS_ALL"
        )
    ruling = _RULING_MODULES & set(active_modules() or ())
    if ruling:
        raise UnsupportedFeature(
            f"engine kernel cannot serve others here: it cannot ask security module {', '.join(ruling)} who may "
            "see what"
        )
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if file.read().split() != _FIRST_NAMESPACE:
            raise UnsupportedFeature("engine kernel cannot serve others here: this is not the first user namespace")


def _root_key(group: int, key: FpKey) -> bytes:
    return _KEY.pack(*key) + _TWO.pack(group, 0)
