"""What the scenarios share: reading with the descriptors closed, answering with a deadline, and forked helpers."""

import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from children import fork, wait_for
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
