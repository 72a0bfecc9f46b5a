"""The conditions in which groups of this package watch, made from outside by the public interface alone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.counted.conditions import EVENTS, Around, Condition, Unavailable, Work, Wrong, plainly
from bench.listeners import ended
from bench.place import Place
from fanotify_fastpath import Mask, mask_names

N_ROOTS = 10_000
N_GROUPS = 64
_REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: for each group its roots
Layout = Callable[[Place], list[list[str]]]


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What groups were told since they were asked last.

    :ivar events: of each type in each directory
    :ivar n_lost: events lost, at least
    """

    events: Counter[str]
    n_lost: int

    def check(self, expected: Counter[str]) -> None:
        """
        Compare with what had to come.

        :raises Wrong: more, less or something else came
        """
        if self.n_lost:
            raise Wrong(f"at least {self.n_lost:,} of {expected.total():,} events were lost")
        differences = {"came unasked": self.events - expected, "did not come": expected - self.events}
        if self.events != expected:
            raise Wrong("; ".join(f"{_said(those)} {what}" for what, those in differences.items() if those))


def expected_events(work: Work) -> Counter[str]:
    """The three types of events, each as often as the workload did it, with the directory as it must be reported."""
    return Counter({f"{name} {work.directory}": work.n_operations for name in ("open", "access", "close_nowrite")})


def _said(events: Counter[str]) -> str:
    return ", ".join(f"{n:,} x {what}" for what, n in events.items())


class Holder:
    """The process that has the groups."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, line: str) -> dict[str, Any]:
        """
        Send a line and wait for the answer.

        :raises RuntimeError: it died; what it said is on standard error
        """
        self.begin(line)
        return self.finish()

    def begin(self, line: str) -> None:
        """Send a line; :meth:`finish` waits for the answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def finish(self) -> dict[str, Any]:
        """
        Wait for the answer to what was begun.

        :raises RuntimeError: it died; what it said is on standard error
        """
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"what holds the groups ended by itself, status {self._process.wait()}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def take(self) -> Seen:
        """Take all events that wait."""
        answer = self.ask("take")
        return Seen(Counter(answer["seen"]), answer["n_lost"])

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let none of its threads run."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


def as_user(uid: int | None) -> dict[str, Any]:
    """What has :mod:`subprocess` run something as a user who is in the group of the same number and no other."""
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


@contextlib.contextmanager
def held(
    engine: str,
    events: Mask,
    groups: list[list[str]],
    *,
    path: str | None = None,
    handlers: Sequence[str] = (),
    uid: int | None = None,
) -> Iterator[Holder]:
    """
    Have groups.

    :param groups: for each its roots
    :param path: file of handlers
    :param handlers: names of those that each group is to ask
    :param uid: the ordinary user who has them
    :raises Unavailable: they cannot be made
    """
    command = [sys.executable, "-m", "bench.counted.holder"]
    pipe = subprocess.PIPE
    with ended(
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=_REPOSITORY, **as_user(uid))
    ) as process:
        holder = Holder(process)
        request = {
            "engine": engine,
            "events": ",".join(mask_names(events)),
            "groups": groups,
            "path": path,
            "handlers": handlers,
        }
        answer = holder.ask(json.dumps(request))
        if "refused" in answer:
            raise Unavailable(str(answer["refused"]))
        yield holder
        assert process.stdin is not None
        process.stdin.close()  # it undoes everything itself: the next condition begins when that is done
        process.wait()


def nothing_came(holder: Holder) -> None:
    """
    Check that no group was told anything.

    :raises Wrong: one was
    """
    holder.take().check(Counter())


def _silent(engine: str, events: Mask, layout: Layout) -> Callable[[Place], contextlib.AbstractContextManager[Around]]:
    """
    Groups to which nothing of the workload is told.

    They are free to run while instructions are counted: should they be woken, it shows in the figures.
    """

    @contextlib.contextmanager
    def start(place: Place) -> Iterator[Around]:
        with held(engine, events, layout(place)) as holder:
            yield plainly
            nothing_came(holder)

    return start


def _delivered(engine: str) -> Callable[[Place], contextlib.AbstractContextManager[Around]]:
    """One group to which everything is told, and whose reader waits until a pass is over."""

    @contextlib.contextmanager
    def start(place: Place) -> Iterator[Around]:
        with held(engine, EVENTS, [[place.outside]]) as holder:

            @contextlib.contextmanager
            def around(work: Work) -> Iterator[None]:
                with holder.stopped():
                    yield
                holder.take().check(expected_events(work))

            yield around

    return start


def _elsewhere(place: Place) -> list[list[str]]:
    return [[place.inside]]


def _around_it(place: Place) -> list[list[str]]:
    return [[place.outside]]


def _many(place: Place) -> list[list[str]]:
    """Directories beside the workload's, dealt out to the groups."""
    top = f"{place.mount}/roots"
    if not os.path.isdir(top):
        os.mkdir(top)
        place.workload("dirs", top, N_ROOTS)
    roots = [directory for directory, _, _ in os.walk(top) if directory != top]
    assert len(roots) == N_ROOTS
    return [roots[n::N_GROUPS] for n in range(N_GROUPS)]


OUTSIDE = "group: event outside"
OUTSIDE_MANY = f"group: outside {N_ROOTS:,} roots"
DELIVERED = "group: delivered"
NOT_ASKED_FOR = "group: not asked for"


def group_conditions(engine: str) -> list[Condition]:
    """
    The rows of an engine.

    :param engine: its name
    """
    return [
        Condition(
            OUTSIDE,
            _silent(engine, EVENTS, _elsewhere),
            f"{engine} engine, one group asks for the three events of one other subtree",
        ),
        Condition(
            OUTSIDE_MANY,
            _silent(engine, EVENTS, _many),
            f"{engine} engine, {N_GROUPS} groups ask for them in {N_ROOTS:,} other subtrees between them",
        ),
        Condition(
            DELIVERED,
            _delivered(engine),
            f"{engine} engine, one group is told every event, with its path, none merged; "
            "its reader runs between passes only",
        ),
        Condition(
            NOT_ASKED_FOR,
            _silent(engine, Mask.CREATE, _around_it),
            f"{engine} engine, one group asks for creations in the workload's own subtree",
        ),
    ]
