"""The programs in ``samples/policies`` do what docs/policies.md says, and each is a module."""

import contextlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fanotify_fastpath import modules
from fanotify_fastpath.registry import Registry
from mounting import Filesystem

from .pages import ROOT
from .program import Program

PROGRAMS = sorted(path for path in (ROOT / "samples/policies").glob("*.py") if path.stem != "__init__")
NAMES = ["canary", "directories-only", "filetop", "outside-tree", "rate-limit", "scan-on-exec"]
need_root = pytest.mark.skipif(
    os.geteuid() != 0 and os.environ.get("FP_REQUIRE_ROOT") != "1", reason="the policies need root"
)


def policy(name: str, tmp_path: Path, *arguments: str) -> Program:
    """Run one; as a file, so that its source is found where it is compiled."""
    path = str(ROOT / "samples/policies" / f"{name}.py")
    code = f"import runpy, sys\nsys.argv[0] = {path!r}\nrunpy.run_path({path!r}, run_name='__main__')"
    return Program(code, tmp_path, *arguments)


def shell(script: str, directory: Path) -> int:
    """Run a shell script; return its exit status."""
    return subprocess.run(["sh", "-c", script], cwd=directory, stderr=subprocess.DEVNULL, check=False).returncode


def test_each_file_is_a_module_with_one_handler() -> None:
    registry = Registry()
    for path in PROGRAMS:
        modules.load(str(path), registry)
    assert sorted(handler.name for handler in registry) == NAMES
    assert all(handler.desc for handler in registry)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_help_says_what_it_is_for(path: Path) -> None:
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=True)
    assert "directory" in done.stdout
    assert done.stdout.startswith(f"usage: {path.name}")


@need_root
def test_directories_only(filesystem: Filesystem, tmp_path: Path) -> None:
    def make_and_remove() -> None:
        shell("mkdir d; touch d/f; rm -r d", filesystem.dir)

    with policy("directories_only", tmp_path, str(filesystem.dir)) as program:
        output = program.poke(make_and_remove, lambda output: output.count("\n") > 3)
        program.end()
    assert set(output.splitlines()) == {f"create {filesystem.dir}/d", f"delete {filesystem.dir}/d"}


@need_root
def test_rate_limit(filesystem: Filesystem, tmp_path: Path) -> None:
    def touch_many() -> None:
        shell("for n in 1 2 3 4 5 6 7 8 9; do : > f$n; done; sleep 0.2", filesystem.dir)

    with policy("rate_limit", tmp_path, str(filesystem.dir), "3") as program:
        output = program.poke(touch_many, lambda output: re.search("left out: [1-9]", output) is not None)
        program.end()
    by_process = Counter(line.split()[0] for line in output.splitlines())
    assert max(by_process.values()) <= 2 * 3  # each takes less than a second, in which another may begin


@need_root
def test_outside_tree(filesystem: Filesystem, tmp_path: Path) -> None:
    end = filesystem.dir / "end"
    build = f"cd {filesystem.dir}; until [ -e end ]; do : > mine; (: > mine-too; sleep 0.1); done"
    with policy("outside_tree", tmp_path, str(filesystem.dir), "sh", "-c", build) as program:
        program.poke((filesystem.dir / "theirs").touch, lambda output: "theirs" in output)
        end.touch()
        program.finish()
        assert "mine" not in program.output


@need_root
def test_canary(filesystem: Filesystem, tmp_path: Path) -> None:
    def rewrite() -> None:
        statuses.append(shell("for n in $(seq 100); do : > f$n; done; sleep 1; : < f1", filesystem.dir))

    statuses: list[int] = []
    with policy("canary", tmp_path, str(filesystem.dir), "30") as program:
        output = program.poke(rewrite)
        program.end()
    assert output.startswith("caught:")
    assert statuses[-1] == 2, "it can open nothing any more"
    assert shell(": < f1", filesystem.dir) == 0


@need_root
def test_scan_on_exec(filesystem: Filesystem, tmp_path: Path) -> None:
    good, bad = filesystem.dir / "good", filesystem.dir / "bad"

    def install() -> None:
        for path, end in ((good, b""), (bad, b"EVIL")):
            path.unlink(missing_ok=True)
            with contextlib.suppress(PermissionError):  # it may have the number of a bad one that was just removed
                path.write_bytes(Path("/bin/true").read_bytes() + end)
                path.chmod(0o755)

    def is_told(output: str) -> bool:
        return f"good: {good}\n" in output and f"bad: {bad}\n" in output

    with policy("scan_on_exec", tmp_path, str(filesystem.dir), "sh", "-c", "! grep -q EVIL") as program:
        program.poke(install, is_told)
        program.poke(lambda: None, lambda _: _outcome(bad) == "PermissionError")
        assert _outcome(good) == "ok"
        program.end()


def _outcome(path: Path) -> str:
    try:
        subprocess.run([path], check=True)
    except OSError as exc:
        return type(exc).__name__
    return "ok"


@need_root
def test_filetop(filesystem: Filesystem, tmp_path: Path) -> None:
    def touch_and_remove() -> None:
        shell(": > f; rm f", filesystem.dir)

    with policy("filetop", tmp_path, str(filesystem.dir), "--seconds", "3") as program:
        shown = program.poke(touch_and_remove, lambda output: False)
        program.finish()
    assert re.search(r"tgid +\S+ comm +\S+ open +\S+ access +\S+ modify +\S+ create +\S+ delete +\S+ rename", shown)
    assert re.search(r"\d+ +\S+ \S+ +\S+ 1 ", shown), shown
