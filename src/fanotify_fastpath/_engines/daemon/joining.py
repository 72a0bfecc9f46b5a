"""
What is mounted inside a subtree, where the daemon does not look after it: programs in the kernel fill the ring, so the
daemon cannot tell of it. What this user can open joins the subtree.
"""

import os

from fanotify_fastpath._engines.common.mounts import MountFollower
from fanotify_fastpath.errors import FastpathError
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import Root, identify


class Joining(MountFollower):
    """Follows mounts by paths, as a user without privilege sees them."""

    def _real_path(self, root: Root) -> bytes | None:
        return os.path.realpath(root.path)


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
