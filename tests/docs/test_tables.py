"""Tables of the documentation speak of what there is; whether they are right is tested where that can be run."""

import ast

import verifier_counts

from .pages import ROOT
from .tables import differences, through_the_daemon
from .tables import verifier_counts as documented


def test_every_object_file_has_rows_in_the_table_of_the_verifiers_counts() -> None:
    files = {path.name.partition(".")[0] for path in verifier_counts.object_files()}
    assert {row["object file"].strip("`") for row in documented()} == files


def scenario_tests(scenario: str) -> dict[str, ast.FunctionDef]:
    """The tests in a module of the scenarios, by name."""
    module = ast.parse((ROOT / "tests" / "scenarios" / scenario).read_text())
    functions = (each for each in module.body if isinstance(each, ast.FunctionDef))
    return {each.name: each for each in functions if each.name.startswith("test_")}


def test_every_row_about_the_daemon_is_shown_by_a_test_of_its_own() -> None:
    rows = through_the_daemon()
    assert sorted(row["shown by"].strip("`") for row in rows) == sorted(scenario_tests("test_through_daemon.py"))


def test_every_difference_between_engines_is_shown_by_a_test_of_its_own_on_both() -> None:
    tests = scenario_tests("test_differences.py")
    rows = differences()
    assert sorted(row["shown by"].strip("`") for row in rows) == sorted(tests)
    for name, test in tests.items():
        attributes = {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
        assert attributes & {"engine", "has_inodes", "has_records"}, name
    for row in rows:
        assert row["`fanotify`"] != row["`kernel`"]
