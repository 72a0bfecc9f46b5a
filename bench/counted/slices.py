"""Slices of the workload, one for each condition and round: warmed up, interleaved, summarised by medians."""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.counted.conditions import Around, Condition, Unavailable, Work, Wrong, plainly
from bench.place import Place, Took, place
from bench.stats import rotate

#: how many names the path of a file has, from the filesystem's root
DEPTHS = (3, 30)
#: a pass makes three events for each of these, which must fit into the ring of a reader that does not run meanwhile
N_OPERATIONS = 1000
_N_FIRST = 100
_N_PASSES = 5
#: two passes that differ by less: what there was to learn is learned
_STEADY = 0.005
_WARM_UP_MAX = 10
#: after booting the machine has work of its own; until it is done, the workload has only a part of the processor
_N_QUIET = 5
_QUIET_MAX = 300
_BY_ITSELF = 1.02
#: what setting up or undoing left to be done later; where instructions are the clock, sleeping takes no time
_SETTLE_S = 0.3

#: a small filesystem, mounted where its path has few names: they are looked up in each operation, too
_IMAGE_BYTES = 256 << 20
_N_INODES = 20_000
_MOUNTED_BELOW = "/tmp"

#: condition → what one operation took
Round = dict[str, Took]


@dataclass(slots=True)
class Found:
    """
    All figures.

    :ivar rounds: depth → one entry for each round
    :ivar unavailable: condition → why it could not be had
    :ivar wrong: condition → what it did instead of what its figure stands for
    """

    rounds: dict[int, list[Round]]
    unavailable: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def is_lost(self, name: str) -> bool:
        """Whether there is nothing to be had from that condition."""
        return name in self.unavailable or name in self.wrong


@contextlib.contextmanager
def ground() -> Iterator[Place]:
    """Make the filesystem and the files that are read."""
    with (
        tempfile.TemporaryDirectory(prefix="fanfp-", dir=_MOUNTED_BELOW) as mount,
        place(mount=mount, image_bytes=_IMAGE_BYTES, n_inodes=_N_INODES) as here,
    ):
        for depth in DEPTHS:
            here.workload("deep", here.outside, _n_levels(depth))
        yield here


def measure(place: Place, conditions: list[Condition], n_rounds: int) -> Found:
    """
    Let every condition have its slice of each round.

    :param conditions: one of them is :data:`~bench.counted.conditions.NOBODY`, to which all others are compared
    """
    wait_until_quiet(place)
    found = Found({depth: [{} for _ in range(n_rounds)] for depth in DEPTHS})
    named = {condition.name: condition for condition in conditions}
    for number in range(n_rounds):
        print(f"round {number + 1} of {n_rounds}", file=sys.stderr, flush=True)
        for name in rotate(list(named), number):
            if not found.is_lost(name):
                _try_slice(place, named[name], found, number)
    return found


def wait_until_quiet(place: Place) -> None:
    """Run the workload until it has the processor for itself and takes the same each time."""
    n_quiet, before = 0, None
    for _ in range(_QUIET_MAX):
        took = _pass(place, plainly, DEPTHS[0])
        is_quiet = before is not None and is_steady(before, took) and took.ns < took.cpu_ns * _BY_ITSELF
        n_quiet, before = n_quiet + 1 if is_quiet else 0, took
        if n_quiet == _N_QUIET:
            return
    print("the machine does not become quiet: figures are disturbed", file=sys.stderr)


def is_steady(before: Took, after: Took) -> bool:
    """Whether two passes took the same, or almost."""
    return abs(after.ns - before.ns) < _STEADY * before.ns


def middle(passes: list[Took]) -> Took:
    """The medians of several passes."""
    return Took(statistics.median(one.ns for one in passes), statistics.median(one.cpu_ns for one in passes))


def _try_slice(place: Place, condition: Condition, found: Found, number: int) -> None:
    try:
        figures = _slice(place, condition)
    except Unavailable as error:
        found.unavailable[condition.name] = str(error)
    except Wrong as error:
        found.wrong[condition.name] = str(error)
    else:
        for depth, took in figures.items():
            found.rounds[depth][number][condition.name] = took
    time.sleep(_SETTLE_S)


def _slice(place: Place, condition: Condition) -> dict[int, Took]:
    with condition.start(place) as around:
        time.sleep(_SETTLE_S)
        return {depth: _warm(place, around, depth) for depth in DEPTHS}


def _warm(place: Place, around: Around, depth: int) -> Took:
    before = _pass(place, around, depth)
    for _ in range(_WARM_UP_MAX):
        after = _pass(place, around, depth)
        if is_steady(before, after):
            break
        before = after
    return middle([_pass(place, around, depth) for _ in range(_N_PASSES)])


def _pass(place: Place, around: Around, depth: int) -> Took:
    n_levels = _n_levels(depth)
    with around(Work(place.outside + "/d" * n_levels, N_OPERATIONS + _N_FIRST)):
        return place.workload("read-deep", place.outside, n_levels, N_OPERATIONS, _N_FIRST)


def _n_levels(depth: int) -> int:
    """Directories between the one outside, which is the first name of the path, and the file, which is the last."""
    return depth - 2
