"""What is denied in which slot, and the programs that deny it, which are loaded when they are first needed."""

import struct
import threading
from collections.abc import Callable, Iterable, Mapping

from fanotify_fastpath._bpf._abi import LAYOUTS, FpDeny, FpException, FpGuardFlag, FpKey
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._engines.kernel.hooks import Hooks
from fanotify_fastpath._engines.kernel.tables import Tables

_EXCEPTION = struct.Struct(LAYOUTS.structs["fp_exception"].format)
_KEY = struct.Struct(LAYOUTS.structs["fp_key"].format)


class Denials:
    """
    Those of this process.

    :param lock: of the dispatcher
    :param load: loads the programs
    :param publish: tells the programs of each filesystem what is denied there
    :ivar denied: by slot, of ``enum fp_deny``
    """

    def __init__(
        self, lock: threading.RLock, load: Callable[[], Hooks], tables: Tables, publish: Callable[[], None]
    ) -> None:
        self._lock = lock
        self._load = load
        self._tables = tables
        self._publish = publish
        self._hooks: Hooks | None = None
        self._exceptions: dict[int, list[bytes]] = {}
        self.denied: dict[int, int] = {}

    def try_hooks(self) -> str:
        """
        Attach all hooks for a moment, and tell how many and how.

        :raises UnsupportedFeature: one that is needed cannot be attached
        """
        with self._lock:
            hooks = self._loaded()
            hooks.set_operations(sum(FpDeny))
            text = f"all operations, at {len(hooks.attached)} hooks ({hooks.way})"
            hooks.set_operations(self._all())
            return text

    def forbid(
        self, slot: int, deny: int, flags: int, exceptions: Iterable[FpKey], lists: Mapping[FpGuardFlag, Map]
    ) -> None:
        """
        Deny operations in a slot.

        :param deny: of ``enum fp_deny``
        :param flags: of ``enum fp_guard_flag``
        :param exceptions: executables; and users, each with the number in the place of the inode and 0 elsewhere
        :param lists: processes to whom, and objects for which it is denied only
        :raises UnsupportedFeature: they cannot be denied here
        :raises KernelRefused: there are too many exceptions
        """
        with self._lock:
            hooks = self._loaded()
            for what in exceptions:
                key = _EXCEPTION.pack(*FpException(_KEY.pack(*what), slot, 0))
                hooks.exceptions.update(key, b"\1")
                self._exceptions.setdefault(slot, []).append(key)
            for flag, listed in lists.items():
                hooks.lists[flag].update(_u32(slot), _u32(listed.fd))
            hooks.set_operations(self._all() | deny)
            self.denied[slot] = deny
            self._tables.clear_guard(slot)
            self._tables.set_guard(slot, deny, flags)
            self._publish()

    def allow(self, slot: int) -> None:
        """The opposite of :meth:`forbid`; what was counted stays until the slot denies again."""
        with self._lock:
            if self._hooks is None:
                return
            self._tables.set_guard(slot, 0, 0)
            for key in self._exceptions.pop(slot, ()):
                self._hooks.exceptions.delete(key)
            if self.denied.pop(slot, None) is not None:
                for listed in self._hooks.lists.values():
                    listed.delete(_u32(slot))
                self._hooks.set_operations(self._all())
                self._publish()

    def n_denied(self, slot: int) -> int:
        """How many attempts in a slot were denied."""
        return self._tables.guard_counter(slot, "n_denied")

    def n_undecided(self, slot: int) -> int:
        """How many attempts may have been in a slot or not."""
        return self._tables.guard_counter(slot, "n_undecided")

    def close(self) -> None:
        """Deny nothing any more."""
        if self._hooks is not None:
            self._hooks.close()

    def _loaded(self) -> Hooks:
        if self._hooks is None:
            self._hooks = self._load()
        return self._hooks

    def _all(self) -> int:
        operations = 0
        for denied in self.denied.values():
            operations |= denied
        return operations


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
