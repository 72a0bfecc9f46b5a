"""
Records in the order in which they happened.

The kernel merges an event into an earlier unread one for the same object, name and process. So a bit of a record may
have happened at any time between the record's place in the queue and its read. Three things follow, and are mended
here:

- a directory created and removed gives one record CREATE|DELETE *before* the records of what happened inside it: the
  DELETE is held back until everything that was queued with it has gone by;
- the same for a file that was renamed between its creation and its deletion;
- a rename that repeats an earlier one (a→b, b→a, a→b) vanishes in it: from where a chain of renames has come back to
  where the object had been, its place is in doubt until the queue was emptied, and then it is looked up.

The records that are read but not yet processed also tell where a directory *was*: :meth:`Sequence.position`.
"""

from collections import deque
from collections.abc import Callable

from fanotify_fastpath._uapi.constants import InfoType
from fanotify_fastpath._uapi.records import walk
from fanotify_fastpath.mask import Mask

_RENAME = int(Mask.RENAME)
_DELETE = int(Mask.DELETE)
_CREATE = int(Mask.CREATE)
_ONDIR = int(Mask.ONDIR)
_STRUCTURAL = _RENAME | _DELETE | _CREATE
_FID, _DFID_NAME, _DFID = int(InfoType.FID), int(InfoType.DFID_NAME), int(InfoType.DFID)
_OLD, _NEW = int(InfoType.OLD_DFID_NAME), int(InfoType.NEW_DFID_NAME)
_ERROR = int(InfoType.ERROR)


class Raw:
    """
    One record, with identities as bytes (filesystem id and file handle).

    :ivar dir: identity of the directory that *name* is relative to; for a rename the old one
    :ivar name: name in it, ``b"."`` for the directory itself
    :ivar obj: identity of the object, if reported
    :ivar dir2: for a rename the new directory
    :ivar name2: for a rename the new name
    """

    __slots__ = ("dir", "dir2", "mask", "name", "name2", "obj", "pid")

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


class Sequence:
    """
    The records of one group between the kernel's queue and the engine.

    :param read: takes everything that is queued now; returns the bytes of each read, and whether the queue was emptied
    :ivar doubtful: renamed objects whose place is in doubt at this place of the stream, with their renames
    """

    def __init__(self, read: Callable[[], tuple[list[bytes], bool]]) -> None:
        self._read = read
        self._pending: deque[Raw] = deque()
        self._structure: dict[bytes, deque[Raw]] = {}
        self._held: list[Raw] = []
        self._emptied = True
        self._renames: dict[bytes, list[Raw]] = {}
        self._unchecked: list[list[Raw]] = []
        self.doubtful: dict[bytes, list[Raw]] = {}

    def fill(self) -> int:
        """Read what is queued in the kernel; return the number of records."""
        buffers, self._emptied = self._read()
        n_new = 0
        for buffer in buffers:
            raws = decode(buffer)
            n_new += len(raws)
            self._pending.extend(raws)
            for raw in raws:
                if raw.mask & _STRUCTURAL and raw.obj is not None and (raw.mask & _ONDIR or raw.mask & _RENAME):
                    self._structure.setdefault(raw.obj, deque()).append(raw)
        return n_new

    def catch_up(self) -> None:
        """Read everything that had been queued when this was called."""
        self.fill()
        while not self._emptied:
            self.fill()

    def position(self, key: bytes) -> tuple[bytes, bytes] | None:
        """
        Tell where a directory is *now*, at the place of the stream that the engine has reached.

        :return: identity of its parent and its name, if a record still to come says that it leaves (or enters) there
        """
        coming = self._structure.get(key)
        if coming and coming[0].dir is not None and coming[0].name is not None:
            return coming[0].dir, coming[0].name
        return None

    def next(self) -> Raw | None:
        """Return the next record, or None when all that was read has been given out."""
        if self._held:
            if not self._pending:
                return self._held.pop(0) if self._emptied else None
            due = self._held_before(self._pending[0])
            if due is not None:
                return due
        if not self._pending:
            self._close_window()
            return None
        raw = self._pending.popleft()
        if raw.mask & _STRUCTURAL and raw.obj is not None:
            return self._next_structural(raw, raw.obj)
        return raw

    def take_unchecked(self) -> list[list[Raw]]:
        """Return the chains of renames that were in doubt; everything that belongs to them has been given out."""
        unchecked, self._unchecked = self._unchecked, []
        return unchecked

    def _next_structural(self, raw: Raw, obj: bytes) -> Raw:
        coming = self._structure.get(obj)
        if coming and coming[0] is raw:
            coming.popleft()
            if not coming:
                del self._structure[obj]
        if raw.mask & _RENAME:
            self._note_rename(raw, obj)
        elif raw.mask & _DELETE and self._deleted_later(raw, obj):
            self._held.append(Raw(raw.mask & (_DELETE | _ONDIR), raw.pid, raw.dir, raw.name, obj))
            raw.mask &= ~_DELETE
        return raw

    def _deleted_later(self, raw: Raw, obj: bytes) -> bool:
        """Tell whether the DELETE in *raw* belongs behind records that are still to come."""
        if raw.mask & _CREATE and raw.mask & _ONDIR:
            return True
        coming = self._structure.get(obj)
        return bool(coming) and any(r.dir2 == raw.dir and r.name2 == raw.name for r in coming or ())

    def _held_before(self, raw: Raw) -> Raw | None:
        """Return the first held DELETE that must have happened before *raw*."""
        for n, held in enumerate(self._held):
            same_place = (raw.dir == held.dir and raw.name == held.name) or (
                raw.dir2 == held.dir and raw.name2 == held.name and raw.dir2 is not None
            )
            parent_goes = raw.mask & _DELETE and raw.obj == held.dir
            if parent_goes or (same_place and raw.obj != held.obj):
                return self._held.pop(n)
        return None

    def _note_rename(self, raw: Raw, obj: bytes) -> None:
        chain = self._renames.setdefault(obj, [])
        chain.append(raw)
        if any(r.dir == raw.dir2 and r.name == raw.name2 for r in chain):
            self.doubtful[obj] = chain

    def _close_window(self) -> None:
        """Everything that could have been merged has been read and given out."""
        if self._emptied and self._renames:
            self._unchecked += self.doubtful.values()
            self.doubtful.clear()
            self._renames.clear()
