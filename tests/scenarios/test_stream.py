"""The stream: what is lost is said in place, asyncio, batches, closing, forks, several groups at once."""

import asyncio
import os
import resource
import subprocess
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from children import in_child
from fanotify_fastpath import Closed, Event, Group, InvalidArgument, Mask, Scope, awatch, watch
from fanotify_fastpath._bpf.ring import Batch, RingReader
from fanotify_fastpath._engines.common.ring_engine import RingEngine
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath._engines.kernel.engine import KernelEngine
from outcomes import DEADLINE_S, wait_until

from . import actions
from .conftest import Stage, only_fanotify, only_kernel
from .support import Ears, Other, paths
from .users import UID, wholly_user


def test_a_full_store_says_how_many_were_lost_in_place(stage: Stage) -> None:
    root, *_ = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE, max_queued=100)
    group = ears.group
    n_made = 5000
    stage.other(actions.make_files, root, n_made)
    wait_until(lambda: group.counters.n_delivered + group.counters.n_lost >= n_made, "all are stored or counted")
    heard = group.read(1_000_000, 0)
    heard += ears.hear(root)
    created = [event for event in heard if event.mask & Mask.CREATE]
    overflows = [event for event in heard if event.mask & Mask.Q_OVERFLOW]
    assert overflows
    assert all(event.lost for event in overflows)
    assert len(created) + sum(event.lost or 0 for event in overflows) == n_made
    assert group.counters.n_lost == sum(event.lost or 0 for event in overflows)
    assert_gaps_are_where_said(heard)


def test_a_slow_reader_loses_only_what_is_said(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE, max_queued=100)
    n_made, heard = 20_000, list[Event]()
    stage.other.start(actions.make_files, root, n_made)
    while not any((event.path or "").endswith(f"/f{n_made - 1}") for event in heard[-60:]):
        heard += ears.group.read(50, 0.5)
        if not heard or _accounted(heard) >= n_made:
            break
        time.sleep(0.01)
    stage.other.finish()
    heard += ears.hear(root)
    assert _accounted(heard) == n_made
    assert_gaps_are_where_said(heard)


def _accounted(events: list[Event]) -> int:
    return sum((event.lost or 0) if event.mask & Mask.Q_OVERFLOW else 1 for event in events)


def assert_gaps_are_where_said(heard: list[Event]) -> None:
    """Files are numbered: between two that are reported, as many are missing as the overflow between them says."""
    expected = 0
    for event in heard:
        if event.mask & Mask.Q_OVERFLOW:
            assert event.lost is not None
            expected += event.lost
        else:
            assert event.path is not None
            number = int(os.path.basename(event.path)[1:])
            assert number == expected
            expected += 1


def test_async_for_reports_and_ends_with_close(stage: Stage) -> None:
    (root,) = stage.dirs("root")

    async def listen() -> list[str]:
        group = stage.group()
        group.mark(root, Mask.CREATE)
        created = []
        asyncio.get_running_loop().call_later(0.01, stage.other.start, actions.make_files, root, 500)
        async for event in group:
            created.append(event.path or "")
            if len(created) == 500:
                break
        stage.other.finish()
        return created

    created = asyncio.run(asyncio.wait_for(listen(), DEADLINE_S))
    assert created == [str(root / f"f{n}") for n in range(500)]


def test_async_for_ends_when_the_group_is_closed(stage: Stage) -> None:
    (root,) = stage.dirs("root")

    async def listen() -> list[Event]:
        group = stage.group()
        group.mark(root, Mask.CREATE)
        asyncio.get_running_loop().call_later(0.05, group.close)
        return [event async for event in group]

    assert asyncio.run(asyncio.wait_for(listen(), DEADLINE_S)) == []


def test_async_for_ends_when_another_thread_closes_the_group(stage: Stage) -> None:
    (root,) = stage.dirs("root")

    async def listen() -> list[Event]:
        group = stage.group()
        group.mark(root, Mask.CREATE)
        closer = threading.Timer(0.05, group.close)
        closer.start()
        heard = [event async for event in group]
        closer.join()
        return heard

    assert asyncio.run(asyncio.wait_for(listen(), DEADLINE_S)) == []


def test_awatch_ends_when_its_root_is_gone(stage: Stage) -> None:
    (root,) = stage.dirs("root")

    async def listen() -> list[Event]:
        heard = []
        asyncio.get_running_loop().call_later(0.01, stage.other.start, actions.remove_tree, root)
        async for event in awatch(root, engine=stage.engine):
            heard.append(event)
        stage.other.finish()
        return heard

    heard = asyncio.run(asyncio.wait_for(listen(), DEADLINE_S))
    assert heard[-1].mask == Mask.ROOT_GONE


def test_watch_ends_when_its_last_root_is_gone(stage: Stage) -> None:
    roots = stage.dirs("one", "two")
    with watch(*roots, engine=stage.engine) as watched:
        for root in roots:
            stage.other(actions.remove_tree, root)
        heard = list(watched)
    assert [event.path for event in heard if event.mask & Mask.ROOT_GONE] == [str(root) for root in roots]


