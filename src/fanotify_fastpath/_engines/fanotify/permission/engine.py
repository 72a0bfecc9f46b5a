"""
The permission half of the fanotify engine: what runs in the user's process.

It holds no fanotify descriptor. A guardian of its own does, and answers; from here it is told the rules, and asked by
it is what only the user's code can decide. A guardian that ends (killed, or stopped for longer than the deadline)
frees whoever waits; the user is told that the roots are unguarded (``UNWATCHED``), a new one is started, and its
being ready is told too (``RESCAN``).
"""

import contextlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fanotify_fastpath._engines.fanotify.permission.consult import Consultant, make_event
from fanotify_fastpath._engines.fanotify.permission.process import GuardianDied, GuardianProcess
from fanotify_fastpath._engines.fanotify.permission.protocol import Message
from fanotify_fastpath._engines.fanotify.permission.refusals import refusal
from fanotify_fastpath._engines.fanotify.permission.rules import describe
from fanotify_fastpath._engines.fanotify.permission.workers import Workers
from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath.chain import Attachment, Chain
from fanotify_fastpath.errors import FastpathError, InvalidArgument, NotPermitted
from fanotify_fastpath.events import Event
from fanotify_fastpath.marks import Mark, Scope, subtree_roots
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, Root
from fanotify_fastpath.verdict import Verdict

#: a user's callback: True allows, False denies
Decide = Callable[[Event], "Verdict | bool"]
#: guardians that may end within this time before no new one is started
_MAX_ENDS, _ENDS_WITHIN_S = 5, 30.0
_JOIN_S = 0.2


@dataclass(frozen=True, slots=True)
class PermissionOptions:
    """
    How permission events are answered.

    :ivar decide: asked about events that every handler sends; None allows them and puts them into the stream
    :ivar timeout_s: seconds after which an event is answered anyway
    :ivar on_timeout: how
    """

    decide: Decide | None = None
    timeout_s: float = 2.0
    on_timeout: Literal["allow", "deny"] = "allow"


