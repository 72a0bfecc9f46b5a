"""What handlers remember, kept in maps of the kernel: it behaves as it does in this process."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from fanotify_fastpath._bpf.maps import Map, MapType
from fanotify_fastpath._programs.state_maps import StateInMap, move_in, move_out
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.state import Counter, StateKey, StateMap

MOST = (1 << 64) - 1


class Remembering(Handler):
    """Declares one of each."""

    name = "remembering"
    n_seen = Counter()
    by_number = StateMap(max_entries=4)
    by_pair = StateMap(max_entries=4, key_words=2)
    by_name = StateMap(max_entries=4, key_bytes=11)


KEYS: dict[str, list[StateKey]] = {
    "by_number": [0, 1, 77, MOST, 5, 6],
    "by_pair": [(0, 0), (0, 1), (1, 0), (MOST, MOST), (3, 3), (4, 4)],
    "by_name": [b"", b"\0", b"\0\0", b"name", b"eleven byte", b"x"],
}


def in_kernel(name: str) -> Map:
    declared: Any = getattr(Remembering, name)
    if isinstance(declared, Counter):
        return Map.create(MapType.ARRAY, name, 4, 8, 1)
    key_size = 8 * declared.key_words if not declared.key_bytes else 8 + 16
    return Map.create(MapType.HASH, name, key_size, 8, declared.max_entries)


@pytest.fixture
def handlers() -> Iterator[tuple[Remembering, Remembering]]:
    """One whose state is in this process, and one whose state is in the kernel."""
    here, there = Remembering(), Remembering()
    for name in (*KEYS, "n_seen"):
        move_in(there, name, in_kernel(name), is_new=True)
    yield here, there
    for name in (*KEYS, "n_seen"):
        move_out(there, name)


@pytest.mark.parametrize("name", KEYS)
def test_a_map_in_the_kernel_does_what_one_in_this_process_does(
    handlers: tuple[Remembering, Remembering], name: str
) -> None:
    here, there = (getattr(handler, name) for handler in handlers)
    assert isinstance(there, StateInMap)
    choose = random.Random(name)
    for _ in range(500):
        key, value = choose.choice(KEYS[name]), choose.choice([0, 1, MOST])
        method = choose.choice(["put", "add", "get", "discard", "__contains__"])
        arguments = (key, value) if method in ("put", "add") else (key,)
        assert getattr(there, method)(*arguments) == getattr(here, method)(*arguments), (method, arguments)
        assert sorted(there.items()) == sorted(here.items())
    assert there.get(KEYS[name][0], 5) == here.get(KEYS[name][0], 5)


@pytest.mark.parametrize("name", KEYS)
def test_both_refuse_the_same(handlers: tuple[Remembering, Remembering], name: str) -> None:
    for handler in handlers:
        for key in ("text", -1, MOST + 1, (1,), (1, 2, 3), b"twelve bytes"):
            with pytest.raises(InvalidArgument, match="is no key of this map"):
                getattr(handler, name).get(key)
        for value in (-1, MOST + 1):
            with pytest.raises(InvalidArgument, match="is no value of a map"):
                getattr(handler, name).put(KEYS[name][0], value)


def test_a_counter_counts_in_the_kernel_as_here(handlers: tuple[Remembering, Remembering]) -> None:
    for n in (1, 5, -2, MOST, -3):
        for handler in handlers:
            handler.n_seen.add(n)
        assert handlers[0].n_seen.value == handlers[1].n_seen.value


def test_what_was_remembered_moves_into_the_kernel_and_out_again() -> None:
    handler = Remembering()
    handler.n_seen.add(7)
    handler.by_name.put(b"seen", 3)
    handler.by_pair.put((1, 2), 4)
    kept = {name: in_kernel(name) for name in (*KEYS, "n_seen")}
    for name, state_map in kept.items():
        move_in(handler, name, state_map, is_new=True)
    assert (handler.n_seen.value, handler.by_name.items(), handler.by_pair.get((1, 2))) == (7, [(b"seen", 3)], 4)
    kept["n_seen"].update(bytes(4), (9).to_bytes(8, "little"))  # as a program does
    handler.by_name.put(b"new", 1)
    for name in kept:
        move_out(handler, name)
    assert handler.n_seen.value == 9
    assert sorted(handler.by_name.items()) == [(b"new", 1), (b"seen", 3)]
    assert not isinstance(handler.by_pair, StateInMap)
