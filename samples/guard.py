"""
Forbid opening files whose name ends in .secret: ``guard.py DIRECTORY``.

Try it on a filesystem that you can do without: every open below the directory waits for this program.
"""

import sys

import fanotify_fastpath as fan


def decide(event: fan.Event) -> bool:
    """Allow or deny one operation; called in a thread of its own."""
    is_allowed = event.path is not None and not event.path.endswith(".secret")
    print("allowed" if is_allowed else "denied", event.comm, event.path, flush=True)
    return is_allowed


with fan.Group(decide=decide, timeout_s=2, on_timeout="allow") as group:
    group.mark(sys.argv[1], fan.Mask.OPEN_PERM)
    for event in group:
        print(event, flush=True)
