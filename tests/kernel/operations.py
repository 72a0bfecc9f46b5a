"""
What another process does to a directory, by many routes: each function takes the directory, and raises what it gets.

In the directory are the files ``f`` and ``g``, the empty directory ``d``, and the program ``run``. Nothing of the
package under test is used here.
"""

import ctypes
import fcntl
import mmap
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _EXCHANGE = -100, 2
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _NODUMP = 0x80086601, 0x40086602, 0x40


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def open_to_read(top: Path) -> None:
    os.close(os.open(top / "f", os.O_RDONLY))


def open_to_write(top: Path) -> None:
    os.close(os.open(top / "f", os.O_WRONLY))


def open_through_descriptor(top: Path) -> None:
    fd = os.open(top / "f", os.O_PATH)
    try:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))
    finally:
        os.close(fd)


def open_in_directory(top: Path) -> None:
    directory = os.open(top, os.O_PATH)
    try:
        os.close(os.open("f", os.O_RDONLY, dir_fd=directory))
    finally:
        os.close(directory)


def execute(top: Path) -> None:
    subprocess.run([top / "run"], check=True)


def execute_descriptor(top: Path) -> None:
    fd = os.open(top / "run", os.O_PATH)
    try:
        subprocess.run([f"/proc/self/fd/{fd}"], pass_fds=[fd], check=True)
    finally:
        os.close(fd)


def _with_file(top: Path, flags: int, act: Callable[[int], object]) -> None:
    fd = os.open(top / "f", flags)
    try:
        act(fd)
    finally:
        os.close(fd)


def read(top: Path) -> None:
    _with_file(top, os.O_RDONLY, lambda fd: os.read(fd, 10))


def read_at(top: Path) -> None:
    _with_file(top, os.O_RDONLY, lambda fd: os.pread(fd, 10, 0))


def read_mapped(top: Path) -> None:
    _with_file(top, os.O_RDONLY, lambda fd: mmap.mmap(fd, 0, prot=mmap.PROT_READ).close())


def send(top: Path) -> None:
    def act(fd: int) -> None:
        with open(os.devnull, "wb") as null:
            os.sendfile(null.fileno(), fd, 0, 10)

    _with_file(top, os.O_RDONLY, act)


def splice(top: Path) -> None:
    reader, writer = os.pipe()
    try:
        _with_file(top, os.O_RDONLY, lambda fd: os.splice(fd, writer, 10))
    finally:
        os.close(reader)
        os.close(writer)


def make_file(top: Path) -> None:
    os.close(os.open(top / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def make_fifo(top: Path) -> None:
    os.mkfifo(top / "new")


def make_socket(top: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(top)
        try:
            one.bind("new")
        finally:
            os.chdir("/")


def make_nameless(top: Path) -> None:
    os.close(os.open(top, os.O_TMPFILE | os.O_WRONLY, 0o644))


def make_directory(top: Path) -> None:
    os.mkdir(top / "new")


def make_directory_at(top: Path) -> None:
    directory = os.open(top, os.O_PATH)
    try:
        os.mkdir("new", dir_fd=directory)
    finally:
        os.close(directory)


def unlink(top: Path) -> None:
    os.unlink(top / "f")


def rmdir(top: Path) -> None:
    os.rmdir(top / "d")


def rename(top: Path) -> None:
    os.rename(top / "f", top / "new")


def rename_over(top: Path) -> None:
    os.rename(top / "f", top / "g")


def rename_directory(top: Path) -> None:
    os.rename(top / "d", top / "new")


def exchange(top: Path) -> None:
    _check(_libc.renameat2(_AT_FDCWD, os.fsencode(top / "f"), _AT_FDCWD, os.fsencode(top / "g"), _EXCHANGE))


def link(top: Path) -> None:
    os.link(top / "f", top / "new")


def symlink(top: Path) -> None:
    os.symlink("f", top / "new")


def chmod(top: Path) -> None:
    os.chmod(top / "f", 0o600)


def chmod_directory(top: Path) -> None:
    os.chmod(top, 0o711)


def chmod_descriptor(top: Path) -> None:
    _with_file(top, os.O_RDONLY, lambda fd: os.fchmod(fd, 0o600))


def chown(top: Path) -> None:
    os.chown(top / "f", 1, 1)


def change_times(top: Path) -> None:
    os.utime(top / "f", (1, 1))


def set_attribute(top: Path) -> None:
    os.setxattr(top / "f", "trusted.new", b"x")


def remove_attribute(top: Path) -> None:
    os.removexattr(top / "f", "trusted.old")


def set_acl(top: Path) -> None:
    entries = [(1, 6, 0xFFFFFFFF), (2, 7, 1), (4, 4, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)]
    text = b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, rights, who in entries
    )
    os.setxattr(top / "f", "system.posix_acl_access", b"\2\0\0\0" + text)


def set_flags(top: Path) -> None:
    def act(fd: int) -> None:
        flags = fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8))
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, (int.from_bytes(flags, "little") | _NODUMP).to_bytes(8, "little"))

    _with_file(top, os.O_RDONLY, act)


def truncate(top: Path) -> None:
    os.truncate(top / "f", 1)


def truncate_descriptor(top: Path) -> None:
    _with_file(top, os.O_WRONLY, lambda fd: os.ftruncate(fd, 100))


def open_truncating(top: Path) -> None:
    os.close(os.open(top / "f", os.O_WRONLY | os.O_TRUNC))


def list_directory(top: Path) -> None:
    os.listdir(top)


def move(old: Path, new: Path) -> None:
    os.rename(old, new)


def hard_link(old: Path, new: Path) -> None:
    os.link(old, new)


def churn(directory: Path, stop: Path) -> int:
    """Rename directories there until the file *stop* is there; tell how often."""
    os.mkdir(directory / "a")
    n = 0
    while not os.path.lexists(stop):
        for _ in range(100):
            os.rename(directory / "a", directory / "b")
            os.rename(directory / "b", directory / "a")
        n += 200
    os.rmdir(directory / "a")
    return n
