"""FS_ERROR on a damaged ext4 (LTP fanotify22)."""

import errno
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import NOFD, ErrorInfo, InitFlag, Mask
from mounting import Mounter, run
from outcomes import errno_of

from .support import ADD, FILESYSTEM, drain, fsid_of, handle_of, listen


@pytest.fixture
def damaged(mounts: Mounter) -> Path:
    """An ext4 with two directories whose inodes are damaged, and one without a fault."""
    image = mounts.image("ext4")
    where = mounts.mount(mounts.new_dir("damaged"), "-o", "loop", image)
    for name in ("bad0", "bad1", "good"):
        (where / name).mkdir()
    handles = [handle_of(where / name) for name in ("bad0", "bad1")]
    mounts.umount(where)
    for name in ("bad0", "bad1"):
        run("debugfs", "-w", "-R", f"set_inode_field {name} i_mode 0xff", image)
    mounts.mount(where, "-o", "loop,errors=continue", image)
    (where / "good" / "handles").write_bytes(b"".join(handles))
    return where


def handles(damaged: Path) -> list[bytes]:
    both = (damaged / "good" / "handles").read_bytes()
    return [both[: len(both) // 2], both[len(both) // 2 :]]


def test_a_damaged_inode_is_reported_with_its_error_and_its_handle(damaged: Path) -> None:
    wanted = handles(damaged)[0]
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD | FILESYSTEM, Mask.FS_ERROR, damaged)
        assert errno_of((damaged / "bad0").stat) == "EUCLEAN"
        (event,) = drain(group)
        assert (event.mask, event.record.fd) == (Mask.FS_ERROR, NOFD)
        assert event.record.error == ErrorInfo(errno.EUCLEAN, 1)
        assert event.record.fid is not None
        assert event.record.fid.fsid == fsid_of(damaged)
        # the generation of an inode that could not be read is not known
        assert event.record.fid.handle[:12] == wanted[:12]


def test_errors_are_counted_under_the_first_until_they_are_read(damaged: Path) -> None:
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD | FILESYSTEM, Mask.FS_ERROR, damaged)
        for name in ("bad0", "bad1", "bad0"):
            assert errno_of((damaged / name).stat) == "EUCLEAN"
        (event,) = drain(group)
        assert event.record.error == ErrorInfo(errno.EUCLEAN, 3)
        assert errno_of((damaged / "bad1").stat) == "EUCLEAN"
        (event,) = drain(group)
        assert event.record.error == ErrorInfo(errno.EUCLEAN, 1)
        assert event.record.fid is not None
        assert event.record.fid.handle[:12] == handles(damaged)[1][:12]


def test_an_error_of_the_whole_filesystem_has_an_empty_handle(damaged: Path) -> None:
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD | FILESYSTEM, Mask.FS_ERROR, damaged)
        run("mount", "-o", "remount,abort", damaged)
        (event,) = drain(group)
        assert event.record.error is not None
        assert event.record.error.error == errno.ESHUTDOWN
        assert event.record.fid is not None
        assert event.record.fid.handle == b"\0\0\0\0\xff\0\0\0"  # no bytes, type FILEID_INVALID
        assert event.record.fid.fsid == fsid_of(damaged)


def test_errors_come_among_other_events_and_unasked_ones_do_not(damaged: Path) -> None:
    with listen(InitFlag.REPORT_FID) as group, listen(InitFlag.REPORT_FID) as other:
        group.mark(ADD | FILESYSTEM, Mask.FS_ERROR | Mask.CREATE, damaged)
        other.mark(ADD | FILESYSTEM, Mask.CREATE, damaged)
        (damaged / "good" / "new").touch()
        assert errno_of((damaged / "bad0").stat) == "EUCLEAN"
        assert [event.mask for event in drain(group)] == [Mask.CREATE, Mask.FS_ERROR]
        assert [event.mask for event in drain(other)] == [Mask.CREATE]
