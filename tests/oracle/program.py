"""
Random programs of file operations, for other processes to run.

A program is a seed: each process draws its operations from it, on a few names so that they meet. Many fail, as they do
in life; what counts is the tree in the end. Nothing of the package under test is used here.
"""

import errno
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scenarios import actions

#: few names, so that operations meet; nasty ones, so that bytes matter
NAMES = (b"a", b"b", b"c", b"\xff\xfe", b"new\nline", b"x (deleted)", b"\\012")
_FAILURES = (
    "ENOENT EEXIST ENOTDIR EISDIR ENOTEMPTY EINVAL ELOOP EXDEV ENXIO EPERM ESTALE ENOTSUP EMLINK EBUSY ENAMETOOLONG"
)
_EXPECTED = {getattr(errno, name) for name in _FAILURES.split()}


#: name of what is done, and the paths that it is done with
Operation = tuple[str, tuple[bytes, ...]]
#: what was done, with its error number
Log = list[tuple[str, tuple[bytes, ...], int]]


@dataclass(frozen=True)
class Setting:
    """
    What a program is drawn from.

    :ivar seed: the program
    :ivar n_operations: of each process
    :ivar operations: names of the operations to draw from, all if empty
    """

    seed: int
    n_operations: int
    operations: tuple[str, ...] = ()


class Player:
    """
    One process of a program.

    Paths begin with ``inside``, the directory that is watched, ``outside``, one beside it, or ``alias``, a bind mount
    of the first (see :func:`located`).
    """

    def __init__(self, setting: Setting, who: int) -> None:
        self.setting = setting
        self.rng = random.Random(f"{setting.seed}/{who}")

    def place(self, *, is_through_alias: bool = False) -> bytes:
        """A path at a random depth, inside or outside."""
        rng = self.rng
        top = b"inside" if rng.random() < 0.6 else b"outside"
        if is_through_alias and top == b"inside":
            top = b"alias"
        depth = rng.choice((1, 1, 2, 2, 3, 4))
        return b"/".join([top, *(rng.choice(NAMES[: 2 + depth]) for _ in range(depth))])

    def pair(self) -> tuple[bytes, bytes]:
        return self.place(), self.place()

    def script(self) -> list[Operation]:
        """All its operations."""
        known = self.setting.operations or tuple(OPERATIONS)
        choices = [name for name in known for _ in range(OPERATIONS[name][0])]
        drawn = []
        for _ in range(self.setting.n_operations):
            name = self.rng.choice(choices)
            drawn.append((name, OPERATIONS[name][1](self)))
        return drawn


def located(script: list[Operation], tops: dict[bytes, bytes]) -> list[Operation]:
    """The same with the first part of each path replaced."""

    def locate(path: bytes) -> bytes:
        top, slash, rest = path.partition(b"/")
        return tops[top] + slash + rest

    return [(name, tuple(map(locate, arguments))) for name, arguments in script]


def perform(script: list[Operation]) -> Log:
    """Do all operations. Returns each with its arguments and error number."""
    log: Log = []
    for name, arguments in script:
        code = 0
        try:
            OPERATIONS[name][2](*arguments)
        except shutil.Error:
            code = -1
        except OSError as exc:
            code = exc.errno or -1
            if code not in _EXPECTED:
                raise
        log.append((name, arguments, code))
    return log


def _make_directories(path: bytes) -> None:
    os.makedirs(path)
    actions.touch(path + b"/a")


def _remove_tree(path: bytes) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _exchange(old: bytes, new: bytes) -> None:
    actions.rename2(old, new, actions.RENAME_EXCHANGE)


def _whiteout(old: bytes, new: bytes) -> None:
    actions.rename2(old, new, actions.RENAME_WHITEOUT)


def _there_and_back(old: bytes, new: bytes) -> None:
    os.rename(old, new)
    os.rename(new, old)


def _to_and_fro(old: bytes, new: bytes) -> None:
    os.rename(old, new)
    os.rename(new, old)
    os.rename(old, new)


