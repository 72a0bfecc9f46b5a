"""Row b: set-up on a tree of 100,000 directories: time, and the kernel memory that it takes."""

import os
import time

from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_bytes, format_ns

_N_DIRECTORIES = 100_000
_NAMES = ["fanfp", "fsnotifywait -S", "inotifywait -r", "watchdog", "watchfiles", "asyncinotify"]
_PEER = "inotifywait -r"
_SLAB_LIMIT = 1_000_000


def setup(run: Run) -> list[Table]:
    """Measure each condition on a filesystem that was mounted a moment ago, so that no cache of it is warm."""
    tree = f"{run.place.mount}/big"
    os.mkdir(tree)
    run.place.workload("dirs", tree, _N_DIRECTORIES)
    found: dict[str, dict[str, list[float]]] = {}
    for _, condition in run.interleaved(_NAMES):
        figures = found.setdefault(condition.name, {"setup_ns": [], "start_ns": [], "slab_bytes": [], "rss_bytes": []})
        run.place.remount()
        before = slab_bytes()
        with condition.start(run.place, tree, "discard") as running:
            assert running is not None
            time.sleep(0.2)
            figures["slab_bytes"].append(slab_bytes() - before)
            figures["setup_ns"].append(running.setup_ns)
            figures["start_ns"].append(running.start_ns)
            figures["rss_bytes"].append(running.rss_bytes())
    run.place.remount()
    return [_table(run.present(_NAMES), found)]


def _table(names: list[str], found: dict[str, dict[str, list[float]]]) -> Table:
    table = Table(
        f"b. Set-up on a tree of {_N_DIRECTORIES:,} directories, medians",
        ["", "set-up", "process start to ready", "kernel slab", "process memory"],
    )
    medians = {
        name: {what: Spread.of(values).median for what, values in figures.items()} for name, figures in found.items()
    }
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
        "slab: growth of Slab in /proc/meminfo from just before the listener's start to 0.2 s after it was ready, the",
        "filesystem having been mounted anew: marks, and the inodes and directory entries brought in to set them",
    ]
    table.figures = found
    return table


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
