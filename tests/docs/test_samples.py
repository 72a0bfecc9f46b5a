"""The samples do what they say."""

import os
import time
from pathlib import Path

import pytest

from children import fork
from mounting import Filesystem

from .pages import ROOT
from .program import Program

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and os.environ.get("FP_REQUIRE_ROOT") != "1", reason="the samples need root"
)


def sample(name: str, tmp_path: Path, *arguments: str) -> Program:
    return Program((ROOT / "samples" / f"{name}.py").read_text(), tmp_path, *arguments)


def write(path: Path) -> None:
    path.write_text("text")


def write_as(uid: int, path: Path) -> None:
    """Write a file as another user, in a process that stays long enough to be looked at."""
    pid = fork()
    if pid == 0:
        try:
            os.chdir(path.parent)  # on the way there are directories that only root may search
            os.setresuid(uid, uid, uid)
            write(Path(path.name))
            time.sleep(0.2)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_watch_prints_changes_and_ends_with_its_root(filesystem: Filesystem, tmp_path: Path) -> None:
    root = filesystem.dir / "root"
    root.mkdir()
    path = root / "note"
    with sample("watch", tmp_path, str(root)) as program:
        program.poke(lambda: write(path), lambda output: f"{path}\n" in output)
        path.unlink()
        root.rmdir()
        program.poke(lambda: None, lambda output: f"root_gone {root}\n" in output)
        program.finish()


def test_awatch_tells_crossings(filesystem: Filesystem, tmp_path: Path) -> None:
    inside, outside = filesystem.dir / "inside", filesystem.dir / "outside"
    inside.mkdir()
    outside.mkdir()

    def move() -> None:
        (outside / "note").touch()
        (outside / "note").rename(inside / "note")
        (inside / "note").unlink()

    with sample("awatch", tmp_path, str(inside), "2") as program:
        output = program.poke(move, lambda output: "time is up" in output)
        program.finish()
    assert f"{outside}/note -> {inside}/note (crossing: in)\n" in output


def test_handler_leaves_out_users(filesystem: Filesystem, tmp_path: Path) -> None:
    filesystem.dir.chmod(0o777)
    with sample("handler", tmp_path, str(filesystem.dir), "1000") as program:

        def act() -> None:
            write_as(0, filesystem.dir / "of-0")
            write_as(1234, filesystem.dir / "of-1234")

        output = program.poke(act, lambda output: output.count("of-1234") > 1)
        program.end()
    assert f"1234 {filesystem.dir}/of-1234" in output
    assert "of-0 " not in output


def test_batches_gather_a_burst(filesystem: Filesystem, tmp_path: Path) -> None:
    def burst() -> None:
        for n in range(20):
            (filesystem.dir / f"note{n}").touch()

    with sample("batches", tmp_path, str(filesystem.dir)) as program:
        output = program.poke(burst, lambda output: " events on " in output)
        program.end()
    assert int(output.split(" events on ")[1].split()[0]) >= 20


def test_guard_denies_by_name(filesystem: Filesystem, tmp_path: Path) -> None:
    public, secret = filesystem.dir / "public", filesystem.dir / "a.secret"
    public.write_text("public")
    secret.write_text("secret")
    denied = []

    def read() -> None:
        assert public.read_text() == "public"
        try:
            secret.read_text()
        except PermissionError as exc:
            denied.append(exc)

    with sample("guard", tmp_path, str(filesystem.dir)) as program:
        output = program.poke(read, lambda output: bool(output and denied))
        program.end()
    assert output.startswith("denied:")
    assert f"{secret}\n" in output
    assert secret.read_text() == "secret"
