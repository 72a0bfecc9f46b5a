"""
State: what a handler remembers from one event to the next, and what its user reads and writes while events flow.

State is declared as a class attribute. Each attach has its own, empty at first; the instance shows it under the same
name, to ``handle`` and to the user::

    class CountByUser(Handler):
        n_seen = Counter()
        by_uid = StateMap(max_entries=1024)

        def handle(self, event):
            self.n_seen.add(1)
            if event.uid is not None:
                self.by_uid.add(event.uid, 1)
            return SEND_TO_USERSPACE

    attachment = group.attach(CountByUser)
    attachment.handler.by_uid.get(0)

All numbers are unsigned and have 64 bits; sums wrap at 2^64. Where the engine keeps the storage is its own affair.
"""

import threading
from collections import OrderedDict
from typing import Any, Final, Generic, NoReturn, Protocol, Self, TypeVar, overload

from fanotify_fastpath.errors import InvalidArgument

#: most entries of one map
ENTRIES_MAX: Final = 1 << 20
#: most integers in one key, and the longest key of bytes
KEY_MAX_WORDS: Final = 4
KEY_MAX_BYTES: Final = 255
_U64_MAX: Final = (1 << 64) - 1

#: an integer, as many as the map's ``key_words`` says in a tuple, or bytes
StateKey = int | bytes | tuple[int, ...]


class CounterStorage(Protocol):
    """One attach's counter."""

    @property
    def value(self) -> int:
        """The count, 0 to 2^64 - 1."""
        ...

    def add(self, n: int) -> None:
        """Add *n*, which may be negative; the sum wraps at 2^64."""
        ...


class MapStorage(Protocol):
    """
    One attach's map. Each method raises :exc:`~fanotify_fastpath.InvalidArgument` for a key of another form than the
    declared one.
    """

    @overload
    def get(self, key: StateKey) -> int | None: ...
    @overload
    def get(self, key: StateKey, default: int) -> int: ...
    def get(self, key: StateKey, default: int | None = None) -> int | None:
        """Return the value of *key*, or *default* when it is not there."""
        ...

    def __contains__(self, key: StateKey) -> bool:
        """Tell whether *key* is there."""
        ...

    def put(self, key: StateKey, value: int) -> bool:
        """
        Set the value of *key*.

        :param value: 0 to 2^64 - 1
        :return: False when the map is full
        :raises InvalidArgument: *value* has more than 64 bits, or is negative
        """
        ...

    def add(self, key: StateKey, n: int) -> int | None:
        """
        Add *n*, which may be negative, to the value of *key*: 0 when it is not there.

        :return: the new value, wrapped at 2^64; None when the map is full
        """
        ...

    def discard(self, key: StateKey) -> None:
        """Remove *key*, if it is there."""
        ...

    def items(self) -> list[tuple[StateKey, int]]:
        """Return all keys with their values, as they are now; ``handle`` cannot ask for that."""
        ...


S = TypeVar("S")


class _Declaration(Generic[S]):
    """A class attribute that stands for something of each instance."""

    _name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> S: ...
    def __get__(self, instance: object | None, owner: type) -> Self | S:
        if instance is None:
            return self
        storages: dict[str, S] = vars(instance)
        # two threads may be the first ones to ask: setdefault gives both the same
        return storages[self._name] if self._name in storages else storages.setdefault(self._name, self.make())

    def __set__(self, instance: object, value: Any) -> NoReturn:
        raise AttributeError(f"{self._name!r} is state: change it by its methods")

    def use(self, instance: object, storage: S) -> None:
        """Let *storage* be that of *instance* from now on."""
        vars(instance)[self._name] = storage

    def make(self) -> S:
        """Make an empty storage in this process."""
        raise NotImplementedError

    @property
    def form(self) -> tuple[object, ...]:
        """What another declaration must have in common with this one to use the same storage."""
        raise NotImplementedError


class Counter(_Declaration[CounterStorage]):
    """
    Declares a counter, 0 at first.

    In an instance it is a :class:`CounterStorage`: ``self.n_seen.add(1)``, ``self.n_seen.value``.
    """

    def make(self) -> CounterStorage:
        return _Count()

    @property
    def form(self) -> tuple[object, ...]:
        return (Counter,)


