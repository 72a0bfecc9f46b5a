"""The tables that the programs read while they run: one piece of memory, seen by both sides."""

import mmap
import struct
from collections.abc import Sequence
from typing import Final

from fanotify_fastpath._bpf._abi import LAYOUTS, FpLimit
from fanotify_fastpath._bpf.maps import Map

#: bytes of one bit for each slot
SLOTS_BYTES: Final = LAYOUTS.structs["fp_slots"].size
_TABLES = LAYOUTS.structs["fp_tables"].fields
_SUPERBLOCK = LAYOUTS.structs["fp_superblock"]
_SLOT = LAYOUTS.structs["fp_slot"]
_GROUP = LAYOUTS.structs["fp_group"]
_CHAIN = LAYOUTS.structs["fp_chain"]
_ATTACHMENT = LAYOUTS.structs["fp_attachment"]
_GUARDED = LAYOUTS.structs["fp_guarded"]
_GUARD = LAYOUTS.structs["fp_guard"]
_SETTINGS = LAYOUTS.structs["fp_settings"].fields
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")


def pack_slots(bits: int) -> bytes:
    """Turn a number with one bit for each slot into what the programs read."""
    return bits.to_bytes(SLOTS_BYTES, "little")


class Tables:
    """
    The memory, mapped.

    :param variables: the map of the programs' global variables, which hold nothing else
    """

    def __init__(self, variables: Map) -> None:
        self._memory = mmap.mmap(variables.fd, LAYOUTS.structs["fp_tables"].size)

    def close(self) -> None:
        """Unmap."""
        self._memory.close()

    # --- settings ---

    def void_answers(self) -> None:
        """What the programs have remembered of directories no longer holds."""
        at = _TABLES["settings"].offset + _SETTINGS["epoch"].offset
        self._put(at, (self._get(at) + 1) & 0xFFFFFFFF)

    def set_own(self, tgid: int, pid_level: int, pid_namespace: int) -> None:
        """Say which process is ours, by its number in the first namespace; and in which namespace it is."""
        own = {"own_tgid": tgid, "pid_level": pid_level, "pid_namespace": pid_namespace}
        for name, value in own.items():
            self._put(_TABLES["settings"].offset + _SETTINGS[name].offset, value)

    def set_inspected(self, fd: int) -> None:
        """Say which descriptor is asked about."""
        self._put(_TABLES["settings"].offset + _SETTINGS["inspect_fd"].offset, fd)

    # --- filesystems ---

    def find_place(self, dev: int) -> int | None:
        """Find the place for a filesystem, its own or a free one; None if there is none."""
        first = dev ^ dev >> 20
        for place in range(first, first + 4):
            place %= FpLimit.N_SUPERBLOCKS
            if self._get(self._superblock(place, "dev")) in (0, dev):
                return place
        return None

    def set_user_dev(self, place: int, dev: int) -> None:
        """Say what ``stat`` calls the device of a filesystem."""
        _U64.pack_into(self._memory, self._superblock(place, "user_dev"), dev)

    def set_superblock(self, place: int, dev: int, mask: int, flags: int, whole: int, subtrees: int) -> None:
        """
        Say who wants what of a filesystem.

        :param mask: 0 when nobody wants anything; the place stays taken then, for others may stand behind it
        """
        self._put_bytes(self._superblock(place, "whole"), pack_slots(whole))
        self._put_bytes(self._superblock(place, "subtrees"), pack_slots(subtrees))
        self._put(self._superblock(place, "flags"), flags)
        self._put(self._superblock(place, "mask"), mask)
        self._put(self._superblock(place, "dev"), dev)

    # --- slots and groups ---

    def set_slot(self, number: int, mask: int, group: int) -> None:
        """Say what a slot's owner asks for."""
        at = _TABLES["slots"].offset + number * _SLOT.size
        self._put(at + _SLOT.fields["group"].offset, group)
        self._put(at + _SLOT.fields["mask"].offset, mask)

    def clear_group(self, number: int, flags: int) -> None:
        """Begin a group."""
        serial = self._get(self._group(number, "serial"))
        self._put_bytes(self._group(number, "n_dropped"), bytes(_GROUP.size))
        self._put(self._group(number, "serial"), serial + 1 & 0xFFFFFFFF)
        self._put(self._group(number, "flags"), flags)

    def set_chain(self, number: int, links: Sequence[int], needs: int, counted: int) -> int:
        """
        Have other handlers of a group asked from now on, all at once.

        A program that began earlier may still go by those before, and must have ended before the next call.

        :param links: numbers of slots in which an event must lie, or of attachments with ``FpLink.LINK_PROGRAM``
        :param needs: of ``FpField``: what these need to know
        :param counted: one bit for each slot from whose roots they count depth
        :return: number of the chain, as records tell it
        """
        at = self._group(number, "chain")
        chain = (self._get(at) + 1) & 0xFFFFFFFF
        links_packed = struct.pack(f"={len(links)}I", *links).ljust(_CHAIN.fields["links"].size, b"\0")
        value = struct.pack(_CHAIN.format, needs, len(links), links_packed, pack_slots(counted))
        self._put_bytes(self._group(number, "chains") + (chain & 1) * _CHAIN.size, value)
        self._put(at, chain)
        return chain & 0xFFFF

    def attachment_counters(self, number: int) -> tuple[int, ...]:
        """Read what became of the events that a program was asked about: ``struct fp_attachment``."""
        return struct.unpack_from(_ATTACHMENT.format, self._memory, self._attachment(number))

    def clear_attachment(self, number: int) -> None:
        """Count from nothing."""
        self._put_bytes(self._attachment(number), bytes(_ATTACHMENT.size))

    def set_depth_needed(self, is_needed: bool) -> None:
        """Say whether a handler asks how deep things lie."""
        self._put(_TABLES["settings"].offset + _SETTINGS["is_depth_needed"].offset, is_needed)

    def group_counter(self, number: int, name: str) -> int:
        """Read one of a group's counters: ``n_dropped``, ``n_sent``, ``n_skipped``, ``n_undecided`` or ``n_merged``."""
        (value,) = _U64.unpack_from(self._memory, self._group(number, name))
        return int(value)

    # --- what is denied ---

    def set_guard(self, slot: int, deny: int, flags: int) -> None:
        """Say what is denied in a slot."""
        self._put(self._guard(slot, "flags"), flags)
        self._put(self._guard(slot, "deny"), deny)

    def clear_guard(self, slot: int) -> None:
        """Deny nothing there, and count from nothing."""
        self._put(self._guard(slot, "deny"), 0)
        self._put_bytes(self._guard(slot, "n_denied"), bytes(_GUARD.size))

    def guard_counter(self, slot: int, name: str) -> int:
        """Read one of a slot's counters: ``n_denied`` or ``n_undecided``."""
        (value,) = _U64.unpack_from(self._memory, self._guard(slot, name))
        return int(value)

    def guarded(self, place: int) -> int:
        """What is denied anywhere on a filesystem; its unmounting makes it 0."""
        return self._get(_TABLES["guarded"].offset + place * _GUARDED.size)

    def set_guarded(self, place: int, deny: int) -> None:
        """Say what is denied anywhere on a filesystem."""
        self._put(_TABLES["guarded"].offset + place * _GUARDED.size, deny)

    @staticmethod
    def _guard(slot: int, name: str) -> int:
        return _TABLES["guards"].offset + slot * _GUARD.size + _GUARD.fields[name].offset

    @staticmethod
    def _superblock(place: int, name: str) -> int:
        return _TABLES["superblocks"].offset + place * _SUPERBLOCK.size + _SUPERBLOCK.fields[name].offset

    @staticmethod
    def _attachment(number: int) -> int:
        return _TABLES["attachments"].offset + number * _ATTACHMENT.size

    @staticmethod
    def _group(number: int, name: str) -> int:
        return _TABLES["groups"].offset + number * _GROUP.size + _GROUP.fields[name].offset

    def _get(self, at: int) -> int:
        (value,) = _U32.unpack_from(self._memory, at)
        return int(value)

    def _put(self, at: int, value: int) -> None:
        _U32.pack_into(self._memory, at, value)

    def _put_bytes(self, at: int, value: bytes) -> None:
        self._memory[at : at + len(value)] = value
