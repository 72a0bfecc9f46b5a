"""The client of engine ``daemon`` and what it says, with a daemon that only pretends."""

import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from fake_ring import record
from fanotify_fastpath import Group, Mask, RootSet, Scope
from fanotify_fastpath._bpf._abi import FpFlag
from fanotify_fastpath._engines import choose
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.messages import Ask, Discard, Include, Mark, MarkObject, Open, Request, Sync, Unmark
from fanotify_fastpath._wire.told import Told, as_in_record, fields_of
from fanotify_fastpath.errors import (
    LimitReached,
    NotPermitted,
    PathNotFound,
    UnsupportedFeature,
)
from fanotify_fastpath.events import NOBODY
from outcomes import wait_until

from .fake_daemon import FakeDaemon, included, names, read

DEV = 0xFFE << 20 | 0xFFFFE
UNKNOWN = (1 << 32) - 1
#: by bit: in the client's first set
INSIDE, NOWHERE = b"\x01".ljust(32, b"\0"), bytes(32)


def told(mask: Mask, path: bytes | None = None, n_lost: int | None = 0, root: int = 0, **fields: Any) -> bytes:
    """A record about the stream."""
    return record(as_in_record(path), **fields_of(Told(mask, n_lost, root)), **fields)


# --- what is asked for ---


def test_the_group_is_opened_as_it_is_wished_for(fake: FakeDaemon) -> None:
    fake.limits = {"ring_bytes": (1 << 20) + 1}
    with Group(engine="daemon", include_self=True, submounts="skip", with_tid=True):
        hello, wish = fake.asked
    assert isinstance(hello, messages.Hello)
    assert hello.version == messages.VERSION
    assert wish == Open(2, True, False, True, True, 1 << 20)


def test_a_mark_is_made_over_a_set_that_has_its_roots(fake: FakeDaemon, group: Group, tree: Path) -> None:
    mark = group.mark(tree, Mask.CREATE | Mask.ONDIR, exclude=[tree / "a"])
    assert names(fake.asked[2:]) == ["Include", "Include", "Mark"]
    assert sorted(included(fake)) == [(os.fsencode(tree), True), (os.fsencode(tree / "a"), False)]
    (marked,) = fake.asked_for(Mark)
    assert isinstance(marked, Mark)
    assert marked.mask == Mask.CREATE | Mask.ONDIR
    before = len(fake.asked)
    group.unmark(mark)
    assert names(fake.asked[before:]) == ["Unmark", "Discard", "Discard"]


def test_roots_that_come_and_go_are_told_alone(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree / "a")
    before = len(fake.asked)
    group.add_root(tree / "b")
    assert [type(request) for request in fake.asked[before:]] == [Sync, Include], "what was before comes first"
    group.remove_root(tree / "a")
    assert names(fake.asked[before:]) == ["Include", "Discard"]
    first, _ = fake.asked_for(Include)
    (gone,) = fake.asked_for(Discard)
    assert isinstance(first, Include)
    assert isinstance(gone, Discard)
    assert (gone.set, gone.root) == (first.set, first.root)


