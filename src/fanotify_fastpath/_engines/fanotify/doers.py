"""
Who did what is reported, where the kernel hands over a descriptor of the process with each record.

A process id may be another process's by the time somebody looks at it. A process keeps its id until it is waited for,
and the kernel makes descriptors, when records are read, only for processes that have not been. They are closed before
more is read. So of whoever has the id later it is enough to know that it had started by then.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fanotify_fastpath._engines.common.processes import Processes
from fanotify_fastpath._uapi.constants import METADATA_LEN, NOPIDFD, InfoType
from fanotify_fastpath._uapi.words import s32, u16, u32
from fanotify_fastpath.events import NOBODY, Process

if TYPE_CHECKING:
    from mypy_extensions import i64  # a C integer, for the compiler; no code at run time

_PIDFD: Final = int(InfoType.PIDFD)
#: info_type (1), pad (1), len (2), pidfd (4)
_PIDFD_BYTES: Final = 8
_READ_BYTES: Final = 4096
#: an event with two names and three handles is shorter than this
_EVENT_MAX_BYTES: Final = 2048
#: and one with the shortest handle, and a descriptor, is no shorter than this
_EVENT_MIN_BYTES: Final = METADATA_LEN + 24 + _PIDFD_BYTES
#: descriptors that are open at a time
PIDFDS_MAX: Final = _READ_BYTES // _EVENT_MIN_BYTES
#: bytes to take at once before the engine looks at them
_FILL_MAX_BYTES: Final = 1 << 22
#: nobody can have the ids of processes go round as fast
_ROUND_S: Final = 0.05


class Doer:
    """
    A process that did something, as it was when the records that tell of it were read.

    :ivar tgid: its id
    :ivar read_s: a time before that, by CLOCK_BOOTTIME
    :ivar had_ended: it had been waited for by then
    """

    __slots__ = ("_doers", "_process", "had_ended", "read_s", "tgid")

    def __init__(self, doers: "Doers", tgid: int, read_s: float, had_ended: bool) -> None:
        self.tgid = tgid
        self.read_s = read_s
        self.had_ended = had_ended
        self._doers = doers
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """What is known of it, looked up on first use; NOBODY where that cannot be told for sure."""
        if self._process is None:
            self._process = self._doers.find(self)
        return self._process


class Doers:
    """
    Reads the records of one kernel group, and tells of each who did it.

    :param read: reads from the group, which reports descriptors of processes, at most so many bytes
    :param n_queued: counts the records in its queue
    :param processes: where they are looked at
    :param round_s: nobody can have the ids of processes go round as fast
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        n_queued: Callable[[], int],
        processes: Processes,
        round_s: float = _ROUND_S,
    ) -> None:
        self._read = read
        self._n_queued = n_queued
        self._processes = processes
        self._round_s = round_s
        self._own = os.getpid()
        self._unclaimed: deque[list[Doer]] = deque()
        # by process id, what was found last, and for which read; of late, and before
        self._found: dict[int, tuple[Process, float]] = {}
        self._found_before: dict[int, tuple[Process, float]] = {}
        self._since_s = 0.0

    def read_all(self) -> tuple[list[bytes], bool]:
        """
        Read what is queued, at most about 4 MiB, without waiting.

        Each read takes little, so what comes meanwhile is left in the queue: else there might be no end of it.

        :return: the bytes of each read, and whether all has been read that was queued in the beginning
        """
        self._unclaimed.clear()
        buffers: list[bytes] = []
        total = n_read = n_wanted = 0
        while total < _FILL_MAX_BYTES:
            read_s = _now_s()
            try:
                buffer = self._read(_READ_BYTES)
            except BlockingIOError:
                return buffers, True
            doers = self._note(find_pidfds(buffer), read_s)
            self._unclaimed.append(doers)
            buffers.append(buffer)
            if len(buffer) < _READ_BYTES - _EVENT_MAX_BYTES:
                return buffers, True
            n_read += len(doers)
            if not total:
                n_wanted = n_read + self._n_queued()
            elif n_read >= n_wanted:
                return buffers, True
            total += len(buffer)
        return buffers, False

    def claim(self) -> list[Doer]:
        """Return who did what each record tells of that one read returned: the first that has not been claimed."""
        return self._unclaimed.popleft()

    def find(self, doer: Doer) -> Process:
        """Look at a process; what was found holds for later records of it when it has ended."""
        process = NOBODY if doer.had_ended or doer.tgid == self._own else self._look(doer)
        if process is NOBODY:
            return self._recall(doer)
        if doer.read_s - self._since_s > self._round_s:
            self._found_before, self._found, self._since_s = self._found, {}, doer.read_s
        self._found[doer.tgid] = process, doer.read_s
        return process

    def _note(self, found: list[tuple[int, int]], read_s: float) -> list[Doer]:
        """Note who did what one read returned, the same for all records of a process, and close the descriptors."""
        by_id: dict[tuple[int, bool], Doer] = {}
        doers: list[Doer] = []
        for tgid, pidfd in found:
            if pidfd >= 0:
                os.close(pidfd)
            key = tgid, pidfd < 0
            doer = by_id.get(key)
            if doer is None:
                doer = by_id[key] = Doer(self, tgid, read_s, pidfd < 0)
            doers.append(doer)
        return doers

    def _look(self, doer: Doer) -> Process:
        """Look at the process that has this id now, if it had it when the records were read."""
        process = self._processes.look(doer.tgid)
        if process is NOBODY or _now_s() - doer.read_s <= self._round_s:
            return process
        return process if self._processes.had_started(doer.tgid, doer.read_s) else NOBODY

    def _recall(self, doer: Doer) -> Process:
        """Tell of a process that has ended what an earlier record told, if its id cannot have gone round since."""
        process, read_s = self._found.get(doer.tgid) or self._found_before.get(doer.tgid) or (NOBODY, 0.0)
        return process if read_s < doer.read_s <= read_s + self._round_s else NOBODY


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def find_pidfds(buffer: bytes) -> list[tuple[int, int]]:
    """Find process id and descriptor in each record of what one read returned, as far as it can be understood."""
    found: list[tuple[int, int]] = []
    total: i64 = len(buffer)
    offset: i64 = 0
    while total - offset >= METADATA_LEN:
        # event_len (4), vers (1), reserved (1), metadata_len (2), mask (8), fd (4), pid (4)
        end: i64 = offset + u32(buffer, offset)
        at: i64 = offset + u16(buffer, offset + 6)
        if end > total or at < offset + METADATA_LEN or at > end:
            break
        pidfd: i64 = NOPIDFD
        while end - at >= _PIDFD_BYTES:
            length: i64 = u16(buffer, at + 2)
            if length < 4:
                break
            if buffer[at] == _PIDFD and length >= _PIDFD_BYTES:
                pidfd = s32(buffer, at + 4)
            at += length
        found.append((int(s32(buffer, offset + 20)), int(pidfd)))
        offset = end
    return found
