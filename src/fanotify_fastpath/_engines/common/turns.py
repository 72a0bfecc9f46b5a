"""
How the threads of one group take turns: those that read, and those that change something.

One lock is for all. A reader that is busy without end releases it and takes it again at once, which lets nobody in; so
it pauses when it sees somebody waiting. A reader that is woken for each single event pauses before it waits again: then
one waking serves many events, and whoever makes them need not wake somebody for each.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

_COURTESY_S: Final = 0.0005
#: woken so often after so short a wait is hurried
_HURRIED_MAX: Final = 16
_HURRIED_NS: Final = 100_000
_PAUSE_S: Final = 0.0005


class Turns:
    """
    One lock, and the manners around it.

    :ivar lock: for who may wait
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._waiting: set[int] = set()
        self._n_hurried = 0  # times that nothing had to be waited for, one after the other

    @contextlib.contextmanager
    def urgent(self) -> Iterator[None]:
        """Take the lock, also from a reader that is busy without end."""
        me = threading.get_ident()
        self._waiting.add(me)
        try:
            self.lock.acquire()
        finally:
            self._waiting.discard(me)
        try:
            yield
        finally:
            self.lock.release()

    def let_others_in(self) -> None:
        """Before a reader takes the lock again."""
        if self._waiting:
            time.sleep(_COURTESY_S)

    def pause(self, left_s: float | None) -> None:
        """
        Before a reader waits for events.

        :param left_s: seconds that it may take; None: any
        """
        if self._n_hurried > _HURRIED_MAX and (left_s is None or left_s > _PAUSE_S):
            time.sleep(_PAUSE_S)

    def note_wait(self, waited_ns: int) -> None:
        """Events have come after so long a wait."""
        self._n_hurried = self._n_hurried + 1 if waited_ns < _HURRIED_NS else 0
