"""Shrinking: of a program that fails, what is needed to fail is left."""

from collections.abc import Callable

import pytest

from .fold import Picture, scan
from .model import Case
from .shrink import Failure, Steps, laboratory, minimal, shrink

CASE = Case("tmpfs", "scope", seed=1, n_operations=60, n_processes=2)


@pytest.mark.parametrize("needed", [{0}, {99}, {3, 4}, {0, 50, 99}, set(range(20)), set(range(0, 100, 7))])
def test_exactly_what_is_needed_is_left(needed: set[int]) -> None:
    assert minimal(range(100), lambda items: needed <= set(items)) == sorted(needed)


def test_nothing_can_be_left_out_of_what_is_left() -> None:
    def fails(items: list[int]) -> bool:
        return len(items) % 2 == 1 and sum(items) > 100

    left = minimal(range(50), fails)
    assert fails(left)
    assert not [item for item in left if fails([other for other in left if other != item])]


def failing_sometimes(n_runs: int, needed: int, kinds: list[str]) -> Callable[[Steps], Failure | None]:
    """Every *n_runs*-th run fails if enough of what creates is in it, in one way after the other."""
    count = 0

    def run(steps: Steps) -> Failure | None:
        nonlocal count
        count += 1
        is_failing = count % n_runs == 0 and sum(name == "mkdir" for _, (name, _) in steps) >= needed
        return Failure(kinds[count // n_runs % len(kinds)], []) if is_failing else None

    return run


def test_a_program_that_fails_now_and_then_is_shrunk_by_trying_often_enough() -> None:
    found = shrink(CASE, 6, failing_sometimes(3, 4, ["difference", "KeyError"]))
    assert found is not None
    steps, failure = found
    assert [name for _, (name, _) in steps] == ["mkdir"] * 4
    assert failure.kind in ("difference", "KeyError")
    assert shrink(CASE, 2, failing_sometimes(3, 4, ["difference"])) is None


def test_of_hundreds_of_operations_the_few_that_matter_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def nested_directories(picture: Picture) -> list[str]:
        depth = picture.top.count(b"/") + 1
        return [repr(path) for path, entry in scan(picture.top).items() if entry.is_dir and path.count(b"/") > depth]

    monkeypatch.setattr(Picture, "differences", nested_directories)
    case = Case("tmpfs", "scope", seed=1, n_operations=300, n_processes=1)
    with laboratory(case) as place:
        found = shrink(case, 1, place.run)
    assert found is not None
    steps, failure = found
    assert failure.kind == "difference"
    assert len(steps) <= 3, steps
    assert "mkdir" in steps[-1][1][0]
