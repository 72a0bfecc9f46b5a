"""What ``/proc`` tells of a process besides its user, name and executable: its group, cgroup and ancestors."""

import contextlib
import functools
import os
from typing import Final

from fanotify_fastpath._uapi.mountinfo import read_mounts

#: as many ancestors are told
ANCESTORS_MAX: Final = 16
_CGROUP2: Final = b"0::"


def read(tgid: int, name: str) -> bytes:
    """Return what stands in a file of ``/proc/<tgid>``; empty when there is no such process."""
    with contextlib.suppress(OSError), open(f"/proc/{tgid}/{name}", "rb") as file:
        return file.read()
    return b""


def effective_gid(status: bytes) -> int | None:
    """
    Return the effective group id.

    :param status: the file ``status``
    """
    # real, effective, saved, filesystem
    ids = _words(status, b"Gid:")
    return int(ids[1]) if ids else None


def ancestors(status: bytes) -> tuple[int, ...]:
    """
    Return the ids of the parent, its parent and so on, as far as this process sees them.

    :param status: the file ``status`` of the process
    """
    found: list[int] = []
    while len(found) < ANCESTORS_MAX and (parent := _parent(status)):
        found.append(parent)
        status = read(parent, "status")
    return tuple(found)


def cgroup_id(cgroup: bytes) -> int | None:
    """
    Return the id of the cgroup in the unified hierarchy: its directory's inode number.

    :param cgroup: the file ``cgroup`` of the process
    :return: None when it was removed, or cannot be seen from here
    """
    top = _cgroup2_mountpoint()
    for line in cgroup.splitlines():
        if top is not None and line.startswith(_CGROUP2) and not line.startswith(_CGROUP2 + b"/.."):
            with contextlib.suppress(OSError):
                return os.stat(top + line.removeprefix(_CGROUP2)).st_ino
    _cgroup2_mountpoint.cache_clear()  # the next time it may be mounted, or elsewhere
    return None


@functools.cache
def _cgroup2_mountpoint() -> bytes | None:
    """Where the whole unified hierarchy is mounted; beside the older ones that is not at the usual place."""
    mounts = (m for m in read_mounts().values() if m.fs_type == "cgroup2" and m.root == b"/")
    return next((mount.mountpoint for mount in mounts), None)


def _parent(status: bytes) -> int:
    words = _words(status, b"PPid:")
    return int(words[0]) if words else 0


def _words(status: bytes, label: bytes) -> list[bytes]:
    for line in status.splitlines():
        if line.startswith(label):
            return line.split()[1:]
    return []
