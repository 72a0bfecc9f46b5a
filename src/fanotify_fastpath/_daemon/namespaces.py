"""Clients in other namespaces, in containers for example: what they call something is to be understood from here."""

import contextlib
import dataclasses
import errno
import os

from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.errors import FastpathError, PathNotFound, UnsupportedFeature
from fanotify_fastpath.roots import FSID_BYTES, Root, identify


def shares_pids(tgid: int) -> bool:
    """
    Tell whether a process numbers processes as this one does. One that is gone, or cannot be seen, does not.

    :param tgid: of a process; 0: it cannot be seen from here
    """
    if tgid > 0:
        with contextlib.suppress(OSError), open(f"/proc/{tgid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"NSpid:"):  # its numbers, from this namespace down to its own
                    return len(line.split()) == 2
    return False


def as_mounted_here(root: Root) -> Root:
    """
    Have a root be seen through a mount that this process sees, if it was found through one of another namespace.

    :param root: as found by a descriptor
    :return: the same object
    :raises PathNotFound: its filesystem is not mounted here
    :raises UnsupportedFeature: it is a file: the directory that it is in is not known here
    """
    mounts = read_mounts()
    if root.mount_id in mounts:
        return root
    if not root.is_dir:
        raise UnsupportedFeature(
            "cannot watch a single file from another mount namespace; watch the directory that it is in", errno.EXDEV
        )
    for mount in sorted(mounts.values(), key=lambda mount: mount.root != b"/"):
        if _may_be_of(mount, root):
            with contextlib.suppress(FastpathError, OSError):
                if identify(mount.mountpoint).key[:FSID_BYTES] == root.key[:FSID_BYTES]:
                    return dataclasses.replace(root, mount_id=mount.mount_id)
    raise PathNotFound(
        "cannot watch this: its filesystem is mounted in the client's mount namespace only, where the daemon does not "
        "see it; mount it where the daemon runs, too"
    )


def _may_be_of(mount: Mount, root: Root) -> bool:
    # of btrfs, files have other device numbers than the mount
    return mount.dev == root.dev or (mount.fs_type == "btrfs" and not os.major(root.dev))
