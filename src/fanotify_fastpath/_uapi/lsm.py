"""Which security modules are active: a hook of one that is not is attached without complaint, and never called."""

import contextlib
import os

from fanotify_fastpath._uapi.detached_mount import mount_detached

_SECURITYFS = "/sys/kernel/security"


def active_modules() -> list[str] | None:
    """
    The active Linux security modules, in their order; None where that cannot be read.

    Where securityfs is not mounted it is looked into without being mounted anywhere.
    """
    with contextlib.suppress(OSError):
        return _read(os.open(f"{_SECURITYFS}/lsm", os.O_RDONLY | os.O_CLOEXEC))
    with contextlib.suppress(OSError):
        top = mount_detached("securityfs", b"securityfs", {})
        try:
            return _read(os.open("lsm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=top))
        finally:
            os.close(top)
    return None


def _read(fd: int) -> list[str]:
    with open(fd, encoding="ascii") as file:
        return file.read().strip().split(",")
