"""The reader of ring buffers on rings in plain memory: order, busy and discarded records, impossible content."""

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_ring import BUSY, DISCARD, EVENT, PAGE, U64, FakeRing, record
from fanotify_fastpath._bpf._abi import LAYOUTS, FpEvent
from fanotify_fastpath._bpf.ring import Batch, RingReader
from fanotify_fastpath.errors import Closed, InvalidArgument, KernelRefused

#: of the fixed part of a record, in bytes
SIZE = EVENT.size

_ring = pytest.importorskip("fanotify_fastpath._bpf._ring", reason="the reader of rings is not compiled")


@contextmanager
def ring(size_bytes: int = PAGE, position: int = 0) -> Iterator[tuple[FakeRing, RingReader]]:
    fake = FakeRing(size_bytes, position)
    try:
        with RingReader(fake.fd, size_bytes) as reader:
            yield fake, reader
    finally:
        fake.close()


@pytest.fixture
def pair() -> Iterator[tuple[FakeRing, RingReader]]:
    with ring() as both:
        yield both


Pair = tuple[FakeRing, RingReader]


def paths(batch: Batch) -> list[bytes]:
    return [one.path for one in batch]


def test_an_empty_ring_gives_an_empty_batch(pair: Pair) -> None:
    _, reader = pair
    batch = reader.read_batch(10)
    assert (len(batch), list(batch), batch.paths(), batch.n_lost) == (0, [], [], 0)
    assert batch.column("mask").tolist() == []
    assert reader.n_pending_bytes == 0


def test_a_record_has_all_its_fields_and_both_paths(pair: Pair) -> None:
    fake, reader = pair
    codes = {name: field.code for name, field in LAYOUTS.structs["fp_event"].fields.items()}
    values = {name: n + 1 for n, name in enumerate(FpEvent._fields) if len(codes[name]) == 1}
    values |= {"version": 1, "path_len": 6, "old_path_len": 4}
    data: dict[str, Any] = {"inside": b"i" * 32, "old_inside": b"o" * 32, "comm": b"command".ljust(16, b"\0"), **values}
    assert fake.send(record(b"/a/new", b"/old", **data))
    batch = reader.read_batch(1)
    assert list(batch) == [(b"/a/new", b"/old", FpEvent(**data))]
    assert batch[0] == batch[-1] == next(iter(batch))
    for name, value in values.items():
        assert batch.column(name).tolist() == [value]
    assert (batch.paths(), batch.old_paths()) == ([b"/a/new"], [b"/old"])
    assert fake.consumer == fake.producer


def test_a_batch_is_a_sequence_with_columns_as_wide_as_in_c(pair: Pair) -> None:
    fake, reader = pair
    for n in range(5):
        fake.send(record(b"p" * n, b"o" * (n % 2), n_padding=n, mask=2**32 - 1 - n, inode=2**64 - 1 - n, flags=n))
    batch = reader.read_batch(100)
    assert [len(one.path) for one in batch] == [0, 1, 2, 3, 4]
    assert batch.old_paths() == [b"", b"o", b"", b"o", b""]
    assert batch.column("mask").typecode == "I"
    assert batch.column("inode").tolist() == [2**64 - 1 - n for n in range(5)]
    assert batch.column("flags").typecode == "H"
    assert batch.column("mask") is batch.column("mask")
    assert [batch[n] for n in range(5)] == list(batch)
    with pytest.raises(IndexError):
        batch[5]
    assert EVENT.size * len(batch) == len(batch.fixed)


@pytest.mark.parametrize("name", ["comm", "inside", "no_such_field", ""])
def test_what_is_no_number_is_no_column(pair: Pair, name: str) -> None:
    with pytest.raises(InvalidArgument, match="no number"):
        pair[1].read_batch(1).column(name)


def test_no_more_are_taken_than_asked_for(pair: Pair) -> None:
    fake, reader = pair
    for n in range(10):
        fake.send(record(b"%d" % n))
    assert [paths(reader.read_batch(n)) for n in (1, 2, 100)] == [
        [b"0"],
        [b"1", b"2"],
        [b"%d" % n for n in range(3, 10)],
    ]


@pytest.mark.parametrize("n", [0, -1, -(2**62)])
def test_asking_for_less_than_one_is_refused(pair: Pair, n: int) -> None:
    with pytest.raises(InvalidArgument, match="at least 1 record"):
        pair[1].read_batch(n)


def test_a_busy_record_ends_the_batch_until_it_is_committed(pair: Pair) -> None:
    fake, reader = pair
    late = record(b"late")
    fake.send(record(b"first"))
    busy_at = fake.producer
    fake.send(late, BUSY)
    fake.send(record(b"last"))
    assert paths(reader.read_batch(10)) == [b"first"]
    assert paths(reader.read_batch(10)) == []
    assert fake.consumer == busy_at
    assert reader.n_pending_bytes > 0
    fake.commit(busy_at, len(late))
    assert paths(reader.read_batch(10)) == [b"late", b"last"]


