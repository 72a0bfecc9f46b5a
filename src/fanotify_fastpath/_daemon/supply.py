"""
From the engine into the client's ring. What finds no room there is counted, and told as soon as there is room again.

A turn is bounded, so that a client's requests are answered however much happens, and other sessions have their turns.
"""

import time
from typing import Final

from fanotify_fastpath._daemon.departures import Departures
from fanotify_fastpath._daemon.holdings import Holdings
from fanotify_fastpath._daemon.records import Records
from fanotify_fastpath._engines.base import Engine
from fanotify_fastpath._wire.memory import MemoryRing
from fanotify_fastpath._wire.told import Told
from fanotify_fastpath.mask import Mask

#: events that the engine keeps for us at most: as many as records that it has read, for they are
#: all decided about at once when somebody asks for that
STORE_MAX: Final = 1 << 16
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
        self._departures = Departures()

    @property
    def retry_s(self) -> float | None:
        """After what time :meth:`turn` is to be called though nothing has come; None: not at all."""
        return RETRY_S if self._departures or self.n_dropped > self._n_told else None

    def turn(self, *, is_ready: bool) -> bool:
        """
        Hand on some events.

        :param is_ready: the engine has some
        :return: there may be more
        """
        if self._hand_on(_TURN_MAX if is_ready else 0) < _TURN_MAX:
            return False
        time.sleep(0)  # others may need the interpreter
        return True

    def catch_up(self) -> None:
        """Hand on all that has happened so far."""
        self._engine.catch_up()
        # What is stored by now is all that the marks of subtrees have told. A second look reads what those of single
        # objects have, unless a reader has read that, and stored it, in the meantime.
        for _ in range(2):
            self._hand_on(2 * STORE_MAX)

    def _hand_on(self, max_events: int) -> int:
        """Hand on so many events at most; returns how many there were."""
        self._departures.add(self._holdings.take_gone())
        self._departures.begin()
        events = self._engine.read(max_events, 0.0) if max_events else []
        self._departures.add(self._holdings.take_gone())
        places = self._departures.place(events, is_all=not max_events or len(events) < max_events)
        has_room = self._tell_owed()
        for n, event in enumerate(events):
            if n in places:
                self._departures.owed += places[n]
                has_room = self._tell_owed()
            has_room = has_room and self._put(self.records.of_event(event, self.n_dropped))
            if not has_room:  # the rest of this turn need not be tried
                self.n_dropped += 1
        self._tell_losses()
        return len(events)

    def _put(self, record: bytes) -> bool:
        if not self._ring.put(record):
            return False
        self.n_put += 1
        self._n_told = self.n_dropped
        return True

    def _tell_owed(self) -> bool:
        """Name the roots that are gone; tells whether there was room for it."""
        owed = self._departures.owed
        while owed:
            if not self._put(self.records.of_stream(Told(Mask(0), 0, owed[0]), self.n_dropped)):
                return False
            owed.popleft()
        return True

    def _tell_losses(self) -> None:
        """The number of records lost stands in every record, so any one will do."""
        if self.n_dropped > self._n_told:
            self._put(self.records.of_stream(Told(Mask.Q_OVERFLOW), self.n_dropped))
