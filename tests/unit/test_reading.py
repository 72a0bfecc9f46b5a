"""From a group's records to its events: in order, whatever stands between them; the records are made up."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fake_ring import batch_of, record
from fanotify_fastpath._bpf._abi import FpFlag, FpKey, FpKind, FpLink
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common.candidate import Inside
from fanotify_fastpath._engines.common.devices import user_dev
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.kernel.links import Applied
from fanotify_fastpath._engines.kernel.reading import Reading
from fanotify_fastpath._engines.kernel.views import Views
from fanotify_fastpath._uapi.mountinfo import Mount
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.events import Crossing, Event
from fanotify_fastpath.handlers import Handler, HandlerEvent
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict

pytest.importorskip("fanotify_fastpath._bpf._events", reason="the part that makes events is not compiled")

#: of devices that no machine has
DEV, OTHER_DEV = 0xFFE << 20 | 0xFFFFE, 0xFFE << 20 | 0xFFFFD
INSIDE, NOWHERE = b"\x02".ljust(32, b"\0"), bytes(32)
#: number of the root set that is kept in slot 1
SET = 77


class Listener:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.events: list[Event] = []
        self.views = Views()
        self.counters = Counters()
        self.mount(DEV, b"/mnt")
        self.reading = Reading(self, self.views, self.counters, "kernel", with_tid=False)
        self.chain = Chain(lambda: None)
        self.use()

    def mount(self, dev: int, mountpoint: bytes) -> None:
        mount = Mount(1, 0, user_dev(dev), b"/", mountpoint, (), "ext4", b"", ())
        self.views.add(dev, cast(Superblock, SimpleNamespace(mount=mount, dev=9)))

    def use(self, n_applied: int = 0) -> None:
        applied = self.chain.attachments[:n_applied]
        self.reading.use(self.chain, Applied(1, applied, applied), {SET: 1})

    def handle(self, *records: bytes) -> list[Any]:
        self.told.clear()
        self.reading.handle(batch_of(*records))
        return self.told

    def put(self, events: list[Event]) -> None:
        self.events += events
        self.told += [event.lost if event.mask & Mask.Q_OVERFLOW else event.path for event in events]

    def overflow(self, n_events: int) -> Event:
        return Event(Mask.Q_OVERFLOW, None, lost=n_events)

    def crossing(self, dev: int, before: Inside, after: Inside) -> Crossing | None:
        return None if before == after else "in" if after == {SET} else "out"

    def directories_moved(self) -> None:
        self.told.append("moved")

    def root_gone(self, key: FpKey, path: bytes | None) -> None:
        self.told.append(("gone", key, path))

    def roots(self) -> list[Root]:
        return []

    def filesystem_gone(self, dev: int) -> None:
        self.told.append(("unmounted", dev))


class Skipping(Handler):
    """Skips what is called no, and what lies in no root set that it knows."""

    name = "skipping"
    seen: list[HandlerEvent]

    def init(self) -> None:
        self.seen = []

    def handle(self, event: HandlerEvent) -> Verdict:
        self.seen.append(event)
        if event.name == b"fails":
            raise LookupError("fails")
        return SKIP_EVENT if event.name == b"no" else SEND_TO_USERSPACE


def test_what_is_gone_is_told_in_its_place() -> None:
    listener = Listener()
    gone: dict[str, Any] = {"kind": FpKind.ROOT_GONE, "inode": 3, "dev": DEV, "generation": 4}
    told = listener.handle(
        record(b"/a/one", dev=DEV),
        record(b"/a", mask=Mask.DELETE | Mask.ONDIR, inode=3, dev=DEV, generation=4),
        record(**gone),
        record(b"/b", dev=DEV),
        record(kind=FpKind.UNMOUNT, dev=DEV),
        record(b"/c", dev=DEV),
    )
    assert told == [
        "/mnt/a/one",
        "/mnt/a",
        ("gone", FpKey(3, DEV, 4), b"/mnt/a"),
        "/mnt/b",
        ("unmounted", DEV),
        "/mnt/c",
    ]


def test_where_a_root_stood_is_known_from_the_batch_before_and_of_no_other_object() -> None:
    listener = Listener()
    listener.handle(record(b"/a", mask=Mask.DELETE, inode=3, dev=DEV))
    assert listener.handle(record(kind=FpKind.ROOT_GONE, inode=3, dev=DEV)) == [("gone", FpKey(3, DEV, 0), b"/mnt/a")]
    assert listener.handle(record(kind=FpKind.ROOT_GONE, inode=5, dev=DEV)) == [("gone", FpKey(5, DEV, 0), None)]


def test_losses_are_told_once_and_in_their_place() -> None:
    listener = Listener()
    listener.reading.n_dropped = 2
    told = listener.handle(
        record(b"/a", dev=DEV, n_dropped=2),
        record(kind=FpKind.UNMOUNT, dev=5, n_dropped=5),
        record(b"/b", dev=DEV, n_dropped=6),
        record(b"/c", dev=DEV, n_dropped=6),
    )
    assert told == ["/mnt/a", 3, ("unmounted", 5), 1, "/mnt/b", "/mnt/c"]
    assert listener.reading.n_dropped == 6


def test_a_renamed_directory_counts_where_paths_hang_on_it() -> None:
    listener = Listener()
    records = [record(b"/%d" % n, dev=DEV, epoch=epoch) for n, epoch in enumerate((7, 7, 8, 7, 8, 9))]
    assert listener.handle(*records) == [f"/mnt/{n}" for n in range(6)], "one filesystem, seen through one mount"
    listener.mount(OTHER_DEV, b"/mnt/other")
    told = listener.handle(*records, record(b"/x", dev=OTHER_DEV, epoch=1))
    assert told == ["/mnt/0", "/mnt/1", "moved", "/mnt/2", "/mnt/3", "/mnt/4", "moved", "/mnt/5", "/mnt/other/x"]
    assert "moved" not in listener.handle(*records[-2:])
    listener.handle(record(b"/y", dev=DEV, epoch=0xFFFFFFFF))
    assert listener.handle(record(b"/y", dev=DEV, epoch=10)) == ["moved", "/mnt/y"]


def test_an_epoch_that_begins_anew_is_a_new_one() -> None:
    listener = Listener()
    listener.mount(OTHER_DEV, b"/mnt/other")
    listener.handle(record(dev=DEV, epoch=0xFFFFFFFF))
    assert listener.handle(record(dev=DEV, epoch=0)) == ["moved", "/mnt"]


def test_handlers_are_asked_about_each_event_and_not_about_losses() -> None:
    listener = Listener()
    attachment = listener.chain.attach(Skipping, {})
    listener.use()
    told = listener.handle(
        record(b"/no", dev=DEV),
        record(b"/yes", b"/old", mask=Mask.RENAME | Mask.ONDIR, dev=DEV, n_dropped=4, inside=INSIDE, inode=8),
        record(b"/no", dev=DEV),
        record(b"/fails", dev=DEV, flags=FpFlag.UNDECIDED, inside=INSIDE),
    )
    assert told == [4, "/mnt/yes", "/mnt/fails"]
    assert (listener.counters.n_skipped, attachment.n_seen, attachment.n_skipped, attachment.n_failed) == (2, 4, 2, 1)
    first, renamed, _, undecided = cast(Skipping, attachment.handler).seen
    roots = cast(Any, SimpleNamespace(set_id=SET))
    assert [event.inside(roots) for event in (first, renamed, undecided)] == [False, True, None]
    assert (renamed.mask, renamed.inode, renamed.dev) == (Mask.RENAME | Mask.ONDIR, 8, 9)


def test_handlers_are_shown_what_the_record_tells() -> None:
    listener = Listener()
    attachment = listener.chain.attach(Skipping, {})
    listener.use()
    about: dict[str, Any] = {"boot_ns": 11, "gid": 12, "cgroup_id": 13, "mode": 0o100640, "dev": DEV}
    listener.handle(record(b"/a", dev=DEV), record(b"/b", **about))
    nothing, told = cast(Skipping, attachment.handler).seen
    assert (told.time_ns, told.gid, told.cgroup_id, told.mode) == (11, 12, 13, 0o100640)
    assert (nothing.time_ns, nothing.gid, nothing.cgroup_id, nothing.mode) == (0, 0, None, None)
    assert (told.size, told.dir_inode, told.depth, told.ancestors) == (None, None, None, ())


def test_a_handler_that_fails_leaves_its_event_undecided() -> None:
    listener = Listener()
    listener.chain.attach(Skipping, {})
    listener.use()
    listener.handle(record(b"/fails", dev=DEV), record(b"/yes", dev=DEV))
    assert [event.undecided for event in listener.events] == [True, False]


def test_handlers_that_the_kernel_applies_are_not_asked_again() -> None:
    listener = Listener()
    attachment = listener.chain.attach(Skipping, {})
    listener.use(n_applied=1)
    passed = record(b"/no", dev=DEV, chain=1, n_passed=1)
    assert listener.handle(passed) == ["/mnt/no"]
    assert (attachment.n_seen, attachment.n_skipped) == (1, 0)
    listener.chain.attach(Skipping, {})  # before anybody has said so
    assert listener.handle(passed) == []


def test_handlers_that_the_kernel_did_not_come_to_are_asked() -> None:
    listener = Listener()
    first, second = (listener.chain.attach(Skipping, {}) for _ in range(2))
    listener.use(n_applied=2)
    listener.handle(*(record(b"/yes", dev=DEV, chain=1, n_passed=n) for n in (0, 1, 2, FpLink.PASSED_ALL)))
    assert len(listener.events) == 4
    assert [len(cast(Skipping, each.handler).seen) for each in (first, second)] == [1, 2]


def test_records_are_judged_by_the_chain_of_their_time() -> None:
    listener = Listener()
    old = listener.chain.attach(Skipping, {})
    listener.use(n_applied=1)
    listener.chain.detach(old)
    new = listener.chain.attach(Skipping, {})
    listener.reading.use(listener.chain, Applied(2, (new,)), {SET: 1})
    assert listener.handle(record(b"/no", dev=DEV, chain=1, n_passed=1)) == [], "the old one has passed it"
    assert listener.handle(record(b"/no", dev=DEV, chain=2, n_passed=1)) == ["/mnt/no"], "the new one has"


def test_a_rename_crosses_the_border_that_the_engine_tells() -> None:
    listener = Listener()
    renames = [(NOWHERE, INSIDE), (INSIDE, NOWHERE), (INSIDE, INSIDE)]
    listener.handle(
        *(record(b"/a", b"/b", mask=Mask.RENAME, dev=DEV, old_inside=old, inside=new) for old, new in renames)
    )
    assert [event.crossing for event in listener.events] == ["in", "out", None]


@pytest.mark.parametrize(("inside", "path"), [(b"/a/b", "/link"), (b"/a/b/c", "/link/c"), (b"/a/bc", "/mnt/a/bc")])
def test_a_root_given_by_another_path_has_that_path(inside: bytes, path: str) -> None:
    listener = Listener()
    listener.views.give(DEV, b"/a/b", b"/link")
    assert listener.handle(record(inside, dev=DEV)) == [path]
