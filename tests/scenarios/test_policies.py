"""The policies of ``samples/policies`` do what docs/policies.md says."""

import collections
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fanotify_fastpath import Group, Mask
from outcomes import wait_until
from policies.canary import CHANGES, Canary, Caught, stop_there
from policies.directories_only import DirectoriesOnly
from policies.filetop import FileTop, table, top
from policies.outside_tree import OutsideTree
from policies.rate_limit import SECOND_NS, RateLimit
from policies.scan_on_exec import ScanOnExec, judge, protect

from . import actions
from .conftest import Stage
from .support import Other, paths, refusal
from .users import as_root


@pytest.fixture
def root(stage: Stage) -> Path:
    """What a policy is about."""
    (directory,) = stage.dirs("root")
    return directory


def test_only_directories_are_told(stage: Stage, root: Path) -> None:
    group = stage.group()
    group.attach(DirectoriesOnly)
    group.mark(root, Mask.CREATE | Mask.DELETE | Mask.ONDIR)
    stage.other(actions.make_tree, root / "tree", 5, 2)
    stage.other(actions.make_files, root / "tree/d1", 20)
    made = [str(path) for path in root.rglob("*") if path.is_dir()]
    stage.other(actions.remove_tree, root / "tree")
    gone = str(root / "tree")
    heard = stage.ears(group).until(lambda event: event.path == gone and event.mask & Mask.DELETE, "the end")
    assert all(event.is_dir for event in heard)
    assert sorted(event.path or "" for event in heard if event.mask & Mask.CREATE) == sorted(made)


@contextmanager
def child(of: Other, path: Path, stop: Path) -> Iterator[None]:
    """A child process of another one that writes a file, and lives on through the block."""
    of.start(os.system, f"echo x > {path}; while [ ! -e {stop} ]; do sleep 0.1; done")
    try:
        yield
    finally:
        stop.touch()
        assert of.finish() == 0


def test_what_a_tree_of_processes_writes_is_left_out(stage: Stage, root: Path) -> None:
    with Other() as mine:
        group = stage.group()
        outside = group.attach(OutsideTree, tgids=[mine.pid]).handler
        assert isinstance(outside, OutsideTree)
        group.mark(root, Mask.CLOSE_WRITE | Mask.CREATE)
        mine(actions.write, root / "by-itself")
        with child(mine, root / "by-child", stage.top / "stop"):
            wait_until((root / "by-child").exists, "the child writes")
            stage.other(actions.write, root / "by-another")
            heard = stage.ears(group).until_mask(Mask.CLOSE_WRITE)
        outside.trees.discard(mine.pid)
        mine(actions.write, root / "later")
        heard += stage.ears(group).until_mask(Mask.CLOSE_WRITE)
    assert set(paths(heard, Mask.CREATE, root)) == {"by-another", "later"}


def test_what_is_written_in_a_cgroup_is_left_out(stage: Stage, root: Path, cgroup: Path) -> None:
    with Other() as mine:
        with as_root():
            (cgroup / "cgroup.procs").write_text(str(mine.pid))
        group = stage.group()
        group.attach(OutsideTree, cgroup_ids=[os.stat(cgroup).st_ino])
        group.mark(root, Mask.CREATE)
        mine(actions.write, root / "inside")
        stage.other(actions.write, root / "outside")
        heard = stage.ears(group).until_mask(Mask.CREATE)
    assert paths(heard, Mask.CREATE, root) == ["outside"]


