"""Roots and exceptions of a set: what is found by identity is what is there by number."""

from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath._daemon.points import Points

from .test_holdings import root

NUMBERS = st.integers(0, 7)
OBJECTS = st.integers(0, 3)
ADDED = st.tuples(NUMBERS, OBJECTS, st.booleans())


@given(st.lists(st.one_of(ADDED, NUMBERS, st.sets(OBJECTS))))
def test_numbers_and_identities_say_the_same(steps: list[tuple[int, int, bool] | int | set[int]]) -> None:
    points = Points()
    expected: dict[int, tuple[int, bool]] = {}
    for step in steps:
        match step:
            case (int(number), int(n), bool(included)) if number not in expected:
                points.add(number, root(n), included=included)
                expected[number] = n, included
            case int(number):
                popped = points.pop(number)
                assert popped == (root(expected.pop(number)[0]) if number in expected else None)
            case set(gone):
                forgotten = points.pop_all({root(n).key for n in gone})
                assert forgotten == {number: root(n) for number, (n, _) in expected.items() if n in gone}
                expected = {number: point for number, point in expected.items() if point[0] not in gone}
        assert len(points) == len(expected)
        assert all(points[number] == root(n) for number, (n, _) in expected.items())
        for n in range(4):
            found = {number: included for number, (of, included) in expected.items() if of == n}
            assert points.at(root(n).key) == found
            assert all(number in points for number in found)
