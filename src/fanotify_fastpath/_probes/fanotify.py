"""Does the fanotify engine work here? Every kind of group and mark that it uses is made, on a filesystem of our own."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fanotify_fastpath._probes.private_tmpfs import private_tmpfs
from fanotify_fastpath._probes.report import Check, EngineReport
from fanotify_fastpath._uapi import capabilities, syscalls
from fanotify_fastpath._uapi.constants import InitFlag, MarkFlag
from fanotify_fastpath.mask import Mask

_BASE = InitFlag.CLOEXEC | InitFlag.NONBLOCK
_NAMES = _BASE | InitFlag.REPORT_DFID_NAME_TARGET
_REMEMBER = MarkFlag.IGNORE_SURV | MarkFlag.EVICTABLE | MarkFlag.ONLYDIR


def probe() -> EngineReport:
    """Try what the engine needs, and what permission events need."""
    group = _try("group that reports names", lambda: _group(_NAMES), "fanotify_init, Linux 5.17")
    if not group.ok:
        return EngineReport("fanotify", False, f"fanotify_init fails: {group.detail}", (group,))
    if not capabilities.has("CAP_SYS_ADMIN"):
        reason = (
            "CAP_SYS_ADMIN is missing, so only single directories can be watched (scope inode); run as root for more"
        )
        return EngineReport(
            "fanotify", False, reason, (group, Check("filesystem mark", False, "CAP_SYS_ADMIN is missing"))
        )
    try:
        with private_tmpfs() as top:
            checks = (group, *_probe_marks(top))
    except OSError as exc:
        no_tmpfs = Check("private tmpfs", None, f"none can be made, so marks were not tried: {exc.strerror}")
        return EngineReport("fanotify", True, "a group can be made; marks were not tried", (group, no_tmpfs))
    missing = [check for check in checks[:3] if not check.ok]
    if missing:
        return EngineReport("fanotify", False, f"{missing[0].name}: {missing[0].detail}", checks)
    return EngineReport("fanotify", True, "all that it needs was tried and works", checks)


def _probe_marks(top: int) -> list[Check]:
    """The first two are needed, the others are extras."""
    changes = int(Mask.ALL_CHANGES | Mask.ONDIR)
    remembered = int(Mask.MODIFY | Mask.EVENT_ON_CHILD)
    return [
        _try("filesystem mark and its event", lambda: _see_event(top), "Linux 5.17"),
        _try(
            "ignore mark on a directory",
            lambda: _mark(_NAMES, MarkFlag.FILESYSTEM, changes, top, also=(_REMEMBER, remembered)),
            "Linux 6.0",
        ),
        _try("unlimited queue", lambda: _group(_NAMES | InitFlag.UNLIMITED_QUEUE), "CAP_SYS_ADMIN"),
        _try(
            "permission events",
            lambda: _mark(_BASE | InitFlag.CLASS_CONTENT, MarkFlag.FILESYSTEM, int(Mask.OPEN_PERM), top),
            "CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
        ),
        _try(
            "pre-content events",
            lambda: _pre_content(top),
            "Linux 6.14",
        ),
        _try(
            "descriptor errors", lambda: _group(_BASE | InitFlag.CLASS_CONTENT | InitFlag.REPORT_FD_ERROR), "Linux 6.13"
        ),
        _try("process descriptors", lambda: _group(_NAMES | InitFlag.REPORT_PIDFD), "Linux 5.15"),
    ]


def _try(name: str, attempt: Callable[[], None], needs: str) -> Check:
    try:
        attempt()
    except OSError as exc:
        code = errno.errorcode.get(exc.errno or 0, str(exc.errno))
        return Check(name, False, f"{code} ({exc.strerror}); needs {needs}")
    return Check(name, True, "works")


@contextmanager
def _open_group(flags: int) -> Iterator[int]:
    fd = syscalls.fanotify_init(flags)
    try:
        yield fd
    finally:
        os.close(fd)


def _group(flags: int) -> None:
    with _open_group(flags):
        pass


def _mark(flags: int, kind: int, mask: int, top: int, also: tuple[int, int] | None = None) -> None:
    """Make a group, mark, and let both go. Nobody can reach *top*, so nobody waits for an answer."""
    with _open_group(flags) as fd:
        syscalls.fanotify_mark(fd, MarkFlag.ADD | kind, mask, top, b".")
        if also is not None:
            syscalls.fanotify_mark(fd, MarkFlag.ADD | also[0], also[1], top, b".")


def _see_event(top: int) -> None:
    """Make a file, and read the event of it."""
    with _open_group(_NAMES) as fd:
        syscalls.fanotify_mark(fd, MarkFlag.ADD | MarkFlag.FILESYSTEM, int(Mask.CREATE | Mask.RENAME), top, b".")
        os.close(os.open("canary", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, dir_fd=top))
        try:
            os.read(fd, 4096)
        except BlockingIOError:
            raise OSError(errno.ENODATA, "the mark was accepted and no event came") from None
        finally:
            with suppress(OSError):
                os.unlink("canary", dir_fd=top)


def _pre_content(top: int) -> None:
    """A kernel that has them refuses them on a tmpfs with EOPNOTSUPP; one that has not, with EINVAL."""
    try:
        _mark(_BASE | InitFlag.CLASS_PRE_CONTENT, MarkFlag.INODE, int(Mask.PRE_ACCESS | Mask.EVENT_ON_CHILD), top)
    except OSError as exc:
        if exc.errno != errno.EOPNOTSUPP:
            raise
