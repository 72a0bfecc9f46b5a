"""The model of the directory tree: places, paths, and which root sets a directory is in, as things move."""

import os
from pathlib import Path

import pytest

from fanotify_fastpath import Root, RootSet
from fanotify_fastpath._engines.fanotify.tree import Directory, Tree


def root(label: bytes, path: bytes = b"/given") -> Root:
    return Root(label, path, 1, 2, True, 3)


def node(tree: Tree, key: bytes) -> Directory:
    found = tree.get(key)
    assert found is not None
    return found


@pytest.fixture
def tree() -> Tree:
    """``/mnt/a/b/c`` and ``/mnt/x/y``; each key is the name."""
    made = Tree()
    top = made.add_top(b"top", b"/mnt")
    for names in ((b"a", b"b", b"c"), (b"x", b"y")):
        at = top
        for name in names:
            at = made.add(name, at, name)
    return made


def path(tree: Tree, key: bytes) -> bytes:
    return tree.settle(node(tree, key)).path


def inside(tree: Tree, key: bytes) -> frozenset[int]:
    return tree.settle(node(tree, key)).inside


def test_paths_are_made_of_the_places(tree: Tree) -> None:
    assert path(tree, b"c") == b"/mnt/a/b/c"
    assert path(tree, b"top") == b"/mnt"
    assert node(tree, b"top").child_path(b"f") == b"/mnt/f"


def test_the_root_directory_has_no_double_slash() -> None:
    tree = Tree()
    top = tree.add_top(b"top", b"/")
    tree.add(b"a", top, b"a")
    assert path(tree, b"a") == b"/a"
    assert tree.settle(top).child_path(b"f") == b"/f"


def test_a_move_takes_along_all_below(tree: Tree) -> None:
    assert path(tree, b"c") == b"/mnt/a/b/c"
    tree.move(b"b", node(tree, b"y"), b"new")
    assert path(tree, b"c") == b"/mnt/x/y/new/c"


def test_a_move_to_an_unknown_place_forgets(tree: Tree) -> None:
    tree.move(b"b", None, b"new")
    assert tree.get(b"b") is None


def test_a_move_into_itself_is_not_believed(tree: Tree) -> None:
    tree.move(b"a", node(tree, b"c"), b"a")
    assert tree.get(b"a") is None


def test_a_move_of_the_unknown_is_nothing(tree: Tree) -> None:
    tree.move(b"unknown", node(tree, b"a"), b"name")
    assert tree.get(b"unknown") is None


def test_the_nearest_root_or_exception_decides(tree: Tree) -> None:
    outer, inner = RootSet(), RootSet()
    outer.include(root(b"a"))
    outer.exclude(root(b"b"))
    inner.include(root(b"c"))
    tree.use_sets([outer, inner])
    assert inside(tree, b"top") == frozenset()
    assert inside(tree, b"a") == {outer.set_id}
    assert inside(tree, b"b") == frozenset()
    assert inside(tree, b"c") == {inner.set_id}
    tree.move(b"c", node(tree, b"a"), b"c")
    assert inside(tree, b"c") == {outer.set_id, inner.set_id}


def test_membership_follows_moves_and_changes_of_the_set(tree: Tree) -> None:
    roots = RootSet()
    tree.use_sets([roots])
    assert inside(tree, b"y") == frozenset()
    roots.include(root(b"x"))
    tree.use_sets([roots])
    assert inside(tree, b"y") == {roots.set_id}
    tree.move(b"y", node(tree, b"a"), b"y")
    assert inside(tree, b"y") == frozenset()
    tree.move(b"b", node(tree, b"x"), b"b")
    assert inside(tree, b"c") == {roots.set_id}
    roots.discard(b"x")
    tree.use_sets([roots])
    assert inside(tree, b"c") == frozenset()


def test_an_object_that_is_a_point_itself_is_judged_by_it(tree: Tree) -> None:
    roots = RootSet()
    roots.include(root(b"file"))
    roots.exclude(root(b"other"))
    tree.use_sets([roots])
    assert tree.inside_of(frozenset(), b"file") == {roots.set_id}
    assert tree.inside_of(frozenset({roots.set_id}), b"other") == frozenset()
    assert tree.inside_of(frozenset(), b"unknown") == frozenset()
    assert tree.inside_of(frozenset(), None) == frozenset()
    assert tree.is_point(b"file")
    assert not tree.is_point(b"a")


def test_a_removed_directory_is_there_for_late_records_and_then_gone(tree: Tree) -> None:
    tree.remove(b"c")
    tree.bury()
    assert path(tree, b"c") == b"/mnt/a/b/c"
    tree.bury()
    assert tree.get(b"c") is None


def test_forgetting_keeps_the_tops_and_their_paths(tree: Tree) -> None:
    tree.forget()
    assert tree.get(b"a") is None
    assert path(tree, b"top") == b"/mnt"


def test_a_top_that_is_dropped_takes_all_with_it(tree: Tree) -> None:
    tree.drop_top(b"top")
    assert len(tree) == 0


def test_a_top_that_is_mounted_elsewhere_moves_all_below(tree: Tree) -> None:
    assert path(tree, b"c") == b"/mnt/a/b/c"
    tree.add_top(b"top", b"/other")
    tree.add(b"a", node(tree, b"top"), b"a")
    assert path(tree, b"a") == b"/other/a"


def test_the_model_is_bounded_and_the_tops_survive() -> None:
    tree = Tree(max_directories=10)
    top = tree.add_top(b"top", b"/mnt")
    for n in range(100):
        tree.add(b"%d" % n, top, b"%d" % n)
        assert len(tree) <= 11
    assert path(tree, b"top") == b"/mnt"


def test_a_very_deep_place_needs_no_recursion() -> None:
    tree = Tree()
    at = tree.add_top(b"top", b"/mnt")
    for n in range(5000):
        at = tree.add(b"%d" % n, at, b"d")
    assert tree.settle(at).path == b"/mnt" + b"/d" * 5000


def test_a_root_set_knows_what_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    roots = RootSet([tmp_path], exclude=[tmp_path / "a"])
    assert [r.path for r in roots.roots] == [os.fsencode(tmp_path)]
    assert len(roots) == 2
