"""A question as handlers see it: the object and its place, and who waits for the answer, looked up on use."""

import contextlib
import os
import time
from typing import Any

from fanotify_fastpath._engines.common.candidate import Candidate
from fanotify_fastpath._engines.common.lookup import PathLookup
from fanotify_fastpath._engines.fanotify.permission.membership import Inside
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import EVENT_FLAGS, Mask

_PF_KTHREAD = 0x00200000
_NOTHING = Mask(0)


class Subject(Candidate):
    """
    One question (:class:`~fanotify_fastpath.handlers.HandlerEvent`).

    Nothing about the process is kept from one question to the next: while it waits, it can neither end unnoticed nor
    change.
    """

    __slots__ = ("_status_lines", "inside_sets", "path")

    def __init__(
        self,
        mask: int,
        status: os.stat_result | None,
        path: bytes | None,
        tgid: int,
        inside: Inside | None,
        is_dir: bool,
    ) -> None:
        dev, inode = (None, None) if status is None else (status.st_dev, status.st_ino)
        super().__init__(
            mask | int(Mask.ONDIR) if is_dir else mask,
            None if path is None else path[path.rfind(b"/") + 1 :],
            tgid,
            time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            PathLookup(Event(_NOTHING, path, tgid=tgid, dev=dev, inode=inode), tuple),
            inside,
            dev=dev,
            inode=inode,
        )
        self.path = path
        self.inside_sets = inside
        self._status_lines: dict[bytes, bytes] | None = None

    @property
    def uid(self) -> int | None:
        """Effective user id. The owner of ``/proc/<tgid>`` is not asked: it is root for what may not be dumped."""
        words = self._read_status().get(b"Uid", b"").split()
        return int(words[1]) if len(words) > 1 else None

    @property
    def comm(self) -> bytes | None:
        """Name of the process."""
        with contextlib.suppress(OSError), open(f"/proc/{self.tgid}/comm", "rb") as file:
            return file.read().removesuffix(b"\n")
        return None

    @property
    def exe(self) -> bytes | None:
        """Path of the executable."""
        with contextlib.suppress(OSError):
            return os.readlink(b"/proc/%d/exe" % self.tgid)
        return None

    @property
    def is_kernel_thread(self) -> bool:
        """Tell whether it is a thread of the kernel itself."""
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{self.tgid}/stat", "rb") as file:
            return bool(int(file.read().rpartition(b")")[2].split()[6]) & _PF_KTHREAD)
        return False

    def fields(self, *, undecided: bool) -> dict[str, Any]:
        """Return what an event in the stream tells."""
        return {
            "mask": self.mask & ~int(EVENT_FLAGS),
            "path": self.path,
            "is_dir": self.is_dir,
            "tgid": self.tgid,
            "uid": self.uid,
            "comm": self.comm,
            "exe": self.exe,
            "dev": self.dev,
            "inode": self.inode,
            "time_ns": self.time_ns,
            "undecided": undecided or self.inside_sets is None,
        }

    def _read_status(self) -> dict[bytes, bytes]:
        if self._status_lines is None:
            self._status_lines = {}
            with contextlib.suppress(OSError), open(f"/proc/{self.tgid}/status", "rb") as file:
                self._status_lines = dict(line.split(b":", 1) for line in file if b":" in line)
        return self._status_lines
