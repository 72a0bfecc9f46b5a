"""
Groups in a process of their own: ``python -m bench.counted.holder``.

It reads what groups to make from its first line of input, answers whether they could be made, and at each further line
takes all events that wait and says what they were. So that nothing of it runs while instructions are counted, it can be
stopped in between: it needs neither to poll nor to be woken.
"""

import json
import os
import sys
from collections import Counter
from typing import Any

from fanotify_fastpath import Event, Group, Mask, NotPermitted, UnsupportedFeature, modules, parse_mask

#: nothing came for so long: there is nothing more. Of a machine whose clock counts instructions it costs no time
_QUIET_S = 0.1


def _make(engine: str, events: Mask, roots: list[str], handlers: list[str]) -> Group:
    # equal events are the workload: on the kernel engine each is told
    group = Group(engine=engine, merge=engine != "kernel")  # type: ignore[arg-type]
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
    for _ in sys.stdin:
        _say(_drain(groups))
    for group in groups:
        group.close()


if __name__ == "__main__":
    main()
