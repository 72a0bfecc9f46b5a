"""Can a path be watched? It is tried: a plain notification mark, taken off at once."""

import os

from fanotify_fastpath._probes.report import PathLike, PathReport
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.errors import FastpathError, PathNotFound
from fanotify_fastpath.group import Group
from fanotify_fastpath.mask import Mask

# Filesystems whose files change without this kernel having done it.
_REMOTE = frozenset(
    {"9p", "afs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "virtiofs"}
)


def probe(path: PathLike) -> PathReport:
    """
    Try to watch *path*.

    :raises PathNotFound: it does not exist
    """
    raw = os.path.abspath(os.fsencode(path))
    mount = _mount_of(raw)
    can_watch, reason = _try(raw)
    return PathReport(
        os.fsdecode(raw),
        mount.fs_type if mount else "unknown",
        os.fsdecode(mount.source) if mount else "",
        os.fsdecode(mount.mountpoint) if mount else "",
        can_watch,
        reason,
        _note(mount) if mount and can_watch else "",
    )


def _try(path: bytes) -> tuple[bool, str]:
    try:
        with Group(engine="fanotify", submounts="skip") as group:
            group.mark(path, Mask.DELETE)
    except PathNotFound:
        raise
    except FastpathError as exc:
        return False, str(exc)
    return True, "a filesystem mark was accepted"


def _mount_of(path: bytes) -> Mount | None:
    """The mount that *path* is reached through, by the kernel's own word."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as fdinfo:
            for line in fdinfo:
                if line.startswith("mnt_id:"):
                    return read_mounts().get(int(line.split()[1]))
    finally:
        os.close(fd)
    return None


def _note(mount: Mount) -> str:
    if mount.fs_type in _REMOTE or mount.fs_type.startswith("fuse"):
        return "changes made by other machines, or behind the filesystem's back, make no events here"
    if mount.fs_type == "overlay":
        return "changes made directly in a layer below make no events here"
    return ""
