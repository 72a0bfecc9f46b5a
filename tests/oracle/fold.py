"""
A user who keeps a picture of a subtree from its events, as the documentation says that it can be done.

Every entry is known by its path, and its inode tells whether it is still the same one. What the stream says that it cannot
say is looked up: a directory that came in, a rescan, a loss, an undecided event, and a created-and-deleted hard link.
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


def look(path: bytes) -> Entry | None:
    """What is there now; None for nothing, and for a whiteout, of which the kernel tells nothing."""
    try:
        status = os.lstat(path)
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
    pending = [top]
    while pending:
        directory = pending.pop()
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            path = directory + b"/" + name
            entry = look(path)
            if entry is not None:
                found[path] = entry
                if entry.is_dir:
                    pending.append(path)
    return found


class Picture:
    """The subtree as its events tell it."""

    def __init__(self, top: bytes) -> None:
        self.top = top
        self.entries = scan(top)
        self.n_rescans = 0
        self._unscanned: set[bytes] = set()

    def fold(self, event: Event) -> None:
        """Take one event into account."""
        path = event.raw_path
        if event.mask & Mask.Q_OVERFLOW:
            self.rescan(self.top)
        elif path is None:
            assert event.undecided, event
        elif event.mask & Mask.RESCAN:
            self._read_anew(path)
        elif event.undecided:
            self.refresh(path)
            if event.raw_old_path is not None:
                self.refresh(event.raw_old_path)
        elif event.mask & Mask.RENAME:
            self._renamed(event, path)
        else:
            self._changed(event, path)

    def _read_anew(self, path: bytes) -> None:
        """
        Read what the stream says is to be read.

        When it is not there by now, an event that is still to come says where it went: it is read there.
        """
        entry, now = self.entries.get(path), look(path)
        if path == self.top or (now is not None and (entry is None or entry.inode in (None, now.inode))):
            self.refresh(path)
        else:
            self._unscanned.add(path)

    def rescan(self, directory: bytes) -> None:
        """Read a directory and all below it anew."""
        self.n_rescans += 1
        self._forget_below(directory)
        self.entries |= scan(directory)

    def refresh(self, path: bytes) -> None:
        """Look at an entry anew, and below it if it is a directory."""
        if path == self.top:
            self.rescan(path)
            return
        self._forget(path)
        entry = look(path)
        if entry is not None and self._is_inside(path):
            self.entries[path] = entry
            if entry.is_dir:
                self.rescan(path)

    def _changed(self, event: Event, path: bytes) -> None:
        new = Entry(event.is_dir, event.inode)
        created, deleted = event.mask & Mask.CREATE, event.mask & Mask.DELETE
        if created and deleted and not event.is_dir:
            self.refresh(path)  # a name of a hard link may have been removed and made again
        elif deleted:
            self._forget(path)
        elif created:
            self._forget(path)
            self.entries[path] = new

    def _renamed(self, event: Event, new_path: bytes) -> None:
        old_path = event.raw_old_path
        assert old_path is not None, event
        moved: dict[bytes, Entry] = {}
        unscanned: set[bytes] = set()
        is_known = False
        if self._is_inside(old_path):
            entry = self.entries.get(old_path)
            is_known = entry is not None and entry.is_dir == event.is_dir and event.inode in (None, entry.inode)
            if is_known or entry is None:
                unscanned = {path for path in self._unscanned if (path + b"/").startswith(old_path + b"/")}
                moved = self._take(old_path)
        if not self._is_inside(new_path):
            assert event.crossing == "out", event
            return
        self._forget(new_path)
        self.entries |= {new_path + path[len(old_path) :]: entry for path, entry in moved.items()}
        if not is_known:
            self.entries[new_path] = Entry(event.is_dir, event.inode)
            if event.is_dir and event.crossing is None:
                unscanned.add(old_path)  # crossing the border inwards is followed by a rescan
        for path in unscanned:
            self._read_anew(new_path + path[len(old_path) :])

    def _is_inside(self, path: bytes) -> bool:
        return path.startswith(self.top + b"/")

    def _take(self, path: bytes) -> dict[bytes, Entry]:
        below = path + b"/"
        taken = {other: entry for other, entry in self.entries.items() if other == path or other.startswith(below)}
        for other in taken:
            del self.entries[other]
        self._unscanned = {other for other in self._unscanned if other != path and not other.startswith(below)}
        return taken

    def _forget(self, path: bytes) -> None:
        self._take(path)

    def _forget_below(self, directory: bytes) -> None:
        below = directory + b"/"
        self.entries = {path: entry for path, entry in self.entries.items() if not path.startswith(below)}

    def differences(self) -> list[str]:
        """Compare with the tree as it is now."""
        truth = scan(self.top)
        said: list[str] = []
        for path in sorted(self.entries.keys() | truth.keys()):
            seen, true = self.entries.get(path), truth.get(path)
            if true is None and is_whiteout(path):
                continue  # a whiteout that was renamed
            if seen is None or true is None:
                said.append(f"{path!r}: pictured {seen}, is {true}")
            elif seen.is_dir != true.is_dir or seen.inode not in (None, true.inode):
                said.append(f"{path!r}: pictured {seen}, is {true}")
        return said
