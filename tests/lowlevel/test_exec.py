"""Opening for execution (LTP fanotify12, part of 10)."""

import shutil
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import InitFlag, MarkFlag, Mask

from .support import ADD, KINDS, drain, execute, listen, touch, union

BOTH = Mask.OPEN | Mask.OPEN_EXEC


@pytest.fixture
def program(ext4: Path) -> Path:
    return Path(shutil.copy("/bin/true", ext4 / "program"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [Mask.OPEN, Mask.OPEN_EXEC, BOTH])
def test_an_execution_is_an_open_and_an_open_exec_and_an_open_is_no_execution(
    program: Path, kind: MarkFlag, mask: Mask
) -> None:
    with listen() as group:
        group.mark(ADD | kind, mask, program)
        touch(program)
        assert union(group) == mask & Mask.OPEN
        assert execute(program) == 0
        assert union(group) == mask & BOTH


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ignored", [Mask.OPEN, Mask.OPEN_EXEC, BOTH])
def test_ignoring_one_of_the_two_leaves_the_other(program: Path, kind: MarkFlag, ignored: Mask) -> None:
    with listen() as group:
        group.mark(ADD | kind, BOTH, program)
        group.mark(ADD | MarkFlag.IGNORE_SURV, ignored, program)
        assert execute(program) == 0
        assert union(group) == BOTH & ~ignored


def test_an_interpreter_is_opened_for_execution_by_its_script(program: Path) -> None:
    script = program.parent / "script"
    script.write_text(f"#!{program}\n")
    script.chmod(0o755)
    with listen() as group:
        group.mark(ADD, Mask.OPEN_EXEC | Mask.EVENT_ON_CHILD, program.parent)
        assert execute(script) == 0
        assert [event.name for event in drain(group)] == ["script", "program"]


def test_a_file_that_is_read_as_a_program_by_another_is_not_executed(program: Path) -> None:
    with listen(InitFlag.REPORT_FID) as group:
        group.mark(ADD, BOTH, program)
        program.read_bytes()
        assert union(group) == Mask.OPEN
