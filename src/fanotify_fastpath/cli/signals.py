"""SIGINT and SIGTERM: a request to end, never a loss of what was read."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: timeout(1) and terminals may send a signal twice; what comes later than this is a second request
_SAME_REQUEST_S = 0.3


class Interrupted(BaseException):
    """A signal came while nothing had been read yet that could be lost."""


class _Handlers:
    """Signal handlers for a while; the ones before it come back. Only the main thread can have any."""

    def __enter__(self) -> Self:
        self._old: list[tuple[signal.Signals, Any]] = []
        if threading.current_thread() is threading.main_thread():
            self._old = [(number, signal.signal(number, self._on_signal)) for number in SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, old in self._old:
            signal.signal(number, signal.SIG_DFL if old is None else old)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        raise NotImplementedError


class Interruptible(_Handlers):
    """
    A signal raises :exc:`Interrupted`, wherever the program is.

    :param is_program: nothing comes after this but the end of the process; signals are ignored then, so that one that
        comes twice does not spoil the exit code
    """

    def __init__(self, *, is_program: bool = False) -> None:
        self._is_program = is_program

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_program:
            self._old = [(number, signal.SIG_IGN) for number, _ in self._old]
        super().__exit__(kind, value, traceback)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        raise Interrupted


class Stop(_Handlers):
    """
    A signal makes :meth:`fileno` readable and nothing else; a second one ends the process at once, as if nobody had
    caught it (the first may hang: output to a reader that does not read).
    """

    def __enter__(self) -> Self:
        self._since: float | None = None
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        super().__enter__()
        # The kernel may give the signal to another thread; then only this descriptor wakes the one that polls.
        self._old_wakeup = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False) if self._old else -1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._old:
            signal.set_wakeup_fd(self._old_wakeup)
        if not self.is_requested:
            super().__exit__(kind, value, traceback)
        # Else the same request, sent twice, must not disturb the tidying up; whoever had handlers before puts his back.
        os.close(self._read_fd)
        os.close(self._write_fd)

    def fileno(self) -> int:
        """A descriptor that polls as readable once a signal came."""
        return self._read_fd

    @property
    def is_requested(self) -> bool:
        """A signal came."""
        return self._since is not None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since > _SAME_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
