"""Ignore masks: which mark silences which event (LTP fanotify06, 09, 10)."""

import itertools
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import FanotifyFile, InitFlag, MarkFlag, Mask
from mounting import Filesystems, Mounter
from outcomes import errno_of

from .answering import Answering
from .support import ADD, FILESYSTEM, INODE, MOUNT, drain, listen, masks, new_file, touch, union

IGNORE = MarkFlag.IGNORE_SURV
LEGACY = MarkFlag.IGNORED_MASK | MarkFlag.IGNORED_SURV_MODIFY
CLASSES = [InitFlag.CLASS_PRE_CONTENT, InitFlag.CLASS_CONTENT, InitFlag.CLASS_NOTIF]

# --- the ignore mark against the watching mark -------------------------------------------------------------------

WATCHES = ["file", "parent", "mount", "filesystem"]
IGNORES = ["file", "other file", "parent and children", "parent alone", "mount", "other mount", "filesystem"]


def is_watched(watch: str, through: str) -> bool:
    return watch != "mount" or through == "mount"


def is_ignored(ignore: str, through: str) -> bool:
    return ignore in ("file", "parent and children", "filesystem", through)


@pytest.fixture
def bound(ext4: Path, mounts: Mounter) -> Path:
    """The same directory through another mount."""
    return mounts.bind(ext4)


def ignore_mark(group: FanotifyFile, ignore: str, mask: Mask, directory: Path, bound: Path) -> None:
    on_child = Mask.EVENT_ON_CHILD
    flags, more, path = {
        "file": (INODE, Mask(0), directory / "file"),
        "other file": (INODE, Mask(0), directory / "other"),
        "parent and children": (INODE, on_child, directory),
        "parent alone": (INODE, Mask(0), directory),
        "mount": (MOUNT, Mask(0), directory),
        "other mount": (MOUNT, Mask(0), bound),
        "filesystem": (FILESYSTEM, Mask(0), directory),
    }[ignore]
    group.mark(ADD | IGNORE | flags, mask | more, path)


@pytest.mark.parametrize("through", ["mount", "other mount"])
@pytest.mark.parametrize(("watch", "ignore"), list(itertools.product(WATCHES, IGNORES)))
def test_an_ignore_mark_silences_exactly_the_events_on_its_object(
    ext4: Path, bound: Path, watch: str, ignore: str, through: str
) -> None:
    path = new_file(ext4)
    new_file(ext4, "other")
    with listen() as group:
        if watch == "parent":
            group.mark(ADD, Mask.OPEN | Mask.ACCESS | Mask.EVENT_ON_CHILD, ext4)
        else:
            flags = {"file": INODE, "mount": MOUNT, "filesystem": FILESYSTEM}[watch]
            group.mark(ADD | flags, Mask.OPEN | Mask.ACCESS, path)
        ignore_mark(group, ignore, Mask.OPEN, ext4, bound)
        (path if through == "mount" else bound / "file").read_bytes()
        wanted = Mask(0)
        if is_watched(watch, through):
            wanted = Mask.ACCESS if is_ignored(ignore, through) else Mask.ACCESS | Mask.OPEN
        assert union(group) == wanted


@pytest.mark.parametrize("watch", ["file", "mount", "filesystem"])
@pytest.mark.parametrize("watches_children", [True, False])
def test_the_old_ignore_mask_of_a_parent_covers_children_only_if_it_watches_them(
    ext4: Path, watch: str, watches_children: bool
) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD | {"file": INODE, "mount": MOUNT, "filesystem": FILESYSTEM}[watch], Mask.OPEN, path)
        group.mark(ADD | LEGACY, Mask.OPEN, ext4)
        group.mark(ADD, Mask.CLOSE_WRITE | (Mask.EVENT_ON_CHILD if watches_children else 0), ext4)
        touch(path)
        assert union(group) == (Mask(0) if watches_children else Mask.OPEN)


@pytest.mark.parametrize("watch", ["parent", "mount", "filesystem"])
@pytest.mark.parametrize("flags", [Mask(0), Mask.ONDIR, Mask.EVENT_ON_CHILD, Mask.ONDIR | Mask.EVENT_ON_CHILD])
def test_an_ignored_parent_covers_subdirectories_only_with_ondir_and_event_on_child(
    ext4: Path, watch: str, flags: Mask
) -> None:
    sub = ext4 / "sub"
    sub.mkdir()
    both = Mask.ONDIR | Mask.EVENT_ON_CHILD
    with listen() as group:
        kind = {"parent": INODE, "mount": MOUNT, "filesystem": FILESYSTEM}[watch]
        group.mark(ADD | kind, Mask.OPEN | both, ext4)
        if watch == "parent":
            # an ignore mask on the mark that watches: the same object, its own flags
            group.mark(ADD | IGNORE, Mask.OPEN | flags, ext4)
        else:
            group.mark(ADD | IGNORE | INODE, Mask.OPEN | flags, ext4)
        touch(sub)
        assert union(group) == (Mask(0) if flags == both else Mask.OPEN)


@pytest.mark.parametrize("flags", [Mask(0), Mask.ONDIR])
def test_an_ignore_mask_spares_directories_unless_ondir(ext4: Path, flags: Mask) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD | FILESYSTEM, Mask.OPEN | Mask.ONDIR, ext4)
        group.mark(ADD | IGNORE | FILESYSTEM, Mask.OPEN | flags, ext4)
        touch(path)
        assert union(group) == Mask(0)
        touch(ext4)
        assert union(group) == (Mask(0) if flags else Mask.OPEN)


