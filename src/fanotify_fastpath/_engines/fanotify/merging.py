"""
What the kernel's merging hides, and how it is found again.

The kernel merges an event into an earlier unread one for the same object, name and process. So a bit of a record may
have happened at any time between the record's place in the queue and its read. Three things follow:

- a directory created and removed gives one record CREATE|DELETE *before* the records of what happened inside it, and
  likewise a file renamed between its creation and its deletion: such a DELETE is held back (:class:`HeldDeletes`);
- a rename that repeats an earlier one (a→b, b→a, a→b) vanishes in it. From where an object came back to where it had
  been, its place is in doubt, until what follows, or a look, shows it (:class:`RenameChains`).
"""

import bisect
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from fanotify_fastpath._engines.fanotify.raw import Place, Raw
from fanotify_fastpath.mask import Mask

_RENAME: Final = int(Mask.RENAME)
_CREATE: Final = int(Mask.CREATE)
_DELETE: Final = int(Mask.DELETE)
_ONDIR: Final = int(Mask.ONDIR)


class HeldDeletes:
    """DELETEs that are held back, found by their place or by the directory that they are in."""

    def __init__(self) -> None:
        # ordered ones: to find the first of a plain dict takes long once many before it were removed
        self._at: OrderedDict[Place, tuple[Raw, int]] = OrderedDict()
        self._in: dict[bytes | None, OrderedDict[Place, None]] = {}
        #: tells which directory stands at a place, as far as the engine knows
        self.directory_at: Callable[[Place], bytes | None] = lambda place: None
        #: tells whether records of an object are still to come: then it was exchanged, not removed, before them
        self.is_coming: Callable[[bytes | None], bool] = lambda obj: False

    def __bool__(self) -> bool:
        return bool(self._at)

    def add(self, raw: Raw, moment: int) -> None:
        """
        Hold one back.

        :param moment: once this has passed, it has happened
        """
        self._at[raw.place] = raw, moment
        self._in.setdefault(raw.dir, OrderedDict())[raw.place] = None

    def before(self, raw: Raw) -> Raw | None:
        """Take one out that must have happened before *raw*."""
        if raw.mask & _DELETE and raw.obj in self._in:  # a directory is empty when it goes
            return self._take(next(iter(self._in[raw.obj])))
        if raw.mask & _RENAME and raw.mask & _ONDIR:  # and when another takes its place
            replaced = self.directory_at(raw.new_place)
            if replaced != raw.obj and replaced in self._in:
                return self._take(next(iter(self._in[replaced])))
        place = raw.new_place if raw.mask & _RENAME else raw.place
        held, _ = self._at.get(place, (None, 0))
        if held is None or held.obj == raw.obj or (raw.mask & _RENAME and self.is_coming(held.obj)):
            return None  # (the last: the two were exchanged)
        return self._take(place)  # the place was free for another

    def overdue(self, moment: int) -> Raw | None:
        """
        Take one out that has happened by now, whatever comes.

        :param moment: the last one that has passed
        """
        place, (_, due) = next(iter(self._at.items()))
        return self._take(place) if due <= moment else None

    def is_overdue(self, moment: int) -> bool:
        """Tell whether :meth:`overdue` has one."""
        for _, due in self._at.values():
            return due <= moment
        return False

    def clear(self) -> None:
        """Forget all."""
        self._at.clear()
        self._in.clear()

    def _take(self, place: Place) -> Raw:
        while self._at[place][0].obj in self._in:
            place = next(iter(self._in[self._at[place][0].obj]))
        raw, _ = self._at.pop(place)
        del self._in[raw.dir][place]
        if not self._in[raw.dir]:
            del self._in[raw.dir]
        return raw


