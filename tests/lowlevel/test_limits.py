"""Limits on groups and marks (LTP fanotify17)."""

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from children import as_nobody, in_child
from fanotify_fastpath.lowlevel import InitFlag, Mask
from outcomes import errno_of

from .support import ADD, listen, new_file, open_and_close

CLONE_NEWUSER = 0x10000000
N_ALLOWED = 5


def in_user_namespace(groups: int, marks: int, function: Callable[[], object]) -> object:
    """
    Run *function* in a child with a user namespace of its own, with limits of its own.

    The machine's limits stay as they are: others are listening too.
    """

    def limited() -> object:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWUSER) != 0:
            return None
        Path("/proc/sys/user/max_fanotify_groups").write_text(str(groups))
        Path("/proc/sys/user/max_fanotify_marks").write_text(str(marks))
        return function()

    return in_child(limited)


def n_groups_until_refused() -> tuple[int, str]:
    with ExitStack() as stack:
        for n in range(N_ALLOWED * 3):
            error = errno_of(lambda: stack.enter_context(listen(InitFlag.REPORT_FID)))
            if error != "ok":
                return n, error
    return -1, "ok"


def test_groups_are_limited_for_each_user_in_each_namespace() -> None:
    result = in_user_namespace(N_ALLOWED, 1000, n_groups_until_refused)
    if result is None:
        pytest.skip("no user namespaces here")
    assert result == (N_ALLOWED, "EMFILE")


def test_closing_a_group_gives_its_place_back() -> None:
    def open_and_close_many() -> str:
        for _ in range(N_ALLOWED * 3):
            error = errno_of(open_and_close, InitFlag.REPORT_FID)
            if error != "ok":
                return error
        return "ok"

    assert in_user_namespace(N_ALLOWED, 1000, open_and_close_many) in ("ok", None)


def marks_until_refused(paths: list[Path]) -> Callable[[], tuple[int, str, str]]:
    def function() -> tuple[int, str, str]:
        with listen(InitFlag.REPORT_FID) as group:
            for n, path in enumerate(paths):
                error = errno_of(group.mark, ADD, Mask.OPEN, path)
                if error != "ok":
                    # a mark that exists is changed, which costs no place
                    return n, error, errno_of(group.mark, ADD, Mask.ACCESS, paths[0])
        return -1, "ok", ""

    return function


def test_marks_are_limited_and_refused_with_enospc(tmpfs: Path) -> None:
    paths = [new_file(tmpfs, f"file{n}") for n in range(N_ALLOWED * 2)]
    result = in_user_namespace(10, N_ALLOWED, marks_until_refused(paths))
    if result is None:
        pytest.skip("no user namespaces here")
    assert result == (N_ALLOWED, "ENOSPC", "ok")


def test_unlimited_queues_and_marks_are_for_root() -> None:
    def unprivileged() -> list[str]:
        flags = (InitFlag.UNLIMITED_QUEUE, InitFlag.UNLIMITED_MARKS)
        return [errno_of(listen, InitFlag.REPORT_FID | flag) for flag in flags]

    assert as_nobody(unprivileged) == ["EPERM", "EPERM"]
    listen(InitFlag.UNLIMITED_QUEUE | InitFlag.UNLIMITED_MARKS).close()
