"""The tables of events that are read through the daemon, and their targets. Nothing here runs anything."""

from collections.abc import Collection, Iterable

from bench.counted.served import BOTH, CONDITIONS, IN_PROCESS, SERVED, TASKS, Round, Served
from bench.report import Table, Target
from bench.stats import Spread, format_ratio, ratios

MAX_RATIO = 1.10
#: a process that runs once takes more than that for each event of a round
MAX_DAEMON = 10
_NONE = "none"


def reading_tables(found: Served) -> list[Table]:
    """Write down what readers and daemon take."""
    tables = [_readers(found), _daemon(found)]
    _tell_lost(tables[-1], found, (BOTH,))
    return tables


def working_table(found: Served) -> Table:
    """Write down what the workload takes."""
    table = Table(
        "Instructions of the workload's own process, for each operation: median (lowest-highest)",
        ["", *CONDITIONS, "ratio"],
        notes=["the readers run between passes only", f"ratio: {SERVED} to {IN_PROCESS}, of the rounds; no target"],
    )
    lost = [name for name in CONDITIONS if found.is_lost(name)]
    for task in TASKS:
        rounds = [one.working.get(task.name, {}) for one in found.rounds]
        table.lines.append([task.name, *_cells(rounds, CONDITIONS, lost)])
    table.figures = {"rounds": [one.working for one in found.rounds]}
    _tell_lost(table, found, CONDITIONS)
    return table


def _tell_lost(table: Table, found: Served, names: Iterable[str]) -> None:
    for word, reasons in (("not available", found.unavailable), ("wrong", found.wrong)):
        table.notes += [f"{name}: {word}: {reasons[name]}" for name in names if name in reasons]


def _readers(found: Served) -> Table:
    table = Table(
        "Instructions of who reads, for each event: median (lowest-highest)",
        ["", IN_PROCESS, SERVED, "ratio"],
        notes=[
            f"{IN_PROCESS}: root, engine kernel; {SERVED}: an ordinary user, the daemon has engine kernel",
            "both groups are there, and one reader runs",
            "objects: types and path are looked at; batches: the events of each batch are counted",
            "later: the reader begins when all has happened",
            f"ratio: of the rounds; {len(found.rounds)} rounds",
        ],
    )
    medians, readers = [], (IN_PROCESS, SERVED)
    for key in dict.fromkeys(key for one in found.rounds for key in one.reading):
        rounds = [one.reading.get(key, {}) for one in found.rounds]
        table.lines.append([", ".join(key), *_cells(rounds, readers, readers if found.is_lost(BOTH) else ())])
        if not found.is_lost(BOTH):
            medians.append(Spread.of(ratios(rounds, SERVED, IN_PROCESS)).median)
    table.targets = [_all_told(found), _ratio_target(found, medians)]
    table.figures = {"rounds": [_named(one) for one in found.rounds]}
    return table


def _daemon(found: Served) -> Table:
    table = Table("Instructions of the daemon: median (lowest-highest)", ["", "in all", "for each event"])
    rounds = [one.daemon for one in found.rounds if one.daemon is not None]
    text = f"the daemon takes at most {MAX_DAEMON} instructions for an event"
    if not rounds:
        table.targets = [Target(text, _NONE, None)]
        return table
    rows = {
        "while events come": [took.busy_ns for took in rounds],
        "for as long without events": [took.idle_ns for took in rounds],
        "difference": [took.busy_ns - took.idle_ns for took in rounds],
    }
    for name, values in rows.items():
        each = [value / took.n_events for value, took in zip(values, rounds, strict=True)]
        table.lines.append([name, _number(Spread.of(values)), _number(Spread.of(each), ".1f")])
    figure = Spread.of(each).median
    table.notes = [f"{rounds[0].n_events:,} events in each round"]
    table.targets = [Target(text, f"{figure:.1f}", figure <= MAX_DAEMON and BOTH not in found.wrong)]
    table.figures = {"rounds": [(took.n_events, took.busy_ns, took.idle_ns) for took in rounds]}
    return table


def _all_told(found: Served) -> Target:
    text = "both readers are told every event in every round, and nothing is lost"
    if BOTH in found.wrong:
        return Target(text, "wrong", holds=False)
    return Target(text, _NONE, None) if BOTH in found.unavailable else Target(text, "all", holds=True)


def _ratio_target(found: Served, medians: list[float]) -> Target:
    text = f"reading through the daemon takes at most {MAX_RATIO:.2f} times reading in the own process"
    if not medians:
        return Target(text, _NONE, False if BOTH in found.wrong else None)
    return Target(text, f"at worst {max(medians):.2f}", max(medians) <= MAX_RATIO)


def _cells(rounds: list[dict[str, float]], names: Iterable[str], lost: Collection[str]) -> list[str]:
    """The figure of each condition, and the ratio of the last to the one before."""
    cells = [_NONE if name in lost else _number(Spread.of(one[name] for one in rounds)) for name in names]
    is_lost = IN_PROCESS in lost or SERVED in lost
    return [*cells, _NONE if is_lost else format_ratio(Spread.of(ratios(rounds, SERVED, IN_PROCESS)))]


def _number(spread: Spread, form: str = ",.0f") -> str:
    return f"{spread.median:{form}} ({spread.low:{form}}-{spread.high:{form}})"


def _named(one: Round) -> dict[str, dict[str, float]]:
    return {", ".join(key): figures for key, figures in one.reading.items()}
