"""S18 and names: deep trees, paths longer than PATH_MAX, and names that are no text."""

import itertools
import os

import pytest

from conftest import everywhere
from fanotify_fastpath import Mask

from . import actions
from .conftest import Stage, both_ways
from .support import paths, told

#: deeper than the walk of any engine, and longer than PATH_MAX (4096)
#: deeper than the kernel engine climbs, and longer than any path
DEPTH, NAME = 1100, b"n" * 40
NASTY = [b"new\nline", b"\xff\xfe", b" ", b"-rf", b"a\\b", b"\\012", b"tab\t", b"\xe2\x98\x83", b"x" * 255, b"' \"$(x)"]


@everywhere
def test_s18_the_bottom_of_a_tree_longer_than_path_max_is_told_with_its_full_path(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    for top in (root, outside):
        stage.other(actions.make_deep, top, NAME, DEPTH)
    ears = stage.watch(root)
    for top in (outside, root):
        stage.other(actions.touch_deep, top, NAME, DEPTH, b"leaf")
    heard = ears.hear(root)
    created = [event for event in heard if event.mask & Mask.CREATE]
    expected = [b"/".join([os.fsencode(top), *([NAME] * DEPTH), b"leaf"]) for top in (outside, root)]
    if stage.engine == "kernel":  # it cannot tell where either lies: both are sent, and say so
        assert [event.raw_path for event in created] == [stage.as_told(path) for path in expected]
        assert all(event.undecided and event.is_truncated for event in created)
    else:
        assert [(event.raw_path, event.is_truncated) for event in created] == [
            (stage.as_told(path), stage.has_records) for path in expected[1:]
        ]
        assert not any(event.undecided for event in heard)
    for top in (root, outside):
        stage.other(actions.remove_deep, top, NAME)


@both_ways
def test_s18_a_deep_tree_made_while_watched_is_told_in_full(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    stage.other(actions.make_deep, root, NAME, DEPTH)
    heard = ears.hear(root)
    expected = [os.fsencode(root)]
    for _ in range(DEPTH):
        expected.append(expected[-1] + b"/" + NAME)
    expected.append(expected[-1] + b"/bottom")
    assert [event.raw_path for event in heard] == [stage.as_told(path) for path in expected[1:]]
    assert [event.undecided for event in heard] == [stage.is_too_deep(path) for path in expected[1:]]
    stage.other(actions.remove_deep, root, NAME)


@everywhere
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_name_of_any_bytes_survives(stage: Stage, kind: str) -> None:
    (root,) = stage.dirs("root")
    base = os.fsencode(root)
    ears = stage.watch(root)
    for name in NASTY:
        if kind == "directory":
            stage.other(os.mkdir, base + b"/" + name)
            stage.other(actions.touch, base + b"/" + name + b"/in")
        else:
            stage.other(actions.touch, base + b"/" + name)
    heard = [event for event in ears.hear(root) if event.mask & Mask.CREATE]
    expected = [base + b"/" + name for name in NASTY]
    if kind == "directory":
        expected = [path for directory in expected for path in (directory, directory + b"/in")]
    assert [event.raw_path for event in heard] == expected
    assert [os.fsencode(event.path or "") for event in heard] == expected
    assert all(
        event.is_dir == (kind == "directory" and not event.raw_path.endswith(b"/in"))
        for event in heard
        if event.raw_path
    )


@everywhere
def test_renames_between_nasty_names_are_told_with_both(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    base = os.fsencode(root)
    stage.other(actions.touch, base + b"/" + NASTY[0])
    ears = stage.watch(root)
    for old, new in itertools.pairwise(NASTY):
        stage.other(os.rename, base + b"/" + old, base + b"/" + new)
    heard = [(event.raw_old_path, event.raw_path) for event in ears.hear(root) if event.mask & Mask.RENAME]
    assert heard == [(base + b"/" + old, base + b"/" + new) for old, new in itertools.pairwise(NASTY)]


@both_ways
def test_a_root_with_a_nasty_name_below_a_nasty_name(stage: Stage) -> None:
    root = stage.top / os.fsdecode(NASTY[0]) / os.fsdecode(NASTY[1])
    root.mkdir(parents=True)
    ears = stage.watch(root)
    stage.other(actions.touch, root / "file")
    assert [event.path for event in ears.hear(root) if event.mask & Mask.CREATE] == [str(root / "file")]


def test_a_name_that_ends_like_the_kernels_mark_of_deleted_paths(stage: Stage) -> None:
    root, odd, outside = stage.dirs("root", "root/x (deleted)/y (deleted)", "outside (deleted)/root (deleted)")
    ears = stage.watch(root)
    stage.other(actions.write, outside / "file (deleted)")
    stage.other(actions.write, odd / "file (deleted)")
    heard = ears.hear(root)
    assert paths(heard, Mask.CREATE, root) == ["x (deleted)/y (deleted)/file (deleted)"]
    assert len(told(heard, root)) == 1
