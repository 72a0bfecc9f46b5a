"""Forbidding: what may not be opened, read or executed below a directory, and by whom nevertheless."""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Literal

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._engines.choose import TAKES_PRIVILEGE
from fanotify_fastpath._engines.fanotify.permission import Decide
from fanotify_fastpath._engines.fanotify.permission.rule import GuardRule
from fanotify_fastpath.errors import InvalidArgument, NotPermitted, UnsupportedFeature
from fanotify_fastpath.events import Event
from fanotify_fastpath.group import EngineName, Group
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import EVENT_FLAGS, Mask, mask_names
from fanotify_fastpath.roots import PathOrFd, Root


class Guard(Closing):
    """
    What :func:`guard` returns: iterate over it for the attempts that were denied; of those that were denied in the
    kernel there is only the number, ``group.counters.n_denied``.

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
    engine: EngineName = "auto",
) -> Guard:
    """
    Forbid operations on everything below *paths*, and return the attempts.

    Never refused are this process, process 1 and kernel threads. With engine ``fanotify`` files that are open already
    stay open, and deleting, renaming and the like are not forbidden. Engine ``kernel`` can forbid these too, asks
    nobody, and only counts the attempts.

    :param paths: directories or files
    :param deny: what is forbidden: permission events; with ``Mask.ONDIR`` on directories too
    :param decide: asked instead of denying outright; returns True to allow, False to deny, or a verdict. It runs in a
        thread
        of its own and may use the files that it decides about
    :param allow_uids: effective user ids of those who may
    :param allow_exes: executables that may, by path; it is the file there that counts, not its name
    :param exclude: directories or files below *paths* that are not guarded
    :param timeout_s: seconds after which an operation that *decide* has not decided about goes on
    :param on_timeout: how: ``"allow"`` or ``"deny"``; also where it cannot be told whether something is below *paths*
    :param engine: ``"kernel"`` denies in the kernel, unless *decide* must be asked; ``"auto"`` does so when *deny* has
        something of ``Mask.ALL_CHANGES_PERM``
    :return: an iterator over denied attempts and those that nobody decided about in time; also a context manager
    :raises InvalidArgument: *deny* has other than permission events
    :raises UnsupportedFeature: the engine, or this kernel, cannot deny that
    :raises PathNotFound: no such path
    :raises NotPermitted: CAP_SYS_ADMIN is missing; or *engine* is ``"daemon"``, which denies nothing
    :raises UnsupportedFilesystem: the filesystem cannot be guarded
    """
    if not paths:
        raise InvalidArgument("nothing to guard: give at least one path")
    if engine == "daemon":
        raise NotPermitted(f"cannot guard {paths[0]!r}: the daemon denies nothing; {TAKES_PRIVILEGE}")
    known = Mask.ALL_PERM | Mask.ALL_CHANGES_PERM
    if not deny & known or deny & ~(known | EVENT_FLAGS):
        raise InvalidArgument(f"{deny!r} is not a mask of permission events; OPEN_PERM | OPEN_EXEC_PERM, for example")
    exes = [os.path.abspath(os.fsencode(path)) for path in allow_exes]
    in_kernel = _is_for_kernel(deny, engine, decide)
    if engine == "auto":
        engine = "kernel" if in_kernel else "fanotify"
    group = Group(engine=engine, decide=decide, timeout_s=timeout_s, on_timeout=on_timeout)
    try:
        if in_kernel:
            mark = group.forbid(
                paths[0], deny, exclude=exclude, allow_uids=allow_uids, allow_exes=exes, on_undecided=on_timeout
            )
        else:
            mode = "deny" if decide is None else "ask"
            group.attach(GuardRule, mode=mode, uids=list(allow_uids), executables=exes)
            mark = group.mark(paths[0], deny, scope=Scope.SUBTREE, exclude=exclude)
        for path in paths[1:]:
            group.add_root(path, mark)
    except BaseException:
        group.close()
        raise
    return Guard(group, mark)


def _is_for_kernel(deny: Mask, engine: EngineName, decide: Decide | None) -> bool:
    """
    Tell whether it is denied in the kernel; otherwise fanotify's permission events are answered.

    :raises UnsupportedFeature: neither can be
    """
    changes = deny & Mask.ALL_CHANGES_PERM
    names = ", ".join(mask_names(changes))
    if changes and engine == "fanotify":
        raise UnsupportedFeature(
            f"engine fanotify cannot deny {names}: fanotify has no such events; use engine='kernel'"
        )
    if changes and decide is not None:
        raise UnsupportedFeature(f"decide cannot be asked about {names}: the kernel engine denies them without asking")
    is_for_kernel = decide is None and (engine == "kernel" or bool(changes))
    if is_for_kernel and deny & Mask.PRE_ACCESS:
        raise UnsupportedFeature("pre_access is not denied in the kernel; use engine='fanotify' for it, or access_perm")
    return is_for_kernel
