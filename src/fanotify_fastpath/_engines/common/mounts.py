"""
Mounts that come and go: an unmounted filesystem ends its roots, a filesystem mounted inside a subtree joins it.

Nothing is held open, so nothing keeps a filesystem from being unmounted; ``/proc/self/mountinfo`` tells when it was.
"""

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterable
from typing import Protocol

from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.errors import FastpathError, UnsupportedFilesystem
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, Root, identify

#: filesystems that the kernel makes up as they are read; there is nothing to watch in them
PSEUDO = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "sysfs",
        "tracefs",
    ]
)


class Host(Protocol):
    """What the follower needs of the engine."""

    superblocks: dict[bytes, Superblock]

    def watch_filesystem(self, root: Root, mask: int) -> None: ...
    def lose_filesystem(self, superblock: Superblock) -> None: ...
    def move_filesystem(self, superblock: Superblock, mount: Mount) -> None: ...
    def is_inside(self, mark: Mark, path: bytes) -> bool: ...
    def anchor(self, root: Root) -> None: ...
    def tell(self, mask: Mask, path: bytes) -> None: ...


class MountFollower:
    """
    Keeps roots and mounts in step.

    :param host: the engine
    :param follow: filesystems mounted inside a subtree belong to it
    """

    def __init__(self, host: Host, *, follow: bool) -> None:
        self._host = host
        self._follow = follow
        self._joined: dict[tuple[int, int], tuple[Mark, Root]] = {}
        self._refused: set[int] = set()

    def refresh(self, marks: Iterable[Mark]) -> None:
        """The mounts have changed: compare with them as they are now."""
        mounts = read_mounts()
        self._check_filesystems(mounts)
        self._leave(mounts)
        if self._follow:
            for mark in marks:
                if mark.scope is Scope.SUBTREE:
                    for root in mark.roots.roots:
                        self._join(mark, root, mounts, is_news=True)

    def join(self, mark: Mark, root: Root) -> None:
        """A root was just added: what is mounted inside belongs to it from the start."""
        if self._follow:
            self._join(mark, root, read_mounts(), is_news=False)

    def _leave(self, mounts: dict[int, Mount]) -> None:
        """Drop the joined mounts that are gone."""
        for slot, (mark, root) in list(self._joined.items()):
            if slot[1] not in mounts:
                del self._joined[slot]
                if root.key in mark.roots.points:  # else the filesystem is gone altogether, and that was told
                    mark.roots.discard(root.key)
                    self._host.tell(Mask.UNMOUNT, root.path)
        self._refused &= set(mounts)

    def _check_filesystems(self, mounts: dict[int, Mount]) -> None:
        """Find filesystems whose mount was moved or is gone."""
        for superblock in list(self._host.superblocks.values()):
            old = superblock.mount
            now = mounts.get(old.mount_id)
            if now is None or (now.dev, now.root) != (old.dev, old.root):
                others = (m for m in mounts.values() if (m.dev, m.root) == (old.dev, old.root))
                now = next(others, None)
            if now is None:
                self._host.lose_filesystem(superblock)
            elif now != old:
                self._host.move_filesystem(superblock, now)

    def _join(self, mark: Mark, root: Root, mounts: dict[int, Mount], *, is_news: bool) -> None:
        """Add what is mounted inside one root of a mark."""
        is_joined = any(joined is mark and other.key == root.key for joined, other in self._joined.values())
        real = None if is_joined or not root.is_dir else self._real_path(root)
        if real is None:
            return
        for mount in mounts.values():
            if _is_below(mount.mountpoint, real) and (mark.roots.set_id, mount.mount_id) not in self._joined:
                self._join_mount(mark, root, real, mount, is_news)

    def _join_mount(self, mark: Mark, above: Root, real: bytes, mount: Mount, is_news: bool) -> None:
        if mount.fs_type in PSEUDO or mount.mount_id in self._refused:
            return
        view = above.path.rstrip(b"/") + mount.mountpoint[len(real.rstrip(b"/")) :]
        if not self._host.is_inside(mark, os.path.dirname(mount.mountpoint)):
            return
        try:
            root = identify(mount.mountpoint)
            if root.mount_id != mount.mount_id or root.key in mark.roots.points:
                return
            if root.key[:FSID_BYTES] in self._host.superblocks and self._host.is_inside(mark, mount.mountpoint):
                return
            root = dataclasses.replace(root, path=view)
            self._host.watch_filesystem(root, int(mark.mask))
        except UnsupportedFilesystem:
            self._refused.add(mount.mount_id)
            self._host.tell(Mask.UNWATCHED, view)
            return
        except FastpathError as exc:
            if exc.errno not in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                self._host.tell(Mask.UNWATCHED, view)
            return
        self._joined[mark.roots.set_id, mount.mount_id] = (mark, root)
        mark.roots.include(root)
        self._host.anchor(root)
        if is_news:
            self._host.tell(Mask.RESCAN, view)

    def _real_path(self, root: Root) -> bytes | None:
        """Path of a root as mountinfo would tell it."""
        superblock = self._host.superblocks.get(root.key[:FSID_BYTES])
        if superblock is None:
            return None
        with contextlib.suppress(OSError):
            fd = superblock.open_handle(root.key)
            try:
                return os.readlink(b"/proc/self/fd/%d" % fd)
            finally:
                os.close(fd)
                superblock.release()
        return None


def _is_below(path: bytes, above: bytes) -> bool:
    return path != above and path.startswith(above if above.endswith(b"/") else above + b"/")
