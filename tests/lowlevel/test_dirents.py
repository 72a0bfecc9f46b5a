"""Directory entries: create, rename, delete, and which records come with which flags (LTP fanotify16, 15)."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import DfidNameInfo, FanotifyFile, HandleInfo, InfoType, InitFlag, MarkFlag, Mask
from outcomes import errno_of

from .support import ADD, FILESYSTEM, INODE, drain, fsid_of, handle_of, listen, new_file, touch

FLAGS = {
    "dir": InitFlag.REPORT_DIR_FID,
    "dir+name": InitFlag.REPORT_DFID_NAME,
    "dir+child": InitFlag.REPORT_DIR_FID | InitFlag.REPORT_FID,
    "dir+name+child": InitFlag.REPORT_DFID_NAME | InitFlag.REPORT_FID,
    "target": InitFlag.REPORT_DFID_NAME_TARGET,
}
FLAG_PARAMS = [pytest.param(flags, id=name) for name, flags in FLAGS.items()]
KINDS = [pytest.param(INODE, id="inode"), pytest.param(FILESYSTEM, id="filesystem")]
DIRENT = Mask.CREATE | Mask.DELETE | Mask.MOVE


@dataclass(frozen=True)
class Record:
    """What a test expects of one information record: type, handle, name."""

    info_type: InfoType
    handle: bytes
    name: bytes | None = None


def records(info: tuple[object, ...]) -> list[Record]:
    return [Record(InfoType(each.info_type), each.handle, each.name) for each in info if isinstance(each, HandleInfo)]


def read(group: FanotifyFile) -> list[tuple[Mask, list[Record]]]:
    return [(event.mask, records(event.record.infos)) for event in drain(group)]


def entry(flags: InitFlag, directory: bytes, name: bytes, child: bytes) -> list[Record]:
    """Records of an event on a directory entry."""
    if flags & InitFlag.REPORT_NAME:
        wanted = [Record(InfoType.DFID_NAME, directory, name)]
    else:
        wanted = [Record(InfoType.DFID, directory)]
    if flags & InitFlag.REPORT_TARGET_FID:
        wanted.append(Record(InfoType.FID, child))
    return wanted


def on_child(flags: InitFlag, directory: bytes, name: bytes, child: bytes) -> list[Record]:
    """Records of an event on a file, seen through its directory."""
    if flags == InitFlag.REPORT_DIR_FID:
        # the handle is the directory's all the same: the type says less than it should
        return [Record(InfoType.FID, directory)]
    wanted = entry(flags & ~InitFlag.REPORT_TARGET_FID, directory, name, child)
    return wanted + ([Record(InfoType.FID, child)] if flags & InitFlag.REPORT_FID else [])


def on_self(flags: InitFlag, directory: bytes) -> list[Record]:
    """Records of an event on a directory itself."""
    if flags & InitFlag.REPORT_NAME:
        return [Record(InfoType.DFID_NAME, directory, b".")]
    return [Record(InfoType.DFID, directory)]


def watch(group: FanotifyFile, kind: MarkFlag, mask: Mask, *directories: Path) -> None:
    for directory in directories if kind == INODE else directories[:1]:
        group.mark(ADD | kind, mask, directory)


@pytest.mark.parametrize("flags", FLAG_PARAMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_dir", [False, True])
def test_create_move_and_delete_name_the_directory_the_entry_and_the_target(
    any_fs: Path, flags: InitFlag, kind: MarkFlag, is_dir: bool
) -> None:
    here, there = any_fs / "here", any_fs / "there"
    for directory in (here, there):
        directory.mkdir()
    from_dir, to_dir = handle_of(here), handle_of(there)
    dir_bit = Mask.ONDIR if is_dir else Mask(0)
    with listen(flags) as group:
        watch(group, kind, DIRENT | Mask.ONDIR, here, there)
        old, new = here / "old", there / "new"
        old.mkdir() if is_dir else os.mknod(old)
        child = handle_of(old)
        assert read(group) == [(Mask.CREATE | dir_bit, entry(flags, from_dir, b"old", child))]
        old.rename(new)
        assert read(group) == [
            (Mask.MOVED_FROM | dir_bit, entry(flags, from_dir, b"old", child)),
            (Mask.MOVED_TO | dir_bit, entry(flags, to_dir, b"new", child)),
        ]
        new.rmdir() if is_dir else new.unlink()
        assert read(group) == [(Mask.DELETE | dir_bit, entry(flags, to_dir, b"new", child))]


@pytest.mark.parametrize("flags", FLAG_PARAMS)
@pytest.mark.parametrize("kind", KINDS)
def test_events_on_files_come_with_directory_name_and_file(any_fs: Path, flags: InitFlag, kind: MarkFlag) -> None:
    path = new_file(any_fs)
    wanted = on_child(flags, handle_of(any_fs), b"file", handle_of(path))
    with listen(flags) as group:
        watch(group, kind, Mask.OPEN | Mask.MODIFY | Mask.ATTRIB | Mask.EVENT_ON_CHILD, any_fs)
        touch(path)
        assert read(group) == [(Mask.OPEN, wanted)]
        path.chmod(0o600)
        assert read(group) == [(Mask.ATTRIB, wanted)]


@pytest.mark.parametrize("flags", FLAG_PARAMS)
@pytest.mark.parametrize("kind", KINDS)
def test_events_on_a_directory_itself_have_its_own_handle_and_a_dot(
    any_fs: Path, flags: InitFlag, kind: MarkFlag
) -> None:
    sub = any_fs / "sub"
    sub.mkdir()
    handle = handle_of(sub)
    with listen(flags) as group:
        watch(group, kind, Mask.OPEN | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONDIR, sub)
        touch(sub)
        assert read(group) == [(Mask.OPEN | Mask.ONDIR, on_self(flags, handle))]
        moved = sub.rename(any_fs / "moved")
        assert read(group) == [(Mask.MOVE_SELF | Mask.ONDIR, on_self(flags, handle))]
        moved.rmdir()
        assert read(group) == [(Mask.DELETE_SELF | Mask.ONDIR, on_self(flags, handle))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_file_reports_itself_with_its_handle_only(ext4: Path, kind: MarkFlag) -> None:
    path = new_file(ext4)
    handle = handle_of(path)
    with listen(InitFlag.REPORT_DFID_NAME_TARGET) as group:
        group.mark(ADD | kind, Mask.DELETE_SELF, path)
        path.unlink()
        assert read(group) == [(Mask.DELETE_SELF, [Record(InfoType.FID, handle)])]


# --- RENAME ------------------------------------------------------------------------------------------------------

OLD, NEW = InfoType.OLD_DFID_NAME, InfoType.NEW_DFID_NAME
RENAME_FLAGS = [pytest.param(FLAGS[name], id=name) for name in ("dir+name", "dir+name+child", "target")]


@pytest.mark.parametrize("flags", RENAME_FLAGS)
@pytest.mark.parametrize("is_dir", [False, True])
@pytest.mark.parametrize("watched", ["both", "old", "new", "filesystem"])
def test_a_rename_has_the_places_that_are_watched(ext4: Path, flags: InitFlag, is_dir: bool, watched: str) -> None:
    here, there = ext4 / "here", ext4 / "there"
    for directory in (here, there):
        directory.mkdir()
    old = here / "old"
    old.mkdir() if is_dir else os.mknod(old)
    child = handle_of(old)
    with listen(flags) as group:
        mask = Mask.RENAME | Mask.ONDIR
        if watched == "filesystem":
            group.mark(ADD | FILESYSTEM, mask, ext4)
        if watched in ("both", "old"):
            group.mark(ADD, mask, here)
        if watched in ("both", "new"):
            group.mark(ADD, mask, there)
        old.rename(there / "new")
        wanted = []
        if watched != "new":
            wanted.append(Record(OLD, handle_of(here), b"old"))
        if watched != "old":
            wanted.append(Record(NEW, handle_of(there), b"new"))
        if flags & InitFlag.REPORT_TARGET_FID:
            wanted.append(Record(InfoType.FID, child))
        assert read(group) == [(Mask.RENAME | (Mask.ONDIR if is_dir else 0), wanted)]


def test_a_rename_comes_before_its_moves_in_one_group(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.REPORT_DFID_NAME | InitFlag.REPORT_FID) as group:
        group.mark(ADD | FILESYSTEM, Mask.RENAME | Mask.MOVE | Mask.MOVE_SELF, ext4)
        path.rename(ext4 / "new")
        masks = [mask for mask, _ in read(group)]
        assert masks == [Mask.RENAME, Mask.MOVED_FROM, Mask.MOVED_TO, Mask.MOVE_SELF]


def test_a_file_without_a_directory_in_the_event_is_reported_only_with_report_fid(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.REPORT_DFID_NAME) as names_only, listen(FLAGS["dir+name+child"]) as with_files:
        for group in (names_only, with_files):
            group.mark(ADD, Mask.MOVE_SELF | Mask.DELETE_SELF, path)
        handle = handle_of(path)
        path.rename(ext4 / "new").unlink()
        assert read(names_only) == []
        assert read(with_files) == [(Mask.MOVE_SELF | Mask.DELETE_SELF, [Record(InfoType.FID, handle)])]


def test_a_rename_onto_a_file_deletes_it_without_a_delete_event(ext4: Path) -> None:
    old, target = new_file(ext4, "old"), new_file(ext4, "target")
    lost = handle_of(target)
    with listen(InitFlag.REPORT_DFID_NAME_TARGET) as group:
        group.mark(ADD | FILESYSTEM, Mask.RENAME | Mask.DELETE | Mask.DELETE_SELF, ext4)
        old.rename(target)
        (rename, gone) = read(group)
        assert [mask for mask, _ in (rename, gone)] == [Mask.RENAME, Mask.DELETE_SELF]
        assert gone[1] == [Record(InfoType.FID, lost)]


def test_rename_is_refused_without_names_and_on_files(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.REPORT_FID | InitFlag.REPORT_DIR_FID) as group:
        assert errno_of(group.mark, ADD, Mask.RENAME, ext4) == "EINVAL"
    with listen(InitFlag.REPORT_DFID_NAME) as group:
        assert errno_of(group.mark, ADD, Mask.RENAME, path) == "ENOTDIR"
        assert errno_of(group.mark, ADD | MarkFlag.MOUNT, Mask.RENAME, ext4) == "EINVAL"


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"a" * 255, "ü".encode() * 100, b" "])
def test_any_name_arrives_byte_by_byte(any_fs: Path, name: bytes) -> None:
    with listen(InitFlag.REPORT_DFID_NAME) as group:
        group.mark(ADD, Mask.CREATE, any_fs)
        os.mknod(os.fsencode(any_fs) + b"/" + name)
        (event,) = group.read_events()
        assert event.infos == (DfidNameInfo(InfoType.DFID_NAME, fsid_of(any_fs), handle_of(any_fs), name),)


def test_a_hard_link_is_a_created_entry_with_the_handle_of_its_file(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.REPORT_DFID_NAME_TARGET) as group:
        group.mark(ADD, Mask.CREATE, ext4)
        os.link(path, ext4 / "link")
        flags = InitFlag.REPORT_DFID_NAME_TARGET
        assert read(group) == [(Mask.CREATE, entry(flags, handle_of(ext4), b"link", handle_of(path)))]
