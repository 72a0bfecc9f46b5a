"""``fanfp guard`` on a tmpfs of its own: what is denied is denied and printed, and ends with the command."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from outcomes import wait_until

from .support import Running, run_cli


def can_read(path: Path) -> bool:
    """Try as another process."""
    return subprocess.run(["cat", path], capture_output=True, check=False, timeout=10).returncode == 0


@pytest.fixture
def secret(tree: Path) -> Path:
    path = tree / "secret"
    path.write_text("x")
    return path


def test_what_is_denied_is_denied_and_printed(tree: Path, secret: Path) -> None:
    beside = tree.parent / "beside"
    beside.write_text("x")
    with Running("guard", tree, "--deny", "open", "--json") as fanfp:
        assert fanfp.ready_line.startswith(b"guarding ")
        assert os.fsencode(tree) in fanfp.ready_line
        assert not can_read(secret)
        assert can_read(beside)
        event = json.loads(fanfp.line())
        assert (event["mask"], event["path"], event["comm"]) == (["open_perm"], str(secret), "cat")
        code, out, err = fanfp.end(signal.SIGTERM)
    assert (code, out, err) == (0, b"", b"")
    assert can_read(secret), "all is allowed again"


def test_a_signal_right_behind_an_attempt_loses_nothing(tree: Path, secret: Path) -> None:
    for _ in range(3):
        with Running("guard", tree, "--deny", "open", "--compact") as fanfp:
            assert not can_read(secret)
            code, out, err = fanfp.end(signal.SIGTERM)
        assert (code, out.count(b"\n"), err) == (0, 1, b"")


def test_the_last_root_gone_is_1(tree: Path) -> None:
    with Running("guard", tree, "--deny", "open", "--json") as fanfp:
        tree.rmdir()
        code, out, err = fanfp.end()
    assert (code, json.loads(out)["mask"]) == (1, ["root_gone"])
    assert err.startswith(b"fanfp: nothing is left to guard")


def test_several_paths_and_an_exception(tmpfs: Path) -> None:
    for name in ("one", "two/free"):
        (tmpfs / name).mkdir(parents=True)
        (tmpfs / name / "file").write_text("x")
    arguments = (tmpfs / "one", tmpfs / "two", "--exclude", tmpfs / "two" / "free", "--deny", "open,access")
    (tmpfs / "two" / "file").write_text("x")
    with Running("guard", *arguments, "--compact", "--count", "2") as fanfp:
        assert can_read(tmpfs / "two" / "free" / "file")
        assert not can_read(tmpfs / "one" / "file")
        assert not can_read(tmpfs / "two" / "file")
        code, out, _ = fanfp.end()
    assert code == 0
    assert [line.split(b"): ")[1] for line in out.splitlines()] == [
        b"O " + os.fsencode(tmpfs / "one" / "file"), b"O " + os.fsencode(tmpfs / "two" / "file")
    ]  # fmt: skip


def test_users_and_executables_can_be_excepted(tree: Path, secret: Path) -> None:
    with Running("guard", tree, "--deny", "open", "--allow-uid", "root") as fanfp:
        assert can_read(secret)
        assert fanfp.end(signal.SIGINT)[:2] == (0, b"")
    cat = os.path.realpath(shutil.which("cat") or "cat")
    with Running("guard", tree, "--deny", "open", "--allow-exe", cat) as fanfp:
        assert can_read(secret)
        assert subprocess.run(["head", secret], capture_output=True, check=False).returncode != 0
        assert b"head(" in fanfp.line()
        assert fanfp.end(signal.SIGINT)[0] == 0


def test_execution_alone_can_be_denied(tree: Path) -> None:
    program = tree / "true"
    shutil.copy(shutil.which("true") or "/bin/true", program)
    with Running("guard", tree, "--deny", "exec", "--json") as fanfp:
        assert can_read(program)
        with pytest.raises(PermissionError):
            subprocess.run([program], check=False)
        assert json.loads(fanfp.line())["mask"] == ["open_exec_perm"]
        assert fanfp.end(signal.SIGTERM)[0] == 0


def test_a_killed_guard_denies_nothing_more(tree: Path, secret: Path) -> None:
    with Running("guard", tree, "--deny", "open") as fanfp:
        fanfp.process.kill()
        fanfp.process.wait()
        wait_until(lambda: can_read(secret), "the guardian notices, and ends too")


def test_what_cannot_be_guarded_is_said(tree: Path) -> None:
    assert run_cli("guard", tree / "missing", "--deny", "open").returncode == 1
    done = run_cli("guard", tree, "--deny", "open", "--allow-exe", tree / "missing")
    assert done.returncode == 1
    assert b"no such executable" in done.stderr
    done = run_cli("guard", "/proc", "--deny", "open", "--timeout", "1")
    assert done.returncode == 4
    assert done.stderr.count(b"\n") == 1


def test_what_fanotify_cannot_deny_is_said_in_one_sentence(tree: Path) -> None:
    done = run_cli("guard", tree, "--deny", "create,open,truncate", "--engine", "fanotify")
    assert done.returncode == 4
    assert b"cannot deny create_perm, truncate_perm" in done.stderr
    assert done.stderr.count(b"\n") == 1
