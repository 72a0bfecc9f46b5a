"""What each kind of mark reports, and how marks are changed and removed (LTP fanotify01, 02, 04)."""

import errno
import os
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import FanotifyFile, InitFlag, MarkFlag, Mask
from outcomes import errno_of

from .support import (
    ADD,
    FILESYSTEM,
    INODE,
    KINDS,
    MOUNT,
    REMOVE,
    drain,
    handle_of,
    listen,
    masks,
    new_file,
    touch,
    union,
)

WATCHED = Mask.ACCESS | Mask.MODIFY | Mask.CLOSE | Mask.OPEN
MODES = [pytest.param(InitFlag(0), id="fd"), pytest.param(InitFlag.REPORT_FID, id="fid")]


def step(group: FanotifyFile, path: Path) -> list[tuple[Mask, bool]]:
    """Read what is queued: masks, and whether the event is about *path*."""
    handle = handle_of(path)
    return [
        (event.mask, event.path == str(path) if event.record.fid is None else event.record.fid.handle == handle)
        for event in drain(group)
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_step_on_a_file_is_reported_by_each_kind_of_mark(any_fs: Path, kind: MarkFlag, mode: InitFlag) -> None:
    path = new_file(any_fs)
    with listen(mode) as group:
        group.mark(ADD | kind, WATCHED, path)
        fd = os.open(path, os.O_RDWR)
        assert step(group, path) == [(Mask.OPEN, True)]
        os.read(fd, 10)
        assert step(group, path) == [(Mask.ACCESS, True)]
        os.write(fd, b"more")
        assert step(group, path) == [(Mask.MODIFY, True)]
        os.close(fd)
        assert step(group, path) == [(Mask.CLOSE_WRITE, True)]
        fd = os.open(path, os.O_RDONLY)
        os.close(fd)
        assert step(group, path) == [(Mask.OPEN | Mask.CLOSE_NOWRITE, True)]


@pytest.mark.parametrize("mode", MODES)
def test_events_say_which_process_did_it_and_carry_a_descriptor_or_none(ext4: Path, mode: InitFlag) -> None:
    path = new_file(ext4)
    with listen(mode) as group:
        group.mark(ADD, Mask.OPEN, path)
        touch(path)
        (event,) = group.read_events()
        assert event.pid == os.getpid()
        assert (event.fd >= 0) == (event.fid is None) == (not mode)
        if event.fd >= 0:
            assert os.fstat(event.fd).st_ino == path.stat().st_ino
            os.close(event.fd)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_event_types_in_the_mask_are_reported(ext4: Path, kind: MarkFlag) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD | kind, Mask.OPEN | Mask.CLOSE, path)
        group.mark(REMOVE | kind, Mask.OPEN | Mask.CLOSE_NOWRITE, path)
        path.read_bytes()
        assert masks(group) == []
        path.write_bytes(b"")
        assert masks(group) == [Mask.CLOSE_WRITE]


@pytest.mark.parametrize("kind", KINDS)
def test_an_ignore_mask_is_cleared_by_a_write_unless_it_survives(ext4: Path, kind: MarkFlag) -> None:
    path = new_file(ext4)
    ignore = ADD | MarkFlag.IGNORED_MASK
    with listen() as group:
        group.mark(ADD | kind, WATCHED, path)
        group.mark(ignore, Mask.ACCESS, path)
        path.read_bytes()
        assert Mask.ACCESS not in union(group)
        path.write_bytes(b"new")
        assert Mask.MODIFY in union(group)
        path.read_bytes()
        assert Mask.ACCESS in union(group)
        group.mark(ignore | MarkFlag.IGNORED_SURV_MODIFY, Mask.ACCESS, path)
        path.write_bytes(b"newer")
        path.read_bytes()
        assert Mask.ACCESS not in union(group)
        group.mark(REMOVE | MarkFlag.IGNORED_MASK, Mask.ACCESS, path)
        path.read_bytes()
        assert Mask.ACCESS in union(group)


@pytest.mark.parametrize("kind", KINDS)
def test_removing_a_mark_that_is_not_there_fails_with_enoent(ext4: Path, kind: MarkFlag) -> None:
    with listen() as group:
        assert errno_of(group.mark, REMOVE | kind, Mask.OPEN, ext4) == "ENOENT"
        group.mark(ADD | kind, Mask.OPEN, ext4)
        group.mark(REMOVE | kind, Mask.OPEN, ext4)
        assert errno_of(group.mark, REMOVE | kind, Mask.OPEN, ext4) == "ENOENT"


def test_a_mark_goes_with_its_deleted_file(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, Mask.DELETE_SELF | Mask.ATTRIB, path)
        path.unlink()
        # ATTRIB for the link count; DELETE_SELF when the last reference is gone, which is now
        assert union(group) == Mask.ATTRIB | Mask.DELETE_SELF
        new_file(ext4)
        assert errno_of(group.mark, REMOVE, Mask.DELETE_SELF, path) == "ENOENT"


# --- children of a directory -------------------------------------------------------------------------------------


