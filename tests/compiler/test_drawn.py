"""Handlers drawn at random, compiled for this machine: the compiler, without the kernel."""

import pytest

from .drawing.comparing import compare, kept_seeds
from .drawing.many import compare_many
from .drawing.natively import start


def test_drawn_handlers_say_what_python_says() -> None:
    compare_many("native", 200, start)


@pytest.mark.long
def test_many_drawn_handlers_say_what_python_says() -> None:
    compare_many("many native", 5000, start)


@pytest.mark.parametrize("seed", kept_seeds())
def test_what_failed_once(seed: str) -> None:
    compare(seed, start)
