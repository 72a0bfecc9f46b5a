"""Events made of records: every attribute, and the callers asked once for what many events share."""

import gc
import os
import struct
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_ring import batch_of, record
from fanotify_fastpath._bpf._abi import FpFlag, FpKind
from fanotify_fastpath._bpf.decoding import Decoder, Remembered, place_key
from fanotify_fastpath._bpf.ring import Batch, Record
from fanotify_fastpath.events import Event, Process
from fanotify_fastpath.mask import Mask

pytest.importorskip("fanotify_fastpath._bpf._events", reason="the part that makes events is not compiled")

INSIDE, NOWHERE = b"\x01".ljust(31, b"\0") + b"\x80", bytes(32)
PROCESS = Process(1000, "worker", "/usr/bin/worker")


class Caller:
    """What a decoder asks; counts the questions."""

    def __init__(self, **options: Any) -> None:
        self.asked: Counter[object] = Counter()
        self.special: list[tuple[Record, int]] = []
        self.prefix: bytes | None = b"/mnt"
        self.decoder: Decoder[Event] = Decoder(
            Event,
            "kernel",
            find_mask=self.find_mask,
            find_place=self.find_place,
            find_process=self.find_process,
            find_dev=self.find_dev,
            find_crossing=self.find_crossing,
            make_special=self.make_special,
            **options,
        )

    def find_mask(self, mask: int) -> Mask:
        self.asked[mask] += 1
        return Mask(mask)

    def find_place(self, dev: int, mount_id: int, directory: bytes) -> bytes | None:
        self.asked[dev, mount_id, directory] += 1
        return None if self.prefix is None else self.prefix + directory

    def find_process(self, tgid: int, uid: int, comm: bytes) -> Process:
        self.asked[tgid, uid, comm] += 1
        return PROCESS

    def find_dev(self, dev: int) -> int:
        self.asked["dev", dev] += 1
        return os.makedev(dev >> 20, dev & 0xFFFFF)

    def find_crossing(self, dev: int, old_inside: bytes, inside: bytes) -> str | None:
        self.asked["crossing", dev, old_inside, inside] += 1
        return None if old_inside == inside else "in" if inside == INSIDE else "out"

    def make_special(self, one: Record, n_lost: int) -> Event | None:
        self.special.append((one, n_lost))
        return Event(Mask.Q_OVERFLOW, None, lost=n_lost, engine="kernel") if n_lost else None

    def decode(self, *records: bytes) -> list[Event]:
        return self.decoder.decode(batch_of(*records))


def attributes(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in Event.__slots__}


def test_every_attribute_is_what_the_record_says() -> None:
    dev, comm = 259 << 20 | 70000, b"worker".ljust(16, b"\0")
    one = record(
        b"/dir/new", b"/old", mask=Mask.RENAME | Mask.ONDIR, dev=dev, inode=2**64 - 1, boot_ns=2**63, tgid=7, tid=8,
        uid=1000, comm=comm, mount_id=21, inside=INSIDE,
    )  # fmt: skip
    caller = Caller()
    (event,) = caller.decode(one)
    assert type(event) is Event
    expected = Event(
        Mask.RENAME, b"/mnt/dir/new", b"/mnt/old", "in", True, 7, None, PROCESS, os.makedev(259, 70000), 2**64 - 1,
        2**63, engine="kernel",
    )  # fmt: skip
    assert attributes(event) == attributes(expected)
    assert isinstance(event.mask, Mask)
    assert repr(event) == repr(expected)
    assert set(caller.asked) == {
        Mask.RENAME, (dev, 21, b"/dir"), (dev, 21, b""), (7, 1000, b"worker"), ("dev", dev),
        ("crossing", dev, NOWHERE, INSIDE),
    }  # fmt: skip


def test_what_many_events_share_is_asked_for_once() -> None:
    caller = Caller()
    records = [record(b"/%d/file%d" % (n % 3, n), mask=1 << n % 2, tgid=n % 4) for n in range(100)]
    events = caller.decode(*records) + caller.decode(*records)
    assert [event.raw_path for event in events[:4]] == [
        b"/mnt/0/file0",
        b"/mnt/1/file1",
        b"/mnt/2/file2",
        b"/mnt/0/file3",
    ]
    assert set(caller.asked.values()) == {1}
    assert len(caller.asked) == 3 + 2 + 4 + 1


