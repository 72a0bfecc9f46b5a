"""S16: deletions come with full paths, and the group is told when its root is gone."""

import os

import pytest

from conftest import everywhere
from fanotify_fastpath import Mask
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath._engines.fanotify.raw import decode

from . import actions
from .conftest import Stage, both_ways, only_fanotify
from .support import paths, tells_what_was_removed, told, walk


@everywhere
@both_ways
def test_s16_each_deletion_below_the_root_comes_with_its_full_path(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside/tree/a", "root/tree/a/b/c")
    if stage.engine == "fanotify" and not tells_what_was_removed(outside):
        pytest.skip(
            "this kernel does not tell which object was removed: of a directory that is gone only a name is left"
        )
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
    deleted = set(paths(heard, Mask.DELETE, root)) - {"."}
    if stage.engine == "kernel" or tells_what_was_removed(stage.top):
        assert deleted == expected
    else:
        assert deleted <= {*expected, "?"}
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


@only_fanotify
def test_deletions_that_were_merged_are_told_when_all_before_a_change_is(stage: Stage) -> None:
    """They are held back until all is read; what is decided before a change is all that has happened."""
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE | Mask.DELETE)
    engine = ears.group._engine
    assert isinstance(engine, FanotifyEngine)
    with engine._lock:  # nobody reads meanwhile
        for n in range(10):
            stage.other(os.mkdir, root / f"d{n}")
            stage.other(os.rmdir, root / f"d{n}")
        engine.catch_up()
        told_of = len(engine._store)
    assert told_of == 20
    assert sorted(paths(ears.group.read(100, 0), Mask.DELETE, root)) == sorted(f"d{n}" for n in range(10))


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


@only_fanotify
@both_ways
@pytest.mark.parametrize("is_dir", [False, True])
def test_a_root_is_told_as_gone_by_its_name_where_the_kernel_does_not_say_what_was_removed(
    stage: Stage, is_dir: bool
) -> None:
    """As on overlayfs in Linux 6.1: the identity is taken out of the records before they are decided about."""
    root = stage.top / "root"
    make, remove = (os.mkdir, os.rmdir) if is_dir else (actions.touch, os.unlink)
    stage.other(make, root)
    ears = stage.watch(root)
    engine = ears.group._engine
    assert isinstance(engine, FanotifyEngine)
    with engine._lock:
        for path in (stage.top / "other", root):
            if path != root:
                stage.other(make, path)
            stage.other(remove, path)
        for buffer in engine._sequence._read()[0]:
            for raw in decode(buffer):
                if raw.mask & Mask.DELETE:
                    raw.obj = None
                engine._judge.judge(raw)
    gone = [event for event in ears.until_mask(Mask.ROOT_GONE) if event.mask & Mask.ROOT_GONE]
    assert [event.path for event in gone] == [str(root)]
