"""
Records in the order in which they happened.

What the kernel's merging has put out of order is put right here (``merging``). The records that are read but not yet
processed also tell where a directory *was*: :meth:`Sequence.position`.
"""

from collections import deque
from collections.abc import Callable

from fanotify_fastpath._engines.fanotify.merging import HeldDeletes, RenameChains
from fanotify_fastpath._engines.fanotify.raw import Raw, decode
from fanotify_fastpath.mask import Mask

_RENAME = int(Mask.RENAME)
_DELETE = int(Mask.DELETE)
_CREATE = int(Mask.CREATE)
_ONDIR = int(Mask.ONDIR)
_OVERFLOW = int(Mask.Q_OVERFLOW)
_STRUCTURAL = _RENAME | _DELETE | _CREATE
#: enough to read what a queue of any sensible length held (4 MiB each), and an end to it while it is being filled
_CATCH_UP_FILLS = 64


class Sequence:
    """
    The records of one group between the kernel's queue and the engine.

    :param read: takes what is queued, up to a limit; returns the bytes of each read, and whether the queue was emptied
    :param max_records: records kept for an engine that is slow; past it, all are given up for one overflow record
    :ivar held: DELETEs whose time has not come
    :ivar renames: what was renamed, and whose place is in doubt at this place of the stream
    """

    def __init__(self, read: Callable[[], tuple[list[bytes], bool]], max_records: int = 1 << 20) -> None:
        self._read = read
        self._max = max_records
        self._pending: deque[Raw] = deque()
        self._structure: dict[bytes, deque[Raw]] = {}
        self.held = HeldDeletes()
        self.held.is_coming = self._structure.__contains__
        self._emptied = True
        self.renames = RenameChains()
        self._unchecked: list[list[Raw]] = []

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
        if self.held:
            due = self.held.before(self._pending[0]) if self._pending else None
            if due is not None:
                return due
            if not self._pending and self._emptied:
                return self.held.first()
        if not self._pending:
            self._close_window()
            return None
        raw = self._pending.popleft()
        if not raw.mask & _STRUCTURAL or raw.obj is None:
            return raw
        vanished = self.renames.vanished_before(raw)
        if vanished:  # they come first; this one is looked at again behind them
            self._pending.appendleft(raw)
            self._pending.extendleft(reversed(vanished))
            raw = self._pending.popleft()
        return self._next_structural(raw, raw.obj or b"")

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
            self.renames.note(raw, obj)
        elif raw.mask & _DELETE and self._deleted_later(raw, obj):
            self.held.add(Raw(raw.mask & (_DELETE | _ONDIR), raw.pid, raw.dir, raw.name, obj))
            raw.mask &= ~_DELETE
        return raw

    def _deleted_later(self, raw: Raw, obj: bytes) -> bool:
        """Tell whether the DELETE in *raw* belongs behind records that are still to come."""
        if raw.mask & _CREATE and raw.mask & _ONDIR:
            return True
        coming = self._structure.get(obj)
        return bool(coming) and any(later.new_place == raw.place for later in coming or ())

    def _give_up(self) -> None:
        """The engine cannot keep up: instead of memory without bound, an overflow with the number of records."""
        overflow = Raw(_OVERFLOW, len(self._pending))
        self._pending.clear()
        self._structure.clear()
        self.held.clear()
        self.renames.close()
        self._pending.append(overflow)

    def _close_window(self) -> None:
        """Everything that could have been merged has been read and given out."""
        if self._emptied:
            self._unchecked += self.renames.close()
