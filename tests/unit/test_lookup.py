"""What is looked up for handlers: by path, of processes, and once for each event."""

import functools
import os
from pathlib import Path

import pytest

from fanotify_fastpath._engines.common import procfs
from fanotify_fastpath._engines.common.candidate import Candidate
from fanotify_fastpath._engines.common.lookup import PathLookup
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root

STATUS = b"Name:\tGid:\nPPid:\t%d\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"


def event_of(path: Path, **others: int | None) -> Event:
    """An event on what stands there now."""
    status = os.lstat(path)
    known: dict[str, int | None] = {"dev": status.st_dev, "inode": status.st_ino, **others}
    return Event(Mask.OPEN, os.fsencode(path), tgid=os.getpid(), dev=known["dev"], inode=known["inode"])


def root_at(path: Path) -> Root:
    status = os.stat(path)
    return Root(b"key", os.fsencode(path), status.st_dev, status.st_ino, True, 1)


def test_an_object_is_found_at_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    found = PathLookup(event_of(tmp_path / "file"), list)
    status = found.status()
    assert status is not None
    assert (status.st_size, found.mode()) == (5, os.lstat(tmp_path / "file").st_mode)
    assert found.dir_inode() == os.stat(tmp_path).st_ino


@pytest.mark.parametrize("case", ["replaced", "removed", "on another device", "without an inode", "truncated"])
def test_what_is_not_the_object_is_not_shown(tmp_path: Path, case: str) -> None:
    for name in ("file", "other"):
        (tmp_path / name).touch()
    event = event_of(tmp_path / "file")
    if case == "replaced":
        os.rename(tmp_path / "other", tmp_path / "file")
    elif case == "removed":
        os.unlink(tmp_path / "file")
    elif case == "on another device":
        event = event_of(tmp_path / "file", dev=0xFFFFF)
    elif case == "without an inode":
        event = event_of(tmp_path / "file", inode=None)
    else:
        event.raw_path = os.fsencode(tmp_path / "file").lstrip(b"/")
    lookup = PathLookup(event, list)
    assert (lookup.status(), lookup.mode(), lookup.dir_inode()) == (None, None, None)


def test_depth_counts_up_to_the_nearest_root_also_from_what_is_gone(tmp_path: Path) -> None:
    deep = tmp_path / "a/b/c"
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    roots = [root_at(tmp_path), root_at(tmp_path / "a")]
    by_link = Event(Mask.DELETE, os.fsencode(tmp_path / "link/b/gone"))
    assert PathLookup(event_of(deep), lambda: roots).depth() == 2
    assert PathLookup(by_link, lambda: roots).depth() == 2
    assert PathLookup(event_of(tmp_path), lambda: roots).depth() == 0
    assert PathLookup(event_of(tmp_path.parent), lambda: roots).depth() is None
    assert PathLookup(event_of(deep), list).depth() is None
    assert PathLookup(Event(Mask.OPEN, None), lambda: roots).depth() is None


def test_the_group_is_the_effective_one_whatever_the_process_is_called() -> None:
    assert procfs.effective_gid(STATUS % 1) == 6
    assert procfs.effective_gid(b"") is None


def test_ancestors_are_the_parent_and_its_own() -> None:
    own = procfs.ancestors(procfs.read(os.getpid(), "status"))
    assert own[0] == os.getppid()
    assert procfs.ancestors(STATUS % os.getpid()) == (os.getpid(), *own)[: procfs.ANCESTORS_MAX]
    assert procfs.ancestors(STATUS % 0) == procfs.ancestors(b"") == ()


def test_no_more_than_so_many_ancestors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "read", lambda tgid, name: STATUS % (tgid + 1))
    assert procfs.ancestors(STATUS % 1) == tuple(range(1, procfs.ANCESTORS_MAX + 1))


def test_the_cgroup_is_that_of_the_unified_hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mountpoint = functools.cache(lambda: os.fsencode(tmp_path))
    monkeypatch.setattr(procfs, "_cgroup2_mountpoint", mountpoint)
    (tmp_path / "of mine").mkdir()
    assert procfs.cgroup_id(b"1:cpu:/\n0::/of mine\n") == os.stat(tmp_path / "of mine").st_ino
    assert mountpoint.cache_info().currsize == 1
    for unseen in (b"0::/of mine (deleted)\n", b"0::/../elsewhere\n", b"1:cpu:/of mine\n", b""):
        assert procfs.cgroup_id(unseen) is None
        assert mountpoint.cache_info().currsize == 0, "it may be mounted elsewhere by now"


def test_a_handler_that_tests_a_value_and_then_uses_it_sees_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    event = event_of(tmp_path / "file")
    shown = Candidate(int(event.mask), b"file", event.tgid, 0, PathLookup(event, lambda: [root_at(tmp_path)]), None)
    assert (shown.size, shown.depth, shown.dir_inode) == (5, 1, os.stat(tmp_path).st_ino)
    os.unlink(tmp_path / "file")
    assert (shown.size, shown.n_links, shown.depth, shown.dir_inode) == (5, 1, 1, os.stat(tmp_path).st_ino)
    assert shown.mode is None, "which is asked for the first time"
