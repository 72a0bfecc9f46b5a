"""Tables of the documentation speak of what there is; whether they are right is tested where that can be run."""

import ast

import verifier_counts

from .pages import ROOT
from .tables import differences
from .tables import verifier_counts as documented


def test_every_object_file_has_rows_in_the_table_of_the_verifiers_counts() -> None:
    files = {path.name.partition(".")[0] for path in verifier_counts.object_files()}
    assert {row["object file"].strip("`") for row in documented()} == files


def test_every_difference_between_engines_is_shown_by_a_test_of_its_own_on_both() -> None:
    module = ast.parse((ROOT / "tests" / "scenarios" / "test_differences.py").read_text())
    functions = {each.name: each for each in module.body if isinstance(each, ast.FunctionDef)}
    tests = {name: each for name, each in functions.items() if name.startswith("test_")}
    rows = differences()
    assert sorted(row["shown by"].strip("`") for row in rows) == sorted(tests)
    for name, test in tests.items():
        assert any(isinstance(node, ast.Attribute) and node.attr == "engine" for node in ast.walk(test)), name
    for row in rows:
        assert row["`fanotify`"] != row["`kernel`"]
