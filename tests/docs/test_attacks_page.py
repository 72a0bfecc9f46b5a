"""The page about attacks names tests that there are, and all that are marked as attacks."""

import ast
import re
from collections.abc import Iterator

from .pages import ROOT

PAGE = (ROOT / "docs" / "attacks.md").read_text()
TESTS = ROOT / "tests"
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def functions(path: str) -> Iterator[ast.FunctionDef]:
    tree = ast.parse((TESTS / path).read_text())
    return (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def is_marked(node: ast.AST) -> bool:
    """Tell whether an expression says ``pytest.mark.attack``."""
    return "pytest.mark.attack" in ast.unparse(node).replace("(", " ").replace(",", " ").replace("]", " ").split()


def attacks() -> Iterator[tuple[str, str]]:
    """All tests that are marked, alone or with their module."""
    for path in sorted(TESTS.rglob("test_*.py")):
        if path == TESTS / "docs" / "test_attacks_page.py" or "mark.attack" not in path.read_text():
            continue
        name = path.relative_to(TESTS).as_posix()
        body = ast.parse(path.read_text()).body
        marks = [node for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"]
        whole = any(is_marked(node.value) for node in marks)
        yield from ((name, each.name) for each in functions(name) if whole or any(map(is_marked, each.decorator_list)))


def test_each_test_that_is_named_is_there() -> None:
    assert len(NAMED) > 50
    missing = [f"{path}::{name}" for path, name in NAMED if name not in {each.name for each in functions(path)}]
    assert not missing


def test_each_attack_is_in_a_table() -> None:
    found = set(attacks())
    assert len(found) > 30
    assert not found - set(NAMED)


def test_each_row_names_a_test() -> None:
    tables = re.findall(r"^\| attack \| what stops it \| test \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert len(tables) == 5
    for row in "".join(tables).splitlines():
        attack, stops, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        assert attack
        assert stops
        assert re.search(r"`[\w/]+\.py::\w+`", tests), attack
