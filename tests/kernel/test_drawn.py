"""Handlers drawn at random, in the kernel: they say and remember what they do in CPython."""

import pytest

from compiler.drawing.before import compare_before
from compiler.drawing.many import N_MANY, PARTS, compare_kept, compare_many, seeds_of
from sizes import repeated

from .running import run, start


@pytest.mark.timeout(600)
def test_drawn_handlers_say_what_python_says() -> None:
    compare_many(seeds_of("kernel"), repeated(300, 20), start)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_many_drawn_handlers_say_what_python_says(part: int) -> None:
    if not compare_before(part, run):
        compare_many(seeds_of("kernel", part), repeated(N_MANY // PARTS, 20), start)


def test_what_failed_once() -> None:
    compare_kept(start)
