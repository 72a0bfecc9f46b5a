"""S3, S6, S7, S8: attaching handlers, with and without privilege, and what arguments may be."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from children import as_nobody
from conftest import open_descriptors
from fanotify_fastpath import (
    FastpathError,
    Group,
    HandlerBusy,
    InvalidArgument,
    Mask,
    NotPermitted,
    Scope,
)
from mounting import Mounter

from . import actions
from .conftest import Stage
from .support import paths, told


def test_s3_one_directory_without_privilege_and_prefixes_ignored(stage: Stage, named: Callable[[str], str]) -> None:
    def listen() -> tuple[list[str], list[str]]:
        with Group(engine=stage.engine_of_plain_users) as group:
            group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
            group.attach(named("ignore-prefix"), prefixes=["a", "b", "c"])
            ears = stage.ears(group)
            stage.other(actions.touch, directory / "aa")
            stage.other(actions.touch, directory / "xx")
            heard = ears.hear(directory)
            return paths(heard, Mask.CREATE, directory), [event.comm or "" for event in heard]

    (directory,) = stage.dirs("directory")
    make_reachable(directory)
    created, _ = as_nobody(listen)
    assert created == ["xx"]


def test_s3_the_same_as_administrator(stage: Stage, named: Callable[[str], str]) -> None:
    (directory,) = stage.dirs("directory")
    group = stage.group()
    group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
    group.attach(named("ignore-prefix"), prefixes=["a", "b", "c"])
    for name in ("aa", "xx", "b", "cab", "yc"):
        stage.other(actions.touch, directory / name)
    heard = stage.ears(group).hear(directory)
    assert paths(heard, Mask.CREATE, directory) == ["xx", "yc"]
    assert group.attachments[0].n_skipped >= 3


@pytest.mark.parametrize("scope", [Scope.SUBTREE, Scope.FILESYSTEM, Scope.MOUNT])
def test_s8_a_plain_user_may_not_mark_more_than_a_directory(stage: Stage, scope: Scope) -> None:
    def mark() -> tuple[str, int | None]:
        with Group(engine=stage.engine_of_plain_users) as group:
            try:
                group.mark(stage.top, Mask.OPEN, scope=scope)
            except NotPermitted as exc:
                return str(exc), exc.errno
        return "", None

    make_reachable(stage.top)
    message, code = as_nobody(mark)
    assert code == errno.EPERM
    assert "CAP_SYS_ADMIN" in message


def test_s8_a_handler_for_administrators_is_refused_to_a_plain_user(stage: Stage, named: Callable[[str], str]) -> None:
    def attach() -> tuple[int | None, int]:
        with Group(engine=stage.engine_of_plain_users) as group:
            group.mark(stage.top, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
            try:
                group.attach(named("monitor-subtree"), roots=[stage.top])
            except NotPermitted as exc:
                return exc.errno, len(group.attachments)
        return None, 0

    make_reachable(stage.top)
    assert as_nobody(attach) == (errno.EPERM, 0)


def test_s6_a_closed_descriptor_is_refused_with_ebadf(stage: Stage, named: Callable[[str], str]) -> None:
    group = stage.group()
    fd = os.open(stage.top, os.O_PATH)
    os.close(fd)
    for call in (lambda: group.attach(named("monitor-subtree"), roots=[fd]), lambda: group.mark(fd, Mask.OPEN)):
        with pytest.raises(InvalidArgument) as caught:
            call()
        assert caught.value.errno == errno.EBADF
    assert not group.attachments
    assert not group.marks


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_RDONLY])
def test_s6_an_open_directory_is_a_root_and_may_be_closed_after(
    stage: Stage, flags: int, named: Callable[[str], str]
) -> None:
    root, outside = stage.dirs("root", "outside")
    fd = os.open(root, flags)
    group = stage.group()
    group.mark(stage.filesystem.mountpoint, Mask.CREATE, scope=Scope.FILESYSTEM)
    group.attach(named("monitor-subtree"), roots=[fd])
    os.close(fd)
    for directory in (root, outside):
        stage.other(actions.touch, directory / "file")
    assert paths(stage.ears(group).hear(root), Mask.CREATE, stage.top) == ["root/file"]


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_RDONLY])
def test_s6_the_descriptor_of_a_file_makes_it_the_root(stage: Stage, flags: int, named: Callable[[str], str]) -> None:
    (directory,) = stage.dirs("directory")
    for name in ("one", "two"):
        stage.other(actions.write, directory / name)
    group = stage.group()
    fd = os.open(directory / "one", flags)
    group.mark(stage.filesystem.mountpoint, Mask.MODIFY, scope=Scope.FILESYSTEM)
    group.attach(named("monitor-subtree"), roots=[fd])
    os.close(fd)
    ears = stage.ears(group)
    for name in ("two", "one", "two"):
        stage.other(actions.write, directory / name, b"again")
    group.attachments[0].handler.root_sets()[0].add(stage.dirs("fence")[0])
    heard = ears.hear(stage.top / "fence")
    assert told(heard, stage.top) == {"directory/one": Mask.MODIFY}


def test_s7_exclusive_refuses_a_second_attach_until_detached(stage: Stage, named: Callable[[str], str]) -> None:
    group = stage.group()
    first = group.attach(named("ignore-prefix"), prefixes=["a"], exclusive=True)
    for exclusive in (True, False):
        with pytest.raises(HandlerBusy) as caught:
            group.attach(named("ignore-prefix"), prefixes=["b"], exclusive=exclusive)
        assert caught.value.errno == errno.EBUSY
    assert group.attachments == (first,)
    group.detach()
    group.detach()
    second = group.attach(named("ignore-prefix"), prefixes=["b"], exclusive=True)
    assert group.attachments == (second,)


def test_a_chain_is_asked_in_order_and_the_first_skip_ends_it(stage: Stage) -> None:
    (directory,) = stage.dirs("directory")
    ears = stage.watch(directory, Mask.CREATE)
    first = ears.group.attach("ignore-prefix", prefixes=["a"])
    second = ears.group.attach("ignore-prefix", prefixes=["ab", "b"])
    for name in ("ab", "ba", "cc"):
        stage.other(actions.touch, directory / name)
    assert paths(ears.hear(directory), Mask.CREATE, directory) == ["cc"]
    assert (first.n_skipped, second.n_skipped) == (1, 1)
    assert first.n_seen == second.n_seen + 1


def test_detach_takes_effect_at_once(stage: Stage) -> None:
    (directory,) = stage.dirs("directory")
    ears = stage.watch(directory, Mask.CREATE)
    attachment = ears.group.attach("allow-deny-list", mode="allow", names=["only"])
    stage.other(actions.touch, directory / "other")
    stage.other(actions.touch, directory / "only")
    heard = ears.until(lambda event: event.path == str(directory / "only"), "only")
    ears.group.detach(attachment)
    stage.other(actions.touch, directory / "third")
    heard += ears.hear(directory)
    assert paths(heard, Mask.CREATE, directory) == ["only", "third"]


def test_a_failed_mark_or_attach_changes_nothing(stage: Stage, mounts: Mounter) -> None:
    (root,) = stage.dirs("root")
    proc = mounts.mount(mounts.new_dir("proc"), "-t", "proc", "fp-proc")
    ears = stage.watch(root, Mask.CREATE)
    before = open_descriptors()
    attempts = (
        lambda: ears.group.mark(stage.top / "missing", Mask.CREATE),
        lambda: ears.group.mark(root, Mask.DELETE_SELF),
        lambda: ears.group.mark(root, Mask.Q_OVERFLOW),
        lambda: ears.group.mark(root, Mask(0)),
        lambda: ears.group.mark(root, Mask.CREATE, exclude=[stage.top / "missing"]),
        lambda: ears.group.mark(proc, Mask.CREATE),
        lambda: ears.group.add_root(stage.top / "missing"),
        lambda: ears.group.add_root(proc),
        lambda: ears.group.attach("no-such-handler"),
        lambda: ears.group.attach("ignore-prefix"),
    )
    for attempt in attempts:
        with pytest.raises(FastpathError):
            attempt()
    assert len(ears.group.marks) == 1
    assert [r.path for r in ears.group.roots] == [os.fsencode(root)]
    assert open_descriptors() == before
    stage.other(actions.touch, root / "file")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["file"]


def make_reachable(path: Path) -> None:
    """Let every user search the way to *path* and use it; the way is made of the test's own directories."""
    path.chmod(0o777)
    for parent in path.parents:
        if parent.stat().st_uid == 0 and "pytest-of-" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o055)
