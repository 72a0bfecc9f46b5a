"""Many programs, and what they have between them."""

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from fanotify_fastpath.errors import CompileError, VerifierError

from .comparing import Start, compare, kept_seeds
from .draw import MAKERS
from .program import Program

#: programs that are very many, and in how many tests they are compared, each with seeds of its own
N_MANY = 5000
PARTS = 10
#: part of the programs that the compiler must accept
_ACCEPTED = 0.7
#: part of them that may be more than the verifier looks at, for loops in loops
_TOO_LARGE = 0.03
_SAID_OF_LARGE = ("BPF program is too large", "jumps is too complex")
#: so many have every construct between them
_ENOUGH = 200


def compare_many(seeds: Iterable[str], n: int, start: Start) -> None:
    """Compare *n* programs that can be compiled; see :func:`check_outcomes`."""
    check_outcomes(n, (partial(compare, seed, start) for seed in seeds))


def seeds_of(stem: str, part: int | None = None) -> Iterator[str]:
    """
    The seeds of a test.

    :param part: of very many
    """
    beginning = stem if part is None else f"many {stem} {part}"
    return (f"{beginning} {number}" for number in itertools.count())


def check_outcomes(n: int, attempts: Iterable[Callable[[], Program]]) -> None:
    """
    Compare programs until *n* were the same. Most of those that are drawn must be, and nothing that can be drawn may be
    missing from them.

    :param attempts: each compares a program and returns it
    :raises VerifierError: a program is not accepted, for another reason than its size
    """
    used: collections.Counter[str] = collections.Counter()
    outcomes: collections.Counter[str] = collections.Counter()
    for attempt in itertools.islice(attempts, 2 * n):
        outcome, constructs = _outcome(attempt)
        outcomes[outcome] += 1
        used.update(constructs)
        if outcomes["same"] == n:
            break
    print(f"{dict(outcomes)}; rarest: {used.most_common()[:-6:-1]}")
    assert outcomes["same"] == n
    assert outcomes["same"] + outcomes["too large"] >= _ACCEPTED * outcomes.total()
    assert outcomes["too large"] <= 1 + _TOO_LARGE * outcomes.total()
    missing = {maker.name for makers in MAKERS.values() for maker in makers} - used.keys()
    assert n < _ENOUGH or not missing


def compare_kept(start: Start) -> None:
    """Compare the programs that failed once; what was wrong with one may be that it was not refused."""
    for seed in kept_seeds():
        with contextlib.suppress(CompileError):
            compare(seed, start)


def _outcome(attempt: Callable[[], Program]) -> tuple[str, frozenset[str]]:
    """What comes of a program, and the constructs in it if it was compared."""
    try:
        return "same", attempt().used
    except CompileError:
        return "refused", frozenset()
    except VerifierError as exc:
        if not any(said in exc.log for said in _SAID_OF_LARGE):
            raise
        return "too large", frozenset()
