"""Flags that do not go together are refused with an exact error number (LTP fanotify14, 20, 08, 01)."""

import fcntl
import os
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import FanotifyFile, InitFlag, MarkFlag, Mask
from outcomes import errno_of

from .support import ADD, FILESYSTEM, INODE, KINDS, MOUNT, REMOVE, listen, new_file, open_and_close

CONTENT, PRE_CONTENT = InitFlag.CLASS_CONTENT, InitFlag.CLASS_PRE_CONTENT
FID, DIR_FID, NAME = InitFlag.REPORT_FID, InitFlag.REPORT_DIR_FID, InitFlag.REPORT_NAME
TARGET, PIDFD, TID = InitFlag.REPORT_TARGET_FID, InitFlag.REPORT_PIDFD, InitFlag.REPORT_TID

BAD_INIT = {
    "an unknown flag": 1 << 30,
    "both classes": CONTENT | PRE_CONTENT,
    "handles and content": FID | CONTENT,
    "handles and pre-content": FID | PRE_CONTENT,
    "directory handles and content": DIR_FID | CONTENT,
    "names and content": InitFlag.REPORT_DFID_NAME | CONTENT,
    "names without directories": NAME,
    "names and files without directories": NAME | FID,
    "targets alone": TARGET,
    "targets without names": TARGET | FID | DIR_FID,
    "targets without files": TARGET | DIR_FID | NAME,
    "mounts and files": InitFlag.REPORT_MNT | FID,
    "mounts and directories": InitFlag.REPORT_MNT | DIR_FID,
    "mounts and content": InitFlag.REPORT_MNT | CONTENT,
}


@pytest.mark.parametrize("flags", BAD_INIT.values(), ids=BAD_INIT.keys())
def test_these_init_flags_are_refused(flags: int) -> None:
    assert errno_of(open_and_close, flags) == "EINVAL"


GOOD_INIT = [
    InitFlag.CLASS_NOTIF,
    CONTENT,
    PRE_CONTENT,
    InitFlag.UNLIMITED_QUEUE | InitFlag.UNLIMITED_MARKS,
    FID,
    DIR_FID,
    FID | DIR_FID,
    InitFlag.REPORT_DFID_NAME,
    InitFlag.REPORT_DFID_NAME | FID,
    InitFlag.REPORT_DFID_NAME_TARGET,
    PIDFD,
    PIDFD | CONTENT,
    PIDFD | InitFlag.REPORT_DFID_NAME_TARGET,
    TID,
    TID | InitFlag.REPORT_DFID_NAME,
]


@pytest.mark.parametrize("flags", GOOD_INIT, ids=repr)
def test_these_init_flags_are_taken(flags: InitFlag) -> None:
    with FanotifyFile.open(InitFlag.CLOEXEC | flags) as group:
        assert os.readlink(f"/proc/self/fd/{group.fileno()}") == "anon_inode:[fanotify]"


def test_pidfd_and_tid_exclude_each_other_or_both_work() -> None:
    # EINVAL before Linux 7.2; then pidfds are those of threads
    assert errno_of(open_and_close, PIDFD | TID) in ("EINVAL", "ok")


@pytest.mark.parametrize("flags", [os.O_CREAT, os.O_DIRECTORY, os.O_PATH, os.O_ACCMODE])
def test_open_flags_that_events_cannot_have_are_refused(flags: int) -> None:
    assert errno_of(FanotifyFile.open, InitFlag.CLOEXEC, flags) == "EINVAL"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK])
def test_descriptors_in_events_have_the_open_flags_asked_for(ext4: Path, flags: int) -> None:
    path = new_file(ext4)
    with FanotifyFile.open(InitFlag.CLOEXEC, flags) as group:
        group.mark(ADD, Mask.OPEN, path)
        path.read_bytes()
        (event,) = group.read_events()
        wanted = flags & (os.O_ACCMODE | os.O_NONBLOCK)
        assert fcntl.fcntl(event.fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_NONBLOCK) == wanted
        assert os.get_inheritable(event.fd) == (not flags & os.O_CLOEXEC)
        os.close(event.fd)


@pytest.mark.parametrize("cloexec", [True, False])
@pytest.mark.parametrize("nonblock", [True, False])
def test_the_group_is_closed_on_exec_and_blocks_as_asked(cloexec: bool, nonblock: bool) -> None:
    flags = InitFlag.CLOEXEC * cloexec | InitFlag.NONBLOCK * nonblock
    with FanotifyFile.open(flags) as group:
        assert os.get_inheritable(group.fileno()) == (not cloexec)
        assert os.get_blocking(group.fileno()) == (not nonblock)