def test_a_busy_record_may_end_up_discarded(pair: Pair) -> None:
    fake, reader = pair
    late, busy_at = record(b"late"), fake.producer
    fake.send(late, BUSY)
    fake.send(record(b"last"))
    assert len(reader.read_batch(10)) == 0
    fake.commit(busy_at, len(late), DISCARD)
    assert paths(reader.read_batch(10)) == [b"last"]


def test_discarded_records_may_have_any_content_and_length(pair: Pair) -> None:
    fake, reader = pair
    for length in (0, 1, 8, SIZE - 1, 500):
        assert fake.send(b"\xff" * length, DISCARD)
    assert len(reader.read_batch(1)) == 0
    assert fake.consumer == fake.producer
    assert reader.n_pending_bytes == 0


def test_records_that_wrap_around_lie_in_one_piece() -> None:
    with ring() as (fake, reader):
        for n in range(500):
            path = bytes([n % 256]) * (n % 200)
            assert fake.send(record(path))
            assert paths(reader.read_batch(1)) == [path]
    assert n == 499


def test_positions_pass_the_largest_number() -> None:
    with ring(position=U64 - 512) as (fake, reader):
        sent = [b"%d" % n for n in range(12)]
        for path in sent:
            assert fake.send(record(path))
        assert fake.producer < fake.size_bytes
        assert paths(reader.read_batch(100)) == sent
        assert reader.n_pending_bytes == 0


def test_a_new_reader_goes_on_where_the_last_one_stopped(pair: Pair) -> None:
    fake, reader = pair
    for n in range(4):
        fake.send(record(b"%d" % n))
    assert paths(reader.read_batch(2)) == [b"0", b"1"]
    reader.close()
    with RingReader(fake.fd, fake.size_bytes) as second:
        assert paths(second.read_batch(10)) == [b"2", b"3"]


def test_losses_are_counted_once_and_never_backwards(pair: Pair) -> None:
    fake, reader = pair
    for n_dropped in (0, 3, 7, 2):  # two processors may carry the counter out of order
        fake.send(record(n_dropped=n_dropped))
    assert [reader.read_batch(2).n_lost for _ in range(2)] == [3, 4]
    fake.send(record(n_dropped=6))
    fake.send(record(n_dropped=7))
    batch = reader.read_batch(10)
    assert (batch.n_lost, batch.n_dropped_before, batch.n_dropped) == (0, 7, 7)


