"""The benchmark's statistics and parsers. The benchmark itself needs root and minutes: ``make bench``."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from bench.outputs import (
    Seen,
    count_fatrace,
    count_notify,
    made_at,
    made_at_in_line,
    parse_cpu_ticks,
    parse_plain,
)
from bench.place import Took, parse_workload
from bench.report import Table, Target
from bench.row_latency import latency_table
from bench.row_setup import parse_slab
from bench.stats import Spread, format_bytes, format_ns, format_ratio, percentile, ratios, rotate


def test_spread_is_median_and_extremes_in_any_order() -> None:
    assert Spread.of([5, 1, 4]) == Spread(4, 1, 5, 3)
    assert Spread.of([1, 2, 3, 10]).median == 2.5


def test_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no figures"):
        Spread.of([])


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0.5, 1)])
def test_percentile_is_nearest_rank(percent: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


def test_percentile_of_one_figure_is_that_figure() -> None:
    assert percentile([7], 1) == percentile([7], 99) == 7


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], 0), ([1], 101)])
def test_percentile_that_does_not_exist_is_refused(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, percent)


def test_ratios_are_taken_within_a_round_and_skip_incomplete_ones() -> None:
    rounds = [{"a": 2.0, "b": 1.0}, {"a": 9.0, "b": 3.0}, {"a": 1.0}, {"b": 1.0}]
    assert ratios(rounds, "a", "b") == [2.0, 3.0]


def test_rotate_lets_each_condition_come_first_once() -> None:
    names = ["a", "b", "c"]
    assert [rotate(names, n)[0] for n in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotate(names, 2)) == names
    assert rotate([], 3) == []


@pytest.mark.parametrize(
    ("ns", "text"),
    [(312, "312 ns"), (999.6, "1.00 µs"), (54_400, "54.4 µs"), (1_560_000, "1.56 ms"), (2.2e9, "2.20 s")],
)
def test_durations_have_three_digits(ns: float, text: str) -> None:
    assert format_ns(ns) == text


def test_memory_may_have_shrunk() -> None:
    assert format_bytes(-352_000) == "-352 kB"
    assert format_bytes(164_800_000) == "164.8 MB"


def test_ratio_shows_its_spread() -> None:
    assert format_ratio(Spread(1.234, 1, 2, 5)) == "1.23 (1.00-2.00)"


def test_notify_lines_are_counted_by_type_and_not_by_name() -> None:
    lines = [
        "/mnt/in/ CREATE f1\n",
        "/mnt/in/ CREATE,ISDIR d1\n",
        "/mnt/in/ CLOSE_WRITE,CLOSE CREATE\n",
        "/mnt/in/ DELETE f1\n",
        "/mnt/in/d1/ DELETE_SELF \n",
        "[fid=62de370c.f024b492.2;name='.'] /mnt/in/CREATE\n",
        " Q_OVERFLOW \n",
    ]
    seen = Seen()
    count_notify(iter(lines), seen)
    assert (seen.n_created, seen.n_deleted, seen.n_lost_signs) == (2, 1, 1)


def test_fatrace_lines_are_counted_by_type_and_not_by_name() -> None:
    lines = ["mkdir(7): +   /mnt/in\n", "bash(8): CWO /mnt/in/D+\n", "rm(9): D   /mnt/+\n", "mv(9): <>  /mnt/in\n"]
    seen = Seen()
    count_fatrace(iter(lines), seen)
    assert (seen.n_events, seen.n_created, seen.n_deleted) == (4, 1, 1)


def test_plain_listener_says_its_counts_last() -> None:
    seen = parse_plain("counts 100 99 1 450\n")
    assert (seen.n_created, seen.n_deleted, seen.n_lost_signs, seen.n_events) == (100, 99, 1, 450)


@pytest.mark.parametrize(
    "line",
    [
        "4168069719469\n",
        "/mnt/in/e0/ CREATE 4168069719469\n",
        "touch(12): CWO /mnt/in/e0/4168069719469\n",
        "[fid=62de370c.f024b492.85a5e82c0000000c;name='4168069719469'] /mnt/in/e0/4168069719469\n",
        '{"time_ns":4168069999999,"mask":["create"],"path":"/mnt/in/e0/4168069719469","old_path":null}\n',
    ],
)
def test_time_of_a_file_is_found_in_what_each_command_prints(line: str) -> None:
    assert made_at_in_line(line) == 4168069719469


def test_names_that_are_no_time_are_left_alone() -> None:
    assert made_at(b"4168069719469") == 4168069719469
    assert made_at(b"e0-fanfp") is made_at_in_line("/mnt/in/ CREATE,ISDIR e0-fanfp\n") is None


def test_cpu_time_is_read_behind_a_name_that_holds_anything() -> None:
    stat = "42 (a) b) 9 (c) S 1 42 42 0 -1 4194304 110 0 0 0 17 25 0 0 20 0 2 0 4 5 6"
    assert parse_cpu_ticks(stat) == 42


def test_slab_is_read_in_bytes() -> None:
    assert parse_slab("MemTotal: 9 kB\nSlab:              32036 kB\nSReclaimable: 1 kB\n") == 32036 * 1024
    with pytest.raises(ValueError, match="no line Slab"):
        parse_slab("MemTotal: 9 kB\n")


def test_workload_says_time_for_each_operation() -> None:
    assert parse_workload("1000 800 20\n") == Took(50, 40)
    assert parse_workload("1000 800 0\n") == Took(1000, 800)
    with pytest.raises(ValueError, match="unpack"):
        parse_workload("")


def test_table_aligns_and_says_what_holds() -> None:
    table = Table("t", ["", "x"], [["long name", "1"], ["n", "22"]])
    table.targets = [Target("at most 1", "2", False), Target("at most 3", "2", True)]
    lines = str(table).splitlines()
    assert lines[2:6] == ["            x", "---------  --", "long name   1", "n          22"]
    assert lines[6].endswith("at most 1: 2: does not hold")
    assert lines[7].endswith("at most 3: 2: holds")
    assert table.as_json()["targets"][1]["holds"] is True


def test_latency_is_compared_within_each_round_to_the_peer_for_which_it_is_worst() -> None:
    times = [1, 2, 5, 1, 1]  # the machine is slower at times
    slices: dict[str, list[list[int]]] = {
        "fanfp": [[100 * slow] * 10 for slow in times],
        "plain fanotify": [[80 * slow] * 10 for slow in times],
        "watchdog": [[300 * slow] * 9 + [90 * slow] for slow in times],
        "watchfiles": [[] for _ in times],
    }
    median, last = latency_table(list(slices), slices).targets
    assert (str(median), str(last)) == (
        "target: fanfp, median: at most 1.1 times the best (plain fanotify), median of the rounds' ratios: "
        "1.25 (1.25-1.25): does not hold",
        "target: fanfp, 99th percentile: at most 1.1 times the best (plain fanotify), median of the rounds' ratios: "
        "1.25 (1.25-1.25): does not hold",
    )
