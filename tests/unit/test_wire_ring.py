"""The writer of rings in shared memory, against the reader of BPF rings: also one that lies about its position."""

import errno
import fcntl
import mmap
import os
import random
import resource
import select
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from children import fork
from fake_ring import EVENT, PAGE, U64, record
from fanotify_fastpath._bpf.ring import Record, RingReader
from fanotify_fastpath._wire.memory import MemoryRing
from fanotify_fastpath._wire.messages import RING_MAX_BYTES
from fanotify_fastpath.errors import Closed, InvalidArgument, KernelRefused, UnsupportedFeature
from wire_samples import n_descriptors

_memory = pytest.importorskip("fanotify_fastpath._wire._memory", reason="the writer of rings is not compiled")

HEADER = 8
#: what a record without paths takes
STEP = HEADER + EVENT.size


class Client:
    """All that one who was handed the ring can read and write."""

    def __init__(self, ring: MemoryRing) -> None:
        self.memory = mmap.mmap(ring.fd, 0)
        self._data_at = 2 * PAGE

    @property
    def consumer(self) -> int:
        return int(struct.unpack_from("=Q", self.memory)[0])

    @consumer.setter
    def consumer(self, position: int) -> None:
        struct.pack_into("=Q", self.memory, 0, position % U64)

    @property
    def producer(self) -> int:
        return int(struct.unpack_from("=Q", self.memory, PAGE)[0])

    @property
    def data(self) -> bytes:
        """The producer's page and the data twice."""
        return self.memory[PAGE:]


@contextmanager
def ring_of(size_bytes: int = PAGE) -> Iterator[tuple[MemoryRing, RingReader, Client]]:
    with MemoryRing(size_bytes) as ring, RingReader(ring.fd, size_bytes) as reader:
        client = Client(ring)
        try:
            yield ring, reader, client
        finally:
            client.memory.close()


@pytest.fixture
def parts(no_leaks: None) -> Iterator[tuple[MemoryRing, RingReader, Client]]:
    with ring_of() as all_three:
        yield all_three


