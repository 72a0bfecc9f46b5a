"""
Events: what a listener is given.

An :class:`Event` is a plain record. Names and paths are ``bytes`` inside and ``str`` at the edge, by
:func:`os.fsdecode`, so a name that is no UTF-8 survives ``os.fsencode(event.path)``.
"""

import os
from typing import Literal

from fanotify_fastpath.mask import Mask, mask_names

Crossing = Literal["in", "out"]


class Process:
    """
    Who did it, as far as it can be had.

    Engine ``fanotify`` looks at a process that it knows from earlier events when one of these is asked for, at the
    latest before it reads again.

    :ivar uid: effective user id, or None when the process ended before it was looked at
    :ivar comm: the kernel's name of the process, up to 15 bytes, or None likewise
    :ivar exe: absolute path of its executable, or None likewise, and for kernel threads
    """

    __slots__ = ("comm", "exe", "uid")

    def __init__(self, uid: int | None = None, comm: str | None = None, exe: str | None = None) -> None:
        self.uid = uid
        self.comm = comm
        self.exe = exe


NOBODY = Process()


class Event:
    """
    One thing that happened.

    ``mask`` holds event types only; whether the object is a directory is ``is_dir``. Several types in one mask happened
    to the same object, by the same process, since the listener last read: the kernel merges them and keeps no order.

    :ivar mask: event types (:class:`Mask`)
    :ivar raw_path: absolute path as bytes; for a rename the new path; None when it is unknown. One
        that does not begin with a slash lacks its beginning (``is_truncated``)
    :ivar raw_old_path: for a rename the path before it; else None
    :ivar crossing: for a rename ``"in"`` when it entered the watched subtree, ``"out"`` when it left it; else None
    :ivar is_dir: the object is a directory
    :ivar tgid: process id; 0 when the kernel does not tell (unprivileged groups)
    :ivar tid: thread id, in groups that ask for threads; else None
    :ivar process: uid, comm and exe
    :ivar dev: device number of the filesystem, as ``st_dev`` of its root; None when unknown
    :ivar inode: inode number of the object, or None when the file handle does not tell
    :ivar time_ns: nanoseconds of the clock that ``clock`` names
    :ivar undecided: no handler or subtree could decide about it (object or directory unknown), so it was sent
    :ivar lost: for ``Q_OVERFLOW``: number of events lost, or None when the kernel does not tell; 0 for all others
    :ivar engine: name of the engine that made it
    """

    __slots__ = (
        "crossing", "dev", "engine", "inode", "is_dir", "lost", "mask", "process", "raw_old_path", "raw_path",
        "tgid", "tid", "time_ns", "undecided",
    )  # fmt: skip

    #: the clock of ``time_ns``: CLOCK_BOOTTIME. The fanotify engine reads it when it reads the event
    clock = "boottime"

    def __init__(
        self,
        mask: Mask,
        raw_path: bytes | None,
        raw_old_path: bytes | None = None,
        crossing: Crossing | None = None,
        is_dir: bool = False,
        tgid: int = 0,
        tid: int | None = None,
        process: Process = NOBODY,
        dev: int | None = None,
        inode: int | None = None,
        time_ns: int = 0,
        undecided: bool = False,
        lost: int | None = 0,
        engine: str = "fanotify",
    ) -> None:
        self.mask = mask
        self.raw_path = raw_path
        self.raw_old_path = raw_old_path
        self.crossing = crossing
        self.is_dir = is_dir
        self.tgid = tgid
        self.tid = tid
        self.process = process
        self.dev = dev
        self.inode = inode
        self.time_ns = time_ns
        self.undecided = undecided
        self.lost = lost
        self.engine = engine

    @property
    def path(self) -> str | None:
        """Absolute path, decoded with surrogate escapes; None when unknown."""
        return None if self.raw_path is None else os.fsdecode(self.raw_path)

    @property
    def old_path(self) -> str | None:
        """For a rename, the path before it; else None."""
        return None if self.raw_old_path is None else os.fsdecode(self.raw_old_path)

    @property
    def is_truncated(self) -> bool:
        """Whether a path is longer than can be told (engine ``kernel``: 4,096 bytes) and lacks its beginning."""
        paths = (self.raw_path, self.raw_old_path)
        return any(path is not None and not path.startswith(b"/") for path in paths)

    @property
    def uid(self) -> int | None:
        """Effective user id of the process; None when it ended too soon to be asked."""
        return self.process.uid

    @property
    def comm(self) -> str | None:
        """Name of the process; None when it ended too soon to be asked."""
        return self.process.comm

    @property
    def exe(self) -> str | None:
        """Path of the executable; None when the process ended too soon, or has none."""
        return self.process.exe

    @property
    def names(self) -> tuple[str, ...]:
        """The event types by name: ``("create", "close_write")``."""
        return mask_names(self.mask)

    def __repr__(self) -> str:
        parts = ["|".join(self.names) or "0", repr(self.path)]
        if self.raw_old_path is not None:
            parts.append(f"from {self.old_path!r}")
        if self.crossing:
            parts.append(f"crossing={self.crossing}")
        if self.is_dir:
            parts.append("dir")
        if self.undecided:
            parts.append("undecided")
        if self.lost != 0:
            parts.append(f"lost={self.lost}")
        return f"<Event {' '.join(parts)} tgid={self.tgid} comm={self.comm!r}>"
