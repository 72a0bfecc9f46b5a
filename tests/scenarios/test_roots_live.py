"""Roots, exceptions and scopes: single files, excluded and included again, added and removed while events flow."""

import os

import pytest

from conftest import everywhere
from fanotify_fastpath import InvalidArgument, Mask, RootSet, Scope

from . import actions
from .conftest import Stage, both_ways
from .support import paths, told


@everywhere
@both_ways
def test_an_excluded_directory_is_silent_at_any_depth(stage: Stage) -> None:
    root, excluded, deep = stage.dirs("root", "root/a/not", "root/a/not/b/c")
    ears = stage.watch(root, exclude=[excluded])
    for n in range(2):
        stage.other(actions.write, deep / f"no{n}")
        stage.other(actions.write, excluded / f"no{n}")
        stage.other(actions.write, root / f"a/yes{n}")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["a/yes0", "a/yes1"]


@both_ways
def test_a_root_below_an_exception_is_inside_again(stage: Stage) -> None:
    root, excluded, again = stage.dirs("root", "root/not", "root/not/but")
    ears = stage.watch(root, exclude=[excluded])
    if stage.how == "scope":
        ears.group.add_root(again)
    else:
        ears.group.attachments[0].handler.root_sets()[0].add(again)
    for directory in (root, excluded, again):
        stage.other(actions.write, directory / "file")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["file", "not/but/file"]


@both_ways
def test_moving_between_inside_and_an_exception_crosses_the_border(stage: Stage) -> None:
    root, excluded = stage.dirs("root", "root/not")
    stage.other(actions.write, root / "file")
    ears = stage.watch(root, exclude=[excluded])
    stage.other(os.rename, root / "file", excluded / "file")
    stage.other(os.rename, excluded / "file", root / "file")
    assert [event.crossing for event in ears.hear(root) if event.mask & Mask.RENAME] == ["out", "in"]


@everywhere
@both_ways
def test_a_single_file_is_a_root(stage: Stage) -> None:
    directory, fence = stage.dirs("directory", "fence")
    for name in ("one", "two"):
        stage.other(actions.write, directory / name)
    ears = stage.watch(directory / "one", Mask.MODIFY | Mask.OPEN)
    roots = ears.group.marks[0].roots if stage.how == "scope" else ears.group.attachments[0].handler.root_sets()[0]
    roots.add(fence)
    for name in ("one", "two", "one"):
        stage.other(actions.write, directory / name, name.encode())
        stage.other(actions.read, directory / name)
    heard = ears.hear(fence)
    assert told(heard, directory) == {"one": Mask.MODIFY | Mask.OPEN}


@everywhere
def test_a_single_file_that_is_deleted_is_told_as_gone(stage: Stage) -> None:
    (directory,) = stage.dirs("directory")
    for name in ("one", "two"):
        stage.other(actions.write, directory / name)
    ears = stage.watch(directory / "one")
    stage.other(os.unlink, directory / "two")
    stage.other(os.unlink, directory / "one")
    heard = ears.until_mask(Mask.ROOT_GONE)
    assert {event.path for event in heard} == {str(directory / "one")}


@everywhere
def test_a_single_file_that_is_renamed_stays_the_root(stage: Stage) -> None:
    (directory,) = stage.dirs("directory")
    stage.other(actions.write, directory / "one")
    ears = stage.watch(directory / "one")
    stage.other(os.rename, directory / "one", directory / "two")
    stage.other(actions.write, directory / "two", b"again")
    heard = ears.until(lambda event: event.mask & Mask.CLOSE_WRITE, "the write")
    assert [(event.old_path, event.path) for event in heard if event.mask & Mask.RENAME] == [
        (str(directory / "one"), str(directory / "two"))
    ]
    assert [event.path for event in heard if event.mask & Mask.MODIFY] == [str(directory / "two")]


@both_ways
def test_a_root_that_is_added_is_heard_from_then_on_and_one_removed_no_more(stage: Stage) -> None:
    root, second, deep = stage.dirs("root", "second", "second/a/b")
    ears = stage.watch(root)
    roots = ears.group.marks[0].roots if stage.how == "scope" else ears.group.attachments[0].handler.root_sets()[0]
    stage.other(actions.write, deep / "zero")
    ears.hear(root)
    for n in range(5):
        roots.add(second)
        stage.other(actions.write, deep / f"yes{n}")
        heard = ears.hear(second)
        assert paths(heard, Mask.CREATE, stage.top) == [f"second/a/b/yes{n}"]
        roots.remove(second)
        stage.other(actions.write, deep / f"no{n}")
        assert paths(ears.hear(root), Mask.CREATE, stage.top) == []


