"""
Records in the order in which they happened.

What the kernel's merging has put out of order is put right here (``merging``). The records that are read but not yet
processed also tell where a directory *was*: :meth:`Sequence.position`.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from fanotify_fastpath._engines.fanotify.cookie import Cookie
from fanotify_fastpath._engines.fanotify.doers import Doers
from fanotify_fastpath._engines.fanotify.merging import HeldDeletes, RenameChains
from fanotify_fastpath._engines.fanotify.raw import Raw, decode
from fanotify_fastpath.mask import Mask

_RENAME: Final = int(Mask.RENAME)
_DELETE: Final = int(Mask.DELETE)
_CREATE: Final = int(Mask.CREATE)
_ONDIR: Final = int(Mask.ONDIR)
_OVERFLOW: Final = int(Mask.Q_OVERFLOW)
_STRUCTURAL: Final = _RENAME | _DELETE | _CREATE
#: enough for a queue of any sensible length (4 MiB each)
_CATCH_UP_FILLS: Final = 64
MAX_RECORDS: Final = 1 << 20


class Sequence:
    """
    The records of one group between the kernel's queue and the engine.

    *Moments* are numbers that grow. A moment has passed when all that the kernel had queued by then has been given out:
    the queue was seen empty since, or a cookie has come out of it, or as many records as were in it.

    :param read: takes what is queued, up to a limit; returns the bytes of each read, and whether the queue was emptied
    :param cookie: a record of our own in the queue
    :param n_queued: counts the records in the queue, which takes the kernel longer; for where there is no cookie
    :param max_records: records kept for an engine that is slow; past it, all are given up for one overflow record
    :param doers: reads in the place of *read*, and tells who did it
    :ivar held: DELETEs whose time has not come
    :ivar renames: what was renamed, and whose place is in doubt at this place of the stream
    :ivar n_given: number of records given out, of those that were read
    """

    def __init__(
        self,
        read: Callable[[], tuple[list[bytes], bool]],
        cookie: Cookie | None = None,
        n_queued: Callable[[], int] | None = None,
        max_records: int = MAX_RECORDS,
        doers: Doers | None = None,
    ) -> None:
        self._read = read if doers is None else doers.read_all
        self._cookie = cookie
        self._n_queued = n_queued
        self._max = max_records
        self._doers = doers
        self._pending: deque[Raw] = deque()
        self._structure: dict[bytes, deque[Raw]] = {}
        self.held = HeldDeletes()
        self.held.is_coming = self.is_coming
        self.renames = RenameChains()
        self._n_read = 0
        self.n_given = 0
        self._moment = 0
        self._passed = 0
        self._cookie_moment = 0  # of the cookie that is in the queue; 0 when none is
        self._cookie_place = 0  # without one: the number of records after which it would be
        # numbers of records read, and the moment that passes after them: of the newest, and of others before it
        self._end = self._end_moment = 0
        self._ends: deque[tuple[int, int]] = deque()

    def fill(self) -> None:
        """Read what is queued in the kernel, up to a limit."""
        self._moment += 1
        buffers, is_emptied = self._read()
        for buffer in buffers:
            raws = decode(buffer)
            if self._doers is not None:
                for raw, doer in zip(raws, self._doers.claim(), strict=True):
                    raw.doer = doer
            if self._cookie_moment:
                self._take_cookie(raws)
            self._n_read += len(raws)
            self._pending.extend(raws)
            for raw in raws:
                if raw.mask & _STRUCTURAL and raw.obj is not None and (raw.mask & _ONDIR or raw.mask & _RENAME):
                    self._structure.setdefault(raw.obj, deque()).append(raw)
        if is_emptied:
            self._add_end(self._n_read, self._moment)
        else:
            self._drop_cookie()
        if len(self._pending) > self._max:
            self._give_up()

    def catch_up(self) -> None:
        """Read all that had been queued when this was called."""
        self.fill()  # drops a cookie when there is more
        moment = self._moment
        for _ in range(_CATCH_UP_FILLS):
            if self._end_moment >= moment:
                return
            self.fill()

    def now(self) -> int:
        """Return a moment that has passed when all that is queued now has been given out."""
        self._moment += 1
        self._drop_cookie()
        return self._moment

    def has_passed(self, moment: int) -> bool:
        """Tell whether all that was queued at *moment* has been given out."""
        return self._last_passed() >= moment

    def _last_passed(self) -> int:
        if self._end <= self.n_given:
            self._passed = self._end_moment
            if self._ends:
                self._ends.clear()
        while self._ends and self._ends[0][0] <= self.n_given:
            self._passed = self._ends.popleft()[1]
        return self._passed

    def _add_end(self, n_read: int, moment: int) -> None:
        """A moment passes after so many records; what told of it has come."""
        if self._last_passed() < self._end_moment:
            self._ends.append((self._end, self._end_moment))
        self._end, self._end_moment = n_read, moment
        self._cookie_moment = 0

    def _drop_cookie(self) -> None:
        if self._cookie_moment:
            return
        if self._cookie is not None:
            self._cookie_moment = self._moment
            self._cookie.drop()
        elif self._n_queued is not None:
            self._cookie_moment = self._moment
            self._cookie_place = self._n_read + self._n_queued()

    def _take_cookie(self, raws: list[Raw]) -> None:
        if self._cookie is None:
            if self._n_read + len(raws) >= self._cookie_place:
                self._add_end(self._cookie_place, self._cookie_moment)
            return
        for n, raw in enumerate(raws):
            if raw.obj == self._cookie.key:
                self._add_end(self._n_read + n, self._cookie_moment)
                del raws[n]
                return

    @property
    def n_pending(self) -> int:
        """Number of records that were read and not given out."""
        return len(self._pending)

    @property
    def is_overdue(self) -> bool:
        """Tell whether a DELETE was held back that has happened by now."""
        return bool(self.held) and self.held.is_overdue(self._last_passed())

    def is_coming(self, key: bytes | None) -> bool:
        """Tell whether a record that was read and not given out says where an object goes, or comes from."""
        return key in self._structure

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
            if due is None:
                due = self.held.overdue(self._last_passed())
            if due is not None:
                return due
        if not self._pending:
            return None
        raw = self._pending.popleft()
        self.n_given += 1
        if not raw.mask & _STRUCTURAL or raw.obj is None:
            return raw
        vanished = self.renames.vanished_before(raw) if self.renames.n_chains else []
        if vanished:  # they come first; this one is looked at again behind them
            self._pending.appendleft(raw)
            self._pending.extendleft(reversed(vanished))
            self.n_given -= len(vanished)
            raw = self._pending.popleft()
        return self._next_structural(raw, raw.obj or b"")

    def take_doubtful(self) -> list[list[Raw]]:
        """Return the renames of each object whose place was in doubt because of one of which all has come to light."""
        passed = self._last_passed()
        return self.renames.close(passed) if self.renames.n_chains else []

    def _next_structural(self, raw: Raw, obj: bytes) -> Raw:
        coming = self._structure.get(obj)
        if coming and coming[0] is raw:
            coming.popleft()
            if not coming:
                del self._structure[obj]
        if raw.mask & _RENAME:
            self.renames.note(raw, obj, self._moment)
        elif raw.mask & _DELETE and self._deleted_later(raw, obj):
            held = Raw(raw.mask & (_DELETE | _ONDIR), raw.pid, raw.dir, raw.name, obj)
            held.doer = raw.doer
            self.held.add(held, self._moment)
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
        self.renames.clear()
        self.n_given = self._n_read
        self._n_read += 1
        self._pending.append(overflow)