Parts = tuple[MemoryRing, RingReader, Client]


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def step_of(data: bytes) -> int:
    return HEADER + -(-len(data) // 8) * 8


def fill(ring: MemoryRing, data: bytes) -> int:
    """Put records until there is no room; return how many."""
    n = 0
    while ring.put(data):
        n += 1
    return n


def test_a_record_is_read_as_it_was_put(parts: Parts) -> None:
    ring, reader, _ = parts
    assert len(reader.read_batch(1)) == 0
    assert ring.put(record(b"/a/new", b"/old", inode=2**64 - 1, mask=0x40000100, comm=b"cat", n_dropped=3))
    (one,) = reader.read_batch(10)
    assert (one.path, one.old_path) == (b"/a/new", b"/old")
    assert (one.fields.inode, one.fields.mask, one.fields.comm[:4]) == (2**64 - 1, 0x40000100, b"cat\0")
    assert len(reader.read_batch(1)) == 0
    assert reader.n_pending_bytes == 0


def test_any_kind_of_bytes_is_put(parts: Parts) -> None:
    ring, reader, _ = parts
    data = record(b"/path")
    assert ring.put(bytearray(data))
    assert ring.put(memoryview(data))
    assert reader.read_batch(10).paths() == [b"/path"] * 2
    with pytest.raises(TypeError):
        ring.put("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("size_bytes", [PAGE, 2 * PAGE, 16 * PAGE])
def test_records_of_all_lengths_go_around_many_times(no_leaks: None, size_bytes: int) -> None:
    chance = random.Random(size_bytes)
    with ring_of(size_bytes) as (ring, reader, client):
        expected: list[tuple[bytes, bytes]] = []
        n_put = n_full = 0
        while n_put < 3000:
            path, old = chance.randbytes(chance.randrange(0, 1500)), chance.randbytes(chance.randrange(0, 300))
            if ring.put(record(path, old, n_padding=chance.randrange(8))):
                expected.append((path, old))
                n_put += 1
            else:
                n_full += 1
            if chance.random() < 0.15:
                taken = [(one.path, one.old_path) for one in reader.read_batch(chance.randrange(1, 10))]
                assert taken == expected[: len(taken)]
                del expected[: len(taken)]
        assert n_full > 100
        assert client.producer > 30 * size_bytes
        assert [(one.path, one.old_path) for one in reader.read_batch(n_put)] == expected


def test_a_full_ring_takes_nothing_and_changes_nothing(parts: Parts) -> None:
    ring, reader, client = parts
    n = fill(ring, record(b"/path"))
    assert n == PAGE // step_of(record(b"/path"))
    before = client.data
    for _ in range(3):
        assert not ring.put(record(b"/other"))
    assert client.data == before
    assert reader.read_batch(1).paths() == [b"/path"]
    assert ring.put(record(b"/after"))
    assert not ring.put(record(b"/after"))
    assert reader.read_batch(n).paths() == [b"/path"] * (n - 1) + [b"/after"]


def test_a_record_may_fill_the_ring_but_not_be_longer(parts: Parts) -> None:
    ring, reader, client = parts
    for n_paths in (PAGE - STEP, PAGE - STEP - 7):
        path = b"/" * n_paths
        assert ring.put(record(path))
        assert not ring.put(record())
        assert reader.read_batch(2).paths() == [path]
    before = client.data
    for n_paths in (PAGE - STEP + 1, PAGE, 60_000):
        with pytest.raises(InvalidArgument, match=f"does not fit into a ring of {PAGE}"):
            ring.put(record(b"/" * n_paths))
    assert client.data == before


@pytest.mark.parametrize("length", [0, 1, EVENT.size - 1])
def test_what_is_shorter_than_a_record_is_refused(parts: Parts, length: int) -> None:
    with pytest.raises(InvalidArgument, match="less than struct fp_event"):
        parts[0].put(b"\0" * length)
    assert parts[2].producer == 0


# ---- a reader that lies


def test_a_reader_that_goes_backwards_is_not_believed(parts: Parts) -> None:
    ring, reader, client = parts
    assert fill(ring, record(b"/a"))
    first = reader.read_batch(2)
    honest = client.consumer
    assert ring.put(record(b"/b"))
    before = client.data
    for position in (0, honest - 8, honest - len(first) * 8, -8):
        client.consumer = position
        assert not ring.put(record(b"/c"))
    assert client.data == before
    client.consumer = honest
    assert ring.put(record(b"/c"))


def test_a_reader_beyond_what_was_written_is_not_believed(parts: Parts) -> None:
    ring, _, client = parts
    for position in (8, PAGE, 2**63, -8):
        client.consumer = position
        assert not ring.put(record(b"/a"))
    client.consumer = 0
    assert ring.put(record(b"/a"))
    before = client.data
    for position in (client.producer + 8, client.producer + PAGE, -8, 2**32, 1, client.producer - 1):
        client.consumer = position
        assert not ring.put(record(b"/b"))
    assert client.data == before
    client.consumer = client.producer
    assert ring.put(record(b"/b"))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.one_of(st.none(), st.integers(0, U64 - 1), st.integers(-300, 300))),
        max_size=80,
    )
)
def test_whatever_a_reader_says_only_what_it_gave_up_is_written_over(steps: list[tuple[int, int | None]]) -> None:
    with ring_of() as (ring, _, client):
        believed = produced = 0
        for n_path, position in steps:
            if position is not None:
                client.consumer = position * 8 if -300 <= position <= 300 else position
                if position <= 300 and position >= -300:
                    client.consumer = produced + position * 8
            said, before, data = client.consumer, client.data, record(b"p" * n_path)
            is_possible = said % 8 == 0 and (said - believed) % U64 <= produced - believed
            if is_possible:
                believed = said
            is_put = is_possible and produced - believed + step_of(data) <= PAGE
            assert ring.put(data) == is_put
            if not is_put:
                assert client.data == before
                continue
            assert client.producer == produced + step_of(data)
            # in the first of the two, and on into the second; and nowhere else
            at = PAGE + produced % PAGE
            after = client.data
            assert after[at : at + HEADER + len(data)] == struct.pack("=II", len(data), 0) + data
            assert after[PAGE:at] == before[PAGE:at]
            assert after[at + step_of(data) :] == before[at + step_of(data) :]
            produced += step_of(data)


