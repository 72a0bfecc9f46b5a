"""FanotifyFile itself: closing, event loops, taking over."""

import asyncio
import errno
import gc
import os
import warnings
from pathlib import Path

import pytest

import fanotify_fastpath.lowlevel as lowlevel
from fanotify_fastpath.errors import Closed
from fanotify_fastpath.lowlevel import FanotifyFile, InitFlag, Mask
from outcomes import errno_of

from .support import ADD, listen, new_file, touch


def test_every_public_name_exists() -> None:
    assert all(hasattr(lowlevel, name) for name in lowlevel.__all__)
    assert len(set(lowlevel.__all__)) == len(lowlevel.__all__)


def test_a_closed_group_refuses_everything_but_closing(ext4: Path) -> None:
    with listen() as group:
        assert not group.closed
    assert group.closed
    group.close()
    for use in (
        group.fileno,
        group.read_events,
        lambda: group.mark(ADD, Mask.OPEN, ext4),
        lambda: group.respond(3, True),
    ):
        with pytest.raises(Closed) as caught:
            use()
        assert caught.value.errno == errno.EBADF
    assert repr(group) == "<FanotifyFile closed>"


def test_a_group_that_was_never_opened_can_be_dropped() -> None:
    assert errno_of(FanotifyFile.open, 1 << 30) == "EINVAL"
    FanotifyFile.__new__(FanotifyFile).__del__()


def test_a_forgotten_group_warns_and_is_closed() -> None:
    group = listen()
    fd = group.fileno()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del group
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert errno_of(os.fstat, fd) == "EBADF"


def test_a_group_is_taken_over_by_its_descriptor(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.REPORT_FID) as group, FanotifyFile(os.dup(group.fileno())) as copy:
        group.mark(ADD, Mask.OPEN, path)
        group.close()
        touch(path)
        assert [event.mask for event in copy.read_events()] == [Mask.OPEN]


def test_an_event_loop_reads_what_comes(ext4: Path) -> None:
    async def collect() -> list[str]:
        loop = asyncio.get_running_loop()
        names: list[str] = []
        done = asyncio.Event()
        with listen(InitFlag.REPORT_DFID_NAME) as group:
            group.mark(ADD, Mask.CREATE, ext4)

            def on_readable() -> None:
                for event in group.read_events():
                    assert event.dfid_name is not None
                    assert event.dfid_name.name is not None
                    names.append(os.fsdecode(event.dfid_name.name))
                if len(names) == 3:
                    done.set()

            loop.add_reader(group, on_readable)
            for name in ("one", "two", "three"):
                await asyncio.to_thread(new_file, ext4, name)
            await asyncio.wait_for(done.wait(), 10)
            loop.remove_reader(group)
            assert group.read_events() == []
        return names

    assert asyncio.run(collect()) == ["one", "two", "three"]


@pytest.mark.parametrize("path", ["file", b"file", Path("file")])
def test_paths_are_taken_as_text_bytes_or_path_objects(ext4: Path, path: str | bytes | Path) -> None:
    new_file(ext4)
    directory = os.open(ext4, os.O_RDONLY)
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, Mask.OPEN, path, dir_fd=directory)
        touch(ext4 / "file")
        assert [event.mask for event in group.read_events()] == [Mask.OPEN]
    os.close(directory)
