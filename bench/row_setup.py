"""Row b: set-up on a tree of 100,000 directories: time, and the kernel memory that it takes."""

import os
import time

from bench.listeners import Condition
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_bytes, format_ns

_N_DIRECTORIES = 100_000
_NAMES = ["fanfp", "fsnotifywait -S", "inotifywait -r", "watchdog", "watchfiles", "asyncinotify"]
_PEER = "inotifywait -r"
#: their memory is measured in every round; the others take seconds and more than 100 MB each time
_CHEAP = ("fanfp", "fsnotifywait -S")
_SLAB_LIMIT = 1_000_000
_SETTLE_S, _SETTLE_TRIES, _STEADY_BYTES = 0.5, 20, 200_000

#: condition → figure → one value a round
Found = dict[str, dict[str, list[float]]]


def setup(run: Run) -> list[Table]:
    """Measure the time on a tree that is in the caches, best for those who walk it; the memory on a fresh mount."""
    tree = f"{run.place.mount}/big"
    os.mkdir(tree)
    run.place.workload("dirs", tree, _N_DIRECTORIES)
    found: Found = {name: {"setup_ns": [], "start_ns": [], "slab_bytes": [], "rss_bytes": []} for name in _NAMES}
    for _, condition in run.interleaved(_NAMES):
        with condition.start(run.place, tree, "discard") as running:
            assert running is not None
            found[condition.name]["setup_ns"].append(running.setup_ns)
            found[condition.name]["start_ns"].append(running.start_ns)
    for number, condition in run.interleaved(_NAMES):
        if number == 0 or condition.name in _CHEAP:
            _measure_memory(run, condition, tree, found[condition.name])
    run.place.remount()
    return [_table(run.present(_NAMES), found)]


def _measure_memory(run: Run, condition: Condition, tree: str, figures: dict[str, list[float]]) -> None:
    run.place.remount()
    before = _settled_slab_bytes()
    with condition.start(run.place, tree, "discard") as running:
        assert running is not None
        time.sleep(0.2)
        figures["slab_bytes"].append(slab_bytes() - before)
        figures["rss_bytes"].append(running.rss_bytes())


def _table(names: list[str], found: Found) -> Table:
    table = Table(
        f"b. Set-up on a tree of {_N_DIRECTORIES:,} directories, medians",
        ["", "set-up", "process start to ready", "kernel slab", "process memory"],
    )
    medians = {name: {what: Spread.of(values).median for what, values in found[name].items()} for name in names}
    for name in names:
        one = medians[name]
        table.lines.append(
            [
                name,
                format_ns(one["setup_ns"]),
                format_ns(one["start_ns"]),
                format_bytes(one["slab_bytes"]),
                format_bytes(one["rss_bytes"]),
            ]
        )
    if _PEER in medians:
        share = medians["fanfp"]["setup_ns"] / medians[_PEER]["setup_ns"]
        table.targets.append(Target(f"fanfp: at most 1/100 of {_PEER}'s time", f"1/{1 / share:,.0f}", share <= 0.01))
    slab = medians["fanfp"]["slab_bytes"]
    table.targets.append(Target("fanfp: under 1 MB of kernel slab", format_bytes(slab), slab < _SLAB_LIMIT))
    table.notes = [
        "set-up: the call that returns when events flow; of a command, from its start until it says so",
        "time: the tree is in the caches. Memory: on a fresh mount; of those who walk the tree measured once. Slab:",
        "growth of Slab in /proc/meminfo until 0.2 s after ready: marks, and the inodes and names brought in for them",
    ]
    table.figures = found
    return table


def _settled_slab_bytes() -> int:
    """Wait until the marks of the listener before have been freed, which the kernel does later and bit by bit."""
    before = slab_bytes()
    for _ in range(_SETTLE_TRIES):
        time.sleep(_SETTLE_S)
        now = slab_bytes()
        if abs(now - before) < _STEADY_BYTES:
            return now
        before = now
    return before


def slab_bytes() -> int:
    """Kernel memory in slab caches now."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        return parse_slab(meminfo.read())


def parse_slab(meminfo: str) -> int:
    """
    Read the line ``Slab`` of ``/proc/meminfo``, in bytes.

    :raises ValueError: there is none
    """
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "Slab":
            return int(value.split()[0]) * 1024
    raise ValueError("no line Slab in meminfo")
