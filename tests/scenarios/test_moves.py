"""S10, S11, S12: membership follows renames, and a rename that crosses the border says so."""

import itertools
import os

from conftest import everywhere
from fanotify_fastpath import Event, Mask

from . import actions
from .conftest import Stage, both_ways
from .support import paths, renames, told


@everywhere
@both_ways
def test_s10_a_tree_moved_in_is_reported_with_its_new_path(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside", "outside/tree/a/b/c")
    stage.other(actions.write, outside / "tree/a/b/c/old")
    ears = stage.watch(root)
    stage.other(os.rename, outside / "tree", root / "tree")
    stage.other(actions.write, root / "tree/a/b/c/old", b"longer")
    stage.other(actions.write, root / "tree/a/b/new")
    heard = ears.hear(root)
    assert renames(heard, stage.top) == [("outside/tree", "root/tree", "in")]
    seen = told(heard, root)
    assert seen["tree/a/b/c/old"] & Mask.MODIFY
    assert seen["tree/a/b/new"] & Mask.CREATE


@everywhere
@both_ways
def test_s10_a_tree_moved_in_is_reported_also_after_its_outside_life_was_heard(stage: Stage) -> None:
    root, outside, deep = stage.dirs("root", "outside", "outside/tree/a/b/c")
    ears = stage.watch(root)
    for n in range(2):
        stage.other(actions.write, deep / f"outside{n}")
        assert told(ears.hear(root), stage.top) == {}
    stage.other(os.rename, outside / "tree", root / "tree")
    assert renames(ears.hear(root), stage.top) == [("outside/tree", "root/tree", "in")]
    stage.other(actions.write, root / "tree/a/b/c/inside")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["tree/a/b/c/inside"]


@both_ways
def test_s10_a_remembered_tree_moved_in_is_rescanned(stage: Stage) -> None:
    root, outside, deep = stage.dirs("root", "outside", "outside/tree/a")
    ears = stage.watch(root)
    stage.other(actions.write, deep / "one")
    ears.hear(root)
    stage.other(os.rename, outside / "tree", root / "tree")
    stage.other(actions.write, root / "tree/a/two")
    heard = ears.hear(root)
    created = paths(heard, Mask.CREATE, root)
    rescans = paths(heard, Mask.RESCAN, root)
    assert created == ["tree/a/two"] or rescans == ["tree"]


@everywhere
@both_ways
def test_s11_a_tree_moved_out_is_silent(stage: Stage) -> None:
    root, outside, deep = stage.dirs("root", "outside", "root/tree/a/b/c")
    ears = stage.watch(root)
    stage.other(actions.write, deep / "before")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["tree/a/b/c/before"]
    stage.other(os.rename, root / "tree", outside / "tree")
    stage.other(actions.write, outside / "tree/a/b/c/after")
    stage.other(actions.remove_tree, outside / "tree/a")
    heard = ears.hear(root)
    assert renames(heard, stage.top) == [("root/tree", "outside/tree", "out")]
    assert len(heard) == 1


@everywhere
@both_ways
def test_s11_in_and_out_again_each_side_is_told_by_where_it_happened(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside", "root/tree/a")
    ears = stage.watch(root)
    for n in range(3):
        stage.other(actions.write, root / f"tree/a/inside{n}")
        stage.other(os.rename, root / "tree", outside / "tree")
        stage.other(actions.write, outside / f"tree/a/outside{n}")
        stage.other(os.rename, outside / "tree", root / "tree")
    stage.other(actions.write, root / "tree/a/last")
    heard = ears.hear(root)
    assert_told_by_where_it_happened(heard)
    assert paths(heard, Mask.CREATE, root)[-1] == "tree/a/last"


@both_ways
def test_s11_in_and_out_again_the_other_way_round(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside", "outside/tree/a")
    ears = stage.watch(root)
    for n in range(3):
        stage.other(os.rename, outside / "tree", root / "tree")
        stage.other(actions.write, root / f"tree/a/inside{n}")
        stage.other(os.rename, root / "tree", outside / "tree")
        stage.other(actions.write, outside / f"tree/a/outside{n}")
    assert_told_by_where_it_happened(ears.hear(root))


def assert_told_by_where_it_happened(heard: list[Event]) -> None:
    """
    Every inside<n> was told, and no outside<n>.

    The kernel merges a rename into an earlier unread one like it, so after that the place of the directory cannot be
    known: what is told then must be told, and must say that it is undecided.
    """
    created = [(os.path.basename(event.path or ""), event.undecided) for event in heard if event.mask & Mask.CREATE]
    assert [name for name, undecided in created if name.startswith("outside") and not undecided] == []
    assert {"inside0", "inside1", "inside2"} <= {name for name, _ in created}


@everywhere
@both_ways
def test_s11_in_and_out_with_the_listener_keeping_up_is_exact(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside", "root/tree/a")
    ears = stage.watch(root)
    for n in range(3):
        stage.other(actions.write, root / f"tree/a/inside{n}")
        assert paths(ears.hear(root), Mask.CREATE, root) == [f"tree/a/inside{n}"]
        stage.other(os.rename, root / "tree", outside / "tree")
        stage.other(actions.write, outside / f"tree/a/outside{n}")
        assert renames(ears.hear(root), stage.top) == [("root/tree", "outside/tree", "out")]
        stage.other(os.rename, outside / "tree", root / "tree")
        heard = ears.hear(root)
        assert renames(heard, stage.top) == [("outside/tree", "root/tree", "in")]


@everywhere
@both_ways
def test_s12_a_renamed_root_stays_the_root_and_has_its_new_path(stage: Stage) -> None:
    root, _ = stage.dirs("root", "root/deep/er")
    ears = stage.watch(root)
    stage.other(actions.write, root / "deep/er/before")
    assert paths(ears.hear(root), Mask.CREATE, stage.top) == ["root/deep/er/before"]
    new = stage.top / "renamed"
    stage.other(os.rename, root, new)
    stage.other(actions.write, new / "after")
    stage.other(actions.write, new / "deep/er/after")
    heard = ears.hear(new)
    assert renames(heard, stage.top) == [("root", "renamed", None)]
    assert paths(heard, Mask.CREATE, stage.top) == ["renamed/after", "renamed/deep/er/after"]


@everywhere
@both_ways
def test_s12_a_rename_above_the_root_changes_its_path(stage: Stage) -> None:
    _, root = stage.dirs("above", "above/root")
    ears = stage.watch(root)
    stage.other(os.rename, stage.top / "above", stage.top / "elsewhere")
    stage.other(actions.write, stage.top / "elsewhere/root/file")
    heard = ears.hear(stage.top / "elsewhere/root")
    assert paths(heard, Mask.CREATE, stage.top) == ["elsewhere/root/file"]


@both_ways
def test_what_takes_the_place_of_a_renamed_root_is_outside(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root)
    stage.other(os.rename, root, stage.top / "moved")
    stage.other(os.mkdir, root)
    stage.other(actions.write, root / "impostor")
    stage.other(actions.write, stage.top / "moved/true")
    assert paths(ears.hear(stage.top / "moved"), Mask.CREATE, stage.top) == ["moved/true"]


@everywhere
@both_ways
def test_a_file_renamed_across_the_border_says_so(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside", "root/sub")
    stage.other(actions.write, outside / "file")
    ears = stage.watch(root)
    steps = [outside / "file", root / "a", root / "sub/b", outside / "c"]
    for old, new in itertools.pairwise(steps):
        stage.other(os.rename, old, new)
    expected = [("outside/file", "root/a", "in"), ("root/a", "root/sub/b", None), ("root/sub/b", "outside/c", "out")]
    assert renames(ears.hear(root), stage.top) == expected


@both_ways
def test_exchange_across_the_border_is_two_renames(stage: Stage) -> None:
    root, outside, _, _ = stage.dirs("root", "outside", "root/dir", "outside/dir")
    ears = stage.watch(root)
    stage.other(actions.rename2, root / "dir", outside / "dir", actions.RENAME_EXCHANGE)
    stage.other(actions.write, root / "dir/now-inside")
    stage.other(actions.write, outside / "dir/now-outside")
    heard = ears.hear(root)
    assert sorted(renames(heard, stage.top)) == [("outside/dir", "root/dir", "in"), ("root/dir", "outside/dir", "out")]
    assert paths(heard, Mask.CREATE, stage.top) == ["root/dir/now-inside"]


@everywhere
@both_ways
def test_a_thousand_directories_moved_in_are_heard_to_the_deepest_and_moved_out_are_silent(stage: Stage) -> None:
    root, outside, _ = stage.dirs("root", "outside", "outside/tree")
    stage.other(actions.make_tree, outside / "tree", 1000, 2)
    deepest = max((directory for directory, _, _ in os.walk(outside / "tree")), key=lambda path: path.count("/"))
    inner = os.path.relpath(deepest, outside)
    ears = stage.watch(root)
    for round_ in range(2):
        stage.other(os.rename, outside / "tree", root / "tree")
        stage.other(actions.write, root / inner / f"in{round_}")
        heard = ears.hear(root)
        assert paths(heard, Mask.CREATE, root) == [f"{inner}/in{round_}"] or paths(heard, Mask.RESCAN, root) == ["tree"]
        stage.other(os.rename, root / "tree", outside / "tree")
        stage.other(actions.write, outside / inner / f"out{round_}")
        heard = ears.hear(root)
        assert renames(heard, stage.top) == [("root/tree", "outside/tree", "out")]
        assert told(heard, stage.top).keys() == {"outside/tree"}
