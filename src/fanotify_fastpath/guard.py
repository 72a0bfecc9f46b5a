"""Forbidding: what may not be opened, read or executed below a directory, and by whom nevertheless."""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Literal

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._engines.fanotify.permission import Decide
from fanotify_fastpath._engines.fanotify.permission.rule import GuardRule
from fanotify_fastpath.errors import FastpathError, InvalidArgument
from fanotify_fastpath.events import Event
from fanotify_fastpath.group import Group
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import PathOrFd, Root


class Guard(Closing):
    """
    What :func:`guard` returns: iterate over it for the attempts that were denied.

    :ivar group: the group behind it
    """

    def __init__(self, group: Group, mark: Mark) -> None:
        self.group = group
        self._mark = mark

    def add_root(self, target: PathOrFd) -> Root:
        """Guard one more directory or file, from when this returns."""
        return self.group.add_root(target, self._mark)

    def remove_root(self, target: PathOrFd) -> None:
        """Stop guarding one."""
        self.group.remove_root(target, self._mark)

    def read(self, timeout_s: float | None = None) -> list[Event]:
        """
        Wait for denied attempts and return them.

        :param timeout_s: seconds to wait; None waits for ever
        """
        return self.group.read(timeout_s=timeout_s)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.group)

    def __aiter__(self) -> AsyncIterator[Event]:
        return aiter(self.group)

    def fileno(self) -> int:
        """A descriptor that polls as readable when events wait."""
        return self.group.fileno()

    def close(self) -> None:
        """Stop guarding: all is allowed again when this returns."""
        self.group.close()


def guard(
    *paths: PathOrFd,
    deny: Mask = Mask.OPEN_PERM | Mask.OPEN_EXEC_PERM,
    decide: Decide | None = None,
    allow_uids: Iterable[int] = (),
    allow_exes: Iterable["str | bytes | os.PathLike[str] | os.PathLike[bytes]"] = (),
    exclude: Iterable[PathOrFd] = (),
    timeout_s: float = 2.0,
    on_timeout: Literal["allow", "deny"] = "allow",
) -> Guard:
    """
    Forbid operations on everything below *paths*, and return the attempts.

    Never refused are this process, process 1 and kernel threads. Files that are open already stay open; deleting,
    renaming and changing permissions are not opening, and no permission event forbids them.

    :param paths: directories or files
    :param deny: what is forbidden: permission events; with ``Mask.ONDIR`` on directories too
    :param decide: asked instead of denying outright; returns True to allow, False to deny, or a verdict. It runs in a
        thread
        of its own and may use the files that it decides about
    :param allow_uids: effective user ids of those who may
    :param allow_exes: executables that may, by path; it is the file there that counts, not its name
    :param exclude: directories or files below *paths* that are not guarded
    :param timeout_s: seconds after which an operation that *decide* has not decided about goes on
    :param on_timeout: how: ``"allow"`` or ``"deny"``
    :return: an iterator over denied attempts and those that nobody decided about in time; also a context manager
    :raises InvalidArgument: *deny* has other than permission events
    :raises PathNotFound: no such path
    :raises NotPermitted: CAP_SYS_ADMIN is missing
    :raises UnsupportedFilesystem: the filesystem cannot be guarded
    """
    if not paths:
        raise InvalidArgument("nothing to guard: give at least one path")
    if not deny & Mask.ALL_PERM or deny & ~(Mask.ALL_PERM | EVENT_FLAGS):
        raise InvalidArgument(f"{deny!r} is not a mask of permission events; OPEN_PERM | OPEN_EXEC_PERM, for example")
    group = Group(decide=decide, timeout_s=timeout_s, on_timeout=on_timeout)
    try:
        exes = [os.path.abspath(os.fsencode(path)) for path in allow_exes]
        mode = "deny" if decide is None else "ask"
        group.attach(GuardRule, mode=mode, uids=list(allow_uids), executables=exes)
        mark = group.mark(paths[0], deny, scope=Scope.SUBTREE, exclude=exclude)
        for path in paths[1:]:
            group.add_root(path, mark)
    except FastpathError:
        group.close()
        raise
    return Guard(group, mark)