def test_places_and_processes_are_asked_for_anew_after_being_forgotten() -> None:
    caller, one = Caller(), record(b"/a/b", tgid=9)
    caller.decode(one)
    caller.prefix = b"/other"
    assert caller.decode(one)[0].raw_path == b"/mnt/a/b"
    caller.decoder.forget_places()
    assert caller.decode(one)[0].raw_path == b"/other/a/b"
    caller.decoder.forget_processes()
    caller.decode(one)
    assert (caller.asked[0, 0, b"/a"], caller.asked[9, 0, b""]) == (2, 2)


def test_places_filled_beforehand_are_not_asked_for() -> None:
    caller = Caller()
    caller.decoder.places[place_key(5, 6, b"/a")] = b"/known"
    (event,) = caller.decode(record(b"/a/b", dev=5, mount_id=6))
    assert event.raw_path == b"/known/b"
    assert not [question for question in caller.asked if question == (5, 6, b"/a")]


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        (b"/mnt", b"/a/b", b"/mnt/a/b"),
        (b"/mnt", b"/b", b"/mnt/b"),
        (b"/mnt", b"/", b"/mnt"),
        (b"/mnt", b"b", b"/mnt/b"),
        (b"/mnt", b"/a/b\xff\n", b"/mnt/a/b\xff\n"),
        (b"", b"/a/b", b"/a/b"),
        (b"", b"/", b"/"),
        (b"/mnt", b"", b"/mnt"),
        (b"", b"", b"/"),
        (None, b"/a/b", None),
    ],
)
def test_paths_begin_where_the_user_sees_the_directory(
    prefix: bytes | None, path: bytes, expected: bytes | None
) -> None:
    caller = Caller()
    caller.prefix = prefix
    (event,) = caller.decode(record(path, dev=1))
    assert (event.raw_path, event.raw_old_path) == (expected, None)


def test_no_path_at_all_is_only_what_is_undecided() -> None:
    known, unknown = Caller().decode(record(), record(flags=FpFlag.UNDECIDED))
    assert (known.raw_path, unknown.raw_path) == (b"/mnt", None)
    (known,) = Caller().decode(record(b"/a", mask=Mask.RENAME, flags=FpFlag.UNDECIDED))
    assert (known.raw_path, known.raw_old_path) == (b"/mnt/a", None)


def test_a_path_that_lacks_its_beginning_has_no_slash_before_it() -> None:
    cut = record(b"/ut/off", b"/old", mask=Mask.RENAME, flags=FpFlag.TRUNCATED)
    none = record(b"/", flags=FpFlag.TRUNCATED | FpFlag.UNDECIDED)
    caller = Caller()
    assert [(event.raw_path, event.raw_old_path) for event in caller.decode(cut, none)] == [
        (b"ut/off", b"old"),
        (None, None),
    ]
    assert not [question for question in caller.asked if question == (0, 0, b"/ut")]


def test_only_a_rename_has_an_old_path() -> None:
    renamed, created = Caller().decode(record(b"/a", b"", mask=Mask.RENAME), record(b"/a", b"/b", mask=Mask.CREATE))
    assert (renamed.raw_old_path, created.raw_old_path) == (b"/mnt", None)


def test_the_same_directory_of_another_mount_or_device_is_another_place() -> None:
    caller = Caller()
    places = [(1, 1), (2, 1), (2, 2), (1, 2)]  # each differs from the one before in one respect
    caller.decode(*(record(b"/a/b", dev=dev, mount_id=mount_id) for dev, mount_id in places))
    assert [caller.asked[dev, mount_id, b"/a"] for dev, mount_id in places] == [1] * 4


@pytest.mark.parametrize(
    ("inside", "old_inside", "crossing"), [(INSIDE, NOWHERE, "in"), (NOWHERE, INSIDE, "out"), (INSIDE, INSIDE, None)]
)
def test_what_a_rename_crosses_is_asked_for_once(inside: bytes, old_inside: bytes, crossing: str | None) -> None:
    caller = Caller()
    fields: dict[str, Any] = {"inside": inside, "old_inside": old_inside, "dev": 7}
    renamed, created = caller.decode(record(mask=Mask.RENAME, **fields), record(mask=Mask.CREATE, **fields))
    assert (renamed.crossing, created.crossing) == (crossing, None)
    caller.decode(record(mask=Mask.RENAME, **fields))
    assert caller.asked["crossing", 7, old_inside, inside] == 1
    caller.decoder.forget_borders()
    caller.decode(record(mask=Mask.RENAME, **fields))
    assert caller.asked["crossing", 7, old_inside, inside] == 2


