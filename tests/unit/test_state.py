"""State of handlers: each attach has its own, bounded and wrapped at 64 bits; users and engines can reach it."""

import threading
from typing import Any, cast

import pytest

from fanotify_fastpath import SEND_TO_USERSPACE, Counter, Handler, HandlerEvent, InvalidArgument, StateMap, Verdict
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.state import CounterStorage, MapStorage, StateKey
from happened import Happened

U64 = 1 << 64


class Keeping(Handler):
    """Has state of every form."""

    name = "keeping"
    n_seen = Counter()
    by_number = StateMap(max_entries=3)
    by_pair = StateMap(key_words=2)
    by_name = StateMap(key_bytes=4)
    recent = StateMap(max_entries=3, evict=True)

    def handle(self, event: HandlerEvent) -> Verdict:
        self.n_seen.add(1)
        self.by_number.add(event.tgid, 1)
        return SEND_TO_USERSPACE


def test_the_class_shows_what_was_declared() -> None:
    assert isinstance(Keeping.n_seen, Counter)
    assert isinstance(Keeping.by_pair, StateMap)
    declared = [(m.max_entries, m.key_words, m.key_bytes, m.evict) for m in (Keeping.by_pair, Keeping.recent)]
    assert declared == [(4096, 2, 0, False), (3, 1, 0, True)]


def test_each_attach_has_its_own_and_its_user_reads_and_writes_it() -> None:
    chain = Chain(lambda: None)
    one, two = (chain.attach(Keeping, {}) for _ in range(2))
    event = Happened()
    event.tgid = 7
    chain.judge(event)
    first, second = cast(Keeping, one.handler), cast(Keeping, two.handler)
    first.by_number.put(7, 40)
    chain.judge(event)
    assert (first.n_seen.value, first.by_number.get(7)) == (2, 41)
    assert (second.n_seen.value, second.by_number.items()) == (2, [(7, 2)])


def test_state_cannot_be_assigned() -> None:
    with pytest.raises(AttributeError, match="'n_seen' is state"):
        Keeping().n_seen = 3


@pytest.mark.parametrize(("steps", "value"), [((1, 2), 3), ((U64 - 1, 2), 1), ((5, -7), U64 - 2), ((U64 * 3 + 4,), 4)])
def test_sums_wrap_at_64_bits(steps: tuple[int, ...], value: int) -> None:
    handler = Keeping()
    for n in steps:
        handler.n_seen.add(n)
        told = handler.by_number.add(1, n)
    assert handler.n_seen.value == told == handler.by_number.get(1) == value


def test_a_map_is_asked_put_to_and_discarded_from() -> None:
    numbers = Keeping().by_number
    assert (numbers.get(5), numbers.get(5, 9), 5 in numbers) == (None, 9, False)
    assert numbers.put(5, 0)
    assert (numbers.get(5), numbers.get(5, 9), 5 in numbers) == (0, 0, True)
    assert numbers.put(5, U64 - 1)
    assert numbers.items() == [(5, U64 - 1)]
    numbers.discard(5)
    numbers.discard(5)
    assert numbers.items() == []


def test_a_full_map_refuses_new_keys_only() -> None:
    numbers = Keeping().by_number
    assert all(numbers.put(n, n) for n in range(3))
    assert (numbers.put(3, 3), numbers.add(3, 1), 3 in numbers) == (False, None, False)
    assert (numbers.put(2, 8), numbers.add(1, 1)) == (True, 2)
    numbers.discard(0)
    assert numbers.add(3, 5) == 5


def test_in_an_evicting_map_the_least_recently_used_makes_room() -> None:
    recent = Keeping().recent
    for n in range(3):
        recent.put(n, n)
    recent.get(0)
    recent.add(1, 1)
    assert recent.put(3, 3)
    assert sorted(recent.items()) == [(0, 0), (1, 2), (3, 3)]
    assert recent.add(4, 4) == 4
    assert sorted(recent.items()) == [(1, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("by_number", [0, U64 - 1], [-1, U64, b"1", (1,), None]),
        ("by_pair", [(0, U64 - 1)], [1, (1,), (1, 2, 3), (1, U64), (1, b"2"), [1, 2]]),
        ("by_name", [b"", b"abcd"], [b"abcde", "abcd", 1]),
    ],
)
def test_keys_have_the_declared_form(name: str, good: list[StateKey], bad: list[Any]) -> None:
    storage: MapStorage = getattr(Keeping(), name)
    for key in good:
        assert storage.put(key, 1)
        assert key in storage
    for key in bad:
        for call in (storage.get, storage.discard, lambda key: storage.put(key, 1), lambda key: storage.add(key, 1)):
            with pytest.raises(InvalidArgument, match="is no key of this map"):
                call(key)


@pytest.mark.parametrize("value", [-1, U64, None])
def test_values_have_64_bits(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="is no value"):
        Keeping().by_number.put(1, value)


@pytest.mark.parametrize(
    "form",
    [
        {"max_entries": 0},
        {"max_entries": 1 << 21},
        {"key_words": 0},
        {"key_words": 5},
        {"key_bytes": 256},
        {"key_bytes": -1},
        {"key_words": 2, "key_bytes": 8},
    ],
)
def test_a_declaration_out_of_bounds_is_refused(form: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        StateMap(**form)  # type: ignore[arg-type]


def test_an_engine_can_put_its_own_storage_in_the_place() -> None:
    class Elsewhere:
        value = 5

        def add(self, n: int) -> None:
            self.value += n

    handler, storage = Keeping(), Elsewhere()
    replaced: CounterStorage = handler.n_seen
    Keeping.n_seen.use(handler, storage)
    handler.n_seen.add(2)
    assert (handler.n_seen.value, storage.value, replaced.value, Keeping().n_seen.value) == (7, 7, 0, 0)


def test_threads_lose_nothing_of_each_other() -> None:
    handler, ready = Keeping(), threading.Barrier(4)

    def add() -> None:
        ready.wait()
        for _ in range(2000):
            handler.n_seen.add(1)
            handler.by_number.add(1, 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handler.n_seen.value == handler.by_number.get(1) == 8000
