"""
What a handler in Python costs once it is compiled: to run, against the same handler in C; to compile; and to import.

    python -m bench.handler_cost [--rounds N]
    tools/vm run --icount -- .venv/bin/python -m bench.handler_cost --only run

Both programs run on demand (BPF_PROG_RUN), on the same events, by turns; the kernel measures each run. In a machine
with --icount its nanoseconds are instructions. Needs root, clang and llvmlite.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fanotify_fastpath._bpf._abi import FpVerdict
from fanotify_fastpath._bpf.handler_event import SIZE, pack_event, verdict_in
from fanotify_fastpath._bpf.libbpf import MapType, Object, ObjectMap, enable_stats
from fanotify_fastpath._compiler.function import compile_function
from fanotify_fastpath._compiler.linking import link
from fanotify_fastpath._programs.code import Code, open_object
from fanotify_fastpath.builtin import BUILTIN, IgnorePrefix
from fanotify_fastpath.compiling import EVENT_LAYOUT, code_of, describe_handler, read_frame
from fanotify_fastpath.errors import CompileError
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.handlers_in_c import read_handler

IN_C = Path(__file__).parents[1] / "tests/kernel/programs/ignore_prefix.bpf.c"
PROGRAM = "handle_run"
N_RUNS = 500
#: targets
MOST_RATIO, MOST_COMPILE_S, MOST_IMPORT_S = 1.3, 0.5, 0.1

_WORDS = b"swp tmp bak git cache lock part new old orig rej un~ log pid sock db".split()
#: prefixes, and the names that they are asked about
SETS: dict[str, list[bytes]] = {
    "different from the first byte": [bytes([65 + n]) * (2 + n) for n in range(16)],
    "hidden files of programs": [b".%s-" % word for word in _WORDS],
    "the same for 24 bytes": [b"a-rather-long-beginning-" + bytes([65 + n]) * 8 for n in range(16)],
}


@dataclass(frozen=True)
class Loaded:
    """A handler's program."""

    program_file: Object

    def run(self, event: bytes) -> tuple[float, int]:
        """Nanoseconds of one run, in the mean, and the verdict."""
        program = self.program_file.program(PROGRAM)
        with self.program_file.map("handled").open() as handled:
            handled.update(bytes(4), event)
            before = program.info()
            for _ in range(N_RUNS):
                program.run()
            after = program.info()
            verdict = verdict_in(handled.lookup(bytes(4)) or bytes(SIZE))
        return (after.run_time_ns - before.run_time_ns) / (after.n_runs - before.n_runs), verdict


def load(kind: type[Handler], code: Code, prefixes: list[bytes]) -> Object:
    """Load the program of one attach."""
    handler = kind()
    vars(handler)["prefixes"] = tuple(prefixes)

    def set_handled(handled: ObjectMap) -> None:
        handled.reshape(MapType.ARRAY, 4, SIZE, 1)

    found = open_object(code, handler, lambda roots: None, PROGRAM, set_handled, {})
    found.load()
    return found


def names_of(prefixes: list[bytes]) -> dict[str, bytes]:
    """Names, by what becomes of them."""
    last = prefixes[-1]
    return {"none fits": b"README.md", "the last fits": last + b"x", "none fits, by little": last[:-1] + b"~"}


def compare(rounds: int) -> list[tuple[str, str, float, float, float]]:
    """For each set and name: the median of each handler, and of the ratios of the rounds."""
    in_c = read_handler(IN_C)
    rows: list[tuple[str, str, float, float, float]] = []
    for title, prefixes in SETS.items():
        with ExitStack() as stack:
            python, c = (
                Loaded(stack.enter_context(load(kind, code_of(kind), prefixes))) for kind in (IgnorePrefix, in_c)
            )
            for label, name in names_of(prefixes).items():
                event = pack_event({"name": name})
                pairs = [(python.run(event), c.run(event)) for _ in range(rounds)]
                wanted = FpVerdict.SKIP_EVENT if label == "the last fits" else FpVerdict.SEND_TO_USERSPACE
                if {verdict for pair in pairs for _, verdict in pair} != {wanted}:
                    raise SystemExit(f"wrong verdict for {name!r}")
                python_ns, c_ns = (statistics.median(pair[n][0] for pair in pairs) for n in (0, 1))
                rows.append((title, label, python_ns, c_ns, statistics.median(a[0] / b[0] for a, b in pairs)))
    return rows


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of something."""

    def once() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return statistics.median(once() for _ in range(rounds))


def compile_and_load(kind: type[Handler]) -> None:
    """All of it, as if the handler had not come with the package."""
    compiled = compile_function(kind, EVENT_LAYOUT, describe_handler(kind), FpVerdict.FAILED)
    if isinstance(compiled, CompileError):
        raise compiled
    data = link(compiled.ir, read_frame())
    with Object.open_bytes(data, "fanfp") as found:
        for one in found.programs():
            one.set_wanted(one.name == PROGRAM)
        for each in found.maps():
            each.set_wanted(not each.name.startswith("state_") and each.name != ".rodata.manifest")
        found.load()


def import_s(rounds: int) -> float:
    """What ``import fanotify_fastpath`` adds to starting Python."""

    def start(statement: str) -> float:
        command = [sys.executable, "-c", statement]
        return seconds(lambda: subprocess.run(command, check=True), rounds)

    return start("import fanotify_fastpath") - start("pass")


def print_runs(rounds: int, console: Console) -> None:
    """Measure what a run takes, and print it."""
    table = Table("prefixes", "name", "Python", "C", "ratio", title="ignore-prefix, 16 prefixes: ns of one run")
    rows = compare(rounds)
    for title, label, python, c, ratio in rows:
        table.add_row(title, label, f"{python:.0f}", f"{c:.0f}", f"{ratio:.2f}")
    console.print(table)
    worst = max(row[-1] for row in rows)
    _tell(console, "worst ratio", worst, MOST_RATIO, "")


def print_times(rounds: int, console: Console) -> None:
    """Measure what compiling, loading and importing takes, and print it."""
    for kind in BUILTIN:
        taken_s = seconds(partial(compile_and_load, kind), rounds)
        _tell(console, f"compile and load {kind.name}", taken_s, MOST_COMPILE_S, " s")
    _tell(console, "import", import_s(rounds), MOST_IMPORT_S, " s")


def _tell(console: Console, what: str, value: float, most: float, unit: str) -> None:
    holds = "holds" if value <= most else "does not hold"
    console.print(f"{what}: {value:.2f}{unit}, target at most {most}{unit}: {holds}")


PARTS = {"run": print_runs, "times": print_times}


def main(arguments: Iterable[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0].strip())
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--only", choices=PARTS, help="only this part")
    options = parser.parse_args(list(arguments))
    stats = enable_stats()
    try:
        for name, part in PARTS.items():
            if options.only in (None, name):
                part(options.rounds, Console())
    finally:
        os.close(stats)


if __name__ == "__main__":
    main(sys.argv[1:])
