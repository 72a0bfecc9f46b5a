"""Clients in other namespaces: of mounts, as services with a private ``/tmp`` are; of processes, as in containers."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

import fanotify_fastpath as fan
from children import become, in_child
from fanotify_fastpath import Event
from fanotify_fastpath._daemon.namespaces import shares_pids
from fanotify_fastpath._wire.addresses import SOCKET_VARIABLE
from fanotify_fastpath.errors import PathNotFound, UnsupportedFeature

from .support import USER, Daemon, open_up

_CLONE_NEWNS, _CLONE_NEWPID = 0x20000, 0x20000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
T = TypeVar("T")


def unshare(flags: int) -> None:
    """``unshare(2)``; mounts that come here later are not seen outside."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(flags) == 0, os.strerror(ctypes.get_errno())
    if flags & _CLONE_NEWNS:
        assert libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0, os.strerror(ctypes.get_errno())


def as_user_in(flags: int, function: Callable[[], T], prepare: Callable[[], object] = lambda: None) -> T:
    """Run *function* as an ordinary user in new namespaces, where root has prepared something before."""

    def inside() -> T:
        become(USER)
        return function()

    def outside() -> T:
        unshare(flags)
        prepare()
        return in_child(inside)  # a new namespace of processes is that of the children

    return in_child(outside)


def told(root: Path) -> list[tuple[str | None, int, str | None]]:
    """Make a file below *root* and return what is told of it: path, process, name of the process."""
    with fan.Group(engine="daemon", include_self=True) as group:
        group.mark(root, fan.Mask.CREATE)
        (root / "made").touch()
        events: list[Event] = group.read(timeout_s=10)
        (root / "made").unlink()
    return [(event.path, event.tgid, event.comm) for event in events]


@pytest.fixture
def root(daemon: Daemon, top: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SOCKET_VARIABLE, os.fspath(daemon.socket_path))
    (top / "root").mkdir()
    return open_up(top / "root")


def test_a_client_with_mounts_of_its_own_is_served(root: Path) -> None:
    ((path, tgid, comm),) = as_user_in(_CLONE_NEWNS, lambda: told(root))
    assert path == f"{root}/made"
    assert tgid > 0
    assert comm


def test_a_client_that_numbers_processes_otherwise_is_told_no_numbers(root: Path) -> None:
    assert as_user_in(_CLONE_NEWPID, lambda: told(root)) == [(f"{root}/made", 0, None)]


def test_a_single_file_of_other_mounts_is_refused(root: Path) -> None:
    file = root / "file"
    file.touch(0o666)

    def watch() -> None:
        with fan.Group(engine="daemon") as group:
            group.mark(file, fan.Mask.MODIFY)

    with pytest.raises(UnsupportedFeature, match="mount namespace"):
        as_user_in(_CLONE_NEWNS, watch)


def test_a_filesystem_that_the_daemon_does_not_see_is_refused(root: Path) -> None:
    def mount() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        target = os.fsencode(root)
        assert libc.mount(b"none", target, b"tmpfs", 0, b"mode=0777") == 0, os.strerror(ctypes.get_errno())

    with pytest.raises(PathNotFound, match="mount namespace"):
        as_user_in(_CLONE_NEWNS, lambda: told(root), mount)


def test_who_shares_the_numbers_of_processes() -> None:
    assert shares_pids(os.getpid())
    assert not shares_pids(0)
    assert not shares_pids(1 << 22)  # beyond the highest number there can be
