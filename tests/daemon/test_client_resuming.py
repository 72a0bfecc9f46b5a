"""Engine ``daemon`` when the daemon goes and comes, hangs or refuses; the daemon only pretends."""

import errno
import os
import select
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from children import fork, wait_for
from fake_ring import record
from fanotify_fastpath import Group, Mask, Scope
from fanotify_fastpath._engines.daemon import connection as connections
from fanotify_fastpath._engines.daemon import engine as engines
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.messages import Ask, Include, MarkObject, Open, Request
from fanotify_fastpath.errors import (
    Closed,
    FastpathError,
    InvalidArgument,
    KernelRefused,
    LimitReached,
    NotPermitted,
    UnsupportedFeature,
)
from outcomes import wait_until

from .fake_daemon import FakeDaemon, included, names, read

#: by bit: in the client's first set; in its first two
INSIDE, BOTH = b"\x01".ljust(32, b"\0"), b"\x03".ljust(32, b"\0")


# --- the daemon goes and comes ---


def test_the_end_of_the_connection_is_told_and_all_is_said_anew(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree / "a", exclude=[tree / "a/in"])
    group.mark(tree, Mask.CREATE, scope=Scope.INODE)
    group.attach("monitor-subtree", roots=[tree / "a"])
    fake.put(record(b"/last", mask=Mask.CREATE, inside=BOTH))
    first = fake.asked.copy()
    fake.asked.clear()
    fake.drop()
    events = read(group, 4)
    assert [(event.mask, event.path, event.lost) for event in events] == [
        (Mask.CREATE, "/last", 0),
        (Mask.Q_OVERFLOW, None, None),
        (Mask.RESCAN, os.fspath(tree / "a"), 0),
        (Mask.RESCAN, os.fspath(tree), 0),
    ]
    assert sorted(names(fake.asked)) == sorted(names(first))
    assert {(r.set, r.path) for r in fake.asked if isinstance(r, Include)} == {
        (r.set, r.path) for r in first if isinstance(r, Include)
    }
    fake.put(record(b"/next", mask=Mask.CREATE, inside=BOTH))
    assert [event.path for event in read(group, 1)] == ["/next"]


def test_changes_made_while_it_is_away_are_told_when_it_is_back(fake: FakeDaemon, group: Group, tree: Path) -> None:
    mark = group.mark(tree / "a")
    attached: Any = group.attach("monitor-subtree", roots=[tree / "a"])
    fake.close()
    assert [event.lost for event in read(group, 1)] == [None]
    fake.asked.clear()
    mark.roots.add(tree / "b")
    attached.handler.roots.add(tree / "b")
    group.remove_root(tree / "a")
    group.attach("ignore-prefix", prefixes=["."])
    assert not fake.asked
    fake.start()
    assert [(event.mask, event.path) for event in read(group, 1)] == [(Mask.RESCAN, os.fspath(tree / "b"))]
    assert {path for path, _ in included(fake)} == {os.fsencode(tree / "a"), os.fsencode(tree / "b")}
    assert len(included(fake)) == 3


def test_a_root_that_is_another_object_by_then_is_gone(fake: FakeDaemon, group: Group, tree: Path) -> None:
    mark = group.mark(tree / "a", exclude=[tree / "a/in"])
    group.add_root(tree / "b")
    fake.close()
    read(group, 1)
    (tree / "a").rename(tree / "old")
    (tree / "a").mkdir()
    fake.asked.clear()
    fake.start()
    assert [(event.mask, event.path) for event in read(group, 2)] == [
        (Mask.ROOT_GONE, os.fspath(tree / "a")),
        (Mask.RESCAN, os.fspath(tree / "b")),
    ]
    assert [root.path for root, _ in mark.roots.points.values()] == [os.fsencode(tree / "b")]
    assert included(fake) == [(os.fsencode(tree / "b"), True)]


def test_what_is_refused_by_then_is_told_as_unwatched(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree / "a")
    group.add_root(tree / "b")
    group.mark(tree, Mask.CREATE, scope=Scope.INODE)

    def refuse(request: Request) -> None:
        if isinstance(request, MarkObject) or (isinstance(request, Include) and request.path.endswith(b"/b")):
            raise NotPermitted("not any more")

    fake.answer = refuse
    fake.drop()
    events = read(group, 6)
    assert {event.path for event in events if event.mask & Mask.UNWATCHED} == {
        os.fspath(tree / "b"),
        os.fspath(tree),
    }
    assert len(group.roots) == 2
    group.add_root(tree / "a/in")
    for mark in list(group.marks):
        group.unmark(mark)


