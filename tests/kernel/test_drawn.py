"""Handlers drawn at random, in the kernel: they say and remember what they do in CPython."""

import pytest

from compiler.drawing.many import PARTS, compare_kept, compare_many
from sizes import repeated

from .running import start


@pytest.mark.timeout(600)
def test_drawn_handlers_say_what_python_says() -> None:
    compare_many("kernel", repeated(300, 20), start)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_many_drawn_handlers_say_what_python_says(part: int) -> None:
    compare_many(f"many kernel {part}", repeated(5000 // PARTS, 20), start)


def test_what_failed_once() -> None:
    compare_kept(start)
