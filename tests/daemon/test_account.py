"""Accounts: nobody has more than the limits say, and everything comes back."""

import math
import random
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath import errors
from fanotify_fastpath._daemon.account import Accounts, Resource
from fanotify_fastpath._daemon.bucket import TokenBucket
from fanotify_fastpath._daemon.config import Limits

PER_CONNECTION = [
    (Resource.ROOTS, "roots_per_group"),
    (Resource.SETS, "sets_per_group"),
    (Resource.MARKS, "marks_per_group"),
    (Resource.RING_BYTES, "ring_bytes"),
]


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_connections_of_a_user_are_limited_and_come_back() -> None:
    accounts = Accounts(100)
    limits = Limits(connections_per_user=2)
    first = accounts.connect(1000, limits)
    accounts.connect(1000, limits)
    with pytest.raises(errors.LimitReached, match=r"user 1000 has 2 connections.* connections_per_user = 2"):
        accounts.connect(1000, limits)
    accounts.connect(1001, limits)
    assert accounts.n_connections == 3
    first.close()
    accounts.connect(1000, limits)
    assert accounts.used(1000)[Resource.CONNECTIONS] == 2


def test_connections_of_all_together_are_limited() -> None:
    accounts = Accounts(2, "/srv/fanfpd.toml")
    accounts.connect(1, Limits())
    accounts.connect(2, Limits())
    with pytest.raises(errors.LimitReached, match=r"max_connections = 2.*\[daemon\] in /srv/fanfpd\.toml"):
        accounts.connect(3, Limits())
    accounts.max_connections = 3
    accounts.connect(3, Limits())


@pytest.mark.parametrize(("resource", "key"), PER_CONNECTION)
def test_what_a_connection_has_is_limited(resource: Resource, key: str) -> None:
    accounts = Accounts(100, "/srv/fanfpd.toml")
    limits = Limits(**{key: 5000}) if resource is not Resource.SETS else Limits(sets_per_group=50)
    limit = getattr(limits, key)
    with accounts.connect(1000, limits) as account, accounts.connect(1000, limits) as other:
        account.take(resource, limit - 1)
        account.take(resource)
        with pytest.raises(errors.LimitReached) as caught:
            account.take(resource)
        for part in (str(limit), f"{key} = {limit}", "[limits]", "[[rule]]", "/srv/fanfpd.toml", "root"):
            assert part in str(caught.value)
        assert account.used(resource) == limit
        other.take(resource, limit)
        account.give(resource, 2)
        account.take(resource, 2)


@pytest.mark.parametrize(
    ("resource", "key"), [(Resource.GROUPS, "groups_per_user"), (Resource.RING_BYTES, "ring_bytes_per_user")]
)
def test_what_a_user_has_in_all_connections_is_limited(resource: Resource, key: str) -> None:
    accounts = Accounts(100)
    limits = Limits(groups_per_user=10_000, ring_bytes=10_000, ring_bytes_per_user=10_000)
    account, other = accounts.connect(1000, limits), accounts.connect(1000, limits)
    account.take(resource, 6_000)
    with pytest.raises(errors.LimitReached, match=f"user 1000 has 6000 .*{key} = 10000"):
        other.take(resource, 4_001)
    other.take(resource, 4_000)
    accounts.connect(1001, limits).take(resource, 10_000)
    account.close()
    other.take(resource, 6_000)


def test_a_refusal_takes_nothing() -> None:
    accounts = Accounts(100)
    limits = Limits(ring_bytes=10_000, ring_bytes_per_user=10_000)
    account = accounts.connect(1000, limits)
    for _ in range(3):
        with pytest.raises(errors.LimitReached):
            account.take(Resource.RING_BYTES, 10_001)
    account.take(Resource.RING_BYTES, 10_000)
    assert accounts.used(1000)[Resource.RING_BYTES] == 10_000


def test_closing_twice_gives_back_once() -> None:
    accounts = Accounts(100)
    account, other = accounts.connect(1000, Limits()), accounts.connect(1000, Limits())
    other.take(Resource.GROUPS)
    account.close()
    account.close()
    account.give(Resource.GROUPS)
    used = {resource: n for resource, n in accounts.used(1000).items() if n}
    assert used == {Resource.CONNECTIONS: 1, Resource.GROUPS: 1}
    with pytest.raises(ValueError, match="closed"):
        account.take(Resource.MARKS)


def test_all_comes_back_when_the_block_fails() -> None:
    accounts = Accounts(100)

    def fail() -> None:
        with accounts.connect(1000, Limits()) as account:
            account.take(Resource.GROUPS)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert set(accounts.used(1000).values()) == {0}
    assert accounts.n_connections == 0


def test_giving_back_more_than_was_taken_is_an_error() -> None:
    account = Accounts(100).connect(1000, Limits())
    with pytest.raises(AssertionError):
        account.give(Resource.MARKS)