def test_batches_end_when_it_is_quiet(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group
    stage.other.start(actions.make_files, root, 300)
    for batch in group.batches(quiet_ms=300, max_wait_ms=20_000):
        assert len(batch) == 300
        break
    stage.other.finish()


def test_batches_have_at_most_the_number_asked_for(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group
    stage.other(actions.make_files, root, 95)
    sizes = []
    for batch in group.batches(10, quiet_ms=200):
        sizes.append(len(batch))
        if sum(sizes) == 95:
            break
    assert sizes == [10] * 9 + [5]


@pytest.mark.parametrize("timeout_s", [0, 0.05])
def test_a_read_with_a_deadline_ends_in_the_noise_of_others(stage: Stage, timeout_s: float) -> None:
    root, outside = stage.dirs("root", "outside")
    group = stage.watch(root, Mask.CREATE).group
    stop = stage.top / "stop"
    stage.other.start(actions.churn_until, outside, stop)
    reads: list[float] = []

    def read() -> None:
        for _ in range(10):
            began = time.monotonic()
            assert group.read(timeout_s=timeout_s) == []
            reads.append(time.monotonic() - began)

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(DEADLINE_S / 3)
    n_reads = len(reads)
    actions.touch(stop)
    stage.other.finish()
    reader.join()
    assert n_reads == 10


def test_closing_from_another_thread_ends_an_iteration(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.group()
    group.mark(root, Mask.CREATE)
    heard: list[Event] = []
    reader = threading.Thread(target=lambda: heard.extend(group))
    reader.start()
    stage.other(actions.make_files, root, 10)
    wait_until(lambda: len(heard) == 10, "ten events")
    group.close()
    reader.join(DEADLINE_S)
    assert not reader.is_alive()
    with pytest.raises(Closed):
        group.mark(root)
    group.close()


def test_a_fork_leaves_the_parents_group_alone(stage: Stage) -> None:
    """A child that inherits the group and closes it takes nothing from the parent."""
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    stage.other(actions.touch, root / "before")

    def child() -> str:
        ears.group.close()
        actions.touch(root / "in-child")
        return "closed"

    assert in_child(child) == "closed"
    stage.other(actions.touch, root / "after")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["before", "in-child", "after"]


def test_a_child_of_a_listener_may_listen_itself(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("children.DEADLINE_S", DEADLINE_S)  # it may have to load programs
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)

    def child() -> list[str | None]:
        with Group(engine=stage.engine) as group:
            group.mark(root, Mask.CREATE)
            actions.touch(root / "in-child")
            subprocess.run(["touch", root / "in-grandchild"], check=True)
            return [event.path for event in group.read(timeout_s=DEADLINE_S)]

    assert in_child(child) == [str(root / "in-grandchild")]
    assert paths(ears.hear(root), Mask.CREATE, root) == ["in-child", "in-grandchild"]


def test_two_groups_hear_the_same_and_each_its_own(stage: Stage) -> None:
    one, two, both = stage.dirs("one", "two", "both")
    first, second = stage.watch(one), stage.watch(two)
    first.group.add_root(both)
    second.group.add_root(both)
    for n in range(20):
        for directory in (one, two, both):
            stage.other(actions.write, directory / f"f{n}")
    heard_first, heard_second = first.hear(both), second.hear(both)
    expected = [f"{name}/f{n}" for n in range(20) for name in ("one", "two", "both")]
    assert paths(heard_first, Mask.CREATE, stage.top) == [path for path in expected if not path.startswith("two")]
    assert paths(heard_second, Mask.CREATE, stage.top) == [path for path in expected if not path.startswith("one")]


def test_own_accesses_are_reported_only_when_asked_for(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    silent = stage.watch(root, Mask.CREATE)
    telling = stage.watch(root, Mask.CREATE, include_self=True)
    with wholly_user():
        actions.touch(root / "own")
        stage.other(actions.touch, root / "others")
        assert paths(silent.hear(root), Mask.CREATE, root) == ["others"]
        heard = telling.hear(root)
    assert paths(heard, Mask.CREATE, root) == ["own", "others"]
    assert [event.tgid for event in heard] == [os.getpid(), stage.other.pid]


def test_an_own_rename_of_a_directory_is_followed_though_it_is_not_told(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside", "outside/tree/a")
    ears = stage.watch(root)
    stage.other(actions.touch, outside / "tree/a/one")
    assert ears.hear(root) == []
    os.rename(outside / "tree", root / "tree")
    stage.other(actions.touch, root / "tree/a/two")
    heard = ears.hear(root)
    assert not any(event.mask & Mask.RENAME for event in heard)
    # what happened in there before the kernel was told to forget is covered by a rescan
    assert paths(heard, Mask.CREATE, root) == ["tree/a/two"] or paths(heard, Mask.RESCAN, root) == ["tree"]
    stage.other(actions.touch, root / "tree/a/three")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["tree/a/three"]


def test_who_did_it_is_told(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    stage.other(actions.touch, root / "file")
    (event,) = ears.hear(root)
    assert (event.tgid, event.uid) == (stage.other.pid, UID)
    assert event.exe == os.path.realpath(f"/proc/{stage.other.pid}/exe")
    with open(f"/proc/{stage.other.pid}/comm") as comm:
        assert event.comm == comm.read().rstrip("\n")
    assert event.inode == os.stat(root / "file").st_ino
    assert event.dev == os.stat(root).st_dev
    assert event.lost == 0


def test_threads_are_told_when_asked_for(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    with Group(engine=stage.engine, with_tid=True) as group, Other() as other:
        group.mark(root, Mask.CREATE, scope=Scope.SUBTREE)
        other(actions.touch, root / "file")
        (event, *_) = Ears(group, other).hear(root)
    assert (event.tid, event.tgid) == (other.pid, other.pid)


@pytest.mark.parametrize("arguments", [{"max_events": 0}, {"timeout_s": -1}, {"timeout_s": float("nan")}])
def test_a_read_that_makes_no_sense_is_refused(stage: Stage, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"{next(iter(arguments))} is {next(iter(arguments.values()))}"):
        stage.group().read(**arguments)


def test_to_wait_for_infinite_time_is_to_wait_for_ever(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group
    stage.other(actions.touch, root / "f")
    assert [event.path for event in group.read(timeout_s=float("inf"))] == [str(root / "f")]


def test_what_an_event_loop_leaves_unread_is_read_for_it(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group

    async def block_the_loop() -> None:
        events = aiter(group)
        assert isinstance(events, AsyncGenerator)
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.2)
        stage.other(actions.make_files, root, 500)
        wait_until(lambda: group.counters.n_delivered >= 500, "the housekeeper reads")
        assert (await first).path == str(root / "f0")
        await events.aclose()

    asyncio.run(block_the_loop())


def test_many_events_in_a_row_take_few_readings(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group
    n_made, n_heard, n_readings = 20_000, 0, 0
    begin = time.monotonic()
    stage.other.start(actions.make_files, root, n_made)
    while n_heard < n_made:
        n_heard += len(group.read(timeout_s=DEADLINE_S))
        n_readings += 1
    each_s = (time.monotonic() - begin) / n_made
    stage.other.finish()
    # who waits longer than that for each event is not hurried
    n_each = 2 if stage.engine == "daemon" else 5  # it hands on what it has, and that is read by itself
    assert n_readings < n_made / n_each or each_s > 1e-4


@only_fanotify
def test_what_takes_long_to_read_is_decided_all_the_same(stage: Stage) -> None:
    """On a slow or busy machine more may come, while one reads, than can be decided in one turn of usual length."""
    (root,) = stage.dirs("root")
    engine = stage.watch(root, Mask.CREATE).group._engine
    assert isinstance(engine, FanotifyEngine)
    n_made = 10_000
    with engine._lock:
        stage.other(actions.make_files, root, n_made)
        buffers = 4 * engine._sequence._read()[0]
        engine._sequence._read = lambda: (buffers, True)
        begin = time.monotonic()
        engine._drain()
        engine._sequence._read = lambda: ([], True)
        while engine._sequence.n_pending:
            engine._drain()
        took_s = time.monotonic() - begin

        def read_slowly() -> tuple[list[bytes], bool]:
            time.sleep(2 * took_s)
            return buffers, True

        engine._sequence._read = read_slowly
        for _ in range(8):
            engine._drain()
        assert engine._sequence.n_pending < 4 * n_made
        engine._sequence._read = lambda: ([], True)


@only_kernel
def test_a_turn_of_reading_ends_though_more_comes_than_is_taken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with what had happened when it began, however slow the machine is; nothing of the rest is lost."""
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group
    engine = group._engine
    assert isinstance(engine, KernelEngine)
    stage.other(actions.make_files, root, 50)
    read, n_made, n_turns, sizes = RingReader.read_batch, 50, 0, list[int]()

    def read_a_few(reader: RingReader, max_events: int) -> Batch:
        nonlocal n_made
        for n in range(n_made, n_made + 8 * (n_turns < 3)):
            stage.other(actions.touch, root / f"more{n}")
            n_made += 1
        sizes.append(n_made)
        return read(reader, 5)

    monkeypatch.setattr(RingReader, "read_batch", read_a_few)
    with engine._lock:
        while n_turns < 3:
            began_with, n_reads = n_made - group.counters.n_delivered, len(sizes)
            engine._drain()
            assert 1 <= len(sizes) - n_reads <= began_with // 5 + 1
            n_turns += 1
        engine._drain()
    assert group.counters.n_delivered == n_made
    assert len(group.read(1_000_000, 0)) == n_made


def test_a_reader_is_not_woken_again_and_again_by_what_came_to_nothing(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group
    engine = group._engine
    assert isinstance(engine, FanotifyEngine | RingEngine)
    engine._store.signal(is_more_coming=True)  # what was read, and has been decided by now
    n_before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    assert not group.read(1, 1.0)
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - n_before < 100
