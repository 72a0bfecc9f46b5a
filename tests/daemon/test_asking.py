"""``fanfp ps`` and ``fanfp doctor`` about a daemon that runs, and about one that does not."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath import Mask, __version__, diagnose, errors
from fanotify_fastpath._daemon.config import Limits
from fanotify_fastpath._probes.daemon import Inquiry
from fanotify_fastpath._wire import addresses, messages
from fanotify_fastpath.cli import main
from fanotify_fastpath.cli.ps import COLUMNS, duration, row, size, user_name
from fanotify_fastpath.cli.top import Meter

from .client import opened_as
from .support import DEADLINE_S, NAME, OTHER_USER, USER, Daemon, as_user, environment

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def asked(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """The daemon that every client here takes."""
    monkeypatch.setenv(addresses.SOCKET_VARIABLE, os.fspath(daemon.socket_path))
    return daemon


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where no daemon is."""
    path = tmp_path / "none.socket"
    monkeypatch.setenv(addresses.SOCKET_VARIABLE, os.fspath(path))
    return path


def test_without_groups_there_is_nothing_to_list(asked: Daemon, capsys: Capture) -> None:
    assert main(["ps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["ps"]) == 0
    assert capsys.readouterr().out.split() == list(COLUMNS)


def test_root_is_told_every_group_with_its_user(asked: Daemon, top: Path, capsys: Capture) -> None:
    with opened_as(asked, USER) as client, opened_as(asked, OTHER_USER) as other:
        assert client.watch(top)[-1] == "Done"
        other.hello()
        other.open()
        client.make_files(top, 3)
        client.sync()
        assert main(["ps", "--json"]) == 0
        mine, theirs = json.loads(capsys.readouterr().out)
        assert (mine["uid"], mine["tgid"], mine["client"]) == (USER, client.pid, "tests")
        assert (mine["n_sets"], mine["n_roots"], mine["n_marks"]) == (1, 1, 1)
        assert mine["counters"]["n_put"] >= 3
        assert (theirs["uid"], theirs["n_roots"]) == (OTHER_USER, 0)
        assert main(["ps"]) == 0
        head, first, second = capsys.readouterr().out.splitlines()
        assert head.split() == list(COLUMNS)
        assert first.split()[1:4] == [str(USER), str(client.pid), "tests"]
        assert second.split()[1] == str(OTHER_USER)


def test_others_are_told_their_own_groups(asked: Daemon, top: Path) -> None:
    with opened_as(asked, USER) as client, opened_as(asked, OTHER_USER) as other:
        client.watch(top)
        other.watch(top)

        def uids() -> list[int]:
            with Inquiry() as inquiry:
                return [group.uid for group in inquiry.groups()]

        assert as_user(uids, OTHER_USER) == [OTHER_USER]
        assert sorted(uids()) == [USER, OTHER_USER]


def test_more_groups_than_fit_into_an_answer(start: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = start()
    monkeypatch.setenv(addresses.SOCKET_VARIABLE, os.fspath(daemon.socket_path))
    n_groups = messages.GROUPS_MAX + 3
    with opened_as(daemon) as client, Inquiry() as inquiry:
        for n in range(n_groups):
            if n:
                client.connect()
            client.hello()
            client.open()
        numbers = [group.group for group in inquiry.groups()]
    assert len(numbers) == n_groups
    assert numbers == sorted(set(numbers))


def test_what_a_process_calls_itself_cannot_write_on_the_terminal(asked: Daemon, capsys: Capture) -> None:
    with opened_as(asked) as client:
        client.ask(messages.Hello, version=messages.VERSION, client="\x1b[2J[red]x[/]\n")
        client.open()
        main(["ps"])
    out = capsys.readouterr().out
    assert "\\x1b[2J[red]x[/]\\n" in out
    assert len(out.splitlines()) == 2


def test_no_daemon_is_4(nowhere: Path, capsys: Capture) -> None:
    assert main(["ps"]) == 4
    assert capsys.readouterr().err.startswith(f"fanfp: cannot connect to fanfpd at {nowhere}: no daemon is there")


def test_a_socket_that_may_not_be_connected_to_is_3(start: Callable[..., Daemon]) -> None:
    daemon = start("[daemon]\nmode = 0o600\n")

    def ask() -> int:
        os.environ[addresses.SOCKET_VARIABLE] = os.fspath(daemon.socket_path)
        return main(["ps"])

    assert as_user(ask) == 3


def test_a_user_who_is_not_allowed_is_3(start: Callable[..., Daemon]) -> None:
    daemon = start(f"[daemon]\nmode = 0o666\n[[rule]]\nusers = [{USER}]\nallow = false\n")

    def ask() -> int:
        os.environ[addresses.SOCKET_VARIABLE] = os.fspath(daemon.socket_path)
        return main(["ps"])

    assert as_user(ask) == 3
    assert as_user(ask, OTHER_USER) == 0


@pytest.mark.parametrize("how", ["hang up", "nonsense", "silence", "something else"])
def test_what_is_no_daemon_is_1(nowhere: Path, how: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("fanotify_fastpath._probes.daemon.ANSWER_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(os.fspath(nowhere))
        listener.listen()

        def be() -> None:
            connection, _ = listener.accept()
            with connection:
                if how == "nonsense":
                    connection.send(b"nonsense")
                elif how == "something else":
                    connection.send(messages.encode(messages.Done(1)))
                if how != "hang up":
                    while connection.recv(4096):
                        pass

        thread = threading.Thread(target=be)
        thread.start()
        assert main(["ps"]) == 1
        thread.join()
    assert capsys.readouterr().err.count("\n") == 1


def test_doctor_tells_what_the_daemon_is_and_what_i_may_use(asked: Daemon) -> None:
    engine = diagnose().engine("daemon")
    assert engine.available
    told = {check.name: check for check in engine.checks}
    assert told["daemon answers"].detail == os.fspath(asked.socket_path)
    assert __version__ in told["version"].detail
    assert told["engine of the daemon"].detail == NAME
    assert f"roots_per_group = {Limits().roots_per_group}" in told["your limits"].detail
    assert all(check.ok for check in engine.checks)


def test_doctor_tells_why_there_is_none(nowhere: Path) -> None:
    engine = diagnose().engine("daemon")
    assert not engine.available
    assert "no daemon is there" in engine.reason
    assert engine.checks[0].detail == os.fspath(nowhere)


def test_an_inquiry_that_fails_leaves_nothing_open(nowhere: Path) -> None:
    with pytest.raises(errors.UnsupportedFeature):
        Inquiry()


def test_an_inquiry_of_another_version_is_refused(asked: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "VERSION", 2)
    with pytest.raises(errors.UnsupportedFeature, match="version 1"):
        Inquiry()


def test_top_tells_how_fast_the_busiest_first(asked: Daemon, top: Path, capsys: Capture) -> None:
    with opened_as(asked, USER) as idle, opened_as(asked, OTHER_USER) as busy:
        for client in (idle, busy):
            client.hello()
            client.open()
        busy.include(0, 1, top)
        busy.mark(1, int(Mask.CREATE), 0)
        with Inquiry() as inquiry:
            meter = Meter()
            first = meter.measure(list(inquiry.groups()), 100.0)
            busy.make_files(top, 10)
            busy.sync()
            second = meter.measure(list(inquiry.groups()), 102.0)
        assert [line.group.uid for line in first] == [USER, OTHER_USER]
        assert {line.told_per_s for line in first} == {None}
        assert [line.group.uid for line in second] == [OTHER_USER, USER]
        assert [(line.told_per_s, line.lost_per_s) for line in second] == [(5.0, 0.0), (0.0, 0.0)]
        assert main(["top", "--json", "--count", "2", "--interval", "0"]) == 0
        _, last = capsys.readouterr().out.splitlines()
        assert {each["uid"]: each["told_per_s"] for each in json.loads(last)} == {USER: 0.0, OTHER_USER: 0.0}
        assert main(["top", "--count", "1"]) == 0
        head, *lines = capsys.readouterr().out.rstrip().splitlines()
        assert head.split() == [*COLUMNS, "told/s", "lost/s"]
        assert len(lines) == 2


def test_top_ends_with_the_daemon(asked: Daemon, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda s: asked.stop() if s == 7 else None)
    assert main(["top", "--interval", "7"]) == 1
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_top_ends_when_it_is_interrupted(asked: Daemon, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "fanotify_fastpath", "top", "--json", "--interval", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"[]\n"
        process.send_signal(number)
        assert process.communicate(timeout=DEADLINE_S) == (b"", b"")
    assert process.returncode == 0


def test_top_leaves_a_terminal_as_it_was(asked: Daemon) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fanotify_fastpath", "top", "--count", "2", "--interval", "0"]
    with subprocess.Popen(command, stdout=theirs, env={**environment(), "TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # at the end of the other side
            while data := os.read(ours, 4096):
                shown += data
    os.close(ours)
    assert process.returncode == 0
    alternate, normal = b"\x1b[?1049h", b"\x1b[?1049l"
    assert shown.index(alternate) < shown.index(b"told/s") < shown.index(normal)
    assert shown.endswith((normal, b"\x1b[?25h"))


def test_figures_for_people() -> None:
    assert [duration(s) for s in (0, 59, 60, 3600, 7500, 90_000)] == ["0s", "59s", "1m00s", "1h00m", "2h05m", "1d01h"]
    assert [size(n) for n in (0, 1, 1000, 1024, 16 << 20, 3 << 30, 1 << 50)] == [
        "0 B", "1 B", "1000 B", "1 KiB", "16 MiB", "3 GiB", "1048576 GiB",
    ]  # fmt: skip
    assert user_name(0) == "root"
    assert user_name(USER) == str(USER)


def test_what_the_daemon_does_not_tell_is_a_dash() -> None:
    counters = {"n_put": 3, "n_lost": 2, "n_dropped": 5}
    group = messages.GroupStatus(1, USER, 0, "", "fanotify", 1, 0, 0, 0, 4096, counters)
    assert row(group)[2] == "-"
    assert row(group)[-3:] == ("3", "7", "-")
