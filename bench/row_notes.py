"""The further rows: what peers do with trees made at once, a stopped reader, and a name that is no UTF-8."""

import os
import shutil
from collections.abc import Callable

from bench.listeners import Running
from bench.outputs import Seen
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread

_N_TREES = 300
_N_STOPPED = 40_000
_NAMES = ["fanfp", "watchdog", "watchfiles", "asyncinotify", "inotifywait -r", "fsnotifywait -S"]
_ODD = b"odd-\xff\xfe"
_QUIET_S = 0.25

Act = Callable[[str, Running], None]


def trees(run: Run) -> list[Table]:
    """Trees made, and trees made and removed at once."""
    made = _seen(run, "count", _make_trees)
    passed = _seen(run, "count", _make_and_remove_trees)
    table = Table(
        f"{_N_TREES} trees, medians",
        [
            "",
            "creations of 1,500",
            "says it lost",
            "made and removed: creations of 1,200",
            "removals of 1,200",
            "says it lost",
        ],
    )
    for name in run.present(_NAMES):
        cells = [_median(made[name], "n_created"), _says_lost(made[name])]
        both = [_median(passed[name], what) for what in ("n_created", "n_deleted")]
        table.lines.append([name, *cells, *both, _says_lost(passed[name])])
    lowest = min(one.n_created for one in made["fanfp"])
    table.targets.append(Target("fanfp: all 1,500 creations in every round", f"{lowest:,}", lowest == 5 * _N_TREES))
    lowest = min(min(one.n_created, one.n_deleted) for one in passed["fanfp"])
    table.targets.append(
        Target("fanfp: all 1,200 creations and removals in every round", f"{lowest:,}", lowest == 4 * _N_TREES)
    )
    table.notes = [
        "made: os.makedirs(d/a/b/c) and a file in it. Made and removed: os.makedirs(d/a/b), a file, shutil.rmtree(d)",
        "watchdog finds the inner ones by walking, when they still exist",
    ]
    table.figures = {"made": _numbers(made), "made_and_removed": _numbers(passed)}
    return [table]


def stopped(run: Run) -> list[Table]:
    """A reader that stands still while files are made."""

    def act(top: str, running: Running) -> None:
        running.suspend()
        run.place.workload("create", top, _N_STOPPED)
        running.resume()

    seen = _seen(run, "count", act)
    table = Table(f"Reader stopped, {_N_STOPPED:,} creations, medians", ["", "creations reported", "says it lost"])
    for name in run.present(_NAMES):
        table.lines.append([name, _median(seen[name], "n_created"), _says_lost(seen[name])])
    lowest = min(one.n_created for one in seen["fanfp"])
    table.targets.append(Target("fanfp: no creation lost in any round", f"{lowest:,}", lowest == _N_STOPPED))
    table.notes = [
        "the process is stopped by a signal, and goes on when all files are made; watchdog writes a log line"
    ]
    table.figures = _numbers(seen)
    return [table]


def names(run: Run) -> list[Table]:
    """A name that is no UTF-8, and an ordinary one after it."""

    def act(top: str, running: Running) -> None:
        for name in (_ODD, b"after"):
            with open(os.path.join(os.fsencode(top), name), "wb"):
                pass
            running.settle(_QUIET_S)

    seen = _seen(run, "paths", act)
    table = Table("A name with the bytes ff fe, then an ordinary one", ["", "the name", "the one after it"])
    for name in run.present(_NAMES):
        cells = [_says_seen(seen[name], part) for part in (_ODD, b"after")]
        table.lines.append([name, *cells])
    has_both = all(_says_seen(seen["fanfp"], part) == "reported" for part in (_ODD, b"after"))
    table.targets.append(Target("fanfp: both reported in every round", "yes" if has_both else "no", has_both))
    table.figures = {name: [one.paths for one in all_seen] for name, all_seen in seen.items()}
    return [table]


def _seen(run: Run, mode: str, act: Act) -> dict[str, list[Seen]]:
    """Let each condition watch an empty directory while *act* works in it."""
    found: dict[str, list[Seen]] = {}
    top = f"{run.place.mount}/notes"
    for _, condition in run.interleaved(_NAMES):
        os.mkdir(top)
        with condition.start(run.place, top, mode) as running:
            assert running is not None
            act(top, running)
            running.settle(_QUIET_S)
            found.setdefault(condition.name, []).append(running.take())
        shutil.rmtree(top)
    return found


def _make_trees(top: str, running: Running) -> None:
    for number in range(_N_TREES):
        os.makedirs(f"{top}/{number}/a/b/c")
        with open(f"{top}/{number}/a/b/c/file", "wb"):
            pass


def _make_and_remove_trees(top: str, running: Running) -> None:
    for number in range(_N_TREES):
        os.makedirs(f"{top}/{number}/a/b")
        with open(f"{top}/{number}/a/b/file", "wb"):
            pass
        shutil.rmtree(f"{top}/{number}")


def _median(seen: list[Seen], what: str) -> str:
    return f"{Spread.of(getattr(one, what) for one in seen).median:,.0f}"


def _says_lost(seen: list[Seen]) -> str:
    ended = sorted({one.error for one in seen if one.error})
    says = "yes" if any(one.n_lost_signs for one in seen) else "no"
    return f"{says}, ended: {', '.join(ended)}" if ended else says


def _says_seen(seen: list[Seen], part: bytes) -> str:
    n_seen = sum(any(part in bytes.fromhex(path) for path in one.paths) for one in seen)
    ended = "".join(sorted({f" (ended: {one.error})" for one in seen if one.error}))
    return (
        "reported" if n_seen == len(seen) else "not reported" if not n_seen else f"{n_seen} of {len(seen)} times"
    ) + ended


def _numbers(seen: dict[str, list[Seen]]) -> dict[str, list[list[int]]]:
    return {
        name: [[one.n_created, one.n_deleted, one.n_lost_signs] for one in all_seen] for name, all_seen in seen.items()
    }