# --- marks -------------------------------------------------------------------------------------------------------

BAD_MARKS = {
    "an unknown flag": (FID, ADD | 1 << 30, Mask.OPEN),
    "no command": (FID, INODE, Mask.OPEN),
    "two commands": (FID, ADD | REMOVE, Mask.OPEN),
    "flush with a modifier": (FID, MarkFlag.FLUSH | MarkFlag.ONLYDIR, Mask.OPEN),
    "an empty mask": (FID, ADD, Mask(0)),
    "an unknown event": (FID, ADD, Mask(1 << 13)),
    "bits above 32": (FID, ADD, Mask(1 << 40)),
    "both ignore flags": (FID, ADD | MarkFlag.IGNORE | MarkFlag.IGNORED_MASK, Mask.OPEN),
    "entries without handles": (0, ADD, Mask.CREATE),
    "attributes without handles": (0, ADD, Mask.ATTRIB),
    "self-deletion without handles": (0, ADD, Mask.DELETE_SELF),
    "entries on a mount": (FID, ADD | MOUNT, Mask.CREATE),
    "moves on a mount": (FID, ADD | MOUNT, Mask.MOVE),
    "attributes on a mount": (FID, ADD | MOUNT, Mask.ATTRIB),
    "renames without names": (FID | DIR_FID, ADD, Mask.RENAME),
    "permission in a notification group": (0, ADD, Mask.OPEN_PERM),
    "permission in a group with handles": (FID, ADD, Mask.ACCESS_PERM),
    "pre-access in a content group": (CONTENT, ADD, Mask.PRE_ACCESS),
    "filesystem errors on an inode": (FID, ADD, Mask.FS_ERROR),
    "filesystem errors on a mount": (FID, ADD | MOUNT, Mask.FS_ERROR),
    "filesystem errors without handles": (0, ADD | FILESYSTEM, Mask.FS_ERROR),
    "an evictable mount": (FID, ADD | MOUNT | MarkFlag.EVICTABLE, Mask.OPEN),
    "an evictable filesystem": (FID, ADD | FILESYSTEM | MarkFlag.EVICTABLE, Mask.OPEN),
    "mount events of a path": (0, ADD, Mask.MNT_ATTACH),
}


@pytest.mark.parametrize(("init", "flags", "mask"), BAD_MARKS.values(), ids=BAD_MARKS.keys())
def test_these_marks_are_refused(ext4: Path, init: int, flags: int, mask: Mask) -> None:
    with listen(init) as group:
        assert errno_of(group.mark, flags, mask, ext4) == "EINVAL"


# Directory events on what is no directory: refused by everything newer than Linux 5.17, else taken and never seen.
STRICT = {
    "targets": (InitFlag.REPORT_DFID_NAME_TARGET, ADD),
    "ignore": (FID, ADD | MarkFlag.IGNORE),
}
DIRECTORY_BITS = [Mask.CREATE, Mask.DELETE, Mask.MOVE, Mask.ONDIR, Mask.EVENT_ON_CHILD]


@pytest.mark.parametrize(("init", "flags"), STRICT.values(), ids=STRICT.keys())
@pytest.mark.parametrize("bit", DIRECTORY_BITS, ids=repr)
def test_directory_events_on_a_file_are_refused_by_the_newer_interfaces(
    ext4: Path, init: InitFlag, flags: MarkFlag, bit: Mask
) -> None:
    path = new_file(ext4)
    with listen(init) as group:
        assert errno_of(group.mark, flags, Mask.OPEN | bit, path) == "ENOTDIR"
        group.mark(flags | FILESYSTEM | (flags & MarkFlag.IGNORE and MarkFlag.IGNORE_SURV), Mask.OPEN | bit, path)


@pytest.mark.parametrize("bit", DIRECTORY_BITS, ids=repr)
def test_directory_events_on_a_file_are_taken_by_the_older_interfaces(ext4: Path, bit: Mask) -> None:
    with listen(FID) as group:
        group.mark(ADD, Mask.OPEN | bit, new_file(ext4))


def test_a_group_is_asked_of_a_group(ext4: Path) -> None:
    fd = os.open(ext4, os.O_RDONLY)
    with FanotifyFile(fd) as no_group:
        assert errno_of(no_group.mark, ADD, Mask.OPEN, ext4) == "EINVAL"


@pytest.mark.parametrize("kind", KINDS)
def test_a_descriptor_that_is_not_open_is_refused(kind: MarkFlag) -> None:
    with listen() as group:
        assert errno_of(group.mark, ADD | kind, Mask.OPEN, dir_fd=1 << 20) == "EBADF"
