"""Handlers drawn at random, compiled for this machine: the compiler, without the kernel."""

import pytest

from .drawing.many import compare_kept, compare_many
from .drawing.natively import start


def test_drawn_handlers_say_what_python_says() -> None:
    compare_many("native", 200, start)


@pytest.mark.long
def test_many_drawn_handlers_say_what_python_says() -> None:
    compare_many("many native", 5000, start)


def test_what_failed_once() -> None:
    compare_kept(start)