def test_names_in_a_directory_may_have_paths_of_their_own() -> None:
    caller = Caller()
    caller.decoder.places[place_key(0, 0, b"/a")] = (b"/mnt/a", {b"root": b"/link"})
    caller.decoder.places[place_key(0, 0, b"")] = (b"/mnt", {b"": b"/top"})
    records = [record(path, b"/a/root", mask=Mask.RENAME) for path in (b"/a/root", b"/a/other", b"", b"/a")]
    assert [(event.raw_path, event.raw_old_path) for event in caller.decode(*records)] == [
        (b"/link", b"/link"),
        (b"/mnt/a/other", b"/link"),
        (b"/top", b"/link"),
        (b"/mnt/a", b"/link"),
    ]


def test_flags_of_the_mask_are_no_event_types() -> None:
    (event,) = Caller().decode(record(mask=Mask.CREATE | Mask.ONDIR | Mask.EVENT_ON_CHILD))
    assert (event.mask, event.is_dir) == (Mask.CREATE, True)
    (event,) = Caller().decode(record(mask=Mask.OPEN))
    assert event.is_dir is False


def test_undecided_is_what_the_given_flags_say() -> None:
    torn, undecided = record(flags=FpFlag.TORN), record(flags=FpFlag.UNDECIDED)
    assert [event.undecided for event in Caller().decode(torn, undecided, record())] == [False, True, False]
    both = Caller(undecided_flags=FpFlag.TORN | FpFlag.UNDECIDED)
    assert [event.undecided for event in both.decode(torn, undecided, record())] == [True, True, False]


def test_threads_are_told_where_they_are_asked_for() -> None:
    assert Caller().decode(record(tid=5))[0].tid is None
    assert Caller(with_tid=True).decode(record(tid=5))[0].tid == 5


def test_losses_become_events_in_their_place() -> None:
    caller = Caller()
    records = [record(b"/%d" % n, n_dropped=n_dropped) for n, n_dropped in enumerate((5, 8, 7, 8, 9))]
    events = caller.decoder.decode(batch_of(*records, n_dropped_before=5))
    assert [event.raw_path or event.lost for event in events] == [
        b"/mnt/0",
        3,
        b"/mnt/1",
        b"/mnt/2",
        b"/mnt/3",
        1,
        b"/mnt/4",
    ]
    assert [(one.path, n_lost) for one, n_lost in caller.special] == [(b"/1", 3), (b"/4", 1)]


def test_records_of_another_kind_are_the_callers() -> None:
    caller = Caller()
    records = [
        record(b"/root", kind=FpKind.ROOT_GONE),
        record(kind=FpKind.UNMOUNT, dev=3),
        record(b"/file", n_dropped=2, kind=99),
    ]
    events = caller.decode(*records)
    assert [event.lost for event in events] == [2], "None is left out"
    assert [(one.fields.kind, one.path, n_lost) for one, n_lost in caller.special] == [
        (FpKind.ROOT_GONE, b"/root", 0),
        (FpKind.UNMOUNT, b"", 0),
        (99, b"/file", 2),
        (99, b"/file", 0),
    ]


@pytest.mark.parametrize("what", ["find_mask", "find_place", "find_process", "find_dev", "make_special"])
def test_what_a_caller_raises_comes_through_and_nothing_is_remembered(what: str) -> None:
    class Failing(Caller):
        is_failing = True

    def fail(self: Failing, *arguments: object) -> object:
        if self.is_failing:
            raise LookupError(what)
        return getattr(Caller, what)(self, *arguments)

    setattr(Failing, what, fail)
    caller = Failing()
    records = [record(b"/a/b", mask=1), record(b"/a/c", mask=1, n_dropped=1)]
    with pytest.raises(LookupError, match=what):
        caller.decode(*records)
    caller.is_failing = False
    assert [event.raw_path for event in caller.decode(*records)] == [b"/mnt/a/b", None, b"/mnt/a/c"]


