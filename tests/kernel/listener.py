"""
A process that uses the kernel engine, for tests that count what it leaves, or kill it; it says how far it is.

usage: python -m kernel.listener listen ROOT | cycle ROOT N_CYCLES | anew ROOT N_CYCLES
"""

import json
import os
import sys
import threading
import time

from kernel.census import census, n_descriptors, n_mappings

#: after these, all that stays while there are groups has been made
N_WARM = 10
#: what the kernel removes by and by
SETTLE_S = 20.0


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def cycle(root: str, number: int) -> None:
    """Open a group, mark and attach in one of two ways, read, detach and close."""
    with fan.Group(engine="kernel") as group:
        if number % 2:
            group.mark(root, fan.Mask.ALL_EVENTS | fan.Mask.ONDIR)
        else:
            group.mark(root, fan.Mask.ALL_CHANGES | fan.Mask.ONDIR, scope=fan.Scope.FILESYSTEM)
            group.attach("monitor-subtree", roots=[root])
        attachment = group.attach("ignore-prefix", prefixes=["x"])
        if number % 3:
            group.read(100, 0.002)
        if number % 5:
            group.detach(attachment)


def holdings() -> dict[str, int]:
    """What this process has, and what the kernel has for it."""
    counts = {kind: len(ids) for kind, ids in census().items()}
    return counts | {"descriptors": n_descriptors(), "mappings": n_mappings(), "threads": threading.active_count()}


def settled(wanted: dict[str, int]) -> dict[str, int]:
    """What there is when it is as wanted, or when there has been time for that."""
    deadline = time.monotonic() + SETTLE_S
    while (found := holdings()) != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def repeat(root: str, n_cycles: int, *, is_anew: bool) -> None:
    """Go through cycles, beside a group that stays open or without one; tell what there is before and after them."""
    idle = None if is_anew else fan.Group(engine="kernel")
    for number in range(min(N_WARM, n_cycles)):
        cycle(root, number)
    before = holdings()
    if is_anew:
        before = settled({**before, "program": int(sys.argv[4]), "map": int(sys.argv[5]), "link": int(sys.argv[6])})
    began = time.monotonic()
    for number in range(n_cycles):
        cycle(root, number)
    took_s = time.monotonic() - began
    say(json.dumps({"before": before, "after": settled(before), "each_ms": round(took_s / n_cycles * 1000, 1)}))
    if idle is not None:
        idle.close()


def listen(root: str) -> None:
    """Read for ever."""
    with fan.Group(engine="kernel") as group:
        say("open")
        group.mark(root, fan.Mask.ALL_EVENTS | fan.Mask.ONDIR)
        group.attach("ignore-prefix", prefixes=["x"])
        say("listening")
        while True:
            group.read()


if __name__ == "__main__":
    say("started")
    import fanotify_fastpath as fan

    say("imported")
    if sys.argv[1] == "listen":
        listen(sys.argv[2])
    else:
        repeat(sys.argv[2], int(sys.argv[3]), is_anew=sys.argv[1] == "anew")
