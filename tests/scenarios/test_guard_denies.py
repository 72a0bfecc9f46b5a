"""Forbidding: what is refused below a directory, by whatever route it is reached, and nothing beside it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

import fanotify_fastpath as fan
from conftest import everywhere
from fanotify_fastpath import Group, Mask, Scope, guard
from fanotify_fastpath._uapi.constants import AT_FDCWD, AT_HANDLE_CONNECTABLE
from fanotify_fastpath._uapi.detached_mount import clone_mount
from fanotify_fastpath._uapi.syscalls import name_to_handle_at
from mounting import Filesystem, Mounter

from . import actions
from .support import SHORT_S, Other, execute, hear, program, refusal


@everywhere
def test_block_mode_denies_below_the_root_and_nothing_else(top: Path, filesystem: Filesystem, other: Other) -> None:
    with Group(timeout_s=SHORT_S) as group:
        group.mark(filesystem.mountpoint, Mask.OPEN_PERM, scope=Scope.FILESYSTEM)
        group.attach("monitor-subtree", roots=[top / "in"], mode="block")
        for _ in range(3):
            assert refusal(other, actions.write, top / "in/xx") == "EPERM"
            assert refusal(other, actions.write, top / "in/deep/er/f") == "EPERM"
            assert refusal(other, actions.write, top / "xx") == "ok"
            assert refusal(other, actions.write, top / "out/deep/f") == "ok"
        assert group.read(timeout_s=0.1) == []
    assert refusal(other, actions.write, top / "in/xx") == "ok"


@everywhere
def test_a_guarded_file_can_be_neither_opened_nor_executed(top: Path, other: Other) -> None:
    inside, outside = program(top / "in/deep/program"), program(top / "out/program")
    with guard(top / "in", timeout_s=SHORT_S) as guarded:
        for _ in range(2):
            assert refusal(other, actions.read, top / "in/f") == "EPERM"
            assert refusal(other, actions.read, top / "out/f") == "ok"
            assert execute(inside) == "EPERM"
            assert execute(outside) == "ok"
        events = hear(guarded, lambda heard: len(heard) >= 4, "four attempts are told")
    first = events[0]
    assert (first.mask, first.path, first.tgid) == (Mask.OPEN_PERM, str(top / "in/f"), other.pid)
    assert (first.uid, first.is_dir, first.inode) == (0, False, (top / "in/f").stat().st_ino)
    assert first.dev == (top / "in/f").stat().st_dev
    assert first.exe == os.path.realpath(sys.executable)
    assert first.comm is not None
    assert {event.path for event in events} == {str(top / "in/f"), str(inside)}
    assert execute(inside) == "ok"


def test_only_execution_is_refused_when_only_that_is_asked_for(top: Path, other: Other) -> None:
    inside = program(top / "in/program")
    with guard(top / "in", deny=Mask.OPEN_EXEC_PERM, timeout_s=SHORT_S):
        assert refusal(other, actions.read, inside) == "ok"
        assert execute(inside) == "EPERM"


def test_directories_are_refused_only_when_asked_for(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S):
        assert refusal(other, actions.list_directory, top / "in/deep") == "ok"
    with guard(top / "in", deny=Mask.OPEN_PERM | Mask.ONDIR, timeout_s=SHORT_S):
        for _ in range(2):
            assert refusal(other, actions.list_directory, top / "out") == "ok"
            assert refusal(other, actions.list_directory, top) == "ok"
            assert refusal(other, actions.list_directory, top / "in/deep") == "EPERM"
            assert refusal(other, actions.list_directory, top / "in") == "EPERM"
            assert refusal(other, actions.read, top / "out/f") == "ok"


ROUTES = ["path", "relative", "symlink", "bind", "file bind", "detached mount", "hard link inside"]
ROUTES += ["file bind of a hard link", "deleted file bind", "own fd", "deleted fd", "dir fd"]


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_to_a_guarded_file_is_refused(top: Path, other: Other, mounts: Mounter, route: str) -> None:
    file = top / "in/deep/er/f"
    target: str | Path = file
    if route == "relative":
        target = top / "out/../in/./deep/er/f"
    elif route == "symlink":
        (top / "out/link").symlink_to(file)
        target = top / "out/link"
    elif route == "bind":
        target = mounts.bind(top / "in/deep") / "er/f"
    elif "file bind" in route:
        if route == "file bind of a hard link":
            os.link(file, top / "out/link")
        target = mounts.bind(file, program(top / "out/mountpoint"))
        if route == "deleted file bind":
            file.unlink()
    elif route == "hard link inside":
        os.link(top / "out/f", top / "in/deep/link")
        target = top / "in/deep/link"
    fd = -1
    if route == "detached mount":
        fd = clone_mount(AT_FDCWD, os.fsencode(top / "in/deep"))
        target = f"/proc/{os.getpid()}/fd/{fd}/er/f"
    if route in ("own fd", "deleted fd", "dir fd"):
        fd = os.open(file.parent if route == "dir fd" else file, os.O_RDONLY)
        target = f"/proc/{os.getpid()}/fd/{fd}" + ("/f" if route == "dir fd" else "")
        if route == "deleted fd":
            file.unlink()
    try:
        with guard(top / "in", timeout_s=SHORT_S):
            assert [refusal(other, actions.read, target) for _ in range(2)] == ["EPERM", "EPERM"]
        assert refusal(other, actions.read, target) == "ok"
    finally:
        if fd >= 0:
            os.close(fd)


@pytest.mark.parametrize("n_links", [1, 2])
def test_what_is_mounted_in_another_namespace_is_judged_by_where_it_lies(top: Path, n_links: int) -> None:
    """The guard cannot see the mount; and the file has a name outside, and one inside."""
    if n_links > 1:
        os.link(top / "in/deep/er/f", top / "out/link")
        os.link(top / "out/deep/f", top / "in/deep/other-link")

    def read_through_mount(source: Path, name: str) -> bool:
        script = 'mount --bind "$1" "$2"; cat "$2$3" 2>&1'
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
        done = subprocess.run([*command, source, mountpoint, name], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "Operation not permitted" in done.stdout, done
        return done.returncode == 0

    (top / "on").mkdir()
    (top / "on-file").touch()
    with guard(top / "in", timeout_s=SHORT_S):
        mountpoint = top / "on"
        assert not read_through_mount(top / "in/deep", "/er/f")
        assert read_through_mount(top / "out/deep", "/f")
        mountpoint = top / "on-file"
        assert not read_through_mount(top / "in/deep/er/f", "")
        assert read_through_mount(top / "out/deep/f", "")


def names_directories(path: Path) -> bool:
    """Tell whether the kernel makes file handles that name the directory too (Linux 6.13)."""
    try:
        name_to_handle_at(AT_FDCWD, os.fsencode(path), AT_HANDLE_CONNECTABLE)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("on_timeout", "answer"), [("allow", "ok"), ("deny", "EPERM")])
def test_of_several_names_through_a_mount_that_nobody_sees_one_is_found_or_it_is_undecided(
    top: Path, other: Other, on_timeout: Literal["allow", "deny"], answer: str
) -> None:
    os.link(top / "in/deep/er/f", top / "out/link")
    is_decided = names_directories(top / "in/deep/er/f")
    fd = clone_mount(AT_FDCWD, os.fsencode(top / "in/deep"))
    try:
        with guard(top / "in", timeout_s=SHORT_S, on_timeout=on_timeout) as guarded:
            got = refusal(other, actions.read, f"/proc/{os.getpid()}/fd/{fd}/er/f")
            assert [event.undecided for event in guarded.read(timeout_s=1)] == [not is_decided]
        assert got == ("EPERM" if is_decided else answer)
    finally:
        os.close(fd)


def test_a_hard_link_outside_is_free_whatever_its_other_name_is(top: Path, other: Other) -> None:
    os.link(top / "in/f", top / "out/link")
    with guard(top / "in", timeout_s=SHORT_S):
        for _ in range(3):
            assert refusal(other, actions.read, top / "out/link") == "ok"
            assert refusal(other, actions.read, top / "in/f") == "EPERM"


def test_a_single_file_is_guarded_by_all_its_names(top: Path, other: Other) -> None:
    with guard(top / "in/f", timeout_s=SHORT_S):
        assert refusal(other, actions.read, top / "in/deep/er/f") == "ok"
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        (top / "in/f").rename(top / "out/renamed")
        assert refusal(other, actions.read, top / "out/renamed") == "EPERM"
        os.link(top / "out/renamed", top / "out/deep/link")
        assert refusal(other, actions.read, top / "out/deep/link") == "EPERM"
        assert refusal(other, actions.read, top / "out/f") == "ok"


def test_a_tree_deeper_than_any_path_is_guarded_and_one_outside_is_not(top: Path, other: Other) -> None:
    fds = []
    for name in ("in", "out"):
        fd = os.open(top / name, os.O_RDONLY)
        for _ in range(40):
            os.mkdir("d" * 200, dir_fd=fd)
            deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = deeper
        for file in ("f", "removed"):
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd))
        fds += [fd, os.open("removed", os.O_RDONLY, dir_fd=fd)]
        os.unlink("removed", dir_fd=fd)
    try:
        with guard(top / "in", timeout_s=SHORT_S):
            names = [f"/proc/{os.getpid()}/fd/{fd}{name}" for fd, name in zip(fds, ["/f", ""] * 2, strict=True)]
            assert [refusal(other, actions.read, name) for name in names] == ["EPERM", "EPERM", "ok", "ok"]
    finally:
        for fd in fds:
            os.close(fd)


def test_reading_can_be_refused_with_the_file_open(top: Path, other: Other) -> None:
    with guard(top / "in", deny=Mask.ACCESS_PERM, timeout_s=SHORT_S):
        assert refusal(other, actions.touch, top / "in/f") == "ok"
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "out/f") == "ok"


def test_access_can_be_refused_before_there_is_content(top: Path, other: Other) -> None:
    try:
        guarded = guard(top / "in", deny=Mask.PRE_ACCESS, timeout_s=SHORT_S)
    except fan.UnsupportedFeature as exc:
        pytest.skip(str(exc))
    with guarded:
        for _ in range(2):
            assert refusal(other, actions.read, top / "in/f") == "EPERM"
            assert refusal(other, actions.read, top / "out/f") == "ok"


def test_a_mark_that_fails_changes_nothing(top: Path, other: Other) -> None:
    with Group(timeout_s=SHORT_S) as group:
        group.mark(top / "in", Mask.OPEN_PERM)
        group.attach("monitor-subtree", roots=[top / "in"], mode="block")
        with pytest.raises(fan.FastpathError):
            group.mark(top / "out", Mask.PRE_ACCESS | Mask.ONDIR)
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "out/f") == "ok"


@pytest.mark.parametrize("deny", [Mask.OPEN, Mask.OPEN_PERM | Mask.CLOSE, Mask(0), Mask.ONDIR])
def test_only_permission_events_can_be_denied(top: Path, deny: Mask) -> None:
    with pytest.raises(fan.InvalidArgument):
        guard(top / "in", deny=deny)
