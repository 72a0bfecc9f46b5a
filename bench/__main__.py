"""``python -m bench``: run the rows and print a table for each."""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from bench import row_cpu, row_inside, row_latency, row_notes, row_outside, row_ring, row_setup
from bench.conditions import conditions
from bench.listeners import Condition
from bench.place import place
from bench.report import Table
from bench.run import Run

ROWS: dict[str, Callable[[Run], list[Table]]] = {
    "outside": row_outside.outside,
    "setup": row_setup.setup,
    "inside": row_inside.inside,
    "cpu": row_cpu.cpu,
    "latency": row_latency.latency,
    "trees": row_notes.trees,
    "stopped": row_notes.stopped,
    "names": row_notes.names,
    "ring": row_ring.ring,
}

#: load average from which on figures are not to be trusted
_BUSY = 0.5


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=ROWS, metavar="ROW", help=f"only this row: {', '.join(ROWS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each row (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--dir", metavar="DIR", help="make the filesystem's image in DIR (default: memory, if it fits)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target does not hold")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def _print_head(all_conditions: dict[str, Condition]) -> None:
    print(f"{time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {os.cpu_count()} cores, Python", end=" ")
    print(f"{platform.python_version()}; load before: {os.getloadavg()[0]:.2f}")
    for name, condition in all_conditions.items():
        if name != "nobody":
            print(f"  {name}: {condition.version or 'not installed, left out'}")
    if os.getloadavg()[0] > _BUSY:
        print(f"  the machine is busy (load above {_BUSY}): times are disturbed")
    print(flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Run; return the exit status."""
    options = _parse(sys.argv[1:])
    if os.geteuid() != 0:
        print("bench: needs root: it mounts a filesystem of its own and marks it", file=sys.stderr)
        return 0 if not options.check else 1
    signal.signal(signal.SIGTERM, _end)
    start = time.monotonic()
    everything = conditions()
    _print_head(everything)
    tables: dict[str, list[Table]] = {}
    with place(options.dir) as here:
        run = Run(here, {n: c for n, c in everything.items() if c.version is not None}, options.rounds)
        for name in options.only or ROWS:
            began = time.monotonic()
            tables[name] = ROWS[name](run)
            tables[name][-1].notes.append(f"{options.rounds} rounds, {time.monotonic() - began:.0f} s")
            for table in tables[name]:
                print(table, flush=True)
    targets = [target for found in tables.values() for table in found for target in table.targets]
    failed = [target for target in targets if not target.holds]
    print(f"{len(targets) - len(failed)} of {len(targets)} targets hold; {time.monotonic() - start:.0f} s")
    for target in failed:
        print(f"  {target}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({name: [table.as_json() for table in found] for name, found in tables.items()}, file, indent=1)
    return 1 if failed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
