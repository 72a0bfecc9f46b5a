"""The event that a handler's program is shown (``struct fp_handler_event``), filled in by user space."""

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fanotify_fastpath._bpf._abi import LAYOUTS, FpField

_EVENT: Final = LAYOUTS.structs["fp_handler_event"]
_LIMITS: Final = LAYOUTS.enums["fp_handler_limit"]
_MOST: Final = {name: _LIMITS[f"FP_{name.upper()}_BYTES"] for name in ("name", "exe", "comm")}
_VERDICT: Final = _EVENT.fields["verdict"]

#: size of the structure in bytes
SIZE: Final = _EVENT.size
#: what is always told
ALWAYS: Final = ("mask", "time_ns", "tgid")
#: the fields of an event that each bit says to be known
FIELDS: Final[Mapping[FpField, tuple[str, ...]]] = {
    FpField.NAME: ("name",),
    FpField.INODE: ("dev", "inode"),
    FpField.DIR_INODE: ("dir_inode",),
    FpField.OBJECT: ("size", "mode", "owner_uid", "owner_gid", "n_links"),
    FpField.USER: ("uid", "gid"),
    FpField.COMM: ("comm",),
    FpField.EXE: ("exe",),
    FpField.CGROUP: ("cgroup_id",),
    FpField.DEPTH: ("depth",),
    FpField.ANCESTORS: ("ancestors",),
}


def pack_event(fields: Mapping[str, Any], inside: Iterable[int] | None = None) -> bytes:
    """
    Make an event.

    What belongs together (:data:`FIELDS`) is known when all of it is.

    :param fields: values by the names that :class:`~fanotify_fastpath.handlers.HandlerEvent` has for them; what is
        unknown is None, empty (``ancestors``) or missing
    :param inside: slots of the root sets in which it lies; None when that is unknown
    :return: of :data:`SIZE` bytes; its verdict is 0
    """
    event = bytearray(SIZE)
    for name in ALWAYS:
        _put(event, name, fields.get(name, 0))
    known = 0
    for bit, names in FIELDS.items():
        values = [fields.get(name) for name in names]
        if all(map(_can_be_told, names, values)):
            known |= bit
            for name, value in zip(names, values, strict=True):
                _put(event, name, value)
    if inside is not None:
        known |= FpField.PLACE
        _put_bytes(event, "inside", sum(1 << slot for slot in set(inside)).to_bytes(32, "little"))
    _put(event, "known", known)
    return bytes(event)


def verdict_in(event: bytes) -> int:
    """What the program answered: ``enum fp_verdict``, or a negative error number."""
    return int(struct.unpack_from(f"={_VERDICT.code}", event, _VERDICT.offset)[0])


def _can_be_told(name: str, value: Any) -> bool:
    if name in _MOST:
        return value is not None and len(value) <= _MOST[name]
    return value is not None and value != ()


def _put(event: bytearray, name: str, value: Any) -> None:
    if isinstance(value, bytes):
        _put_bytes(event, name, value)
        _put(event, f"{name}_len", len(value))
    elif isinstance(value, tuple):
        told = value[: _LIMITS["FP_N_ANCESTORS"]]
        _put_bytes(event, name, struct.pack(f"={len(told)}I", *told))
        _put(event, f"n_{name}", len(told))
    else:
        field = _EVENT.fields[name]
        struct.pack_into(f"={field.code}", event, field.offset, value)


def _put_bytes(event: bytearray, name: str, value: bytes) -> None:
    offset = _EVENT.fields[name].offset
    event[offset : offset + len(value)] = value