class PermissionEngine:
    """
    Answers permission events (:class:`~fanotify_fastpath._engines.base.MarkingEngine`).

    :param deliver: takes the events that are for the user
    """

    def __init__(self, options: PermissionOptions, deliver: Callable[[Event], None]) -> None:
        _check(options)
        self._options = options
        self._deliver = deliver
        self._lock = threading.RLock()
        self._marks: dict[int, Mark] = {}
        self._mark_ids = itertools.count(1)
        self._attachment_ids: dict[Attachment, int] = {}
        self._next_attachment_id = itertools.count(1)
        self._chain: Chain | None = None
        self._guardian: GuardianProcess | None = None
        self._ends: list[float] = []
        self._is_closed = False
        self._owner = os.getpid()
        self._workers = Workers("fanfp-decide")
        self._consultant = Consultant(options.decide, options.on_timeout == "allow", self._emit, self._roots)
        # Apart from the thread that reads: the user's stream has a lock, and its holder may be waiting for a reply.
        self._stream: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._streamer: threading.Thread | None = None

    # --- marks and handlers ---

    def add_mark(self, mark: Mark) -> None:
        """Begin to answer for *mark*; on an error nothing has changed."""
        with self._lock:
            self._start()
            mark_id = next(self._mark_ids)
            self._marks[mark_id] = mark
            try:
                self._configure()
            except BaseException:
                del self._marks[mark_id]
                raise
            mark.roots.on_change(self.refresh)

    def remove_mark(self, mark: Mark) -> None:
        """Stop answering for *mark*."""
        with self._lock:
            for mark_id in [n for n, known in self._marks.items() if known is mark]:
                del self._marks[mark_id]
                mark.roots.off_change(self.refresh)
            self.refresh()

    def add_root(self, mark: Mark, root: Root) -> None:
        """Add one more root to a mark of scope subtree, from when this returns."""
        with self._lock:
            try:
                mark.roots.include(root)
            except BaseException:
                mark.roots.discard(root.key)
                raise

    def use_chain(self, chain: Chain) -> None:
        """Ask *chain* about every event."""
        self._chain = chain

    def catch_up(self) -> None:
        """Permission events are answered as they come: none waits to be decided."""

    def refresh(self) -> None:
        """Handlers or root sets have changed: the guardian knows when this returns."""
        with self._lock:
            if self._marks and not self._is_closed:
                self._start()
                self._configure()

    def close(self) -> None:
        """Undo everything; whoever waits is allowed."""
        with self._lock:
            if self._is_closed or os.getpid() != self._owner:
                return
            self._is_closed = True
            guardian, self._guardian = self._guardian, None
        for mark in self._marks.values():
            mark.roots.off_change(self.refresh)
        if guardian is not None:
            guardian.close()
        self._workers.close(_JOIN_S)
        self._stream.put(None)
        if self._streamer is not None and self._streamer is not threading.current_thread():
            self._streamer.join()

    # --- the guardian ---

    def _start(self) -> None:
        if self._guardian is not None:
            return
        if not capabilities.has("CAP_SYS_ADMIN"):
            raise NotPermitted("cannot answer permission events: that needs CAP_SYS_ADMIN; watching does not")
        if self._streamer is None:
            self._streamer = threading.Thread(target=self._deliver_all, name="fanfp-permission", daemon=True)
            self._streamer.start()
        self._guardian = self._new_guardian()

    def _new_guardian(self) -> GuardianProcess:
        return GuardianProcess(self._options.timeout_s, self._options.on_timeout, self._take, self._ended)

    def _configure(self) -> None:
        """Tell the guardian all, and wait until it is so; one that ends over it is replaced once."""
        assert self._guardian is not None
        attachments = self._chain.attachments if self._chain is not None else ()
        known = {a: self._attachment_ids.get(a) or next(self._next_attachment_id) for a in attachments}
        self._consultant.attachments.update({n: a for a, n in known.items()})
        self._attachment_ids = known
        state = describe(self._marks, [(n, a) for a, n in known.items()], decides=self._options.decide is not None)
        try:
            error = self._guardian.request("configure", state)
        except GuardianDied:
            self._replace()
            if self._guardian is None:
                raise
            error = self._guardian.request("configure", state)
            self._tell_roots(Mask.RESCAN)
        if error is not None:
            raise refusal(*error)
        self._consultant.attachments = {n: a for a, n in known.items()}

    def _replace(self) -> None:
        """The guardian has ended: say so, and start another, unless that happens all the time."""
        assert self._guardian is not None
        self._guardian.close()
        self._tell_roots(Mask.UNWATCHED)
        now = time.monotonic()
        self._ends = [then for then in self._ends if now - then < _ENDS_WITHIN_S] + [now]
        self._guardian = self._new_guardian() if len(self._ends) <= _MAX_ENDS else None

    def _ended(self, guardian: GuardianProcess) -> None:
        """A guardian has ended (its reading thread)."""
        with self._lock:
            if self._is_closed or self._guardian is not guardian:
                return
            self._replace()
            if self._guardian is not None:
                with contextlib.suppress(FastpathError):
                    self._configure()
                    self._tell_roots(Mask.RESCAN)

    def _take(self, message: Message) -> None:
        """A message came (reading thread)."""
        kind = message[0]
        if kind == "ask":
            guardian = self._guardian
            if guardian is not None:
                self._workers.run(lambda: self._consult(guardian, message))
        elif kind == "counts":
            self._consultant.count(message[1])
        elif kind == "event":
            self._emit(make_event(message[1]))
        elif kind == "lost":
            self._emit(Event(Mask.Q_OVERFLOW, None, lost=message[1]))
        elif kind == "gone":
            self._stream.put(lambda: self._root_gone(message[1]))
        elif kind == "unmounted":
            self._stream.put(lambda: self._unmounted(message[1], message[2]))

    def _consult(self, guardian: GuardianProcess, message: Message) -> None:
        _, ask_id, fields, to_ask, inside = message
        allow, code = self._consultant.consult(fields, to_ask, inside)
        guardian.send(("answer", ask_id, allow, code))

    # --- the stream ---

    def _emit(self, event: Event) -> None:
        self._stream.put(lambda: self._deliver(event))

    def _deliver_all(self) -> None:
        while (job := self._stream.get()) is not None:
            job()

    def _tell_roots(self, mask: Mask) -> None:
        for mark in self._marks.values():
            roots = mark.roots.roots if mark.scope is Scope.SUBTREE else [mark.root]
            for root in roots:
                self._emit(Event(mask, root.path, is_dir=root.is_dir))

    def _roots(self) -> list[Root]:
        """The roots of all subtrees."""
        return subtree_roots(list(self._marks.values()))

    def _root_gone(self, key: bytes) -> None:
        for mark in list(self._marks.values()):
            root, included = mark.roots.points.get(key, (None, False))
            mark.roots.discard(key)
            if root is not None and included:
                self._deliver(Event(Mask.ROOT_GONE, root.path, is_dir=root.is_dir))

    def _unmounted(self, fsid: bytes, path: bytes) -> None:
        self._deliver(Event(Mask.UNMOUNT, path, is_dir=True))
        for mark in list(self._marks.values()):
            for root in mark.roots.roots:
                if root.key[:FSID_BYTES] == fsid:
                    mark.roots.discard(root.key)


def _check(options: PermissionOptions) -> None:
    if not 0.05 <= options.timeout_s <= 3600:
        raise InvalidArgument(f"timeout_s is {options.timeout_s}; 0.05 to 3600 seconds are possible")
    if options.on_timeout not in ("allow", "deny"):
        raise InvalidArgument(f"on_timeout is {options.on_timeout!r}, not 'allow' or 'deny'")
