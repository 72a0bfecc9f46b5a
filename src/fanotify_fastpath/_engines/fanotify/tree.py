"""
Where directories are: a model of the watched filesystems' directory trees, as far as events have touched them.

The model follows the *stream*: a directory stands where it stood when the event now being processed happened. A
directory is known by identity; its place is a link to its parent and a name, so renaming a directory moves all below
it at once.
What follows from the place (path, which root sets it is in) is computed on demand and kept until something moves.
"""

from collections.abc import Iterable
from typing import Final

from fanotify_fastpath._engines.fanotify.raw import Place
from fanotify_fastpath.roots import Root, RootSet

Inside = frozenset[int]
NOWHERE: Final[Inside] = frozenset()


class Directory:
    """
    One directory of the model.

    :ivar key: filesystem id and file handle
    :ivar parent: the directory above; None for the top of a mount
    :ivar name: name in its parent; for a top the path of the mountpoint
    :ivar path: absolute path (valid while ``epoch`` is the tree's)
    :ivar inside: ids of the root sets whose subtree it is in (likewise)
    :ivar remembered_ns: when an ignore mark was put on it, 0 if none
    :ivar is_gone: it was removed; kept a while for records that come late
    """

    __slots__ = (
        "epoch",
        "inside",
        "is_gone",
        "key",
        "name",
        "parent",
        "path",
        "remembered_ns",
        "want_dir",
        "want_file",
    )

    def __init__(self, key: bytes, parent: "Directory | None", name: bytes) -> None:
        self.key = key
        self.parent = parent
        self.name = name
        self.epoch = -1
        self.path = b""
        self.inside = NOWHERE
        self.want_file = 0
        self.want_dir = 0
        self.remembered_ns = 0
        self.is_gone = False

    def child_path(self, name: bytes) -> bytes:
        """Absolute path of *name* in this directory."""
        return self.path + name if self.path == b"/" else self.path + b"/" + name


