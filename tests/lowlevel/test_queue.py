"""The queue: overflow, order, merging, sizes (LTP fanotify05, part of 01 and 15)."""

import os
import threading
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import NOFD, FanotifyFile, InitFlag, Mask
from outcomes import errno_of

from .support import ADD, FILESYSTEM, drain, listen, masks, new_file, touch

N_EXTRA = 100


def max_queued_events() -> int:
    return int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())


def create(directory: Path, n: int) -> None:
    fd = os.open(directory, os.O_PATH)
    try:
        for number in range(n):
            os.mknod(f"{number:06}", dir_fd=fd)
    finally:
        os.close(fd)


def remove(directory: Path) -> None:
    for name in os.listdir(directory):
        os.unlink(directory / name)


@pytest.fixture
def many(tmpfs: Path) -> Path:
    if max_queued_events() > 50_000:
        pytest.skip("fs.fanotify.max_queued_events is set so high that filling the queue takes long")
    return tmpfs


def test_an_overflow_is_reported_once_behind_all_that_came_before_it(many: Path) -> None:
    limit = max_queued_events()
    with listen(InitFlag.REPORT_DFID_NAME) as group:
        group.mark(ADD, Mask.CREATE, many)
        create(many, limit + N_EXTRA)
        *events, last = drain(group)
        assert [event.name for event in events] == [f"{number:06}" for number in range(limit)]
        assert (last.mask, last.record.fd, last.record.pid, last.record.infos) == (Mask.Q_OVERFLOW, NOFD, 0, ())
        # and the queue works again, and can overflow again
        remove(many)
        create(many, 2)
        assert [event.name for event in drain(group)] == ["000000", "000001"]
        remove(many)
        create(many, limit + 1)
        assert [event.mask for event in drain(group)].count(Mask.Q_OVERFLOW) == 1


def test_an_overflow_in_a_group_with_descriptors_has_none(many: Path) -> None:
    limit = max_queued_events()
    create(many, limit + N_EXTRA)
    with listen() as group:
        group.mark(ADD, Mask.OPEN | Mask.EVENT_ON_CHILD, many)
        for number in range(limit + N_EXTRA):
            touch(many / f"{number:06}")
        names = []
        while records := group.read_events(24 * 100):
            for record in records:
                names.append((record.mask, record.fd >= 0))
                if record.fd >= 0:
                    os.close(record.fd)
    assert names == [(Mask.OPEN, True)] * limit + [(Mask.Q_OVERFLOW, False)]


def test_an_unlimited_queue_does_not_overflow(many: Path) -> None:
    n = max_queued_events() + N_EXTRA
    with listen(InitFlag.REPORT_DFID_NAME | InitFlag.UNLIMITED_QUEUE) as group:
        group.mark(ADD, Mask.CREATE, many)
        create(many, n)
        assert len(drain(group)) == n


# --- merging -----------------------------------------------------------------------------------------------------


def test_events_of_one_object_and_one_process_merge_until_they_are_read(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD, Mask.OPEN | Mask.ACCESS | Mask.CLOSE, path)
        path.read_bytes()
        path.write_bytes(b"")
        assert masks(group) == [Mask.OPEN | Mask.ACCESS | Mask.CLOSE]
        path.read_bytes()
        assert masks(group) == [Mask.OPEN | Mask.CLOSE_NOWRITE]  # an empty file: nothing was read


def test_events_of_threads_merge_unless_thread_ids_are_reported(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group, listen(InitFlag.REPORT_TID) as by_thread:
        for each in (group, by_thread):
            each.mark(ADD, Mask.OPEN, path)
        touch(path)
        thread = threading.Thread(target=touch, args=(path,))
        thread.start()
        thread.join()
        assert len(drain(group)) == 1
        assert len(drain(by_thread)) == 2


def test_entries_of_one_directory_merge_without_names_but_files_not_with_directories(ext4: Path) -> None:
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.ONDIR, ext4)
        new_file(ext4, "one")
        (ext4 / "sub").mkdir()
        (ext4 / "one").rename(ext4 / "two")
        (ext4 / "two").unlink()
        (ext4 / "sub").rmdir()
        assert masks(group) == [
            Mask.CREATE | Mask.MOVE | Mask.DELETE,
            Mask.CREATE | Mask.DELETE | Mask.ONDIR,
        ]


def test_a_parent_and_its_child_that_are_both_watched_report_an_event_of_the_child_once(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, Mask.MODIFY | Mask.EVENT_ON_CHILD, ext4)
        group.mark(ADD, Mask.MODIFY | Mask.DELETE_SELF, path)
        path.write_bytes(b"")
        path.unlink()
        assert masks(group) == [Mask.MODIFY | Mask.DELETE_SELF]


# --- reading -----------------------------------------------------------------------------------------------------


def test_a_buffer_that_is_too_small_for_the_next_event_is_refused_and_loses_nothing(ext4: Path) -> None:
    with listen(InitFlag.REPORT_DFID_NAME) as group:
        group.mark(ADD, Mask.CREATE, ext4)
        new_file(ext4, "a" * 255)
        assert errno_of(group.read_events, 200) == "EINVAL"
        assert [event.name for event in drain(group)] == ["a" * 255]


def test_a_read_returns_whole_events_only(ext4: Path) -> None:
    with listen(InitFlag.REPORT_DFID_NAME) as group:
        group.mark(ADD, Mask.CREATE, ext4)
        for n in range(10):
            new_file(ext4, f"file{n}")
        assert [len(group.read_events(150)) for _ in range(5)] == [2] * 5
        assert group.read_events() == []


def test_an_empty_queue_gives_an_empty_list_or_blocks(ext4: Path) -> None:
    with listen() as group:
        assert group.read_events() == []
    with FanotifyFile.open(InitFlag.CLOEXEC) as group:
        group.mark(ADD | FILESYSTEM, Mask.OPEN, ext4)
        timer = threading.Timer(0.05, touch, args=(new_file(ext4),))
        timer.start()
        (event,) = group.read_events()
        timer.join()
        os.close(event.fd)
