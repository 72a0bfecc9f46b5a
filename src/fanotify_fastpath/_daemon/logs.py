"""
What the daemon logs: one line for each thing, a sentence and then ``key=value``, on standard error.

Where standard error is the journal's, lines begin with their priority (``<N>``, sd-daemon(3)); elsewhere with time and
level. What clients can bring about as often as they like is logged at a bounded rate.
"""

import json
import logging
import os
import re
import sys
import threading
import time
import traceback

from fanotify_fastpath._daemon.bucket import TokenBucket

LEVELS = ("debug", "info", "warning", "error")
#: priorities of syslog(3)
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_PLAIN = re.compile(r"[A-Za-z0-9_./:@+,-]+")
_BURST = 50
_PER_S = 2.0

_logger = logging.getLogger("fanfpd")


class _Line(logging.Formatter):
    """One line, whatever is in the values."""

    def __init__(self, *, is_journal: bool) -> None:
        super().__init__()
        self._is_journal = is_journal

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, "fields", {})
        text = " ".join([printable(record.getMessage()), *(f"{key}={_value(value)}" for key, value in fields.items())])
        if self._is_journal:
            return prefix(record.levelno) + text
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} {text}"


def printable(text: str) -> str:
    """The sentence, with everything escaped that could end the line or write on a terminal."""
    return text if text.isascii() and text.isprintable() else json.dumps(text)[1:-1]


def _value(value: object) -> str:
    text = os.fsdecode(value) if isinstance(value, bytes) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def set_up(level: str) -> None:
    """
    Log to standard error from now on.

    :param level: one of :data:`LEVELS`
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(is_journal=is_journal(sys.stderr.fileno())))
    _logger.handlers[:] = [handler]
    _logger.propagate = False
    logging.raiseExceptions = False  # a log that cannot be written is no reason to fail
    set_level(level)


def set_level(level: str) -> None:
    """
    Log what is at least as grave.

    :param level: one of :data:`LEVELS`
    """
    _logger.setLevel(level.upper())


def is_journal(fd: int) -> bool:
    """Tell whether a descriptor is the journal's, as ``JOURNAL_STREAM`` says (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def prefix(level: int) -> str:
    """What the lines of a level begin with in the journal."""
    return f"<{_PRIORITIES.get(level, 6)}>"


def log(level: int, what: str, **fields: object) -> None:
    """
    Log one line.

    :param level: as :mod:`logging` has them
    :param what: the sentence
    :param fields: what stands behind it
    """
    _logger.log(level, "%s", what, extra={"fields": fields})


class _Rate:
    """Bounded; what is held back is counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bucket = TokenBucket(_PER_S, _BURST)
        self._n_held_back = 0

    def take(self) -> int | None:
        """Take a token. Returns how many had none since the last one that had; None: there is none."""
        with self._lock:
            if self._bucket.take():
                self._n_held_back += 1
                return None
            n_held_back, self._n_held_back = self._n_held_back, 0
            return n_held_back


_rate = _Rate()


def log_bounded(level: int, what: str, **fields: object) -> None:
    """Log one line, as :func:`log`, unless there were too many of this kind of late."""
    if not _logger.isEnabledFor(level):
        return
    n_held_back = _rate.take()
    if n_held_back is not None:
        log(level, what, **fields, **({"lines_held_back": n_held_back} if n_held_back else {}))


def log_failure(what: str, error: BaseException, **fields: object) -> None:
    """Log an error that nobody has foreseen, with the way to it."""
    way = " < ".join(
        f"{os.path.basename(frame.filename)}:{frame.lineno}({frame.name})"
        for frame in reversed(traceback.extract_tb(error.__traceback__))
    )
    log_bounded(logging.ERROR, what, **fields, error=f"{type(error).__name__}: {error}", at=way)
