"""
Roots that are gone: the engine drops them from their sets, and tells of it in the stream, sooner or later.

The client is to drop them too, by their numbers, just before it reads that they are gone: neither sooner, for it may
stop to listen when the last one goes, nor later, for it may wait for that.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import Mask

_ENDS: Final = int(Mask.ROOT_GONE | Mask.UNMOUNT)


class Departures:
    """
    Finds the place in the stream for each number of a root that is gone.

    :ivar owed: numbers whose place has come, to be told as soon as there is room
    """

    def __init__(self) -> None:
        self.owed: deque[int] = deque()
        self._old: dict[int, bytes] = {}
        self._new: dict[int, bytes] = {}

    def __bool__(self) -> bool:
        """Tell whether anything is left to be told."""
        return bool(self.owed or self._old or self._new)

    def add(self, gone: Mapping[int, bytes]) -> None:
        """
        More are gone.

        :param gone: what the client calls each, by its number
        """
        self._new.update(gone)

    def begin(self) -> None:
        """The engine is about to be read: what it has to tell of the roots that are gone by now comes with that."""
        self._old.update(self._new)
        self._new.clear()

    def place(self, events: Sequence[Event], *, is_all: bool) -> dict[int, list[int]]:
        """
        Choose the places of numbers before these events.

        :param is_all: these were all that there were
        :return: numbers to be told before an event, by the event's place; what finds none is owed
        """
        if not self._old and not self._new:
            return {}
        ends = [n for n, event in enumerate(events) if int(event.mask) & _ENDS]
        places = {n: self._take(events[n].raw_path) for n in ends}
        if is_all and ends:
            places[ends[-1]] += self._take_old()
        elif is_all:
            self.owed += self._take_old()
        return places

    def _take(self, path: bytes | None) -> list[int]:
        """Take the roots of that name."""
        found = []
        for waiting in (self._old, self._new):
            numbers = [number for number, name in waiting.items() if name == path]
            for number in numbers:
                del waiting[number]
            found += numbers
        return found

    def _take_old(self) -> list[int]:
        numbers = list(self._old)
        self._old.clear()
        return numbers
