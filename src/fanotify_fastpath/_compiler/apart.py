"""A process of its own for LLVM, which ends the one that it works in where it cannot go on."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Final

from fanotify_fastpath.errors import InvalidArgument

_STDERR: Final = 2
#: exit code of the child: the message is for the user as it is
_REFUSED: Final = 77


def make_apart(make: Callable[[], bytes]) -> bytes:
    """
    Call a function in a child of this process.

    :return: what it returned
    :raises InvalidArgument: the function raised that; or the child ended without, with what was said last
    """
    with _memory() as made, _memory() as said:
        with warnings.catch_warnings():
            # the child of a process with threads: it calls nothing that they might be doing, and then it is gone
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            _be_child(make, made, said)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        lines = _read(said).decode(errors="replace").strip().splitlines() or [f"it ended with {status}"]
        if status == _REFUSED:
            raise InvalidArgument(" ".join(lines))
        if status:
            raise InvalidArgument(f"LLVM cannot make a program of this handler: {lines[-1]}")
        return _read(made)


@contextlib.contextmanager
def _memory() -> Iterator[int]:
    fd = os.memfd_create("llvm")
    try:
        yield fd
    finally:
        os.close(fd)


def _be_child(make: Callable[[], bytes], made: int, said: int) -> None:
    code = 1
    try:
        os.dup2(said, _STDERR)
        with open(made, "wb", closefd=False) as file:
            file.write(make())
        code = 0
    except InvalidArgument as exc:
        code = _REFUSED
        os.write(said, str(exc).encode(errors="replace"))
    except BaseException as exc:
        os.write(said, str(exc).encode(errors="replace"))
    finally:
        os._exit(code)


def _read(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()
