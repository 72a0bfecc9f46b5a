"""
Find out what matters in a program that failed: remove operations as long as it still fails.

As root, from the checkout::

    PYTHONPATH=tests .venv/bin/python -m oracle.shrink SEED...

A seed stands for its entries in ``seeds.json``, where a failing test keeps it, and without one for the program that
the options describe; with options, for the entries that agree with them. What is printed is a program of which
nothing can be left out, and how the events of its last failing run, folded, differed from the tree.

Chance has a part in it: when the listener reads, and how several processes meet. So a program counts as failing if one
of ``--tries`` runs fails, and in the same way: by a difference, or by an error of the same type.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from engines import ENGINES
from mounting import LARGE_MIB, Filesystem, Filesystems, Mounter
from scenarios.conftest import Stage
from scenarios.support import Other

from .model import FILESYSTEMS, Case, Script, saved, watch
from .program import Operation

T = TypeVar("T")
#: what a program is like about which nothing is known
DEFAULTS: dict[str, Any] = {"filesystem": "ext4", "how": "scope", "n_operations": 300, "n_processes": 3}
#: operations of all processes: who does what; each process keeps its order
Steps = list[tuple[int, Operation]]


@dataclass(frozen=True)
class Failure:
    """
    How a program failed.

    :ivar kind: ``difference``, or the name of the exception
    :ivar said: what there is to say about it
    """

    kind: str
    said: list[str]


class Laboratory:
    """Runs programs again and again, each time in a new directory."""

    def __init__(self, case: Case, mounter: Mounter, players: list[Other]) -> None:
        self._case = case
        self._mounter = mounter
        self._players = players
        self._filesystems = Filesystems(mounter)

    def run(self, steps: Steps) -> Failure | None:
        """Run a program once."""
        scripts: list[Script] = [[] for _ in self._players]
        for who, operation in steps:
            scripts[who].append(operation)
        with contextlib.ExitStack() as exits:
            mounts = Mounter(self._mounter.new_dir("run"))
            exits.callback(mounts.undo)
            stage = self._stage(exits)
            try:
                said = watch(stage, mounts, self._case.mask, scripts, self._players).differences
            except (Exception, pytest.fail.Exception) as exc:
                return Failure(type(exc).__name__, [str(exc)])
        return Failure("difference", said) if said else None

    def _stage(self, exits: contextlib.ExitStack) -> Stage:
        kind = self._case.filesystem
        filesystem = Filesystem(kind, self._filesystems.top(kind), self._filesystems.new(kind))
        return Stage(filesystem.dir, filesystem, ENGINES[0], self._players[0], self._case.how, exits)


@contextlib.contextmanager
def laboratory(case: Case) -> Iterator[Laboratory]:
    """Make all that a case needs; it is gone in the end."""
    with contextlib.ExitStack() as exits:
        mounter = Mounter(image_mib=LARGE_MIB)
        exits.callback(mounter.undo)
        yield Laboratory(case, mounter, [exits.enter_context(Other()) for _ in range(case.n_processes)])


def minimal(items: Sequence[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """
    Leave out what is not needed to fail: first halves, then ever smaller pieces, in the end every single item.

    :param items: they fail
    :param fails: tells whether these items, some of the others left out, still fail
    """
    kept = list(items)
    size = max(len(kept) // 2, 1)
    while True:
        shorter = _without_pieces(kept, size, fails)
        if size == 1 and len(shorter) == len(kept):
            return shorter
        kept, size = shorter, max(min(size, len(shorter)) // 2, 1)


def _without_pieces(items: list[T], size: int, fails: Callable[[list[T]], bool]) -> list[T]:
    start = 0
    while start < len(items):
        shorter = items[:start] + items[start + size :]
        if shorter and fails(shorter):
            items = shorter
        else:
            start += size
    return items


def shrink(case: Case, n_tries: int, run: Callable[[Steps], Failure | None]) -> tuple[Steps, Failure] | None:
    """
    Shrink one program.

    :param n_tries: runs of each program that all have to pass before it counts as passing
    :param run: runs a program once
    :return: what is left and how it failed the last time; None if it did not fail at all
    """
    steps = [(who, operation) for who, script in enumerate(case.scripts()) for operation in script]
    failures = (run(steps) for _ in range(n_tries))
    last = next((failure for failure in failures if failure is not None), None)
    if last is None:
        return None
    kind = last.kind

    def fails(shorter: Steps) -> bool:
        nonlocal last
        for _ in range(n_tries):
            failure = run(shorter)
            if failure is not None and failure.kind == kind:
                last = failure
                print(f"  {len(shorter)} operations are left", file=sys.stderr)
                return True
        return False

    return minimal(steps, fails), last


def main(arguments: Sequence[str]) -> int:
    """Shrink what the arguments name. Returns 1 if one of the programs did not fail."""
    options = _parse(arguments)
    code = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for case in _cases(options):
        print(f"{case}, watching {case.mask!r}:")
        with laboratory(case) as place:
            found = shrink(case, options.tries, place.run)
        if found is None:
            print(f"  passed {options.tries} times; try more with --tries")
            code = 1
            continue
        steps, failure = found
        for who, (name, paths) in steps:
            print(f"  process {who}: {name} {', '.join(map(repr, paths))}")
        print(f"  {failure.kind}:", *failure.said, sep="\n    ")
    return code


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    given = {name: value for name, value in vars(options).items() if name in DEFAULTS and value is not None}
    for seed in options.seeds:
        known = [case for case in saved() if case.seed == seed and given.items() <= vars(case).items()]
        yield from known or [Case(seed=seed, **DEFAULTS | given)]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="oracle.shrink", description="shrink random programs that failed")
    parser.add_argument("seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--filesystem", choices=FILESYSTEMS, help="kind of the filesystem (default: ext4)")
    parser.add_argument("--how", choices=("scope", "handler"), help="how it is watched (default: scope)")
    parser.add_argument("--operations", dest="n_operations", type=int, help="of each process (default: 300)")
    parser.add_argument("--processes", dest="n_processes", type=int, help="that run it together (default: 3)")
    parser.add_argument("--tries", type=int, default=10, help="runs of each program (default: 10)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
