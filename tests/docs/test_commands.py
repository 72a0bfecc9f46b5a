"""The command lines in the documentation and in ``--help`` are understood, and the targets of make exist."""

import re
import shlex
import subprocess
import sys

import pytest

from fanotify_fastpath.cli.parser import parse

from .pages import PAGES, ROOT, blocks

COMMANDS = ("watch", "guard", "handlers", "doctor", "ps", "top")


def fanfp(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as installed."""
    return subprocess.run([sys.executable, "-m", "fanotify_fastpath", *arguments], capture_output=True, text=True)


def command_lines(text: str, program: str) -> list[str]:
    """The lines that call a program, up to a pipe, a list operator or a remark."""
    lines = re.findall(rf"^ *{program} .+$", text.replace("\\\n", " "), re.MULTILINE)
    return [re.split(r" \| | && |  +\w", line.strip())[0] for line in lines]


FANFP_LINES = [line for block in blocks("sh", "console") for line in command_lines(block.code, "fanfp")]
MAKE_LINES = [line for block in blocks("sh", "console") for line in command_lines(block.code, "make")]


def test_there_are_commands_to_check() -> None:
    assert len(FANFP_LINES) >= 5
    assert "make run" in MAKE_LINES
    assert "make test" in MAKE_LINES


@pytest.mark.parametrize("line", FANFP_LINES)
def test_documented_command_line_is_understood(line: str) -> None:
    parse(shlex.split(line)[1:])


def test_documented_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text()))
        assert named <= targets, page.name


def test_help_names_every_command() -> None:
    done = fanfp("--help")
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert re.search(rf"^ +{command} ", done.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_in_the_help_are_understood(command: str) -> None:
    done = fanfp(command, "--help")
    assert done.returncode == 0, done.stderr
    lines = command_lines(done.stdout, "fanfp")
    assert lines
    for line in lines:
        parse(shlex.split(line)[1:])


def test_every_long_option_of_the_documentation_exists() -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", "".join(fanfp(command, "--help").stdout for command in COMMANDS)))
    known |= set(re.findall(r"--[a-z][a-z-]+", fanfp("--help").stdout))
    for page in PAGES:
        inline = " ".join(re.findall(r"`fanfp ([^`]+)`", page.read_text()))
        assert set(re.findall(r"--[a-z][a-z-]+", inline)) <= known, page.name
