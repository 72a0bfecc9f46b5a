"""
What can be going on while the workload runs.

A condition is set up before a slice of the workload and undone after it. A new one is a :class:`Condition`, no more:
put it into the list that :func:`bench.counted.slices.measure` is given.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from bench import listeners
from bench.place import Place
from fanotify_fastpath.lowlevel import FanotifyFile, InitFlag, MarkFlag
from fanotify_fastpath.mask import Mask

#: what one operation of the workload makes: one event of each
EVENTS = Mask.OPEN | Mask.ACCESS | Mask.CLOSE


class Unavailable(Exception):
    """A condition cannot be had in this version, or on this kernel; the text says why."""


class Wrong(Exception):
    """A condition did not do what its figure stands for; the text says what it did instead."""


@dataclass(frozen=True, slots=True)
class Work:
    """
    One pass of the workload.

    :ivar directory: where its files are
    :ivar n_operations: how many times one is opened, read and closed, those before the clock starts included
    """

    directory: str
    n_operations: int


#: entered around each pass; what it does is not in the figures, unless it leaves somebody running
Around = Callable[[Work], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One row of the table.

    :ivar name: its label
    :ivar start: sets it up, and undoes it in the end
    :ivar what: one line about it, for the notes
    """

    name: str
    start: Callable[[Place], AbstractContextManager[Around]]
    what: str


def plainly(work: Work) -> AbstractContextManager[None]:
    """Do nothing around a pass."""
    return nullcontext()


@contextlib.contextmanager
def _nobody(place: Place) -> Iterator[Around]:
    yield plainly


@contextlib.contextmanager
def _sentinel(place: Place) -> Iterator[Around]:
    with FanotifyFile.open(InitFlag.CLOEXEC | InitFlag.REPORT_FID) as group:
        flags = MarkFlag.ADD | MarkFlag.FILESYSTEM | MarkFlag.IGNORE_SURV
        group.mark(flags, EVENTS | Mask.ONDIR | Mask.EVENT_ON_CHILD, place.mount)
        yield plainly


@contextlib.contextmanager
def _plain(place: Place) -> Iterator[Around]:
    with listeners.plain("all")(place, place.mount, "discard"):
        yield plainly


NOBODY = Condition("nobody", _nobody, "nothing is marked")
SENTINEL = Condition("sentinel alone", _sentinel, "a filesystem mark that ignores the three events, and queues nothing")
PLAIN = Condition(
    "plain fanotify", _plain, "a filesystem mark, and a C program that reads and discards; what it takes is counted"
)