def test_a_single_file_or_directory_is_marked_as_an_object(fake: FakeDaemon, group: Group, tree: Path) -> None:
    mark = group.mark(tree, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
    (marked,) = fake.asked_for(MarkObject)
    assert isinstance(marked, MarkObject)
    assert (marked.mask, marked.path) == (Mask.CREATE | Mask.EVENT_ON_CHILD, os.fsencode(tree))
    group.unmark(mark)
    (gone,) = fake.asked_for(Unmark)
    assert isinstance(gone, Unmark)
    assert gone.mark == marked.mark


def test_the_sets_of_handlers_are_asked_about(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    attached = group.attach("monitor-subtree", roots=[tree / "a"])
    assert names(fake.asked[2:]) == ["Include", "Mark", "Include", "Ask"]
    handler: Any = attached.handler
    handler.roots.add(tree / "b")
    handler.roots.add(tree / "a/in", exclude=True)
    assert included(fake)[2:] == [(os.fsencode(tree / "b"), True), (os.fsencode(tree / "a/in"), False)]
    handler.roots.remove(tree / "a")
    group.detach()
    assert names(fake.asked[-4:]) == ["Ask", "Discard", "Discard"]
    first, last = fake.asked_for(Ask)
    assert isinstance(first, Ask)
    assert isinstance(last, Ask)
    assert (len(first.sets), last.sets) == (1, [])


def test_numbers_of_sets_are_used_again(fake: FakeDaemon, group: Group, tree: Path) -> None:
    for _ in range(3):
        group.unmark(group.mark(tree))
    assert {request.set for request in fake.asked if isinstance(request, Include)} == {0}
    group.mark(tree)
    group.mark(tree)
    assert {request.set for request in fake.asked if isinstance(request, Include)} == {0, 1}


def test_what_a_group_has_by_two_sets_is_told_by_two_numbers(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    group.mark(tree)
    first, second = fake.asked_for(Include)
    assert isinstance(first, Include)
    assert isinstance(second, Include)
    assert first.root != second.root
    fake.put(told(Mask(0), root=first.root), told(Mask.ROOT_GONE, os.fsencode(tree)))
    read(group, 1)
    assert [len(mark.roots.roots) for mark in group.marks] == [0, 1]


# --- what cannot be had ---


@pytest.mark.parametrize("scope", [Scope.MOUNT, Scope.FILESYSTEM])
def test_larger_scopes_are_refused(fake: FakeDaemon, group: Group, tree: Path, scope: Scope) -> None:
    with pytest.raises(UnsupportedFeature, match=f"scope {scope.value} takes CAP_SYS_ADMIN"):
        group.mark(tree, Mask.OPEN, scope=scope)
    assert len(fake.asked) == 2


def test_permission_events_are_refused(group: Group, tree: Path) -> None:
    with pytest.raises(NotPermitted, match="permission events are not given"):
        group.mark(tree, Mask.OPEN_PERM)
    with pytest.raises(UnsupportedFeature, match="engine daemon denies nothing"):
        group.forbid(tree, Mask.OPEN_PERM)
    assert not group.marks


def test_guarding_is_refused(tree: Path) -> None:
    from fanotify_fastpath import guard

    with pytest.raises(NotPermitted, match="the daemon denies nothing"):
        guard(tree, engine="daemon")


@pytest.mark.parametrize("kind", [Include, Mark])
def test_a_mark_that_is_refused_leaves_nothing(fake: FakeDaemon, group: Group, tree: Path, kind: type[Request]) -> None:
    def refuse(request: Request) -> None:
        if isinstance(request, kind):
            raise NotPermitted("you may not")

    fake.answer = refuse
    with pytest.raises(NotPermitted, match="you may not"):
        group.mark(tree)
    assert not group.marks
    n_included, n_discarded = len(fake.asked_for(Include)), len(fake.asked_for(Discard))
    assert n_discarded == (0 if kind is Include else n_included)
    fake.answer = lambda request: None
    group.mark(tree)
    assert names(fake.asked[-2:]) == ["Include", "Mark"]


def test_a_handler_whose_root_is_refused_is_not_attached(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)

    def refuse(request: Request) -> None:
        if isinstance(request, Include):
            raise LimitReached("too many roots")

    fake.answer = refuse
    with pytest.raises(LimitReached, match="too many roots"):
        group.attach("monitor-subtree", roots=[tree / "a"])
    assert not group.attachments
    fake.answer = lambda request: None
    group.attach("monitor-subtree", roots=[tree / "a"])


def test_a_root_that_is_refused_is_in_no_set(fake: FakeDaemon, group: Group, tree: Path) -> None:
    mark = group.mark(tree / "a")

    def refuse(request: Request) -> None:
        if isinstance(request, Include):
            raise NotPermitted("not that one")

    fake.answer = refuse
    for add in (group.add_root, mark.roots.add):
        with pytest.raises(NotPermitted, match="not that one"):
            add(tree / "b")
        assert [root.path for root in group.roots] == [os.fsencode(tree / "a")]
    with pytest.raises(NotPermitted):
        mark.roots.add(tree / "a", exclude=True)
    assert [root.path for root in group.roots] == [os.fsencode(tree / "a")], "it is a root as before"


def test_what_is_not_there_any_more_cannot_be_marked(fake: FakeDaemon, group: Group, tree: Path) -> None:
    roots = RootSet()
    root = roots.add(tree / "a")
    (tree / "a").rename(tree / "old")
    (tree / "a").mkdir()
    mark = group.mark(tree / "b")
    with pytest.raises(PathNotFound, match="another object"):
        mark.roots.include(root)
    (tree / "a").rmdir()
    with pytest.raises(PathNotFound, match="no such file"):
        mark.roots.include(root)
    assert len(fake.asked_for(Include)) == 1


def test_devices_and_fifos_are_not_opened(fake: FakeDaemon, group: Group, tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    with pytest.raises(UnsupportedFeature, match="directories and regular files"):
        group.mark(tree / "fifo")
    group.mark(tree, exclude=[tree / "fifo"])


def test_the_daemon_is_shown_descriptors_for_reading(fake: FakeDaemon, group: Group, tree: Path) -> None:
    (tree / "file").write_text("")
    flags = []

    def look(request: Request) -> None:
        for fd in os.listdir("/proc/self/fd"):
            try:
                is_root = os.path.dirname(os.readlink(f"/proc/self/fd/{fd}")) == os.fspath(tree)
            except OSError:
                continue
            if isinstance(request, Include) and is_root:
                with open(f"/proc/self/fdinfo/{fd}") as info:
                    value = next(int(line.split()[1], 8) for line in info if line.startswith("flags"))
                    flags.append((request.included, stat.S_IFMT(os.stat(f"/proc/self/fd/{fd}").st_mode), value))

    fake.answer = look
    group.mark(tree / "a", exclude=[tree / "b"])
    group.add_root(tree / "file")
    assert {(is_included, kind, bool(value & os.O_PATH)) for is_included, kind, value in flags} == {
        (True, stat.S_IFDIR, False),
        (True, stat.S_IFREG, False),
        (False, stat.S_IFDIR, True),
    }


# --- records ---


def test_events_are_what_the_records_tell(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    me: dict[str, Any] = {"tgid": os.getpid(), "uid": os.geteuid(), "comm": b"me"}
    fake.put(
        record(b"/x/y", mask=Mask.CREATE | Mask.ONDIR, dev=DEV, inode=7, boot_ns=5, inside=INSIDE, **me),
        record(b"/z", mask=Mask.MODIFY, uid=UNKNOWN, flags=FpFlag.UNDECIDED),
    )
    told_first, hidden = read(group, 2)
    assert (told_first.mask, told_first.path, told_first.is_dir) == (Mask.CREATE, "/x/y", True)
    assert (told_first.dev, told_first.inode) == (os.makedev(DEV >> 20, DEV & 0xFFFFF), 7)
    assert (told_first.time_ns, told_first.engine, told_first.undecided) == (5, "daemon", False)
    assert (told_first.tgid, told_first.tid, told_first.uid, told_first.comm) == (os.getpid(), None, os.geteuid(), "me")
    assert told_first.exe == os.readlink("/proc/self/exe")
    assert (hidden.path, hidden.dev, hidden.inode, hidden.undecided) == ("/z", None, None, True)
    assert hidden.process is NOBODY


def test_paths_stand_as_they_are_and_may_be_missing(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    given: list[bytes | None] = [b"/a", b"/", None, b"/a/b", b"/\xff"]
    fake.put(*(record(as_in_record(path), mask=Mask.ATTRIB) for path in given))
    assert [event.raw_path for event in read(group, 5)] == given


@pytest.mark.parametrize(
    ("old", "new", "sides", "crossing"),
    [
        (b"/t/x", b"/t/y", (INSIDE, INSIDE), None),
        (b"/o/x", b"/t/y", (NOWHERE, INSIDE), "in"),
        (b"/t/x", b"/o/y", (INSIDE, NOWHERE), "out"),
        (None, b"/t/y", (NOWHERE, INSIDE), "in"),
        (b"/t/x", None, (INSIDE, NOWHERE), "out"),
    ],
)
def test_a_rename_tells_the_sides_that_may_be_seen(
    fake: FakeDaemon,
    group: Group,
    tree: Path,
    old: bytes | None,
    new: bytes | None,
    sides: tuple[bytes, bytes],
    crossing: str | None,
) -> None:
    group.mark(tree)
    rename = record(as_in_record(new), as_in_record(old), mask=Mask.RENAME, old_inside=sides[0], inside=sides[1])
    fake.put(rename)
    (event,) = read(group, 1)
    assert (event.raw_old_path, event.raw_path, event.crossing) == (old, new, crossing)


def test_sides_of_a_rename_begin_at_their_roots(fake: FakeDaemon, group: Group, tree: Path) -> None:
    """As they do in records of programs in the kernel; a batch may have nothing but a rename of which one is hidden."""
    group.mark(tree / "a")
    group.add_root(tree / "b")
    a, b = (request.root for request in fake.asked_for(Include) if isinstance(request, Include))
    for old, new, told in [
        ((b"/x", a), (b"", 0), (tree / "a/x", None)),
        ((b"", 0), (b"/y", b), (None, tree / "b/y")),
        ((b"/x/y", b), (b"/z", a), (tree / "b/x/y", tree / "a/z")),
    ]:
        fake.put(record(new[0], old[0], mask=Mask.RENAME, mount_id=new[1], reserved=old[1], inside=INSIDE))
        (event,) = read(group, 1)
        assert (event.old_path, event.path) == tuple(None if path is None else os.fspath(path) for path in told)


def test_handlers_choose_by_sets_and_names(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    subtree = group.attach("monitor-subtree", roots=[tree / "a"])
    group.attach("ignore-prefix", prefixes=["."])
    mine, both = INSIDE, b"\x03".ljust(32, b"\0")
    fake.put(
        record(b"/t/1", mask=Mask.CREATE, inside=mine),
        record(b"/t/a/2", mask=Mask.CREATE, inside=both),
        record(b"/t/a/.3", mask=Mask.CREATE, inside=both),
        record(b"/t/a/4", b"/t/5", mask=Mask.RENAME, inside=both, old_inside=mine),
    )
    assert [(event.path, event.crossing) for event in read(group, 2)] == [("/t/a/2", None), ("/t/a/4", "in")]
    assert (subtree.n_seen, subtree.n_skipped, group.counters.n_skipped) == (4, 1, 2)


def test_what_happened_before_a_change_is_judged_as_things_were(fake: FakeDaemon, group: Group, tree: Path) -> None:
    """The daemon puts into the ring what happened before it answers Sync."""
    group.mark(tree)
    group.attach("ignore-prefix", prefixes=["."])
    late = [record(b"/.x", mask=Mask.CREATE, inside=INSIDE), record(b"/y", mask=Mask.CREATE, inside=INSIDE)]

    def supply(request: Request) -> None:
        if isinstance(request, Sync):
            while late:
                fake.put(late.pop(0))

    fake.answer = supply
    group.detach()
    assert [event.path for event in read(group, 1)] == ["/y"]


def test_losses_are_told_with_their_number(fake: FakeDaemon, group: Group, tree: Path) -> None:
    group.mark(tree)
    fake.put(
        record(b"/a", mask=Mask.CREATE, n_dropped=2),
        told(Mask(0), n_dropped=5),
        told(Mask.Q_OVERFLOW, n_lost=7, n_dropped=5),
        told(Mask.Q_OVERFLOW, n_lost=None, n_dropped=5),
        record(b"/b", mask=Mask.CREATE, n_dropped=5),
    )
    events = read(group, 6)
    assert [event.lost if event.mask & Mask.Q_OVERFLOW else event.path for event in events] == [
        2,
        "/a",
        3,
        7,
        None,
        "/b",
    ]
    assert (group.counters.n_overflows, group.counters.n_lost) == (4, 13)


def test_news_of_the_stream_come_in_their_place(fake: FakeDaemon, group: Group, tree: Path) -> None:
    mark = group.mark(tree / "a")
    group.add_root(tree / "b")
    first, second = fake.asked_for(Include)
    assert isinstance(first, Include)
    assert isinstance(second, Include)
    fake.put(
        record(b"/1", mask=Mask.CREATE),
        told(Mask.RESCAN, b"/t/in"),
        told(Mask(0), root=first.root),
        told(Mask.ROOT_GONE, b"/t/a"),
        told(Mask.UNWATCHED, b"/t/mnt"),
        record(b"/2", mask=Mask.CREATE),
        told(Mask.UNMOUNT, b"/t", root=second.root),
    )
    events = read(group, 6)
    assert [(event.mask, event.path) for event in events] == [
        (Mask.CREATE, "/1"),
        (Mask.RESCAN, "/t/in"),
        (Mask.ROOT_GONE, "/t/a"),
        (Mask.UNWATCHED, "/t/mnt"),
        (Mask.CREATE, "/2"),
        (Mask.UNMOUNT, "/t"),
    ]
    assert not mark.roots.roots
    assert group.counters.n_rescans == 1
    assert not fake.asked_for(Discard), "the daemon knows that they are gone"


def test_a_long_ring_is_read_in_turns_and_nothing_is_left(fake: FakeDaemon, group: Group, tree: Path) -> None:
    """What a full batch leaves in the ring is read without another wake."""
    group.mark(tree)
    far = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12
    fake.put(*(record(b"/%d" % n, mask=Mask.CREATE, boot_ns=far) for n in range(9000)))
    assert [event.path for event in read(group, 9000)] == [f"/{n}" for n in range(9000)]


def test_a_slow_user_is_read_for(fake: FakeDaemon, tree: Path) -> None:
    with Group(engine="daemon") as group:
        group.mark(tree)
        for n in range(1, 21):
            fake.put(*(record(b"/x" * 1000, mask=Mask.CREATE) for _ in range(1000)))
            wait_until(lambda: group.counters.n_delivered == 1000 * n, "a thousand more, though nobody reads")  # noqa: B023


# --- which engine is taken ---


def test_auto_takes_the_daemon_where_this_process_may_not_watch(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def engine() -> str:
        with Group() as group:
            return group.engine

    monkeypatch.setattr(choose, "AUTO", ("fanotify", "daemon"))
    monkeypatch.setattr(choose, "may_mark_filesystems", lambda: True)
    assert engine() == "fanotify"
    monkeypatch.setattr(choose, "may_mark_filesystems", lambda: False)
    assert engine() == "daemon"

    def refuse(request: Request) -> None:
        raise NotPermitted("not you")

    fake.answer = refuse
    assert engine() == "fanotify", "for single directories"
    fake.answer = lambda request: None
    fake.close()
    assert engine() == "fanotify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as deaf:
        deaf.bind(os.fspath(fake.path))
    assert engine() == "fanotify", "nobody listens at the socket that is there"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH])
def test_a_target_may_be_a_descriptor(fake: FakeDaemon, group: Group, tree: Path, flags: int) -> None:
    fd = os.open(tree / "a", flags)
    try:
        group.mark(fd)
    finally:
        os.close(fd)
    assert included(fake) == [(os.fsencode(tree / "a"), True)]
