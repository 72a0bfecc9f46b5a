"""Handles in events are the handles of name_to_handle_at, and fsids those of statfs (LTP fanotify13)."""

import os
import threading
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import (
    AT_FDCWD,
    AT_HANDLE_FID,
    AT_HANDLE_MNT_ID_UNIQUE,
    InitFlag,
    MarkFlag,
    Mask,
    name_to_handle_at,
    open_by_handle_at,
    read_mounts,
)
from mounting import Filesystems, Mounter, run
from outcomes import errno_of

from .support import ADD, FILESYSTEM, INODE, KINDS, MOUNT, drain, fsid_of, handle_of, listen, masks, new_file, touch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_dir", [False, True])
def test_an_event_has_the_fsid_and_the_handle_of_its_object(any_fs: Path, kind: MarkFlag, is_dir: bool) -> None:
    path = any_fs / "object"
    path.mkdir() if is_dir else path.touch()
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD | kind, Mask.OPEN | Mask.ONDIR, path)
        touch(path)
        (event,) = drain(group)
        assert event.mask == Mask.OPEN | (Mask.ONDIR if is_dir else 0)
        assert event.record.fid is not None
        assert event.record.fid.fsid == fsid_of(path)
        assert event.record.fid.handle == handle_of(path)


def test_handles_differ_between_objects_and_survive_a_rename(any_fs: Path) -> None:
    one, two = new_file(any_fs, "one"), new_file(any_fs, "two")
    before = handle_of(one)
    assert before != handle_of(two)
    assert handle_of(one.rename(any_fs / "three")) == before


def test_a_handle_is_opened_while_its_object_exists_and_is_stale_after(any_fs: Path) -> None:
    path = new_file(any_fs)
    handle = handle_of(path)
    mount_fd = os.open(any_fs, os.O_RDONLY)
    fd = open_by_handle_at(mount_fd, handle, os.O_PATH | os.O_CLOEXEC)
    assert os.readlink(f"/proc/self/fd/{fd}") == str(path)
    assert not os.get_inheritable(fd)
    os.close(fd)
    path.unlink()
    assert errno_of(open_by_handle_at, mount_fd, handle, os.O_PATH) == "ESTALE"
    os.close(mount_fd)


def test_several_filesystems_in_one_group_keep_their_fsids(ext4: Path, tmpfs: Path) -> None:
    with listen(InitFlag.REPORT_FID) as group:
        for directory in (ext4, tmpfs):
            group.mark(ADD | FILESYSTEM, Mask.CREATE, directory)
        for directory in (ext4, tmpfs):
            new_file(directory)
        fids = [event.record.fid for event in drain(group)]
        assert [fid.fsid for fid in fids if fid] == [fsid_of(ext4), fsid_of(tmpfs)]


# --- overlayfs ---------------------------------------------------------------------------------------------------


def overlay_of(mounts: Mounter, options: str) -> tuple[Path, Path]:
    """An overlay with a file in its lower layer, and that layer."""
    base = mounts.make("ext4")
    for name in ("lower", "upper", "work"):
        (base / name).mkdir()
    new_file(base / "lower")
    layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
    return mounts.mount(mounts.new_dir("overlay"), "-t", "overlay", "-o", layers + options, "none"), base


@pytest.mark.parametrize("kind", [INODE, MOUNT])
def test_the_real_file_below_an_overlay_reports_what_is_done_through_it(mounts: Mounter, kind: MarkFlag) -> None:
    overlay, base = overlay_of(mounts, "")
    real = base / "lower" / "file"
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD | kind, Mask.ACCESS | Mask.OPEN, real)
        (overlay / "file").read_bytes()
        events = drain(group)
    if kind == MOUNT:
        assert events == []  # the overlay has a private mount of its layers
    else:
        assert {event.record.fid.handle for event in events if event.record.fid} == {handle_of(real)}


def test_an_overlay_that_cannot_open_handles_takes_inode_marks_only(mounts: Mounter) -> None:
    overlay, _ = overlay_of(mounts, ",nfs_export=off")
    path = overlay / "file"
    with listen(InitFlag.REPORT_FID) as group:
        for kind in (MOUNT, FILESYSTEM):
            assert errno_of(group.mark, ADD | kind, Mask.OPEN, path) == "EOPNOTSUPP"
        group.mark(ADD, Mask.OPEN | Mask.DELETE_SELF, path)
        assert errno_of(handle_of, path) == "EOPNOTSUPP"
        wanted = handle_of(path, AT_HANDLE_FID)
        touch(path)
        (event,) = drain(group)
        assert event.record.fid is not None
        assert (event.record.fid.handle, event.record.fid.fsid) == (wanted, fsid_of(overlay))
        path.unlink()
        assert masks(group) == [Mask.DELETE_SELF]