def test_new_limits_hold_for_what_is_taken_next() -> None:
    account = Accounts(100).connect(1000, Limits(marks_per_group=3))
    account.take(Resource.MARKS, 3)
    account.limits = Limits(marks_per_group=1)
    assert account.used(Resource.MARKS) == 3
    with pytest.raises(errors.LimitReached, match="marks_per_group = 1"):
        account.take(Resource.MARKS)
    account.limits = Limits(marks_per_group=4)
    account.take(Resource.MARKS)


def test_requests_of_all_connections_of_a_user_come_from_one_bucket() -> None:
    clock = FakeClock()
    accounts = Accounts(100, clock=clock)
    limits = Limits(requests_per_second=10, requests_burst=4)
    account, other = accounts.connect(1000, limits), accounts.connect(1000, limits)
    for each in (account, other, account, other):
        each.request()
    with pytest.raises(errors.LimitReached, match=r"requests_per_second = 10; wait 0\.100 s"):
        account.request()
    accounts.connect(1001, limits).request()
    clock.now_s += 0.11
    account.request()
    with pytest.raises(errors.LimitReached):
        other.request()


def test_what_has_happened_is_counted() -> None:
    accounts = Accounts(3, clock=FakeClock())
    limits = Limits(connections_per_user=1, marks_per_group=0, requests_per_second=1, requests_burst=1)
    refused: list[str] = []

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except errors.LimitReached:
            refused.append("")

    account = accounts.connect(1, limits)
    attempt(lambda: accounts.connect(1, limits))
    attempt(lambda: account.take(Resource.MARKS))
    attempt(account.request)
    attempt(account.request)
    account.close()
    counted = accounts.counted()
    assert (counted.n_connections, counted.n_requests) == (1, 2)
    assert counted.n_refused == {"connections_per_user": 1, "marks_per_group": 1, "requests_per_second": 1}
    assert len(refused) == 3
    counted.n_refused.clear()
    assert accounts.counted().n_refused


def test_who_connects_anew_gets_no_new_tokens() -> None:
    clock = FakeClock()
    accounts = Accounts(10_000, clock=clock)
    limits = Limits(requests_per_second=1, requests_burst=1)
    with accounts.connect(1000, limits) as account:
        account.request()
    for uid in range(2000, 3000):  # many others come and go
        accounts.connect(uid, limits).close()
    with accounts.connect(1000, limits) as account, pytest.raises(errors.LimitReached):
        account.request()


def test_who_is_gone_is_forgotten_in_the_end() -> None:
    accounts = Accounts(10_000, clock=FakeClock())
    for uid in range(10_000):
        accounts.connect(uid, Limits()).close()
    assert len(accounts._users) <= 256


def test_threads_never_pass_a_limit_and_nothing_is_lost() -> None:
    accounts = Accounts(1000)
    limits = Limits(groups_per_user=8, connections_per_user=1000)
    most: list[int] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            with accounts.connect(1000, limits) as account:
                try:
                    account.take(Resource.GROUPS, draw.randint(1, 4))
                except errors.LimitReached:
                    continue
                most.append(accounts.used(1000)[Resource.GROUPS])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most
    assert max(most) <= 8
    assert set(accounts.used(1000).values()) == {0}


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 5), max_size=200),
)
def test_never_more_tokens_than_burst_and_rate_in_any_time(rate: float, burst: int, steps: list[float]) -> None:
    clock = FakeClock()
    bucket = TokenBucket(rate, burst, clock)
    taken_s: list[float] = []
    for step_s in steps:
        clock.now_s += step_s
        if not bucket.take():
            taken_s.append(clock.now_s)
    for i, begin_s in enumerate(taken_s):
        for j in range(i, len(taken_s)):
            assert j - i + 1 <= burst + (taken_s[j] - begin_s) * rate + 1e-6


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 50), waits=st.lists(st.floats(0, 5), max_size=50))
def test_after_the_time_that_was_named_there_is_a_token(rate: float, burst: int, waits: list[float]) -> None:
    clock = FakeClock()
    bucket = TokenBucket(rate, burst, clock)
    for wait_s in waits:
        clock.now_s += wait_s
        while not (missing_s := bucket.take()):
            pass
        assert 0 < missing_s <= 1 / rate + 1e-9
        clock.now_s = math.nextafter(clock.now_s + missing_s * (1 + 1e-6), math.inf)
        assert bucket.take() == 0


@given(burst=st.integers(1, 50), rest_s=st.floats(0, 1e6))
def test_a_long_rest_fills_no_more_than_the_bucket(burst: int, rest_s: float) -> None:
    clock = FakeClock()
    bucket = TokenBucket(1000, burst, clock)
    clock.now_s += rest_s
    n_taken = 0
    while not bucket.take():
        n_taken += 1
    assert n_taken == burst


@given(before=st.integers(1, 50), after=st.integers(1, 50))
def test_a_smaller_burst_holds_at_once_and_a_greater_one_gives_nothing_away(before: int, after: int) -> None:
    bucket = TokenBucket(10, before, FakeClock())
    bucket.configure(10, after)
    n_taken = 0
    while not bucket.take():
        n_taken += 1
    assert n_taken == min(before, after)
