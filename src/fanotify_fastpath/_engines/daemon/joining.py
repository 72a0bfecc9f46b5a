"""
What is mounted inside a subtree, where the daemon does not look after it: programs in the kernel fill the ring, so the
daemon cannot tell of it. What this user can open joins the subtree.
"""

import contextlib
import os

from fanotify_fastpath._engines.common.mounts import MountFollower
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts
from fanotify_fastpath.errors import FastpathError, UnsupportedFilesystem
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root, identify


class Joining(MountFollower):
    """Follows mounts by paths, as a user without privilege sees them."""

    def _real_path(self, root: Root) -> bytes | None:
        return os.path.realpath(root.path)

    def _join_mount(self, mark: Mark, above: Root, real: bytes, mount: Mount, is_news: bool) -> None:
        if _is_seen_elsewhere(mark, mount):
            return
        try:
            super()._join_mount(mark, above, real, mount, is_news)
        except FastpathError as exc:  # the daemon refuses it: the others are to join all the same
            _, root = self._joined.pop((mark.roots.set_id, mount.mount_id))
            if isinstance(exc, UnsupportedFilesystem):
                self._refused.add(mount.mount_id)
            self._host.tell(Mask.UNWATCHED, root.path)


def _is_seen_elsewhere(mark: Mark, mount: Mount) -> bool:
    """Tell whether what is mounted there lies in the subtree of *mark* anyway, by another path."""
    mounts = read_mounts()
    for root in mark.roots.roots:
        base = mounts.get(root.mount_id)
        if base is None or base.dev != mount.dev:
            continue
        real = os.path.realpath(root.path)
        inside = base.root.rstrip(b"/") + real[len(base.mountpoint.rstrip(b"/")) :].rstrip(b"/")
        if (mount.root.rstrip(b"/") + b"/").startswith(inside + b"/"):
            other = real.rstrip(b"/") + mount.root[len(inside) :].rstrip(b"/")
            with contextlib.suppress(FastpathError):
                if identify(other).key == identify(mount.mountpoint).key and lies_inside(mark, other):
                    return True
    return False


def lies_inside(mark: Mark, path: bytes) -> bool:
    """Tell whether the directory at *path* is in the subtree of *mark*; where that cannot be seen, it is not."""
    points = mark.roots.points
    while True:
        try:
            key = identify(path).key
        except FastpathError:
            return False
        if key in points:
            return points[key][1]
        if path == b"/":
            return False
        path = os.path.dirname(path)
