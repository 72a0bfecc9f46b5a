"""One watched filesystem: its identity, the mount through which it is looked at, and the form of its file handles."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH, AT_FDCWD
from fanotify_fastpath._uapi.detached_mount import clone_mount, mount_detached
from fanotify_fastpath._uapi.mountinfo import Mount
from fanotify_fastpath._uapi.words import u32, u64
from fanotify_fastpath.roots import FSID_BYTES, Root

_DATA_OFFSET: Final = FSID_BYTES + 8
_MOUNT_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK


# Where the inode number stands in a file handle: fs/ext4/namei.c and fs/libfs.c (generic_encode_ino32_fh),
# fs/xfs/xfs_export.c, fs/btrfs/export.c, mm/shmem.c (v6.12). Others are not decoded.
_U32: Final = 1
_U64: Final = 2
_SHMEM: Final = 3
_INODE_IN_HANDLE: Final = {"ext2": _U32, "ext3": _U32, "ext4": _U32, "xfs": _U64, "btrfs": _U64, "tmpfs": _SHMEM}


class Superblock:
    """
    A filesystem that a group watches.

    :ivar fsid: 8 bytes, as in events
    :ivar dev: ``st_dev`` of the root that made us watch it
    :ivar mount: the mount through which paths are told
    :ivar top_key: identity of the directory at the mountpoint
    """

    def __init__(self, root: Root, mount: Mount) -> None:
        self.fsid = root.key[:FSID_BYTES]
        self.dev = root.dev
        self.mount = mount
        self.fs_type = mount.fs_type
        handle, _ = syscalls.name_to_handle_at(AT_FDCWD, mount.mountpoint, 0)
        self.top_key = self.fsid + handle
        self._inode_form = _INODE_IN_HANDLE.get(mount.fs_type, 0)
        self._mount_fd = -1

    def inode_of(self, key: bytes | None) -> int | None:
        """Read the inode number out of a file handle; None where the form is not known."""
        if key is None or not self._inode_form:
            return None
        try:
            if self._inode_form == _U32:
                return u32(key, _DATA_OFFSET)
            if self._inode_form == _U64:
                return u64(key, _DATA_OFFSET)
            return int(u32(key, _DATA_OFFSET + 4)) | int(u32(key, _DATA_OFFSET + 8)) << 32
        except IndexError:  # an event without an object has an empty handle
            return None

    def open_handle(self, key: bytes) -> int:
        """
        Open the object of that identity with ``O_PATH``.

        :raises OSError: ESTALE: it is gone
        """
        return syscalls.open_by_handle_at(self.mount_fd(), key[FSID_BYTES:], os.O_PATH | os.O_CLOEXEC)

    def look_beneath(self) -> None:
        """
        Something is mounted over directories of this filesystem, and ``..`` leads onto it: until :meth:`release`, look
        through a copy of the mount over which nothing is mounted.

        :raises OSError: the kernel is older than Linux 5.2, or refuses
        """
        clone = clone_mount(self.mount_fd())
        try:
            fd = os.open(b".", _MOUNT_FLAGS, dir_fd=clone)
        finally:
            os.close(clone)
        os.close(self._mount_fd)
        self._mount_fd = fd

    def mount_fd(self) -> int:
        """
        Return an open descriptor of the mountpoint; it stays ours, and open until :meth:`release`.

        :raises OSError: ESTALE: something else is mounted there now
        """
        if self._mount_fd < 0:
            self._mount_fd = self._open_mount()
        return self._mount_fd

    @contextlib.contextmanager
    def whole(self) -> Iterator[int]:
        """
        Give a descriptor by which the whole filesystem can be marked; close it, and let go of the mount, afterwards.

        Of btrfs only the top level stands for the whole (a subvolume has another id: EXDEV), and it may not be mounted
        anywhere.

        :raises OSError: as :meth:`mount_fd`
        """
        top = -1
        if self.fs_type == "btrfs" and self.mount.root != b"/":
            with contextlib.suppress(OSError):
                top = mount_detached("btrfs", self.mount.source, {"subvolid": "5"})
        try:
            yield self.mount_fd() if top < 0 else top
        finally:
            if top >= 0:
                os.close(top)
            self.release()

    def release(self) -> None:
        """Let go of the mount, so that it can be unmounted. It is opened again on need."""
        if self._mount_fd >= 0:
            os.close(self._mount_fd)
            self._mount_fd = -1

    def _open_mount(self) -> int:
        # open_by_handle_at wants a real descriptor of the mount, not an O_PATH one (tried on Linux 6.18: EBADF).
        fd = os.open(self.mount.mountpoint, _MOUNT_FLAGS)
        with contextlib.suppress(OSError):
            if self.fsid + syscalls.name_to_handle_at(fd, b"", AT_EMPTY_PATH)[0] == self.top_key:
                return fd
        os.close(fd)
        raise OSError(errno.ESTALE, "another filesystem is mounted over the one that is watched")
