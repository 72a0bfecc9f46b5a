"""
The scenarios as an ordinary user, through the daemon (FP_ENGINE=daemon): who is who.

This process stays root's, for mounting and the like. Its threads have the user's ids for files, and for a moment the
user's effective ids when they connect, so that the daemon takes them for the user. Both are ids of a thread, as long as
they are set by system calls of one's own: the C library sets those of all threads. Other processes are the user's.
"""

import contextlib
import ctypes
import dataclasses
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, ParamSpec, TypedDict, TypeVar

import pytest

from daemon.support import FOR_ALL, USER, Daemon
from engines import ENGINES
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.daemon import connection
from fanotify_fastpath._probes.daemon import Inquiry
from fanotify_fastpath._wire import addresses
from mounting import LARGE_MIB, Filesystems, Mounter

P = ParamSpec("P")
T = TypeVar("T")

#: whether the scenarios are played by an ordinary user
IS_USER: Final = "daemon" in ENGINES
#: who plays
UID: Final = USER if IS_USER else 0
#: filesystems on which every scenario is played; on the others only with those that take long
USUAL_KINDS: Final = ("ext4", "tmpfs")
#: as many groups and rings as the largest scenario wants
LIMITS: Final = '[limits]\ngroups_per_user = 128\nconnections_per_user = 128\nring_bytes_per_user = "1 GiB"\n'
_ROOMY: Final = FOR_ALL + LIMITS
#: what mounted anew is empty, and so may be given to somebody
_EMPTY: Final = ("tmpfs", "overlay")
_UNCHANGED: Final = -1
_PR_SET_DUMPABLE: Final = 4

# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
_SETGROUPS, _SETRESUID, _SETRESGID = (116, 117, 119) if platform.machine() == "x86_64" else (159, 147, 149)
_libc = ctypes.CDLL(None, use_errno=True)


class Ids(TypedDict, total=False):
    """Arguments of :class:`subprocess.Popen`."""

    user: int
    group: int
    extra_groups: list[int]


def ids(uid: int = UID) -> Ids:
    """Arguments of :class:`subprocess.Popen` by which the child is that user, in the group of the same number."""
    return {"user": uid, "group": uid, "extra_groups": []} if uid else {}


def _call(*arguments: Any) -> None:
    if _libc.syscall(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _set_file_ids(uid: int, gid: int) -> tuple[int, int]:
    """Set the ids by which this thread uses files; return what they were."""
    old_gid = _libc.setfsgid(gid)
    old_uid = _libc.setfsuid(uid)
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # a change of ids hides this process in /proc from its own user
    return old_uid, old_gid


def _file_uid() -> int:
    uid: int = _libc.setfsuid(_UNCHANGED)
    return uid


@contextlib.contextmanager
def as_user() -> Iterator[None]:
    """Let this thread, and what it starts, use files as the user, if one plays."""
    if not IS_USER:
        yield
        return
    groups = os.getgroups()
    _call(_SETGROUPS, 0, None)
    old = _set_file_ids(USER, USER)
    try:
        yield
    finally:
        _set_file_ids(*old)
        _call(_SETGROUPS, len(groups), (ctypes.c_uint32 * len(groups))(*groups))


@contextlib.contextmanager
def as_root() -> Iterator[None]:
    """Let this thread use files as root for a moment; in a process that is not root's nothing changes."""
    if not IS_USER or os.geteuid() != 0:
        yield
        return
    old = _set_file_ids(0, 0)
    try:
        yield
    finally:
        _set_file_ids(*old)


def own(path: Path, uid: int = USER) -> Path:
    """Give a file to the user, or to another one."""
    if IS_USER:
        with as_root():
            os.chown(path, uid, uid)
    return path


@contextlib.contextmanager
def wholly_user() -> Iterator[None]:
    """Let this thread be the user also for those who ask who it is; it can mount nothing then."""
    if not IS_USER:
        yield
        return
    _call(_SETRESGID, _UNCHANGED, USER, _UNCHANGED)
    _call(_SETRESUID, _UNCHANGED, USER, _UNCHANGED)
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        _call(_SETRESUID, _UNCHANGED, 0, _UNCHANGED)
        _call(_SETRESGID, _UNCHANGED, 0, _UNCHANGED)
        _set_file_ids(USER, USER)


class UsersMounter(Mounter):
    """Mounts as root, and gives the user what is new."""

    def __init__(self, base: Path | None = None, image_mib: dict[str, int] | None = None) -> None:
        with as_root():
            super().__init__(base, *([] if image_mib is None else [image_mib]))

    def new_dir(self, name: str) -> Path:
        with as_root():
            return own(super().new_dir(name))

    def mount(self, where: Path, *arguments: str | Path) -> Path:
        with as_root():
            super().mount(where, *arguments)
        return own(where) if len(arguments) > 1 and arguments[1] in _EMPTY else where

    def make(self, kind: str, where: Path | None = None) -> Path:
        with as_root():
            return own(super().make(kind, where))

    def undo(self) -> None:
        with as_root():
            super().undo()


class UsersFilesystems(Filesystems):
    """Makes directories as root, and gives them to the user."""

    def top(self, kind: str) -> Path:
        with as_root():
            return super().top(kind)

    def new(self, kind: str) -> Path:
        with as_root():
            return own(super().new(kind))


def counted_by_daemon() -> Counters:
    """What the daemon has counted for the group of this process, as root is told it."""
    with as_root(), Inquiry() as inquiry:
        (status,) = (group for group in inquiry.groups() if group.tgid == os.getpid())
    names = {field.name for field in dataclasses.fields(Counters)}
    return Counters(**{name: n for name, n in status.counters.items() if name in names})


def session_mounter() -> Mounter:
    """For mounts that end with the session."""
    return UsersMounter(image_mib=LARGE_MIB) if IS_USER else Mounter(image_mib=LARGE_MIB)


def _as_peer(connect: Callable[P, T]) -> Callable[P, T]:
    """Connect so that the kernel tells the daemon that it is the user, if this thread uses files as the user."""

    def connect_as_user(*args: P.args, **kwargs: P.kwargs) -> T:
        if os.geteuid() != 0 or _file_uid() != USER:
            return connect(*args, **kwargs)
        with wholly_user():
            return connect(*args, **kwargs)

    return connect_as_user


@contextlib.contextmanager
def daemon_of(directory: Path) -> Iterator[Daemon]:
    """A daemon whose user is who plays."""
    _check_readable()
    with pytest.MonkeyPatch.context() as patch, Daemon(directory / "daemon", _ROOMY) as daemon:
        patch.setattr(connection, "connect", _as_peer(addresses.connect))
        patch.setenv(addresses.SOCKET_VARIABLE, os.fspath(daemon.socket_path))
        yield daemon


def _check_readable() -> None:
    """The user runs what is here."""
    try:
        with as_user(), open(__file__):
            pass
    except PermissionError as exc:
        raise RuntimeError(f"user {USER} must be able to read {Path(__file__).parents[2]}") from exc
