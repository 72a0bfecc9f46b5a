"""``fanfp handlers load`` and ``unload``: for all processes, by root."""

import json
import os
from pathlib import Path

import pytest

from children import NOBODY_UID
from fanotify_fastpath._modules.listing import Listing
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.cli import main
from fanotify_fastpath.cli.parser import parse
from sources import NAMES, OTHERS, installed, write_handler

from .support import run_as

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def others(tmp_path: Path) -> str:
    path = tmp_path / "others.py"
    path.write_text(OTHERS.read_text())
    return str(path)


def test_what_was_loaded_is_listed_shown_and_unloaded(others: str, capsys: Capture) -> None:
    assert main(["handlers", "load", others]) == 0
    out, err = capsys.readouterr()
    assert out == "".join(f"loaded {name}\n" for name in NAMES)
    assert err.startswith("fanfp: loaded, but not to be read below ")
    assert main(["handlers"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(NAMES[1])]
    assert line.split()[1:4] == [others, "UNPRIVILEGED", "0"]
    assert main(["handlers", "show", NAMES[1]]) == 0
    assert (
        f"\nsource: {others}\nattachments: 0\nattachments_since_load: 0\ndepends: NAME\nin_kernel: yes\n"
        in capsys.readouterr().out
    )
    assert main(["handlers", "unload", others]) == 0
    assert capsys.readouterr().out.splitlines() == [f"unloaded {name}" for name in sorted(NAMES)]
    assert main(["handlers", "show", NAMES[1]]) == 1


def test_json_has_everything(others: str, capsys: Capture) -> None:
    main(["handlers", "load", others])
    capsys.readouterr()
    assert main(["handlers", "show", NAMES[1], "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["source"], shown["attachments"], shown["attachments_since_load"]) == (others, 0, 0)
    assert (shown["flags"], shown["depends"]) == (["UNPRIVILEGED"], ["NAME"])
    assert shown["arguments"][0]["name"] == "prefixes"
    assert main(["handlers", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (shown.pop("in_kernel"), shown.pop("obstacle")) == (True, None)
    assert shown in listed
    assert {each["source"] for each in listed} == {"built in", others}


def test_show_tells_why_a_handler_cannot_be_compiled(own_list: Listing, tmp_path: Path, capsys: Capture) -> None:
    path = write_handler(tmp_path / "asking.py")
    path.write_text(path.read_text().replace("return fan.SKIP_EVENT", "return input()"))
    main(["handlers", "load", str(path)])
    capsys.readouterr()
    assert main(["handlers", "show", "mine"]) == 0
    shown = capsys.readouterr().out.splitlines()
    number = next(number for number, line in enumerate(shown) if line.startswith(f"in_kernel: no: {path}:"))
    assert shown[number + 1 :] == ["  return input()", "         ^^^^^^^"]
    assert main(["handlers", "show", "mine", "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert asked["in_kernel"] is False
    assert asked["obstacle"].splitlines() == [shown[number].removeprefix("in_kernel: no: "), *shown[number + 1 :]]


def test_in_use_is_1_unless_by_force(others: str, own_list: Listing, capsys: Capture) -> None:
    main(["handlers", "load", others])
    chain = Chain(lambda: None)
    chain.attach(NAMES[1], {"prefixes": ["a"]})
    capsys.readouterr()
    assert main(["handlers", "unload", NAMES[1]]) == 1
    assert "1 attach(es) use it" in capsys.readouterr().err
    assert main(["handlers", "unload", NAMES[1], "--force"]) == 0
    assert own_list.names() == [NAMES[0]]
    chain.detach()


def test_a_package_is_loaded_by_its_name(tmp_path: Path, capsys: Capture) -> None:
    with installed(tmp_path / "site", "some-handlers", "some_handlers", "all = some_handlers.handlers"):
        assert main(["handlers", "load", "some-handlers"]) == 0
        assert main(["handlers", "unload", "some-handlers"]) == 0
    assert main(["handlers", "load", "some-handlers"]) == 1
    assert "no package 'some-handlers' that offers handlers" in capsys.readouterr().err


def test_the_name_of_one_that_is_built_in_is_taken(tmp_path: Path, capsys: Capture) -> None:
    assert main(["handlers", "load", str(write_handler(tmp_path / "mine.py", "ignore-prefix"))]) == 1
    assert "is there already" in capsys.readouterr().err


def test_names_cannot_write_on_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    main(["handlers", "load", str(write_handler(tmp_path / "mine.py", "a\x1b[31m\n[bold]b", "x\x1b[0m"))])
    main(["handlers"])
    main(["handlers", "show", "a\x1b[31m\n[bold]b"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a\\x1b[31m\\n[bold]b" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["load"],
        ["unload"],
        ["list", "--force"],
        ["load", "x", "--force"],
        ["load", "x", "--json"],
        ["load", "/etc/passwd"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: Capture) -> None:
    assert main(["handlers", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("source", ["/nowhere/file.py", "no-such-package"])
def test_a_source_that_is_not_there_is_1(source: str) -> None:
    assert main(["handlers", "load", source]) == 1


def test_watch_takes_the_arguments_of_a_loaded_handler(tree: Path, others: str) -> None:
    main(["handlers", "load", others])
    arguments = ["watch", str(tree), "--handler", f"{NAMES[1]}:prefixes=a+b", "--timeout", "0.1"]
    assert parse(arguments).handler == [f"{NAMES[1]}:prefixes=a+b"]
    assert main(arguments) == 5
    assert main(["handlers", "unload", NAMES[1]]) == 0


@pytest.mark.usefixtures("as_root")
def test_a_plain_user_lists_shows_and_attaches_but_does_not_load(tmp_path: Path, others: str) -> None:
    main(["handlers", "load", others])
    assert run_as(NOBODY_UID, ["handlers", "show", NAMES[1]])[0] == 0
    code, out, _ = run_as(NOBODY_UID, ["handlers", "--json"])
    assert code == 0
    assert set(NAMES) <= {each["name"] for each in json.loads(out)}
    for action, what in (("load", others), ("unload", NAMES[1])):
        code, _, err = run_as(NOBODY_UID, ["handlers", action, what])
        assert (code, err.count("\n")) == (3, 1)
        assert f"that takes user 0, and this is user {NOBODY_UID}" in err
    (tmp_path / "watched").mkdir(mode=0o777)
    watch = ["watch", str(tmp_path / "watched"), "--scope", "inode", "--timeout", "0.1", "--handler"]
    assert run_as(NOBODY_UID, [*watch, f"{NAMES[1]}:prefixes=a"])[0] == 5
    code, _, err = run_as(NOBODY_UID, [*watch, f"{NAMES[0]}:roots={tmp_path}"])
    assert code == 3
    assert "for administrators" in err


@pytest.mark.usefixtures("as_root")
def test_code_that_others_may_change_is_3(others: str, capsys: Capture) -> None:
    os.chmod(others, 0o666)
    assert main(["handlers", "load", others]) == 3
    assert "everybody may write to it" in capsys.readouterr().err


def test_the_doctor_tells_where_handlers_can_be_read(others: str, own_list: Listing, capsys: Capture) -> None:
    main(["handlers", "load", others])
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 0
    directory, readable = json.loads(capsys.readouterr().out)["listing"]
    assert directory == {"name": os.fsdecode(own_list.directory), "ok": True, "detail": "2 loaded"}
    assert (readable["name"], readable["ok"]) == (os.fsdecode(own_list.readable), False)
    assert "no bpf filesystem is mounted" in readable["detail"]
