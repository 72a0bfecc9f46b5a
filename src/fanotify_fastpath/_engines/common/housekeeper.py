"""
The second thread of a group: it reads for a user who is slow, watches the mounts, and runs the engine's errand, if it
has one.

While the user waits for events, the user's own thread reads, so that nothing lies between an event and its user. When
the user goes away to handle events, a timer is started; if it is still away when that expires, and something has been
left unread for as long, this thread reads in its place until it is back. So a slow user keeps the kernel neither from
being told what to drop nor from being heard. A user who polls the descriptor, an event loop say, is always away; this
thread keeps out of its way as long as it reads in time.
"""

import os
import select
import threading
from collections.abc import Iterable
from typing import Protocol

from fanotify_fastpath._uapi.timer import Timer

#: what a user leaves unread for longer is read for it
_PATIENCE_NS = 50_000_000
_MOUNTINFO = "/proc/self/mountinfo"


class Master(Protocol):
    """What the housekeeper needs of the engine."""

    def is_user_away(self) -> bool: ...
    def n_user_reads(self) -> int: ...
    def relieve(self) -> None: ...
    def has_backlog(self) -> bool: ...
    def mounts_changed(self) -> None: ...
    def group_fds(self) -> Iterable[int]: ...
    def fail(self, error: Exception) -> None: ...


class Errand(Protocol):
    """What is to be done when a descriptor becomes readable, whatever else the thread is about."""

    fd: int

    def run(self) -> None: ...


class Housekeeper:
    """
    The thread, from :meth:`start` to :meth:`stop`.

    :param master: the engine; its methods are called in this thread
    :param errand: run in this thread too
    """

    def __init__(self, master: Master, errand: Errand | None = None) -> None:
        self._master = master
        self._errand = errand
        # here and not in the thread: from now on no change of the mounts is missed
        self._mountinfo_fd = os.open(_MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        self._timer = Timer(_PATIENCE_NS)
        self._stop_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_armed = False
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="fanfp-housekeeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def arm(self) -> None:
        """The user goes away: look after a while whether it stays away."""
        if not self._is_armed:
            self._is_armed = True
            self._timer.start()

    def stop(self) -> None:
        """End the thread, and wait for that."""
        self._is_stopped = True
        os.eventfd_write(self._stop_fd, 1)
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join()
        self.let_go()

    def let_go(self) -> None:
        """Close the descriptors."""
        self._timer.close()
        os.close(self._stop_fd)
        os.close(self._mountinfo_fd)

    def _run(self) -> None:
        try:
            self._serve(self._mountinfo_fd)
        except Exception as exc:  # raised where the user reads
            self._master.fail(exc)

    def _serve(self, mountinfo_fd: int) -> None:
        master = self._master
        poller = resting = self._poller(mountinfo_fd, ())
        is_relieving, n_reads = False, 0
        while True:
            ready = {fd for fd, _ in poller.poll(0 if is_relieving and master.has_backlog() else None)}
            if self._is_stopped:
                return
            if mountinfo_fd in ready:
                master.mounts_changed()
            if self._errand is not None and self._errand.fd in ready:
                self._errand.run()
            is_timed_out = self._timer.fd in ready
            if is_timed_out:
                os.read(self._timer.fd, 8)
                self._is_armed = False
            if master.n_user_reads() != n_reads:  # it comes and goes: look again, so that it need not start the timer
                poller, is_relieving, n_reads = resting, False, master.n_user_reads()
                self.arm()
            elif not master.is_user_away():
                poller, is_relieving = resting, False
            elif is_relieving or (is_timed_out and self._has_unread()):
                poller, is_relieving = self._poller(mountinfo_fd, master.group_fds()), True
                master.relieve()
            elif is_timed_out:  # nothing to read: when something comes, begin to wait
                poller = self._poller(mountinfo_fd, master.group_fds())
            elif poller is not resting and ready - {mountinfo_fd}:
                poller = resting
                self.arm()

    def _has_unread(self) -> bool:
        poller = select.poll()
        for fd in self._master.group_fds():
            poller.register(fd, select.POLLIN)
        return self._master.has_backlog() or bool(poller.poll(0))

    def _poller(self, mountinfo_fd: int, group_fds: Iterable[int]) -> select.poll:
        poller = select.poll()
        poller.register(mountinfo_fd, select.POLLPRI | select.POLLERR)
        poller.register(self._stop_fd, select.POLLIN)
        poller.register(self._timer.fd, select.POLLIN)
        if self._errand is not None:
            poller.register(self._errand.fd, select.POLLIN)
        for fd in group_fds:
            poller.register(fd, select.POLLIN)
        return poller
