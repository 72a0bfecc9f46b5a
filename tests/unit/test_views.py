"""From the path inside a filesystem to the user's, without a filesystem: the mounts are made up."""

import os
from types import SimpleNamespace
from typing import cast

import pytest

from fanotify_fastpath._engines.common.devices import kernel_dev, user_dev
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.kernel.tables import SLOTS_BYTES, pack_slots
from fanotify_fastpath._engines.kernel.views import Views, below
from fanotify_fastpath._uapi.mountinfo import Mount

#: of a device that no machine has
DEV = 0xFFE << 20 | 0xFFFFE


def view(root: bytes, mountpoint: bytes) -> Superblock:
    mount = Mount(1, 0, user_dev(DEV), root, mountpoint, (), "ext4", b"", ())
    return cast(Superblock, SimpleNamespace(mount=mount))


@pytest.fixture
def views() -> Views:
    made = Views()
    made.add(DEV, view(b"/", b"/mnt"))
    return made


@pytest.mark.parametrize(
    ("inside", "path"), [(b"", b"/mnt"), (b"/a", b"/mnt/a"), (b"/a/b", b"/mnt/a/b"), (b"/a/\xff\n", b"/mnt/a/\xff\n")]
)
def test_paths_begin_at_the_mountpoint(views: Views, inside: bytes, path: bytes) -> None:
    assert views.path(DEV, inside) == path


def test_the_root_filesystem_has_no_prefix() -> None:
    views = Views()
    views.add(DEV, view(b"/", b"/"))
    assert [views.path(DEV, inside) for inside in (b"", b"/a", b"/a/b")] == [b"/", b"/a", b"/a/b"]


def test_through_a_mount_of_a_part_its_root_is_left_out() -> None:
    views = Views()
    views.add(DEV, view(b"/sub/vol", b"/mnt"))
    assert views.path(DEV, b"/sub/vol/a") == b"/mnt/a"
    assert views.path(DEV, b"/sub/vol") == b"/mnt"


def test_what_no_mount_shows_is_told_as_it_stands_in_the_filesystem() -> None:
    views = Views()
    views.add(DEV, view(b"/sub", b"/mnt"))
    assert views.path(DEV, b"/subway/a") == b"/subway/a"


def test_below_a_root_that_was_given_by_another_path_that_path_counts(views: Views) -> None:
    views.give(DEV, b"/a/b", b"/link")
    assert views.has_given
    assert views.path(DEV, b"/a/b") == b"/link"
    assert views.path(DEV, b"/a/b/c/d") == b"/link/c/d"
    assert views.path(DEV, b"/a/bc") == b"/mnt/a/bc"
    views.take_back(DEV, b"/a/b")
    assert views.path(DEV, b"/a/b/c") == b"/mnt/a/b/c"


def test_a_root_that_was_given_by_its_own_path_changes_nothing(views: Views) -> None:
    views.give(DEV, b"/a/b", b"/mnt/a/b")
    assert not views.has_given


def test_the_nearest_given_path_counts(views: Views) -> None:
    views.give(DEV, b"/a", b"/one")
    views.give(DEV, b"/a/b", b"/two")
    assert views.path(DEV, b"/a/x") == b"/one/x"
    assert views.path(DEV, b"/a/b/x") == b"/two/x"


def test_a_mount_that_was_moved_shows_after_a_refresh(views: Views) -> None:
    assert views.path(DEV, b"/a") == b"/mnt/a"
    superblock = views.superblock(DEV)
    assert superblock is not None
    superblock.mount = view(b"/", b"/elsewhere").mount
    views.refresh()
    assert views.path(DEV, b"/a") == b"/elsewhere/a"


def test_device_numbers_are_turned_there_and_back() -> None:
    for major, minor in ((0, 41), (7, 300), (259, 70000)):
        assert user_dev(kernel_dev(os.makedev(major, minor))) == os.makedev(major, minor)
        assert kernel_dev(os.makedev(major, minor)) == major << 20 | minor


@pytest.mark.parametrize(
    ("path", "above", "rest"),
    [(b"/a/b", b"/a", b"/b"), (b"/a", b"/a", b""), (b"/ab", b"/a", None), (b"/a", b"", b"/a"), (b"/b", b"/a", None)],
)
def test_below_is_by_whole_names(path: bytes, above: bytes, rest: bytes | None) -> None:
    assert below(path, above) == rest


def test_slots_are_packed_with_the_first_in_the_lowest_bit() -> None:
    packed = pack_slots(1 | 1 << 64)
    assert len(packed) == SLOTS_BYTES
    assert (packed[0], packed[8], sum(packed)) == (1, 1, 2)