def test_what_a_reader_writes_elsewhere_is_not_read(parts: Parts) -> None:
    ring, reader, client = parts
    for n in range(200):
        consumer = client.consumer
        client.memory[8:] = random.Random(n).randbytes(len(client.memory) - 8)
        assert client.consumer == consumer
        assert ring.put(record(b"/path"))
        # what is between is the reader's own nonsense; the writer goes on from where it was
        assert client.producer == (n + 1) * step_of(record(b"/path"))
        assert reader.read_batch(5).paths() == [b"/path"]


def test_a_reader_cannot_change_the_length_nor_the_seals(parts: Parts) -> None:
    ring, _, _ = parts
    length = os.fstat(ring.fd).st_size
    assert length == 2 * PAGE + 2 * PAGE
    for other in (0, PAGE, length + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.fd, other)
    with pytest.raises(PermissionError):
        fcntl.fcntl(ring.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(ring.fd, b"x", length)


def test_a_reader_that_takes_the_memory_away_takes_only_its_content(parts: Parts) -> None:
    ring, reader, client = parts
    assert ring.put(record(b"/a"))
    client.memory.madvise(mmap.MADV_REMOVE)
    assert client.producer == 0
    assert ring.put(record(b"/b"))
    client.consumer = step_of(record(b"/a"))
    assert reader.read_batch(2).paths() == [b"/b"]


# ---- being woken


def test_a_reader_is_woken_when_it_may_be_waiting(parts: Parts) -> None:
    ring, reader, _ = parts
    assert not is_readable(ring.wake_fd)
    for n in (1, 3):
        for _ in range(n):
            assert ring.put(record(b"/a"))
        assert is_readable(ring.wake_fd)
        assert len(os.read(ring.wake_fd, PAGE)) == 8  # once, for the first: that it was not alone is seen
        assert ring.put(record(b"/a"))
        assert not is_readable(ring.wake_fd)
        assert len(reader.read_batch(10)) == n + 1
    with pytest.raises(BlockingIOError):
        os.read(ring.wake_fd, 8)


def test_a_writer_never_waits_for_one_who_does_not_wake_up(parts: Parts) -> None:
    ring, _, client = parts
    flags = fcntl.fcntl(ring.wake_fd, fcntl.F_GETFL)
    fcntl.fcntl(ring.wake_fd, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)  # what a reader can do to its own end
    for _ in range(5000):
        assert ring.put(record(b"/a"))
        client.consumer = client.producer
    assert 0 < len(os.read(ring.wake_fd, 1 << 20)) <= PAGE


def test_a_writer_outlives_its_reader(no_leaks: None) -> None:
    with MemoryRing(PAGE) as ring:
        RingReader(ring.fd, PAGE).close()
        os.close(ring.wake_fd)
        ring.wake_fd = -1
        n = fill(ring, record(b"/a"))
        assert n == PAGE // step_of(record(b"/a"))


def test_closing_the_writer_ends_the_waking(no_leaks: None) -> None:
    ring = MemoryRing(PAGE)
    with RingReader(ring.fd, PAGE) as reader:
        wake_fd = os.dup(ring.wake_fd)
        assert ring.put(record(b"/last"))
        ring.close()
        assert os.read(wake_fd, PAGE)
        assert os.read(wake_fd, PAGE) == b""
        os.close(wake_fd)
        assert reader.read_batch(1).paths() == [b"/last"]


# ---- at the same time


def read_all(reader: RingReader, wake_fd: int, n: int, take: Callable[[Record], None]) -> None:
    """Read *n* records as a client does: sleep only after having looked once more."""
    n_read = 0
    while n_read < n:
        batch = reader.read_batch(64)
        for one in batch:
            take(one)
        n_read += len(batch)
        if batch or n_read == n:
            continue
        try:
            os.read(wake_fd, PAGE)
        except BlockingIOError:
            pass
        if reader.n_pending_bytes == 0 and not select.select([wake_fd], [], [], 30)[0]:
            raise TimeoutError(f"not woken after {n_read} records")


def put_all(ring: MemoryRing, n: int) -> None:
    """Put *n* numbered records, waiting for room without sleeping."""
    chance = random.Random(n)
    for number in range(n):
        data = record(b"%d:" % number + b"x" * chance.randrange(200), inode=number, boot_ns=number)
        deadline = time.monotonic() + 30
        while not ring.put(data):
            assert time.monotonic() < deadline, f"nobody reads; {number} records were put"
            os.sched_yield()
        if number % 100 == 0:
            threading.Event().wait(0.0005)  # that the reader falls asleep sometimes


class Checker:
    """Sees to it that each record is whole and none is missing."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, one: Record) -> None:
        n = self.n
        is_right = (one.fields.inode, one.fields.boot_ns) == (n, n) and one.path.rstrip(b"x") == b"%d:" % n
        assert is_right, f"at {n}: {one}"
        self.n += 1


def test_a_reader_in_another_thread_gets_all_in_order(parts: Parts) -> None:
    ring, reader, _ = parts
    checker, failed = Checker(), []

    def read() -> None:
        try:
            read_all(reader, ring.wake_fd, 5000, checker)
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=read)
    thread.start()
    put_all(ring, 5000)
    thread.join(60)
    assert not failed
    assert checker.n == 5000


def in_child(ring: MemoryRing, n: int) -> int:
    """Fork a process that reads *n* records and ends with 0 if all were right."""
    pid = fork()
    if pid:
        return pid
    status = 1
    try:
        with RingReader(ring.fd, ring.size_bytes) as reader:
            read_all(reader, ring.wake_fd, n, Checker())
        status = 0
    except BaseException as exc:
        print(repr(exc), file=sys.stderr, flush=True)
    finally:
        os._exit(status)


@pytest.mark.parametrize("n", [20_000, pytest.param(5_000_000, marks=pytest.mark.long)])
def test_a_reader_in_another_process_gets_all_in_order(no_leaks: None, n: int) -> None:
    with MemoryRing(PAGE) as ring:
        pid = in_child(ring, n)
        try:
            put_all(ring, n)
        finally:
            _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0


# ---- making and closing


@pytest.mark.parametrize("size_bytes", [0, -1, -PAGE, 1, PAGE - 1, PAGE + 1, 3 * PAGE, 2 * RING_MAX_BYTES, 2**70])
def test_no_ring_has_that_size(no_leaks: None, size_bytes: int) -> None:
    with pytest.raises(InvalidArgument, match="a power of 2"):
        MemoryRing(size_bytes)


def test_the_part_in_c_checks_for_itself(no_leaks: None) -> None:
    with MemoryRing(PAGE) as ring:
        for size_bytes in (0, PAGE // 2, 3 * PAGE, 2 * RING_MAX_BYTES, -PAGE):
            with pytest.raises(InvalidArgument):
                _memory.Writer(ring.fd, -1, size_bytes)
        with pytest.raises(OSError, match="Invalid argument") as info:
            _memory.Writer(ring.fd, -1, 2 * PAGE)  # longer than the file
        assert info.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="Bad file descriptor"):
            _memory.Writer(-1, -1, PAGE)


def test_a_closed_ring_says_so(no_leaks: None) -> None:
    ring = MemoryRing(PAGE)
    ring.close()
    ring.close()
    with pytest.raises(Closed):
        ring.put(record(b"/a"))


def test_nothing_is_left_where_there_are_no_descriptors(no_leaks: None) -> None:
    taken: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = n_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 20, limits[1]))
    try:
        for n_left in range(3):
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            for _ in range(n_left):
                os.close(taken.pop())
            with pytest.raises(KernelRefused, match="Too many open files"):
                MemoryRing(PAGE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in taken:
            os.close(fd)


def test_without_a_compiler_there_is_no_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fanotify_fastpath._wire._memory", None)
    monkeypatch.delattr("fanotify_fastpath._wire._memory", raising=False)
    with pytest.raises(UnsupportedFeature, match="install a C compiler"):
        MemoryRing(PAGE)
