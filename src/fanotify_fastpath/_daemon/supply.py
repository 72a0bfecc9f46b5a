"""
From the engine into the client's ring. What finds no room there is counted, and told as soon as there is room again.

A turn is bounded, so that a client's requests are answered however much happens, and other sessions have their turns.
"""

import time
from collections import deque
from typing import Final

from fanotify_fastpath._daemon.holdings import Holdings
from fanotify_fastpath._daemon.records import Records
from fanotify_fastpath._engines.base import Engine
from fanotify_fastpath._wire.memory import MemoryRing
from fanotify_fastpath._wire.told import Told
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import Mask

#: events that the engine keeps for us at most
STORE_MAX: Final = 16384
_TURN_MAX: Final = 512
#: what was not told for want of room is tried again after so long
RETRY_S: Final = 0.1


class Supply:
    """
    Fills one ring.

    :ivar n_put: records put into the ring
    :ivar n_dropped: events that found no room
    """

    def __init__(self, engine: Engine, ring: MemoryRing, holdings: Holdings) -> None:
        self._engine = engine
        self._ring = ring
        self._holdings = holdings
        self.records = Records(holdings.numbers)
        self.n_put = 0
        self.n_dropped = 0
        self._n_told = 0
        self._gone: deque[int] = deque()

    @property
    def retry_s(self) -> float | None:
        """After what time :meth:`turn` is to be called though nothing has come; None: not at all."""
        return RETRY_S if self._is_owing else None

    @property
    def _is_owing(self) -> bool:
        return bool(self._gone) or self.n_dropped > self._n_told

    def turn(self, *, is_ready: bool) -> bool:
        """
        Hand on some events.

        :param is_ready: the engine has some
        :return: there may be more
        """
        events = self._engine.read(_TURN_MAX, 0.0) if is_ready else []
        self._hand_on(events)
        if len(events) < _TURN_MAX:
            return False
        time.sleep(0)  # others may need the interpreter
        return True

    def catch_up(self) -> None:
        """Hand on all that has happened so far."""
        self._engine.catch_up()
        # What is stored by now is all that the marks of subtrees have told. A second look reads what those of single
        # objects have, unless a reader has read that, and stored it, in the meantime.
        for _ in range(2):
            self._hand_on(self._engine.read(2 * STORE_MAX, 0.0))

    def _hand_on(self, events: list[Event]) -> None:
        self._gone += self._holdings.take_gone()
        self._tell_gone()
        has_room = True
        for event in events:
            has_room = has_room and self._put(self.records.of_event(event, self.n_dropped))
            if not has_room:  # the rest of this turn need not be tried
                self.n_dropped += 1
        self._tell_losses()

    def _put(self, record: bytes) -> bool:
        if not self._ring.put(record):
            return False
        self.n_put += 1
        self._n_told = self.n_dropped
        return True

    def _tell_gone(self) -> None:
        """Name the roots that are gone, before the events that say so."""
        while self._gone and self._put(self.records.of_stream(Told(Mask(0), 0, self._gone[0]), self.n_dropped)):
            self._gone.popleft()

    def _tell_losses(self) -> None:
        """The number of records lost stands in every record, so any one will do."""
        if self.n_dropped > self._n_told:
            self._put(self.records.of_stream(Told(Mask.Q_OVERFLOW), self.n_dropped))
