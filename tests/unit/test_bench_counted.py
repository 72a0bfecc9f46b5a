"""The counted benchmark's arithmetic and table. The benchmark itself needs a virtual machine: ``make bench-kernel``."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from bench.counted.conditions import NOBODY, SENTINEL, Work, Wrong
from bench.counted.groups import (
    DELIVERED,
    NOT_ASKED_FOR,
    OUTSIDE,
    OUTSIDE_MANY,
    Seen,
    expected_events,
    group_conditions,
)
from bench.counted.handlers import NOTHING, handler_conditions, handlers_table, module_text
from bench.counted.slices import DEPTHS, Found, is_steady, middle
from bench.counted.table import LIMITS, Limit, counted_table, relative, target
from bench.place import Took
from bench.stats import Spread

from fanotify_fastpath import modules
from fanotify_fastpath.compiling import code_of
from fanotify_fastpath.registry import Registry

CONDITIONS = [NOBODY, SENTINEL, *group_conditions("kernel")]


def found_where(**figures: float) -> Found:
    """Three rounds in which nobody takes 100 or a little more; what has no figure takes 110, half of it its own."""
    rounds = [
        {condition.name: Took(figures.get(condition.name, 110) * stretch, 55 * stretch) for condition in CONDITIONS}
        | {NOBODY.name: Took(100 * stretch, 100 * stretch)}
        for stretch in (1.0, 1.1, 1.02)
    ]
    return Found(dict.fromkeys(DEPTHS, rounds))


def test_passes_are_steady_when_they_differ_by_less_than_half_a_per_cent() -> None:
    assert is_steady(Took(1000, 0), Took(1004, 0))
    assert is_steady(Took(1000, 0), Took(996, 0))
    assert not is_steady(Took(1000, 0), Took(1006, 0))
    assert not is_steady(Took(1000, 0), Took(500, 0))


def test_one_disturbed_pass_does_not_show() -> None:
    assert middle([Took(10, 9), Took(99, 9), Took(10, 8)]) == Took(10, 9)


def test_ratios_are_taken_within_a_round() -> None:
    found = Found({3: [{"nobody": Took(100, 50), "x": Took(150, 50)}, {"nobody": Took(200, 50), "x": Took(300, 100)}]})
    assert relative(found, "x", 3) == Spread(1.5, 1.5, 1.5, 2)
    assert relative(found, "x", 3, what="cpu_ns") == Spread(1.5, 1, 2, 2)


@pytest.mark.parametrize(("ns", "holds"), [(119, True), (121, False)])
def test_limit_is_a_ratio_to_nobody(ns: float, holds: bool) -> None:
    found = found_where(**{OUTSIDE: ns})
    assert target(Limit("a", OUTSIDE, (3,), 1.20), found).holds is holds


def test_limit_can_be_a_ratio_to_another_row_and_holds_at_each_depth() -> None:
    found = found_where(**{OUTSIDE: 120, OUTSIDE_MANY: 121})
    limit = Limit("c", OUTSIDE_MANY, DEPTHS, 1.03, OUTSIDE)
    assert str(target(limit, found)) == (
        "target: c, depth 3 and depth 30: at most 1.03 times group: event outside: 1.01 and 1.01: holds"
    )
    found.rounds[30] = found_where(**{OUTSIDE: 120, OUTSIDE_MANY: 130}).rounds[30]
    assert str(target(limit, found)).endswith("1.01 and 1.08: does not hold")


def test_what_is_not_available_has_a_row_a_reason_and_no_verdict() -> None:
    found = found_where()
    for name in (OUTSIDE, OUTSIDE_MANY):
        found.unavailable[name] = "it is too early"
    table = counted_table(CONDITIONS, found)
    rows = {line[0]: line[1:] for line in table.lines}
    assert rows[OUTSIDE] == ["not available", "", "", ""]
    assert rows[SENTINEL.name][0] == "1.10 (1.10-1.10)"
    assert f"{OUTSIDE}; {OUTSIDE_MANY}: not available: it is too early" in table.notes
    by_row = dict(zip((limit.name for limit in LIMITS[1:]), table.targets[1:], strict=True))
    assert by_row[OUTSIDE_MANY].holds is None
    assert str(by_row[OUTSIDE_MANY]).endswith(": not available")
    assert by_row[DELIVERED].holds is True


def test_what_compares_to_an_unavailable_row_has_no_verdict() -> None:
    found = found_where()
    found.unavailable[OUTSIDE] = "it is too early"
    assert target(Limit("c", OUTSIDE_MANY, DEPTHS, 1.03, OUTSIDE), found).holds is None


def test_a_row_that_did_something_else_holds_no_target() -> None:
    found = found_where()
    found.wrong[DELIVERED] = "at least 7 of 3,300 events were lost"
    table = counted_table(CONDITIONS, found)
    assert [line[1] for line in table.lines if line[0] == DELIVERED] == ["wrong"]
    assert f"{DELIVERED}: wrong: at least 7 of 3,300 events were lost" in table.notes
    assert [one.holds for one in table.targets if one.text.startswith("d.")] == [False]


def test_every_limit_is_of_a_row() -> None:
    names = {condition.name for condition in CONDITIONS}
    assert {limit.name for limit in LIMITS} | {limit.base for limit in LIMITS} <= names
    assert {OUTSIDE, OUTSIDE_MANY, DELIVERED, NOT_ASKED_FOR} == {limit.name for limit in LIMITS}


def test_figures_can_be_written_as_json() -> None:
    figures = counted_table(CONDITIONS, found_where()).as_json()["figures"]
    assert figures["instructions"][3][0][NOBODY.name] == 100
    assert figures["own_instructions"][30][0][OUTSIDE] == 55


def test_each_operation_makes_one_event_of_each_type() -> None:
    events = expected_events(Work("/mnt/d", 1100))
    assert events == Counter({"open /mnt/d": 1100, "access /mnt/d": 1100, "close_nowrite /mnt/d": 1100})
    Seen(events, 0).check(events)


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (Seen(Counter({"open /d": 2}), 0), "1 x close /d did not come"),
        (Seen(Counter({"open /d": 2, "close nowhere": 1}), 0), "1 x close nowhere came unasked; 1 x close /d did not"),
        (Seen(Counter({"open /d": 1}), 2), "at least 2 of 3 events were lost"),
    ],
    ids=["missing", "without its path", "lost"],
)
def test_events_that_are_not_those_that_were_made_are_told(seen: Seen, message: str) -> None:
    with pytest.raises(Wrong, match=message):
        seen.check(Counter({"open /d": 2, "close /d": 1}))


def test_an_event_where_none_may_come_is_told() -> None:
    with pytest.raises(Wrong, match="1 x open /d came unasked"):
        Seen(Counter({"open /d": 1}), 0).check(Counter())


def test_handlers_that_are_measured_can_be_compiled(tmp_path: Path) -> None:
    path = tmp_path / "measured.py"
    path.write_text(module_text())
    handlers = modules.load(str(path), Registry())
    assert len(handlers) == len(handler_conditions("kernel"))
    needs = {code_of(handler).needs for handler in handlers}
    assert len(needs) > 8  # they read different things


def test_what_a_handler_takes_is_told_for_an_event_beyond_one_that_does_nothing() -> None:
    conditions = [NOBODY, *handler_conditions("kernel")]
    rounds = [
        {each.name: Took(1300 * n, 0) for each in conditions} | {NOBODY.name: Took(1000, 0), NOTHING: Took(1000 * n, 0)}
        for n in (1, 2, 3)
    ]
    table = handlers_table(conditions, Found(dict.fromkeys(DEPTHS, rounds), wrong={"`Counter.add`": "it was told"}))
    rows = {line[0]: line[1:] for line in table.lines}
    assert rows["reads `exe`"] == ["200 (100-300)"] * 2
    assert rows["`Counter.add`"] == ["none"] * 2
    assert len(rows) == len(conditions) - 2
    assert "`Counter.add`: it was told" in table.notes
    assert table.notes[0].startswith("one that does nothing: 333 (0-667) at depth 3")
