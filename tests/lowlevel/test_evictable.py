"""Evictable marks: they do not pin inodes, and go with them (LTP fanotify23, part of 10)."""

from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import FanotifyFile, MarkFlag, Mask
from mounting import run
from outcomes import errno_of

from .support import ADD, FILESYSTEM, MOUNT, REMOVE, listen, new_file, touch, union

EVICTABLE = MarkFlag.EVICTABLE


def n_inode_marks(group: FanotifyFile) -> int:
    return Path(f"/proc/self/fdinfo/{group.fileno()}").read_text().count("fanotify ino:")


def drop_caches() -> None:
    Path("/proc/sys/vm/drop_caches").write_text("3")


def evict(path: Path, group: FanotifyFile) -> None:
    """Make the kernel forget unused inodes; give up quietly after a few rounds, what follows tells."""
    run("sync", "-f", path.parent)  # not the file: the event of opening it would hold it until it is read
    for _ in range(5):
        # Twice: looking into fdinfo counts as a use of the inode, and a used inode survives one round.
        drop_caches()
        drop_caches()
        if n_inode_marks(group) == 0:
            return


@pytest.fixture
def path(ext4: Path) -> Path:
    for n in range(30):  # the shrinker rounds down: the only unused inode of a filesystem is never taken
        new_file(ext4, f"other{n}", content=b"")
    return new_file(ext4, content=b"")


def test_an_evictable_mark_goes_with_its_inode_and_another_holds_it(path: Path) -> None:
    with listen() as group, listen() as holding:
        group.mark(ADD | EVICTABLE, Mask.OPEN, path)
        assert n_inode_marks(group) == 1
        holding.mark(ADD, Mask.OPEN, path)
        drop_caches()
        drop_caches()
        assert (n_inode_marks(group), n_inode_marks(holding)) == (1, 1)
        holding.mark(REMOVE, Mask.OPEN, path)
        evict(path, group)
        assert n_inode_marks(group) == 0
        touch(path)
        assert union(group) == Mask(0)
        assert errno_of(group.mark, REMOVE, Mask.OPEN, path) == "ENOENT"


@pytest.mark.parametrize("kind", [MOUNT, FILESYSTEM])
@pytest.mark.parametrize("on_parent", [False, True])
def test_an_evicted_ignore_mark_ignores_no_longer(path: Path, kind: MarkFlag, on_parent: bool) -> None:
    ignored = path.parent if on_parent else path
    with listen() as group:
        group.mark(ADD | kind, Mask.OPEN, path)
        mask = Mask.OPEN | (Mask.EVENT_ON_CHILD if on_parent else 0)
        group.mark(ADD | EVICTABLE | MarkFlag.IGNORE_SURV, mask, ignored)
        touch(path)
        assert union(group) == Mask(0)
        evict(path, group)
        touch(path)
        assert union(group) == Mask.OPEN


def test_a_mark_becomes_inevictable_but_not_evictable_again(path: Path) -> None:
    with listen() as group:
        group.mark(ADD | EVICTABLE, Mask.OPEN, path)
        group.mark(ADD | EVICTABLE, Mask.ACCESS, path)
        group.mark(ADD, Mask.CLOSE, path)
        assert errno_of(group.mark, ADD | EVICTABLE, Mask.MODIFY, path) == "EEXIST"


@pytest.mark.parametrize("kind", [MOUNT, FILESYSTEM])
def test_only_inode_marks_are_evictable(path: Path, kind: MarkFlag) -> None:
    with listen() as group:
        assert errno_of(group.mark, ADD | EVICTABLE | kind, Mask.OPEN, path) == "EINVAL"
