"""``python -m bench.counted``: measure and print the table. ``make bench-kernel`` runs it where the clock counts."""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import fanotify_fastpath
from bench.counted.conditions import NOBODY, PLAIN, SENTINEL
from bench.counted.groups import group_conditions
from bench.counted.handlers import handler_conditions, handlers_table
from bench.counted.served import Round, Served, measure_reading, measure_working
from bench.counted.served_table import reading_tables, working_table
from bench.counted.slices import ground, measure
from bench.counted.table import counted_table
from bench.place import Place
from bench.report import Table
from fanotify_fastpath._probes.system import is_compiled

_N_SPINS = 10_000_000
_PER_SPIN = 2


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.counted", description=__doc__)
    parser.add_argument("--rounds", type=int, metavar="N", help="slices of each condition (default 3, with --served 5)")
    parser.add_argument(
        "--engine", choices=("kernel", "fanotify"), default="kernel", help="whose rows these are (default kernel)"
    )
    parser.add_argument(
        "--handlers", action="store_true", help="what handlers take of an event, by what they do, instead"
    )
    parser.add_argument(
        "--served", action="store_true", help="what reading through the daemon takes with engine kernel, instead"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless all targets hold")
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = 5 if options.served else 3
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.served and (options.handlers or options.engine != "kernel"):
        parser.error("--served goes with neither --handlers nor another engine")
    return options


def _print_head(here: Place, n_rounds: int) -> None:
    version = fanotify_fastpath.__version__ + (", compiled" if is_compiled() else ", not compiled")
    print(f"Linux {platform.release()}, fanotify_fastpath {version}; {n_rounds} rounds of each condition")
    ns = here.workload("spin", here.work, _N_SPINS).cpu_ns / _PER_SPIN  # not what else ran meanwhile
    if not 0.99 < ns < 1.01:
        print(f"  the clock is not the number of instructions here ({ns:.2f} ns each): figures are times")
    print(flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Run; return the exit status."""
    options = _parse(sys.argv[1:])
    if os.geteuid() != 0:
        print("bench: needs root: it mounts a filesystem of its own and marks it", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _end)
    tables = []
    with ground() as here:
        _print_head(here, options.rounds)
        for table in _measured(here, options):
            print(f"\n{table}", flush=True)
            tables.append(table)
    targets = [target for table in tables for target in table.targets]
    n_held = sum(target.holds is True for target in targets)
    if targets:
        print(f"{n_held} of {len(targets)} targets hold")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            written = [table.as_json() for table in tables]
            json.dump(written if options.served else written[0], file, indent=1)
    return 1 if options.check and n_held < len(targets) else 0


def _measured(here: Place, options: argparse.Namespace) -> Iterator[Table]:
    if options.served:
        found = Served([Round() for _ in range(options.rounds)])
        measure_reading(here, found)
        yield from reading_tables(found)
        measure_working(here, found)
        yield working_table(found)
    elif options.handlers:
        conditions = [NOBODY, *handler_conditions(options.engine)]
        yield handlers_table(conditions, measure(here, conditions, options.rounds))
    else:
        conditions = [NOBODY, SENTINEL, PLAIN, *group_conditions(options.engine)]
        yield counted_table(conditions, measure(here, conditions, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