class StateMap(_Declaration[MapStorage]):
    """
    Declares a bounded map from keys to numbers, empty at first.

    In an instance it is a :class:`MapStorage`: ``get``, ``put``, ``add``, ``discard``, ``in``, ``items``.

    :param max_entries: 1 to 2^20
    :param key_words: a key is an integer (1), or a tuple of so many (2 to 4), each 0 to 2^64 - 1
    :param key_bytes: if not 0, a key is bytes instead, at most so many (up to 255)
    :param evict: when the map is full, what has not been used for longest makes room
    :raises InvalidArgument: one of these is out of bounds
    """

    def __init__(self, *, max_entries: int = 4096, key_words: int = 1, key_bytes: int = 0, evict: bool = False) -> None:
        if not 1 <= max_entries <= ENTRIES_MAX:
            raise InvalidArgument(f"a map of {max_entries} entries: 1 to {ENTRIES_MAX} are possible")
        if not 1 <= key_words <= KEY_MAX_WORDS:
            raise InvalidArgument(f"a key of {key_words} integers: 1 to {KEY_MAX_WORDS} are possible")
        if not 0 <= key_bytes <= KEY_MAX_BYTES:
            raise InvalidArgument(f"a key of up to {key_bytes} bytes: up to {KEY_MAX_BYTES} are possible")
        if key_bytes and key_words != 1:
            raise InvalidArgument("a key is either integers or bytes: give key_words or key_bytes")
        self.max_entries = max_entries
        self.key_words = key_words
        self.key_bytes = key_bytes
        self.evict = evict

    def check_key(self, key: StateKey) -> None:
        """
        Check that a key has the declared form.

        :raises InvalidArgument: it has not
        """
        if self.key_bytes:
            fits = isinstance(key, bytes) and len(key) <= self.key_bytes
        elif self.key_words == 1:
            fits = _is_u64(key)
        else:
            fits = isinstance(key, tuple) and len(key) == self.key_words and all(map(_is_u64, key))
        if not fits:
            raise InvalidArgument(f"{key!r} is no key of this map: {self._form()}")

    def _form(self) -> str:
        if self.key_bytes:
            return f"bytes, at most {self.key_bytes}"
        words = "one integer" if self.key_words == 1 else f"a tuple of {self.key_words} integers"
        return f"{words} of 0 to 2^64 - 1"

    def make(self) -> MapStorage:
        return _Entries(self)

    @property
    def form(self) -> tuple[object, ...]:
        return (StateMap, self.max_entries, self.key_words, self.key_bytes, self.evict)


def common_names(one: type, other: type) -> list[str]:
    """What two classes declare under the same name and in the same form."""
    found = []
    for name in dir(one):
        mine, its = getattr(one, name), getattr(other, name, None)
        if isinstance(mine, _Declaration) and isinstance(its, _Declaration) and mine.form == its.form:
            found.append(name)
    return found


def take_over(new: object, old: object) -> None:
    """Let *new* remember what *old* does, where both declare it in the same form."""
    for name in common_names(type(new), type(old)):
        getattr(type(new), name).use(new, getattr(old, name))


def _is_u64(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= _U64_MAX


class _Count:
    """A counter in this process."""

    def __init__(self) -> None:
        self._value = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        return self._value

    def add(self, n: int) -> None:
        with self._lock:
            self._value = self._value + n & _U64_MAX


class _Entries:
    """A map in this process; the entries stand in the order of their last use."""

    def __init__(self, declared: StateMap) -> None:
        self._declared = declared
        self._values: OrderedDict[StateKey, int] = OrderedDict()
        self._lock = threading.Lock()

    @overload
    def get(self, key: StateKey) -> int | None: ...
    @overload
    def get(self, key: StateKey, default: int) -> int: ...
    def get(self, key: StateKey, default: int | None = None) -> int | None:
        self._declared.check_key(key)
        with self._lock:
            if key not in self._values:
                return default
            self._values.move_to_end(key)
            return self._values[key]

    def __contains__(self, key: StateKey) -> bool:
        return self.get(key) is not None

    def put(self, key: StateKey, value: int) -> bool:
        if not _is_u64(value):
            raise InvalidArgument(f"{value!r} is no value of a map: 0 to 2^64 - 1 are possible")
        self._declared.check_key(key)
        with self._lock:
            return self._put(key, value)

    def add(self, key: StateKey, n: int) -> int | None:
        self._declared.check_key(key)
        with self._lock:
            value = self._values.get(key, 0) + n & _U64_MAX
            return value if self._put(key, value) else None

    def discard(self, key: StateKey) -> None:
        self._declared.check_key(key)
        with self._lock:
            self._values.pop(key, None)

    def items(self) -> list[tuple[StateKey, int]]:
        with self._lock:
            return list(self._values.items())

    def _put(self, key: StateKey, value: int) -> bool:
        if key not in self._values and len(self._values) >= self._declared.max_entries:
            if not self._declared.evict:
                return False
            self._values.popitem(last=False)
        self._values[key] = value
        self._values.move_to_end(key)
        return True
