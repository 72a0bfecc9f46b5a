"""Many programs, and what they have between them."""

import collections

from fanotify_fastpath.errors import CompileError

from .comparing import N_EVENTS, Start, compare
from .draw import MAKERS

#: part of the programs that the compiler must accept
_ACCEPTED = 0.7
#: so many programs have every construct between them
_ENOUGH = 200


def compare_many(stem: str, n: int, start: Start, n_events: int = N_EVENTS) -> None:
    """
    Compare *n* programs that the compiler accepts; it must accept most of those that are drawn, and have seen everything
    that can be drawn.

    :param stem: of the seeds
    """
    used: collections.Counter[str] = collections.Counter()
    n_accepted = n_drawn = 0
    while n_accepted < n:
        n_drawn += 1
        with_refused = n_drawn * _ACCEPTED <= n_accepted + 10
        assert with_refused, f"of {n_drawn} programs only {n_accepted} were accepted"
        try:
            program = compare(f"{stem} {n_drawn}", start, n_events)
        except CompileError:
            continue
        n_accepted += 1
        used.update(program.used)
    print(f"{n_accepted} of {n_drawn} programs accepted")
    every = {maker.name for makers in MAKERS.values() for maker in makers}
    assert n < _ENOUGH or not every - used.keys(), "never drawn"
