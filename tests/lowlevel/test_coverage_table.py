"""docs/ltp-coverage.md names tests that exist."""

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "ltp-coverage.md"


def test_each_test_in_the_table_exists_and_each_number_has_a_row() -> None:
    text = TABLE.read_text()
    defined = {
        name
        for path in HERE.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named - defined == set()
    assert re.findall(r"^\| (\d\d) \|", text, re.MULTILINE) == [f"{number:02}" for number in range(1, 26)]
