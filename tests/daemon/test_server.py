"""What is said between a client and the daemon, and what the ring has then."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages
from outcomes import wait_until

from .client import Client, Heard, opened_as
from .support import NAME, OTHER_USER, USER, Daemon, Puppet, open_up


def failed(answer: object) -> str:
    """The error of an answer that is one."""
    assert isinstance(answer, messages.Failed), answer
    return answer.error


def paths(heard: list[Heard], mask: Mask, below: Path) -> list[str]:
    """What happened, by path."""
    return [os.path.relpath(each.path, below) for each in heard if each.mask & mask]


# --- the beginning ---


def test_hello_is_answered_with_version_and_limits(daemon: Daemon) -> None:
    with opened_as(daemon) as user:
        welcome = user.hello()
    assert (welcome.version, welcome.engine) == (messages.VERSION, NAME)
    assert welcome.limits["roots_per_group"] == 4096


def test_another_version_is_refused_and_may_be_corrected(daemon: Daemon) -> None:
    with opened_as(daemon) as user:
        assert failed(user.hello(messages.VERSION + 1)) == "UnsupportedFeature"
        assert isinstance(user.hello(), messages.Welcome)


def test_hello_comes_first(daemon: Daemon) -> None:
    with opened_as(daemon) as user:
        assert failed(user.ask(messages.Status)) == "ProtocolError"
        assert isinstance(user.hello(), messages.Welcome)


def test_a_group_is_opened_once_and_before_all_else(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.hello()
        assert failed(user.include(0, 1, top)) == "InvalidArgument"
        assert isinstance(user.open(), messages.Opened)
        assert failed(user.open()) == "InvalidArgument"


def test_a_client_that_says_nothing_is_sent_away(daemon: Daemon) -> None:
    with opened_as(daemon) as user:
        answer = user.answer()
        assert failed(answer) == "ProtocolError"
        assert user.answer() is None


# --- events ---


def test_a_marked_root_tells_what_happens_below_it(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        assert user.watch(top) == ["Welcome", "Opened", "Done", "Done"]
        user.make_files(top, 3)
        os.mkdir(top / "dir")
        heard = user.hear()
    assert paths(heard, Mask.CREATE, top) == ["file0", "file1", "file2", "dir"]
    assert [each.mask & Mask.ONDIR for each in heard if each.path.endswith("/dir")] == [Mask.ONDIR]
    assert {each.inside for each in heard} == {frozenset({0})}


def test_own_events_tell_who_it_was(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top, with_tid=True)
        user.make_files(top, 1)
        (created,) = [each for each in user.hear() if each.mask & Mask.CREATE]
        assert (created.tgid, created.uid) == (user.pid, USER)


def test_an_exception_is_outside(daemon: Daemon, top: Path) -> None:
    (top / "out").mkdir()
    open_up(top / "out")
    with opened_as(daemon) as user:
        user.watch(top)
        assert isinstance(user.include(0, 2, top / "out", included=False), messages.Done)
        user.make_files(top / "out", 2)
        user.make_files(top, 1)
        assert paths(user.hear(), Mask.CREATE, top) == ["file0"]
        assert isinstance(user.ask(messages.Discard, set=0, root=2), messages.Done)
        user.make_files(top / "out", 3)
        assert paths(user.hear(), Mask.CREATE, top) == ["out/file2"]


def test_roots_come_and_go_while_events_flow(daemon: Daemon, top: Path) -> None:
    for name in ("a", "b"):
        open_up_new(top / name)
    with opened_as(daemon) as user:
        user.watch(top / "a")
        user.include(0, 2, top / "b")
        user.make_files(top / "b", 1)
        assert paths(user.hear(), Mask.CREATE, top) == ["b/file0"]
        user.ask(messages.Discard, set=0, root=2)
        user.make_files(top / "b", 2)
        assert paths(user.hear(), Mask.CREATE, top) == []


def test_a_root_that_is_there_twice_stays_when_one_is_discarded(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top)
        user.include(0, 2, top)
        user.ask(messages.Discard, set=0, root=1)
        user.make_files(top, 1)
        assert paths(user.hear(), Mask.CREATE, top) == ["file0"]


def test_a_set_may_be_marked_before_it_has_a_root(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.hello()
        user.open()
        assert isinstance(user.mark(1, Mask.CREATE, 5), messages.Done)
        assert isinstance(user.include(5, 1, top), messages.Done)
        user.make_files(top, 1)
        heard = user.hear()
        assert [(each.mask, each.inside) for each in heard] == [(Mask.CREATE, frozenset({5}))]


def test_asked_sets_are_told_beside_marked_ones(daemon: Daemon, top: Path) -> None:
    open_up_new(top / "a")
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        user.include(7, 2, top / "a")
        user.make_files(top / "a", 1)
        assert [each.inside for each in user.hear()] == [{0}]
        assert isinstance(user.ask(messages.Ask, sets=[7]), messages.Done)
        user.make_files(top / "a", 2)
        user.make_files(top, 1)
        assert [each.inside for each in user.hear()] == [{0, 7}, {0}]
        user.ask(messages.Ask, sets=[])
        user.make_files(top / "a", 3)
        assert [each.inside for each in user.hear()] == [{0}]


def test_a_set_that_is_marked_and_asked_stays_marked_when_it_is_asked_no_more(daemon: Daemon, top: Path) -> None:
    open_up_new(top / "a")
    open_up_new(top / "b")
    with opened_as(daemon) as user:
        user.watch(top / "a", Mask.CREATE)
        user.ask(messages.Ask, sets=[0])
        user.ask(messages.Ask, sets=[])
        user.make_files(top / "b", 1)  # it is known to lie outside
        assert user.hear() == []
        user.include(0, 2, top / "b")
        user.make_files(top / "b", 2)
        assert paths(user.hear(), Mask.CREATE, top) == ["b/file1"]


def test_two_marks_of_a_set_are_removed_one_by_one(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        user.mark(2, Mask.CLOSE_WRITE, 0)
        assert isinstance(user.ask(messages.Unmark, mark=1), messages.Done)
        user.make_files(top, 1)
        assert [each.mask for each in user.hear()] == [Mask.CLOSE_WRITE]
        user.ask(messages.Unmark, mark=2)
        user.make_files(top, 2)
        assert user.hear() == []
        assert failed(user.ask(messages.Unmark, mark=2)) == "InvalidArgument"


def test_what_remains_of_two_marks_of_a_set_follows_its_roots(daemon: Daemon, top: Path) -> None:
    for name in ("a", "b"):
        open_up_new(top / name)
    with opened_as(daemon) as user:
        user.watch(top / "a", Mask.CREATE)
        user.mark(2, Mask.CREATE, 0)
        user.ask(messages.Unmark, mark=1)
        user.make_files(top / "b", 1)
        assert user.hear() == []
        user.include(0, 2, top / "b")
        user.make_files(top / "b", 2)
        assert paths(user.hear(), Mask.CREATE, top) == ["b/file1"]


def test_a_single_object_is_marked(daemon: Daemon, top: Path) -> None:
    open_up_new(top / "a")
    open_up_new(top / "a" / "deeper")
    with opened_as(daemon) as user:
        user.hello()
        user.open()
        assert isinstance(user.mark_object(1, Mask.CREATE | Mask.EVENT_ON_CHILD, top / "a"), messages.Done)
        user.make_files(top / "a", 1)
        user.make_files(top / "a" / "deeper", 1)
        assert paths(user.hear(), Mask.CREATE, top) == ["a/file0"]
        user.ask(messages.Unmark, mark=1)
        user.make_files(top / "a", 2)
        assert user.hear() == []


def test_a_rename_tells_both_sides(daemon: Daemon, top: Path) -> None:
    for name in ("a", "b"):
        open_up_new(top / name)
    with opened_as(daemon) as user:
        user.watch(top / "a", Mask.RENAME | Mask.ONDIR)
        user.include(1, 2, top / "b")
        user.mark(2, Mask.RENAME | Mask.ONDIR, 1)
        (top / "a" / "f").touch()
        os.rename(top / "a" / "f", top / "b" / "g")
        (heard,) = user.hear()
    assert (heard.old_path, heard.path) == (str(top / "a" / "f"), str(top / "b" / "g"))
    assert (heard.old_inside, heard.inside) == ({0}, {1})


def test_a_root_that_is_gone_is_told_and_named(daemon: Daemon, top: Path) -> None:
    open_up_new(top / "a")
    with opened_as(daemon) as user:
        user.watch(top)
        user.include(0, 2, top / "a")
        os.rmdir(top / "a")
        heard = user.hear()
        assert [each.root for each in heard if each.root] == [2]
        (gone,) = [each for each in heard if each.mask & Mask.ROOT_GONE]
        assert gone.path == str(top / "a")
        assert isinstance(user.ask(messages.Discard, set=0, root=2), messages.Done)


def test_a_long_path_keeps_its_end(daemon: Daemon, top: Path) -> None:
    names = [f"{n:02d}" + "x" * 200 for n in range(22)]
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        fd = os.open(top, os.O_RDONLY)
        for name in names:
            os.mkdir(name, dir_fd=fd)
            lower = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = lower
        os.chmod(fd, 0o755)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
        os.close(fd)
        (heard,) = [each for each in user.hear() if each.path.endswith("/file")]
    whole = os.path.join(top, *names, "file")
    assert len(whole) > 4096 >= len(heard.path) > 3800
    assert whole.endswith("/" + heard.path)


# --- what is refused ---


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o744])
def test_what_the_user_may_not_read_is_no_root_whoever_opened_it(daemon: Daemon, top: Path, mode: int) -> None:
    secret = top / "secret"
    secret.mkdir()
    secret.chmod(mode)
    (top / "file").touch(0o600)
    fds = [os.open(path, os.O_RDONLY) for path in (secret, top / "file")]
    try:
        with opened_as(daemon) as user:
            user.watch(top)
            for fd in fds:
                fields = {"set": 0, "root": 2, "included": True, "path": b"/any"}
                assert failed(user.ask(messages.Include, fd, **fields)) == "NotPermitted"
                fields = {"mark": 2, "mask": int(Mask.CREATE), "path": b"/any"}
                assert failed(user.ask(messages.MarkObject, fd, **fields)) == "NotPermitted"
    finally:
        for fd in fds:
            os.close(fd)


def test_a_descriptor_that_was_not_opened_for_reading_shows_nothing(daemon: Daemon, top: Path) -> None:
    (top / "file").touch()
    (top / "file").chmod(0o666)
    os.mkfifo(top / "fifo")
    (top / "fifo").chmod(0o666)
    with opened_as(daemon) as user:
        user.watch(top)
        assert failed(user.include(0, 2, top, flags=os.O_PATH)) == "InvalidArgument"
        assert failed(user.include(0, 2, top / "file", flags=os.O_WRONLY)) == "InvalidArgument"
        assert failed(user.include(0, 2, top / "fifo", flags=os.O_RDONLY | os.O_NONBLOCK)) == "InvalidArgument"
        assert isinstance(user.include(0, 2, top / "file"), messages.Done)


def test_wrong_requests_change_nothing(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        assert failed(user.mark(1, Mask.CREATE, 0)) == "InvalidArgument"
        assert failed(user.include(0, 1, top)) == "InvalidArgument"
        assert failed(user.mark(2, Mask.OPEN_PERM, 0)) == "NotPermitted"
        assert failed(user.mark(2, Mask.DELETE_SELF, 0)) == "InvalidArgument"
        assert failed(user.mark(2, Mask.ONDIR, 3)) == "InvalidArgument"
        user.make_files(top, 1)
        assert [each.mask for each in user.hear()] == [Mask.CREATE]
        with opened_as(daemon) as other:
            other.hello()
            (status,) = other.ask(messages.Status).groups
            assert (status.n_sets, status.n_roots, status.n_marks) == (1, 1, 1)


def test_status_tells_own_groups_and_root_all(daemon: Daemon, top: Path) -> None:
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other, opened_as(daemon, 0) as root:
        user.watch(top)
        other.watch(top)
        root.hello()
        assert [group.uid for group in user.ask(messages.Status).groups] == [USER]
        assert [group.uid for group in other.ask(messages.Status).groups] == [OTHER_USER]
        assert [group.uid for group in root.ask(messages.Status).groups] == [USER, OTHER_USER]
        assert "n_skipped" not in user.ask(messages.Status).groups[0].counters


def test_many_groups_are_told_in_parts(daemon: Daemon) -> None:
    with opened_as(daemon) as user:
        for _ in range(messages.GROUPS_MAX + 2):
            user.connect()
            user.hello()
            user.open(ring_bytes=messages.RING_MIN_BYTES)
        first = user.ask(messages.Status)
        assert first.more
        rest = user.ask(messages.Status, after=first.groups[-1].group)
        assert not rest.more
        assert [len(first.groups), len(rest.groups)] == [messages.GROUPS_MAX, 2]


# --- limits ---


def limited(key: str, value: int) -> str:
    return f"[daemon]\nmode = 0o666\n[limits]\n{key} = {value}\n"


@pytest.mark.parametrize("key", ["connections_per_user", "max_connections"])
def test_connections_are_limited(start: Callable[..., Daemon], key: str) -> None:
    daemon = start(f"[daemon]\nmode = 0o666\n{key} = 3\n" if key == "max_connections" else limited(key, 3))
    with opened_as(daemon) as user:
        assert user.connect_many(4) == ["Welcome", "Welcome", "LimitReached", "LimitReached"]
        with opened_as(daemon, OTHER_USER) as other:
            answer = other.hello()
            assert isinstance(answer, messages.Failed if key == "max_connections" else messages.Welcome)
        for _ in range(4):
            user.hang_up()
        wait_until(lambda: user.connect_many(1) == ["Welcome"], "there is room again")


def test_groups_roots_sets_and_marks_are_limited(start: Callable[..., Daemon], top: Path) -> None:
    keys = ("groups_per_user", "roots_per_group", "sets_per_group", "marks_per_group")
    config = "[daemon]\nmode = 0o666\n[limits]\n" + "".join(f"{key} = 1\n" for key in keys)
    daemon = start(config)
    open_up_new(top / "a")
    with opened_as(daemon) as user:
        user.watch(top, Mask.CREATE)
        assert failed(user.include(0, 2, top / "a")) == "LimitReached"
        assert failed(user.include(1, 2, top / "a")) == "LimitReached"
        assert failed(user.mark(2, Mask.CREATE, 0)) == "LimitReached"
        assert failed(user.mark_object(2, Mask.CREATE, top / "a")) == "LimitReached"
        assert failed(user.ask(messages.Ask, sets=[1])) == "LimitReached"
        user.ask(messages.Discard, set=0, root=1)
        assert isinstance(user.include(0, 2, top / "a"), messages.Done)
        user.make_files(top / "a", 1)
        assert paths(user.hear(), Mask.CREATE, top) == ["a/file0"]
        user.connect()
        user.hello()
        assert failed(user.open()) == "LimitReached"


def test_rings_are_limited(start: Callable[..., Daemon]) -> None:
    daemon = start(limited("ring_bytes", 1 << 16) + f"ring_bytes_per_user = {1 << 17}\n")
    with opened_as(daemon) as user:
        user.hello()
        assert user.open(ring_bytes=1 << 20).ring_bytes == 1 << 16
        user.connect()
        user.hello()
        assert user.open(ring_bytes=1 << 16).ring_bytes == 1 << 16
        user.connect()
        user.hello()
        assert failed(user.open(ring_bytes=messages.RING_MIN_BYTES)) == "LimitReached"


def test_requests_are_limited(start: Callable[..., Daemon]) -> None:
    daemon = start(limited("requests_per_second", 20) + "requests_burst = 10\n")
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other:
        user.hello()
        names = user.ask_many(30)
        assert set(names) == {"Statuses", "LimitReached"}
        other.hello()
        assert other.ask_many(5) == ["Statuses"] * 5
        wait_until(lambda: user.ask_many(1) == ["Statuses"], "there are requests again")


def test_requests_too_many_cost_little(start: Callable[..., Daemon]) -> None:
    daemon = start(limited("requests_per_second", 1) + "requests_burst = 1\n")
    with opened_as(daemon) as user:
        user.hello()
        began = time.monotonic()
        assert user.ask_many(50).count("LimitReached") > 45
        assert time.monotonic() - began > 0.5  # each is answered, but the next one is not read at once


# --- what is no message ---

BROKEN = {
    "no message": b"\xff\x00nonsense",
    "nothing known": messages._ENCODER.encode({"type": "Nothing", "id": 1}),
    "a field too many": messages._ENCODER.encode({"type": "Sync", "id": 1, "more": 2}),
    "not within bounds": messages._ENCODER.encode({"type": "Unmark", "id": 1, "mark": -1}),
    "an answer": messages._ENCODER.encode({"type": "Done", "id": 1}),
    "too long": bytes(messages.MESSAGE_MAX_BYTES + 1),
    "without its descriptor": messages._ENCODER.encode(
        {"type": "Include", "id": 1, "set": 0, "root": 1, "included": True, "path": b"/"}
    ),
}


@pytest.mark.parametrize("packet", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_packet_ends_that_connection_only(daemon: Daemon, top: Path, packet: bytes) -> None:
    with opened_as(daemon) as user, opened_as(daemon) as other:
        other.watch(top, Mask.CREATE)
        user.watch(top)
        assert user.send_raw(packet) == "ok"
        assert failed(user.answer()) == "ProtocolError"
        assert user.answer() is None
        other.make_files(top, 1)
        assert paths(other.hear(), Mask.CREATE, top) == ["file0"]
        user.connect()
        assert isinstance(user.hello(), messages.Welcome)


def test_descriptors_that_nobody_asked_for_are_closed(daemon: Daemon) -> None:
    with opened_as(daemon) as user:
        user.hello()
        before = daemon.descriptors()
        for _ in range(20):
            user.send_raw(messages.encode(messages.Status(1)), messages.FDS_MAX)
            assert isinstance(user.answer(), messages.Statuses)
        assert daemon.descriptors() == before


def test_a_client_that_does_not_read_answers_is_sent_away(daemon: Daemon) -> None:
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as other:
        user.hello()
        before = daemon.n_threads()
        user.flood([messages.encode(messages.Status(1))], 100_000)
        other.hello()
        assert other.ask_many(50) == ["Statuses"] * 50
        wait_until(lambda: daemon.n_threads() < before, "the connection is ended")


def open_up_new(path: Path) -> Path:
    path.mkdir()
    return open_up(path)


def test_the_puppet_has_become_the_user(daemon: Daemon) -> None:
    with Puppet(lambda: Client(daemon.socket_path)) as user:
        user.hello()
        with open(f"/proc/{user.pid}/status") as status:
            assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in status.read()
