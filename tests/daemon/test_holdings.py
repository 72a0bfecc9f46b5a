"""A client's sets and marks with an engine that refuses: whatever fails changes nothing."""

import errno
from collections.abc import Callable
from typing import Any, cast

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._daemon.account import Accounts, ConnectionAccount, Resource
from fanotify_fastpath._daemon.config import Limits
from fanotify_fastpath._daemon.holdings import Holdings
from fanotify_fastpath._daemon.kernel_group import NamingHoldings
from fanotify_fastpath._engines.base import Engine
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import KernelRefused, LimitReached
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import Root

COUNTED = (Resource.ROOTS, Resource.SETS, Resource.MARKS)


def root(n: int) -> Root:
    return Root(b"fsid" * 2 + bytes([n]), b"/%d" % n, 1, n, True, 1)


class StubEngine:
    """An engine that keeps marks, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.chain: Chain | None = None
        self.refused: set[str] = set()
        self.n_refreshed = 0

    def add_mark(self, mark: Mark) -> None:
        self._check("add_mark")
        self.marks.append(mark)
        mark.roots.on_change(self.refresh, self.catch_up)

    def remove_mark(self, mark: Mark) -> None:
        if mark in self.marks:
            self.marks.remove(mark)
            mark.roots.off_change(self.refresh)

    def add_root(self, mark: Mark, added: Root) -> None:
        mark.roots.include(added)
        self._check("add_root")

    def use_chain(self, chain: Chain) -> None:
        self.chain = chain

    def catch_up(self) -> None: ...

    def set_name(self, key: bytes, name: object) -> None: ...

    def refresh(self) -> None:
        self.n_refreshed += 1
        self._check("refresh")

    def _check(self, what: str) -> None:
        if what in self.refused:
            raise KernelRefused(what)

    def state(self) -> list[Any]:
        """All that a client has brought about here."""
        assert self.chain is not None
        asked = [set(roots.points) for a in self.chain.attachments for roots in a.handler.root_sets()]
        return [[(mark.mask, set(mark.roots.points)) for mark in self.marks], asked]


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine()


@pytest.fixture
def account() -> ConnectionAccount:
    return Accounts(1).connect(1, Limits(roots_per_group=3, sets_per_group=3, marks_per_group=3))


@pytest.fixture
def holdings(engine: StubEngine, account: ConnectionAccount) -> Holdings:
    made = Holdings(cast(Engine, engine), account, lambda key: None)
    made.include(0, 1, root(1), included=True)
    made.mark(1, Mask.CREATE, 0)
    made.include(1, 2, root(2), included=True)
    made.ask([1])
    return made


REQUESTS: list[tuple[str, Callable[[Holdings], None]]] = [
    ("add_root", lambda held: held.include(0, 3, root(3), included=True)),
    ("refresh", lambda held: held.include(0, 3, root(3), included=False)),
    ("refresh", lambda held: held.include(0, 3, root(1), included=False)),
    ("refresh", lambda held: held.include(1, 3, root(3), included=True)),
    ("add_mark", lambda held: held.mark(2, Mask.OPEN, 0)),
    ("add_mark", lambda held: held.mark_object(2, Mask.OPEN, root(3))),
    ("refresh", lambda held: held.ask([0, 2])),
]


@pytest.mark.parametrize(("refused", "request_it"), REQUESTS)
def test_what_the_engine_refuses_changes_nothing(
    engine: StubEngine,
    account: ConnectionAccount,
    holdings: Holdings,
    refused: str,
    request_it: Callable[[Holdings], None],
) -> None:
    def state() -> list[Any]:
        counts = [account.used(resource) for resource in COUNTED]
        return [engine.state(), counts, set(holdings.sets), holdings.n_roots, holdings.n_marks]

    before = state()
    engine.refused.add(refused)
    with pytest.raises(KernelRefused):
        request_it(holdings)
    engine.refused.clear()
    assert state() == before
    for number in (0, 1):  # still heard of, by the mark and by who asks
        n_refreshed = engine.n_refreshed
        holdings.sets[number].roots.include(root(number + 1))
        assert engine.n_refreshed > n_refreshed
    request_it(holdings)
    assert state() != before


def test_asking_for_too_many_sets_makes_none(holdings: Holdings, account: ConnectionAccount) -> None:
    with pytest.raises(LimitReached):
        holdings.ask([1, 2, 3, 4])
    assert (set(holdings.sets), account.used(Resource.SETS)) == ({0, 1}, 2)


def test_what_is_not_used_any_more_is_given_back(
    holdings: Holdings, engine: StubEngine, account: ConnectionAccount
) -> None:
    holdings.mark_object(2, Mask.OPEN, root(3))
    holdings.discard(0, 1)
    holdings.discard(1, 2)
    holdings.ask([])
    holdings.unmark(1)
    holdings.unmark(2)
    assert not holdings.sets
    assert [account.used(resource) for resource in COUNTED] == [0, 0, 0]
    assert engine.state() == [[], []]


def test_a_root_that_is_gone_is_given_back(holdings: Holdings, engine: StubEngine, account: ConnectionAccount) -> None:
    engine.marks[0].roots.discard(root(1).key)
    assert holdings.take_gone() == {1: b"/1"}
    assert holdings.take_gone() == {}
    assert account.used(Resource.ROOTS) == 1
    holdings.discard(0, 1)  # was on its way
    holdings.include(0, 1, root(3), included=True)
    assert account.used(Resource.ROOTS) == 2


# --- on engine kernel, whose tables are those of all users ---


@pytest.fixture
def two() -> list[NamingHoldings]:
    """Two groups of one user."""
    accounts, limits = Accounts(3), Limits(roots_per_group=3, sets_per_group=2, marks_per_group=100)
    return [NamingHoldings(cast(Any, StubEngine()), accounts.connect(1, limits)) for _ in range(2)]


def test_slots_are_limited_for_all_groups_of_a_user(two: list[NamingHoldings]) -> None:
    one, other = two
    one.mark_object(1, Mask.OPEN, root(1))
    other.include(0, 1, root(1), included=True)
    other.mark(1, Mask.CREATE, 0)
    other.mark(2, Mask.OPEN, 0)  # of the same set
    requests: list[Callable[[], None]] = [
        lambda: one.mark_object(2, Mask.OPEN, root(2)),
        lambda: one.include(0, 2, root(2), included=True),
        lambda: one.mark(2, Mask.OPEN, 0),
        lambda: one.ask([0]),
    ]
    for request_it in requests:
        with pytest.raises(LimitReached, match=r"user 1 has 2 sets of roots and marks .* sets_per_group = 2; "):
            request_it()
    assert (one.n_roots, one.n_marks, one.sets) == (0, 1, {})
    one.unmark(1)
    one.ask([0])
    with pytest.raises(LimitReached):
        requests[0]()
    one.ask([])
    requests[0]()


def test_roots_are_limited_for_all_groups_of_a_user(two: list[NamingHoldings]) -> None:
    one, other = two
    one.include(0, 1, root(1), included=True)
    for n in (1, 2):
        other.include(0, n, root(n), included=True)
    with pytest.raises(LimitReached, match=r"user 1 has 3 roots in all groups .* roots_per_group = 3"):
        one.include(0, 2, root(2), included=True)
    assert one.n_roots == 1
    other.discard(0, 1)
    one.include(0, 2, root(2), included=True)


def test_what_others_have_taken_is_named_as_such(two: list[NamingHoldings], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: StubEngine, mark: Mark) -> None:
        raise KernelRefused("no slot", errno.ENOSPC)

    monkeypatch.setattr(StubEngine, "add_mark", full)
    with pytest.raises(LimitReached, match="all users together"):
        two[0].mark_object(1, Mask.OPEN, root(1))
    assert two[0].n_marks == 0