def test_a_new_mark_waits_for_the_daemon(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree / "a")
    fake.close()
    read(group, 1)
    threading.Timer(0.3, fake.start).start()
    group.mark(tree / "b")
    assert len(group.marks) == 2
    assert {path for path, _ in included(fake)} == {os.fsencode(tree / name) for name in "ab"}


def test_a_new_mark_does_not_wait_for_ever(
    fake: FakeDaemon, group: Group, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_PATIENCE_S", 0.3)
    mark = group.mark(tree / "a")
    fake.close()
    read(group, 1)
    for ask in (lambda: group.mark(tree / "b"), lambda: group.add_root(tree / "b")):
        with pytest.raises(KernelRefused, match="went away, and was not back within"):
            ask()
    assert group.marks == (mark,)
    assert [root.path for root in group.roots] == [os.fsencode(tree / "a")]


def test_a_connection_that_ends_in_the_middle_of_a_request(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree / "a")
    n_refused = 0

    def answer(request: Request) -> None:
        nonlocal n_refused
        if isinstance(request, Include) and request.path.endswith(b"/b") and not n_refused:
            n_refused += 1
            assert fake._channel is not None
            fake._channel.shutdown()

    fake.answer = answer
    group.mark(tree / "b")
    assert n_refused == 1
    assert len(group.marks) == 2
    events = read(group, 2)
    assert [event.mask for event in events] == [Mask.Q_OVERFLOW, Mask.RESCAN]
    fake.put(record(b"/x", mask=Mask.CREATE, inside=INSIDE))
    assert [event.path for event in read(group, 1)] == ["/x"]


def test_a_daemon_that_hangs_is_taken_for_dead(
    fake: FakeDaemon, group: Group, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT_S", 0.2)
    group.mark(tree / "a")
    n_hung = 0

    def hang(request: Request) -> None:
        nonlocal n_hung
        if isinstance(request, Include) and request.path.endswith(b"/b") and not n_hung:
            n_hung += 1
            time.sleep(0.5)

    fake.answer = hang
    group.mark(tree / "b")
    assert n_hung == 1
    assert [event.mask for event in read(group, 2)] == [Mask.Q_OVERFLOW, Mask.RESCAN]
    fake.put(record(b"/x", mask=Mask.CREATE, inside=INSIDE))
    assert [event.path for event in read(group, 1)] == ["/x"]


def test_a_daemon_that_stops_says_so_and_is_waited_for(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    fake.say(messages.Gone(0, "the daemon is stopping"))
    assert group.read(timeout_s=0.05) == []
    fake.drop()
    assert [event.mask for event in read(group, 2)] == [Mask.Q_OVERFLOW, Mask.RESCAN]


def test_a_daemon_that_does_not_want_us_back_is_an_error(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)

    def refuse(request: Request) -> None:
        if isinstance(request, messages.Hello):
            raise NotPermitted("user 1 may not use the daemon")

    fake.answer = refuse
    fake.drop()
    assert [event.lost for event in read(group, 1)] == [None]
    with pytest.raises(NotPermitted, match="may not use the daemon"):
        group.read(timeout_s=5)
    with pytest.raises(NotPermitted, match="may not use the daemon"):
        group.mark(tree)


def test_handlers_that_would_be_told_nothing_are_an_error(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    group.attach("monitor-subtree", roots=[tree / "a"])

    def refuse(request: Request) -> None:
        if isinstance(request, Ask):
            raise LimitReached("too many sets")

    fake.answer = refuse
    fake.drop()
    assert [event.lost for event in read(group, 1)] == [None]
    with pytest.raises(LimitReached, match="too many sets"):
        group.read(timeout_s=5)


def test_a_full_daemon_is_asked_again(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    n_refused = 0

    def refuse(request: Request) -> None:
        nonlocal n_refused
        if isinstance(request, Open) and n_refused < 2:
            n_refused += 1
            raise LimitReached("too many groups")

    fake.answer = refuse
    fake.drop()
    assert [event.mask for event in read(group, 2)] == [Mask.Q_OVERFLOW, Mask.RESCAN]
    assert n_refused == 2


def test_who_asks_too_fast_asks_again(fake: FakeDaemon, group: Group, tree: Path) -> None:
    n_refused = 0

    def refuse(request: Request) -> None:
        nonlocal n_refused
        if isinstance(request, Include) and n_refused < 3:
            n_refused += 1
            raise LimitReached("too fast", errno.EAGAIN)

    fake.answer = refuse
    group.mark(tree)
    assert n_refused == 3


def test_a_ring_that_cannot_be_right_ends_the_connection(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    fake.put(record(b"/x", mask=Mask.CREATE, inside=INSIDE, version=99))
    assert [event.mask for event in read(group, 2)] == [Mask.Q_OVERFLOW, Mask.RESCAN]


# --- opening and closing ---


def test_no_daemon_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANFPD_SOCKET", os.fspath(tmp_path / "missing"))
    with pytest.raises(UnsupportedFeature, match="no daemon is there"):
        Group(engine="daemon")


@pytest.mark.parametrize("kind", [messages.Hello, Open])
@pytest.mark.parametrize("error", [NotPermitted("no"), LimitReached("no"), UnsupportedFeature("no")])
def test_a_group_that_is_refused_leaves_nothing(fake: FakeDaemon, kind: type[Request], error: FastpathError) -> None:
    def refuse(request: Request) -> None:
        if isinstance(request, kind):
            raise error

    fake.answer = refuse
    with pytest.raises(type(error), match="no"):
        Group(engine="daemon")


def test_an_answer_to_no_request_is_an_error(fake: FakeDaemon) -> None:
    fake.answer = lambda request: messages.Failed(0, "LimitReached", 122, "too many connections")
    with pytest.raises(LimitReached, match="too many connections"):
        Group(engine="daemon")


def test_an_answer_of_another_kind_is_an_error(fake: FakeDaemon) -> None:
    fake.answer = lambda request: messages.Done(request.id)
    with pytest.raises(KernelRefused, match="has ended the connection"):
        Group(engine="daemon")


def test_closing_ends_a_read_that_waits(group: Group, tree: Path) -> None:
    group.mark(tree)
    threading.Timer(0.1, group.close).start()
    assert group.read(timeout_s=20) == []
    with pytest.raises(Closed):
        group.mark(tree)


def test_closing_does_not_wait_for_a_daemon_that_hangs(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree / "a")
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(request: Request) -> None:
        hangs.set()
        goes_on.wait(20)

    fake.answer = hang
    errors: list[Exception] = []

    def mark() -> None:
        try:
            group.mark(tree / "b")
        except FastpathError as exc:
            errors.append(exc)

    thread = threading.Thread(target=mark)
    thread.start()
    try:
        assert hangs.wait(20)
        begin_s = time.monotonic()
        group.close()
        assert time.monotonic() - begin_s < 5
    finally:
        goes_on.set()
        thread.join(20)
    assert [type(error) for error in errors] == [Closed]


def test_closing_while_it_is_away_is_at_once(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    fake.close()
    read(group, 1)
    begin_s = time.monotonic()
    group.close()
    assert time.monotonic() - begin_s < 2
    assert group.read(timeout_s=0) == []


def test_closing_while_it_comes_back_and_hangs_is_at_once(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(request: Request) -> None:
        hangs.set()
        goes_on.wait(20)

    fake.answer = hang
    try:
        fake._channel.shutdown()  # type: ignore[union-attr]
        read(group, 1)
        assert hangs.wait(20)
        begin_s = time.monotonic()
        group.close()
        assert time.monotonic() - begin_s < 2
    finally:
        goes_on.set()


def test_a_child_that_closes_what_it_inherited_ends_nothing(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    child = fork()
    if child == 0:
        group.close()
        os._exit(0)
    assert wait_for(child) == 0
    group.add_root(tree / "a")
    fake.put(record(b"/x", mask=Mask.CREATE, inside=INSIDE))
    assert [event.path for event in read(group, 1)] == ["/x"]


def test_a_descriptor_tells_when_something_can_be_read(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    poller = select.poll()
    poller.register(group.fileno(), select.POLLIN)
    assert not poller.poll(0)
    fake.put(record(b"/x", mask=Mask.CREATE, inside=INSIDE))
    assert poller.poll(5000)
    assert [event.path for event in read(group, 1)] == ["/x"]
    wait_until(lambda: not poller.poll(0), "nothing to read")
    fake.drop()
    assert poller.poll(5000)
    assert read(group, 1)[0].mask & Mask.Q_OVERFLOW


def test_the_class_of_an_error_is_the_one_that_is_told(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    fake.answer = lambda request: messages.Failed(request.id, "InvalidArgument", 22, "no")
    with pytest.raises(InvalidArgument):
        group.add_root(tree / "a")
