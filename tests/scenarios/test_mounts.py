"""S9, S13: unmounting is never blocked and is told; what is mounted inside belongs to the subtree, or not, as asked."""

import os
import select
from pathlib import Path
from typing import Any

import pytest

from fanotify_fastpath import Event, Mask, Scope
from mounting import Mounter
from outcomes import DEADLINE_S, wait_until

from . import actions
from .conftest import Stage, both_ways
from .support import Ears, paths, told

FOLLOW_SKIP = pytest.mark.parametrize("submounts", ["follow", "skip"])
MOUNTABLE = pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlayfs"])


@MOUNTABLE
def test_s9_a_watched_filesystem_can_be_unmounted_and_the_group_is_told(
    stage: Stage, mounts: Mounter, kind: str
) -> None:
    top = mounts.make(kind)
    (top / "root").mkdir()
    ears = stage.watch(top / "root")
    stage.other(actions.write, top / "root/file")
    heard = ears.until(lambda event: event.path == str(top / "root/file"), "the file")
    mounts.umount(top)
    told_of = [event for event in ears.until_mask(Mask.UNMOUNT) if event.mask & Mask.UNMOUNT]
    assert paths(heard, Mask.CREATE, top) == ["root/file"]
    assert [event.path for event in told_of] == [str(top / "root" if stage.engine == "daemon" else top)]
    assert ears.group.roots == []
    assert ears.group.read(timeout_s=0) == []


def test_s9_iterating_ends_when_the_last_root_is_unmounted(stage: Stage, mounts: Mounter) -> None:
    from fanotify_fastpath import watch

    top = mounts.make("tmpfs")
    with watch(top, engine=stage.engine) as watched:
        stage.other(actions.write, top / "file")
        heard = [next(watched)]
        mounts.umount(top)
        heard += list(watched)
    assert heard[-1].mask == Mask.UNMOUNT


def test_s9_other_roots_go_on_after_one_filesystem_is_unmounted(stage: Stage, mounts: Mounter) -> None:
    top = mounts.make("tmpfs")
    (root,) = stage.dirs("root")
    ears = stage.watch(root)
    ears.group.add_root(top)
    stage.other(actions.write, top / "one")
    ears.until(lambda event: event.path == str(top / "one"), "one")
    mounts.umount(top)
    ears.until_mask(Mask.UNMOUNT)
    stage.other(actions.write, root / "two")
    assert paths(ears.hear(root), Mask.CREATE, stage.top) == ["root/two"]
    assert [root_.path for root_ in ears.group.roots] == [os.fsencode(root)]


def test_s9_unmounting_under_load_hangs_nothing(stage: Stage, mounts: Mounter) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root)
    top = root / "mnt"
    for n in range(5):
        top.mkdir()
        mounts.mount(top, "-t", "tmpfs", "fp-load")
        ears.until(lambda event: event.mask & Mask.RESCAN and event.path == str(top), "the new mount")
        stage.other(actions.churn, top, 200)
        mounts.umount(top)
        heard = ears.until_mask(Mask.UNMOUNT)
        assert set(paths(heard, Mask.DELETE, top)) == {f"churn{m}" for m in range(200)}, f"round {n}"
        top.rmdir()


def test_s9_what_waits_unread_when_it_is_unmounted_is_told(stage: Stage, mounts: Mounter) -> None:
    (root,) = stage.dirs("root")
    (root / "mnt").mkdir()
    mounts.mount(root / "mnt", "-t", "tmpfs", "fp-unread")
    ears = stage.watch(root, Mask.CREATE | Mask.DELETE)
    engine: Any = ears.group._engine
    with engine._lock:  # nobody reads, and more waits than is decided in one turn
        stage.other(actions.churn, root / "mnt", 4000)
        mounts.umount(root / "mnt")
        engine.mounts_changed()
    heard = ears.until_mask(Mask.UNMOUNT)
    assert set(paths(heard, Mask.DELETE, root / "mnt")) == {f"churn{m}" for m in range(4000)}


