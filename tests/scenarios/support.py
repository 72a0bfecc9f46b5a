"""What the scenarios share: the other process, a listener that knows when it has heard everything, and short forms."""

import errno
import functools
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest

from fanotify_fastpath import Event, Group, Guard, Handler, Mask, UnsupportedFilesystem
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._engines.fanotify.kernel_group import KernelGroup
from fanotify_fastpath._engines.fanotify.raw import decode
from fanotify_fastpath._uapi.constants import InitFlag, MarkFlag
from fanotify_fastpath._uapi.responses import encode_response
from fanotify_fastpath._uapi.syscalls import fanotify_init
from outcomes import DEADLINE_S, errno_of, wait_until

from . import actions
from .users import IS_USER, UID, ids

P = ParamSpec("P")
T = TypeVar("T")
#: a handler: its name, or itself
Given = str | type[Handler]

TESTS = Path(__file__).parent.parent
#: deadline of a guard for tests in which nobody is late
SHORT_S = 1.0
STREAM = Mask.Q_OVERFLOW | Mask.RESCAN | Mask.ROOT_GONE | Mask.UNMOUNT | Mask.UNWATCHED

_SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from scenarios.actions import serve; serve()"


class Other(Closing):
    """
    Another process, which does what it is told: ``other(os.mkdir, path)``.

    :param uid: its user; by default who plays
    """

    def __init__(self, uid: int = UID) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _SERVE, str(TESTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **ids(uid),
        )
        self.pid = self(actions.getpid)

    def start(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Begin; :meth:`finish` waits for the end."""
        assert self._process.stdin is not None
        pickle.dump((function, args, kwargs), self._process.stdin)
        self._process.stdin.flush()

    def finish(self) -> Any:
        """Wait for what was started, and return what it returned or raise what it raised."""
        assert self._process.stdout is not None
        ok, answer = pickle.load(self._process.stdout)
        if not ok:
            raise answer
        return answer

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.start(function, *args, **kwargs)
        answer: T = self.finish()
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def shell(script: str, cwd: Path) -> None:
    """Run a shell script as yet another process."""
    subprocess.run(["sh", "-ec", script], cwd=cwd, check=True, **ids())


class Ears:
    """
    Reads a group, and knows when everything that happened has been heard.

    The kernel keeps the order, so when a file that is created last is reported, all before it has been.
    """

    _n_fences = 0

    def __init__(self, group: Group, other: Other) -> None:
        self.group = group
        self.all: list[Event] = []
        self._other = other

    def hear(self, fence_in: Path) -> list[Event]:
        """
        Return the events since the last call.

        :param fence_in: a directory whose events are delivered (create, open or later): the last event is made there
        """
        Ears._n_fences += 1
        name = f"fence-{Ears._n_fences}-"
        self._other(actions.fence, fence_in / name)
        heard = self.until(lambda event: event.raw_path is not None and name.encode() in event.raw_path, name)
        if IS_USER:  # deletions that were merged may come behind it; on an engine of one's own a read decides all
            self.group._catch_up()
        heard += self.group.read(1_000_000, 0)
        return [event for event in heard if event.raw_path is None or b"/fence-" not in event.raw_path]

    def until(self, claim: Callable[[Event], object], what: str, silence_s: float = DEADLINE_S) -> list[Event]:
        """
        Return the events up to a batch that has one for which *claim* holds.

        Fails when nothing at all is heard for *silence_s*: a long queue may take its time.
        """
        heard: list[Event] = []
        while True:
            batch = self.group.read(100_000, silence_s)
            heard += batch
            self.all += batch
            if any(claim(event) for event in batch):
                return heard
            if not batch:
                pytest.fail(f"nothing heard for {silence_s:.0f} s, but not yet {what}; heard {heard[-20:]}")

    def until_mask(self, mask: Mask) -> list[Event]:
        """Return the events up to one of these types."""
        return self.until(lambda event: event.mask & mask, repr(mask))


def told(events: Iterable[Event], below: Path) -> dict[str, Mask]:
    """What was told about each path, relative to *below*: the union of the event types; renames count by new path."""
    result: dict[str, Mask] = {}
    for event in events:
        path = "?" if event.path is None else os.path.relpath(event.path, below)
        result[path] = result.get(path, Mask(0)) | event.mask
    return result


def paths(events: Iterable[Event], mask: Mask, below: Path) -> list[str]:
    """Paths relative to *below* of the events that have any of these types, in order."""
    return ["?" if event.path is None else os.path.relpath(event.path, below) for event in events if event.mask & mask]


def renames(events: Iterable[Event], below: Path) -> list[tuple[str, str, str | None]]:
    """The renames: old and new path relative to *below*, and the border crossed."""
    return [
        (os.path.relpath(event.old_path or "?", below), os.path.relpath(event.path or "?", below), event.crossing)
        for event in events
        if event.mask & Mask.RENAME
    ]


def walk(top: Path) -> Iterator[tuple[str, bool]]:
    """Everything below a directory as it is now: relative path and whether it is a directory."""
    for directory, subdirectories, files in os.walk(top):
        for name in subdirectories:
            yield os.path.relpath(os.path.join(directory, name), top), True
        for name in files:
            yield os.path.relpath(os.path.join(directory, name), top), False


def refusal(other: Other, function: Callable[..., object], *arguments: object) -> str:
    """Name of the error that another process gets; "ok" if none."""
    return errno_of(other, function, *arguments)


def tells_what_was_removed(directory: Path) -> bool:
    """Tell whether a DELETE says which object lost its name: on overlayfs Linux 6.1 does not."""
    group = KernelGroup()
    try:
        group.mark(MarkFlag.INODE, int(Mask.DELETE | Mask.ONDIR), os.fsencode(directory))
        os.mkdir(directory / "probe")
        os.rmdir(directory / "probe")
        (raw,) = decode(group.read_all()[0][0])
        return raw.obj is not None
    except UnsupportedFilesystem:  # a btrfs subvolume on older kernels, of which nothing else is wrong
        return True
    finally:
        group.close()


@functools.cache
def denied_with(code: int) -> str:
    """Name of the error that a denial with this number gives here: its own from Linux 6.14 on, else EPERM."""
    fd = fanotify_init(InitFlag.CLASS_PRE_CONTENT | InitFlag.CLOEXEC)
    try:
        os.write(fd, encode_response(1 << 30, False, errno=code))
    except OSError as exc:  # nobody waits for that answer (ENOENT), or it is none (EINVAL)
        return errno.errorcode[code if exc.errno == errno.ENOENT else errno.EPERM]
    finally:
        os.close(fd)
    raise AssertionError("the kernel took an answer to nothing")


def timed_read(other: Other, path: Path) -> tuple[str, float]:
    """Have another process read a file: what came of it, and the seconds that it took."""
    start = time.monotonic()
    return refusal(other, actions.read, path), time.monotonic() - start


def hear(guarded: Guard, claim: Callable[[list[Event]], object], what: str) -> list[Event]:
    """Return the events up to when *claim* holds for them."""
    events: list[Event] = []

    def heard() -> object:
        events.extend(guarded.read(timeout_s=0.1))
        return claim(events)

    wait_until(heard, what)
    return events


def guardian_of(guarded: Guard) -> int:
    """The guardian's process id."""
    assert guarded.group._permission is not None
    assert guarded.group._permission._guardian is not None
    return guarded.group._permission._guardian.tgid


def program(path: Path) -> Path:
    """Make an executable file."""
    return Path(shutil.copy("/bin/true", path))


def execute(path: Path) -> str:
    """Run an executable; "ok", or the name of the error."""
    try:
        return "ok" if subprocess.run([path], check=False).returncode == 0 else "failed"
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]


def make_reachable(path: Path) -> None:
    """Let every user search the way to *path* and use it; the way is made of the test's own directories."""
    path.chmod(0o777)
    for parent in path.parents:
        if parent.stat().st_uid == 0 and "pytest-of-" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o055)
