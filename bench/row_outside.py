"""Row a: a workload wholly outside the subtree, on the same filesystem, against nobody watching."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial

from bench.listeners import Running
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_ns, format_ratio

_NOBODY = "nobody"
_FIRST = "first pass"
_NAMES = [
    "fanfp", "fanfp-all", "plain fanotify", "plain fanotify-all", "plain fanotify-all, ignoring",
    "fsnotifywait -S", "fatrace", "inotifywait -r",
]  # fmt: skip
_LIMIT = 1.15
_QUIET_S = 0.2
#: rounds of this row for each of the others': what it finds lies near its target, so chance must be small
_N_TIMES = 2
#: workload → number given to it, and what it does
_STEADY = {
    "read": (25, "4,000 files of 8 bytes in 200 directories, each opened, read and closed"),
    "read-whole": (200, "200 files of 16 KiB, each opened, read to its end and closed"),
    "write": (15, "the same files opened, overwritten and closed"),
    "list": (50, "the 200 directories listed"),
    "churn": (2000, "a file made, written, closed, renamed and removed; a directory made and removed with every tenth"),
}


@dataclass(slots=True)
class _Pass:
    """Nanoseconds per operation of each workload, and the share of a core that the listener took while it read."""

    ns: dict[str, float] = field(default_factory=dict)
    cpu_ns: dict[str, float] = field(default_factory=dict)
    share: float = 0.0


@dataclass(slots=True)
class _Trial:
    """One condition, and nobody before and after it."""

    name: str
    before: _Pass
    during: _Pass
    after: _Pass

    def ratio(self, what: str, base: str) -> float:
        """Relative to nobody, whose two figures are averaged: the machine is not always as fast."""
        return self.during.ns[what] * 2 / (self.before.ns[base] + self.after.ns[base])

    def cpu_ratio(self, what: str) -> float:
        """The same in CPU time of the workload alone."""
        return self.during.cpu_ns[what] * 2 / (self.before.cpu_ns[what] + self.after.cpu_ns[what])


def outside(run: Run) -> list[Table]:
    """Measure the first pass, then the steady state of each workload; and nobody after each listener."""
    run.place.workload("tree", run.place.outside)
    n_rounds = _N_TIMES * run.n_rounds + 1
    trials: list[_Trial] = []
    before = _measure(run, None)
    for _, condition in run.interleaved(_NAMES, n_rounds):
        with condition.start(run.place, run.place.inside, "discard") as running:
            during = _measure(run, running)
        time.sleep(_QUIET_S)  # the kernel takes marks away behind its back
        after = _measure(run, None)
        trials.append(_Trial(condition.name, before, during, after))
        before = after
    names = run.present(_NAMES)
    return [_table(names, trials), _cpu_table(names, trials)]


def _measure(run: Run, running: Running | None) -> _Pass:
    """The first pass begins when the listener has just become ready."""
    found = _Pass()
    found.ns[_FIRST] = run.place.workload("read", run.place.outside, 1).ns
    for what, (count, _) in _STEADY.items():
        run.place.workload(what, run.place.outside, max(1, count // 20))
        if running is not None:
            running.settle(_QUIET_S)
        before_s, start = running.cpu_s() if running is not None else 0.0, time.monotonic()
        took = run.place.workload(what, run.place.outside, count)
        found.ns[what], found.cpu_ns[what] = took.ns, took.cpu_ns
        if running is not None and what == "read":
            found.share = (running.cpu_s() - before_s) / (time.monotonic() - start)
    return found


def _spread(trials: list[_Trial], name: str, ratio: Callable[[_Trial], float]) -> Spread:
    return Spread.of(ratio(trial) for trial in trials if trial.name == name)


def _cpu_table(names: list[str], trials: list[_Trial]) -> Table:
    title = "a. The same in CPU time of the workload alone, which other load on the machine disturbs less"
    table = Table(title, ["", *_STEADY])
    nobody = (Spread.of(each.after.cpu_ns[what] / each.before.cpu_ns[what] for each in trials) for what in _STEADY)
    table.lines.append([_NOBODY, *map(format_ratio, nobody)])
    for name in names:
        spreads = (_spread(trials, name, partial(_Trial.cpu_ratio, what=what)) for what in _STEADY)
        table.lines.append([name, *map(format_ratio, spreads)])
    return table


def _table(names: list[str], trials: list[_Trial]) -> Table:
    table = Table(
        "a. Workload wholly outside the subtree, same filesystem: time relative to nobody, median (lowest-highest)",
        ["", "read, first pass", *_STEADY, "listener's CPU (read)"],
    )
    nobody = {what: Spread.of(each.after.ns[what] / each.before.ns[what] for each in trials) for what in _STEADY}
    table.lines.append([_NOBODY, "", *map(format_ratio, nobody.values()), ""])
    for name in names:
        spreads = [_spread(trials, name, partial(_Trial.ratio, what=what, base=what)) for what in _STEADY]
        spreads.insert(0, _spread(trials, name, partial(_Trial.ratio, what=_FIRST, base="read")))
        share = _spread(trials, name, lambda each: each.during.share).median
        table.lines.append([name, *map(format_ratio, spreads), f"{share:.0%}"])
    base = {what: format_ns(Spread.of(each.after.ns[what] for each in trials).median) for what in _STEADY}
    table.notes = [f"{what}: {does}; nobody: {base[what]}" for what, (_, does) in _STEADY.items()]
    table.notes += [
        f"{len(trials) // len(names)} rounds, each beginning at another listener",
        "each figure is relative to the mean of nobody right before and right after; nobody's row: after to before",
        "first pass: reading right after the listener became ready; relative to nobody's steady state, as all are",
        "fanfp and plain fanotify ask for changes (fan.watch's default), -all for opens, reads and closes as well;",
        "ignoring: a mark on each directory outside drops all: the least that any listener on a filesystem mark costs",
        "inotifywait -r watches the inside only: it costs nothing outside, and pays in row b",
    ]
    for name in ("fanfp", "fanfp-all"):
        for what in ("read", "read-whole", "write"):
            ratio = _spread(trials, name, partial(_Trial.ratio, what=what, base=what)).median
            table.targets.append(
                Target(f"{name}, {what}: at most {_LIMIT} times nobody", f"{ratio:.2f}", ratio <= _LIMIT)
            )
    table.figures = {"trials": [asdict(trial) for trial in trials]}
    return table
