"""Locks that count who uses a handler: they end with the process, and a reader keeps nobody out."""

import os
from pathlib import Path

import pytest

from children import staying
from fanotify_fastpath._modules import locks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.touch()
    return path


def test_shared_locks_are_counted_each(path: Path) -> None:
    files = [path.open("rb") for _ in range(20)]
    with path.open("rb") as counting:
        for n, file in enumerate(files):
            assert locks.count(counting.fileno()) == n
            assert locks.share(file.fileno())
        for n, file in enumerate(files, 1):
            file.close()
            assert locks.count(counting.fileno()) == len(files) - n


def test_the_exclusive_lock_is_had_when_nobody_has_a_shared_one(path: Path) -> None:
    with path.open("r+b") as writer, path.open("rb") as reader:
        assert locks.share(reader.fileno())
        assert not locks.take(writer.fileno())
        reader.close()
        assert locks.take(writer.fileno())
        with path.open("rb") as late:
            assert not locks.share(late.fileno())
            assert locks.count(late.fileno()) == 1


def test_who_may_only_read_cannot_have_the_exclusive_one(path: Path) -> None:
    with path.open("rb") as reader, pytest.raises(OSError, match="Bad file descriptor"):
        locks.take(reader.fileno())


def test_a_killed_process_has_no_lock(path: Path) -> None:
    def hold() -> int:
        fd = os.open(path, os.O_RDONLY)
        assert locks.share(fd)
        return fd

    with path.open("r+b") as writer:
        with staying(hold):
            assert locks.count(writer.fileno()) == 1
            assert not locks.take(writer.fileno())
        assert locks.count(writer.fileno()) == 0
        assert locks.take(writer.fileno())
