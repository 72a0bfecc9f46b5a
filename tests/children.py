"""Forked children of a test: they do one thing, hand back what came of it, and leave by ``os._exit``."""

import os
import pickle
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

NOBODY_UID = 65534
DEADLINE_S = 10.0


def fork() -> int:
    """``fork(2)``."""
    with warnings.catch_warnings():
        # Python 3.12 warns when there are threads; the children here exec, or start no thread of their own before
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


def in_child(function: Callable[[], T]) -> T:
    """Run *function* in a child, and return what it returns or raise what it raises."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            result: tuple[bool, Any] = (True, function())
        except BaseException as exc:
            result = (False, exc)
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
    answer: T = value
    return answer


def become(uid: int) -> None:
    """Give up root, for good, and be that user in the group of the same number and no other."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def as_nobody(function: Callable[[], T]) -> T:
    """Run *function* in a child that has no privilege."""

    def unprivileged() -> T:
        become(NOBODY_UID)
        return function()

    return in_child(unprivileged)


@contextmanager
def staying(function: Callable[[], object]) -> Iterator[int]:
    """A child that has run *function* and keeps what that returned, until it is killed; at the end it is."""
    ready, told = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            kept = function()
            os.write(told, b"1")
            signal.pause()
            del kept
        finally:
            os._exit(1)
    os.close(told)
    try:
        with open(ready, "rb") as pipe:
            assert pipe.read(1) == b"1", "the child failed"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
