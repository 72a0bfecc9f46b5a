"""Groups: one listener with its marks, its handlers and its queue. Closing it undoes everything."""

import math
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Literal

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._engines.base import Counters, Engine, Forbidder, KernelCounters, MarkingEngine
from fanotify_fastpath._engines.choose import check_answers, forbidder_of, make_engine, needs_right
from fanotify_fastpath._engines.fanotify.permission import Decide, PermissionEngine, PermissionOptions
from fanotify_fastpath.chain import Attachment, Chain
from fanotify_fastpath.errors import Closed, InvalidArgument
from fanotify_fastpath.events import Event
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.marks import DenyingMark, Mark, Scope, check_mask, subtree_roots
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import PathOrFd, Root, RootSet, identify
from fanotify_fastpath.state import MapStorage

EngineName = Literal["auto", "kernel", "fanotify", "daemon"]
Submounts = Literal["follow", "skip"]
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_DENIABLE = Mask.OPEN_PERM | Mask.OPEN_EXEC_PERM | Mask.ACCESS_PERM | Mask.ALL_CHANGES_PERM
#: events that one turn of an iteration takes at most
_BATCH_MAX = 4096
#: events kept for a slow user; about 500 bytes each
DEFAULT_MAX_QUEUED = 1_000_000


class Group(Closing):
    """
    A listener. Iterate over it for events, synchronously or with ``async for``.

    :param engine: ``"auto"`` picks the best that works here; ``"daemon"`` is for users without privilege: ``fanfpd``
        watches for them
    :param submounts: whether what is mounted inside a subtree belongs to it
    :param include_self: report this process's own accesses too
    :param max_queued: events kept for a slow user; past it they are counted, and the count is an event in the stream
    :param with_tid: report threads as well as processes
    :param merge: of accesses and changes that say the same (object, name, types, process) one that waits unread is
        enough. Without it every one is told; engine ``fanotify`` cannot do without
    :param decide: for permission events that every handler sends: called with the event in a thread of its own, and
        returns a verdict, or True to allow and False to deny. It may use the filesystem that it decides about
    :param timeout_s: seconds after which an undecided permission event is answered anyway
    :param on_timeout: how: ``"allow"`` or ``"deny"``
    :raises UnsupportedFeature: the engine is not available here
    :raises NotPermitted: the kernel, or the daemon, refuses a group to this user
    :raises LimitReached: the daemon gives this user no more groups
    """

    def __init__(
        self,
        *,
        engine: EngineName = "auto",
        submounts: Submounts = "follow",
        include_self: bool = False,
        max_queued: int = DEFAULT_MAX_QUEUED,
        with_tid: bool = False,
        merge: bool = True,
        decide: Decide | None = None,
        timeout_s: float = 2.0,
        on_timeout: Literal["allow", "deny"] = "allow",
    ) -> None:
        if max_queued < 1:
            raise InvalidArgument(f"max_queued is {max_queued}; at least 1 event must fit")
        self._permission_options = PermissionOptions(decide, timeout_s, on_timeout)
        # the compiled engine takes no other types, what counts as a number or a truth for Python is well here
        self._engine: Engine = make_engine(
            engine,
            include_self=bool(include_self),
            submounts=submounts,
            max_queued=int(max_queued),
            with_tid=bool(with_tid),
            merge=bool(merge),
        )
        self._permission: PermissionEngine | None = None
        self._forbidder: Forbidder | None = None
        self._chain = Chain(self._refresh, self._catch_up, needs_right=needs_right(self._engine))
        self._engine.use_chain(self._chain)
        self._marks: dict[Mark, list[tuple[Mark, MarkingEngine]]] = {}
        self._is_closed = False

    # --- marks ---

    def mark(
        self,
        target: PathOrFd,
        events: Mask = Mask.ALL_CHANGES,
        *,
        scope: Scope = Scope.SUBTREE,
        exclude: Iterable[PathOrFd] = (),
    ) -> Mark:
        """
        Ask for events.

        :param target: a path, or an open descriptor (``O_PATH`` too; engine ``daemon`` opens it anew, by its path)
        :param events: event types; add ``Mask.ONDIR`` for events on directories, and with scope inode
            ``Mask.EVENT_ON_CHILD`` for what lies in the directory
        :param scope: how far it reaches
        :param exclude: for scope subtree: directories or files below *target* that do not belong
        :return: the mark, for :meth:`unmark`
        :raises InvalidArgument: the mask cannot be had in that scope
        :raises PathNotFound: no such path
        :raises NotPermitted: CAP_SYS_ADMIN is missing (all scopes but inode need it), and there is no daemon; or the
            daemon does not let this user watch there
        :raises UnsupportedFilesystem: this filesystem cannot be watched
        """
        self._check_open()
        check_mask(events, scope)
        root = identify(target)
        exclude = list(exclude)
        if exclude and scope is not Scope.SUBTREE:
            raise InvalidArgument(f"exclude belongs to scope subtree, not {scope.value}")
        roots = RootSet(exclude=exclude)
        if scope is Scope.SUBTREE:
            roots.include(root)
        mark = Mark(scope, events, root, roots)
        self._marks[mark] = parts = self._split(mark)
        try:
            for part, engine in parts:
                engine.add_mark(part)
        except BaseException:
            del self._marks[mark]
            raise
        return mark

    def forbid(
        self,
        target: PathOrFd,
        deny: Mask,
        *,
        exclude: Iterable[PathOrFd] = (),
        allow_uids: Iterable[int] = (),
        allow_exes: Iterable[Path] = (),
        on_undecided: Literal["allow", "deny"] = "allow",
        processes: MapStorage | None = None,
        objects: MapStorage | None = None,
    ) -> Mark:
        """
        Deny operations below *target* in the kernel, without asking anybody (engine ``kernel``).

        Nothing is told about what was denied but its number, :attr:`counters`.``n_denied``.

        :param target: a directory or file
        :param deny: ``OPEN_PERM``, ``OPEN_EXEC_PERM``, ``ACCESS_PERM`` and those of ``Mask.ALL_CHANGES_PERM``; with
            ``ONDIR`` directories may be neither opened (``OPEN_PERM``) nor listed (``ACCESS_PERM``) either
        :param exclude: directories or files below *target* that are free
        :param allow_uids: effective user ids of those who may
        :param allow_exes: executables that may, by path: the files that are there now
        :param on_undecided: what happens where it cannot be told whether something is below *target*
        :param processes: deny it only to processes whose ``tgid`` is a key of this state of a handler, as it is at that
            moment (a :class:`StateMap` that evicts nothing, of a handler that is asked in the kernel)
        :param objects: deny it only for objects whose ``(dev, inode)`` is a key of this state, likewise
        :return: the mark, for :meth:`unmark`, :meth:`add_root` and :meth:`remove_root`
        :raises InvalidArgument: *deny* has other events
        :raises UnsupportedFeature: the engine or the kernel cannot
        :raises PathNotFound: no such path
        """
        self._check_open()
        if not deny & _DENIABLE or deny & ~(_DENIABLE | EVENT_FLAGS):
            raise InvalidArgument(f"{deny!r} is not a mask of what can be denied in the kernel: {_DENIABLE!r}")
        if self._forbidder is None:
            self._forbidder = forbidder_of(self._engine)
        root = identify(target)
        roots = RootSet(exclude=exclude)
        roots.include(root)
        mark = DenyingMark(
            Scope.SUBTREE,
            deny,
            root,
            roots,
            frozenset(allow_uids),
            tuple(os.path.abspath(os.fsencode(path)) for path in allow_exes),
            on_undecided == "deny",
            processes,
            objects,
        )
        self._forbidder.add_mark(mark)
        self._marks[mark] = [(mark, self._forbidder)]
        return mark

    def unmark(self, mark: Mark) -> None:
        """
        Take a mark off.

        :raises InvalidArgument: it is no mark of this group
        """
        self._check_open()
        if mark not in self._marks:
            raise InvalidArgument("that is no mark of this group")
        for part, engine in self._marks.pop(mark):
            engine.remove_mark(part)

    def add_root(self, target: PathOrFd, mark: Mark | None = None) -> Root:
        """
        Watch one more subtree with the same mask; events flow from when this returns.

        :param target: path or descriptor
        :param mark: to which mark of scope subtree it is added; the first one by default
        :raises: as :meth:`mark`
        """
        self._check_open()
        mark = self._subtree_mark(mark)
        root = identify(target)
        for part, engine in self._marks[mark]:
            engine.add_root(part, root)
        return root

    def remove_root(self, target: PathOrFd, mark: Mark | None = None) -> None:
        """
        Stop watching a subtree.

        :param target: path (as it was given) or descriptor
        :param mark: of which mark; the first one by default
        :raises InvalidArgument: it is no root of that mark
        """
        self._check_open()
        self._subtree_mark(mark).roots.remove(target)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks, in the order in which they were added."""
        return tuple(self._marks)

    @property
    def roots(self) -> list[Root]:
        """The roots of all marks of scope subtree; those that are gone are no longer in it."""
        return subtree_roots(self._marks)

    # --- handlers ---

    def attach(self, handler: str | type[Handler], *, exclusive: bool = False, **arguments: Any) -> Attachment:
        """
        Put a handler at the end of the chain.

        :param handler: name of a registered one, or a class of one's own (private: it need not be registered)
        :param exclusive: refuse if the group has a handler, and let no other be attached
        :param arguments: the handler's arguments
        :return: the attachment; its ``handler`` may be changed while events flow
        :raises HandlerBusy: *exclusive*, and there is one already
        :raises HandlerNotFound: no handler of that name
        :raises NotPermitted: it is for administrators
        :raises InvalidArgument: an argument is unknown, missing or wrong
        :raises HandlerRefused: its ``init`` refused
        """
        self._check_open()
        return self._chain.attach(handler, arguments, exclusive=exclusive)

    def attach_packed(self, request: bytes, init_args: bytes | None) -> Attachment:
        """Attach as the RFC's ioctl does; see :meth:`Chain.attach_packed`."""
        self._check_open()
        return self._chain.attach_packed(request, init_args)

    def replace(self, attachment: Attachment, handler: str | type[Handler]) -> None:
        """
        Put other code in the place of an attached handler, while events flow: each is judged by one of the two.

        The new one is given the same arguments, root sets as they are now among them. What both declare to remember in
        the same form (:class:`Counter`, :class:`StateMap`) is kept.

        :param handler: name of a registered one, or a class
        :raises InvalidArgument: *attachment* is not of this group, or its arguments do not fit
        :raises: as :meth:`attach`; then nothing has changed
        """
        self._check_open()
        self._chain.replace(attachment, handler)

    def detach(self, what: Attachment | str | None = None) -> None:
        """Detach one attachment, all of one name, or all. Never fails."""
        self._chain.detach(what)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The chain, in order."""
        return self._chain.attachments

    # --- events ---

    def read(self, max_events: int = _BATCH_MAX, timeout_s: float | None = None) -> list[Event]:
        """
        Wait for events and return them.

        :param max_events: at least 1
        :param timeout_s: seconds to wait; None waits for ever, 0 not at all
        :return: oldest first; empty when the time passed, or the group was closed
        :raises InvalidArgument: *max_events* below 1, or *timeout_s* negative or no number
        """
        if max_events < 1:
            raise InvalidArgument(f"max_events is {max_events}; at least 1 must be taken")
        if timeout_s is not None and not float(timeout_s) >= 0:
            raise InvalidArgument(f"timeout_s is {timeout_s}; it must be 0 or more")
        is_endless = timeout_s is None or math.isinf(timeout_s)
        return self._engine.read(int(max_events), None if is_endless else float(timeout_s or 0))

    def batches(
        self, max_events: int = _BATCH_MAX, *, quiet_ms: int = 0, max_wait_ms: int = 1000
    ) -> Iterator[list[Event]]:
        """
        Iterate over many events at once.

        :param max_events: most events in a batch
        :param quiet_ms: end a batch when nothing came for so long; 0: as soon as nothing is waiting
        :param max_wait_ms: end a batch so long after its first event at the latest
        """
        while batch := self.read(max_events):
            deadline = time.monotonic() + max_wait_ms / 1000
            while quiet_ms and len(batch) < max_events and (left := deadline - time.monotonic()) > 0:
                more = self.read(max_events - len(batch), min(left, quiet_ms / 1000))
                if not more:
                    break
                batch += more
            yield batch

    def __iter__(self) -> Iterator[Event]:
        while batch := self.read(_BATCH_MAX):
            yield from batch

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio  # here, because it is a quarter of the time that importing this package takes

        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        fd = self.fileno()
        self._engine.hold()
        loop.add_reader(fd, readable.set)
        try:
            while True:
                batch = self.read(_BATCH_MAX, 0)
                for event in batch:
                    yield event
                if not batch and self._is_closed:
                    return
                if not batch:
                    await readable.wait()
                    readable.clear()
        finally:
            loop.remove_reader(fd)
            self._engine.release()

    def fileno(self) -> int:
        """A descriptor that polls as readable when events wait; do not read from it."""
        self._check_open()
        return self._engine.fileno()

    @property
    def counters(self) -> Counters:
        """What became of the events so far."""
        counters = self._engine.counters
        if self._forbidder is not None and not self._is_closed:
            counters.n_denied, counters.n_undecided = self._forbidder.n_denied_undecided
        return counters

    @property
    def kernel_counters(self) -> KernelCounters | None:
        """What the programs of the kernel engine have counted up to now; None on other engines."""
        return self._engine.kernel_counters()

    @property
    def engine(self) -> str:
        """Name of the engine that serves this group."""
        return self._engine.name

    # --- life ---

    def close(self) -> None:
        """Undo everything. What was read already can still be iterated over; a waiting iteration ends."""
        if self._is_closed:
            return
        _ = self.counters  # as they are in the end
        self._is_closed = True
        if self._permission is not None:
            self._permission.close()
        self._engine.close()
        self._chain.detach()

    def _catch_up(self) -> None:
        """A change is about to be made: what has happened before is decided as things are."""
        for engine in self._engines():
            engine.catch_up()

    def _refresh(self) -> None:
        for engine in self._engines():
            engine.refresh()

    def _engines(self) -> list[MarkingEngine]:
        return [self._engine] if self._permission is None else [self._engine, self._permission]

    def _permission_engine(self) -> PermissionEngine:
        if self._permission is None:
            check_answers(self._engine)
            self._permission = PermissionEngine(self._permission_options, self._engine.inject)
            self._permission.use_chain(self._chain)
        return self._permission

    def _split(self, mark: Mark) -> list[tuple[Mark, MarkingEngine]]:
        """Give permission events to the engine that can answer them, the others to the one that reads."""
        permission = mark.mask & Mask.ALL_PERM
        plain = mark.mask & ~Mask.ALL_PERM
        if not permission:
            return [(mark, self._engine)]
        parts: list[tuple[Mark, MarkingEngine]] = [
            (Mark(mark.scope, permission | mark.mask & EVENT_FLAGS, mark.root, mark.roots), self._permission_engine())
        ]
        if plain & ~EVENT_FLAGS:
            parts.append((Mark(mark.scope, plain, mark.root, mark.roots), self._engine))
        return parts

    def _subtree_mark(self, mark: Mark | None) -> Mark:
        if mark is None:
            mark = next((m for m in self._marks if m.scope is Scope.SUBTREE), None)
        if mark is None or mark not in self._marks:
            raise InvalidArgument("the group has no such mark of scope subtree; add one with mark() first")
        return mark

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("the group is closed")
