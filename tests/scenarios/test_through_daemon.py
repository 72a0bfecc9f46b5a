"""
What an ordinary user has of a group through the daemon: one test for each row of that table in docs/engines.md.

A new row needs a test here, and names it. They run where FP_ENGINE says so.
"""

import os

import pytest

from fanotify_fastpath import Mask, NotPermitted, Scope, UnsupportedFeature, guard
from mounting import Mounter

from . import actions
from .conftest import Stage, only_daemon
from .support import Other, paths
from .users import as_root
from .witness import object_fields, picked, witness

pytestmark = only_daemon


@pytest.fixture
def root_user(stage: Stage) -> Other:
    """A process of somebody else."""
    return stage.exits.enter_context(Other(0))


@pytest.mark.parametrize("scope", [Scope.MOUNT, Scope.FILESYSTEM])
def test_subtrees_and_single_objects_can_be_marked_and_nothing_larger(stage: Stage, scope: Scope) -> None:
    group = stage.group()
    group.mark(stage.top, Mask.OPEN, scope=Scope.SUBTREE)
    group.mark(stage.top, Mask.OPEN, scope=Scope.INODE)
    with pytest.raises(UnsupportedFeature, match="CAP_SYS_ADMIN"):
        group.mark(stage.top, Mask.OPEN, scope=scope)


def test_nobody_is_asked_for_permission(stage: Stage) -> None:
    with pytest.raises(NotPermitted, match="permission events"):
        stage.group().mark(stage.top, Mask.OPEN_PERM)
    with pytest.raises(NotPermitted, match="denies nothing"):
        guard(stage.top, deny=Mask.OPEN_PERM, engine="daemon")


def test_handlers_for_administrators_are_for_everybody(stage: Stage) -> None:
    one, two = stage.dirs("one", "two")
    group = stage.group()
    group.mark(stage.top, Mask.CREATE)
    group.attach("monitor-subtree", roots=[one])
    stage.other(actions.touch, two / "no")
    stage.other(actions.touch, one / "yes")
    assert paths(stage.ears(group).hear(one), Mask.CREATE, stage.top) == ["one/yes"]


def test_what_the_user_cannot_see_is_not_told(stage: Stage, root_user: Other) -> None:
    (root,) = stage.dirs("root")
    with as_root():
        (root / "secret").mkdir(0o700)
        (root / "open").mkdir(0o755)
    ears = stage.watch(root, Mask.CREATE | Mask.RENAME)
    root_user(actions.touch, root / "secret/file")
    root_user(actions.touch, root / "open/file")
    root_user(os.rename, root / "secret/file", root / "open/other")
    root_user(os.rename, root / "open/file", root / "secret/again")
    heard = ears.hear(root)
    renamed = [(event.old_path, event.path, event.crossing) for event in heard if event.mask & Mask.RENAME]
    assert paths(heard, Mask.CREATE, root) == ["open/file"]
    assert renamed == [(None, str(root / "open/other"), "in"), (str(root / "open/file"), None, "out")]
    root_user(os.chmod, root / "secret", 0o755)
    root_user(actions.touch, root / "secret/new")
    heard = ears.hear(root)
    # what happened in there before the kernel was told to forget is covered by a rescan
    assert paths(heard, Mask.CREATE, root) == ["secret/new"] or paths(heard, Mask.RESCAN, root) == ["secret"]


def test_who_did_it_is_told_of_the_users_own_processes(stage: Stage, root_user: Other) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    for process, name in ((root_user, "theirs"), (stage.other, "mine")):
        process(actions.touch, root / name)
    theirs, mine = ears.hear(root)
    assert (theirs.tgid, theirs.uid, theirs.comm, theirs.exe) == (0, None, None, None)
    assert (mine.tgid, mine.uid) == (stage.other.pid, os.stat(root / "mine").st_uid)
    assert mine.comm is not None


def test_long_paths_lack_their_beginning(stage: Stage) -> None:
    name, depth = b"n" * 40, 150
    (root,) = stage.dirs("root")
    stage.other(actions.make_deep, root, name, depth)
    ears = stage.watch(root, Mask.CREATE)
    stage.other(actions.touch_deep, root, name, depth, b"leaf")
    (event,) = ears.hear(root)
    path = b"/".join([os.fsencode(root), *([name] * depth), b"leaf"])
    assert event.is_truncated
    assert event.raw_path is not None
    assert len(event.raw_path) <= 4096
    assert path.endswith(b"/" + event.raw_path)
    stage.other(actions.remove_deep, root, name)


@pytest.mark.parametrize("filesystem", ["ext4", "overlayfs"], indirect=True)
def test_handlers_see_of_an_object_what_is_found_at_its_path(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE | Mask.DELETE)
    shown = witness(ears.group)
    stage.other(actions.touch, root / "there")
    ears.hear(root)
    fields = {**object_fields(root / "there"), "dir_inode": os.stat(root).st_ino}
    unknown = dict.fromkeys(fields)
    assert picked(shown[b"there"], tuple(fields)) == (fields if stage.filesystem.kind == "ext4" else unknown)
    stage.other(os.unlink, root / "there")
    ears.hear(root)
    assert picked(shown[b"there"], tuple(fields)) == unknown


def test_an_unmounted_filesystem_is_told_by_the_roots_on_it(stage: Stage, mounts: Mounter) -> None:
    top = mounts.make("tmpfs")
    for name in ("one", "two"):
        (top / name).mkdir()
    ears = stage.watch(top / "one")
    ears.group.add_root(top / "two")
    mounts.umount(top)
    heard = ears.until_mask(Mask.UNMOUNT)
    assert {event.path for event in heard if event.mask & Mask.UNMOUNT} == {str(top / "one"), str(top / "two")}


def test_what_others_do_elsewhere_is_not_counted_for_the_user(stage: Stage, root_user: Other) -> None:
    root, outside = stage.dirs("root", "outside")
    group = stage.watch(root, Mask.CREATE).group
    root_user(actions.make_files, outside, 20)
    stage.other(actions.touch, root / "file")
    stage.ears(group).hear(root)
    assert stage.counters(group).n_skipped > 0
    assert (group.counters.n_skipped, group.counters.n_remembered) == (0, 0)


def test_what_the_user_does_not_read_is_not_merged_for_it(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.OPEN).group
    stage.other(actions.touch, root / "file")
    group.read(timeout_s=30)
    for _ in range(3):
        group._catch_up()  # the daemon has read it
        stage.other(actions.read, root / "file")
    ears = stage.ears(group)
    assert [event.path for event in ears.hear(root)] == [str(root / "file")] * 3
