"""S1, S4, S5, S15: what is inside a subtree is reported and nothing else."""

from pathlib import Path

from conftest import everywhere
from fanotify_fastpath import Mask
from mounting import Mounter

from . import actions
from .conftest import Stage, both_ways
from .support import Ears, Given, paths, told


def monitor(stage: Stage, root: Path, events: Mask, handler: Given = "monitor-subtree") -> Ears:
    """The RFC's sample: a filesystem mark, and the handler monitor-subtree with one root."""
    group = stage.group()
    stage.mark_whole(group, events | Mask.ONDIR)
    attachment = group.attach(handler, roots=[root])
    assert attachment.obstacle is None
    return stage.ears(group)


def only_opens_below_the_root_are_heard(stage: Stage, handler: Given) -> None:
    """S1."""
    _, a, b, c = stage.dirs("t", "t/a", "t/a/b", "t/a/b/c")
    ears = monitor(stage, b, Mask.OPEN, handler)
    for path in (a.parent / "xx", a / "xxa", b / "xxab", c / "xxabc"):
        stage.other(actions.touch, path)
    heard = ears.hear(b)
    assert paths(heard, Mask.OPEN, stage.top) == ["t/a/b/xxab", "t/a/b/c/xxabc"]
    assert {event.tgid for event in heard} == {stage.other.pid}
    assert not any(event.undecided or event.is_dir for event in heard)


@everywhere
def test_s1_only_opens_below_the_root_are_reported(stage: Stage) -> None:
    only_opens_below_the_root_are_heard(stage, "monitor-subtree")


@everywhere
@both_ways
def test_s1_second_events_in_the_same_directories_are_judged_alike(stage: Stage) -> None:
    outside, inside, below = stage.dirs("out/side", "in", "in/below")
    ears = stage.watch(inside, Mask.OPEN | Mask.CLOSE_WRITE)
    for n in range(3):
        for directory in (outside, inside, below):
            stage.other(actions.touch, directory / f"file{n}")
    expected = [path for n in range(3) for path in (f"in/file{n}", f"in/below/file{n}")]
    assert paths(ears.hear(inside), Mask.OPEN, stage.top) == expected


def creations_inside_are_heard_and_those_outside_are_not(stage: Stage, handler: Given) -> None:
    """S4."""
    root, outside = stage.dirs("root", "outside")
    ears = monitor(stage, root, Mask.CREATE | Mask.OPEN, handler)
    for directory, name in ((root, "aa"), (root / "subdir", "bb"), (outside, "cc")):
        if not directory.exists():
            stage.other(directory.mkdir)
        stage.other(actions.touch, directory / name)
        stage.other((directory / name).unlink)
    seen = told(ears.hear(root), stage.top)
    assert seen == {
        "root/aa": Mask.CREATE | Mask.OPEN,
        "root/subdir": Mask.CREATE,
        "root/subdir/bb": Mask.CREATE | Mask.OPEN,
    }


@everywhere
def test_s4_creations_inside_are_seen_and_those_outside_are_not(stage: Stage) -> None:
    creations_inside_are_heard_and_those_outside_are_not(stage, "monitor-subtree")


@everywhere
@both_ways
def test_s5_opening_the_root_itself_is_reported(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    ears = stage.watch(root, Mask.OPEN)
    stage.other(actions.list_directory, outside)
    stage.other(actions.list_directory, root)
    heard = ears.hear(root)
    assert [(event.path, event.mask, event.is_dir) for event in heard] == [(str(root), Mask.OPEN, True)]


@everywhere
@both_ways
def test_s15_a_write_through_a_bind_mount_of_the_root_is_reported_with_the_filesystems_path(
    stage: Stage, mounts: Mounter
) -> None:
    root, outside = stage.dirs("root", "outside")
    ears = stage.watch(root)
    alias, outside_alias = mounts.bind(root), mounts.bind(outside)
    stage.other(actions.write, alias / "through")
    stage.other(actions.write, outside_alias / "not")
    heard = ears.hear(root)
    assert paths(heard, Mask.CREATE, stage.top) == ["root/through"]
    assert told(heard, stage.top).keys() == {"root/through"}


@both_ways
def test_s15_a_bind_mount_of_something_outside_placed_inside_is_inside_only_for_the_tree(
    stage: Stage, mounts: Mounter
) -> None:
    root, outside, point = stage.dirs("root", "outside", "root/point")
    ears = stage.watch(root, submounts="skip")
    mounts.bind(outside, point)
    stage.other(actions.write, point / "file")
    assert told(ears.hear(root), stage.top) == {}


@everywhere
def test_every_kind_of_change_is_named(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.ALL_EVENTS)
    stage.other(actions.write, root / "file")
    stage.other(actions.read, root / "file")
    stage.other((root / "file").chmod, 0o600)
    stage.other((root / "file").rename, root / "renamed")
    stage.other((root / "renamed").unlink)
    stage.other((root / "dir").mkdir)
    stage.other(actions.list_directory, root / "dir")
    stage.other((root / "dir").rmdir)
    seen = told(ears.hear(root), root)
    # the last link's removal is an ATTRIB of the inode, which names no directory: it is not told
    file = Mask.CREATE | Mask.OPEN | Mask.MODIFY | Mask.CLOSE_WRITE | Mask.ACCESS | Mask.CLOSE_NOWRITE | Mask.ATTRIB
    assert seen["file"] == file
    assert seen["renamed"] == Mask.RENAME | Mask.DELETE
    assert seen["dir"] & (Mask.CREATE | Mask.OPEN | Mask.DELETE) == Mask.CREATE | Mask.OPEN | Mask.DELETE
    assert seen.keys() <= {"file", "renamed", "dir"}
