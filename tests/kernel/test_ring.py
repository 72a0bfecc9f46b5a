"""Records that a program in the kernel sends arrive once, whole and in order, or are counted as dropped."""

import os
import random
import select
import threading
import time

import pytest

from children import NOBODY_UID, in_child
from fanotify_fastpath._bpf.libbpf import Map, MapType
from fanotify_fastpath._bpf.ring import RingReader
from fanotify_fastpath.errors import Closed, InvalidArgument, KernelRefused

from .conftest import Compile
from .filling import RECORD_MAX_BYTES, Check, Filler, filler, is_sent

pytest.importorskip("fanotify_fastpath._bpf._ring", reason="the reader of rings is not compiled")

MIB = 1 << 20
CHUNK = 200


def read_all(reader: RingReader, check: Check, max_events: int = 4096) -> int:
    """Read until there is nothing; return how many were lost by what the records say."""
    n_lost = 0
    while len(batch := reader.read_batch(max_events)):
        check.see(batch)
        n_lost += batch.n_lost
    return n_lost


def run_without_loss(compiled: Compile, n: int, seed: int) -> None:
    """Fill and read in turns of random size, with the reader closed and opened anew at random."""
    choose = random.Random(seed)
    check, sent, number = Check(), 0, 0
    check.begin(1, 0)
    with filler(compiled, MIB) as source:
        reader = RingReader.of_map(source.ring)
        while number < n:
            room = (MIB - reader.n_pending_bytes) // RECORD_MAX_BYTES
            chunk = min(choose.randint(1, 3000), room, n - number)
            sent += source.fill(number, chunk)
            number += chunk
            for _ in range(choose.randint(0, 3)):
                check.see(reader.read_batch(choose.randint(1, 2000)))
            if choose.random() < 0.1 or chunk == 0:
                read_all(reader, check)
            if choose.random() < 0.1:
                reader.close()
                reader = RingReader.of_map(source.ring)
        assert read_all(reader, check) == 0
        reader.close()
    assert sent == sum(map(is_sent, range(n)))
    assert (check.n, check.missing) == (sent, {1: []})


def produce(source: Filler, reader: RingReader, first: int, step: int, cpu: int, n_chunks: int) -> None:
    """Write chunk after chunk: most when there is room, one in twenty whether there is or not."""
    for n in range(n_chunks):
        while n % 400 >= 20 and reader.n_pending_bytes > reader.size_bytes // 2:
            time.sleep(0)
        source.fill(first + n * CHUNK * step, CHUNK, step, cpu, cpu)


def run_with_producers(compiled: Compile, n: int, size_bytes: int) -> None:
    """One producer on each processor, while this one reads; what does not arrive must have been counted."""
    cpus = sorted(os.sched_getaffinity(0))
    check, n_chunks = Check(step=len(cpus)), n // CHUNK // len(cpus)
    with filler(compiled, size_bytes) as source, RingReader.of_map(source.ring) as reader:
        threads = []
        for first, cpu in enumerate(cpus):
            check.begin(cpu, first)
            arguments = (source, reader, first, len(cpus), cpu, n_chunks)
            threads.append(threading.Thread(target=produce, args=arguments))
            threads[-1].start()
        n_lost = 0
        while any(thread.is_alive() for thread in threads):
            select.select([reader], [], [], 0.01)
            n_lost += read_all(reader, check)
        n_lost += read_all(reader, check)
        # a further record of each, which tells of what was lost last
        last = n_chunks * CHUNK * len(cpus)
        for first, cpu in enumerate(cpus):
            assert source.fill(last + first, 10, len(cpus), cpu, cpu) > 0
        n_lost += read_all(reader, check)
    n_missing = sum(map(len, check.missing.values()))
    assert n_missing == n_lost
    assert check.n + n_missing == sum(map(is_sent, range(last + 10 * len(cpus))))
    assert n_missing < check.n / 5, "nearly all is lost: this tests little"


def test_every_record_arrives_once_whole_and_in_order(compiled: Compile) -> None:
    run_without_loss(compiled, 200_000, seed=1)


def test_what_several_processors_send_arrives_or_is_counted(compiled: Compile) -> None:
    run_with_producers(compiled, 200_000, MIB)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_one_of_fifty_million_records_arrives(compiled: Compile) -> None:
    run_without_loss(compiled, 25_000_000, seed=2)
    run_with_producers(compiled, 25_000_000, MIB)


