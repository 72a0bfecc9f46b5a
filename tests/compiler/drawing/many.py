"""Many programs, and what they have between them."""

import collections
import contextlib
import itertools

from fanotify_fastpath.errors import CompileError

from .comparing import Start, compare, kept_seeds
from .draw import MAKERS

#: part of the programs that the compiler must accept
_ACCEPTED = 0.7
#: so many have every construct between them
_ENOUGH = 200


def compare_many(stem: str, n: int, start: Start) -> None:
    """
    Compare *n* programs that the compiler accepts. It must accept most of those that are drawn, and nothing that can be
    drawn may be missing from them.

    :param stem: of the seeds
    """
    used: collections.Counter[str] = collections.Counter()
    n_refused = n_accepted = 0
    for number in itertools.count():
        try:
            used.update(compare(f"{stem} {number}", start).used)
        except CompileError:
            n_refused += 1
        else:
            n_accepted += 1
        if n_accepted == n or n_refused > n:
            break
    print(f"{n_accepted} accepted, {n_refused} refused; rarest: {used.most_common()[:-6:-1]}")
    assert n_accepted >= _ACCEPTED * (n_accepted + n_refused)
    missing = {maker.name for makers in MAKERS.values() for maker in makers} - used.keys()
    assert n < _ENOUGH or not missing


def compare_kept(start: Start) -> None:
    """Compare the programs that failed once; what was wrong with one may be that it was not refused."""
    for seed in kept_seeds():
        with contextlib.suppress(CompileError):
            compare(seed, start)
