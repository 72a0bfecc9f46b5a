"""Listeners without privileges (LTP fanotify18, 19)."""

import os
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import NOFD, InfoType, InitFlag, MarkFlag, Mask

from .support import ADD, FILESYSTEM, INODE, MOUNT, NOBODY_UID, as_nobody, errno_of, fork, listen, touch, wait_for

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
        return [errno_of(lambda flags=flags: listen(flags).close()) for flags in REFUSED_INIT + TAKEN_INIT]

    assert as_nobody(errors) == ["EPERM"] * len(REFUSED_INIT) + ["ok"] * len(TAKEN_INIT)


def test_only_inodes_that_the_user_may_read_are_marked(own: Path) -> None:
    secret = own / "secret"
    secret.touch(0o600)

    def errors() -> list[str]:
        with listen(FID) as group:
            return [
                errno_of(lambda: group.mark(ADD | MOUNT, Mask.OPEN, own)),
                errno_of(lambda: group.mark(ADD | FILESYSTEM, Mask.OPEN, own)),
                errno_of(lambda: group.mark(ADD | INODE, Mask.OPEN, own)),
                errno_of(lambda: group.mark(ADD | MarkFlag.EVICTABLE, Mask.OPEN, own / "secret")),
                errno_of(lambda: group.mark(ADD, Mask.OPEN_PERM, own)),
            ]

    assert as_nobody(errors) == ["EPERM", "EPERM", "ok", "EACCES", "EINVAL"]


def test_a_group_that_was_made_without_privilege_stays_so_in_the_hands_of_root(own: Path) -> None:
    here, there = os.pipe()

    def hand_over() -> str:
        # the effective user comes back: the flag is the group's, not the caller's
        os.seteuid(NOBODY_UID)
        with listen(FID) as group:
            os.seteuid(0)
            return errno_of(lambda: group.mark(ADD | FILESYSTEM, Mask.OPEN, own))

    os.close(here)
    os.close(there)
    from .support import in_child

    assert in_child(hand_over) == "EPERM"


def test_events_of_others_come_without_process_and_own_ones_with_it(own: Path) -> None:
    path = own / "file"
    path.touch(0o644)

    def watch() -> list[tuple[int, int, int, list[int]]]:
        with listen(FID | InitFlag.REPORT_DFID_NAME) as group:
            group.mark(ADD, Mask.OPEN | Mask.CREATE | Mask.EVENT_ON_CHILD, own)
            touch(path)
            pid = fork()
            if pid == 0:
                touch(path)
                os._exit(0)
            wait_for(pid)
            events = group.read_events()
            return [
                (event.mask, event.fd, event.pid == os.getpid() or event.pid, [info.info_type for info in event.infos])  # type: ignore[union-attr]
                for event in events
            ]

    types = [InfoType.DFID_NAME, InfoType.FID]
    assert as_nobody(watch) == [(Mask.OPEN, NOFD, True, types), (Mask.OPEN, NOFD, 0, types)]
