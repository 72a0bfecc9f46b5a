"""S14: a file with names inside and outside is judged by the name that was used."""

import os

import pytest

from conftest import everywhere
from fanotify_fastpath import Mask

from . import actions
from .conftest import Stage, both_ways
from .support import paths, told


@everywhere
@both_ways
@pytest.mark.parametrize("first", ["inside", "outside"])
def test_s14_a_write_is_reported_by_the_name_it_went_through(stage: Stage, first: str) -> None:
    root, outside = stage.dirs("root", "outside")
    stage.other(actions.write, root / "name")
    stage.other(os.link, root / "name", outside / "name")
    ears = stage.watch(root, Mask.MODIFY | Mask.CLOSE_WRITE | Mask.OPEN)
    order = [root, outside] if first == "inside" else [outside, root]
    for n in range(2):
        for directory in order:
            stage.other(actions.write, directory / "name", b"%d" % n)
            heard = told(ears.hear(root), stage.top)
            assert heard.keys() == ({"root/name"} if directory == root else set())


@everywhere
@both_ways
def test_links_made_and_removed_inside_are_reported_and_outside_are_not(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    stage.other(actions.write, root / "name")
    ears = stage.watch(root)
    stage.other(os.link, root / "name", root / "second")
    stage.other(os.link, root / "name", outside / "third")
    stage.other(os.unlink, root / "name")
    stage.other(os.unlink, outside / "third")
    heard = ears.hear(root)
    assert paths(heard, Mask.CREATE, stage.top) == ["root/second"]
    assert paths(heard, Mask.DELETE, stage.top) == ["root/name"]
    assert told(heard, stage.top).keys() == {"root/second", "root/name"}


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs", "tmpfs"], indirect=True)
def test_a_file_made_without_a_name_is_reported_when_it_gets_one(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    ears = stage.watch(root)
    stage.other(actions.link_tmpfile, outside, outside / "no")
    stage.other(actions.link_tmpfile, root, root / "yes")
    stage.other(actions.link_tmpfile, outside, root / "in")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["yes", "in"]


def test_a_symbolic_link_is_an_entry_like_another_and_is_not_followed(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    ears = stage.watch(root)
    stage.other(os.symlink, outside, root / "link")
    stage.other(actions.write, root / "link/file")
    stage.other(os.unlink, root / "link")
    assert told(ears.hear(root), stage.top) == {"root/link": Mask.CREATE | Mask.DELETE}


def test_a_root_given_by_a_symbolic_link_is_what_it_points_to(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    link = stage.top / "link"
    link.symlink_to(root)
    ears = stage.watch(link)
    stage.other(actions.write, root / "file")
    assert paths(ears.hear(root), Mask.CREATE, stage.top) == ["link/file"]
