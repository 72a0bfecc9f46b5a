"""Row a: a workload wholly outside the subtree, on the same filesystem, against nobody watching."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.listeners import Running
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_ns, format_ratio, ratios

_NOBODY = "nobody"
_FIRST = "first pass"
_NAMES = [
    _NOBODY, "fanfp", "fanfp-all", "plain fanotify", "plain fanotify-all", "plain fanotify-all, ignoring",
    "fsnotifywait -S", "fatrace", "inotifywait -r",
]  # fmt: skip
_LIMIT = 1.15
_QUIET_S = 0.2
#: rounds of this row for each of the others': what it finds lies near its target, so chance must be small
_N_TIMES = 2
#: workload → number given to it, and what it does
_STEADY = {
    "read": (100, "4,000 files of 8 bytes in 200 directories, each opened, read and closed"),
    "read-whole": (400, "200 files of 16 KiB, each opened, read to its end and closed"),
    "write": (80, "the same files opened, overwritten and closed"),
    "list": (100, "the 200 directories listed"),
    "churn": (8000, "a file made, written, closed, renamed and removed; a directory made and removed with every tenth"),
}

Rounds = list[dict[str, float]]


@dataclass(slots=True)
class _Found:
    """Figures of each round: workload → round → condition → nanoseconds per operation; and shares of a core."""

    ns: dict[str, Rounds]
    cpu_ns: dict[str, Rounds]
    share: dict[str, list[float]]

    @classmethod
    def empty(cls, n_rounds: int) -> "_Found":
        """Nothing yet."""
        ns, cpu_ns = ({what: _rounds(n_rounds) for what in (_FIRST, *_STEADY)} for _ in range(2))
        return cls(ns, cpu_ns, {})


def _rounds(n_rounds: int) -> Rounds:
    return [{} for _ in range(n_rounds)]


def outside(run: Run) -> list[Table]:
    """Measure the first pass, then the steady state of each workload."""
    run.place.workload("tree", run.place.outside)
    n_rounds = _N_TIMES * run.n_rounds + 1
    found = _Found.empty(n_rounds)
    names = run.present(_NAMES)
    for number, condition in run.interleaved(names, n_rounds):
        with condition.start(run.place, run.place.inside, "discard") as running:
            _measure(run, running, found, number, condition.name)
    return [_table(names, found), _cpu_table(names, found)]


def _measure(run: Run, running: Running | None, found: _Found, number: int, name: str) -> None:
    """The first pass begins when the listener has just become ready."""
    found.ns[_FIRST][number][name] = run.place.workload("read", run.place.outside, 1).ns
    for what, (count, _) in _STEADY.items():
        run.place.workload(what, run.place.outside, max(1, count // 20))
        if running is not None:
            running.settle(_QUIET_S)
        before_s, start = running.cpu_s() if running is not None else 0.0, time.monotonic()
        took = run.place.workload(what, run.place.outside, count)
        found.ns[what][number][name], found.cpu_ns[what][number][name] = took.ns, took.cpu_ns
        if running is not None and what == "read":
            share = (running.cpu_s() - before_s) / (time.monotonic() - start)
            found.share.setdefault(name, []).append(share)


def _first_passes(times: dict[str, Rounds], name: str) -> list[float]:
    """Relative to nobody's steady state: the first pass under nobody depends on what ran before."""
    return [first[name] / steady[_NOBODY] for first, steady in zip(times[_FIRST], times["read"], strict=True)]


def _cpu_table(names: list[str], found: _Found) -> Table:
    title = "a. The same in CPU time of the workload alone, which other load on the machine disturbs less"
    table = Table(title, ["", *_STEADY])
    for name in names:
        cells = [format_ratio(Spread.of(ratios(found.cpu_ns[what], name, _NOBODY))) for what in _STEADY]
        table.lines.append([name, *cells])
    table.figures = {"cpu_ns": found.cpu_ns}
    return table


def _table(names: list[str], found: _Found) -> Table:
    times = found.ns
    table = Table(
        "a. Workload wholly outside the subtree, same filesystem: time relative to nobody, median (lowest-highest)",
        ["", "read, first pass", *_STEADY, "listener's CPU (read)"],
    )
    for name in names:
        cells = [format_ratio(Spread.of(ratios(times[what], name, _NOBODY))) for what in _STEADY]
        cells.insert(0, format_ratio(Spread.of(_first_passes(times, name))))
        share = f"{Spread.of(found.share[name]).median:.0%}" if name in found.share else ""
        table.lines.append([name, *cells, share])
    base: Callable[[str], str] = lambda what: format_ns(Spread.of(r[_NOBODY] for r in times[what]).median)  # noqa: E731
    table.notes = [f"{what}: {does}; nobody: {base(what)}" for what, (_, does) in _STEADY.items()]
    table.notes += [
        f"{len(times['read'])} rounds, each beginning at another listener",
        "first pass: reading right after the listener became ready; relative to nobody's steady state, as all are",
        "fanfp and plain fanotify ask for changes (fan.watch's default), -all for opens, reads and closes as well;",
        "ignoring: a mark on each directory outside drops all: the least that any listener on a filesystem mark costs",
        "inotifywait -r watches the inside only: it costs nothing outside, and pays in row b",
    ]
    for name in ("fanfp", "fanfp-all"):
        for what in ("read", "read-whole", "write"):
            ratio = Spread.of(ratios(times[what], name, _NOBODY)).median
            table.targets.append(
                Target(f"{name}, {what}: at most {_LIMIT} times nobody", f"{ratio:.2f}", ratio <= _LIMIT)
            )
    table.figures = {"ns": times, "listener_share": found.share}
    return table
