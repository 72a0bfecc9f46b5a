"""What tests of views share: a group that is held for a user, and what that user reads."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from children import in_child
from fanotify_fastpath import Mask
from fanotify_fastpath._bpf._abi import FpEvent, FpKind
from fanotify_fastpath._bpf.ring import RingReader
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._engines.kernel.viewers import View
from fanotify_fastpath._engines.kernel.viewing import Name, ViewedEngine
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.roots import Root, RootSet, identify

T = TypeVar("T")

RING_BYTES = 1 << 20
#: ordinary users, of whom the machine need not know
USER, OTHER_USER = 12345, 12346
GROUP, OTHER_GROUP = 23456, 23457
#: no process has that number
NOBODY_TGID = 2**32 - 1
ALL = Mask.ALL_CHANGES | Mask.OPEN | Mask.CLOSE | Mask.ACCESS | Mask.ONDIR


@dataclass(frozen=True)
class Shown:
    """A record, as far as tests look at it; numbers of roots stand in front of paths."""

    mask: Mask
    path: tuple[int, bytes]
    old_path: tuple[int, bytes]
    fields: FpEvent


class Held(Closing):
    """
    A group that is held for a user, with a set of roots (number 7) and a mark over it.

    :param roots: by the user's numbers
    :param without: exceptions
    """

    def __init__(
        self,
        roots: dict[int, Path],
        mask: Mask = ALL,
        *,
        view: View | None = None,
        without: Iterable[Path] = (),
    ) -> None:
        self.view = view or View(USER, USER)
        self.engine = ViewedEngine(self.view, RING_BYTES, merge=True)
        self.set = RootSet()
        self.engine.numbers = lambda: {self.set.set_id: 7}
        try:
            self._begin({number: identify(path) for number, path in roots.items()}, mask, without)
            self.reader = RingReader(self.engine.ring_fd, RING_BYTES)
        except BaseException:
            self.engine.close()
            raise
        # what this process does is left out, as whose the programs are: let it pass for another one
        self.engine._dispatcher._tables.set_own(NOBODY_TGID, 0, 0)

    def _begin(self, roots: dict[int, Root], mask: Mask, without: Iterable[Path]) -> None:
        for number, root in roots.items():
            self.engine.set_name(root.key, Name(number, of_mark=False))
            self.set.include(root)
        for path in without:
            self.set.exclude(identify(path))
        if roots:
            self.engine.add_mark(Mark(Scope.SUBTREE, mask, next(iter(roots.values())), self.set))

    def pass_for_ourselves(self) -> None:
        """Let what this process does be what it is."""
        self.engine._dispatcher._tables.set_own(os.getpid(), 0, 0)

    def mark_object(self, number: int, path: Path, mask: Mask) -> None:
        """Mark one object, by the user's number of the mark."""
        root = identify(path)
        self.engine.set_name(root.key, Name(number, of_mark=True))
        self.engine.add_mark(Mark(Scope.INODE, mask, root))

    def records(self) -> list[Shown]:
        """All that is in the ring."""
        shown = []
        while len(batch := self.reader.read_batch(4096)):
            for record in batch:
                fields = record.fields
                shown.append(
                    Shown(
                        Mask(fields.mask & ~int(Mask.ONDIR)),
                        (fields.mount_id, record.path),
                        (fields.reserved, record.old_path),
                        fields,
                    )
                )
        return shown

    def paths(self) -> list[bytes]:
        """The paths of the events in the ring, each once, in order."""
        events = [each for each in self.records() if each.fields.kind == FpKind.EVENT]
        return list(dict.fromkeys(each.path[1] for each in events))

    def close(self) -> None:
        """End it."""
        self.reader.close()
        self.engine.close()


def touch(path: Path) -> None:
    """Make a file, or change it."""
    with path.open("ab") as file:
        file.write(b"x")


def open_way(path: Path) -> Path:
    """Let every user search the way to *path*, as far as it is the tests' own."""
    for parent in path.parents:
        if "fanotify-fastpath" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o055)
    return path


def as_ids(function: Callable[[], T], uid: int, gid: int, groups: Iterable[int] = ()) -> T:
    """Run a function in a child with these ids."""

    def become() -> T:
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        return function()

    return in_child(become)
