"""The verifier accepts every program that is meant for this kernel, after as many instructions as is documented."""

import os

import pytest
import verifier_counts

from docs.tables import verifier_counts as documented

#: other compilers make slightly other programs
TOLERANCE = 0.2

#: the column of the table that speaks of this kernel
COLUMN = f"Linux {'.'.join(os.uname().release.split('.')[:2])}"

pytestmark = pytest.mark.usefixtures("kernel_engine")


def test_the_verifier_accepts_every_program_with_about_the_documented_number_of_instructions() -> None:
    table = documented()
    if COLUMN not in table[0]:
        pytest.skip(f"the documentation has no numbers for {COLUMN}")
    for path in verifier_counts.object_files():
        name = path.name.partition(".")[0]
        cells = {row["program"].strip("`"): row[COLUMN] for row in table if row["object file"] == f"`{name}`"}
        verified = verifier_counts.verify(path)
        print(name, verified.counts)
        if set(cells.values()) == {"–"}:  # noqa: RUF001
            assert verified.errno != 0, f"{name} is documented as refused"
            continue
        assert verified.errno == 0, f"{name} is refused: {verified.log[-2000:]}"
        expected = {program: int(cell.replace(",", "")) for program, cell in cells.items()}
        assert verified.counts == pytest.approx(expected, rel=TOLERANCE), name