@FOLLOW_SKIP
@MOUNTABLE
def test_s13_what_was_mounted_inside_before_is_followed_or_skipped(
    stage: Stage, mounts: Mounter, kind: str, submounts: str
) -> None:
    root, point = stage.dirs("root", "root/sub/point")
    mounts.make(kind, point)
    ears = stage.watch(root, submounts=submounts)
    stage.other(actions.write, point / "file")
    stage.other(os.mkdir, point / "dir")
    stage.other(actions.write, point / "dir/file")
    if submounts == "follow":
        heard = ears.hear(point)
        assert paths(heard, Mask.CREATE, root) == ["sub/point/file", "sub/point/dir", "sub/point/dir/file"]
        assert not any(event.mask & Mask.RESCAN for event in heard)
    else:
        assert told(ears.hear(root), root) == {}


@MOUNTABLE
def test_s13_what_is_mounted_inside_later_joins_with_a_rescan(stage: Stage, mounts: Mounter, kind: str) -> None:
    root, point = stage.dirs("root", "root/point")
    ears = stage.watch(root)
    mounts.make(kind, point)
    stage.other(actions.write, point / "early")
    heard = ears.until(lambda event: event.mask & Mask.RESCAN and event.path == str(point), "the rescan")
    stage.other(actions.write, point / "late")
    heard += ears.hear(point)
    created = paths(heard, Mask.CREATE, point)
    assert created in (["early", "late"], ["late"])
    mounts.umount(point)
    assert [event.path for event in ears.until_mask(Mask.UNMOUNT) if event.mask & Mask.UNMOUNT] == [str(point)]
    stage.other(actions.write, point / "below")
    assert paths(ears.hear(root), Mask.CREATE, point) == ["below"]


@both_ways
def test_s13_what_is_mounted_inside_later_is_skipped_when_asked(stage: Stage, mounts: Mounter) -> None:
    root, point = stage.dirs("root", "root/point")
    ears = stage.watch(root, submounts="skip")
    mounts.make("tmpfs", point)
    stage.other(actions.write, point / "no")
    stage.other(actions.write, root / "yes")
    assert told(ears.hear(root), root).keys() == {"yes"}


def test_s13_the_same_place_mounted_and_unmounted_again_and_again(stage: Stage, mounts: Mounter) -> None:
    root, point = stage.dirs("root", "root/point")
    ears = stage.watch(root)
    for n in range(10):
        mounts.mount(point, "-t", "tmpfs", f"fp-{n}")
        ears.until_mask(Mask.RESCAN)
        stage.other(actions.write, point / f"file{n}")
        assert paths(ears.hear(point), Mask.CREATE, point) == [f"file{n}"]
        mounts.umount(point)
        ears.until_mask(Mask.UNMOUNT)
    assert [r.path for r in ears.group.roots] == [os.fsencode(root)]


def test_s13_a_mount_inside_a_mount_inside(stage: Stage, mounts: Mounter) -> None:
    root, point = stage.dirs("root", "root/point")
    ears = stage.watch(root)
    mounts.make("tmpfs", point)
    (point / "inner").mkdir()
    mounts.make("tmpfs", point / "inner")
    ears.until(lambda event: event.mask & Mask.RESCAN and event.path == str(point / "inner"), "the inner mount")
    stage.other(actions.write, point / "inner/file")
    assert paths(ears.hear(point / "inner"), Mask.CREATE, root) == ["point/inner/file"]


def test_s13_a_bind_mount_of_something_outside_is_followed_under_its_place_inside(
    stage: Stage, mounts: Mounter
) -> None:
    root, outside, point = stage.dirs("root", "outside", "root/point")
    mounts.bind(outside, point)
    ears = stage.watch(root)
    stage.other(actions.write, point / "file")
    stage.other(actions.write, outside / "other")
    heard = ears.hear(root)
    assert paths(heard, Mask.CREATE, root) == ["point/file", "point/other"]


