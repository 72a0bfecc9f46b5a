"""Handlers drawn at random, compiled for this machine: the compiler, without the kernel."""

import pytest

from .drawing.many import N_MANY, PARTS, compare_kept, compare_many, seeds_of
from .drawing.natively import start


def test_drawn_handlers_say_what_python_says() -> None:
    compare_many(seeds_of("native"), 200, start)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_many_drawn_handlers_say_what_python_says(part: int) -> None:
    compare_many(seeds_of("native", part), N_MANY // PARTS, start)


def test_what_failed_once() -> None:
    compare_kept(start)
