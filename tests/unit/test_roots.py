"""Identity of roots: by handle, through paths, links and descriptors, and sets that tell of their changes."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath import InvalidArgument, NotPermitted, PathNotFound, RootSet, UnsupportedFilesystem
from fanotify_fastpath.roots import FSID_BYTES, identify


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory on a filesystem that has handles (that of the temporary directory)."""
    try:
        identify(tmp_path)
    except UnsupportedFilesystem as exc:
        pytest.skip(str(exc))
    made = tmp_path / "directory"
    made.mkdir()
    return made


def test_the_same_object_has_the_same_identity_by_every_way(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = directory.parent / "link"
    link.symlink_to(directory)
    monkeypatch.chdir(directory.parent)
    fd, path_fd = os.open(directory, os.O_RDONLY), os.open(directory, os.O_PATH)
    try:
        ways = [
            identify(way) for way in (directory, str(directory), os.fsencode(directory), link, "directory", fd, path_fd)
        ]
    finally:
        os.close(fd)
        os.close(path_fd)
    assert len({root.key for root in ways}) == 1
    assert {(root.dev, root.inode, root.is_dir) for root in ways} == {
        (directory.stat().st_dev, directory.stat().st_ino, True)
    }


def test_the_path_is_absolute_and_as_it_was_given(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = directory.parent / "link"
    link.symlink_to(directory)
    monkeypatch.chdir(directory.parent)
    assert identify("link").path == os.fsencode(link)
    assert identify("directory/../link/").path == os.fsencode(link)


def test_the_path_of_a_descriptor_is_where_it_stands(directory: Path) -> None:
    fd = os.open(directory, os.O_PATH)
    os.rename(directory, directory.parent / "moved")
    root = identify(fd)
    os.close(fd)
    assert root.path == os.fsencode(directory.parent / "moved")


def test_identity_survives_a_rename_and_ends_with_the_object(directory: Path) -> None:
    before = identify(directory)
    moved = directory.parent / "moved"
    directory.rename(moved)
    assert identify(moved).key == before.key
    moved.rmdir()
    directory.mkdir()
    assert identify(directory).key != before.key


def test_a_file_is_a_root_too(directory: Path) -> None:
    (directory / "file").touch()
    root = identify(directory / "file")
    assert not root.is_dir
    assert root.key != identify(directory).key


def test_a_missing_path_is_enoent_and_says_which(directory: Path) -> None:
    with pytest.raises(PathNotFound) as caught:
        identify(directory / "missing")
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == str(directory / "missing")
    assert isinstance(caught.value, FileNotFoundError)


def test_a_dangling_link_is_enoent(directory: Path) -> None:
    (directory / "link").symlink_to("nowhere")
    with pytest.raises(PathNotFound):
        identify(directory / "link")


@pytest.mark.parametrize("fd", [-1, 1 << 20])
def test_a_bad_descriptor_is_ebadf(fd: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        identify(fd)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("target", ["/proc/self", "/sys/kernel"])
def test_a_filesystem_without_identity_is_refused_with_the_reason(target: str) -> None:
    with pytest.raises(UnsupportedFilesystem) as caught:
        identify(target)
    assert caught.value.errno in (errno.ENODEV, errno.EOPNOTSUPP)
    assert target in str(caught.value)


def test_a_pipe_is_no_root() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(UnsupportedFilesystem):
            identify(reader)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_set_tells_of_each_change(directory: Path) -> None:
    changes: list[int] = []
    roots = RootSet()

    def listener() -> None:
        changes.append(len(roots))

    roots.on_change(listener)
    root = roots.add(directory)
    roots.add(directory.parent, exclude=True)
    roots.remove(directory)
    roots.discard(root.key)
    assert changes == [1, 2, 1]
    roots.off_change(listener)
    roots.off_change(listener)
    roots.add(directory)
    assert changes == [1, 2, 1]


def test_a_root_can_be_removed_by_the_path_it_was_given_though_it_is_gone(directory: Path) -> None:
    roots = RootSet([directory])
    directory.rmdir()
    roots.remove(str(directory))
    assert len(roots) == 0


def test_a_root_can_be_removed_by_another_way_to_it(directory: Path) -> None:
    link = directory.parent / "link"
    link.symlink_to(directory)
    roots = RootSet([directory])
    roots.remove(link)
    assert len(roots) == 0


def test_removing_what_is_no_root_is_einval(directory: Path) -> None:
    roots = RootSet([directory])
    for target in (directory.parent, directory / "missing"):
        with pytest.raises(InvalidArgument):
            roots.remove(target)
    assert len(roots) == 1


def test_the_last_word_about_an_object_counts(directory: Path) -> None:
    roots = RootSet([directory])
    roots.add(directory, exclude=True)
    assert roots.roots == []
    roots.add(directory)
    assert [root.path for root in roots.roots] == [os.fsencode(directory)]
    assert len(roots) == 1


def test_a_change_that_a_listener_refuses_is_taken_back(directory: Path) -> None:
    below = directory / "below"
    below.mkdir()
    roots = RootSet([directory])
    seen: list[list[bool]] = []

    def refuse() -> None:
        seen.append([included for _, included in roots.points.values()])
        if len(roots) > 1 or not all(seen[-1]) or not roots.roots:
            raise NotPermitted("not that")

    roots.on_change(refuse)
    root = roots.roots[0]
    changes: list[Callable[[], object]] = [
        lambda: roots.add(below),
        lambda: roots.add(directory, exclude=True),
        lambda: roots.exclude(root),
        lambda: roots.remove(directory),
    ]
    for change in changes:
        with pytest.raises(NotPermitted, match="not that"):
            change()
        assert list(roots.points.values()) == [(root, True)]
        assert seen[-1] == [True], "all are told that it is as it was"
    assert roots.filesystems() == {root.key[:FSID_BYTES]}


def test_sets_have_different_numbers() -> None:
    assert RootSet().set_id != RootSet().set_id
