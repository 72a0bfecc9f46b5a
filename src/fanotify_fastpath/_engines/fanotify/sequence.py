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
_OVERFLOW = int(Mask.Q_OVERFLOW)
_STRUCTURAL = _RENAME | _DELETE | _CREATE
_FID, _DFID_NAME, _DFID = int(InfoType.FID), int(InfoType.DFID_NAME), int(InfoType.DFID)
_OLD, _NEW = int(InfoType.OLD_DFID_NAME), int(InfoType.NEW_DFID_NAME)
_ERROR = int(InfoType.ERROR)
#: enough to read what a queue of any sensible length held (4 MiB each), and an end to it while it is being filled
_CATCH_UP_FILLS = 64

Place = tuple[bytes | None, bytes | None]


class Raw:
    """
    One record, with identities as bytes (filesystem id and file handle).

    :ivar dir: identity of the directory that *name* is relative to; for a rename the old one
    :ivar name: name in it, ``b"."`` for the directory itself
    :ivar obj: identity of the object, if reported
    :ivar dir2: for a rename the new directory
    :ivar name2: for a rename the new name
    :ivar pid: process (or thread) id; for an overflow the number of records lost, 0 when unknown
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


class _Held:
    """DELETEs that are held back, found by their place or by the directory that they are in."""

    def __init__(self) -> None:
        self._at: dict[Place, Raw] = {}
        self._in: dict[bytes | None, dict[Place, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._at)

    def add(self, raw: Raw) -> None:
        place = (raw.dir, raw.name)
        self._at[place] = raw
        self._in.setdefault(raw.dir, {})[place] = None

    def before(self, raw: Raw) -> Raw | None:
        """Take one out that must have happened before *raw*."""
        if raw.mask & _DELETE and raw.obj in self._in:  # a directory is empty when it goes
            return self._take(next(iter(self._in[raw.obj])))
        for place in ((raw.dir, raw.name), (raw.dir2, raw.name2)):
            held = self._at.get(place)
            if held is not None and held.obj != raw.obj:  # the place was free for another
                return self._take(place)
        return None

    def first(self) -> Raw:
        """Take the first one out, or what must have happened before it."""
        return self._take(next(iter(self._at)))

    def clear(self) -> None:
        self._at.clear()
        self._in.clear()

    def _take(self, place: Place) -> Raw:
        while self._at[place].obj in self._in:
            place = next(iter(self._in[self._at[place].obj]))
        raw = self._at.pop(place)
        del self._in[raw.dir][place]
        if not self._in[raw.dir]:
            del self._in[raw.dir]
        return raw


class Sequence:
    """
    The records of one group between the kernel's queue and the engine.

    :param read: takes what is queued, up to a limit; returns the bytes of each read, and whether the queue was emptied
    :param max_records: records kept for an engine that is slow; past it, all are given up for one overflow record
    :ivar doubtful: renamed objects whose place is in doubt at this place of the stream, with their renames
    """

    def __init__(self, read: Callable[[], tuple[list[bytes], bool]], max_records: int = 1 << 20) -> None:
        self._read = read
        self._max = max_records
        self._pending: deque[Raw] = deque()
        self._structure: dict[bytes, deque[Raw]] = {}
        self._held = _Held()
        self._emptied = True
        self._renames: dict[bytes, list[Raw]] = {}
        self._unchecked: list[list[Raw]] = []
        self.doubtful: dict[bytes, list[Raw]] = {}

    def fill(self) -> None:
        """Read what is queued in the kernel, up to a limit."""
        buffers, self._emptied = self._read()
        for buffer in buffers:
            raws = decode(buffer)
            self._pending.extend(raws)
            for raw in raws:
                if raw.mask & _STRUCTURAL and raw.obj is not None and (raw.mask & _ONDIR or raw.mask & _RENAME):
                    self._structure.setdefault(raw.obj, deque()).append(raw)
        if len(self._pending) > self._max:
            self._give_up()

    def catch_up(self) -> None:
        """Read all that had been queued when this was called."""
        self.fill()
        for _ in range(_CATCH_UP_FILLS):
            if self._emptied:
                return
            self.fill()

    @property
    def n_pending(self) -> int:
        """Number of records that were read and not given out."""
        return len(self._pending)

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
            due = self._held.before(self._pending[0]) if self._pending else None
            if due is not None:
                return due
            if not self._pending and self._emptied:
                return self._held.first()
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
            self._held.add(Raw(raw.mask & (_DELETE | _ONDIR), raw.pid, raw.dir, raw.name, obj))
            raw.mask &= ~_DELETE
        return raw

    def _deleted_later(self, raw: Raw, obj: bytes) -> bool:
        """Tell whether the DELETE in *raw* belongs behind records that are still to come."""
        if raw.mask & _CREATE and raw.mask & _ONDIR:
            return True
        coming = self._structure.get(obj)
        return bool(coming) and any(r.dir2 == raw.dir and r.name2 == raw.name for r in coming or ())

    def _give_up(self) -> None:
        """The engine cannot keep up: instead of memory without bound, an overflow with the number of records."""
        overflow = Raw(_OVERFLOW, len(self._pending))
        self._pending.clear()
        self._structure.clear()
        self._held.clear()
        self._renames.clear()
        self.doubtful.clear()
        self._pending.append(overflow)

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
