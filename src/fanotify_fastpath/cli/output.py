"""Standard output: whole batches, written at once, and its reader watched."""

import errno
import os
import sys

from fanotify_fastpath.cli.exits import OutputFailed, ReaderGone
from fanotify_fastpath.cli.text import decode


class Output:
    """
    Standard output as bytes, past Python's buffers.

    :ivar fd: its descriptor; None where ``sys.stdout`` was replaced by something without one
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OutputFailed("cannot write events: standard output is closed; redirect it somewhere")
        try:
            self.fd: int | None = sys.stdout.fileno()
        except (OSError, ValueError):
            self.fd = None
        self.flush()

    @property
    def is_terminal(self) -> bool:
        """Somebody looks at it."""
        return self.fd is not None and os.isatty(self.fd)

    def write(self, data: bytes) -> None:
        """
        Write all of *data*, now.

        :raises ReaderGone: it is a pipe or socket that nobody reads any more
        :raises OutputFailed: no space, for example
        """
        if self.fd is None:
            sys.stdout.write(decode(data))
            return
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                self._wait_writable()
            except OSError as exc:
                raise _failure(exc) from None

    def flush(self) -> None:
        """Let go what Python has buffered."""
        try:
            sys.stdout.flush()
        except OSError as exc:
            raise _failure(exc) from None

    def _wait_writable(self) -> None:
        # Somebody else set O_NONBLOCK on the open file that we share.
        import select

        assert self.fd is not None
        select.select([], [self.fd], [])


def _failure(exc: OSError) -> ReaderGone | OutputFailed:
    if exc.errno in (errno.EPIPE, errno.ECONNRESET):
        return ReaderGone()
    return OutputFailed(f"cannot write to standard output: {exc.strerror}; write somewhere else or make room")


def mute() -> None:
    """Let the interpreter's last flush of a broken standard output go nowhere."""
    try:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):
        pass


def flush_or_mute() -> None:
    """Write out what is left; if that cannot be done, nobody is to try again at the end of the program."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        mute()
