"""Row e: from an operation to Python code that knows of it."""

import os

from bench.place import in_memory
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_ns, format_ratio, percentile, ratios

_NAMES = [
    "fanfp", "fanfp-async", "fanfp --json", "plain fanotify", "watchdog", "watchfiles", "asyncinotify",
    "inotifywait -r", "fsnotifywait -S", "fatrace",
]  # fmt: skip
_OURS = ("fanfp", "fanfp-async", "fanfp --json")
_N_WARM_UP = 20
_N_SAMPLES = 250
_INTERVAL_US = 2000
_LIMIT = 1.10
#: slices are short and many: the machine is slower at some times than at others, for longer than a slice
_MORE_ROUNDS = 3


def latency(run: Run) -> list[Table]:
    """Make files whose names are the time, in slices that take turns."""
    slices: dict[str, list[list[int]]] = {}
    wider = Run(run.place, run.conditions, max(run.n_rounds, 5) * _MORE_ROUNDS)
    with in_memory(run.place) as place:
        for number, condition in wider.interleaved(_NAMES):
            directory = f"{place.inside}/e{number}-{condition.name.replace(' ', '')}"
            os.mkdir(directory)
            with condition.start(place, place.inside, "latency") as running:
                assert running is not None
                place.workload("touch", directory, _N_SAMPLES + _N_WARM_UP, _INTERVAL_US)
                running.settle(0.2)
                slices.setdefault(condition.name, []).append(running.take().latencies_ns[_N_WARM_UP:])
    return [latency_table(wider.present(_NAMES), slices)]


def latency_table(names: list[str], slices: dict[str, list[list[int]]]) -> Table:
    """
    Write the figures down.

    :param slices: for each name the samples of each round, in ns
    """
    table = Table(
        "e. Latency from the operation to Python code, medians over the slices",
        ["", "median", "(lowest-highest)", "99th percentile", "(lowest-highest)", "samples"],
    )
    found = {name: {p: _spread(slices[name], p) for p in (50, 99)} for name in names}
    for name in names:
        cells = [cell for p in (50, 99) for cell in _cells(found[name][p])]
        table.lines.append([name, *cells, f"{sum(map(len, slices[name])):,}"])
    others = [name for name in names if name not in _OURS]
    for p, called in ((50, "median"), (99, "99th percentile")):
        shares = {name: Spread.of(each) for name in others if (each := _shares(slices, name, p))}
        for best in sorted(shares, key=lambda name: shares[name].median)[-1:]:
            text = f"fanfp, {called}: at most {_LIMIT} times the best ({best}), median of the rounds' ratios"
            table.targets.append(Target(text, format_ratio(shares[best]), shares[best].median <= _LIMIT))
    table.notes = [
        f"each sample: a file made, one every {_INTERVAL_US / 1000:g} ms; its name is the time just before the call",
        "commands and plain fanotify: Python code reads their output line by line; the others call Python code. The",
        "clock is read as soon as Python code has the line or the event, before it looks into it",
    ]
    table.figures = {name: {"slices_ns": slices[name]} for name in names}
    return table


def _shares(slices: dict[str, list[list[int]]], name: str, percent: float) -> list[float]:
    """Ours relative to a peer's, within each round."""
    rounds = [
        {each: percentile(one, percent) for each, one in zip(("fanfp", name), pair, strict=True) if one}
        for pair in zip(slices["fanfp"], slices[name], strict=True)
    ]
    return ratios(rounds, "fanfp", name)


def _spread(slices: list[list[int]], percent: float) -> Spread | None:
    figures = [percentile(one, percent) for one in slices if one]
    return Spread.of(figures) if figures else None


def _cells(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["none", ""]
    return [format_ns(spread.median), f"{format_ns(spread.low)} - {format_ns(spread.high)}"]
