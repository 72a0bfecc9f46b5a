"""
Forbid opening files whose name ends in .secret: ``guard.py DIRECTORY``.

Try it on a filesystem that you can do without: every open on it waits for an answer.
"""

import sys

import fanotify_fastpath as fan


def decide(event: fan.Event) -> bool:
    """Allow or deny one operation; called in a thread of its own, and may use the files that it decides about."""
    return event.path is not None and not event.path.endswith(".secret")


with fan.guard(sys.argv[1], deny=fan.Mask.OPEN_PERM, decide=decide, timeout_s=2, on_timeout="allow") as attempts:
    for event in attempts:
        print("denied:", event.comm, event.path, flush=True)
