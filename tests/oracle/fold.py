"""
A user who keeps a picture of a subtree from its events, as the documentation says that it can be done.

Every entry is known by its path, and its inode tells whether it is still the same one. What the stream says that it
cannot say is looked up: a directory that came in, a rescan, a loss, an undecided event, a hard link made and removed.
"""

import os
import stat
from dataclasses import dataclass

from fanotify_fastpath import Event, Mask


@dataclass(frozen=True)
class Entry:
    """One entry: a directory or anything else, and its inode number if that is known."""

    is_dir: bool
    inode: int | None


def look(path: bytes, parent: int | None = None) -> Entry | None:
    """What is there now; None for nothing, and for a whiteout, of which the kernel tells nothing."""
    try:
        status = os.stat(path, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return None
    if _is_whiteout(status):
        return None
    return Entry(stat.S_ISDIR(status.st_mode), status.st_ino)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_whiteout(path: bytes) -> bool:
    """Tell whether a whiteout is there."""
    try:
        return _is_whiteout(os.lstat(path))
    except OSError:
        return False


def scan(top: bytes) -> dict[bytes, Entry]:
    """Everything below *top*, which is not in it."""
    found: dict[bytes, Entry] = {}
    _scan(top, None, top, found)
    return found


def _scan(name: bytes, parent: int | None, path: bytes, found: dict[bytes, Entry]) -> int | None:
    """
    Add what is in a directory, and return its inode; None if there is none.

    It is opened once: others may put another one in its place meanwhile.
    """
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return None
    try:
        for each in os.listdir(fd):
            below = os.fsencode(each)
            entry = look(below, fd)
            if entry is not None and entry.is_dir:
                inode = _scan(below, fd, path + b"/" + below, found)
                entry = None if inode is None else Entry(is_dir=True, inode=inode)
            if entry is not None:
                found[path + b"/" + below] = entry
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


class Picture:
    """
    The subtree as its events tell it.

    What is to be looked up is read at once if its directory, as pictured, is where it is pictured: its inode tells.
    Otherwise events still to come will move it there, and it is read then; at the latest when all events are in.
    """

    def __init__(self, top: bytes) -> None:
        self.top = top
        self.entries = scan(top)
        self.n_looks = 0
        self._unread: set[bytes] = set()

    def fold(self, event: Event) -> None:
        """Take one event into account."""
        path = event.raw_path
        if event.mask & Mask.Q_OVERFLOW:
            self._read(self.top)
        elif path is None:
            assert event.undecided, event
        elif event.mask & Mask.RESCAN:
            self._look(path)
        elif event.undecided:
            for touched in (event.raw_old_path, path):
                if touched is not None:
                    self._look(touched)
        elif event.mask & Mask.RENAME:
            self._renamed(event, path)
        else:
            self._changed(event, path)

    def finish(self) -> None:
        """All events are in, and nothing changes any more: read what could not be read before."""
        for path in sorted(self._unread):
            self._read(path)

    def _changed(self, event: Event, path: bytes) -> None:
        created, deleted = event.mask & Mask.CREATE, event.mask & Mask.DELETE
        if created and deleted and not event.is_dir:
            self._look(path)  # a name of a hard link may have been removed and made again
        elif created or deleted:
            self._take(path)
            if created:
                self.entries[path] = Entry(event.is_dir, event.inode)

    def _renamed(self, event: Event, new_path: bytes) -> None:
        old_path = event.raw_old_path
        assert old_path is not None, event
        entry = self.entries.get(old_path)
        is_known = entry is not None and entry.is_dir == event.is_dir and event.inode in (None, entry.inode)
        moved: dict[bytes, Entry] = {}
        unread: set[bytes] = set()
        if self._is_inside(old_path) and (is_known or entry is None):
            moved, unread = self._take(old_path)
        if not self._is_inside(new_path):
            assert event.crossing == "out", event
            return
        self._take(new_path)
        self.entries |= {new_path + path[len(old_path) :]: entry for path, entry in moved.items()}
        if not is_known:
            self.entries[new_path] = Entry(event.is_dir, event.inode)
            if event.is_dir and event.crossing is None:
                unread.add(old_path)  # crossing the border inwards is followed by a rescan
        for path in unread:
            self._look(new_path + path[len(old_path) :])

    def _look(self, path: bytes) -> None:
        """Read an entry, and all below it, if what is pictured above it is there."""
        above = os.path.dirname(path)
        while above != self.top:
            entry, now = self.entries.get(above), look(above)
            if entry is None or now is None or entry.inode != now.inode:
                self._unread.add(path)
                return
            above = os.path.dirname(above)
        entry, now = self.entries.get(path), look(path)
        if entry is not None and entry.is_dir and (now is None or now.inode != entry.inode):
            self._unread.add(path)  # it went somewhere: the event that says so finds it here
        else:
            self._read(path)

    def _read(self, path: bytes) -> None:
        self.n_looks += 1
        if path == self.top:
            self.entries = scan(path)
            self._unread.clear()
            return
        self._take(path)
        entry = look(path)
        if entry is None or not self._is_inside(path):
            return
        if entry.is_dir:
            found: dict[bytes, Entry] = {}
            inode = _scan(path, None, path, found)
            if inode is None:
                return
            entry = Entry(is_dir=True, inode=inode)
            self.entries |= found
        self.entries[path] = entry

    def _is_inside(self, path: bytes) -> bool:
        return path.startswith(self.top + b"/")

    def _take(self, path: bytes) -> tuple[dict[bytes, Entry], set[bytes]]:
        """Take an entry out with all below it, and what is unread there."""
        below = path + b"/"
        taken = {other: entry for other, entry in self.entries.items() if other == path or other.startswith(below)}
        unread = {other for other in self._unread if other == path or other.startswith(below)}
        for other in taken:
            del self.entries[other]
        self._unread -= unread
        return taken, unread

    def differences(self) -> list[str]:
        """Compare with the tree as it is now."""
        truth = scan(self.top)
        said: list[str] = []
        for path in sorted(self.entries.keys() | truth.keys()):
            seen, true = self.entries.get(path), truth.get(path)
            if true is None and is_whiteout(path):
                continue  # a whiteout that was renamed
            if seen is None or true is None or seen.is_dir != true.is_dir or seen.inode not in (None, true.inode):
                said.append(f"{path!r}: pictured {seen}, is {true}")
        return said
