"""
What a handler remembers, while its program keeps it: maps of the kernel, behind the methods that users know.

A map's entry is read and then written again by :meth:`~StateInMap.add`: what the program adds between the two is lost.
"""

import errno
import struct
import threading
from collections.abc import Collection, Iterator
from typing import Any, Final, overload

from fanotify_fastpath._bpf.libbpf import ObjectMap
from fanotify_fastpath._bpf.maps import Map, MapType
from fanotify_fastpath.errors import InvalidArgument, KernelRefused
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.state import Counter, StateKey, StateMap, common_names

_U64: Final = struct.Struct("=Q")
_MASK: Final = (1 << 64) - 1
_ZERO: Final = bytes(4)


class CounterInMap:
    """
    A counter (:class:`~fanotify_fastpath.state.CounterStorage`).

    :ivar map: where it is
    """

    def __init__(self, state_map: Map) -> None:
        self.map = state_map
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        """The count, 0 to 2^64 - 1."""
        return int.from_bytes(self.map.lookup(_ZERO) or b"", "little")

    def add(self, n: int) -> None:
        """Add *n*, which may be negative; the sum wraps at 2^64."""
        with self._lock:
            self.map.update(_ZERO, _U64.pack(self.value + n & _MASK))

    def close(self) -> None:
        """Let go of the map."""
        self.map.close()


class StateInMap:
    """
    A map (:class:`~fanotify_fastpath.state.MapStorage`).

    :ivar map: where it is
    """

    def __init__(self, state_map: Map, declared: StateMap) -> None:
        self.map = state_map
        self._declared = declared
        self._lock = threading.Lock()

    @overload
    def get(self, key: StateKey) -> int | None: ...
    @overload
    def get(self, key: StateKey, default: int) -> int: ...
    def get(self, key: StateKey, default: int | None = None) -> int | None:
        """Return the value of *key*, or *default* when it is not there."""
        value = self.map.lookup(self._pack(key))
        return default if value is None else int(_U64.unpack(value)[0])

    def __contains__(self, key: StateKey) -> bool:
        return self.get(key) is not None

    def put(self, key: StateKey, value: int) -> bool:
        """Set the value of *key*; False when the map is full."""
        if not 0 <= value <= _MASK:
            raise InvalidArgument(f"{value!r} is no value of a map: 0 to 2^64 - 1 are possible")
        try:
            self.map.update(self._pack(key), _U64.pack(value))
        except KernelRefused as exc:
            if exc.errno != errno.E2BIG:
                raise
            return False
        return True

    def add(self, key: StateKey, n: int) -> int | None:
        """Add *n*, which may be negative, to the value of *key*; None when the map is full."""
        with self._lock:
            value = self.get(key, 0) + n & _MASK
            return value if self.put(key, value) else None

    def discard(self, key: StateKey) -> None:
        """Remove *key*, if it is there."""
        self.map.delete(self._pack(key))

    def items(self) -> list[tuple[StateKey, int]]:
        """Return all keys with their values; what changes meanwhile may be missing."""
        return list(self._items())

    def close(self) -> None:
        """Let go of the map."""
        self.map.close()

    def _items(self) -> Iterator[tuple[StateKey, int]]:
        for key in self.map.keys():  # noqa: SIM118
            value = self.map.lookup(key)
            if value is not None:
                yield self._unpack(key), int(_U64.unpack(value)[0])

    def _pack(self, key: StateKey) -> bytes:
        self._declared.check_key(key)
        if isinstance(key, bytes):
            return _U64.pack(len(key)) + key.ljust(self.map.key_size_bytes - _U64.size, b"\0")
        words = key if isinstance(key, tuple) else (key,)
        return struct.pack(f"={len(words)}Q", *words)

    def _unpack(self, key: bytes) -> StateKey:
        if self._declared.key_bytes:
            (length,) = _U64.unpack_from(key)
            return key[_U64.size : _U64.size + length]
        words = struct.unpack(f"={self._declared.key_words}Q", key)
        return words[0] if len(words) == 1 else words


def shape(declared: Counter | StateMap, object_map: ObjectMap) -> None:
    """Give a map of an object, before its load, the form of what a handler declares."""
    if isinstance(declared, Counter):
        object_map.reshape(MapType.ARRAY, 4, _U64.size, 1)
        return
    kind = MapType.LRU_HASH if declared.evict else MapType.HASH
    key_size = _U64.size * declared.key_words
    if declared.key_bytes:
        key_size = _U64.size + -(-declared.key_bytes // _U64.size) * _U64.size
    object_map.reshape(kind, key_size, _U64.size, declared.max_entries)


def move_in(handler: Handler, name: str, state_map: Map, *, is_new: bool) -> None:
    """
    Have a handler's state in a map of the kernel from now on.

    :param name: of the attribute
    :param is_new: the map is empty: it begins with what the handler has so far
    """
    declared: Any = getattr(type(handler), name)
    before: Any = getattr(handler, name)
    storage = CounterInMap(state_map) if isinstance(declared, Counter) else StateInMap(state_map, declared)
    if is_new:
        _copy(before, storage)
    declared.use(handler, storage)


def kept_maps(old: Handler, old_names: Collection[str], new: Handler, new_names: Collection[str]) -> dict[str, Map]:
    """The maps of what two handlers remember in the kernel, under the same name and in the same form."""
    names = set(old_names) & set(new_names) & set(common_names(type(old), type(new)))
    return {name: getattr(old, name).map for name in names}


def move_out(handler: Handler, name: str) -> None:
    """Have a handler's state in this process from now on, as it is now."""
    storage: Any = getattr(handler, name)
    copy_out(handler, name)
    storage.close()


def copy_out(handler: Handler, name: str) -> None:
    """The same, if others use the map."""
    declared: Any = getattr(type(handler), name)
    storage: Any = getattr(handler, name)
    declared.use(handler, declared.make())
    _copy(storage, getattr(handler, name))


def _copy(old: Any, new: Any) -> None:
    if hasattr(old, "items"):
        for key, value in old.items():
            new.put(key, value)
    elif old.value:
        new.add(old.value)
