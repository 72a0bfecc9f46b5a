"""The page about the daemon, and the example of its configuration, say what holds."""

import re
import shlex

import msgspec
import pytest

from fanotify_fastpath._daemon.account import Counted
from fanotify_fastpath._daemon.config import RESERVED, TABLES, Config, Daemon, Limits, keys_of, parse
from fanotify_fastpath._daemon.figures import Figures
from fanotify_fastpath._daemon.main import main, make_parser
from fanotify_fastpath._wire.messages import GroupStatus

from .pages import ROOT, blocks

EXAMPLE = ROOT / "docs" / "fanfpd.toml"
PAGE = ROOT / "docs" / "daemon.md"
#: keys of which each table has its own
_KEY = re.compile(r"^#?(\w+) = ", re.MULTILINE)
_EXAMPLE_LINE = re.compile(r"^#(?=[\w\[])", re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    text = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_example_is_the_default_configuration() -> None:
    config = parse(EXAMPLE.read_bytes(), "example")
    assert msgspec.structs.replace(config, path=None) == Config()


def test_what_the_example_has_as_remarks_is_right_too() -> None:
    config = parse(_EXAMPLE_LINE.sub("", EXAMPLE.read_text()).encode(), "example")
    assert config.daemon.group
    assert config.daemon.metrics
    assert len(config.rules) == 2


@pytest.mark.parametrize("table", TABLES)
def test_the_example_has_every_key(table: str) -> None:
    text = EXAMPLE.read_text()
    parts = re.split(r"^#?\[+(\w+)\]+$", text, flags=re.MULTILINE)
    found = {
        key for name, part in zip(parts[1::2], parts[2::2], strict=True) if name == table for key in _KEY.findall(part)
    }
    wanted = set(keys_of(table)) - {"handlers"} - (set(Limits.__struct_fields__) if table == "rule" else set())
    assert found >= wanted


def test_the_limits_of_the_page_are_those_that_hold() -> None:
    told = {names(key)[0]: default for key, default, *_ in rows("Limits")}
    assert list(told) == list(Limits.__struct_fields__)
    for key, default in told.items():
        value = default if default.isdigit() else f'"{default}"'
        assert getattr(parse(f"[limits]\n{key} = {value}".encode(), key).limits, key) == getattr(Limits(), key), key


def test_the_keys_of_the_page_are_those_that_there_are() -> None:
    told = {key for _, cell, *_ in rows("Configure") for key in names(cell)}
    assert told == {*Daemon.__struct_fields__, *keys_of("rule")} - set(Limits.__struct_fields__)
    assert set(RESERVED) <= told


def test_the_defaults_of_the_page_are_those_that_hold() -> None:
    for _, key, default, *_ in rows("Configure"):
        for name in set(names(key)) & set(Daemon.__struct_fields__):
            value = getattr(Daemon(), name)
            if value is not None:
                shown = f"0o{value:o}" if name == "mode" else str(value)
                assert default.strip("`") == shown, name


def test_the_metrics_of_the_page_are_those_that_are_told() -> None:
    figures = Figures({"version": "1"}, lambda: [group], lambda: Counted(1, 1, {"groups_per_user": 1}), lambda: 1)
    group = GroupStatus(1, 1000, 1, "tests", "fanotify", 1, 1, 1, 1, 4096, {})
    told = {sample.name for metric in figures.collect() for sample in metric.samples}
    assert {name for cell, *_ in rows("Metrics") for name in names(cell)} == told


def test_what_ps_prints_as_json_is_listed() -> None:
    section = (ROOT / "docs" / "cli.md").read_text().partition("\n## `ps` and `top`\n")[2].partition("\n## ")[0]
    assert f"`{' '.join(GroupStatus.__struct_fields__)}`" in section


def test_the_daemons_command_lines_are_understood() -> None:
    lines = [line for block in blocks("sh") for line in block.code.splitlines() if line.startswith("fanfpd ")]
    assert lines
    for line in lines:
        options = make_parser().parse_args(shlex.split(line)[1:])
        if options.check and options.config is not None:
            assert main(["--check", "--config", str(ROOT / options.config)]) == 0


def test_the_configurations_of_the_pages_are_right() -> None:
    found = [block for block in blocks("toml") if block.page == PAGE]
    assert found
    for block in found:
        parse(block.code.encode(), block.id)
