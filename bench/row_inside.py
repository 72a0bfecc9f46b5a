"""Row c: 100,000 files made, written, closed and removed inside: what is reported, and what it costs the workload."""

from bench.outputs import Seen
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_ns, format_ratio, ratios

_N_FILES = 100_000
_NAMES = [
    "nobody", "fanfp", "plain fanotify", "watchdog", "watchfiles", "asyncinotify", "inotifywait -r",
    "fsnotifywait -S", "fatrace",
]  # fmt: skip
_PEER = "watchdog"
_HEADER = [
    "", "creations reported", "removals", "says it lost", "per file", "relative to nobody",
    "workload's CPU time, relative", "listener's CPU",
]  # fmt: skip

Rounds = list[dict[str, float]]


def inside(run: Run) -> list[Table]:
    """Measure the workload, and count what the listener saw when it has nothing left to do."""
    times: Rounds = [{} for _ in range(run.n_rounds)]
    work_cpu: Rounds = [{} for _ in range(run.n_rounds)]
    seen: dict[str, list[Seen]] = {}
    cpu: dict[str, list[float]] = {}
    for number, condition in run.interleaved(_NAMES):
        with condition.start(run.place, run.place.inside, "count") as running:
            took = run.place.workload("files", run.place.inside, _N_FILES)
            times[number][condition.name], work_cpu[number][condition.name] = took.ns, took.cpu_ns
            if running is not None:
                running.settle()
                cpu.setdefault(condition.name, []).append(running.cpu_s())
                seen.setdefault(condition.name, []).append(running.take())
    return [_table(run.present(_NAMES), times, work_cpu, seen, cpu)]


def _table(
    names: list[str], times: Rounds, work_cpu: Rounds, seen: dict[str, list[Seen]], cpu: dict[str, list[float]]
) -> Table:
    table = Table(f"c. {_N_FILES:,} x create + write + close + unlink inside the subtree, medians", _HEADER)
    for name in names:
        per_file = format_ns(Spread.of(one[name] for one in times).median)
        relative = [format_ratio(Spread.of(ratios(rounds, name, "nobody"))) for rounds in (times, work_cpu)]
        if name not in seen:
            table.lines.append([name, "", "", "", per_file, *relative, ""])
            continue
        counts = [Spread.of(getattr(one, what) for one in seen[name]).median for what in ("n_created", "n_deleted")]
        says = "yes" if all(one.n_lost_signs for one in seen[name]) else "no"
        cpu_s = f"{Spread.of(cpu[name]).median:.1f} s"
        table.lines.append([name, *(f"{count:,.0f}" for count in counts), says, per_file, *relative, cpu_s])
    lowest = min(one.n_created for one in seen["fanfp"])
    table.targets.append(Target("fanfp: no creation lost in any round", f"{lowest:,} reported", lowest == _N_FILES))
    if _PEER in seen:
        found = Spread.of(ratios(times, "fanfp", _PEER))
        table.targets.append(
            Target(f"workload no slower than under {_PEER}", f"{format_ratio(found)} times", found.median <= 1)
        )
    table.notes = [
        "events of one file that wait together are merged by fanotify; a creation counts wherever it is told"
    ]
    table.figures = {
        "ns_per_file": times,
        "workload_cpu_ns_per_file": work_cpu,
        "cpu_s": cpu,
        "n_created": {name: [one.n_created for one in all_seen] for name, all_seen in seen.items()},
        "n_deleted": {name: [one.n_deleted for one in all_seen] for name, all_seen in seen.items()},
    }
    return table
