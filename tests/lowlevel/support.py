"""What the scenarios share: reading with the descriptors closed, answering with a deadline, and forked helpers."""

import errno
import os
import pickle
import signal
import struct
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fanotify_fastpath.lowlevel import (
    AT_FDCWD,
    EventRecord,
    FanotifyFile,
    InitFlag,
    MarkFlag,
    Mask,
    name_to_handle_at,
)

ADD = MarkFlag.ADD
REMOVE = MarkFlag.REMOVE
FILESYSTEM = MarkFlag.FILESYSTEM
MOUNT = MarkFlag.MOUNT
INODE = MarkFlag.INODE
KINDS = [pytest.param(INODE, id="inode"), pytest.param(MOUNT, id="mount"), pytest.param(FILESYSTEM, id="filesystem")]
DEADLINE_S = 10.0
NOBODY_UID = 65534


def listen(flags: int = 0) -> FanotifyFile:
    """Open a non-blocking group, or skip when this kernel does not know the flags."""
    try:
        return FanotifyFile.open(InitFlag.CLOEXEC | InitFlag.NONBLOCK | flags)
    except OSError as error:
        if error.errno == errno.EINVAL:
            pytest.skip(f"this kernel does not take {InitFlag(flags)!r}")
        raise


def open_and_close(flags: int) -> None:
    FanotifyFile.open(InitFlag.CLOEXEC | flags).close()


def mark_or_skip(group: FanotifyFile, flags: int, mask: int, path: Path) -> None:
    """Mark with what newer kernels have."""
    try:
        group.mark(flags, mask, path)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip(f"this kernel does not take {MarkFlag(flags)!r} with {Mask(mask)!r}")


@dataclass(frozen=True)
class Seen:
    """One event with the path of its descriptor, which is closed."""

    record: EventRecord
    path: str | None

    @property
    def mask(self) -> Mask:
        return self.record.mask

    @property
    def name(self) -> str | None:
        """Last part of the path, or the name in the record."""
        if self.record.dfid_name is not None and self.record.dfid_name.name is not None:
            return os.fsdecode(self.record.dfid_name.name)
        return None if self.path is None else os.path.basename(self.path)


def see(record: EventRecord) -> Seen:
    path = None
    if record.fd >= 0:
        path = os.readlink(f"/proc/self/fd/{record.fd}")
        os.close(record.fd)
    if record.pidfd is not None and record.pidfd >= 0:
        os.close(record.pidfd)
    return Seen(record, path)


def drain(group: FanotifyFile) -> list[Seen]:
    """Read all that is queued and close the descriptors."""
    seen: list[Seen] = []
    while records := group.read_events():
        seen += [see(record) for record in records]
    return seen


def masks(group: FanotifyFile) -> list[Mask]:
    return [event.mask for event in drain(group)]


def union(group: FanotifyFile) -> Mask:
    """All bits that were reported, in whatever way the kernel merged them."""
    result = Mask(0)
    for event in drain(group):
        result |= event.mask
    return result


def new_file(directory: Path, name: str = "file", content: bytes = b"content") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def touch(path: Path) -> None:
    """Open for reading and close, with nothing else."""
    os.close(os.open(path, os.O_RDONLY))


def handle_of(path: Path, flags: int = 0) -> bytes:
    return name_to_handle_at(AT_FDCWD, os.fsencode(path), flags)[0]


def fsid_of(path: Path) -> bytes:
    """``statfs(2)``'s f_fsid as the 8 bytes that it is."""
    return struct.pack("=Q", os.statvfs(path).f_fsid)


def fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns when there are threads; the children here exec, or run before any thread starts.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def wait_for(pid: int) -> int:
    """Wait for a child, and kill it at the deadline. Returns its exit code."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.fail("a child did not end before the deadline")
        time.sleep(0.002)


def execute(program: Path) -> int:
    """
    Run a program and return its exit code, or minus the error number of execve.

    Not by subprocess: that one uses vfork and holds the interpreter lock until execve returns, so a thread of this
    process could never answer a permission event of the execve.
    """
    pid = fork()
    if pid == 0:
        os.closerange(3, 1 << 16)  # a child that is stuck must not keep the group alive
        try:
            os.execv(program, [os.fsencode(program)])
        except OSError as error:
            os._exit(128 + (error.errno or 0))
    code = wait_for(pid)
    return 128 - code if code > 128 else code


def in_child(function: Callable[[], Any]) -> Any:
    """Run *function* in a forked child; return what it returns or raise what it raises."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            result: tuple[bool, Any] = (True, function())
        except BaseException as error:
            result = (False, error)
        with open(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    wait_for(pid)
    ok, value = pickle.loads(data)
    if not ok:
        raise value
    return value


def as_nobody(function: Callable[[], Any]) -> Any:
    """Run *function* in a child without any privilege."""

    def unprivileged() -> Any:
        os.setgroups([])
        os.setresgid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
        os.setresuid(NOBODY_UID, NOBODY_UID, NOBODY_UID)
        return function()

    return in_child(unprivileged)


def errno_of(function: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """Name of the error number that the call fails with, or ``"ok"``."""
    try:
        function(*arguments, **named)
    except OSError as error:
        # two names for one number, of which Python gives the one that the kernel does not use
        return errno.errorcode[error.errno or 0].replace("ENOTSUP", "EOPNOTSUPP")
    return "ok"
