"""``fanfp handlers``: what the registry says, for people and for machines."""

import json

import pytest

from fanotify_fastpath import describe, registry
from fanotify_fastpath.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("arguments", [["handlers"], ["handlers", "list"]])
def test_list_is_a_table_of_all(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "source", "flags", "in", "use", "description"]
    assert [line.split()[0] for line in lines[1:]] == [handler.name for handler in registry]
    assert all(handler.desc in line for handler, line in zip(registry, lines[1:], strict=True))


@pytest.mark.parametrize("handler", list(registry), ids=lambda handler: handler.name)
def test_show_gives_the_registrys_own_words(handler: type, capsys: Capture) -> None:
    kind = registry.get(handler.name)  # type: ignore[attr-defined]
    assert main(["handlers", "show", kind.name]) == 0
    out = capsys.readouterr().out
    for key, text in describe(kind).items():
        assert f"{key}: {text}" in out
    assert out.splitlines()[-2].startswith("depends: ")
    assert out.splitlines()[-1] == "in_kernel: yes"


def test_json(capsys: Capture) -> None:
    assert main(["handlers", "show", "ignore-prefix", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["flags"], shown["depends"]) == ("ignore-prefix", ["UNPRIVILEGED"], ["NAME"])
    assert shown["arguments"][0]["name"] == "prefixes"
    assert shown["arguments"][0]["required"]
    assert (shown.pop("in_kernel"), shown.pop("obstacle")) == (True, None)
    assert main(["handlers", "--json"]) == 0
    assert shown in json.loads(capsys.readouterr().out)
