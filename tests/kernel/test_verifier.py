"""The verifier accepts every program that is meant for this kernel, after as many instructions as is documented."""

import fnmatch
import os

import pytest
import verifier_counts

from docs.tables import verifier_counts as documented

#: other compilers make slightly other programs
TOLERANCE = 0.2

#: the column of the table that speaks of this kernel
COLUMN = f"Linux {'.'.join(os.uname().release.split('.')[:2])}"

pytestmark = pytest.mark.kernel_engine


def test_the_verifier_accepts_every_program_with_about_the_documented_number_of_instructions() -> None:
    table = documented()
    if COLUMN not in table[0]:
        pytest.skip(f"the documentation has no numbers for {COLUMN}")
    for path in verifier_counts.object_files():
        name = path.name.partition(".")[0]
        for program, verified in verifier_counts.verify(path).items():
            (row, *_) = (row for row in table if row["object file"] == f"`{name}`" and is_about(row, program))
            documented_count = row[COLUMN]
            print(name, program, verified.count, documented_count)
            if documented_count == "–":  # noqa: RUF001
                assert verified.errno != 0, f"{name} {program} is documented as refused"
                continue
            assert verified.errno == 0, f"{name} {program} is refused: {verified.log[-2000:]}"
            expected = int(documented_count.replace(",", ""))
            assert verified.count == pytest.approx(expected, rel=TOLERANCE), f"{name} {program}"


def is_about(row: dict[str, str], program: str) -> bool:
    """Whether a row speaks of a program; a star stands for all that have no row of their own above."""
    return fnmatch.fnmatchcase(program, row["program"].strip("`"))
