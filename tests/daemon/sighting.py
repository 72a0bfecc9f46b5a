"""A user's view of a group on engine fanotify, without a daemon; and other processes that make the events."""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from children import in_child
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._daemon.access import Credentials, check_root
from fanotify_fastpath._daemon.seeing import Sight
from fanotify_fastpath._engines.common.viewer import Seen
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath.events import Event
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root, RootSet, identify
from scenarios import actions
from scenarios.support import Other, told

DEADLINE_S = 15.0
#: who views; a supplementary group of theirs; and somebody else
USER, GROUP, STRANGER = 12345, 12399, 12346
EVERYTHING = Mask.ALL_CHANGES | Mask.ONDIR

_ACL_VERSION = 2
_ACL_USER_OBJ, _ACL_USER, _ACL_GROUP_OBJ, _ACL_MASK, _ACL_OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_ACL_NO_ID = 0xFFFFFFFF


def acl_for(uid: int, permissions: int, *, owner: int = 7, group: int = 0, others: int = 0) -> bytes:
    """The access control list, as the kernel takes it in an extended attribute, that gives one more user rights."""
    entries = [
        (_ACL_USER_OBJ, owner, _ACL_NO_ID),
        (_ACL_USER, permissions, uid),
        (_ACL_GROUP_OBJ, group, _ACL_NO_ID),
        (_ACL_MASK, 7, _ACL_NO_ID),
        (_ACL_OTHER, others, _ACL_NO_ID),
    ]
    return struct.pack("<I", _ACL_VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL_NAME = "system.posix_acl_access"


def can_list(user: Credentials, root: Path, directory: Path) -> bool:
    """
    Whether a user who has *root* open gets to *directory* by opening one directory after the other and may list it:
    tried by a process that has become that user.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    names = [os.fsencode(name) for name in directory.relative_to(root).parts]

    def attempt() -> bool:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        at = fd
        for name in [b".", *names]:
            try:
                at = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
                os.listdir(at)
                os.stat(b"..", dir_fd=at)  # may be searched
            except PermissionError:
                return False
        return True

    try:
        return in_child(attempt)
    finally:
        os.close(fd)


@contextmanager
def acting(user: Credentials | None = None) -> Iterator[Other]:
    """Another process that does what it is told, as *user*; None: as root."""
    with Other() as process:
        if user is not None:
            process(os.setgroups, list(user.groups))
            process(os.setresgid, user.gid, user.gid, user.gid)
            process(os.setresuid, user.uid, user.uid, user.uid)
        yield process


class View(Closing):
    """
    A group whose events one user sees.

    :param user: the user
    :param fences: an empty directory that everybody may list, for events by which the end is known
    :param root: a process of root, who makes those
    """

    _n_fences = 0

    def __init__(self, user: Credentials, fences: Path, root: Other, *, own_tgid: int = 0, **options: Any) -> None:
        self.user = user
        self.sight = Sight(user, own_tgid)
        settings: dict[str, Any] = {"include_self": False, "follow_submounts": True, "max_queued": 1 << 20, **options}
        self.engine = FanotifyEngine(**settings, viewer=self.sight)
        self._fences, self._root = fences, root
        self.watch(fences, Mask.CREATE)

    def watch(
        self, path: Path, events: Mask = EVERYTHING, *, called: str | None = None, exclude: Iterable[Path] = ()
    ) -> Mark:
        """Watch a subtree as the user, who calls its root by its path, or as *called*."""
        mark = Mark(Scope.SUBTREE, events, identify(path), RootSet(exclude=exclude))
        root = self.prove(path, called)
        mark.root = root
        mark.roots.include(root)
        self.engine.add_mark(mark)
        return mark

    def watch_object(self, path: Path, events: Mask, *, called: str | None = None) -> Mark:
        """Watch one object as the user."""
        mark = Mark(Scope.INODE, events, self.prove(path, called))
        self.engine.add_mark(mark)
        return mark

    def prove(self, path: Path, called: str | None = None) -> Root:
        """Show that the user has access, as a client does; return the root with the user's name for it."""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            check_root(fd, self.user)
            return self.sight.name(identify(fd), os.fsencode(called or path))
        finally:
            os.close(fd)

    def hear(self) -> list[Event]:
        """Return the events since the last call."""
        View._n_fences += 1
        name = b"fence-%d-" % View._n_fences
        self._root(actions.touch, os.fsencode(self._fences) + b"/" + name)
        heard: list[Event] = []
        while not any(event.raw_path is not None and event.raw_path.endswith(name) for event in heard):
            batch = self.engine.read(100_000, DEADLINE_S)
            assert batch, f"nothing heard, but not yet {name!r}; heard {heard[-20:]}"
            heard += batch
        assert all(isinstance(event, Seen) for event in heard)
        return [event for event in heard if event.raw_path is None or b"/fence-" not in event.raw_path]

    def told(self, below: Path) -> dict[str, Mask]:
        """What is heard about each path, relative to *below*."""
        return told(self.hear(), below)

    def close(self) -> None:
        self.engine.close()


def listable(user: Credentials, root: Path) -> set[str]:
    """
    The directories that a user gets to who has *root* open, and may list and search: relative to it, by trying.
    """
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)

    def attempt() -> set[str]:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        found: set[str] = set()

        def visit(above_fd: int, name: str, path: str) -> None:
            try:
                at = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above_fd)
            except (PermissionError, NotADirectoryError):
                return
            try:
                os.stat("..", dir_fd=at)
                found.add(path)
                for below in os.listdir(at):
                    visit(at, below, os.path.join(path, below))
            except PermissionError:
                return
            finally:
                os.close(at)

        visit(fd, ".", "")
        return found

    try:
        return in_child(attempt)
    finally:
        os.close(fd)
