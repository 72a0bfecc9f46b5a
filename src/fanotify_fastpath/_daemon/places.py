"""
Where things are, as one client calls them, and whether its user can get there.

A place is found by identity, from a directory upwards to the roots that the client has named; what a path reads like
plays no part. What follows from it is kept until a directory is moved or rights change.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

from fanotify_fastpath._daemon.rights import Rights
from fanotify_fastpath._engines.fanotify.interest import Interest
from fanotify_fastpath._engines.fanotify.tree import Directory, Tree
from fanotify_fastpath._uapi.mountinfo import read_mounts
from fanotify_fastpath.errors import FastpathError
from fanotify_fastpath.marks import Scope
from fanotify_fastpath.roots import FSID_BYTES, Root, identify

#: places that are kept; past it, all are found again
_MAX_KEPT: Final = 1 << 16

#: the user cannot get there, or only when that can be told no more, or can
HIDDEN: Final = 0
UNSURE: Final = 1
SHOWN: Final = 2


#: directory and name in it
Name = tuple[bytes | None, bytes | None]


class Place(NamedTuple):
    """
    Where a directory or a name is.

    :ivar state: HIDDEN, UNSURE or SHOWN
    :ivar path: what the client calls it; None when it has no name for it
    :ivar is_marked: a root of a marked set gives it its path
    :ivar hider: identity of the highest directory below a root that the user may not enter; None outside every root
    """

    state: int
    path: bytes | None = None
    is_marked: bool = False
    hider: bytes | None = None

    def entry(self, name: bytes | None) -> "Place":
        """The place of a name in this directory."""
        return self if self.path is None or name is None else self._replace(path=_join(self.path, name))


#: outside every root
OUTSIDE: Final = Place(HIDDEN)


class Places:
    """
    The places of one client.

    :param rights: of its user
    """

    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._named: dict[bytes, tuple[Root, Name]] = {}
        self._kept: dict[bytes, tuple[Directory, Place]] = {}
        self._epoch = -1
        self._stood: dict[bytes, bytes] = {}
        self._last: dict[bytes, bytes] = {}
        # of what is mounted inside a subtree: the root that the engine made of it, and where its mountpoint is
        self._joined: dict[bytes, Root] = {}
        self._above_joined: dict[bytes, tuple[bytes, bytes]] = {}

    def attach(self, tree: Tree, interest: Interest, directory: Callable[[bytes], Directory | None]) -> None:
        """The engine begins; see :class:`~fanotify_fastpath._engines.common.viewer.Viewer`."""
        self._tree = tree
        self._interest = interest
        self._directory = directory

    # --- what changes ---

    def name(self, root: Root, home: Name) -> None:
        """
        A root that the client has shown.

        :param root: its path is what the client calls it
        :param home: of a file: where it was found
        """
        self._named[root.key] = (root, home)
        self._joined.pop(root.key, None)
        self.forget()

    def unname(self, key: bytes) -> None:
        """The client has no such root any more."""
        self._named.pop(key, None)
        self._stood.pop(key, None)
        self._last.pop(key, None)
        self.forget()

    def moved_file(self, key: bytes, place: Name, path: bytes | None) -> None:
        """
        A root that is a file was renamed: that is where it is found from now on.

        :param path: of it; None if the user is not to know, and goes on to call it what it did
        """
        self._named[key] = self._named[key][0], place
        if path is not None:
            self._last[key] = path

    def stands(self, root: Root) -> None:
        """A root stands where it stands now: until it moves, the client's path is right."""
        node = self._directory(root.key) if root.is_dir else None
        if node is not None:
            self._stood[root.key] = _natural_path(node)
        if root.key not in self._named:
            self._joined[root.key] = root
            self._join(root)
        self.forget()

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved: what is mounted inside may be elsewhere, or gone."""
        for root in self._joined.values():
            self._join(root)
        self.forget()

    def forget(self) -> None:
        """Names or rights have changed."""
        self._kept.clear()

    # --- what is asked ---

    def of(self, key: bytes | None) -> Place:
        """Return the place of what lies in a directory."""
        node = None if key is None else self._tree.get(key)
        return OUTSIDE if node is None else self._settle(node)

    def of_directory(self, key: bytes | None) -> Place:
        """Return the place of a directory itself: its name lies in the one above."""
        node = None if key is None else self._tree.get(key)
        if node is None:
            return OUTSIDE
        above, name = self._above(node)
        return OUTSIDE if above is None else self._settle(above).entry(name)

    def of_root(self, key: bytes) -> Place:
        """Return the place of a root that the client has named, by itself."""
        root, _ = self._named[key]
        if not root.is_dir:
            return Place(_state(self._rights.may_use(key, is_dir=False)), self.last_path(key))
        node = self._tree.get(key)
        path = self.last_path(key) if node is None else self._path_of_root(node, self._of_above(node))
        return Place(_state(self._rights.may_enter(key)), path)

    def is_named(self, key: bytes) -> bool:
        """Tell whether the client has named a root of that identity."""
        return key in self._named

    def is_home(self, key: bytes, place: Name) -> bool:
        """Tell whether a place is that of a root itself, not of another name of a file."""
        root, home = self._named[key]
        return root.is_dir or place == home

    def on_filesystem(self, fsid: bytes) -> list[bytes]:
        """Return the paths of all roots on a filesystem that has just gone."""
        named = [self.last_path(key) for key in self._named if key[:FSID_BYTES] == fsid]
        joined = [root.path for key, root in self._joined.items() if key[:FSID_BYTES] == fsid]
        return named + [path for path in joined if self.may_descend(path, whole=False)]

    def may_descend(self, path: bytes, *, whole: bool) -> bool:
        """
        Tell whether the user may list and search all that leads from a root to what is mounted below it.

        :param path: begins with what the client calls the root
        :param whole: what is mounted there, too
        """
        above = [root for root, _ in self._named.values() if path.startswith(_join(root.path, b""))]
        if not above:
            return False
        root = max(above, key=lambda each: len(each.path))
        names = path[len(_join(root.path, b"")) :].split(b"/")
        return self._rights.may_descend(root.key, names if whole else names[:-1])

    def last_path(self, key: bytes) -> bytes:
        """Return the path by which a root was told last."""
        return self._last.get(key, self._named[key][0].path)

    def natural_path(self, key: bytes | None) -> bytes | None:
        """Return the path of a directory outside every root, if the user may list and search all that leads there."""
        node = None if key is None else self._tree.get(key)
        if node is None or not self._rights.may_enter(node.key):
            return None
        return _natural_path(node) if self._may_reach(node) else None

    # --- within ---

    def _settle(self, node: Directory) -> Place:
        """Find the highest directory whose place is not known, then go down from there."""
        if self._epoch != self._tree.epoch or len(self._kept) > _MAX_KEPT:
            self._kept.clear()
            self._epoch = self._tree.epoch
        ways: list[tuple[Directory, bytes]] = []
        place = OUTSIDE
        at: Directory | None = node
        while at is not None:
            kept = self._kept.get(at.key)
            if kept is not None and kept[0] is at:
                place = kept[1]
                break
            above, name = self._above(at)
            ways.append((at, name))
            at = above
        for each, name in reversed(ways):
            place = self._below(place, each, name)
            if place.state != UNSURE:
                self._kept[each.key] = (each, place)
        return place

    def _below(self, above: Place, node: Directory, name: bytes) -> Place:
        """The place of what lies in a directory, given that of what lies in the one above it."""
        is_root = node.key in self._named
        if above.state == HIDDEN and not is_root:
            return above
        state = _state(self._rights.may_enter(node.key))
        if state == HIDDEN:
            return Place(HIDDEN, hider=node.key)
        if is_root:
            is_marked = self._is_marked(node.key)
            if is_marked or above.state != SHOWN or not above.is_marked:
                return Place(state, self._path_of_root(node, above), is_marked)
        return above.entry(name)._replace(state=min(state, above.state))

    def _above(self, node: Directory) -> tuple[Directory | None, bytes]:
        """The directory above, also above a mountpoint, and the name in it."""
        place = self._above_joined.get(node.key)
        if place is not None:
            return self._directory(place[0]), place[1]
        return node.parent, node.name

    def _of_above(self, node: Directory) -> Place:
        above, _ = self._above(node)
        return OUTSIDE if above is None else self._settle(above)

    def _is_marked(self, key: bytes) -> bool:
        """Tell whether that is a root of a marked set."""
        for mark in self._interest.marks:
            if mark.scope is Scope.SUBTREE and mark.roots.points.get(key, (None, False))[1]:
                return True
        return False

    def _path_of_root(self, node: Directory, above: Place) -> bytes:
        """What the client calls a root: as it said, until the root moves."""
        path = self._named[node.key][0].path
        natural = _natural_path(node)
        if natural != self._stood.get(node.key, natural):
            if above.state == SHOWN and above.path is not None:
                path = _join(above.path, node.name)
            elif self._may_reach(node):
                path = natural
        self._last[node.key] = path
        return path

    def _may_reach(self, node: Directory) -> bool:
        """Tell whether the user may list and search every directory above one, up to ``/``."""
        while node.parent is not None:
            node = node.parent
            if not self._rights.may_enter(node.key):
                return False
        return self._rights.may_reach(node.name)

    def _join(self, root: Root) -> None:
        """Find the directory above a mountpoint inside a subtree. What is gone stays where it was."""
        mount = read_mounts().get(root.mount_id)
        if mount is not None:
            with contextlib.suppress(FastpathError):
                above, name = os.path.split(mount.mountpoint)
                self._above_joined[root.key] = identify(above).key, name


def _state(answer: bool | None) -> int:
    return UNSURE if answer is None else SHOWN if answer else HIDDEN


def _natural_path(node: Directory) -> bytes:
    """The path below the mountpoint, whatever clients call the roots on the way."""
    names = []
    while node.parent is not None:
        names.append(node.name)
        node = node.parent
    return _join(node.name, b"/".join(reversed(names))) if names else node.name


def _join(path: bytes, name: bytes) -> bytes:
    return path + name if path.endswith(b"/") else path + b"/" + name
