"""What changes while a directory is guarded: roots, and what is moved in and out, made, unmounted and removed."""

import os
import subprocess
import sys
import time
from pathlib import Path

from conftest import everywhere
from fanotify_fastpath import Mask, guard
from mounting import Mounter
from outcomes import wait_until

from . import actions
from .support import SHORT_S, Other, guardian_of, hear, refusal


def test_roots_added_and_removed_take_effect_at_once(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S) as guarded:
        for _ in range(5):
            assert refusal(other, actions.read, top / "out/f") == "ok"
            guarded.add_root(top / "out")
            assert refusal(other, actions.read, top / "out/f") == "EPERM"
            guarded.remove_root(top / "out")
            assert refusal(other, actions.read, top / "out/f") == "ok"


@everywhere
def test_what_is_moved_in_becomes_guarded_and_what_is_moved_out_is_free(top: Path, other: Other) -> None:
    def becomes(path: Path, expected: str) -> bool:
        # the guardian is told of a move when it has happened: there is a moment in between
        deadline = time.monotonic() + 2
        while (found := refusal(other, actions.read, path)) != expected and time.monotonic() < deadline:
            time.sleep(0.005)
        return found == expected

    (top / "out/single").write_bytes(b"x")
    (top / "out/linked").write_bytes(b"x")
    with guard(top / "in", timeout_s=SHORT_S):
        for path in ("deep/f", "single", "linked"):
            assert [refusal(other, actions.read, top / "out" / path) for _ in range(2)] == ["ok", "ok"]
        other(os.rename, top / "out/deep", top / "in/moved")
        assert becomes(top / "in/moved/f", "EPERM")
        other(os.rename, top / "out/single", top / "in/single")
        assert becomes(top / "in/single", "EPERM")
        other(os.link, top / "out/linked", top / "in/linked")
        assert becomes(top / "in/linked", "EPERM")
        assert becomes(top / "out/linked", "ok")
        other(os.rename, top / "in/moved", top / "out/back")
        assert becomes(top / "out/back/f", "ok")
        other(os.rename, top / "in/single", top / "out/single")
        assert becomes(top / "out/single", "ok")


def test_new_files_and_directories_are_guarded_from_the_start(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S):
        for n in range(50):
            other(os.mkdir, top / f"in/new{n}")
            os.close(os.open(top / f"in/new{n}/f", os.O_CREAT | os.O_WRONLY))
            assert refusal(other, actions.read, top / f"in/new{n}/f") == "EPERM"


# What several processes do at once: files and directories made, renamed across the border, linked, removed, opened.
STORM = r"""
import os, random, sys, time
top, end = sys.argv[1], time.time() + 2.5
pick = random.Random(int(sys.argv[2])).choice
def directory():
    return f"{top}/{pick(['in', 'out'])}/{pick(['d1', 'd2', 'd3', 'd1/e', 'd2/e'])}"
def file():
    return f"{directory()}/{pick('abcd')}"
acts = {
    "mkdir": lambda: os.makedirs(directory()),
    "create": lambda: os.close(os.open(file(), os.O_CREAT | os.O_RDWR, 0o644)),
    "open": lambda: os.close(os.open(file(), os.O_RDONLY)),
    "move": lambda: os.rename(file(), file()),
    "link": lambda: os.link(file(), file()),
    "remove": lambda: os.unlink(file()),
    "move directory": lambda: os.rename(directory(), directory()),
}
while time.time() < end:
    try:
        acts[pick(["mkdir", "create", "create", "open", "open", "open", "move", "link", "remove", "move directory"])]()
    except OSError:
        pass
"""


def test_after_a_storm_across_the_border_every_file_is_judged_by_where_it_is(top: Path, other: Other) -> None:
    with guard(top / "in", timeout_s=SHORT_S) as guarded:
        tgid = guardian_of(guarded)
        storm = [subprocess.Popen([sys.executable, "-c", STORM, str(top), str(seed)]) for seed in range(3)]
        while any(process.poll() is None for process in storm):
            guarded.add_root(top / "out/deep")
            guarded.remove_root(top / "out/deep")
            guarded.read(timeout_s=0.02)
        wait_until(lambda: refusal(other, actions.read, top / "in/f") == "EPERM", "the guardian has caught up")
        files = [path for path in top.rglob("*") if path.is_file()]
        found = {path: refusal(other, actions.read, path) for path in files}
        assert found == {path: "EPERM" if top / "in" in path.parents else "ok" for path in files}
        assert guardian_of(guarded) == tgid


def test_a_guarded_filesystem_can_be_unmounted(mounts: Mounter, other: Other) -> None:
    where = mounts.make("tmpfs")
    (where / "f").write_bytes(b"x")
    with guard(where, timeout_s=SHORT_S) as guarded:
        assert refusal(other, actions.read, where / "f") == "EPERM"
        mounts.umount(where)
        hear(guarded, lambda heard: any(event.mask & Mask.UNMOUNT for event in heard), "the end of the filesystem")


def test_a_removed_root_is_told(top: Path, other: Other) -> None:
    (top / "gone").mkdir()
    with guard(top / "in", top / "gone", timeout_s=SHORT_S) as guarded:
        other(os.rmdir, top / "gone")
        assert [(e.mask, e.path) for e in guarded.read(timeout_s=2)] == [(Mask.ROOT_GONE, str(top / "gone"))]