def test_so_many_events_a_second_are_told_and_the_others_counted(stage: Stage, root: Path) -> None:
    n_files, per_second = 300, 10
    group = stage.group()
    limit = group.attach(RateLimit, per_second=per_second).handler
    assert isinstance(limit, RateLimit)
    group.mark(root, Mask.CREATE)
    stage.other(actions.make_files, root, n_files)
    ears = stage.ears(group)

    def is_all_decided() -> bool:
        ears.all += group.read(timeout_s=0.1)
        return len(ears.all) + limit.n_left_out.value >= n_files

    wait_until(is_all_decided, "all files are decided about")
    by_second = collections.Counter(event.time_ns // SECOND_NS for event in ears.all)
    assert max(by_second.values()) == per_second
    assert len(ears.all) + limit.n_left_out.value == n_files
    assert limit.left_out.items() == [(stage.other.pid, limit.n_left_out.value)]
    with Other() as quiet:
        quiet(actions.touch, root / "by-another")
        ears.until(lambda event: event.tgid == quiet.pid, "the first one of another process")


def test_who_rewrites_many_files_is_told_once_and_stopped(stage: Stage, root: Path) -> None:
    stage.other(actions.make_files, root, 200)
    group = stage.group()
    canary = group.attach(Canary, per_second=20).handler
    assert isinstance(canary, Canary)
    group.mark(root, CHANGES)
    stop_there(group, str(root), canary)
    caught = Caught(canary)
    with Other() as attacker:
        outcome = refusal(attacker, actions.make_files, root, 200)
        (event,) = stage.ears(group).until_mask(CHANGES)
        assert event.tgid == attacker.pid
        assert [key for key, _ in canary.caught.items()] == [attacker.pid]
        caught.add(attacker.pid)
        assert refusal(attacker, actions.read, root / "f0") == "EPERM"
        in_kernel = "EPERM" if stage.engine == "kernel" else "ok"
        assert refusal(attacker, os.rename, root / "f1", root / "f1.locked") == in_kernel
        assert refusal(attacker, os.unlink, root / "f2") == in_kernel
        if stage.engine == "kernel":  # stopped in the middle
            assert outcome == "EPERM"
        assert refusal(stage.other, actions.read, root / "f0") == "ok"
        assert refusal(stage.other, os.unlink, root / "f0") == "ok"
        assert refusal(attacker, actions.write, stage.top / "elsewhere") == "ok"
        assert group.read(timeout_s=0) == []
        canary.caught.discard(attacker.pid)
        assert refusal(attacker, actions.read, root / "f3") == "ok"
        canary.caught.put(attacker.pid, 1)
    caught.wait(group)
    assert canary.caught.items() == []


class Scanner:
    """Scans what a group tells: what begins with EVIL is bad."""

    def __init__(self, stage: Stage, root: Path, **arguments: Any) -> None:
        self.group = stage.group()
        handler = self.group.attach(ScanOnExec, **arguments).handler
        assert isinstance(handler, ScanOnExec)
        self.handler = handler
        protect(self.group, str(root), handler)

    def scan(self) -> list[tuple[str, bool]]:
        """Scan until there is a verdict, and then what else there is; return the verdicts by name."""
        found: list[tuple[str, bool]] = []

        def is_found() -> bool:
            found.extend(self._verdicts(0.1))
            return bool(found)

        wait_until(is_found, "something is scanned")
        return found + self._verdicts(0)

    def _verdicts(self, timeout_s: float) -> list[tuple[str, bool]]:
        told = [event.path for event in self.group.read(timeout_s=timeout_s)]
        verdicts = [(path, judge(self.handler, path, self._is_good)) for path in told if path is not None]
        return [(os.path.basename(path), verdict) for path, verdict in verdicts if verdict is not None]

    @staticmethod
    def _is_good(fd: int) -> bool:
        return os.read(fd, 4) != b"EVIL"


def run_by(process: Other, path: Path) -> str:
    """Have another process run a program: this one would hold the interpreter's lock while its handler is asked."""
    return refusal(process, subprocess.call, [path])


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "tmpfs"], indirect=True)
def test_a_program_is_scanned_once_and_what_is_bad_neither_runs_nor_opens(stage: Stage, root: Path) -> None:
    run = root / "run"
    scanner = Scanner(stage, root)
    stage.other(actions.write, root / "no program", b"EVIL")
    stage.other(shutil.copy, "/bin/true", run)
    assert scanner.scan() == [("run", True)]
    for _ in range(3):
        assert run_by(stage.other, run) == "ok"
    stage.other(actions.write, run, b"EVIL")
    assert scanner.scan() == [("run", False)]
    for _ in range(2):
        assert run_by(stage.other, run) == "EPERM"
        assert refusal(stage.other, actions.read, run) == "EPERM"
    assert refusal(stage.other, actions.read, root / "no program") == "ok"
    stage.other(os.rename, run, root / "renamed")
    assert run_by(stage.other, root / "renamed") == "EPERM"
    stage.other(os.chmod, root / "no program", 0o755)
    assert ("no program", False) in scanner.scan()
    assert scanner.handler.n_forgotten.value == 0


