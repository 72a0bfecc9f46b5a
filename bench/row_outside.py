"""Row a: a workload wholly outside the subtree, on the same filesystem, against nobody watching."""

from collections.abc import Callable

from bench.listeners import Running
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_ns, format_ratio, ratios

_NOBODY = "nobody"
_NAMES = [
    _NOBODY, "fanfp", "fanfp-all", "plain fanotify", "plain fanotify-all", "fsnotifywait -S", "fatrace",
    "inotifywait -r",
]  # fmt: skip
_LIMIT = 1.15
_QUIET_S = 0.2
#: workload → number given to it, and what it does
_STEADY = {
    "read": (30, "4,000 files in 200 directories, each opened, read and closed"),
    "write": (20, "the same files opened, overwritten and closed"),
    "list": (100, "the 200 directories listed"),
    "churn": (8000, "a file made, written, closed, renamed and removed; a directory made and removed with every tenth"),
}

Rounds = list[dict[str, float]]


def outside(run: Run) -> list[Table]:
    """Measure the first pass, then the steady state of each workload."""
    run.place.workload("tree", run.place.outside)
    times: dict[str, Rounds] = {what: [{} for _ in range(run.n_rounds)] for what in ("first pass", *_STEADY)}
    cpu: dict[str, list[float]] = {}
    names = run.present(_NAMES)
    for number, condition in run.interleaved(names):
        with condition.start(run.place, run.place.inside, "discard") as running:
            for what, ns in _measure(run, running).items():
                times[what][number][condition.name] = ns
            if running is not None:
                cpu.setdefault(condition.name, []).append(_cpu_share(run, running))
    return [_table(names, times, cpu)]


def _measure(run: Run, running: Running | None) -> dict[str, float]:
    """Nanoseconds per operation of each workload; the first pass begins when the listener has just become ready."""
    found = {}
    took_ns, n_operations = run.place.workload("read", run.place.outside, 1)
    found["first pass"] = took_ns / n_operations
    for what, (count, _) in _STEADY.items():
        run.place.workload(what, run.place.outside, max(1, count // 20))
        if running is not None:
            running.settle(_QUIET_S)
        took_ns, n_operations = run.place.workload(what, run.place.outside, count)
        found[what] = took_ns / n_operations
    return found


def _cpu_share(run: Run, running: Running) -> float:
    running.settle(_QUIET_S)
    before = running.cpu_s()
    took_ns, _ = run.place.workload("read", run.place.outside, 20)
    return (running.cpu_s() - before) / (took_ns / 1e9)


def _first_passes(times: dict[str, Rounds], name: str) -> list[float]:
    """Relative to nobody's steady state: the first pass under nobody depends on what ran before."""
    return [first[name] / steady[_NOBODY] for first, steady in zip(times["first pass"], times["read"], strict=True)]


def _table(names: list[str], times: dict[str, Rounds], cpu: dict[str, list[float]]) -> Table:
    table = Table(
        "a. Workload wholly outside the subtree, same filesystem: time relative to nobody, median (lowest-highest)",
        ["", "read, first pass", *_STEADY, "listener's CPU (read)"],
    )
    for name in names:
        cells = [format_ratio(Spread.of(ratios(times[what], name, _NOBODY))) for what in _STEADY]
        cells.insert(0, format_ratio(Spread.of(_first_passes(times, name))))
        share = f"{Spread.of(cpu[name]).median:.0%}" if name in cpu else ""
        table.lines.append([name, *cells, share])
    base: Callable[[str], str] = lambda what: format_ns(Spread.of(r[_NOBODY] for r in times[what]).median)  # noqa: E731
    table.notes = [f"{what}: {does}; nobody: {base(what)}" for what, (_, does) in _STEADY.items()]
    table.notes += [
        "first pass: reading right after the listener became ready; relative to nobody's steady state, as all are",
        "fanfp and plain fanotify ask for changes (fan.watch's default), -all for opens, reads and closes as well;",
        "inotifywait -r watches the inside only: it costs nothing outside, and pays in row b",
    ]
    for name in ("fanfp", "fanfp-all"):
        for what in ("read", "write"):
            found = Spread.of(ratios(times[what], name, _NOBODY))
            table.targets.append(
                Target(f"{name}, {what}: at most {_LIMIT} times nobody", f"{found.median:.2f}", found.median <= _LIMIT)
            )
    table.figures = {"ns_per_operation": times, "cpu_share": cpu}
    return table