def test_s13_a_bind_mount_of_the_root_inside_itself_is_told_once(stage: Stage, mounts: Mounter) -> None:
    root, point, _ = stage.dirs("root", "root/point", "root/sub")
    mounts.bind(root / "sub", point)
    ears = stage.watch(root)
    stage.other(actions.write, point / "file")
    heard = ears.hear(root)
    assert paths(heard, Mask.CREATE, root) == ["sub/file"]


@pytest.mark.parametrize("when", ["before", "later"])
def test_s13_what_cannot_be_watched_inside_is_said(stage: Stage, mounts: Mounter, when: str) -> None:
    """An overlay without file handles that can be opened makes the group blind there: it says so in the stream."""
    root, point = stage.dirs("root", "root/point")
    lower, upper, work = stage.dirs("lower", "upper", "work")
    options = f"lowerdir={lower},upperdir={upper},workdir={work},index=off,nfs_export=off"

    def mount() -> Path:
        return mounts.mount(point, "-t", "overlay", "-o", options, "fp-overlay")

    if when == "before":
        mount()
    ears = stage.watch(root)
    if when == "later":
        mount()
    assert select.select([ears.group], [], [], DEADLINE_S)[0], "who polls hears of it"
    heard = ears.until_mask(Mask.UNWATCHED)
    assert [event.path for event in heard if event.mask & Mask.UNWATCHED] == [str(point)]


@FOLLOW_SKIP
def test_what_is_mounted_over_the_root_does_not_stop_its_events(stage: Stage, mounts: Mounter, submounts: str) -> None:
    root, *_ = stage.dirs("root", "root/dir")
    alias = mounts.bind(root)
    ears = stage.watch(root, submounts=submounts)
    mounts.make("tmpfs", root)
    stage.other(actions.write, alias / "dir/under")
    heard = hear_through(ears, alias)
    assert "root/dir/under" in paths(heard, Mask.CREATE, stage.top)


def hear_through(ears: Ears, alias: Path) -> list[Event]:
    """Hear with the fence made through a bind mount of the root."""
    return ears.hear(alias)


def test_a_remount_elsewhere_changes_the_path(stage: Stage, mounts: Mounter) -> None:
    top = mounts.make("tmpfs")
    (top / "root").mkdir()
    second = mounts.bind(top)
    ears = stage.watch(top / "root")
    stage.other(actions.write, top / "root/one")
    heard = ears.until(lambda event: event.path == str(top / "root/one"), "one")
    mounts.umount(top)
    stage.other(actions.write, second / "root/two")
    heard = ears.until(lambda event: (event.path or "").endswith("two"), "two")
    assert not any(event.mask & Mask.UNMOUNT for event in heard)
    wait_until(
        lambda: _next_path(ears, stage, second / "root") == str(second / "root"), "the path through the second mount"
    )


def _next_path(ears: Ears, stage: Stage, root: Path) -> str:
    stage.other(actions.write, root / "again")
    stage.other(os.unlink, root / "again")
    heard = ears.until(lambda event: (event.path or "").endswith("/again"), "again")
    return os.path.dirname(heard[-1].path or "")


def test_scope_mount_hears_one_mount_only(stage: Stage, mounts: Mounter) -> None:
    (root,) = stage.dirs("root")
    stage.other(actions.write, root / "file")
    alias = mounts.bind(root)
    group = stage.group()
    group.mark(alias, Mask.OPEN | Mask.MODIFY, scope=Scope.MOUNT)
    ears = stage.ears(group)
    stage.other(actions.write, root / "file")
    assert told(ears.hear(alias), alias) == {}
    stage.other(actions.write, alias / "file")
    heard = ears.hear(alias)
    assert {os.path.basename(event.path or "") for event in heard} == {"file"}
    assert told(heard, Path(os.path.dirname(heard[0].path or "")))["file"] == Mask.OPEN | Mask.MODIFY
