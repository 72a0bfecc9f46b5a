"""
File operations for another process to do: a listener does not hear its own.

Run as a program it takes pickled calls from its standard input and answers on its standard output. Nothing of the
package under test is used here.
"""

import ctypes
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
_PR_SET_DUMPABLE = 4
PathLike = str | bytes | Path

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def touch(path: PathLike) -> None:
    """Create a file if it is not there, and open it for writing in any case."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))


def write(path: PathLike, data: bytes = b"x") -> None:
    """Write to a file that may be new."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def read(path: PathLike) -> bytes:
    """Read a whole file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def fence(path: PathLike) -> None:
    """Make events of as many types as a file can have, under one name."""
    write(path)
    os.rename(path, os.fsencode(path) + b".")
    read(os.fsencode(path) + b".")
    os.unlink(os.fsencode(path) + b".")


def list_directory(path: PathLike) -> list[Any]:
    """Open a directory and read it."""
    return os.listdir(path)


def make_files(directory: PathLike, n_files: int, prefix: str = "f") -> None:
    """Create files, all different."""
    for n in range(n_files):
        touch(os.path.join(os.fsencode(directory), b"%s%d" % (prefix.encode(), n)))


def churn(directory: PathLike, n_files: int) -> None:
    """Create, write and remove files one after the other."""
    for n in range(n_files):
        path = os.path.join(os.fsencode(directory), b"churn%d" % n)
        write(path)
        os.unlink(path)


def churn_until(directory: PathLike, stop: PathLike) -> int:
    """Make directories with a file, and remove them, until the file *stop* is there. Returns how many."""
    os.nice(10)  # three of these may make more than one can read, where that is not served first
    n_made = 0
    while not os.path.lexists(stop):
        path = os.path.join(os.fsencode(directory), b"noise%d" % n_made)
        os.mkdir(path)
        write(path + b"/file")
        os.unlink(path + b"/file")
        os.rmdir(path)
        n_made += 1
    return n_made


def make_tree(top: PathLike, n_directories: int, fan_out: int = 10) -> None:
    """Make directories in a tree: the parent of number n is number (n - 1) // fan_out."""
    paths = [os.fsencode(top)]
    os.makedirs(top, exist_ok=True)
    for n in range(1, n_directories + 1):
        paths.append(paths[(n - 1) // fan_out] + b"/d%d" % n)
        os.mkdir(paths[-1])


def remove_tree(path: PathLike) -> None:
    """``rm -r``."""
    shutil.rmtree(path)


def rename2(old: PathLike, new: PathLike, flags: int) -> None:
    """``renameat2(2)``."""
    _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def link_tmpfile(directory: PathLike, path: PathLike, data: bytes = b"x") -> None:
    """Make a file without a name in *directory*, write to it, and give it a name."""
    fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o644)
    try:
        os.write(fd, data)
        # os.link calls link(2), which does not follow
        source = b"/proc/self/fd/%d" % fd
        _check(_libc.linkat(AT_FDCWD, source, AT_FDCWD, os.fsencode(path), AT_SYMLINK_FOLLOW))
    finally:
        os.close(fd)


def make_deep(top: PathLike, name: bytes, depth: int) -> None:
    """Make *depth* directories in each other, without ever using a long path; then a file ``bottom`` in the last."""
    at = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at))
    os.close(at)


def touch_deep(top: PathLike, name: bytes, depth: int, leaf: bytes) -> None:
    """Create *leaf* at the bottom of what :func:`make_deep` made."""
    at = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open(leaf, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at))
    os.close(at)


def remove_deep(top: PathLike, name: bytes) -> None:
    """Remove what :func:`make_deep` made: lift each level to the top, so that no path gets long."""
    base = os.fsencode(top)
    os.rename(base + b"/" + name, base + b"/lift")
    while True:
        inner = base + b"/lift/" + name
        for entry in os.listdir(base + b"/lift"):
            if entry != name:
                os.unlink(base + b"/lift/" + entry)
        if not os.path.lexists(inner):
            break
        os.rename(inner, base + b"/next")
        os.rmdir(base + b"/lift")
        os.rename(base + b"/next", base + b"/lift")
    os.rmdir(base + b"/lift")


def touch_and_become(path: PathLike, euid: int) -> None:
    """Touch a file as root, and be another user right after; by /proc everybody may see who."""
    os.seteuid(0)
    touch(path)
    os.seteuid(euid)
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))


def getpid() -> int:
    """Process id of the other process."""
    return os.getpid()


def serve() -> None:
    """Do what is asked until standard input ends."""
    calls, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            function, args, kwargs = pickle.load(calls)
        except EOFError:
            return
        try:
            answer = (True, function(*args, **kwargs))
        except BaseException as exc:
            answer = (False, exc)
        pickle.dump(answer, answers)
        answers.flush()
