"""The manual pages: well formed, and neither more nor less than what the programs have."""

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanotify_fastpath._daemon import main as daemon
from fanotify_fastpath._daemon.config import TABLES, keys_of
from fanotify_fastpath.cli.parser import make_parser

from .pages import ROOT

PAGES = sorted((ROOT / "man").glob("*.[1-8]"))
PARSERS = {"fanfp.1": make_parser, "fanfpd.8": daemon.make_parser}
_SECTION = re.compile(r"^\.S[hs] (.+)$", re.MULTILINE)
_ITEM = re.compile(r"^\.It Fl (.+)$", re.MULTILINE)
_KEYS = re.compile(r"^\.It Cm (.+)$", re.MULTILINE)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def options(page: str) -> dict[str, argparse.Action]:
    """The options of a page's program, each spelling of each."""
    found = {}
    for parser in parsers(PARSERS[page]()):
        for action in parser._actions:
            found.update(dict.fromkeys(action.option_strings, action))
    return found


def described(page: str) -> dict[str, str]:
    """The options that a page explains, with all that it says of them."""
    text = (ROOT / "man" / page).read_text()
    found: dict[str, str] = {}
    for item in _ITEM.finditer(text):
        rest = text[item.end() :]
        end = re.search(r"^\.(?:It|El)\b", rest, re.MULTILINE)
        said = item[1] + rest[: end.start() if end else None]
        for name in re.findall(r"(?:^|, )(\\-[a-z-]+|\w)(?= |$)", item[1]):
            option = "-" + name.replace("\\-", "-")
            found[option] = found.get(option, "") + said
    return found


def section(page: str, title: str) -> str:
    """The text of one section."""
    parts = _SECTION.split((ROOT / "man" / page).read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def test_there_is_a_page_for_each_program_its_configuration_and_the_whole() -> None:
    assert [page.name for page in PAGES] == ["fanfp.1", "fanfpd.8", "fanfpd.toml.5", "fanotify_fastpath.7"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_well_formed(page: Path) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("needs mandoc (tools/setup.sh installs it)")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("page", PARSERS)
def test_page_has_every_option_and_no_other(page: str) -> None:
    assert described(page).keys() == options(page).keys()


@pytest.mark.parametrize("page", PARSERS)
def test_page_has_every_choice_of_an_option(page: str) -> None:
    text = described(page)
    for option, action in options(page).items():
        missing = [choice for choice in action.choices or () if str(choice) not in re.findall(r"[\w-]+", text[option])]
        assert not missing, option


@pytest.mark.parametrize("page", PARSERS)
def test_page_mentions_no_option_that_does_not_exist(page: str) -> None:
    text = (ROOT / "man" / page).read_text()
    used = set(re.findall(r"\bFl \\-([a-z-]+)", text)) | set(re.findall(r"(?<![\w\\-])--([a-z-]+)", text))
    known = set().union(*(options(each) for each in PARSERS))
    assert {f"--{name}" for name in used} <= known


def test_the_page_of_fanfp_has_every_command() -> None:
    commands = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    synopsis = section("fanfp.1", "SYNOPSIS")
    for command in commands.choices:
        assert f".Cm {command}\n" in synopsis
        assert section("fanfp.1", command)


@pytest.mark.parametrize(
    ("table", "title"), [("daemon", "Table daemon"), ("limits", "Table limits"), ("rule", "Tables rule")]
)
def test_the_page_of_the_configuration_has_every_key_and_no_other(table: str, title: str) -> None:
    keys = [key for line in _KEYS.findall(section("fanfpd.toml.5", title)) for key in re.findall(r"\w+", line)]
    assert sorted(keys) == sorted(keys_of(table))


def test_every_table_of_the_configuration_has_a_section() -> None:
    titles = _SECTION.findall((ROOT / "man" / "fanfpd.toml.5").read_text())
    assert {title.split()[1] for title in titles if title.startswith("Table")} == set(TABLES)
