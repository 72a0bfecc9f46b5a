"""
What the kernel's merging hides, and how it is found again.

The kernel merges an event into an earlier unread one for the same object, name and process. So a bit of a record may
have happened at any time between the record's place in the queue and its read. Three things follow:

- a directory created and removed gives one record CREATE|DELETE *before* the records of what happened inside it, and
  likewise a file renamed between its creation and its deletion: such a DELETE is held back (:class:`HeldDeletes`);
- a rename that repeats an earlier one (a→b, b→a, a→b) vanishes in it. From where an object came back to where it had
  been, its place is in doubt, until what follows, or a look, shows it (:class:`RenameChains`).
"""

from collections import deque
from collections.abc import Callable

from fanotify_fastpath._engines.fanotify.raw import Place, Raw
from fanotify_fastpath.mask import Mask

_RENAME, _CREATE, _DELETE = int(Mask.RENAME), int(Mask.CREATE), int(Mask.DELETE)
_ONDIR = int(Mask.ONDIR)


class HeldDeletes:
    """DELETEs that are held back, found by their place or by the directory that they are in."""

    def __init__(self) -> None:
        self._at: dict[Place, Raw] = {}
        self._in: dict[bytes | None, dict[Place, None]] = {}
        #: tells whether a directory stands at a place, as far as the engine knows
        self.stands_at: Callable[[bytes, Place], bool] = lambda key, place: False
        #: tells whether records of an object are still to come: then it was exchanged, not removed, before them
        self.is_coming: Callable[[bytes | None], bool] = lambda obj: False

    def __bool__(self) -> bool:
        return bool(self._at)

    def add(self, raw: Raw) -> None:
        """Hold one back."""
        self._at[raw.place] = raw
        self._in.setdefault(raw.dir, {})[raw.place] = None

    def before(self, raw: Raw) -> Raw | None:
        """Take one out that must have happened before *raw*."""
        if raw.mask & _DELETE and raw.obj in self._in:  # a directory is empty when it goes
            return self._take(next(iter(self._in[raw.obj])))
        if raw.mask & _RENAME and raw.mask & _ONDIR:  # and when another takes its place
            for key, places in self._in.items():
                if key is not None and self.stands_at(key, raw.new_place):
                    return self._take(next(iter(places)))
        place = raw.new_place if raw.mask & _RENAME else raw.place
        held = self._at.get(place)
        if held is None or held.obj == raw.obj or (raw.mask & _RENAME and self.is_coming(held.obj)):
            return None  # (the last: the two were exchanged)
        return self._take(place)  # the place was free for another

    def first(self) -> Raw:
        """Take the first one out, or what must have happened before it."""
        return self._take(next(iter(self._at)))

    def clear(self) -> None:
        """Forget all."""
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


class RenameChains:
    """
    The renames since the queue was last seen empty, by object.

    :ivar doubtful: objects that came back to where they had been, with their renames
    """

    def __init__(self) -> None:
        self._chains: dict[bytes, list[Raw]] = {}
        self._standing: dict[Place, bytes] = {}
        self._links: set[tuple[bytes, Place]] = set()
        self.doubtful: dict[bytes, list[Raw]] = {}

    def note(self, raw: Raw, obj: bytes) -> None:
        """A rename was given out."""
        chain = self._chains.setdefault(obj, [])
        chain.append(raw)
        self._standing.pop(raw.place, None)
        if obj in self.doubtful or any(earlier.place == raw.new_place for earlier in chain):
            self.doubtful[obj] = chain
            self._standing[raw.new_place] = obj

    def vanished_before(self, raw: Raw) -> list[Raw]:
        """
        Find renames that must have happened, again, before *raw*, because of what *raw* says.

        - the object leaves, or is removed, from where it was not believed to stand (and no link of it was made there);
        - another object is created where one in doubt was believed to stand.
        """
        chain = self._chains.get(raw.obj or b"")
        if chain is not None and raw.mask & _CREATE:
            self._links.add((raw.obj or b"", raw.place))
        elif chain is not None and (raw.obj, raw.place) not in self._links:
            return repeated(chain, raw.place)
        if raw.mask & _CREATE:
            other = self._standing.get(raw.place)
            if other is not None and other != raw.obj:
                onwards = [earlier for earlier in self._chains[other] if earlier.place == raw.place]
                return [earlier.again() for earlier in onwards[-1:]]
        return []

    def close(self) -> list[list[Raw]]:
        """All that could have been merged was given out: return the chains that are still in doubt, and forget all."""
        chains = list(self.doubtful.values())
        self._chains.clear()
        self._standing.clear()
        self._links.clear()
        self.doubtful.clear()
        return chains


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
