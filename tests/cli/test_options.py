"""The command line itself: help, version, completion, wrong usage; nothing is watched here."""

import subprocess
from pathlib import Path

import pytest

from fanotify_fastpath import HandlerNotFound, InvalidArgument, Mask, UnsupportedFeature, __version__
from fanotify_fastpath._engines import choose
from fanotify_fastpath.cli import main
from fanotify_fastpath.cli.exits import UsageError
from fanotify_fastpath.cli.guard import parse_deny, parse_uid
from fanotify_fastpath.cli.handlerspec import parse_handler, split, unescape
from fanotify_fastpath.cli.watch import parse_events

from .support import run_cli

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in ("watch", "guard", "doctor", "handlers"))]
)
def test_help_has_examples(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 0
    assert "examples:\n  fanfp " in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fanfp {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_names_the_commands(shell: str, capsys: Capture) -> None:
    assert main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("watch", "guard", "handlers", "doctor"):
        assert word in script


def test_completion_for_bash_is_a_script(capsys: Capture) -> None:
    main(["--print-completion", "bash"])
    subprocess.run(["bash", "-n"], input=capsys.readouterr().out.encode(), check=True)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "COMMAND"),
        (["nonsense"], "nonsense"),
        (["watch"], "PATH"),
        (["watch", ""], "is empty"),
        (["watch", ".", "--exclude", ""], "is empty"),
        (["doctor", ""], "is empty"),
        (["watch", ".", "--nonsense"], "--nonsense"),
        (["watch", ".", "-e", "nonsense"], "unknown event type 'nonsense'"),
        (["watch", ".", "-e", ""], "unknown event type ''"),
        (["watch", ".", "-e", "open_perm"], "fanfp guard"),
        (["watch", ".", "-e", "ondir"], "names no event type"),
        (["watch", ".", "--count", "0"], "at least 1"),
        (["watch", ".", "--count", "x"], "at least 1"),
        (["watch", ".", "--timeout=-1"], "seconds"),
        (["watch", ".", "--timeout", "nan"], "seconds"),
        (["watch", ".", "--engine", "nonsense"], "nonsense"),
        (["watch", ".", "--json", "--csv"], "not allowed with"),
        (["watch", ".", "--format", "%q"], "unknown escape"),
        (["watch", ".", "--timefmt", "%s"], "--format"),
        (["watch", ".", "--quiet-ms", "5"], "--batch"),
        (["watch", ".", "--scope", "inode", "--exclude", "/"], "--exclude"),
        (["watch", ".", "--handler", "ignore-prefix:nonsense=1"], "prefixes=ITEM"),
        (["watch", ".", "--handler", "ignore-prefix:prefixes"], "no value"),
        (["watch", ".", "--handler", "ignore-prefix"], "missing"),
        (["watch", ".", "--handler", "allow-deny-list:uids=x"], "uids"),
        (["watch", ".", "--handler", "allow-deny-list:uids=\u00b2"], "uids"),
        (["watch", ".", "--handler", "allow-deny-list:mode=maybe"], "one of deny, allow"),
        (["guard", "."], "--deny"),
        (["guard", ".", "--deny", "write"], "open, exec, access"),
        (["guard", ".", "--deny", "open", "--allow-uid", "no-such-user"], "no-such-user"),
        (["handlers", "show"], "NAME"),
        (["handlers", "list", "ignore-prefix"], "show"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_2(arguments: list[str], part: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("fanfp: ")
    assert captured.err.count("\n") == 1
    assert part in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("command", ["watch", "doctor"])
def test_a_path_that_does_not_exist_is_1(command: str, tmp_path: Path, capsys: Capture) -> None:
    assert main([command, str(tmp_path / "miss\ning")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fanfp: ")
    assert err.count("\n") == 1
    assert "no such file" in err


def test_an_unknown_handler_is_1(capsys: Capture) -> None:
    assert main(["watch", ".", "--handler", "nonsense"]) == 1
    assert main(["handlers", "show", "nonsense"]) == 1
    assert capsys.readouterr().err.count("registered are allow-deny-list") == 2


def test_an_engine_that_does_not_work_here_is_4(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise UnsupportedFeature("the kernel engine does not work here")

    monkeypatch.setattr(choose, "check", refuse)
    assert main(["watch", ".", "--engine", "kernel"]) == 4
    assert "kernel engine" in capsys.readouterr().err


def test_python_m_runs_it() -> None:
    done = run_cli("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"fanfp {__version__}\n".encode(), b"")


def test_a_closed_standard_output_is_said() -> None:
    done = run_cli("watch", ".", stdout=None, capture_output=False, stderr=subprocess.PIPE, preexec_fn=_close_stdout)
    assert done.returncode == 1
    assert done.stderr.startswith(b"fanfp: cannot write events: standard output is closed")


def _close_stdout() -> None:
    import os

    os.close(1)


def test_a_full_disk_is_said_by_every_command() -> None:
    with open("/dev/full", "wb") as full:
        done = run_cli("handlers", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No space left" in done.stderr


# --- the small languages ---


def test_handler_specification() -> None:
    assert parse_handler("monitor-subtree") == ("monitor-subtree", {})
    assert parse_handler("ignore-prefix:prefixes=.+~") == ("ignore-prefix", {"prefixes": [b".", b"~"]})
    assert parse_handler("allow-deny-list:mode=allow,uids=0+0x10,names=a") == (
        "allow-deny-list",
        {"mode": "allow", "uids": [0, 16], "names": [b"a"]},
    )


def test_handler_specification_with_escapes() -> None:
    name, values = parse_handler(r"ignore-prefix:prefixes=a\+b+c\,d+e\=f+g:h+i\\")
    assert (name, values) == ("ignore-prefix", {"prefixes": [b"a+b", b"c,d", b"e=f", b"g:h", b"i\\"]})


def test_handler_specification_keeps_bytes_that_are_no_utf8() -> None:
    assert parse_handler("ignore-prefix:prefixes=\udcff")[1] == {"prefixes": [b"\xff"]}


def test_handler_specification_refuses_a_key_twice() -> None:
    with pytest.raises(UsageError, match="twice"):
        parse_handler("ignore-prefix:prefixes=a,prefixes=b")
    with pytest.raises(HandlerNotFound):
        parse_handler("nonsense:prefixes=a")


def test_split_and_unescape() -> None:
    assert split(r"a,b\,c,", ",") == ["a", r"b\,c", ""]
    assert split("a=b=c", "=", 1) == ["a", "b=c"]
    assert unescape("a\\,b\\\\c\\") == "a,b\\c\\"


def test_events_can_be_given_in_several_ways() -> None:
    assert parse_events(None) == Mask.ALL_CHANGES
    assert parse_events(["create,IN_DELETE", "FAN_OPEN"]) == Mask.CREATE | Mask.DELETE | Mask.OPEN
    with pytest.raises(InvalidArgument):
        parse_events(["nonsense"])


def test_what_a_guard_denies_and_whom_it_allows() -> None:
    assert parse_deny(["open,exec", "access"]) == Mask.OPEN_PERM | Mask.OPEN_EXEC_PERM | Mask.ACCESS_PERM
    assert parse_uid("1000") == 1000
    assert parse_uid("root") == 0
