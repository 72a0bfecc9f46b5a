"""A question as handlers see it: the object and its place, and who waits for the answer, looked up on use."""

import contextlib
import os
import time
from typing import Any

from fanotify_fastpath._engines.fanotify.permission.membership import Inside
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import RootSet

_PF_KTHREAD = 0x00200000


class Subject:
    """
    One question (:class:`~fanotify_fastpath.handlers.HandlerEvent`).

    Nothing about the process is kept from one question to the next: while it waits, it can neither end unnoticed nor
    change.
    """

    __slots__ = ("_status", "dev", "inode", "inside_sets", "is_dir", "mask", "path", "tgid")

    def __init__(
        self,
        mask: int,
        status: os.stat_result | None,
        path: bytes | None,
        tgid: int,
        inside: Inside | None,
        is_dir: bool,
    ) -> None:
        self.mask = mask | int(Mask.ONDIR) if is_dir else mask
        self.is_dir = is_dir
        self.path = path
        self.dev = None if status is None else status.st_dev
        self.inode = None if status is None else status.st_ino
        self.tgid = tgid
        self.inside_sets = inside
        self._status: dict[bytes, bytes] | None = None

    def inside(self, roots: RootSet) -> bool | None:
        """Tell whether the object is in the subtree of *roots*; None when its directory is unknown."""
        return None if self.inside_sets is None else roots.set_id in self.inside_sets

    @property
    def name(self) -> bytes | None:
        """Name of the object."""
        return None if self.path is None else self.path[self.path.rfind(b"/") + 1 :]

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
            "time_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "undecided": undecided or self.inside_sets is None,
        }

    def _read_status(self) -> dict[bytes, bytes]:
        if self._status is None:
            self._status = {}
            with contextlib.suppress(OSError), open(f"/proc/{self.tgid}/status", "rb") as file:
                self._status = dict(line.split(b":", 1) for line in file if b":" in line)
        return self._status
