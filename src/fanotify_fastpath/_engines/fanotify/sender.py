"""From a decision to an event in the stream: the handlers are asked, who did it is looked up, the event is made."""

import os
from typing import Final

from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common.candidate import Candidate
from fanotify_fastpath._engines.common.store import Store
from fanotify_fastpath._engines.common.viewer import Viewer
from fanotify_fastpath._engines.fanotify.lookup import RawLookup, Sources
from fanotify_fastpath._engines.fanotify.raw import Raw
from fanotify_fastpath._engines.fanotify.tree import Inside
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.events import NOBODY, Crossing, Event, Process
from fanotify_fastpath.handlers import Depends
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES
from fanotify_fastpath.verdict import VerdictKind

_ONDIR: Final = int(Mask.ONDIR)
_SELF: Final = b"."
_HOLDS_FOR_DIRECTORY: Final = (Depends.DIRECTORY, Depends.NOTHING)
_masks: Final[dict[int, Mask]] = {}


def _mask_of(types: int) -> Mask:
    mask = _masks.get(types)
    if mask is None:
        mask = _masks[types] = Mask(types)
    return mask


class Finding:
    """
    What was found out about a record before the handlers are asked.

    :ivar types: event types that somebody wants
    :ivar name: name of the object
    :ivar path: absolute path
    :ivar inside: root sets that it is in; None when undecided
    :ivar inside2: for a rename: root sets that it is in afterwards
    :ivar old_path: for a rename: path before
    :ivar crossing: for a rename: the border that it crossed
    :ivar is_uncertain: that it happened is known, but not just when
    :ivar is_by_object: a marked object led to it, not its place in the tree
    :ivar is_unproven: whether the viewer may watch that object cannot be told any more
    """

    __slots__ = (
        "crossing",
        "inside",
        "inside2",
        "is_by_object",
        "is_uncertain",
        "is_unproven",
        "name",
        "old_path",
        "path",
        "types",
    )

    def __init__(
        self,
        types: int,
        name: bytes | None = None,
        path: bytes | None = None,
        inside: Inside | None = None,
        inside2: Inside | None = None,
        old_path: bytes | None = None,
        crossing: Crossing | None = None,
        is_uncertain: bool = False,
    ) -> None:
        self.types = types
        self.name = name
        self.path = path
        self.inside = inside
        self.inside2 = inside2
        self.old_path = old_path
        self.crossing = crossing
        self.is_uncertain = is_uncertain
        self.is_by_object = False
        self.is_unproven = False


class Sender:
    """
    The end of the line, common to all kernel groups of one engine.

    :param sources: what is known of processes and filesystems
    :param store: takes each event of the stream
    :param viewer: decides what is put into it
    :ivar chain: the handlers
    :ivar now_ns: CLOCK_BOOTTIME of the current batch
    """

    def __init__(
        self,
        sources: Sources,
        counters: Counters,
        store: Store,
        include_self: bool,
        with_tid: bool,
        viewer: Viewer | None = None,
    ) -> None:
        self.processes = sources.processes
        self.superblocks = sources.superblocks
        self.counters = counters
        self.include_self = include_self
        self.with_tid = with_tid
        self.viewer = viewer
        self.chain: Chain | None = None
        self.now_ns = 0
        self._sources = sources
        self._store = store
        self._own = os.getpid()

    def is_own(self, raw: Raw) -> bool:
        """Tell whether this process (or the viewer's) did it, and count it as skipped if that is not wanted."""
        if self.viewer is not None:
            if not self._is_of(self.viewer, raw.pid):
                return False
        elif raw.pid != self._own or self.include_self:
            return False
        self.counters.n_skipped += 1
        return True

    def _is_of(self, viewer: Viewer, pid: int) -> bool:
        """Tell whether it was the process of the viewer, who may want that, or this one."""
        tgid = self.processes.tgid_of(pid) if self.with_tid and pid else pid
        return tgid == self._own or (tgid != 0 and tgid == viewer.own_tgid and not self.include_self)

    def send(self, raw: Raw, found: Finding) -> bool:
        """
        Ask the handlers, then deliver.

        :return: True when it was skipped for a reason that holds for the whole directory
        """
        key = raw.dir if raw.name == _SELF else raw.obj
        superblock = self.superblocks.get(key[:FSID_BYTES]) if key is not None else None
        inode = superblock.inode_of(key) if superblock is not None else None
        dev = superblock.dev if superblock is not None else None
        is_dir = bool(raw.mask & _ONDIR)
        undecided = found.inside is None or found.is_uncertain
        if self.chain is not None and self.chain.attachments:
            candidate = Candidate(
                found.types | raw.mask & _ONDIR,
                found.name,
                raw.pid,
                self.now_ns,
                RawLookup(self._sources, raw, key, found.path),
                found.inside,
                found.inside2,
                dev,
                inode,
            )
            verdict, attachment, failed = self.chain.judge(candidate)
            undecided = undecided or failed
            if verdict.kind is VerdictKind.SKIP_EVENT:
                self.counters.n_skipped += 1
                return attachment is not None and attachment.handler.depends in _HOLDS_FOR_DIRECTORY
        tgid, tid, process = self._who(raw.pid) if raw.doer is None else (raw.pid, None, raw.doer.process)
        # by position: a call with keywords takes twice as long
        event = Event(
            _mask_of(found.types),
            found.path,
            found.old_path,
            found.crossing,
            is_dir,
            tgid,
            tid,
            process,
            dev,
            inode,
            self.now_ns,
            undecided,
        )
        if self.viewer is None:
            self._put(event)
            return False
        return self._show(self.viewer, raw, found, event)

    def _show(self, viewer: Viewer, raw: Raw, found: Finding, event: Event) -> bool:
        seen = viewer.see(raw, found, event)
        if seen is not None:
            self._put(seen)
            return False
        self.counters.n_skipped += 1
        return raw.dir is not None and viewer.hides(raw.dir)

    def emit(self, event: Event, pid: int, key: bytes | None = None) -> None:
        """
        Put an event about the stream itself into it.

        :param key: identity of the directory that it is about
        """
        event.time_ns = self.now_ns
        if self.viewer is None:  # whom it is not told
            event.tgid, event.tid, event.process = self._who(pid)
        for each in (event,) if self.viewer is None else self.viewer.tell(event, key):
            self._put(each)

    def _put(self, event: Event) -> None:
        self.counters.n_delivered += 1
        self._store.put(event)

    def _who(self, pid: int) -> tuple[int, int | None, Process]:
        """Return process id, thread id if the group asks for threads, and what is known of the process."""
        if not pid:
            return 0, None, NOBODY
        if self.with_tid:
            tgid = self.processes.tgid_of(pid)
            return tgid, pid, self.processes.get(tgid)
        return pid, None, self.processes.get(pid)
