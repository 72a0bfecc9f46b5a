"""
Who did it: user, name and executable of the processes in events.

An event carries a process id only, and the process may end before it is looked at. Each process that is seen once is
kept by descriptors of its ``/proc/<tgid>``: they belong to this very process, so a reused id is noticed (ESRCH), and
for a process that has ended what was known of it still holds.
"""

import contextlib
import math
import os
import threading
import time
from collections import OrderedDict, deque
from typing import Final

from fanotify_fastpath._engines.common.later import LaterProcess
from fanotify_fastpath.events import NOBODY, Process

_MAX_OPEN: Final = 256
_DIR_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_COMM_BYTES: Final = 64
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class _Known:
    """
    One process: its directory in /proc, its open ``comm`` there, and what was read last.

    :ivar next: what the next event will have, made while there was time
    :ivar looked_s: when that was, by the monotonic clock
    """

    __slots__ = ("_started_s", "comm", "comm_fd", "dir_fd", "looked_s", "next", "process", "tgid")

    def __init__(self, tgid: int) -> None:
        self.dir_fd = os.open(f"/proc/{tgid}", _DIR_FLAGS)
        try:
            self.comm_fd = os.open("comm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.dir_fd)
        except OSError:
            os.close(self.dir_fd)
            raise
        self.tgid = tgid
        self.comm = b""
        self.looked_s = 0.0
        self._started_s = 0.0
        self.process = NOBODY
        self.next: LaterProcess[_Known] | None = None

    def look(self) -> Process:
        """
        Return the process as it is now. Its executable is read anew when its name or user is another.

        :raises OSError: ESRCH: it has ended
        """
        comm = os.pread(self.comm_fd, _COMM_BYTES, 0)
        uid = os.fstat(self.dir_fd).st_uid
        if comm != self.comm or uid != self.process.uid:
            self.comm = comm
            self.process = Process(uid, os.fsdecode(comm.rstrip(b"\n")), self._exe())
        self.looked_s = time.monotonic()
        return self.process

    @property
    def started_s(self) -> float:
        """
        When it started at the latest, by CLOCK_BOOTTIME.

        :raises OSError: ESRCH: it has ended
        """
        if not self._started_s:
            # proc_pid_stat(5): the 22nd field; the second one, in parentheses, may hold anything
            ticks = int(self.read("stat").rpartition(b")")[2].split()[19])
            self._started_s = (ticks + 1) / _TICKS_PER_S
        return self._started_s

    def read(self, name: str) -> bytes:
        """
        Return what stands in a file of its directory.

        :raises OSError: ESRCH: it has ended
        """
        with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.dir_fd), "rb") as file:
            return file.read()

    def _exe(self) -> str | None:
        with contextlib.suppress(OSError):
            return os.fsdecode(os.readlink("exe", dir_fd=self.dir_fd))
        return None

    def close(self) -> None:
        self.next = None  # which knows this one
        os.close(self.comm_fd)
        os.close(self.dir_fd)


class Processes:
    """
    A bounded table of processes. :meth:`begin` starts a batch; within one, a process is looked at once.

    One that is seen for the first time is looked at at once, for it may end. One that is known is looked at when
    somebody asks for what may have changed, at the latest when the next batch begins.

    :param max_open: processes that are kept, with two descriptors each
    :param holds_s: for so long after the last look, what was known of a process that has ended still holds. When its id
        may have gone round by then, it may have been another one with that id, which has ended, too
    """

    def __init__(self, max_open: int = _MAX_OPEN, holds_s: float = math.inf) -> None:
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._batch: dict[int, Process] = {}
        self._later: deque[LaterProcess[_Known]] = deque()
        # events are looked at by any thread
        self._lock = threading.Lock()
        self._max_open = max_open
        self._holds_s = holds_s

    def begin(self) -> None:
        """What was looked at before may have changed: look again on next use."""
        self.settle()
        self._batch.clear()

    def settle(self) -> None:
        """Look at what has not been looked at yet."""
        while self._later:
            try:
                process = self._later.popleft()
            except IndexError:  # another thread was faster
                return
            process.settle()

    def get(self, tgid: int) -> Process:
        """Return what is known of the process, all None when it ended before its first look."""
        process = self._batch.get(tgid)
        if process is None:
            if tgid <= 0:
                process = NOBODY
            else:
                known = self._known.get(tgid)
                process = self._meet(tgid) if known is None else self._look_later(known)
            self._batch[tgid] = process
        return process

    def look(self, tgid: int) -> Process:
        """Look at once, whatever is known already; NOBODY when no process has that id now and nothing holds."""
        known = self._known.get(tgid)
        return self._meet(tgid) if known is None else self._look(known)

    def had_started(self, tgid: int, at_s: float) -> bool:
        """
        Tell whether the process that this id was last found to belong to had started by then.

        :param at_s: by CLOCK_BOOTTIME
        """
        with self._lock:
            known = self._known.get(tgid)
            if known is not None:
                with contextlib.suppress(OSError):
                    return known.started_s <= at_s
        return False

    def read(self, tgid: int, name: str) -> bytes:
        """
        Return what stands in a file of ``/proc/<tgid>``, of the very process that :meth:`get` tells of.

        :return: empty when it has ended
        """
        process = self.get(tgid)
        if isinstance(process, LaterProcess):
            process.settle()
        with self._lock:
            known = self._known.get(tgid)
            if known is not None:
                with contextlib.suppress(OSError):
                    return known.read(name)
        return b""

    def tgid_of(self, tid: int) -> int:
        """Return the process that a thread belongs to; 0 when the thread has ended."""
        with contextlib.suppress(OSError), open(f"/proc/{tid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"Tgid:"):
                    return int(line.split()[1])
        return 0

    def close(self) -> None:
        """Close the descriptors."""
        self.settle()
        with self._lock:
            self._max_open = 0
            for known in self._known.values():
                known.close()
            self._known.clear()
        self._batch.clear()

    def _look_later(self, known: _Known) -> Process:
        """Have a process looked at that is known."""
        process = known.next or LaterProcess(self._look, known)
        known.next = None
        self._later.append(process)
        return process

    def _look(self, known: _Known) -> Process:
        """Look again at a process that was known when the batch began."""
        tgid = known.tgid
        with self._lock:
            if self._known.get(tgid) is known:
                try:
                    process = known.look()
                except OSError:  # it has ended; perhaps another has its id now
                    known.close()
                    del self._known[tgid]
                else:
                    self._known.move_to_end(tgid)
                    known.next = LaterProcess(self._look, known)  # while there is nothing better to do
                    return process
        process = self._meet(tgid)
        holds = process is NOBODY and time.monotonic() - known.looked_s <= self._holds_s
        return known.process if holds else process

    def _meet(self, tgid: int) -> Process:
        """See a process for the first time."""
        try:
            known = _Known(tgid)
        except OSError:
            return NOBODY
        try:
            process = known.look()
        except OSError:
            known.close()
            return NOBODY
        with self._lock:
            earlier = self._known.pop(tgid, None)
            self._known[tgid] = known
            too_many = self._known.popitem(last=False)[1] if len(self._known) > self._max_open else None
        for unneeded in (earlier, too_many):
            if unneeded is not None:
                unneeded.close()
        return process
