"""Row e: from an operation to Python code that knows of it."""

import os

from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_ns, percentile

_NAMES = [
    "fanfp", "fanfp-async", "fanfp --json", "plain fanotify", "watchdog", "watchfiles", "asyncinotify",
    "inotifywait -r", "fsnotifywait -S", "fatrace",
]  # fmt: skip
_OURS = ("fanfp", "fanfp-async", "fanfp --json")
_N_WARM_UP = 20
_N_SAMPLES = 500
_INTERVAL_US = 2000
_LIMIT = 1.10


def latency(run: Run) -> list[Table]:
    """Make files whose names are the time, in slices that take turns."""
    slices: dict[str, list[list[int]]] = {}
    wider = Run(run.place, run.conditions, max(run.n_rounds, 5) * 2)
    for number, condition in wider.interleaved(_NAMES):
        directory = f"{run.place.inside}/e{number}-{condition.name.replace(' ', '')}"
        os.mkdir(directory)
        with condition.start(run.place, run.place.inside, "latency") as running:
            assert running is not None
            run.place.workload("touch", directory, _N_SAMPLES + _N_WARM_UP, _INTERVAL_US)
            running.settle(0.2)
            slices.setdefault(condition.name, []).append(running.take().latencies_ns[_N_WARM_UP:])
    return [_table(wider.present(_NAMES), slices)]


def _table(names: list[str], slices: dict[str, list[list[int]]]) -> Table:
    table = Table(
        "e. Latency from the operation to Python code, medians over the slices",
        ["", "median", "(lowest-highest)", "99th percentile", "(lowest-highest)", "samples"],
    )
    found = {name: {p: _spread(slices[name], p) for p in (50, 99)} for name in names}
    for name in names:
        cells = [cell for p in (50, 99) for cell in _cells(found[name][p])]
        table.lines.append([name, *cells, f"{sum(map(len, slices[name])):,}"])
    for p, called in ((50, "median"), (99, "99th percentile")):
        best = min((spread.median, name) for name in names if name not in _OURS and (spread := found[name][p]))
        ours = found["fanfp"][p]
        if ours is not None:
            share = ours.median / best[0]
            table.targets.append(
                Target(f"fanfp, {called}: at most {_LIMIT} times the best ({best[1]})", f"{share:.2f}", share <= _LIMIT)
            )
    table.notes = [
        f"each sample: a file made, one every {_INTERVAL_US / 1000:g} ms; its name is the time just before the call",
        "commands and plain fanotify: Python code reads their output line by line; the others call Python code",
    ]
    table.figures = {name: {"slices_ns": slices[name]} for name in names}
    return table


def _spread(slices: list[list[int]], percent: float) -> Spread | None:
    figures = [percentile(one, percent) for one in slices if one]
    return Spread.of(figures) if figures else None


def _cells(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["none", ""]
    return [format_ns(spread.median), f"{format_ns(spread.low)} - {format_ns(spread.high)}"]
