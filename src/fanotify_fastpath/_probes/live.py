"""The live test: another process makes a file in a watched directory, and the event must come."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._probes.report import LiveReport, PathLike
from fanotify_fastpath.errors import KernelRefused, NotPermitted, PathNotFound, UnsupportedFilesystem
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.watch import watch

_DEADLINE_S = 5.0
_CANARY = b"canary"
# Own accesses are not reported, so it takes another process; it is started before, and waits for a word.
_TOUCH = """
import os, sys, time
sys.stdin.readline()
before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
os.close(os.open(os.fsencode(sys.argv[1]), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
print(before_ns)
"""


class _Toucher(Closing):
    """The other process."""

    def __init__(self, path: bytes) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TOUCH, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def touch(self) -> None:
        """Have the file made, now."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def touched_ns(self) -> int:
        """CLOCK_BOOTTIME just before the file was made."""
        out, _ = self._process.communicate(timeout=_DEADLINE_S)
        return int(out)

    def close(self) -> None:
        """End the process, whatever it was at."""
        self._process.kill()
        self._process.communicate()


def run_canary(where: PathLike | None) -> LiveReport:
    """
    Make a directory in *where*, watch it, have a file made in it, and remove it.

    :param where: a directory; None takes the first usual place for temporary files that can be watched
    :raises: as :func:`fanotify_fastpath.watch`
    """
    if where is not None:
        return _run(os.path.abspath(os.fsencode(where)))
    places = [os.fsencode(place) for place in dict.fromkeys((tempfile.gettempdir(), "/dev/shm", "/run", "/var/tmp"))]
    for place in places[:-1]:
        try:
            return _run(place)
        except (UnsupportedFilesystem, PathNotFound, KernelRefused):
            continue
    return _run(places[-1])


def _run(where: bytes) -> LiveReport:
    directory = _make_directory(where)
    try:
        return _watch(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _make_directory(where: bytes) -> bytes:
    shown = os.fsdecode(where)
    try:
        return tempfile.mkdtemp(prefix=b"fanfp-canary-", dir=where)
    except FileNotFoundError:
        raise PathNotFound(
            f"cannot make a canary in {shown!r}: no such directory; check the spelling", path=where
        ) from None
    except PermissionError as exc:
        raise NotPermitted(
            f"cannot make a canary in {shown!r}: {exc.strerror}; name a directory that you may write", path=where
        ) from None
    except OSError as exc:
        raise KernelRefused(
            f"cannot make a canary in {shown!r}: {exc.strerror}; name another directory", exc.errno, where
        ) from None


def _watch(directory: bytes) -> LiveReport:
    canary = os.path.join(directory, _CANARY)
    shown = os.fsdecode(directory)
    with _Toucher(canary) as toucher, watch(directory, events=Mask.CREATE) as watched:
        group = watched.group
        toucher.touch()
        deadline = time.monotonic() + _DEADLINE_S
        while (left_s := deadline - time.monotonic()) > 0:
            events = group.read(timeout_s=left_s)
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if any(event.raw_path is not None and event.raw_path.endswith(b"/" + _CANARY) for event in events):
                latency_ns = now_ns - toucher.touched_ns()
                return LiveReport(shown, True, latency_ns, group.engine, "the event of the canary file came")
        reason = (
            f"its event did not come within {_DEADLINE_S:g} s" if os.path.exists(canary) else "it could not be made"
        )
        return LiveReport(shown, False, None, group.engine, f"the canary file: {reason}")
