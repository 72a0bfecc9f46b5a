"""
Groups in a process of their own: ``python -m bench.counted.holder``.

It reads what groups to make from its first line of input, and answers whether they could be made. At each further line
``take`` it takes all events that wait and says what they were; at ``read WAY N`` it reads that many as they come, and
says what that took of it. So that nothing of it runs while instructions are counted, it can be stopped in between: it
needs neither to poll nor to be woken.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from types import FrameType
from typing import Any, NamedTuple

from fanotify_fastpath import Event, Group, Mask, NotPermitted, UnsupportedFeature, modules, parse_mask

#: nothing came for so long: there is nothing more. Of a machine whose clock counts instructions it costs no time
_QUIET_S = 0.1
#: events that have not come by then do not come
_PATIENCE_S = 60


def _make(engine: str, events: Mask, roots: list[str], handlers: list[str]) -> Group:
    # equal events are the workload: each is told, where the engine can
    group = Group(engine=engine, merge=engine == "fanotify")  # type: ignore[arg-type]
    first, *others = roots
    mark = group.mark(first, events | Mask.ONDIR)
    for root in others:
        group.add_root(root, mark)
    for name in handlers:
        attachment = group.attach(name, roots=[first])
        if engine == "kernel" and attachment.obstacle is not None:
            raise UnsupportedFeature(f"handler {name!r} is not asked in the kernel: {attachment.obstacle}")
    return group


def _drain(groups: list[Group]) -> dict[str, Any]:
    seen: Counter[str] = Counter()
    n_lost = 0
    for group in groups:
        while batch := group.read(timeout_s=_QUIET_S):
            for event in batch:
                if Mask.Q_OVERFLOW in event.mask:
                    n_lost += event.lost or 1  # the number may be unknown
                else:
                    seen.update(_places(event))
    return {"seen": seen, "n_lost": n_lost}


def _places(event: Event) -> list[str]:
    """Each type of the event with the directory that it was in; whatever is odd about it shows."""
    directory = os.path.dirname(event.path) if event.path is not None else "nowhere"
    return [f"{name} {directory}{' undecided' if event.undecided else ''}" for name in event.names]


class Taken(NamedTuple):
    """What a group and its process have taken so far."""

    cpu_ns: int
    n_events: int
    n_lost: int


def _as_objects(group: Group, n_events: int) -> None:
    for n, event in enumerate(group, 1):
        _ = event.mask, event.path
        if n >= n_events:
            return


def _as_batches(group: Group, n_events: int) -> None:
    n = 0
    for batch in group.batches():
        n += len(batch)
        if n >= n_events:
            return


_WAYS = {"objects": _as_objects, "batches": _as_batches}


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def _counted(group: Group) -> Taken:
    counters = group.counters
    return Taken(time.process_time_ns(), counters.n_delivered, counters.n_lost + counters.n_overflows)


def _read(group: Group, way: str, n_events: int, before: Taken) -> dict[str, Any]:
    """Read so many events; what comes beyond them is counted without being in the figure."""
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        _WAYS[way](group, n_events)
    except TimeoutError:
        pass  # the number says it
    cpu_ns = time.process_time_ns() - before.cpu_ns
    signal.setitimer(signal.ITIMER_REAL, 0)
    while group.read(timeout_s=_QUIET_S):
        pass
    after = _counted(group)
    return {"cpu_ns": cpu_ns, "n_events": after.n_events - before.n_events, "n_lost": after.n_lost - before.n_lost}


def _answer(groups: list[Group], line: str, before: Taken) -> dict[str, Any]:
    what, *arguments = line.split()
    if what == "read":
        return _read(groups[0], arguments[0], int(arguments[1]), before)
    return _drain(groups)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Make the groups, and serve until the input ends."""
    request = json.loads(sys.stdin.readline())
    groups: list[Group] = []
    try:
        if request["path"] is not None:
            modules.load(request["path"])
        for roots in request["groups"]:
            groups.append(_make(request["engine"], parse_mask(request["events"]), roots, request["handlers"]))
    except (UnsupportedFeature, NotPermitted) as error:
        _say({"refused": str(error)})
        return
    _say({})
    # the group's other thread reads, too, as soon as the process goes on after it was stopped
    before = _counted(groups[0])
    for line in sys.stdin:
        _say(_answer(groups, line, before))
        before = _counted(groups[0])
    for group in groups:
        group.close()


if __name__ == "__main__":
    main()
