"""
Who did it: user, name and executable of the processes in events.

An event carries a process id only, and the process may end before it is looked at. Each process that is seen once is
kept by an open ``/proc/<tgid>/comm``: that descriptor belongs to this very process, so a reused id is noticed (ESRCH),
and for a process that has ended what was known of it still holds.
"""

import contextlib
import os
from collections import OrderedDict

from fanotify_fastpath.events import NOBODY, Process

_MAX_OPEN = 256
#: a process of an unchanged name is not asked for its user more often: who changes users mostly executes something
_SAME_USER_NS = 50_000_000


class _Known:
    """One process: its open ``comm`` and what was read last."""

    __slots__ = ("comm", "fd", "looked_ns", "process", "uid")

    def __init__(self, fd: int, comm: bytes, uid: int, process: Process, now_ns: int) -> None:
        self.looked_ns = now_ns
        self.fd = fd
        self.comm = comm
        self.uid = uid
        self.process = process


class Processes:
    """A bounded table of processes. :meth:`begin` starts a batch; within one, a process is looked at once."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._batch: dict[int, Process] = {}
        self._now_ns = 0

    def begin(self, now_ns: int) -> None:
        """
        What was looked at before may have changed: look again on next use.

        :param now_ns: CLOCK_BOOTTIME
        """
        self._batch.clear()
        self._now_ns = now_ns

    def get(self, tgid: int) -> Process:
        """Return what is known of the process, all None when it ended before its first look."""
        process = self._batch.get(tgid)
        if process is None:
            process = self._batch[tgid] = self._look(tgid) if tgid > 0 else NOBODY
        return process

    def tgid_of(self, tid: int) -> int:
        """Return the process that a thread belongs to; 0 when the thread has ended."""
        with contextlib.suppress(OSError), open(f"/proc/{tid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Tgid:"):
                    return int(line.split()[1])
        return 0

    def close(self) -> None:
        """Close the descriptors."""
        for known in self._known.values():
            os.close(known.fd)
        self._known.clear()
        self._batch.clear()

    def _look(self, tgid: int) -> Process:
        known = self._known.get(tgid)
        if known is None:
            return self._open(tgid)
        try:
            comm = os.pread(known.fd, 64, 0)
            if comm == known.comm and self._now_ns - known.looked_ns < _SAME_USER_NS:
                return known.process
            uid = os.stat(f"/proc/{tgid}").st_uid
        except OSError:
            return self._ended(tgid, known)
        known.looked_ns = self._now_ns
        if comm != known.comm or uid != known.uid:
            known.comm, known.uid = comm, uid
            known.process = Process(uid, os.fsdecode(comm.rstrip(b"\n")), _exe(tgid))
        self._known.move_to_end(tgid)
        return known.process

    def _open(self, tgid: int) -> Process:
        try:
            fd = os.open(f"/proc/{tgid}/comm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return NOBODY
        try:
            comm = os.pread(fd, 64, 0)
            uid = os.stat(f"/proc/{tgid}").st_uid
        except OSError:
            os.close(fd)
            return NOBODY
        process = Process(uid, os.fsdecode(comm.rstrip(b"\n")), _exe(tgid))
        self._known[tgid] = _Known(fd, comm, uid, process, self._now_ns)
        if len(self._known) > _MAX_OPEN:
            os.close(self._known.popitem(last=False)[1].fd)
        return process

    def _ended(self, tgid: int, known: _Known) -> Process:
        """The process that we knew is gone; perhaps another has its id now."""
        os.close(known.fd)
        del self._known[tgid]
        process = self._open(tgid)
        return known.process if process is NOBODY else process


def _exe(tgid: int) -> str | None:
    with contextlib.suppress(OSError):
        return os.fsdecode(os.readlink(f"/proc/{tgid}/exe"))
    return None