def test_remove_root_wants_a_root(stage: Stage) -> None:
    root, second = stage.dirs("root", "second")
    group = stage.watch(root).group
    with pytest.raises(InvalidArgument):
        group.remove_root(second)
    group.remove_root(root)
    with pytest.raises(InvalidArgument):
        group.remove_root(root)


def test_an_unmarked_subtree_is_silent_and_others_go_on(stage: Stage) -> None:
    one, two = stage.dirs("one", "two")
    group = stage.group()
    first = group.mark(one, Mask.CREATE | Mask.ONDIR)
    group.mark(two, Mask.DELETE)
    ears = stage.ears(group)
    for directory in (one, two):
        stage.other(actions.churn, directory, 1)
    assert told(ears.hear(one), stage.top) == {"one/churn0": Mask.CREATE, "two/churn0": Mask.DELETE}
    group.unmark(first)
    for directory in (one, two):
        stage.other(actions.churn, directory, 1)
    assert told(ears.hear(two), stage.top) == {"two/churn0": Mask.DELETE}


def test_directories_are_reported_only_with_ondir(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.group()
    group.mark(root, Mask.CREATE)
    stage.other(os.mkdir, root / "dir")
    stage.other(actions.touch, root / "dir/file")
    assert told(stage.ears(group).hear(root), root) == {"dir/file": Mask.CREATE}


@everywhere
def test_scope_filesystem_hears_all_of_it(stage: Stage) -> None:
    one, two = stage.dirs("one", "two")
    group = stage.group()
    group.mark(one, Mask.CREATE | Mask.DELETE, scope=Scope.FILESYSTEM)
    for directory in (one, two, stage.top):
        stage.other(actions.churn, directory, 1)
    heard = told(stage.ears(group).hear(one), stage.top)
    assert heard == dict.fromkeys(("one/churn0", "two/churn0", "churn0"), Mask.CREATE | Mask.DELETE)


def test_scope_inode_hears_a_directory_and_its_children_only(stage: Stage) -> None:
    directory, below = stage.dirs("directory", "directory/below")
    group = stage.group()
    group.mark(directory, Mask.CREATE | Mask.OPEN | Mask.EVENT_ON_CHILD | Mask.ONDIR, scope=Scope.INODE)
    stage.other(actions.touch, below / "no")
    stage.other(actions.touch, directory / "yes")
    stage.other(actions.list_directory, directory)
    heard = told(stage.ears(group).hear(directory), directory)
    assert heard == {"yes": Mask.CREATE | Mask.OPEN, ".": Mask.OPEN}


def test_overlapping_marks_report_each_event_once(stage: Stage) -> None:
    root, below = stage.dirs("root", "root/below")
    group = stage.group()
    group.mark(root, Mask.CREATE)
    group.mark(below, Mask.CREATE | Mask.DELETE)
    group.mark(below, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
    stage.other(actions.touch, below / "file")
    stage.other(actions.touch, root / "file")
    assert paths(stage.ears(group).hear(root), Mask.CREATE, root) == ["below/file", "file"]


def test_one_root_set_serves_many_groups(stage: Stage) -> None:
    one, two = stage.dirs("one", "two")
    roots = RootSet([one])
    ears = []
    for _ in range(3):
        group = stage.group()
        stage.mark_whole(group, Mask.CREATE)
        group.attach("monitor-subtree", roots=roots)
        ears.append(stage.ears(group))
    stage.other(actions.touch, two / "no")
    for each in ears:
        assert each.hear(one) == []
    roots.add(two)
    stage.other(actions.touch, two / "yes")
    for each in ears:
        assert paths(each.hear(one), Mask.CREATE, stage.top) == ["two/yes"]


@both_ways
@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs", "tmpfs", "overlayfs"], indirect=True)
def test_a_second_run_outside_is_dropped_in_the_kernel(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    stage.other(actions.make_tree, outside, 50)
    directories = [directory for directory, _, _ in os.walk(outside)]

    def work() -> None:
        for directory in directories:
            stage.other(actions.make_files, directory, 20)

    ears = stage.watch(root, Mask.OPEN | Mask.CLOSE_WRITE | Mask.MODIFY | Mask.ATTRIB)
    work()
    assert ears.hear(root) == []
    counters = stage.counters(ears.group)
    first, remembered = counters.n_skipped, counters.n_remembered
    assert remembered >= 1 or (stage.engine == "kernel" and not first)
    work()
    assert ears.hear(root) == []
    second = stage.counters(ears.group).n_skipped - first
    assert second <= first // 20, (first, second, remembered)
    stage.other(actions.write, root / "file")
    assert paths(ears.hear(root), Mask.MODIFY, root) == ["file"]
