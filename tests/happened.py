"""Events as handlers see them, for tests of handlers alone."""

from fanotify_fastpath import RootSet


class Happened:
    """An event that says nothing; what it shall say is set."""

    mask: int = 0
    is_dir = False
    time_ns = tgid = 0
    name: bytes | None = None
    comm: bytes | None = None
    exe: bytes | None = None
    dev: int | None = None
    inode: int | None = None
    dir_inode: int | None = None
    depth: int | None = None
    size: int | None = None
    mode: int | None = None
    owner_uid: int | None = None
    owner_gid: int | None = None
    n_links: int | None = None
    uid: int | None = None
    gid: int | None = None
    cgroup_id: int | None = None
    ancestors: tuple[int, ...] = ()

    def inside(self, roots: RootSet) -> bool | None:
        """Nobody knows."""
        return None
