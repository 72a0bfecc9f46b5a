"""The Python in the documentation runs, and tells of what happens where it watches."""

import contextlib
import itertools
import os
import re
from pathlib import Path

import pytest

from mounting import Filesystem

from .pages import Block, blocks
from .program import Program

#: places that the documentation speaks of; each stands for a directory on a filesystem of our own
PLACE = re.compile(r"/srv(?:/\w+)?")
#: a block in C is a file of this name beside the programs of its page
FILE_NAME = re.compile(r"^/\* (\S+\.bpf\.c) \*/$", re.MULTILINE)
BLOCKS = blocks("python")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and os.environ.get("FP_REQUIRE_ROOT") != "1", reason="the documentation's programs need root"
)


def test_there_are_blocks_to_run() -> None:
    assert len([block for block in BLOCKS if block.skip is None]) >= 5


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
def test_block_runs(block: Block, filesystem: Filesystem, tmp_path: Path) -> None:
    if block.skip is not None:
        pytest.skip(block.skip)
    root = filesystem.dir
    (root / "cache" / "keep").mkdir(parents=True)
    numbers = itertools.count()

    def act() -> None:
        path = root / f"note{next(numbers)}.txt"
        with contextlib.suppress(PermissionError):  # some of the programs forbid it
            path.write_text("text")
        path.unlink(missing_ok=True)
        (root / "directory").mkdir()
        (root / "directory").rmdir()
        with contextlib.suppress(PermissionError):
            (root / "a.secret").write_text("text")

    for source in blocks("c"):
        if source.page == block.page:
            (tmp_path / FILE_NAME.findall(source.code)[0]).write_text(source.code)
    code = "\n" * (block.line - 1) + PLACE.sub(str(root), block.code)
    with Program(code, tmp_path) as program:
        output = program.poke(act)
        program.end()
        assert output