class _Chain:
    """The renames of one object, each with the moment at which all that was merged into it has come to light."""

    __slots__ = ("links", "moments", "places", "renames")

    def __init__(self) -> None:
        self.renames: list[Raw] = []
        self.moments: list[int] = []
        self.places: set[Place] = set()
        self.links: set[Place] = set()

    def add(self, raw: Raw, moment: int) -> bool:
        """Add a rename; return whether it came back to where it had been."""
        self.renames.append(raw)
        self.moments.append(moment)
        self.places.add(raw.place)
        return raw.new_place in self.places

    def shed(self, moment: int) -> bool:
        """Drop what is past; return whether the rest comes back to where it had been."""
        n = bisect.bisect_right(self.moments, moment)
        del self.renames[:n], self.moments[:n]
        self.places.clear()
        returns = False
        for raw in self.renames:
            self.places.add(raw.place)
            returns = returns or raw.new_place in self.places
        return returns


class RenameChains:
    """
    Renames into which others may have been merged, by object.

    :ivar doubtful: objects that came back to where they had been, with their renames
    """

    def __init__(self) -> None:
        self._chains: OrderedDict[bytes, _Chain] = OrderedDict()
        self._standing: dict[Place, bytes] = {}
        self.doubtful: dict[bytes, list[Raw]] = {}

    @property
    def n_chains(self) -> int:
        """Number of objects that were renamed, and of which not all has come to light yet."""
        return len(self._chains)

    def note(self, raw: Raw, obj: bytes, moment: int) -> None:
        """
        A rename was given out.

        :param moment: once this has passed, all that was merged into it has come to light
        """
        chain = self._chains.get(obj)
        if chain is None:
            chain = self._chains[obj] = _Chain()
        returns = chain.add(raw, moment)
        self._standing.pop(raw.place, None)
        if returns or obj in self.doubtful:
            self.doubtful[obj] = chain.renames
            self._standing[raw.new_place] = obj

    def vanished_before(self, raw: Raw) -> list[Raw]:
        """
        Find renames that must have happened, again, before *raw*, because of what *raw* says.

        - the object leaves, or is removed, from where it was not believed to stand (and no link of it was made there);
        - another object is created where one in doubt was believed to stand.
        """
        chain = self._chains.get(raw.obj or b"")
        if chain is not None and raw.mask & _CREATE:
            chain.links.add(raw.place)
        elif chain is not None and raw.place not in chain.links:
            return repeated(chain.renames, raw.place)
        if raw.mask & _CREATE:
            other = self._standing.get(raw.place)
            if other is not None and other != raw.obj:
                onwards = [earlier for earlier in self._chains[other].renames if earlier.place == raw.place]
                return [earlier.again() for earlier in onwards[-1:]]
        return []

    def close(self, moment: int) -> list[list[Raw]]:
        """
        Forget the renames of which all has come to light.

        :param moment: the last one that has passed
        :return: the renames of each object that was in doubt because of one of them
        """
        doubtful = []
        while self._chains:
            obj, chain = next(iter(self._chains.items()))
            if chain.moments[0] > moment:
                break
            if self.doubtful.pop(obj, None) is not None:
                doubtful.append(list(chain.renames))
                for raw in chain.renames:
                    if self._standing.get(raw.new_place) == obj:
                        del self._standing[raw.new_place]
            if chain.shed(moment):
                self.doubtful[obj] = chain.renames
                self._standing[chain.renames[-1].new_place] = obj
            if chain.renames:
                self._chains.move_to_end(obj)
            else:
                del self._chains[obj]
        return doubtful

    def clear(self) -> None:
        """Forget all."""
        self._chains.clear()
        self._standing.clear()
        self.doubtful.clear()


def repeated(chain: list[Raw], place: Place) -> list[Raw]:
    """
    Find the renames that must have happened again, and vanished in *chain* by merging.

    :param chain: renames of one object, in the order in which they came
    :param place: where it turns out to stand after them
    :return: copies of those that lead from where the chain ends to *place*, in order; empty if none do
    """
    start = chain[-1].new_place
    ways: dict[Place, list[Raw]] = {start: []}
    places = deque([start])
    while places and place not in ways:
        here = places.popleft()
        for raw in chain:
            if raw.place == here and raw.new_place not in ways:
                ways[raw.new_place] = [*ways[here], raw]
                places.append(raw.new_place)
    return [raw.again() for raw in ways.get(place, [])]