def _write(path: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    os.write(fd, b"x")
    os.close(fd)


def _recreate(path: bytes) -> None:
    _write(path)
    os.unlink(path)
    _write(path)


def _tmpfile(path: bytes) -> None:
    actions.link_tmpfile(os.path.dirname(path), path)


def _symlink(target: bytes, path: bytes) -> None:
    os.symlink(b"nowhere/" + os.path.basename(target), path)


def _one(player: Player) -> tuple[bytes, ...]:
    return (player.place(),)


def _aliased(player: Player) -> tuple[bytes, ...]:
    return (player.place(is_through_alias=True),)


def _two(player: Player) -> tuple[bytes, ...]:
    return player.pair()


def _chmod(path: bytes) -> None:
    os.chmod(path, 0o700)


def _truncate(path: bytes) -> None:
    os.truncate(path, 1)


#: name → weight, how to draw the arguments, what to do
OPERATIONS: dict[str, tuple[int, Callable[[Player], tuple[bytes, ...]], Callable[..., Any]]] = {
    "write": (8, _aliased, _write),
    "recreate": (2, _one, _recreate),
    "unlink": (4, _aliased, os.unlink),
    "mkdir": (8, _aliased, os.mkdir),
    "mkdir -p": (3, _one, _make_directories),
    "rmdir": (2, _aliased, os.rmdir),
    "rm -r": (2, _one, _remove_tree),
    "rename": (10, _two, os.rename),
    "there and back": (1, _two, _there_and_back),
    "to and fro": (1, _two, _to_and_fro),
    "link": (3, _two, os.link),
    "symlink": (1, _two, _symlink),
    "exchange": (3, _two, _exchange),
    "whiteout": (1, _two, _whiteout),
    "tmpfile": (2, _one, _tmpfile),
    "truncate": (1, _one, _truncate),
    "chmod": (1, _one, _chmod),
}


def play_unique(base: bytes, seed: int, n_operations: int, moves_directories: bool) -> None:
    """A script in which no name is ever used twice."""
    rng = random.Random(seed)
    directories, files = [base], list[bytes]()

    def new(prefix: bytes) -> bytes:
        return rng.choice(directories) + b"/%s%d" % (prefix, n)

    for n in range(n_operations):
        action = rng.choice(
            ("write", "mkdir", "read", "rename", "rename dir", "unlink", "list", "chmod", "link", "tmp")
        )
        if action == "mkdir":
            directories.append(new(b"dir"))
            os.mkdir(directories[-1])
        elif action == "list":
            os.listdir(rng.choice(directories))
        elif action == "rename dir" and len(directories) > 3 and moves_directories:
            _rename_directory(directories, files, rng, n)
        elif action == "write" or not files:
            files.append(new(b"file"))
            actions.write(files[-1])
        elif action == "rename":
            at = rng.randrange(len(files))
            old, files[at] = files[at], new(b"renamed")
            os.rename(old, files[at])
        elif action == "link":
            files.append(new(b"link"))
            os.link(files[-2], files[-1])
        elif action == "unlink":
            os.unlink(files.pop(rng.randrange(len(files))))
        elif action == "read":
            actions.read(rng.choice(files))
        elif action == "chmod":
            os.chmod(rng.choice(files), 0o600 + n % 2)
        else:
            path = new(b"gone")
            actions.write(path)
            os.unlink(path)


def _rename_directory(directories: list[bytes], files: list[bytes], rng: random.Random, n: int) -> None:
    """Rename a directory, and all that is below it in the lists."""
    old = directories[rng.randrange(1, len(directories))]
    parents = [path for path in directories if not (path + b"/").startswith(old + b"/")]
    new = rng.choice(parents) + b"/moved%d" % n
    os.rename(old, new)
    for paths in (directories, files):
        paths[:] = [new + path[len(old) :] if (path + b"/").startswith(old + b"/") else path for path in paths]