BROKEN = {
    "shorter than the structure": (record()[:-1], None, rf"less than struct fp_event: {SIZE - 1}, limit {SIZE}"),
    "nothing": (b"", None, rf"less than struct fp_event: 0, limit {SIZE}"),
    "beyond the producer": (record(), SIZE + 9, rf"runs past the producer: {SIZE + 24}, limit {SIZE + 8}"),
    "as long as can be": (record(), DISCARD - 1, rf"runs past the producer: 1073741832, limit {SIZE + 8}"),
    "another version": (record(version=2), None, r"version of a record: 2, limit 1"),
    "path longer than the record": (record(path_len=1), None, r"more than their record has: 1, limit 0"),
    "paths together longer": (
        record(b"abc", path_len=3, old_path_len=1),
        None,
        r"more than their record has: 4, limit 3",
    ),
    "longest paths": (record(path_len=65535, old_path_len=65535), None, r"more than their record has: 131070, limit 0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_record_that_cannot_be_is_an_error_that_stays(name: str) -> None:
    data, length, says = BROKEN[name]
    with ring(position=64) as (fake, reader):
        fake.send(data, length=length)
        for _ in range(3):
            with pytest.raises(InvalidArgument, match=r"malformed ring buffer at position 64: .*" + says):
                reader.read_batch(10)
        assert fake.consumer == 64


@pytest.mark.parametrize("name", BROKEN)
def test_what_comes_before_a_broken_record_is_given_out_first(name: str) -> None:
    data, length, _ = BROKEN[name]
    with ring() as (fake, reader):
        fake.send(record(b"good"))
        fake.send(b"", DISCARD)
        at = fake.producer
        fake.send(data, length=length)
        assert paths(reader.read_batch(10)) == [b"good"]
        assert fake.consumer == at
        with pytest.raises(InvalidArgument, match=f"at position {at}"):
            reader.read_batch(10)


def test_a_discarded_record_beyond_the_producer_is_an_error(pair: Pair) -> None:
    fake, reader = pair
    fake.send(b"", DISCARD, length=9)
    with pytest.raises(InvalidArgument, match="runs past the producer: 24, limit 8"):
        reader.read_batch(10)


@pytest.mark.parametrize(("consumer", "producer"), [(0, PAGE + 8), (8, 0), (U64 - 8, PAGE), (4, 8), (0, U64 - 8)])
def test_positions_that_cannot_be_are_an_error(pair: Pair, consumer: int, producer: int) -> None:
    fake, reader = pair
    fake.consumer, fake.producer = consumer, producer
    for ask in (lambda: reader.read_batch(1), lambda: reader.n_pending_bytes):
        with pytest.raises(InvalidArgument, match=f"malformed ring buffer at position {consumer}: bytes up to"):
            ask()


def spoil(fake: FakeRing, choose: random.Random) -> None:
    """Fill a ring with records, and then put words into it that may look like something."""
    start = fake.consumer
    while fake.send(
        record(b"p" * choose.randrange(40), b"o" * choose.randrange(40)), choose.choice([0, 0, 0, DISCARD])
    ):
        pass
    for _ in range(choose.choice([0, 1, 3, 10, 100, 1000])):
        length = choose.choice([SIZE, SIZE + 8, SIZE + 40, 0, 1 << 20, choose.getrandbits(30)])
        word = length | choose.choice([0, 0, DISCARD, BUSY, 1 << 32, 1 << 48])
        fake.put(choose.randrange(0, PAGE, 8), struct.pack("=Q", choose.choice([word, choose.getrandbits(64)])))
    if choose.random() < 0.2:
        fake.producer = start + choose.choice([8, SIZE + 8, PAGE // 2, PAGE, PAGE + 8])


def test_any_bytes_give_records_or_an_error() -> None:
    n_taken = n_errors = 0
    for seed in range(3000):
        choose = random.Random(seed)
        with ring(position=choose.randrange(0, 4 * PAGE, 8)) as (fake, reader):
            spoil(fake, choose)
            before = -1
            while fake.consumer != before:  # each call takes something, or nothing ever will
                before = fake.consumer
                try:
                    batch = reader.read_batch(choose.choice([1, 2, 1000, 2**62]))
                except InvalidArgument:
                    n_errors += 1
                    break
                assert before <= fake.consumer <= fake.producer
                for one in batch:
                    assert one.fields.version == 1
                    assert (len(one.path), len(one.old_path)) == (one.fields.path_len, one.fields.old_path_len)
                n_taken += len(batch)
    assert n_taken > 10_000
    assert n_errors > 1000


#: what is sent: length of path and old path, padding, flags
SENT = st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 7), st.sampled_from([0, 0, 0, DISCARD]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(SENT, max_size=8), max_size=30), st.integers(1, 9), st.integers(0, 8 * PAGE))
def test_what_is_sent_arrives(rounds: list[list[tuple[int, int, int, int]]], max_events: int, start: int) -> None:
    number, expected, found = 0, [], []
    with ring(position=start // 8 * 8) as (fake, reader):
        for sent in rounds:
            for path_len, old_len, n_padding, flags in sent:
                number += 1
                path, old = bytes([number % 256]) * path_len, bytes([number % 251]) * old_len
                if fake.send(record(path, old, n_padding, inode=number), flags) and not flags:
                    expected.append((path, old, number))
            batch = reader.read_batch(max_events)
            found += [(one.path, one.old_path, one.fields.inode) for one in batch]
            assert len(batch) <= max_events
        while batch := reader.read_batch(max_events):
            found += zip(batch.paths(), batch.old_paths(), batch.column("inode"), strict=True)
    assert found == expected


def test_a_closed_reader_says_so(pair: Pair) -> None:
    fake, reader = pair
    fake.send(record())
    reader.close()
    reader.close()
    for use in (lambda: reader.read_batch(1), lambda: reader.n_pending_bytes, reader.fileno):
        with pytest.raises(Closed, match="is closed"):
            use()
    with pytest.raises(OSError, match="is closed"):
        reader.read_batch(1)


@pytest.mark.parametrize("size_bytes", [0, -PAGE, 1, PAGE - 1, PAGE + 1, 3 * PAGE, 1 << 32, 2**63 - 1])
def test_a_size_that_no_ring_has_is_refused(pair: Pair, size_bytes: int) -> None:
    with pytest.raises(InvalidArgument, match=f"no {size_bytes} bytes, but a power of 2, from {PAGE}"):
        RingReader(pair[0].fd, size_bytes)


def test_a_file_that_is_too_short_is_refused(pair: Pair) -> None:
    with pytest.raises(KernelRefused, match="cannot map a ring buffer"):
        RingReader(pair[0].fd, 2 * PAGE)


def test_a_descriptor_that_is_none_is_refused() -> None:
    with pytest.raises(KernelRefused, match="cannot map"):
        RingReader(-1, PAGE)


def mappings() -> list[list[str]]:
    """The fields of /proc/self/maps of what is mapped of fake rings: addresses, access, offset."""
    return [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "/memfd:ring" in line]


def test_the_data_is_mapped_read_only(pair: Pair) -> None:
    assert [one[1] for one in mappings() if int(one[2], 16) == PAGE] == ["r--s"]


def test_a_reader_that_is_forgotten_leaves_nothing_mapped() -> None:
    fake, before = FakeRing(), len(mappings())
    mapped = _ring.Ring(fake.fd, PAGE)
    assert len(mappings()) == before + 2
    del mapped
    assert len(mappings()) == before
    fake.close()
