"""What handlers are shown of the object, its place and the process, compared with what stat and /proc say."""

import os
import time
from pathlib import Path
from typing import cast

import pytest

from children import as_nobody
from conftest import everywhere
from fanotify_fastpath import (
    SEND_TO_USERSPACE,
    SKIP_EVENT,
    Group,
    Handler,
    HandlerEvent,
    Mask,
    Scope,
    StateMap,
    Verdict,
)
from mounting import Mounter

from . import actions
from .conftest import Stage
from .support import Other, make_reachable, paths, refusal
from .users import UID, as_root
from .witness import Shown, ancestors_of, object_fields, picked, witness

#: what races with the reading of events is tried as often
N_TRIES = 10


@everywhere
def test_the_object_is_what_stat_says(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    (root / "file").write_bytes(b"x" * 12345)
    os.link(root / "file", root / "another name")
    with as_root():
        os.chown(root / "file", UID or 12, 34)
        os.chmod(root / "file", 0o4750)
    ears = stage.watch(root, Mask.OPEN | Mask.CREATE)
    shown = witness(ears.group)
    stage.other(actions.read, root / "file")
    stage.other(os.mkdir, root / "directory")
    stage.other(os.symlink, "to nowhere", root / "link")
    stage.other(os.mkfifo, root / "fifo")
    ears.hear(root)
    for name in ("file", "directory", "link", "fifo"):
        fields = object_fields(root / name)
        expected = fields if stage.finds_objects else dict.fromkeys(fields)
        assert picked(shown[name.encode()], tuple(fields)) == expected, name
    if not stage.finds_objects:
        return
    assert (shown[b"file"]["size"], shown[b"file"]["n_links"], shown[b"file"]["owner_gid"]) == (12345, 2, 34)


@everywhere
@pytest.mark.parametrize("scope", [Scope.SUBTREE, Scope.FILESYSTEM])
def test_depth_counts_from_the_nearest_root_of_a_subtree(stage: Stage, scope: Scope) -> None:
    root, inner = stage.dirs("root", "root/a/inner")
    stage.dirs("root/a/b/c", "root/a/inner/d")
    group = stage.group()
    mark = group.mark(root if scope is Scope.SUBTREE else stage.top, Mask.CREATE, scope=scope)
    if scope is Scope.SUBTREE:
        group.add_root(inner, mark)
    shown = witness(group)
    places = {"one": "root", "two": "root/a", "four": "root/a/b/c", "again": "root/a/inner", "second": "root/a/inner/d"}
    for name, directory in places.items():
        stage.other(actions.touch, stage.top / directory / name)
    stage.ears(group).hear(root)
    depths = {name: shown[name.encode()]["depth"] for name in places}
    if scope is Scope.SUBTREE:
        assert depths == {"one": 1, "two": 2, "four": 4, "again": 1, "second": 2}
    else:
        assert set(depths.values()) == {None}
    for name, directory in places.items():
        expected = os.stat(stage.top / directory).st_ino if stage.finds_objects else None
        assert shown[name.encode()]["dir_inode"] == expected


def test_the_root_itself_has_depth_0_and_lies_in_the_directory_above(stage: Stage) -> None:
    root, _ = stage.dirs("root", "root/below")
    ears = stage.watch(root, Mask.ATTRIB | Mask.CREATE)
    shown = witness(ears.group)
    stage.other(os.chmod, root / "below", 0o711)
    stage.other(os.chmod, root, 0o711)
    ears.hear(root)
    for name, depth, above in (("root", 0, stage.top), ("below", 1, root)):
        told = shown[name.encode()]
        assert (told["depth"], told["dir_inode"], told["is_dir"]) == (depth, os.stat(above).st_ino, True)
        assert told["mode"] == 0o40711


def test_of_a_rename_the_new_place_is_shown(stage: Stage) -> None:
    root, _, deeper = stage.dirs("root", "root/a", "root/b/c")
    (root / "a/old").touch()
    ears = stage.watch(root, Mask.RENAME | Mask.CREATE)
    shown = witness(ears.group)
    stage.other(os.rename, root / "a/old", deeper / "new")
    ears.hear(root)
    assert (shown[b"new"]["depth"], shown[b"new"]["dir_inode"]) == (3, os.stat(deeper).st_ino)
    assert b"old" not in shown


def test_the_process_is_what_proc_says(stage: Stage, cgroup: Path) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    shown = witness(ears.group)
    with Other() as process:
        with as_root():
            actions.write(cgroup / "cgroup.procs", b"%d" % process.pid)
        gid = UID or 4321
        process(os.setegid, gid)
        process(actions.touch, root / "file")
        ears.hear(root)
        ancestors = ancestors_of(process.pid)
        expected = {
            "tgid": process.pid,
            "uid": UID,
            "gid": gid,
            "cgroup_id": os.stat(cgroup).st_ino,
            "ancestors": ancestors,
        }
    assert picked(shown[b"file"], tuple(expected)) == expected
    assert ancestors == (os.getpid(), *ancestors_of(os.getpid()))[:16]


class ByChildren(Handler):
    """Sends what the children of given processes do, and not what these or their grandchildren do."""

    name = "by-children"
    parents = StateMap()

    def handle(self, event: HandlerEvent) -> Verdict:
        if len(event.ancestors) > 0 and event.ancestors[0] in self.parents:
            return SEND_TO_USERSPACE
        return SKIP_EVENT


def test_the_first_ancestor_is_the_parent(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    handler = ears.group.attach(ByChildren).handler
    assert isinstance(handler, ByChildren)
    handler.parents.put(os.getpid(), 1)
    stage.other(os.system, f"> {root}/by-grandchild")
    stage.other(actions.touch, root / "by-child")
    assert paths(ears.until_mask(Mask.CREATE), Mask.CREATE, root) == ["by-child"]


def test_the_time_is_that_of_the_event_or_of_its_reading(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    shown = witness(ears.group)
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    stage.other(actions.touch, root / "file")
    (event,) = ears.hear(root)
    assert before < cast(int, shown[b"file"]["time_ns"]) < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert shown[b"file"]["time_ns"] == event.time_ns


def test_what_has_another_object_at_its_path_by_now_is_not_mistaken_for_it(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.OPEN)
    shown = witness(ears.group)
    sizes = set()
    for n in range(N_TRIES):
        (root / f"f{n}").write_bytes(b"old")
        (root / "new").write_bytes(b"much longer")
        stage.other(actions.read, root / f"f{n}")
        os.rename(root / "new", root / f"f{n}")
        ears.hear(root)
        sizes.add(shown[b"f%d" % n]["size"])
    assert None in sizes
    assert sizes <= {None, 3}, "which is asked before the other one comes, now and then"


def test_looking_at_objects_keeps_no_filesystem_busy(stage: Stage, mounts: Mounter) -> None:
    top = mounts.make("tmpfs")
    group = stage.group()
    group.mark(top, Mask.CREATE)
    shown = witness(group)
    stage.other(actions.touch, top / "file")
    group.attach("ignore-prefix", prefixes=["x"])  # what has happened before is decided first
    assert shown[b"file"]["size"] == 0
    mounts.umount(top)


def test_plain_users_are_shown_the_object_and_not_who_did_it(stage: Stage) -> None:
    def listen() -> Shown:
        with Group(engine=stage.engine_of_plain_users) as group:
            group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
            shown = witness(group)
            stage.other(actions.write, directory / "file", b"12345")
            stage.ears(group).hear(directory)
            return shown[b"file"]

    (directory,) = stage.dirs("directory")
    make_reachable(directory)
    told = as_nobody(listen)
    assert picked(told, tuple(object_fields(directory))) == object_fields(directory / "file")
    assert (told["gid"], told["cgroup_id"], told["ancestors"], told["depth"]) == (None, None, (), None)


def test_a_handler_that_answers_permission_events_is_shown_the_same(top: Path, other: Other) -> None:
    os.chown(top / "in/deep/er/f", 12, 34)
    with Group(timeout_s=5) as group:
        group.mark(top / "in", Mask.OPEN_PERM)
        shown = witness(group)
        assert refusal(other, actions.read, top / "in/deep/er/f") == "ok"
        told = shown[b"f"]
        assert picked(told, tuple(object_fields(top))) == object_fields(top / "in/deep/er/f")
        assert (told["depth"], told["dir_inode"]) == (3, os.stat(top / "in/deep/er").st_ino)
        assert (told["gid"], told["ancestors"]) == (os.getegid(), ancestors_of(other.pid))