# --- several marks of one group meet at one event ----------------------------------------------------------------


@pytest.mark.parametrize("name_mode", [InitFlag(0), InitFlag.REPORT_DFID_NAME])
@pytest.mark.parametrize("kind", [INODE, MOUNT, FILESYSTEM])
def test_marks_on_parent_and_object_give_one_event_with_the_union(
    ext4: Path, kind: MarkFlag, name_mode: InitFlag
) -> None:
    path = new_file(ext4)
    with listen(name_mode) as group:
        group.mark(ADD, Mask.OPEN | Mask.CLOSE_WRITE | Mask.EVENT_ON_CHILD, ext4)
        group.mark(ADD | kind, Mask.OPEN | Mask.ACCESS, path)
        path.read_bytes()
        assert [(event.name, event.mask) for event in drain(group)] == [("file", Mask.OPEN | Mask.ACCESS)]


@pytest.mark.parametrize("kind", [MOUNT, FILESYSTEM])
def test_a_parent_without_ondir_does_not_add_its_types_to_events_of_a_subdirectory(ext4: Path, kind: MarkFlag) -> None:
    sub = ext4 / "sub"
    sub.mkdir()
    with listen() as group:
        group.mark(ADD, Mask.OPEN | Mask.CLOSE_NOWRITE | Mask.EVENT_ON_CHILD, ext4)
        group.mark(ADD | kind, Mask.CLOSE_NOWRITE | Mask.ONDIR, ext4)
        touch(sub)
        assert masks(group) == [Mask.CLOSE_NOWRITE]


def test_marks_on_parent_and_subdirectory_report_the_subdirectory_once(ext4: Path) -> None:
    sub = ext4 / "sub"
    sub.mkdir()
    with listen(InitFlag.REPORT_DFID_NAME) as group, listen(InitFlag.REPORT_DFID_NAME) as onlooker:
        group.mark(ADD, Mask.OPEN | Mask.ONDIR | Mask.EVENT_ON_CHILD, ext4)
        group.mark(ADD, Mask.OPEN | Mask.ONDIR, sub)
        onlooker.mark(ADD, Mask.OPEN | Mask.EVENT_ON_CHILD, ext4)
        touch(sub)
        # an event on a directory is reported by the directory itself, not by its parent and name
        assert [(event.name, event.mask) for event in drain(group)] == [(".", Mask.OPEN | Mask.ONDIR)]
        assert drain(onlooker) == []


# --- several groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ext4", "overlayfs-plain"])
@pytest.mark.parametrize("which", range(3))
def test_an_ignore_mask_of_one_group_silences_no_other_whatever_its_class(
    filesystems: Filesystems, kind: str, which: int
) -> None:
    path = new_file(filesystems.new(kind))
    groups = [listen(each) for each in CLASSES for _ in range(2)]
    try:
        for group in groups:
            group.mark(ADD | MOUNT, Mask.MODIFY, path)
        deaf = groups[2 * which]
        deaf.mark(ADD | LEGACY, Mask.MODIFY, path)
        path.write_bytes(b"new")
        for group in groups:
            assert masks(group) == ([] if group is deaf else [Mask.MODIFY]), group
    finally:
        for group in groups:
            group.close()


def test_groups_are_asked_in_the_order_of_their_classes(ext4: Path) -> None:
    path = new_file(ext4)
    order: list[str] = []
    with listen(InitFlag.CLASS_CONTENT) as content, listen(InitFlag.CLASS_PRE_CONTENT) as pre_content:
        content.mark(ADD, Mask.OPEN_PERM, path)
        pre_content.mark(ADD, Mask.OPEN_PERM, path)
        late, early = Answering(content), Answering(pre_content)
        late.on_event = lambda: order.append("content")
        early.on_event = lambda: order.append("pre-content")
        with late, early:
            touch(path)
    assert order == ["pre-content", "content"]


# --- how ignore marks may be changed -----------------------------------------------------------------------------


def test_ignore_marks_on_anything_but_a_file_must_survive_writes(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group:
        for flags in (MOUNT, FILESYSTEM):
            assert errno_of(group.mark, ADD | MarkFlag.IGNORE | flags, Mask.OPEN, ext4) == "EINVAL"
        assert errno_of(group.mark, ADD | MarkFlag.IGNORE, Mask.OPEN, ext4) == "EISDIR"
        group.mark(ADD | MarkFlag.IGNORE, Mask.OPEN, path)


def test_an_ignore_mark_is_not_weakened(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD | IGNORE, Mask.OPEN, path)
        assert errno_of(group.mark, ADD | MarkFlag.IGNORE, Mask.OPEN, path) == "EEXIST"
        assert errno_of(group.mark, ADD | LEGACY, Mask.OPEN, path) == "EEXIST"


def test_an_ignore_mark_that_a_write_would_clear_is_not_set_on_a_file_open_for_writing(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD | FILESYSTEM, Mask.OPEN | Mask.ACCESS, path)
        with path.open("ab"):
            group.mark(ADD | MarkFlag.IGNORE, Mask.ACCESS, path)  # says nothing
            path.read_bytes()
            assert Mask.ACCESS in union(group)
            group.mark(ADD | IGNORE, Mask.ACCESS, path)
            path.read_bytes()
            assert Mask.ACCESS not in union(group)
