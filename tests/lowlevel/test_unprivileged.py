"""Listeners without privileges (LTP fanotify18, 19)."""

import ctypes
import os
from pathlib import Path

import pytest

from children import NOBODY_UID, as_nobody, fork, in_child, wait_for
from fanotify_fastpath.lowlevel import NOFD, InitFlag, MarkFlag, Mask
from outcomes import errno_of

from .support import ADD, FILESYSTEM, INODE, MOUNT, listen, open_and_close, touch

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE = 4
FID = InitFlag.REPORT_FID
REFUSED_INIT = [
    InitFlag.CLASS_NOTIF,  # without handles the events would carry descriptors
    InitFlag.CLASS_CONTENT,
    InitFlag.CLASS_PRE_CONTENT,
    FID | InitFlag.UNLIMITED_QUEUE,
    FID | InitFlag.UNLIMITED_MARKS,
    FID | InitFlag.REPORT_TID,
    FID | InitFlag.REPORT_PIDFD,
]
TAKEN_INIT = [FID, InitFlag.REPORT_DIR_FID, InitFlag.REPORT_DFID_NAME, InitFlag.REPORT_DFID_NAME_TARGET]


@pytest.fixture
def own(tmpfs: Path) -> Path:
    """A directory that nobody owns."""
    for path in tmpfs.parents[:4]:
        path.chmod(path.stat().st_mode | 0o055)
    os.chown(tmpfs, NOBODY_UID, NOBODY_UID)
    return tmpfs


def test_only_notification_by_handles_is_taken() -> None:
    def errors() -> list[str]:
        return [errno_of(open_and_close, flags) for flags in REFUSED_INIT + TAKEN_INIT]

    assert as_nobody(errors) == ["EPERM"] * len(REFUSED_INIT) + ["ok"] * len(TAKEN_INIT)


def test_only_inodes_that_the_user_may_read_are_marked(own: Path) -> None:
    secret = own / "secret"
    secret.touch(0o600)

    def errors() -> list[str]:
        with listen(FID) as group:
            return [
                errno_of(group.mark, ADD | MOUNT, Mask.OPEN, own),
                errno_of(group.mark, ADD | FILESYSTEM, Mask.OPEN, own),
                errno_of(group.mark, ADD | INODE, Mask.OPEN, own),
                errno_of(group.mark, ADD | MarkFlag.EVICTABLE, Mask.OPEN, own / "secret"),
                errno_of(group.mark, ADD, Mask.OPEN_PERM, own),
            ]

    assert as_nobody(errors) == ["EPERM", "EPERM", "ok", "EACCES", "EINVAL"]


def test_a_group_that_was_made_without_privilege_hides_processes_from_root_too(own: Path) -> None:
    path = own / "file"
    path.touch(0o644)

    def watch() -> list[int]:
        os.seteuid(NOBODY_UID)
        with listen(FID) as group:
            os.seteuid(0)
            group.mark(ADD, Mask.OPEN, path)
            pid = fork()
            if pid == 0:
                touch(path)
                os._exit(0)
            wait_for(pid)
            return [event.pid for event in group.read_events()]

    assert in_child(watch) == [0]


def test_events_of_others_come_without_process_and_own_ones_with_it(own: Path) -> None:
    path = own / "file"
    path.touch(0o644)

    def watch() -> list[tuple[int, int, int | str]]:
        with listen(FID | InitFlag.REPORT_DFID_NAME) as group:
            group.mark(ADD, Mask.OPEN | Mask.CREATE | Mask.EVENT_ON_CHILD, own)
            touch(path)
            pid = fork()
            if pid == 0:
                touch(path)
                os._exit(0)
            wait_for(pid)
            events = group.read_events()
            has_records = [event.dfid_name is not None and event.fid is not None for event in events]
            assert has_records == [True, True]
            return [(event.mask, event.fd, "mine" if event.pid == os.getpid() else event.pid) for event in events]

    assert as_nobody(watch) == [(Mask.OPEN, NOFD, "mine"), (Mask.OPEN, NOFD, 0)]


def enter_own_namespaces() -> bool:
    """Become root of a user namespace with mounts of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self would belong to root, after the change of user
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    return True


def test_a_user_marks_filesystems_and_mounts_of_namespaces_of_its_own(own: Path) -> None:
    def watch() -> list[str] | None:
        if not enter_own_namespaces():
            return None
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"none", os.fsencode(own), b"tmpfs", 0, None) == 0
        with listen(FID) as group:
            results = [errno_of(group.mark, ADD | kind, Mask.OPEN, own) for kind in (FILESYSTEM, MOUNT)]
            # a filesystem of the world outside, through a mount that was copied into the namespace
            outside = own.parents[1]
            return [*results, errno_of(group.mark, ADD | FILESYSTEM, Mask.OPEN, outside)]

    result = as_nobody(watch)
    if result in (None, ["EPERM", "EPERM", "EPERM"]):
        pytest.skip("no user namespaces here, or a kernel before Linux 6.16, whose marks they do not reach")
    assert result == ["ok", "ok", "EPERM"]
