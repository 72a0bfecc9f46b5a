"""Filesystems that are not on a disk, and mounts as such (LTP fanotify25, part of 14)."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import InitFlag, MarkFlag, Mask
from mounting import Mounter, run
from outcomes import errno_of

from .support import ADD, FILESYSTEM, INODE, KINDS, MOUNT, drain, listen, mark_or_skip, masks

STATX_MNT_ID_UNIQUE = 0x4000
MNTNS = Path("/proc/self/ns/mnt")


def nameless() -> Iterator[tuple[str, list[int]]]:
    """Objects of the kernel's own filesystems, and what must be closed."""
    yield "pipe", list(os.pipe())
    yield "memfd", [os.memfd_create("x")]
    yield "eventfd", [os.eventfd(0)]


@pytest.mark.parametrize("mode", [InitFlag(0), InitFlag.CLASS_CONTENT, InitFlag.REPORT_FID])
@pytest.mark.parametrize("kind", [MOUNT, FILESYSTEM])
def test_the_kernels_own_filesystems_take_no_marks_but_on_inodes(mode: InitFlag, kind: MarkFlag) -> None:
    for name, fds in nameless():
        with listen(mode) as group:
            assert errno_of(group.mark, ADD | kind, Mask.OPEN, dir_fd=fds[0]) == "EINVAL", name
        for fd in fds:
            os.close(fd)


def test_a_pipe_reports_its_own_events(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, Mask.MODIFY | Mask.ACCESS, dir_fd=reader)
        os.write(writer, b"x")
        assert masks(group) == [Mask.MODIFY]
        os.read(reader, 1)
        assert masks(group) == [Mask.ACCESS]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("kind", KINDS)
def test_proc_takes_notification_marks_and_refuses_permission_marks(mounts: Mounter, kind: MarkFlag) -> None:
    path = mounts.make("proc") / "self" / "status"
    with listen(InitFlag.CLASS_CONTENT) as group:
        assert errno_of(group.mark, ADD | kind, Mask.OPEN_PERM, path) == "EINVAL"
        group.mark(ADD | kind, Mask.OPEN, path)
        path.read_bytes()
        assert masks(group) == [Mask.OPEN]


def test_proc_has_handles_that_only_inode_marks_can_use(mounts: Mounter) -> None:
    path = mounts.make("proc") / "version"
    with listen(InitFlag.REPORT_FID) as group:
        for kind in (MOUNT, FILESYSTEM):
            assert errno_of(group.mark, ADD | kind, Mask.OPEN, path) == "EOPNOTSUPP"
        group.mark(ADD | INODE, Mask.OPEN, path)
        path.read_bytes()
        assert masks(group) == [Mask.OPEN]


def test_writes_to_a_tracing_filesystem_are_reported(mounts: Mounter) -> None:
    try:
        tracing = mounts.mount(mounts.new_dir("tracing"), "-t", "tracefs", "none")
    except RuntimeError as error:
        pytest.skip(f"no tracefs here: {error}")
    # an instance of its own: nothing of the machine's tracing is touched
    instance = tracing / "instances" / f"fp_test_{os.getpid()}"
    instance.mkdir()
    try:
        with listen() as group:
            group.mark(ADD | MOUNT, Mask.MODIFY, tracing)
            for name in ("trace_marker", "tracing_on", "buffer_size_kb"):
                (instance / name).write_text("1")
                assert [event.path for event in drain(group)] == [str(instance / name)]
    finally:
        instance.rmdir()


# --- mounts as objects -------------------------------------------------------------------------------------------


def unique_mount_id(path: Path) -> int:
    """``statx``'s STATX_MNT_ID_UNIQUE; the field is at byte 144 of struct statx."""
    buffer = (ctypes.c_char * 256)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.statx(-100, os.fsencode(path), 0, STATX_MNT_ID_UNIQUE, buffer) == 0
    return ctypes.c_uint64.from_buffer(buffer, 144).value


def test_mounting_moving_and_unmounting_are_reported_with_the_unique_mount_id(mounts: Mounter, ext4: Path) -> None:
    with listen(InitFlag.REPORT_MNT) as group:
        mark_or_skip(group, ADD | MarkFlag.MNTNS, Mask.MNT_ATTACH | Mask.MNT_DETACH, MNTNS)
        where = mounts.bind(ext4)
        mount_id = unique_mount_id(where)
        assert [(event.mask, event.record.mnt) for event in drain(group)] == [(Mask.MNT_ATTACH, mount_id)]
        moved = mounts.new_dir("moved")
        mounts.move(where, moved)
        assert [(event.mask, event.record.mnt) for event in drain(group)] == [
            (Mask.MNT_ATTACH | Mask.MNT_DETACH, mount_id)
        ]
        mounts.umount(moved)
        assert [(event.mask, event.record.mnt) for event in drain(group)] == [(Mask.MNT_DETACH, mount_id)]


def test_mount_events_are_for_groups_and_marks_of_their_own(ext4: Path) -> None:
    with listen(InitFlag.REPORT_MNT) as mounts, listen() as files:
        mark_or_skip(mounts, ADD | MarkFlag.MNTNS, Mask.MNT_ATTACH, MNTNS)
        assert errno_of(mounts.mark, ADD | FILESYSTEM, Mask.OPEN, ext4) == "EINVAL"
        assert errno_of(mounts.mark, ADD | MarkFlag.MNTNS, Mask.OPEN, MNTNS) == "EINVAL"
        assert errno_of(files.mark, ADD | MarkFlag.MNTNS, Mask.MNT_ATTACH, MNTNS) == "EINVAL"


# --- unmounting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_marks_do_not_keep_a_filesystem_mounted_and_go_with_it(mounts: Mounter, kind: MarkFlag) -> None:
    where = mounts.make("ext4")
    with listen(InitFlag.REPORT_FID) as group:
        mask = Mask.OPEN if kind == MOUNT else Mask.OPEN | Mask.DELETE_SELF
        group.mark(ADD | kind, mask, where)
        mounts.umount(where)
        assert masks(group) == []
        # the marks are gone: what is below now is another filesystem
        assert errno_of(group.mark, MarkFlag.REMOVE | kind, Mask.OPEN, where) == "ENOENT"


def test_an_unread_event_with_a_path_keeps_a_filesystem_mounted_and_one_with_a_handle_does_not(
    mounts: Mounter,
) -> None:
    for mode, busy in ((InitFlag(0), True), (InitFlag.REPORT_FID, False)):
        where = mounts.make("tmpfs")
        with listen(mode) as group:
            group.mark(ADD, Mask.OPEN | Mask.ONDIR, where)
            os.listdir(where)
            if busy:
                with pytest.raises(RuntimeError, match="busy"):
                    mounts.umount(where)
                drain(group)
            mounts.umount(where)


def test_a_mount_mark_goes_with_its_mount_and_leaves_the_filesystem(mounts: Mounter, ext4: Path) -> None:
    bound = mounts.bind(ext4)
    with listen() as group:
        group.mark(ADD | MOUNT, Mask.OPEN | Mask.ONDIR, bound)
        os.listdir(bound)
        assert masks(group) == [Mask.OPEN]
        mounts.umount(bound)
        run("mount", "--bind", ext4, bound)
        os.listdir(bound)
        run("umount", bound)
        assert masks(group) == []