def test_what_a_full_ring_drops_is_told_by_the_next_record(compiled: Compile) -> None:
    check, n = Check(), 20_000
    check.begin(1, 0)
    with filler(compiled, MIB) as source, RingReader.of_map(source.ring) as reader:
        written = source.fill(0, n)
        n_dropped = sum(map(is_sent, range(n))) - written
        assert n_dropped > 0
        # shorter records still find room after the first drop; so the losses up to the last record in the ring are told
        n_lost = read_all(reader, check)
        assert 0 <= n_lost <= n_dropped
        assert check.n == written
        assert source.fill(n, 10) > 0
        batch = reader.read_batch(100)
        check.see(batch)
        assert batch.n_lost == n_dropped - n_lost
        assert batch[0].fields.n_dropped == n_dropped
    assert len(check.missing[1]) == n_dropped


def test_space_of_discarded_records_is_freed(compiled: Compile) -> None:
    with filler(compiled, os.sysconf("SC_PAGESIZE")) as source, RingReader.of_map(source.ring) as reader:
        for _ in range(300):  # each 48 bytes, three times the ring in all
            assert source.fill(0, 1) == 0
            assert reader.n_pending_bytes > 0
            assert len(reader.read_batch(10)) == 0
            assert reader.n_pending_bytes == 0
        assert source.fill(1, 1) == 1
        assert reader.read_batch(10).column("inode").tolist() == [1]


def test_the_descriptor_is_readable_while_there_is_something_to_read(compiled: Compile) -> None:
    with filler(compiled, MIB) as source, RingReader.of_map(source.ring) as reader:
        poll = select.epoll()
        try:
            poll.register(reader, select.EPOLLIN)
            assert poll.poll(0) == []
            waiting = threading.Timer(0.05, source.fill, (1, 3))
            waiting.start()
            assert poll.poll(10) == [(reader.fileno(), select.EPOLLIN)]
            waiting.join()
            assert len(reader.read_batch(2)) == 2
            assert poll.poll(0) != []
            assert len(reader.read_batch(2)) == 1
            assert poll.poll(0) == []
        finally:
            poll.close()


def test_a_waiting_reader_is_woken_for_every_record(compiled: Compile) -> None:
    with filler(compiled, MIB) as source, RingReader.of_map(source.ring) as reader:

        def produce() -> None:
            for number in range(1, 3000):
                source.fill(number, 1)

        thread, n_read = threading.Thread(target=produce), 0
        thread.start()
        while n_read < sum(map(is_sent, range(1, 3000))):
            readable, _, _ = select.select([reader], [], [], 10)
            assert readable, "the reader was not woken"
            n_read += len(reader.read_batch(100))
        thread.join()


def test_closing_while_another_thread_reads_ends_the_reading(compiled: Compile) -> None:
    with filler(compiled, MIB) as source:
        for _ in range(5):
            reader = RingReader.of_map(source.ring)
            ended: list[type[BaseException]] = []

            def read(reader: RingReader = reader, ended: list[type[BaseException]] = ended) -> None:
                try:
                    while True:
                        reader.read_batch(100).paths()
                except Closed as exc:
                    ended.append(type(exc))

            threads = [threading.Thread(target=read) for _ in range(3)]
            for thread in threads:
                thread.start()
            source.fill(0, 2000)
            reader.close()
            for thread in threads:
                thread.join()
            assert ended == [Closed] * 3


def test_a_process_without_rights_reads_the_ring_that_it_is_handed(compiled: Compile) -> None:
    with filler(compiled, MIB) as source:
        source.fill(1, 3)

        def read() -> tuple[list[int], int]:
            os.setresuid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
            with RingReader(source.ring.fd, MIB) as reader:
                return reader.read_batch(10).column("inode").tolist(), reader.n_pending_bytes

        assert in_child(read) == ([1, 2, 3], 0)


@pytest.mark.parametrize("size_bytes", [0, 1, 4095, 4097, 3 << 12, 1 << 40, -(1 << 20)])
def test_sizes_that_no_ring_has_are_refused(compiled: Compile, size_bytes: int) -> None:
    with filler(compiled, MIB) as source, pytest.raises(InvalidArgument, match=f"no {size_bytes} bytes"):
        RingReader(source.ring.fd, size_bytes)


def test_a_size_beyond_the_ring_is_refused_by_the_kernel(compiled: Compile) -> None:
    with filler(compiled, MIB) as source, pytest.raises(KernelRefused, match="cannot map a ring buffer of 2097152"):
        RingReader(source.ring.fd, 2 * MIB)


def test_what_is_no_ring_is_refused() -> None:
    with Map.create(MapType.HASH, "table", 4, 4, 4) as table, pytest.raises(KernelRefused):
        RingReader(table.fd, os.sysconf("SC_PAGESIZE"))


def test_records_of_other_programs_are_refused_not_misread(compiled: Compile) -> None:
    """Without the right size of the ring, positions and lengths make no sense; that is told."""
    with filler(compiled, MIB) as source, RingReader(source.ring.fd, os.sysconf("SC_PAGESIZE")) as reader:
        source.fill(0, 1000)
        with pytest.raises(InvalidArgument, match="malformed ring buffer at position 0"):
            reader.read_batch(10)
