"""The marks and root sets of one group, as the daemon has them; and bringing the daemon to what they are now."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from fanotify_fastpath._engines.common.devices import kernel_dev
from fanotify_fastpath._engines.daemon.objects import opened
from fanotify_fastpath._uapi.mountinfo import read_mounts
from fanotify_fastpath._wire.messages import SETS_MAX, Ask, Discard, Include, MarkObject, Unmark
from fanotify_fastpath._wire.messages import Mark as MarkSet
from fanotify_fastpath.errors import FastpathError, KernelRefused
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.roots import Root, RootSet

#: numbers whose names are kept
_NAMED_MAX: Final = 1 << 17


class Asker(Protocol):
    """What speaks to the daemon: :meth:`~fanotify_fastpath._engines.daemon.connection.Connection.ask`."""

    def __call__(self, kind: Callable[..., Any], fds: tuple[int, ...] = (), **fields: Any) -> None: ...


class Refusal(NamedTuple):
    """
    Something that the daemon does not take.

    :ivar roots: the set that the root is in; None: it is the object of a mark
    :ivar is_blind: nothing will be told from there; of an exception too much will
    """

    error: FastpathError
    root: Root
    roots: RootSet | None
    is_blind: bool


@dataclass(slots=True)
class _Point:
    """A root or an exception, as the daemon has it."""

    number: int
    root: Root
    is_included: bool


@dataclass(slots=True)
class _Held:
    """
    A root set, as the daemon has it.

    :ivar changed: identities of those that came, went or changed since
    """

    roots: RootSet
    number: int
    changed: set[bytes]
    points: dict[bytes, _Point] = field(default_factory=dict)


class Mirror:
    """What the daemon knows of one group."""

    def __init__(self) -> None:
        self._held: dict[RootSet, _Held] = {}
        # None: refused, and not tried again
        self._marks: dict[Mark, int | None] = {}
        self._asked: list[int] = []
        self._numbers: Iterator[int] = itertools.count(1)
        # by number: of roots and marks, also of those that are gone, for records may still tell of them
        self._named: dict[int, Root] = {}
        self._devs: dict[int, int] = {}
        self._gone: list[tuple[int, int]] = []
        # while it is told all anew, nobody can be told of what it does not take
        self._is_lenient = False
        self._refusals: list[Refusal] = []

    @property
    def sets(self) -> dict[int, int]:
        """Which bit tells of each root set, by its id."""
        return {held.roots.set_id: held.number for held in self._held.values()}

    def forget(self) -> None:
        """The daemon knows nothing any more."""
        for held in self._held.values():
            held.roots.untrack(held.changed)
        self._held.clear()
        self._marks.clear()
        self._asked = []
        self._gone = []

    def path_of(self, number: int) -> bytes | None:
        """The path by which a root or a marked object was named."""
        root = self._named.get(number)
        return None if root is None else root.path

    def on_filesystem(self, dev: int) -> dict[int, bytes]:
        """
        Return what is named on a filesystem that has just gone: paths by numbers.

        :param dev: the kernel's number of its device
        """
        held = {point.number for each in self._held.values() for point in each.points.values() if point.is_included}
        held |= {mark for mark in self._marks.values() if mark is not None}
        return {
            number: root.path
            for number, root in self._named.items()
            if number in held and self._devs.get(root.mount_id) == dev
        }

    def gone_filesystems(self) -> set[int]:
        """Return the kernel's numbers of devices that are mounted nowhere any more, though something there is held."""
        mounted = {kernel_dev(mount.dev) for mount in read_mounts().values()}
        held = {point.root.mount_id for each in self._held.values() for point in each.points.values()}
        return {self._devs[mount_id] for mount_id in held & self._devs.keys()} - mounted

    def _name(self, number: int, root: Root) -> None:
        if len(self._named) >= _NAMED_MAX:
            held = {point.number for each in self._held.values() for point in each.points.values()}
            held |= {mark for mark in self._marks.values() if mark is not None}
            self._named = {number: root for number, root in self._named.items() if number in held}
        self._named[number] = root
        if root.mount_id not in self._devs:
            self._devs = {mount_id: kernel_dev(mount.dev) for mount_id, mount in read_mounts().items()}

    def renew(self, ask: Asker, marks: list[Mark], asked: list[RootSet]) -> list[Refusal]:
        """
        Tell a daemon that knows nothing.

        :return: what it does not take; all else it has taken
        :raises ConnectionLost: it went away
        """
        self.forget()
        self._is_lenient = True
        try:
            self.update(ask, marks, asked)
        finally:
            self._is_lenient = False
        refusals, self._refusals = self._refusals, []
        return refusals

    def update(self, ask: Asker, marks: list[Mark], asked: list[RootSet]) -> None:
        """
        Bring the daemon to this; what it has already it is not told again.

        :param asked: the root sets of handlers
        :raises FastpathError: it refuses something; then some of it is done, and what was refused is not tried again
        :raises ConnectionLost: it went away
        """
        while self._gone:
            set_number, root_number = self._gone.pop()
            ask(Discard, set=set_number, root=root_number)
        for mark in [mark for mark in self._marks if mark not in marks]:
            number = self._marks.pop(mark)
            if number is not None:
                ask(Unmark, mark=number)
        wanted = [mark.roots for mark in marks if mark.scope is Scope.SUBTREE]
        for roots in [*wanted, *asked]:
            held = self._held.get(roots) or self._hold(roots)
            while held.changed:
                self._update_point(ask, held, held.changed.pop())
        for mark in marks:
            if mark not in self._marks:
                self._mark(ask, mark)
        self._ask_about(ask, sorted({self._held[roots].number for roots in asked if roots not in wanted}))
        for roots in [roots for roots in self._held if roots not in wanted and roots not in asked]:
            self._release(ask, self._held[roots])

    def root_gone(self, number: int, *, knows: bool = True) -> None:
        """
        It was told that a root is in no set any more: take it out of ours.

        :param knows: the daemon knows
        """
        for held in list(self._held.values()):
            for key, point in list(held.points.items()):
                if point.number == number:
                    del held.points[key]
                    held.roots.discard(key)
                    if not knows:
                        self._gone.append((held.number, number))

    def same_object(self, number: int) -> list[int]:
        """The numbers of all roots that are the same object as that one."""
        root = self._named.get(number)
        return [
            point.number
            for held in self._held.values()
            for point in held.points.values()
            if root is not None and point.root.key == root.key
        ]

    def _hold(self, roots: RootSet) -> _Held:
        taken = {held.number for held in self._held.values()}
        number = next((number for number in range(SETS_MAX) if number not in taken), None)
        if number is None:
            raise KernelRefused(f"a group has no more than {SETS_MAX} sets of roots: take marks or handlers off")
        held = self._held[roots] = _Held(roots, number, roots.track())
        return held

    def _release(self, ask: Asker, held: _Held) -> None:
        for point in held.points.values():
            ask(Discard, set=held.number, root=point.number)
        held.roots.untrack(held.changed)
        del self._held[held.roots]

    def _update_point(self, ask: Asker, held: _Held, key: bytes) -> None:
        now, old = held.roots.points.get(key), held.points.get(key)
        if old is not None and now == (old.root, old.is_included):
            return
        if old is not None:
            del held.points[key]
            ask(Discard, set=held.number, root=old.number)
        if now is not None:
            root, is_included = now
            point = _Point(next(self._numbers), root, is_included)
            with self._refusing(root, held.roots, is_blind=is_included):
                with opened(root, for_reading=is_included) as fd:
                    self._name(point.number, root)
                    fields = {"set": held.number, "root": point.number, "included": is_included, "path": root.path}
                    ask(Include, (fd,), **fields)
                held.points[key] = point

    def _mark(self, ask: Asker, mark: Mark) -> None:
        number, mask = next(self._numbers), int(mark.mask)
        self._marks[mark] = None
        self._name(number, mark.root)
        with self._refusing(mark.root, None):
            if mark.scope is Scope.SUBTREE:
                ask(MarkSet, mark=number, mask=mask, set=self._held[mark.roots].number)
            else:
                with opened(mark.root, for_reading=True) as fd:
                    ask(MarkObject, (fd,), mark=number, mask=mask, path=mark.root.path)
            self._marks[mark] = number

    def _ask_about(self, ask: Asker, numbers: list[int]) -> None:
        if numbers != self._asked:
            ask(Ask, sets=numbers)
            self._asked = numbers

    @contextlib.contextmanager
    def _refusing(self, root: Root, roots: RootSet | None, *, is_blind: bool = True) -> Iterator[None]:
        try:
            yield
        except FastpathError as exc:
            if not self._is_lenient:
                raise
            self._refusals.append(Refusal(exc, root, roots, is_blind))
