"""One record of the kernel, decoded as far as the engine needs it."""

from typing import TYPE_CHECKING, Final

from fanotify_fastpath._engines.fanotify.doers import Doer
from fanotify_fastpath._uapi import records
from fanotify_fastpath._uapi.constants import HANDLE_HEADER_BYTES, METADATA_LEN, METADATA_VERSION, InfoType
from fanotify_fastpath._uapi.words import s32, u16, u32, u64
from fanotify_fastpath.roots import FSID_BYTES

if TYPE_CHECKING:
    from mypy_extensions import i64  # a C integer, for the compiler; no code at run time

_FID: Final = int(InfoType.FID)
_DFID: Final = int(InfoType.DFID)
_DFID_NAME: Final = int(InfoType.DFID_NAME)
_OLD: Final = int(InfoType.OLD_DFID_NAME)
_NEW: Final = int(InfoType.NEW_DFID_NAME)
_HANDLE: Final = FSID_BYTES + HANDLE_HEADER_BYTES

#: a directory's identity and a name in it
Place = tuple[bytes | None, bytes | None]


class Raw:
    """
    One record, with identities as bytes (filesystem id and file handle).

    :ivar dir: identity of the directory that *name* is relative to; for a rename the old one
    :ivar name: name in it, ``b"."`` for the directory itself
    :ivar obj: identity of the object, if reported
    :ivar dir2: for a rename the new directory
    :ivar name2: for a rename the new name
    :ivar is_repeat: it vanished by merging and was inserted: when it happened is known only roughly
    :ivar pid: process (or thread) id; for an overflow the number of records lost, 0 when unknown
    :ivar doer: who did it, where the kernel was asked for descriptors of processes
    """

    __slots__ = ("dir", "dir2", "doer", "is_repeat", "mask", "name", "name2", "obj", "pid")

    def __init__(
        self,
        mask: int,
        pid: int,
        dir: bytes | None = None,
        name: bytes | None = None,
        obj: bytes | None = None,
        dir2: bytes | None = None,
        name2: bytes | None = None,
    ) -> None:
        self.mask = mask
        self.pid = pid
        self.dir = dir
        self.name = name
        self.obj = obj
        self.dir2 = dir2
        self.name2 = name2
        self.is_repeat = False
        self.doer: Doer | None = None

    @property
    def place(self) -> Place:
        """Where the object was: before, if it was renamed."""
        return self.dir, self.name

    @property
    def new_place(self) -> Place:
        """For a rename: where the object is afterwards."""
        return self.dir2, self.name2

    def again(self) -> "Raw":
        """Copy a rename that happened again."""
        repeat = Raw(self.mask, self.pid, self.dir, self.name, self.obj, self.dir2, self.name2)
        repeat.is_repeat, repeat.doer = True, self.doer
        return repeat


def decode(buffer: bytes) -> list[Raw]:
    """
    Decode what one read returned.

    :raises MalformedRecord: the buffer holds no fanotify records
    """
    raws: list[Raw] = []
    total: i64 = len(buffer)
    offset: i64 = 0
    while offset < total:
        if total - offset < METADATA_LEN or buffer[offset + 4] != METADATA_VERSION:
            raise _malformed(buffer)
        # event_len (4), vers (1), reserved (1), metadata_len (2), mask (8), fd (4), pid (4)
        end: i64 = offset + u32(buffer, offset)
        at: i64 = offset + u16(buffer, offset + 6)
        if end > total or at < offset + METADATA_LEN or at > end:
            raise _malformed(buffer)
        raw = Raw(u64(buffer, offset + 8), s32(buffer, offset + 20))
        while at < end:
            at = _decode_info(buffer, at, end, raw)
        raws.append(raw)
        offset = end
    return raws


def _decode_info(buffer: bytes, at: "i64", end: "i64", raw: Raw) -> "i64":
    """Put one information record into *raw*, and return where the next one begins."""
    # info_type (1), pad (1), len (2); of a handle: fsid (8), handle_bytes (4), handle_type (4), handle, perhaps a name
    after: i64 = at + u16(buffer, at + 2) if end - at >= 4 else at
    if after < at + 4 or after > end:
        raise _malformed(buffer)
    kind: i64 = buffer[at]
    if kind != _FID and kind != _DFID and kind != _DFID_NAME and kind != _OLD and kind != _NEW:
        return after
    start: i64 = at + 4
    split: i64 = start + _HANDLE + u32(buffer, start + FSID_BYTES) if after - start >= _HANDLE else after + 1
    if split > after:
        raise _malformed(buffer)
    key = buffer[start:split]
    if kind == _FID:
        raw.obj = key
    elif kind == _DFID:
        raw.dir = key
    else:
        name_end: i64 = split
        while name_end < after and buffer[name_end]:
            name_end += 1
        if name_end == after:
            raise _malformed(buffer)
        name = buffer[split:name_end]
        if kind == _NEW:
            raw.dir2, raw.name2 = key, name
        else:
            raw.dir, raw.name = key, name
    return after


def _malformed(buffer: bytes) -> Exception:
    """What is wrong with it: the typed decoder tells."""
    try:
        for _ in records.decode(buffer):
            pass
    except records.MalformedRecord as exc:
        return exc
    raise AssertionError("one decoder refuses what the other accepts")
