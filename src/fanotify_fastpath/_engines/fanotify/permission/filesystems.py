"""
The filesystems that a guardian guards, each with a private view of its directory tree.

The view (a clone of one mount, in no namespace) is opened before the filesystem is marked. Through it any directory
is found by its handle, and ``..`` leads up the filesystem's own tree: no mount on top of a directory hides it, no
bind mount is an alias, and the guardian never opens anything on a filesystem that asks it. It does not keep the
user's mount from being unmounted; when the last one is gone, the view is given up.
"""

import contextlib
import errno
import os

from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH, AT_FDCWD
from fanotify_fastpath._uapi.detached_mount import clone_mount
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.roots import filesystem_id, superblock_id


class Filesystem:
    """
    One guarded filesystem.

    :ivar fsid: first 8 bytes of the keys of its objects
    :ivar mount_dev: its device number in mountinfo
    :ivar path: a mountpoint of it, for messages
    :ivar fd: the top directory of the private view
    :ivar top: path of that directory inside the filesystem
    :ivar mask: event types that its mark asks for now, with flags
    :ivar may_remember: answers depend on nothing that moves unseen
    """

    def __init__(self, fsid: bytes, mount: Mount, fd: int) -> None:
        self.fsid = fsid
        self.mount_dev = mount.dev
        self.path = mount.mountpoint
        self.fd = fd
        self.top = mount.root
        self.mask = 0
        self.may_remember = True


class Filesystems:
    """All that are guarded, by filesystem id."""

    def __init__(self) -> None:
        self.by_fsid: dict[bytes, Filesystem] = {}
        self._by_dev: dict[int, Filesystem | None] = {}

    def of(self, fd: int, st_dev: int) -> Filesystem | None:
        """Find the filesystem of an open object; None when it is none of ours."""
        if st_dev not in self._by_dev:
            found = None
            with contextlib.suppress(OSError):
                found = self.by_fsid.get(_fsid_of(fd))
            self._by_dev[st_dev] = found
        return self._by_dev[st_dev]

    def open(self, fsid: bytes, mount_id: int) -> Filesystem:
        """
        Open the view of a filesystem, unless it is open.

        :param mount_id: a mount of it
        :raises OSError: ESTALE: that mount is gone
        """
        known = self.by_fsid.get(fsid)
        if known is not None:
            return known
        mounts = read_mounts()
        if mount_id not in mounts:
            raise OSError(errno.ESTALE, "it was unmounted")
        dev = mounts[mount_id].dev
        # The mount that shows most of the filesystem: with a part of it some parents would be out of sight.
        for mount in sorted(
            (m for m in mounts.values() if m.dev == dev), key=lambda m: (len(m.root), m.mount_id != mount_id)
        ):
            fd = _open_view(fsid, mount)
            if fd is not None:
                self._by_dev.clear()
                self.by_fsid[fsid] = Filesystem(fsid, mount, fd)
                return self.by_fsid[fsid]
        raise OSError(errno.ESTALE, "none of its mounts can be opened")

    def drop(self, filesystem: Filesystem) -> None:
        """Give the view of a filesystem up."""
        self._by_dev.clear()
        del self.by_fsid[filesystem.fsid]
        os.close(filesystem.fd)

    def unmounted(self) -> list[Filesystem]:
        """The mounts have changed: return the filesystems of which none is left."""
        self._by_dev.clear()
        devs = {mount.dev for mount in read_mounts().values()}
        return [filesystem for filesystem in self.by_fsid.values() if filesystem.mount_dev not in devs]


def _fsid_of(fd: int) -> bytes:
    """Return the first part of the key of an open object, whatever its path is."""
    return superblock_id(filesystem_id(fd), syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)[0])


def _open_view(fsid: bytes, mount: Mount) -> int | None:
    """Open the top of a clone of a mount; None when something else is found at its mountpoint."""
    try:
        clone = clone_mount(AT_FDCWD, mount.mountpoint)
    except OSError:
        clone = os.open(mount.mountpoint, os.O_PATH | os.O_CLOEXEC)  # old or forbidden: then it pins the mount
    try:
        if _fsid_of(clone) != fsid:
            return None
        # open_by_handle_at takes no O_PATH descriptor (Linux 6.18: EBADF)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=clone)
    except OSError:
        return None
    finally:
        os.close(clone)
