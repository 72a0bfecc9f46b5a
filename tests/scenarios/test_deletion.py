"""S16: deletions come with full paths, and the group is told when its root is gone."""

import os

from conftest import everywhere
from fanotify_fastpath import Mask

from . import actions
from .conftest import Stage, both_ways
from .support import paths, told, walk


@everywhere
@both_ways
def test_s16_each_deletion_below_the_root_comes_with_its_full_path(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside/tree/a", "root/tree/a/b/c")
    for path in ("tree/f", "tree/a/f", "tree/a/b/f", "tree/a/b/c/f"):
        stage.other(actions.write, root / path)
    stage.other(actions.write, outside / "f")
    expected = {path for path, _ in walk(root)}
    ears = stage.watch(root)
    stage.other(actions.remove_tree, outside)
    stage.other(actions.remove_tree, root / "tree")
    heard = ears.hear(root)
    deleted = paths(heard, Mask.DELETE, root)
    assert set(deleted) == expected
    assert len(deleted) == len(expected)
    assert told(heard, root).keys() == expected


@everywhere
@both_ways
def test_s16_the_group_is_told_that_its_root_is_gone(stage: Stage) -> None:
    root, inner = stage.dirs("root", "root/a/b")
    stage.other(actions.write, inner / "f")
    expected = {"a", "a/b", "a/b/f"}
    ears = stage.watch(root)
    stage.other(actions.remove_tree, root)
    heard = ears.until_mask(Mask.ROOT_GONE)
    assert set(paths(heard, Mask.DELETE, root)) - {"."} == expected
    gone = [event for event in heard if event.mask & Mask.ROOT_GONE]
    assert [event.path for event in gone] == [str(root)]
    assert heard[-1] is gone[0]


@everywhere
@both_ways
def test_s16_a_root_made_again_under_the_same_name_is_another_one(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root)
    second, *_ = stage.dirs("second")
    if stage.how == "scope":
        ears.group.add_root(second)
    else:
        ears.group.attachments[0].handler.root_sets()[0].add(second)
    stage.other(actions.remove_tree, root)
    ears.until_mask(Mask.ROOT_GONE)
    stage.other(os.mkdir, root)
    stage.other(actions.write, root / "impostor")
    stage.other(actions.write, second / "true")
    assert paths(ears.hear(second), Mask.CREATE, stage.top) == ["second/true"]


@everywhere
def test_a_tree_made_and_removed_at_once_is_told_in_full(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root)
    for n in range(50):
        stage.other(actions.make_tree, root / f"tree{n}", 3, 1)
        stage.other(actions.touch, root / f"tree{n}/d1/d2/d3/f")
        stage.other(actions.remove_tree, root / f"tree{n}")
    heard = ears.hear(root)
    parts = ("", "/d1", "/d1/d2", "/d1/d2/d3", "/d1/d2/d3/f")
    expected = {f"tree{n}{part}" for n in range(50) for part in parts}
    assert set(paths(heard, Mask.CREATE, root)) == expected
    assert set(paths(heard, Mask.DELETE, root)) == expected


@everywhere
def test_a_deletion_is_never_told_before_what_happened_in_the_directory(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root)
    stage.other(os.mkdir, root / "d")
    stage.other(actions.write, root / "d/f")
    stage.other(os.unlink, root / "d/f")
    stage.other(os.rmdir, root / "d")
    heard = ears.hear(root)
    last_inside = max(n for n, event in enumerate(heard) if event.path == str(root / "d/f"))
    removed = min(n for n, event in enumerate(heard) if event.path == str(root / "d") and event.mask & Mask.DELETE)
    assert removed > last_inside


@everywhere
def test_a_deleted_file_that_is_still_open_is_told_once_and_its_directory_may_go(stage: Stage) -> None:
    root, directory = stage.dirs("root", "root/d")
    stage.other(actions.write, directory / "f")
    ears = stage.watch(root)
    with open(directory / "f", "rb"):
        stage.other(actions.remove_tree, directory)
        heard = ears.hear(root)
    assert sorted(paths(heard, Mask.DELETE, root)) == ["d", "d/f"]