def test_a_directory_mark_reports_its_children_only_with_event_on_child(any_fs: Path) -> None:
    path = new_file(any_fs)
    with listen() as group:
        group.mark(ADD, WATCHED, any_fs)
        path.read_bytes()
        assert masks(group) == []
        group.mark(ADD, Mask.EVENT_ON_CHILD, any_fs)
        later = new_file(any_fs, "later")
        assert [(event.name, event.mask) for event in drain(group)] == [
            (later.name, Mask.OPEN | Mask.MODIFY | Mask.CLOSE_WRITE)
        ]
        path.read_bytes()
        assert {event.name for event in drain(group)} == {"file"}
        group.mark(REMOVE, Mask.EVENT_ON_CHILD, any_fs)
        path.read_bytes()
        assert masks(group) == []


def test_a_directory_mark_does_not_report_grandchildren(ext4: Path) -> None:
    below = ext4 / "below"
    below.mkdir()
    path = new_file(below)
    with listen() as group:
        group.mark(ADD, WATCHED | Mask.EVENT_ON_CHILD | Mask.ONDIR, ext4)
        path.read_bytes()
        assert masks(group) == []
        os.listdir(below)
        assert Mask.OPEN in union(group)


@pytest.mark.parametrize("kind", KINDS)
def test_directories_are_reported_only_with_ondir(ext4: Path, kind: MarkFlag) -> None:
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD | kind, Mask.OPEN, ext4)
        os.listdir(ext4)
        assert masks(group) == []
        group.mark(ADD | kind, Mask.ONDIR, ext4)
        os.listdir(ext4)
        assert masks(group) == [Mask.OPEN | Mask.ONDIR]


# --- modifiers of fanotify_mark ----------------------------------------------------------------------------------


def test_onlydir_takes_directories_and_refuses_files(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD | MarkFlag.ONLYDIR, Mask.OPEN, ext4)
        with pytest.raises(NotADirectoryError) as caught:
            group.mark(ADD | MarkFlag.ONLYDIR, Mask.OPEN, path)
        assert caught.value.filename == str(path)


def test_a_symbolic_link_is_followed_unless_dont_follow(ext4: Path) -> None:
    path = new_file(ext4)
    link = ext4 / "link"
    link.symlink_to(path)
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, Mask.OPEN, link)
        touch(path)
        assert masks(group) == [Mask.OPEN]
        group.mark(REMOVE, Mask.OPEN, path)
        group.mark(ADD | MarkFlag.DONT_FOLLOW, Mask.OPEN | Mask.DELETE_SELF, link)
        touch(path)
        touch(link)
        assert masks(group) == []
        link.unlink()
        assert masks(group) == [Mask.DELETE_SELF]


def test_dont_follow_with_onlydir_refuses_a_link_to_a_directory(ext4: Path) -> None:
    link = ext4 / "link"
    link.symlink_to(ext4)
    with listen() as group:
        group.mark(ADD | MarkFlag.ONLYDIR, Mask.OPEN, link)
        both = MarkFlag.ONLYDIR | MarkFlag.DONT_FOLLOW
        assert errno_of(group.mark, ADD | both, Mask.OPEN, link) == "ENOTDIR"


@pytest.mark.parametrize("kind", KINDS)
def test_flush_removes_the_marks_of_one_kind_and_leaves_the_others(ext4: Path, kind: MarkFlag) -> None:
    path = new_file(ext4)
    kinds = {INODE: Mask.OPEN, MOUNT: Mask.ACCESS, FILESYSTEM: Mask.CLOSE_NOWRITE}
    with listen() as group:
        for each, mask in kinds.items():
            group.mark(ADD | each, mask, path)
        path.read_bytes()
        assert union(group) == Mask.OPEN | Mask.ACCESS | Mask.CLOSE_NOWRITE
        group.mark(MarkFlag.FLUSH | kind, 0, "/")  # the path is not looked at
        path.read_bytes()
        assert union(group) == (Mask.OPEN | Mask.ACCESS | Mask.CLOSE_NOWRITE) & ~kinds[kind]


def test_an_object_is_marked_by_descriptor_and_by_path_from_a_descriptor(ext4: Path) -> None:
    path = new_file(ext4)
    directory = os.open(ext4, os.O_PATH)
    file = os.open(path, os.O_RDONLY)
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, Mask.OPEN, "file", dir_fd=directory)
        group.mark(ADD, Mask.ACCESS, dir_fd=file)
        # an O_PATH descriptor serves as a place to start from, not as the object itself
        assert errno_of(group.mark, ADD, Mask.OPEN, dir_fd=directory) == "EBADF"
        os.close(directory)
        os.close(file)
        path.read_bytes()
        assert union(group) == Mask.OPEN | Mask.ACCESS


def test_the_kernels_own_list_of_marks_agrees(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD, Mask.OPEN, path)
        group.mark(ADD | FILESYSTEM, Mask.ACCESS, path)
        fdinfo = Path(f"/proc/self/fdinfo/{group.fileno()}").read_text()
        assert f"fanotify ino:{path.stat().st_ino:x} " in fdinfo
        assert f"mask:{Mask.OPEN:x} " in fdinfo
        assert "fanotify sdev:" in fdinfo


def test_errors_name_the_path(ext4: Path) -> None:
    with listen() as group, pytest.raises(FileNotFoundError) as caught:
        group.mark(ADD, Mask.OPEN, ext4 / "missing")
    assert caught.value.filename == str(ext4 / "missing")
    assert caught.value.errno == errno.ENOENT