def test_a_file_in_the_place_of_a_bad_one_is_scanned_anew(stage: Stage, root: Path) -> None:
    """The filesystem may give it the same inode number."""
    run = root / "run"
    scanner = Scanner(stage, root)
    for _ in range(3):
        stage.other(actions.write, run, b"EVIL")
        stage.other(os.chmod, run, 0o755)
        assert scanner.scan()[-1] == ("run", False)
        assert run_by(stage.other, run) == "EPERM"
        stage.other(os.unlink, run)
        wait_until(lambda: not (scanner.group.read(timeout_s=0.05) or scanner.handler.bad.items()), "it is forgotten")
        stage.other(shutil.copy, "/bin/true", run)
        assert scanner.scan()[-1] == ("run", True)
        assert run_by(stage.other, run) == "ok"
        stage.other(os.unlink, run)
    scanner.group.read(timeout_s=0)
    assert scanner.handler.unscanned.items() == []


def test_what_is_moved_in_is_scanned(stage: Stage, root: Path) -> None:
    scanner = Scanner(stage, root)
    stage.other(actions.write, stage.top / "evil", b"EVIL")
    stage.other(os.chmod, stage.top / "evil", 0o755)
    stage.other(os.link, stage.top / "evil", root / "linked")
    assert scanner.scan() == [("linked", False)]
    # on engine fanotify the kernel may for a moment remember that it was outside: docs/guard.md
    wait_until(lambda: run_by(stage.other, root / "linked") == "EPERM", "it is denied")
    stage.other(shutil.copy, "/bin/true", stage.top / "good")
    stage.other(os.rename, stage.top / "good", root / "good")
    assert scanner.scan() == [("good", True)]


def test_with_strictness_nothing_runs_before_it_was_scanned(stage: Stage, root: Path) -> None:
    run = root / "run"
    scanner = Scanner(stage, root, while_unscanned="deny")
    stage.other(shutil.copy, "/bin/true", run)
    if stage.engine == "fanotify":  # its handlers know what was read
        wait_until(lambda: scanner.group.read(timeout_s=0.05) or scanner.handler.unscanned.items(), "it is known")
    assert run_by(stage.other, run) == "EPERM"
    assert refusal(stage.other, actions.read, run) == "ok"
    assert judge(scanner.handler, str(run), scanner._is_good) is True
    assert run_by(stage.other, run) == "ok"


def test_a_change_during_the_scan_is_not_lost(stage: Stage, root: Path) -> None:
    run = root / "run"
    scanner = Scanner(stage, root, files="all")

    def is_good(fd: int) -> bool:
        scans.append(os.pread(fd, 4, 0))
        if len(scans) == 1:
            stage.other(actions.write, run, b"EVIL")
            scanner.group.read(timeout_s=0)
        return scans[-1] != b"EVIL"

    scans: list[bytes] = []
    stage.other(actions.write, run, b"good")
    wait_until(lambda: scanner.group.read(timeout_s=0.05), "it is told")
    assert judge(scanner.handler, str(run), is_good) is False
    assert scans == [b"good", b"EVIL"]
    assert refusal(stage.other, actions.read, run) == "EPERM"


def count_of_removed(group: Group, handler: FileTop, process: Other) -> int:
    assert group.read(timeout_s=0.05) == []
    return handler.counts.get((process.pid, Mask.DELETE), 0)


def test_filetop_counts_by_process_and_tells_nothing(stage: Stage, root: Path) -> None:
    group: Group = stage.group()
    handler = group.attach(FileTop).handler
    assert isinstance(handler, FileTop)
    group.mark(root, Mask.OPEN | Mask.CREATE | Mask.DELETE | Mask.RENAME)
    with Other() as busy:
        busy(actions.make_files, root, 50)
        stage.other(actions.make_files, root, 20, "g")
        for n in range(10):
            stage.other(os.unlink, root / f"g{n}")
        wait_until(lambda: count_of_removed(group, handler, stage.other) == 10, "all is counted")
        first, second = top(handler, 2)
        assert first == (busy.pid, {Mask.OPEN: 50, Mask.CREATE: 50})
        assert second == (stage.other.pid, {Mask.OPEN: 20, Mask.CREATE: 20, Mask.DELETE: 10})
        assert table(handler, 10).row_count == 2
