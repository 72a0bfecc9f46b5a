"""The tables of what is read through the daemon. The benchmark itself needs a virtual machine."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from bench.counted import holder, served
from bench.counted.conditions import Wrong
from bench.counted.groups import as_user
from bench.counted.served import (
    BATCHES,
    BOTH,
    CONDITIONS,
    FILES,
    IN_PROCESS,
    OBJECTS,
    READ,
    READ_DEEP,
    SERVED,
    TASKS,
    WAITING,
    DaemonTook,
    Round,
    Served,
)
from bench.counted.served_table import reading_tables, working_table
from bench.report import Target


class ToldHolder:
    """Answers as a holder would that was told so much."""

    def __init__(self, n_events: int, n_lost: int) -> None:
        self._answer = {"cpu_ns": 3300.0, "n_events": n_events, "n_lost": n_lost}

    def finish(self) -> dict[str, float]:
        return self._answer


def found_where(*, through: float = 105, busy_ns: float = 40_000) -> Served:
    """Three rounds in which an event takes 100 of a reader in its own process, or a little more."""
    rounds = [
        Round(
            {
                (task.name, way): {IN_PROCESS: 100 * stretch, SERVED: through * stretch}
                for task in TASKS
                for way in (OBJECTS, BATCHES, WAITING)
            },
            {task.name: dict(zip(CONDITIONS, (1000.0, 2000.0, 3000.0), strict=True)) for task in TASKS},
            DaemonTook(10_000, busy_ns, 30_000),
        )
        for stretch in (1.0, 1.1, 1.02)
    ]
    return Served(rounds)


def targets_of(found: Served) -> list[Target]:
    return [target for table in reading_tables(found) for target in table.targets]


def test_all_targets_hold_where_reader_and_daemon_take_little() -> None:
    assert [target.holds for target in targets_of(found_where())] == [True, True, True]


def test_the_worst_way_of_reading_decides() -> None:
    found = found_where()
    for one in found.rounds:
        one.reading[READ.name, BATCHES][SERVED] *= 1.1
    _, ratio, _ = targets_of(found)
    assert (ratio.figure, ratio.holds) == ("at worst 1.16", False)


def test_what_the_daemon_takes_without_events_is_not_for_events() -> None:
    *_, daemon = targets_of(found_where(busy_ns=130_000))
    assert (daemon.figure, daemon.holds) == ("10.0", True)
    *_, daemon = targets_of(found_where(busy_ns=140_000))
    assert (daemon.figure, daemon.holds) == ("11.0", False)


def test_a_reader_that_was_not_told_everything_holds_no_target() -> None:
    found = found_where()
    found.wrong[BOTH] = "3 events came instead of 4"
    assert [target.holds for target in targets_of(found)] == [False, False, False]
    readers, daemon = reading_tables(found)
    assert {cell for line in readers.lines for cell in line[1:]} == {"none"}
    assert "both readers: wrong: 3 events came instead of 4" in daemon.notes


def test_a_condition_of_the_workload_that_is_lost_has_no_figure() -> None:
    found = found_where()
    found.wrong[SERVED] = "3 events came instead of 4"
    for one in found.rounds[1:]:
        del one.working[FILES.name][SERVED]
    table = working_table(found)
    assert {tuple(line[3:]) for line in table.lines} == {("none", "none")}
    assert "through daemon: wrong: 3 events came instead of 4" in table.notes


def test_without_a_daemon_there_is_no_verdict() -> None:
    found = found_where()
    found.unavailable[BOTH] = "it is too early"
    for one in found.rounds:
        one.daemon = None
    assert [target.holds for target in targets_of(found)] == [None, None, None]


def test_tables_have_a_row_for_each_workload_and_way() -> None:
    readers, daemon = reading_tables(found_where())
    workload = working_table(found_where())
    assert [line[0] for line in workload.lines] == [task.name for task in TASKS]
    figures = ["1,000 (1,000-1,000)", "2,000 (2,000-2,000)", "3,000 (3,000-3,000)", "1.50 (1.50-1.50)"]
    assert workload.lines[0][1:] == figures
    assert len(readers.lines) == 3 * len(TASKS)
    assert readers.lines[0][1:] == ["102 (100-110)", "107 (105-116)", "1.05 (1.05-1.05)"]
    assert [line[2] for line in daemon.lines] == ["4.0 (4.0-4.0)", "3.0 (3.0-3.0)", "1.0 (1.0-1.0)"]
    assert readers.as_json()["figures"]["rounds"][0][f"{READ.name}, {OBJECTS}"][IN_PROCESS] == 100


def test_each_operation_makes_one_event_of_each_type_where_it_works() -> None:
    assert READ.expected("/top") == Counter({f"{name} /top/d": 1100 for name in ("open", "access", "close_nowrite")})
    assert READ_DEEP.expected("/top")["open /top" + "/d" * 28] == 1100
    assert FILES.n_events == FILES.expected("/top").total() == 5 * FILES.n_operations


def test_a_figure_is_for_one_event() -> None:
    assert served._for_each(READ, SERVED, ToldHolder(3300, 0)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_events", "n_lost"), [(3299, 0), (3301, 0), (3300, 1)], ids=["less", "more", "lost"])
def test_a_figure_of_other_events_is_none(n_events: int, n_lost: int) -> None:
    with pytest.raises(Wrong, match=f"through daemon: {n_events:,} events came instead of 3,300"):
        served._for_each(READ, SERVED, ToldHolder(n_events, n_lost))  # type: ignore[arg-type]


def test_the_passes_for_warming_up_are_in_no_figure() -> None:
    assert served._middle([90, 10, 12, 11]) == 11


def test_cpu_time_of_a_process_is_the_one_that_it_knows_itself() -> None:
    before_ns = time.process_time_ns()
    cpu_ns = served._cpu_ns(os.getpid())
    assert before_ns <= cpu_ns <= time.process_time_ns()


class ToldGroup:
    """Three events wait, and two more come when they have been read; one more was lost."""

    def __init__(self) -> None:
        self.counters = SimpleNamespace(n_delivered=7, n_lost=0, n_overflows=0)
        self._more = [["d", "e"]]

    def batches(self) -> Iterator[list[str]]:
        for batch in (["a", "b"], ["c"]):
            self.counters.n_delivered += len(batch)
            yield batch
        pytest.fail("more is read than was asked for")

    def read(self, timeout_s: float) -> list[str]:
        batch = self._more.pop() if self._more else []
        self.counters.n_delivered += len(batch)
        self.counters.n_lost = 1
        return batch


def test_a_reader_tells_what_came_beyond_what_it_was_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("signal", "setitimer"):  # the test has an alarm of its own
        monkeypatch.setattr(signal, name, lambda *to: None)
    group: Any = ToldGroup()
    found = holder._read(group, "batches", 3, holder._counted(group))
    assert (found["n_events"], found["n_lost"]) == (5, 1)
    assert found["cpu_ns"] > 0


def test_who_is_an_ordinary_user_has_no_group_of_another() -> None:
    assert as_user(None) == {}
    assert as_user(7) == {"user": 7, "group": 7, "extra_groups": []}
