"""
From the path inside a filesystem, which the programs tell, to the path that the user knows.

It is the one below the mountpoint of the mount through which the filesystem is looked at; or, below a root that was
given by another way (a symbolic link, a bind mount), the one below the path that was given.
"""

from fanotify_fastpath._engines.common.devices import kernel_dev
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._uapi.mountinfo import Mount, read_mounts

_CACHE_MAX = 65536


def below(path: bytes, above: bytes) -> bytes | None:
    """
    Return what follows *above* in *path*, beginning with a slash or empty; None if it is not below.

    :param above: without a slash at its end: the top is empty
    """
    rest = path[len(above) :]
    return rest if path.startswith(above) and rest[:1] in (b"", b"/") else None


class Views:
    """The filesystems of one group, by the kernel's number of their device."""

    def __init__(self) -> None:
        self._superblocks: dict[int, Superblock] = {}
        self._given: dict[int, dict[bytes, bytes]] = {}
        self._cache: dict[tuple[int, bytes], bytes] = {}

    def add(self, dev: int, superblock: Superblock) -> None:
        """Look at a filesystem through the mount of *superblock*, whatever that is at the time."""
        self._superblocks[dev] = superblock
        self._cache.clear()

    def drop(self, dev: int) -> None:
        """Forget a filesystem."""
        self._superblocks.pop(dev, None)
        self._given.pop(dev, None)
        self._cache.clear()

    def dev(self, dev: int) -> int | None:
        """What ``stat`` calls the filesystem of that device; None when it is not looked at."""
        superblock = self._superblocks.get(dev)
        return None if superblock is None else superblock.dev

    def superblock(self, dev: int) -> Superblock | None:
        """The filesystem of that device."""
        return self._superblocks.get(dev)

    def give(self, dev: int, path: bytes, given: bytes) -> None:
        """What lies below *path* inside a filesystem has been given by another path."""
        self._given.setdefault(dev, {}).pop(path, None)
        self._cache.clear()
        if self.path(dev, path) != given:
            self._given[dev][path] = given
            self._cache.clear()

    def take_back(self, dev: int, path: bytes) -> None:
        """The opposite of :meth:`give`."""
        self._given.get(dev, {}).pop(path, None)
        self._cache.clear()

    @property
    def has_given(self) -> bool:
        """Whether some root was given by another path than that of its filesystem's mount."""
        return any(self._given.values())

    @property
    def may_move(self) -> bool:
        """Whether a renamed directory may give other paths to what lies below it, in which its own name is not."""
        is_part = any(superblock.mount.root != b"/" for superblock in self._superblocks.values())
        return len(self._superblocks) > 1 or is_part or self.has_given

    def refresh(self) -> None:
        """Mounts have changed, or directories above them were renamed."""
        self._cache.clear()

    def path(self, dev: int, inside: bytes) -> bytes:
        """
        Return the user's path of what stands at *inside* in a filesystem.

        :param inside: empty for the top
        """
        superblock = self._superblocks.get(dev)
        if superblock is not None and inside == superblock.mount.root.rstrip(b"/"):
            return self._given.get(dev, {}).get(inside, superblock.mount.mountpoint)
        directory, slash, name = inside.rpartition(b"/")
        known = self._cache.get((dev, directory))
        if known is None:
            if len(self._cache) >= _CACHE_MAX:
                self._cache.clear()
            known = self._cache[dev, directory] = self._find(dev, directory)
        if inside in self._given.get(dev, ()):
            return self._given[dev][inside]
        return known + slash + name or b"/"

    def place(self, dev: int, directory: bytes) -> tuple[bytes, dict[bytes, bytes]] | bytes:
        """
        Return what the paths of a directory's files begin with; with those that are others, by name.

        :param directory: its path inside the filesystem, empty for the top, whose own name is empty
        """
        own = dict(self._given.get(dev, {}))
        superblock = self._superblocks.get(dev)
        if superblock is not None:
            own.setdefault(superblock.mount.root.rstrip(b"/"), superblock.mount.mountpoint)
        names = {path.rpartition(b"/")[2]: own[path] for path in own if path.rpartition(b"/")[0] == directory}
        prefix = self._find(dev, directory)
        return (prefix, names) if names else prefix

    def _find(self, dev: int, directory: bytes) -> bytes:
        """The user's path of a directory; that of the root directory is empty."""
        given = self._given.get(dev)
        if given:
            at = directory
            while True:
                if at in given:
                    return given[at].rstrip(b"/") + directory[len(at) :]
                if not at:
                    break
                at = at.rpartition(b"/")[0]
        superblock = self._superblocks.get(dev)
        found = _through(superblock.mount, directory) if superblock is not None else None
        if found is None:
            ways = (_through(mount, directory) for mount in read_mounts().values() if kernel_dev(mount.dev) == dev)
            found = next((way for way in ways if way is not None), directory)
        return found


def _through(mount: Mount, directory: bytes) -> bytes | None:
    rest = below(directory, mount.root.rstrip(b"/"))
    return None if rest is None else mount.mountpoint.rstrip(b"/") + rest
