"""
Where an object lies inside its filesystem, when neither its path nor a file handle leads to its directory: a file that
is mounted on a file, lies deeper than a path can be long, or was opened in another mount namespace (before Linux 6.13).

These are guesses, each good only if the object is found there.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem
from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.maps import mapped_path
from fanotify_fastpath._uapi.mountinfo import Mount, find_mount

DELETED = b" (deleted)"
#: what mountinfo says of the root of a mount that has no name any more (fs/d_path.c)
_ROOT_DELETED = b"//deleted"
#: the walk up (``membership``) takes 4096 steps, and no name is longer than 255 bytes
_MAX_BYTES = 1 << 20


@dataclass(slots=True)
class Opened:
    """
    What is known of an object that is no directory, and was opened.

    :ivar fd: its descriptor
    :ivar path: its path through the mount that was used; None when it is longer than a path may be
    :ivar tgid: who opens it
    """

    fd: int
    status: os.stat_result
    handle: bytes
    mount_id: int
    path: bytes | None
    tgid: int


def inner_paths(opened: Opened, filesystem: Filesystem) -> Iterator[bytes]:
    """Guess its path from the top of the filesystem's view; `` (deleted)`` follows a name that is gone."""
    path = opened.path
    if path is None:
        with contextlib.suppress(OSError):
            path = mapped_path(opened.fd)
    if path is None or len(path) > _MAX_BYTES:
        return
    mount = find_mount(opened.mount_id)
    if mount is not None:
        yield from _through(mount, path, filesystem)
    if opened.status.st_nlink <= 1:  # then the kernel knows it by no other name
        yield from _by_handle(opened.handle, path, filesystem)
    if mount is None:
        mount = find_mount(opened.mount_id, f"/proc/{opened.tgid}/mountinfo")
        if mount is not None:
            yield from _through(mount, path, filesystem)


def _through(mount: Mount, path: bytes, filesystem: Filesystem) -> Iterator[bytes]:
    """A mount tells which part of the filesystem it shows, and where."""
    mountpoint, top = mount.mountpoint.rstrip(b"/"), filesystem.top.rstrip(b"/")
    if path.startswith(mountpoint):
        inner = mount.root.removesuffix(_ROOT_DELETED).rstrip(b"/") + path[len(mountpoint) :]
        if inner.startswith(top + b"/"):
            yield inner[len(top) :]


def _by_handle(handle: bytes, path: bytes, filesystem: Filesystem) -> Iterator[bytes]:
    """The kernel opens the name that it has in memory: the one that was just opened, if there is but one."""
    with contextlib.suppress(OSError):
        inner = syscalls.open_by_handle_at(filesystem.fd, handle, os.O_PATH | os.O_CLOEXEC)
        try:
            found = os.readlink(b"/proc/self/fd/%d" % inner)
        finally:
            os.close(inner)
        if found.endswith(DELETED) == path.endswith(DELETED):
            yield found
