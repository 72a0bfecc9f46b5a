"""What a client has: root sets, roots and marks, by the client's own numbers, and as the engine knows them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fanotify_fastpath._daemon.account import ConnectionAccount, Resource
from fanotify_fastpath._daemon.points import Points
from fanotify_fastpath._engines.base import Engine
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import FastpathError, InvalidArgument
from fanotify_fastpath.handlers import Handler, HandlerEvent, HandlerFlags
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.registry import Registry
from fanotify_fastpath.roots import Root, RootSet
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, Verdict


@dataclass(eq=False)
class ClientSet:
    """
    One root set of a client.

    :ivar number: the client's
    :ivar roots: as the engine knows it, with what is mounted inside
    :ivar points: its roots and exceptions, by the client's numbers
    :ivar marks: by the client's number, those that are made over it; None: not before it has a root
    :ivar is_asked: events are to tell whether they lie in it, marked or not
    """

    number: int
    roots: RootSet = field(default_factory=RootSet)
    points: Points = field(default_factory=Points)
    marks: dict[int, tuple[Mask, Mark | None]] = field(default_factory=dict)
    is_asked: bool = False

    def __post_init__(self) -> None:
        self._changed = self.roots.track()

    def take_gone(self) -> dict[int, Root]:
        """Forget the roots that the engine has found to be gone; return them by their numbers."""
        if not self._changed:
            return {}
        keys = self._changed.copy()  # another thread may add to it
        self._changed -= keys
        return self.points.pop_all(keys - self.roots.points.keys())

    @property
    def is_used(self) -> bool:
        """Tell whether there is any reason to keep it."""
        return bool(self.points or self.marks or self.is_asked)


class Holdings:
    """
    The sets and marks of one client, held below its limits. What fails changes nothing.

    :param engine: of the client's group
    :param account: what is taken is charged to it
    :param unname: told of each object that is in none of the sets and marks any more
    """

    def __init__(self, engine: Engine, account: ConnectionAccount, unname: Callable[[bytes], None]) -> None:
        self._engine = engine
        self._account = account
        self._unname = unname
        self._chain = Chain(engine.refresh, engine.catch_up, Registry())
        engine.use_chain(self._chain)
        self.sets: dict[int, ClientSet] = {}
        self.objects: dict[int, Mark] = {}

    # --- roots ---

    def include(self, number: int, root_number: int, root: Root, *, included: bool) -> None:
        """
        Put a root or an exception into a set.

        :param number: of the set
        :param root_number: of the root
        :raises InvalidArgument: that number is in use
        :raises LimitReached: too many roots or sets
        :raises: as the engine does
        """
        with self._set(number) as each, self._charged(Resource.ROOTS):
            if root_number in each.points:
                raise InvalidArgument(f"root {root_number} is in set {number} already")
            before = each.roots.points.get(root.key)
            try:
                self._put(each, root, included)
            except BaseException:
                with contextlib.suppress(FastpathError, OSError):
                    self._put_back(each, root.key, before)
                raise
            each.points.add(root_number, root, included=included)

    def _put(self, each: ClientSet, root: Root, included: bool) -> None:
        if not included:
            each.roots.exclude(root)
            return
        in_force = [mark for _, mark in each.marks.values() if mark is not None]
        for mark in in_force:
            self._engine.add_root(mark, root)
        if not in_force:
            each.roots.include(root)
        for number, (mask, old) in each.marks.items():
            if old is None:
                each.marks[number] = (mask, self._add_mark(Mark(Scope.SUBTREE, mask, root, each.roots)))

    def _put_back(self, each: ClientSet, key: bytes, before: tuple[Root, bool] | None) -> None:
        if before is None:
            each.roots.discard(key)
        elif before[1]:
            each.roots.include(before[0])
        else:
            each.roots.exclude(before[0])

    def discard(self, number: int, root_number: int) -> None:
        """Take a root or an exception out of a set. One that is not there may have gone by itself a moment ago."""
        each = self.sets.get(number)
        if each is None or root_number not in each.points:
            return
        root = each.points[root_number]
        others = ((root, included) for other, included in each.points.at(root.key).items() if other != root_number)
        self._engine.catch_up()
        if root.key in each.roots.points:  # else it is gone
            self._put_back(each, root.key, next(others, None))
        if each.points.pop(root_number) is not None:
            self._account.give(Resource.ROOTS)
        self._forget_unused(each)
        self.forget_name(root.key)

    def take_gone(self) -> dict[int, bytes]:
        """Forget the roots that the engine has found to be gone; return what they are called by their numbers."""
        names: dict[int, bytes] = {}
        for each in list(self.sets.values()):
            gone = each.take_gone()
            if gone:
                names.update({number: root.path for number, root in gone.items()})
                self._account.give(Resource.ROOTS, len(gone))
                self._forget_unused(each)
                for root in gone.values():
                    self.forget_name(root.key)
        return names

    def forget_name(self, key: bytes) -> None:
        """Have the name of an object forgotten, unless something here still has it."""
        if not any(each.points.at(key) for each in self.sets.values()) and not any(
            mark.root.key == key for mark in self.objects.values()
        ):
            self._unname(key)

    # --- marks ---

    def mark(self, mark_number: int, mask: int, number: int) -> None:
        """
        Mark a set with scope subtree; where it has no root yet, from when it has one.

        :raises InvalidArgument: the number of the mark is in use
        :raises LimitReached: too many marks or sets
        :raises: as the engine does
        """
        self._check_free(mark_number)
        with self._set(number) as each, self._charged(Resource.MARKS):
            roots = each.roots.roots
            mark = self._add_mark(Mark(Scope.SUBTREE, Mask(mask), roots[0], each.roots)) if roots else None
            each.marks[mark_number] = (Mask(mask), mark)

    def mark_object(self, mark_number: int, mask: int, root: Root) -> None:
        """
        Mark one object with scope inode.

        :raises: as :meth:`mark`
        """
        self._check_free(mark_number)
        with self._charged(Resource.MARKS):
            self.objects[mark_number] = self._add_mark(Mark(Scope.INODE, Mask(mask), root))

    def unmark(self, mark_number: int) -> None:
        """
        Remove a mark.

        :raises InvalidArgument: there is none of that number
        """
        each = next((each for each in self.sets.values() if mark_number in each.marks), None)
        if each is None and mark_number not in self.objects:
            raise InvalidArgument(f"no mark has number {mark_number}")
        mark = self.objects[mark_number] if each is None else each.marks[mark_number][1]
        if mark is not None:
            self._engine.remove_mark(mark)
        self._account.give(Resource.MARKS)
        if each is None:
            self.forget_name(self.objects.pop(mark_number).root.key)
        else:
            del each.marks[mark_number]
            self._listen(each)
            self._forget_unused(each)

    def ask(self, numbers: Iterable[int]) -> None:
        """
        Have events tell of these sets, and of no others that are not marked.

        :raises LimitReached: too many sets
        """
        with contextlib.ExitStack() as exits:
            asked = [exits.enter_context(self._set(number)) for number in dict.fromkeys(numbers)]
            old = self._chain.attachments
            try:
                if asked:
                    self._chain.attach(_asking(tuple(each.roots for each in asked)), {})
                for attachment in old:
                    self._chain.detach(attachment)
                for each in self.sets.values():
                    each.is_asked = each in asked
            finally:
                for each in self.sets.values():
                    self._listen(each)
        for each in list(self.sets.values()):
            self._forget_unused(each)

    def numbers(self) -> dict[int, int]:
        """The client's numbers of its sets, by the engine's."""
        return {each.roots.set_id: number for number, each in self.sets.items()}

    @property
    def n_roots(self) -> int:
        """Roots and exceptions."""
        return sum(len(each.points) for each in list(self.sets.values()))

    @property
    def n_marks(self) -> int:
        """Marks of either scope."""
        return len(self.objects) + sum(len(each.marks) for each in list(self.sets.values()))

    # --- within ---

    @contextlib.contextmanager
    def _set(self, number: int) -> Iterator[ClientSet]:
        """A set, which comes into being by being used; it does not when that fails."""
        each = self.sets.get(number)
        if each is None:
            self._account.take(Resource.SETS)
            each = self.sets[number] = ClientSet(number)
        try:
            yield each
        except BaseException:
            self._forget_unused(each)
            raise

    @contextlib.contextmanager
    def _charged(self, resource: Resource) -> Iterator[None]:
        """Charge one to the account, unless what is done with it fails."""
        self._account.take(resource)
        try:
            yield
        except BaseException:
            self._account.give(resource)
            raise

    def _forget_unused(self, each: ClientSet) -> None:
        if not each.is_used and self.sets.pop(each.number, None) is not None:
            self._account.give(Resource.SETS)

    def _check_free(self, mark_number: int) -> None:
        if mark_number in self.objects or any(mark_number in each.marks for each in self.sets.values()):
            raise InvalidArgument(f"mark {mark_number} is there already")

    def _add_mark(self, mark: Mark) -> Mark:
        try:
            self._engine.add_mark(mark)
        except BaseException:
            with contextlib.suppress(FastpathError, OSError):
                self._engine.remove_mark(mark)
            raise
        return mark

    def _listen(self, each: ClientSet) -> None:
        """Marks and chain listen to a set under one name: when one of them ends that, the others must go on."""
        if each.is_asked or any(mark is not None for _, mark in each.marks.values()):
            each.roots.on_change(self._engine.refresh, self._engine.catch_up)


def _asking(sets: tuple[RootSet, ...]) -> type[Handler]:
    """A handler that sends everything, for its sets only: the engine watches them."""

    class Asking(Handler):
        name = "asking"
        flags = HandlerFlags.UNPRIVILEGED

        def handle(self, event: HandlerEvent) -> Verdict:
            return SEND_TO_USERSPACE

        def root_sets(self) -> tuple[RootSet, ...]:
            return sets

    return Asking
