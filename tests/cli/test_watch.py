"""``fanfp watch`` on filesystems of its own: events, every way to end, every exit code."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outcomes import wait_until

from .support import SRC, Running, environment, run_cli, touch


def masks(text: bytes) -> list[list[str]]:
    return [json.loads(line)["mask"] for line in text.splitlines()]


def names(text: bytes) -> list[str]:
    return [json.loads(line)["path"] for line in text.splitlines()]


def test_it_says_when_it_watches_and_prints_each_event_at_once(tree: Path) -> None:
    with Running("watch", tree, "--json", "-e", "create") as fanfp:
        assert fanfp.ready_line.startswith(b"watching ")
        assert os.fsencode(tree) in fanfp.ready_line
        touch(tree / "a")
        event = json.loads(fanfp.line())
        assert (event["mask"], event["path"], event["tgid"]) == (["create"], str(tree / "a"), os.getpid())
        code, out, err = fanfp.end(signal.SIGINT)
    assert (code, out, err) == (0, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_all_that_happened_before_written(tree: Path, number: signal.Signals) -> None:
    with Running("watch", tree, "--json", "-e", "create") as fanfp:
        touch(*(tree / str(n) for n in range(2000)))
        code, out, err = fanfp.end(number)
    assert (code, err) == (0, b"")
    assert names(out) == [str(tree / str(n)) for n in range(2000)]


def test_a_signal_while_it_cannot_write_waits_for_the_reader(tree: Path) -> None:
    with Running("watch", tree, "--json", "-e", "create") as fanfp:
        touch(*(tree / str(n) for n in range(1000)))
        time.sleep(0.3)  # the pipe is full by now
        fanfp.process.send_signal(signal.SIGTERM)
        fanfp.process.send_signal(signal.SIGTERM)  # as timeout(1) does
        time.sleep(0.2)
        code, out, _ = fanfp.end()
    assert code == 0
    assert len(names(out)) == 1000


def test_a_signal_that_comes_twice_is_one(tree: Path) -> None:
    for _ in range(5):
        with Running("watch", tree, "--stats") as fanfp:
            fanfp.process.send_signal(signal.SIGTERM)
            fanfp.process.send_signal(signal.SIGINT)
            code, _, err = fanfp.end()
        assert (code, err.count(b"\n")) == (0, 1)


def test_a_second_signal_ends_it_at_once(tree: Path) -> None:
    with Running("watch", tree, "--json", "-e", "create") as fanfp:
        touch(*(tree / str(n) for n in range(1000)))
        time.sleep(0.3)
        fanfp.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        fanfp.process.send_signal(signal.SIGTERM)
        assert fanfp.process.wait(5) == -signal.SIGTERM


def test_count(tree: Path) -> None:
    with Running("watch", tree, "--json", "-e", "create", "--count", "3", "--timeout", "10") as fanfp:
        touch(*(tree / str(n) for n in range(10)))
        code, out, err = fanfp.end()
    assert (code, err) == (0, b"")
    assert names(out) == [str(tree / str(n)) for n in range(3)]


def test_timeout_before_count_is_5(tree: Path) -> None:
    with Running("watch", tree, "-e", "create", "--count", "2", "--timeout", "0.5") as fanfp:
        touch(tree / "a")
        code, out, err = fanfp.end()
    assert (code, out.count(b"\n")) == (5, 1)
    assert err == b"fanfp: only 1 of 2 events came within 0.5 s; allow more time with --timeout\n"
    done = run_cli("watch", tree, "--count", "1", "--timeout", "0.2")
    assert done.returncode == 5
    assert b"fanfp: no event came within 0.2 s" in done.stderr


def test_timeout_without_count_is_5_only_when_nothing_came(tree: Path) -> None:
    assert run_cli("watch", tree, "--timeout", "0.1").returncode == 5
    with Running("watch", tree, "-e", "create", "--timeout", "0.5") as fanfp:
        touch(tree / "a")
        code, out, err = fanfp.end()
    assert (code, out.count(b"\n"), err) == (0, 1, b"")


def test_a_reader_that_goes_away_ends_it_silently(tree: Path) -> None:
    with Running("watch", tree, "--json") as fanfp:
        assert fanfp.process.stdout is not None
        fanfp.process.stdout.close()
        assert fanfp.process.wait(5) == 0, "it does not wait for the next event"
        assert fanfp.process.stderr is not None
        assert fanfp.process.stderr.read() == b""
        fanfp.process.stdout = None


def test_head_takes_one_line_and_it_ends(tree: Path) -> None:
    script = f"'{sys.executable}' -m fanotify_fastpath watch '{tree}' --compact -e create | head -n 1"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as shell:
        assert shell.stderr is not None
        assert shell.stderr.readline().startswith(b"watching ")
        touch(tree / "a")
        out, err = shell.communicate(timeout=10)
    assert out.count(b"\n") == 1
    assert err == b""


def test_the_last_root_gone_is_1(tmpfs: Path) -> None:
    roots = [tmpfs / "one", tmpfs / "two"]
    for root in roots:
        root.mkdir()
    with Running("watch", *roots, "--json", "-e", "create,delete") as fanfp:
        roots[0].rmdir()
        assert json.loads(fanfp.line())["path"] == str(roots[0])
        touch(roots[1] / "still")
        shutil.rmtree(roots[1])
        code, out, err = fanfp.end()
    assert code == 1
    assert masks(out)[-1] == ["root_gone"]
    assert err.startswith(b"fanfp: nothing is left to watch")
    assert err.count(b"\n") == 1


@pytest.mark.parametrize("scope", ["subtree", "filesystem", "inode"])
def test_an_unmount_ends_it_with_1(tmpfs: Path, scope: str) -> None:
    with Running("watch", tmpfs, "--json", "--scope", scope) as fanfp:
        subprocess.run(["umount", tmpfs], check=True)
        code, out, err = fanfp.end()
    assert code == 1
    assert masks(out)[-1] == ["unmount"]
    assert b"nothing is left to watch" in err


def test_unsupported_filesystems_are_4(overlay: Path) -> None:
    for path in ("/proc", overlay):
        done = run_cli("watch", path, "--timeout", "1")
        assert done.returncode == 4
        assert done.stderr.startswith(b"fanfp: cannot watch ")
        assert done.stderr.count(b"\n") == 1


def test_it_does_not_report_itself_unless_asked(tree: Path) -> None:
    with open(tree / "log", "wb") as log:
        with Running("watch", tree, "--json", "-e", "modify", stdout=log) as fanfp:
            (tree / "other").write_bytes(b"x")
            wait_until((tree / "log").read_bytes, "the event")
            fanfp.end(signal.SIGTERM)
        assert set(names((tree / "log").read_bytes())) == {str(tree / "other")}
        with Running("watch", tree, "--json", "-e", "modify", "--include-self", "--count", "3", stdout=log) as fanfp:
            (tree / "other").write_bytes(b"x")
            assert fanfp.end()[0] == 0
        assert str(tree / "log") in names((tree / "log").read_bytes())


def test_odd_names_in_json_csv_and_nul_separated(tree: Path) -> None:
    odd = os.fsencode(tree) + b"/\xff\n\xfe"
    for options, expected in (
        (("--json",), b'\\udcff\\n\\udcfe"'),
        (("--csv",), b'/\xff\n\xfe"'),
        (("--compact",), b"/\\xff\\n\\xfe\n"),
        (("--format", "%w%f", "-0"), odd + b"\0"),
    ):
        with Running("watch", tree, *options, "-e", "create", "--count", "1", "--timeout", "10") as fanfp:
            touch(odd)
            code, out, _ = fanfp.end()
        os.unlink(odd)
        assert code == 0
        assert expected in out


def test_exclude_and_handlers_apply(tree: Path) -> None:
    (tree / "out").mkdir()
    handler = "ignore-prefix:prefixes=.+~"
    with Running("watch", tree, "--exclude", tree / "out", "--handler", handler, "--json", "-e", "create") as fanfp:
        touch(tree / ".hidden", tree / "out" / "a", tree / "~backup", tree / "seen")
        assert names(fanfp.line()) == [str(tree / "seen")]
        assert fanfp.end(signal.SIGTERM)[1] == b""


def test_a_handler_with_roots(tree: Path) -> None:
    (tree / "in").mkdir()
    with Running("watch", tree, "--handler", f"monitor-subtree:roots={tree}/in", "--json", "-e", "create") as fanfp:
        touch(tree / "a", tree / "in" / "b")
        assert names(fanfp.line()) == [str(tree / "in" / "b")]


def test_batches_come_together(tree: Path) -> None:
    with Running("watch", tree, "--batch", "--quiet-ms", "200", "--json", "-e", "create") as fanfp:
        for n in range(3):
            touch(tree / str(n))
            time.sleep(0.02)
        assert [event["path"] for event in json.loads(fanfp.line())] == [str(tree / str(n)) for n in range(3)]
        touch(tree / "later")
        assert len(json.loads(fanfp.line())) == 1


def test_a_batch_ends_after_max_wait(tree: Path) -> None:
    options = ("--batch", "--quiet-ms", "500", "--max-wait-ms", "600", "--compact", "-e", "create")
    with Running("watch", tree, *options) as fanfp:
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:
            touch(tree / str(time.monotonic()))
            time.sleep(0.1)
        code, out, _ = fanfp.end(signal.SIGINT)
    assert code == 0
    assert out.count(b"\n\n") >= 1
    assert not out.endswith(b"\n\n")


def test_stats(tree: Path) -> None:
    with Running("watch", tree, "--stats", "-e", "create", "--count", "1") as fanfp:
        touch(tree / "a")
        code, _, err = fanfp.end()
    assert code == 0
    assert re.match(rb"engine (fanotify|kernel), delivered 1, skipped in user space ", err)
    assert b"remembered directories" in err
    assert b"lost 0" in err


def test_threads_are_told_on_demand(tree: Path) -> None:
    with Running("watch", tree, "--tid", "--json", "-e", "create") as fanfp:
        touch(tree / "a")
        event = json.loads(fanfp.line())
    assert (event["tid"], event["tgid"]) == (os.getpid(), os.getpid())


def test_a_full_output_is_said(tree: Path) -> None:
    with open("/dev/full", "wb") as full, Running("watch", tree, stdout=full) as fanfp:
        touch(tree / "a")
        code, _, err = fanfp.end()
    assert code == 1
    assert err.startswith(b"fanfp: cannot write to standard output: No space left on device")


def test_a_missing_exclude_is_1(tree: Path) -> None:
    assert run_cli("watch", tree, "--exclude", tree / "missing").returncode == 1


def test_json_starts_without_rich(tree: Path) -> None:
    done = run_cli("watch", tree, "--json", "--timeout", "0", env={**environment(), "PYTHONPROFILEIMPORTTIME": "1"})
    assert b"fanotify_fastpath.cli.watch" in done.stderr
    for heavy in (b"| rich", b"| shtab", b"fanotify_fastpath.cli.human"):
        assert heavy not in done.stderr
    assert SRC.is_dir()