@pytest.mark.parametrize("place", ["/text", (), (b"/a",), (b"/a", None), (None, {})])
def test_a_place_that_is_no_path_is_an_error(place: Any) -> None:
    caller = Caller()
    caller.decoder.places[place_key(0, 0, b"/a")] = place
    with pytest.raises(TypeError, match="bytes or None"):
        caller.decode(record(b"/a/b"))


def test_parts_that_do_not_belong_together_are_refused() -> None:
    good = batch_of(record(b"/a/b"), record(b"/c"))
    for fixed, paths, starts in (
        (good.fixed[:-1], good.paths_block, good.starts),
        (good.fixed, good.paths_block[:-1], good.starts),
        (good.fixed, good.paths_block, good.starts[:-4]),
        (good.fixed, good.paths_block, struct.pack("=3I", 4, 0, 6)),
        (good.fixed, good.paths_block, struct.pack("=3I", 0, 4, 2**32 - 1)),
        (good.fixed, good.paths_block, struct.pack("=3I", 0, 3, 6)),
    ):
        with pytest.raises(ValueError, match="do not belong together"):
            Caller().decoder.decode(Batch(fixed, paths, starts, 0, 0))


class OtherSlots:
    __slots__ = (*Event.__slots__[:-1], "other")


class MoreSlots:
    __slots__ = (*Event.__slots__, "other")


class Below(Event):
    __slots__ = ()


@pytest.mark.parametrize("kind", [OtherSlots, MoreSlots, Below, Process, int, object])
def test_a_class_with_other_slots_is_refused(kind: type[Any]) -> None:
    caller = Caller()
    with pytest.raises((TypeError, AttributeError)):
        Decoder(
            kind, "kernel", find_mask=caller.find_mask, find_place=caller.find_place, find_process=caller.find_process,
            find_dev=caller.find_dev, find_crossing=caller.find_crossing, make_special=caller.make_special,
        )  # fmt: skip


def test_nothing_is_kept_alive_and_nothing_is_freed_twice() -> None:
    caller = Caller()
    records = [record(b"/%d/x" % (n % 7), b"/o", mask=Mask.RENAME, tgid=9, inside=INSIDE) for n in range(50)]
    caller.decode(*records)
    directories = [caller.decoder.places[place_key(0, 0, directory)] for directory in (b"", b"/3")]
    shared = [PROCESS, Mask.RENAME, *directories, None, True, False, sys.intern("in"), "kernel"]
    gc.collect()
    before, n_before = list(map(sys.getrefcount, shared)), sys.getallocatedblocks()
    for _ in range(100):
        caller.decode(*records)
    gc.collect()
    assert list(map(sys.getrefcount, shared)) == before
    assert sys.getallocatedblocks() - n_before < 100, "5,000 events, each of several blocks, are not all gone"


def test_a_decoder_that_nobody_needs_is_collected_with_its_caller() -> None:
    class Marked(Caller):
        pass

    caller = Marked()
    caller.decode(record(b"/a/b"))
    del caller
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Marked)]


def test_what_is_remembered_is_bounded() -> None:
    squares: Remembered[int, int] = Remembered(lambda n: n * n, max_entries=3)
    assert [squares[n] for n in range(10)] == [n * n for n in range(10)]
    assert len(squares) <= 3


PATHS = st.binary(max_size=12).map(lambda path: path.replace(b"\0", b"/"))


@settings(max_examples=300)
@given(st.lists(st.tuples(PATHS, PATHS, st.integers(0, 3), st.booleans()), max_size=20))
def test_any_paths_are_joined_as_plain_python_joins_them(given_paths: list[tuple[bytes, bytes, int, bool]]) -> None:
    caller = Caller()

    def joined(path: bytes) -> bytes:
        directory, _, name = path.rpartition(b"/")
        prefix = b"/mnt" + directory
        return prefix + b"/" + name if name else prefix

    records = [record(path, old, mask=Mask.RENAME, dev=dev, mount_id=mount) for path, old, dev, mount in given_paths]
    events = caller.decode(*records)
    assert [(event.raw_path, event.raw_old_path) for event in events] == [
        (joined(path), joined(old)) for path, old, _, _ in given_paths
    ]
