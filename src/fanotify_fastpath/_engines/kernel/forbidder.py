"""What one group denies in the kernel: its marks, brought to the dispatcher's tables. Nobody in user space is asked."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from fanotify_fastpath._bpf._abi import FpDeny, FpGuardFlag, FpKey
from fanotify_fastpath._bpf.maps import Map, MapType
from fanotify_fastpath._engines.kernel.dispatcher import Dispatcher
from fanotify_fastpath._engines.kernel.plan import Installed, Plan
from fanotify_fastpath._programs.state_maps import StateInMap
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import FastpathError, InvalidArgument, KernelRefused, PathNotFound
from fanotify_fastpath.marks import DenyingMark, Mark
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, Root
from fanotify_fastpath.state import MapStorage

#: what can be denied in the kernel
DENIABLE: Final = Mask.OPEN_PERM | Mask.OPEN_EXEC_PERM | Mask.ACCESS_PERM | Mask.ALL_CHANGES_PERM
_OPERATIONS: Final = {
    Mask.OPEN_PERM: FpDeny.DENY_OPEN,
    Mask.OPEN_EXEC_PERM: FpDeny.DENY_EXEC,
    Mask.ACCESS_PERM: FpDeny.DENY_ACCESS,
    Mask.CREATE_PERM: FpDeny.DENY_CREATE,
    Mask.MKDIR_PERM: FpDeny.DENY_MKDIR,
    Mask.UNLINK_PERM: FpDeny.DENY_UNLINK,
    Mask.RMDIR_PERM: FpDeny.DENY_RMDIR,
    Mask.RENAME_PERM: FpDeny.DENY_RENAME,
    Mask.LINK_PERM: FpDeny.DENY_LINK,
    Mask.SYMLINK_PERM: FpDeny.DENY_SYMLINK,
    Mask.SETATTR_PERM: FpDeny.DENY_SETATTR,
    Mask.TRUNCATE_PERM: FpDeny.DENY_TRUNCATE,
}
#: with ``ONDIR``
_ON_DIRECTORIES: Final = {Mask.OPEN_PERM: FpDeny.DENY_OPEN_DIR, Mask.ACCESS_PERM: FpDeny.DENY_ACCESS_DIR}


def operations_of(mask: Mask) -> int:
    """Turn a mask into operations of ``enum fp_deny``."""
    operations = sum(int(operation) for event, operation in _OPERATIONS.items() if mask & event)
    if mask & Mask.ONDIR:
        operations += sum(operation for event, operation in _ON_DIRECTORIES.items() if mask & event)
    return operations


class Forbidder:
    """
    Takes marks that deny (:class:`~fanotify_fastpath._engines.base.MarkingEngine`).

    :param plan: brings their root sets to the programs
    :param know: sees to it that the filesystem of a root is known
    :param locked: takes the group's lock
    :param attend: sees to it that the group's records are read also while nobody waits for events
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        plan: Plan,
        know: Callable[[Root, int], None],
        locked: Callable[[], AbstractContextManager[None]],
        attend: Callable[[], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._plan = plan
        self._know = know
        self._locked = locked
        self._attend = attend
        self._marks: list[DenyingMark] = []
        #: of marks that are gone
        self._n_denied = 0
        self._n_undecided = 0

    def try_all(self) -> str:
        """
        Attach all hooks for a moment, and tell what they are.

        :raises UnsupportedFeature: one that is needed cannot be attached
        """
        return self._dispatcher.denials.try_hooks()

    @property
    def sets(self) -> list[Installed]:
        """The root sets, as the programs have them."""
        return list(self._plan.sets.values())

    def add_mark(self, mark: Mark) -> None:
        """
        Deny what *mark* says, from when this returns; on an error nothing has changed.

        :raises UnsupportedFeature: one of the operations cannot be denied here
        :raises KernelRefused: a root cannot be told to the programs
        """
        if not isinstance(mark, DenyingMark):
            raise InvalidArgument(f"{mark!r} is no mark that denies")
        with self._locked():
            exceptions, lists = list(self._exceptions_of(mark)), _lists_of(mark)
            self._marks.append(mark)
            try:
                self._bring(mark)
                slot = self._plan.sets[mark.roots.set_id].slot
                self._dispatcher.denials.forbid(slot, operations_of(mark.mask), _flags_of(mark), exceptions, lists)
            except BaseException:
                self.remove_mark(mark)
                raise
            mark.roots.on_change(self.refresh)
            self._attend()

    def remove_mark(self, mark: Mark) -> None:
        """Deny it no more."""
        with self._locked():
            if isinstance(mark, DenyingMark) and mark in self._marks:
                self._marks.remove(mark)
                mark.roots.off_change(self.refresh)
                installed = self._plan.sets.get(mark.roots.set_id)
                if installed is not None:
                    self._dispatcher.denials.allow(installed.slot)
                    self._n_denied += self._dispatcher.denials.n_denied(installed.slot)
                    self._n_undecided += self._dispatcher.denials.n_undecided(installed.slot)
                self.refresh()

    def add_root(self, mark: Mark, root: Root) -> None:
        """Deny it below one more root, from when this returns."""
        with self._locked():
            self._know(root, 0)
            mark.roots.include(root)
            if not self._has(mark, root.key):
                mark.roots.discard(root.key)
                raise _untold(root)

    def use_chain(self, chain: Chain) -> None:
        """No handler is asked."""

    def catch_up(self) -> None:
        """Nothing is decided later than it happens."""

    def refresh(self) -> None:
        """Root sets have changed: the programs are to know."""
        with self._locked():
            self._plan.update({mark.roots: 0 for mark in self._marks})

    def lose_filesystem(self, fsid: bytes) -> None:
        """A filesystem was unmounted: its roots are gone."""
        for mark in self._marks:
            for root in mark.roots.roots:
                if root.key[:FSID_BYTES] == fsid:
                    mark.roots.discard(root.key)

    @property
    def n_denied_undecided(self) -> tuple[int, int]:
        """How many attempts were denied, and of how many it could not be told whether they were inside."""
        n_denied, n_undecided = self._n_denied, self._n_undecided
        for installed in self._plan.sets.values():
            n_denied += self._dispatcher.denials.n_denied(installed.slot)
            n_undecided += self._dispatcher.denials.n_undecided(installed.slot)
        return n_denied, n_undecided

    def close(self) -> None:
        """Deny nothing any more."""
        for mark in list(self._marks):
            self.remove_mark(mark)

    def _bring(self, mark: DenyingMark) -> None:
        points = mark.roots.points.values()
        for root, _ in points:
            self._know(root, 0)
        self.refresh()
        for root, _ in points:
            if not self._has(mark, root.key):
                raise _untold(root)

    def _has(self, mark: Mark, key: bytes) -> bool:
        return key in self._plan.sets[mark.roots.set_id].points

    def _exceptions_of(self, mark: DenyingMark) -> Iterator[FpKey]:
        for uid in mark.uids:
            yield FpKey(uid, 0, 0)
        for path in mark.executables:
            yield self._key_of_executable(path)

    def _key_of_executable(self, path: bytes) -> FpKey:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as exc:
            raise PathNotFound(f"cannot except {os.fsdecode(path)!r}: {exc.strerror}", exc.errno, path) from None
        try:
            return self._dispatcher.inspect(fd).key
        finally:
            os.close(fd)


def _flags_of(mark: DenyingMark) -> int:
    flags = int(FpGuardFlag.DENY_UNDECIDED) if mark.denies_undecided else 0
    flags |= FpGuardFlag.EXCEPTS_UIDS if mark.uids else 0
    flags |= FpGuardFlag.EXCEPTS_EXES if mark.executables else 0
    return flags | sum(_lists_of(mark))


def _lists_of(mark: DenyingMark) -> dict[FpGuardFlag, Map]:
    found = {FpGuardFlag.ONLY_PROCESSES: (mark.processes, 1), FpGuardFlag.ONLY_OBJECTS: (mark.objects, 2)}
    return {flag: _map_of(state, n_words) for flag, (state, n_words) in found.items() if state is not None}


def _map_of(state: MapStorage, n_words: int) -> Map:
    """The map in the kernel behind a handler's state."""
    if not isinstance(state, StateInMap):
        raise InvalidArgument(
            "a list of what is denied is not kept in the kernel; attach its handler to a group on engine kernel, "
            "and see its attachment's obstacle"
        )
    if (state.map.map_type, state.map.key_size_bytes) != (MapType.HASH, 8 * n_words):
        raise InvalidArgument(f"a list of what is denied has keys of {n_words} integers here, and evicts nothing")
    return state.map


def _untold(root: Root) -> FastpathError:
    return KernelRefused(
        f"cannot guard {os.fsdecode(root.path)!r}: it is gone, or there is no room for it", path=root.path
    )
