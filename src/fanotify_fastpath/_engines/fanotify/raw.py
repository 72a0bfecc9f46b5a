"""One record of the kernel, decoded as far as the engine needs it."""

from fanotify_fastpath._uapi.constants import InfoType
from fanotify_fastpath._uapi.records import walk

_FID, _DFID_NAME, _DFID = int(InfoType.FID), int(InfoType.DFID_NAME), int(InfoType.DFID)
_OLD, _NEW = int(InfoType.OLD_DFID_NAME), int(InfoType.NEW_DFID_NAME)
_ERROR = int(InfoType.ERROR)

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
    """

    __slots__ = ("dir", "dir2", "is_repeat", "mask", "name", "name2", "obj", "pid")

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
        repeat.is_repeat = True
        return repeat


def decode(buffer: bytes) -> list[Raw]:
    """
    Decode what one read returned.

    :raises MalformedRecord: the buffer holds no fanotify records
    """
    raws = []
    for mask, _, pid, infos in walk(buffer):
        raw = Raw(mask, pid)
        for info_type, start, end in infos:
            if info_type == _ERROR:
                continue
            # fsid (8), handle_bytes (4), handle_type (4), handle, then perhaps a name
            split = start + 16 + int.from_bytes(buffer[start + 8 : start + 12], "little")
            key = buffer[start:split]
            if info_type == _FID:
                raw.obj = key
                continue
            name = buffer[split : buffer.find(0, split, end)] if split < end else None
            if info_type in (_DFID_NAME, _OLD):
                raw.dir, raw.name = key, name
            elif info_type == _NEW:
                raw.dir2, raw.name2 = key, name
            elif info_type == _DFID:
                raw.dir = key
        raws.append(raw)
    return raws
