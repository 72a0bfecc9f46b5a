"""What is mounted inside a subtree joins it at the client's side, where programs in the kernel fill the ring."""

import os
from pathlib import Path

import pytest

from fanotify_fastpath import Mask, RootSet, Scope
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.daemon.joining import Joining, lies_inside
from fanotify_fastpath._uapi.mountinfo import Mount
from fanotify_fastpath.errors import LimitReached, UnsupportedFilesystem
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import Root, identify
from mounting import Mounter


class Host:
    """An engine that only writes down what it is told."""

    def __init__(self) -> None:
        self.superblocks: dict[bytes, Superblock] = {}
        self.told: list[tuple[Mask, str]] = []

    def watch_filesystem(self, root: Root, mask: int) -> None: ...
    def lose_filesystem(self, superblock: Superblock) -> None: ...
    def move_filesystem(self, superblock: Superblock, mount: Mount) -> None: ...
    def anchor(self, root: Root) -> None: ...

    def is_inside(self, mark: Mark, path: bytes) -> bool:
        return lies_inside(mark, path)

    def tell(self, mask: Mask, path: bytes) -> None:
        self.told.append((mask, os.fsdecode(path)))


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def top(mounts: Mounter) -> Path:
    return mounts.make("tmpfs")


def marked(top: Path) -> Mark:
    roots, root = RootSet(), identify(os.fsencode(top))
    roots.include(root)
    return Mark(Scope.SUBTREE, Mask.CREATE, root, roots)


def joined(mark: Mark) -> list[str]:
    return [os.fsdecode(root.path) for root in mark.roots.roots[1:]]


@pytest.mark.parametrize("error", [UnsupportedFilesystem, LimitReached])
def test_what_the_daemon_refuses_is_told_by_name_and_keeps_no_other_out(
    host: Host, top: Path, mounts: Mounter, error: type[Exception]
) -> None:
    names = ["a", "b", "c"]
    for name in names:
        (top / name).mkdir()
        mounts.make("tmpfs", top / name)
    mark, joining = marked(top), Joining(host, follow=True)

    def refuse() -> None:
        if os.fspath(top / "b") in joined(mark):
            raise error("not this one")

    mark.roots.on_change(refuse)
    joining.join(mark, mark.root)
    assert joined(mark) == [f"{top}/a", f"{top}/c"]
    assert host.told == [(Mask.UNWATCHED, f"{top}/b")]
    joining.refresh([mark])  # what may be possible later is tried again
    assert len(host.told) == (1 if error is UnsupportedFilesystem else 2)
    mounts.umount(top / "b")
    joining.refresh([mark])
    assert not any(mask & Mask.UNMOUNT for mask, _ in host.told)


@pytest.mark.parametrize("is_excepted", [False, True])
def test_a_part_of_the_subtree_that_is_mounted_inside_it_is_told_once(
    host: Host, top: Path, mounts: Mounter, is_excepted: bool
) -> None:
    for name in ("sub/deeper", "point"):
        (top / name).mkdir(parents=True)
    mounts.bind(top / "sub/deeper", top / "point")
    mark = marked(top)
    if is_excepted:  # it is told by no other path
        mark.roots.exclude(identify(os.fsencode(top / "sub")))
    Joining(host, follow=True).join(mark, mark.root)
    assert joined(mark) == ([f"{top}/point"] if is_excepted else [])


def test_another_part_of_the_same_filesystem_joins(host: Host, top: Path, mounts: Mounter) -> None:
    for name in ("root/point", "roots"):
        (top / name).mkdir(parents=True)
    mounts.bind(top / "roots", top / "root/point")
    mark = marked(top / "root")
    Joining(host, follow=True).join(mark, mark.root)
    assert joined(mark) == [f"{top}/root/point"]