class Tree:
    """
    The model of all watched filesystems of one engine.

    :param max_directories: past this, everything but the tops is forgotten, and found again on need
    """

    def __init__(self, max_directories: int = 1 << 18) -> None:
        self._max = max_directories
        self._nodes: dict[bytes, Directory] = {}
        self._tops: dict[bytes, Directory] = {}
        self._graves: list[Directory] = []
        self._old_graves: list[Directory] = []
        self._sets: list[RootSet] = []
        self._points: list[dict[bytes, tuple[Root, bool]]] = []
        self._anchors: dict[bytes, tuple[bytes, bytes]] = {}
        self._places: dict[Place, bytes] = {}
        self.epoch = 0

    def get(self, key: bytes) -> Directory | None:
        """Return the directory of that identity, if it is known."""
        return self._nodes.get(key)

    def add_top(self, key: bytes, path: bytes) -> Directory:
        """Add the directory at a mountpoint, or one whose parents are not to be had."""
        top = self._nodes.get(key)
        if top is None:
            top = self._nodes[key] = self._tops[key] = Directory(key, None, path)
        elif top.parent is not None or top.name != path:
            top.parent, top.name = None, path
            self.epoch += 1
        self._tops[key] = top
        return top

    def add(self, key: bytes, parent: Directory, name: bytes) -> Directory:
        """Add a directory below one that is known."""
        if len(self._nodes) >= self._max:
            self.forget()
        node = self._nodes[key] = Directory(key, parent, name)
        self._places[parent.key, name] = key
        return node

    def created(self, key: bytes, parent: Directory, name: bytes) -> None:
        """A directory was made. A known one of that identity is the same, unless it was removed before."""
        node = self._nodes.get(key)
        if node is None or node.is_gone:
            self.add(key, parent, name)

    def move(self, key: bytes, parent: Directory | None, name: bytes) -> None:
        """A directory was renamed. With *parent* None its new place is unknown, and it is forgotten."""
        node = self._nodes.get(key)
        self.epoch += 1
        if node is None:
            return
        above = parent
        while above is not None and above is not node:
            above = above.parent
        self._leave_place(node)
        if parent is None or above is node:  # merged renames can seem to make a cycle: look it up anew
            del self._nodes[key]
            return
        node.parent, node.name = parent, name
        self._places[parent.key, name] = key

    def directory_at(self, place: Place) -> bytes | None:
        """Return the directory that stands at a place, if it is known."""
        return self._places.get(place)

    def _leave_place(self, node: Directory) -> None:
        if node.parent is not None and self._places.get((node.parent.key, node.name)) == node.key:
            del self._places[node.parent.key, node.name]

    def is_elsewhere(self, key: bytes | None, parent_key: bytes | None, name: bytes | None) -> bool:
        """Tell whether the model has that directory in another place: then something about it was missed."""
        node = self._nodes.get(key or b"")
        return node is not None and node.parent is not None and (node.parent.key, node.name) != (parent_key, name)

    def remove(self, key: bytes) -> None:
        """A directory was removed. Records about it may still come; :meth:`bury` ends it."""
        node = self._nodes.get(key)
        if node is not None:
            node.is_gone = True
            self._graves.append(node)

    def bury(self) -> None:
        """
        Drop the directories that were removed before the previous call.

        Called after each emptying of the queue: a removal that was merged into an earlier record is followed by the
        last records about its directory in the same emptying or the next.
        """
        for node in self._old_graves:
            if node.is_gone and self._nodes.get(node.key) is node and node.key not in self._tops:
                self._leave_place(node)
                del self._nodes[node.key]
        self._old_graves, self._graves = self._graves, []

    def forget(self) -> None:
        """Forget every place; all is found again on need."""
        self._nodes = dict(self._tops)
        self._places = {place: key for place, key in self._places.items() if self.is_point(key)}
        self._graves.clear()
        self._old_graves.clear()
        self.epoch += 1

    def drop_top(self, key: bytes) -> None:
        """A mount is gone, and what was known of it."""
        self._tops.pop(key, None)
        self.forget()

    def use_sets(self, sets: Iterable[RootSet]) -> None:
        """From now on these root sets count, as they are at any moment. Call it again after each change of one."""
        self._sets = list(sets)
        self._points = [roots.points for roots in self._sets]
        self.epoch += 1

    def inside_of(self, inside: Inside, key: bytes | None) -> Inside:
        """Return which sets the object *key* is in, given which its directory is in."""
        if not self.is_point(key):
            return inside
        ids = set(inside)
        for roots in self._sets:
            point = roots.points.get(key or b"")
            if point is not None:
                (ids.add if point[1] else ids.discard)(roots.set_id)
        return frozenset(ids)

    def is_point(self, key: bytes | None) -> bool:
        """Tell whether that object is a root or an exception of some set."""
        for points in self._points:  # noqa: SIM110 (asked for every event: a generator would cost twice as much)
            if key in points:
                return True
        return False

    def root_of(self, key: bytes | None) -> Root | None:
        """Return the root of that identity, if it is one."""
        for roots in self._sets:
            point = roots.points.get(key or b"")
            if point is not None and point[1]:
                return point[0]
        return None

    def roots(self) -> list[tuple[bytes, Root]]:
        """Return the roots of all sets, with their identities."""
        return [(key, root) for roots in self._sets for key, (root, included) in list(roots.points.items()) if included]

    def anchor(self, node: Directory) -> None:
        """
        A root stands here when it becomes one. Its owner's path for it holds as long as it stands there; afterwards its
        path is that of the model.
        """
        root = self.root_of(node.key)
        if root is not None:
            self._anchors[node.key] = (self._natural_path(self.settle(node)), root.path)
            self.epoch += 1

    def root_at(self, place: Place) -> bytes | None:
        """Return the root that stands at a place."""
        key = self._places.get(place)
        return key if self.root_of(key) is not None else None

    def _natural_path(self, node: Directory) -> bytes:
        return node.name if node.parent is None else node.parent.child_path(node.name)

    def settle(self, node: Directory) -> Directory:
        """Make ``path`` and ``inside`` of *node* valid."""
        stale = []
        at: Directory | None = node
        while at is not None and at.epoch != self.epoch:
            stale.append(at)
            at = at.parent
        for directory in reversed(stale):
            parent = directory.parent
            if parent is None:
                directory.path, directory.inside = directory.name, NOWHERE
            else:
                directory.path, directory.inside = parent.child_path(directory.name), parent.inside
            if self.is_point(directory.key):
                directory.inside = self.inside_of(directory.inside, directory.key)
                natural, given = self._anchors.get(directory.key, (b"", b""))
                directory.path = given if natural == directory.path else directory.path
            directory.epoch = self.epoch
            directory.want_file = directory.want_dir = -1
        return node

    def __len__(self) -> int:
        return len(self._nodes)