def test_a_file_keeps_its_handle_when_an_overlay_copies_it_up(mounts: Mounter) -> None:
    overlay, _ = overlay_of(mounts, ",index=on,nfs_export=on")
    path = overlay / "file"
    before = handle_of(path, AT_HANDLE_FID)
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD | FILESYSTEM, Mask.CLOSE_WRITE, path)
        path.write_bytes(b"copied up")
        (event,) = drain(group)
        assert event.record.fid is not None
        assert event.record.fid.handle == before == handle_of(path, AT_HANDLE_FID)


# --- filesystems that have no usable fsid -------------------------------------------------------------------------


def test_a_btrfs_subvolume_has_its_own_fsid_and_takes_inode_marks_only(filesystems: Filesystems) -> None:
    root = filesystems.new("btrfs")
    sub = root / "subvolume"
    run("btrfs", "subvolume", "create", sub)
    assert fsid_of(sub) != fsid_of(root)
    with listen(InitFlag.REPORT_FID) as group:
        for kind in (MOUNT, FILESYSTEM):
            assert errno_of(group.mark, ADD | kind, Mask.OPEN, sub) == "EXDEV"
        group.mark(ADD, Mask.CREATE, sub)
        new_file(sub)
        (event,) = drain(group)
        assert event.record.fid is not None
        assert event.record.fid.fsid == fsid_of(sub)
        # one group does not mix the two
        assert errno_of(group.mark, ADD, Mask.CREATE, root) == "EXDEV"


def test_a_filesystem_mark_on_btrfs_covers_its_subvolumes_under_the_fsid_of_the_root(filesystems: Filesystems) -> None:
    root = filesystems.new("btrfs")
    sub = root / "subvolume"
    run("btrfs", "subvolume", "create", sub)
    with listen(InitFlag.REPORT_DFID_NAME) as group:
        group.mark(ADD | FILESYSTEM, Mask.CREATE, root)
        new_file(sub, "inside")
        (event,) = drain(group)
        assert event.name == "inside"
        assert event.record.dfid_name is not None
        assert event.record.dfid_name.fsid == fsid_of(root) != fsid_of(sub)
        assert event.record.dfid_name.handle == handle_of(sub)


# --- the system calls by themselves ------------------------------------------------------------------------------


def test_the_mount_id_is_that_of_mountinfo_and_the_unique_one_on_request(ext4: Path, mounts: Mounter) -> None:
    bound = mounts.bind(ext4)
    ids = [name_to_handle_at(AT_FDCWD, os.fsencode(path))[1] for path in (ext4, bound)]
    table = read_mounts()
    assert table[ids[0]].mountpoint == os.fsencode(ext4.parent)
    assert table[ids[1]].mountpoint == os.fsencode(bound)
    assert table[ids[1]].root == b"/" + os.fsencode(ext4.name)
    assert table[ids[0]].dev == table[ids[1]].dev == os.stat(ext4).st_dev
    handle, unique = name_to_handle_at(AT_FDCWD, os.fsencode(bound), AT_HANDLE_MNT_ID_UNIQUE)
    assert unique > 2**31
    assert handle == handle_of(bound) == handle_of(ext4)


def test_handles_taken_in_many_threads_at_once_do_not_mix(ext4: Path) -> None:
    paths = [new_file(ext4, f"file{n}") for n in range(8)]
    wanted = [handle_of(path) for path in paths]
    wrong: list[int] = []

    def check(n: int) -> None:
        for _ in range(500):
            if handle_of(paths[n]) != wanted[n]:
                wrong.append(n)

    threads = [threading.Thread(target=check, args=(n,)) for n in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("handle", [b"", b"\x08\0\0\0\x01\0\0\0short", b"\xff\xff\xff\xff\x01\0\0\0" + bytes(128)])
def test_a_handle_that_says_more_than_it_has_is_refused_before_the_kernel_reads_it(ext4: Path, handle: bytes) -> None:
    mount_fd = os.open(ext4, os.O_RDONLY)
    assert errno_of(open_by_handle_at, mount_fd, handle, os.O_PATH) == "EINVAL"
    os.close(mount_fd)


def test_a_missing_path_is_named_by_the_error(ext4: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        handle_of(ext4 / "missing")
    assert caught.value.filename == str(ext4 / "missing")
